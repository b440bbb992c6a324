"""What the server talks to, and where it says that it can be reached."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from urllib.parse import urlsplit

from streamserver.config import Config
from streamserver.doctor.findings import UNAVAILABLE, Finding, Status
from streamserver.net.resolver import Resolver
from streamserver.net.tls import client_context
from streamserver.webrtc.candidates import candidates, public_addresses

__all__ = ["far_sides", "ice"]

_WITHIN_S = 5


async def far_sides(config: Config) -> AsyncIterator[Finding]:
    """Whether whoever is asked and told answers at all: a connection is made, and nothing sent."""
    urls = [("hook", one.url.reveal()) for one in config.auth.hooks]
    urls += [("webhook", one.url.reveal()) for one in config.webhooks]
    if config.auth.jwt.jwks_url:
        urls.append(("jwks_url", config.auth.jwt.jwks_url))
    if not urls:
        text = "no hooks, webhooks or JWKS are configured"
        yield Finding(check="hooks", status=Status.SKIPPED, text=text)
    for name, url in urls:
        yield await _far_side(name, url, config.outgoing.ca_file)


async def _far_side(name: str, url: str, ca_file: str) -> Finding:
    parts = urlsplit(url)
    secure = parts.scheme == "https"
    host, port = parts.hostname or "", parts.port or (443 if secure else 80)
    # Paths and queries may hold secrets: host and port say enough.
    where = f"{name} {parts.scheme}://{host}:{port}"
    context = await asyncio.to_thread(client_context, ca_file) if secure else None
    try:
        async with asyncio.timeout(_WITHIN_S):
            _, writer = await asyncio.open_connection(host, port, ssl=context)
    except TimeoutError:
        text = f"{where} does not answer within {_WITHIN_S} s"
        return Finding(check="hooks", status=Status.FAILED, text=text, code=UNAVAILABLE)
    except OSError as error:
        text = f"{where} cannot be reached: {error}"
        return Finding(check="hooks", status=Status.FAILED, text=text, code=UNAVAILABLE)
    writer.close()
    with contextlib.suppress(OSError):
        await writer.wait_closed()
    return Finding(check="hooks", status=Status.OK, text=f"{where} can be reached")


async def ice(config: Config, resolver: Resolver) -> Finding:
    """The candidates that browsers are told of."""
    webrtc = config.webrtc
    if not webrtc.enabled:
        return Finding(check="ice", status=Status.SKIPPED, text="WebRTC is switched off")
    bound = [webrtc.host] if webrtc.host else ["0.0.0.0", "::"]
    addresses, failures = await public_addresses(webrtc.public_addresses, bound, resolver)
    lines = candidates(addresses, webrtc.port, tcp=True)
    if failures or not addresses:
        text = "; ".join(failures) or "no address of this host is known: set public_addresses"
        return Finding(check="ice", status=Status.FAILED, text=f"webrtc.public_addresses: {text}")
    told = ", ".join(addresses)
    text = f"{len(lines)} candidates, UDP and TCP, on port {webrtc.port}: {told}"
    return Finding(check="ice", status=Status.OK, text=text)
