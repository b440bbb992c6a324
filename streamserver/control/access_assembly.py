"""Puts the parts together that decide who may, for the composition root."""

from collections.abc import Callable, Sequence

from streamserver import __version__
from streamserver.auth import Access, AccessContext, Decider, make_access
from streamserver.clock import Clock
from streamserver.config import Config
from streamserver.control.connecting import Connecting
from streamserver.control.hook_notices import HookNotices
from streamserver.hub.registry import Registry
from streamserver.hub.sessions import SessionTable
from streamserver.names import StreamKey
from streamserver.net.guard import OutgoingGuard
from streamserver.net.http_client import HttpClient
from streamserver.net.proxies import TrustedProxies
from streamserver.net.resolver import Resolver
from streamserver.net.tls import outgoing_context
from streamserver.rtmp.auth_server import AdobeAuth
from streamserver.storage import Storage

__all__ = ["make_connecting", "make_notices", "open_access"]


async def open_access(
    config: Config,
    storage: Storage,
    *,
    resolver: Resolver,
    proxies: TrustedProxies,
    clock: Clock,
    complain: Callable[..., object],
    deciders: Sequence[Decider] = (),
) -> Access:
    """The chain of a configuration. Raises `ConfigError` and `StorageError`."""

    def client() -> HttpClient:
        # The operator wrote these URLs; `[outgoing] allow_private` is about those of strangers.
        guard = OutgoingGuard(resolver, allow_private=True)
        tls = outgoing_context(config.outgoing.ca_file)
        return HttpClient(guard, tls, user_agent=f"streamserver/{__version__}")

    context = AccessContext(
        clock=clock, client=client, exempt=proxies.trusts, complain=complain, deciders=deciders
    )
    return await make_access(config.auth, storage, context)


def make_connecting(config: Config, access: Access, clock: Clock, secret: bytes) -> Connecting:
    """What decides about each RTMP connect; ``secret`` signs challenges."""
    return Connecting(
        access.decider,
        clock,
        bans=access.bans,
        adobe=AdobeAuth(secret) if config.rtmp.adobe_auth else None,
        passwords=lambda: access.publish_passwords,
    )


def make_notices(
    access: Access, registry: Registry, sessions: SessionTable, clock: Clock
) -> HookNotices:
    """What tells hooks who has left and who is still here."""

    def log_ms(key: StreamKey) -> int:
        stream = registry.get(key)
        return 0 if stream is None else (clock.monotonic_ns() - stream.origin_ns) // 1_000_000

    return HookNotices(lambda: access.hooks, sessions, clock, log_ms=log_ms)
