"""Everything that the doctor looks at, in order."""

from collections.abc import AsyncIterator, Mapping

from streamserver.config import Config
from streamserver.doctor import host, network
from streamserver.doctor.findings import Finding
from streamserver.doctor.trial import try_it
from streamserver.net.resolver import DnsResolver

__all__ = ["visit"]


async def visit(
    config: Config, environ: Mapping[str, str], *, running: bool = False, key: str = ""
) -> AsyncIterator[Finding]:
    """Looks at the host, and tries the way from RTMP to HLS.

    With ``running``, against the server that runs, whose ports are taken then, and with ``key``
    where it asks for one; otherwise against a server of its own.
    """
    if not running:
        for finding in host.ports(config):
            yield finding
    for finding in (*host.limits(config), *host.certificates(config)):
        yield finding
    yield host.disk(config, environ)
    async for finding in network.far_sides(config):
        yield finding
    resolver = DnsResolver()
    try:
        yield await network.ice(config, resolver)
    finally:
        await resolver.close()
    yield await try_it(config, environ, running=running, key=key)
