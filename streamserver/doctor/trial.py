"""The trial: RTMP in, HLS out, against a server of our own or the one that runs."""

import secrets
import tempfile
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

from msgspec.structs import replace

from streamserver.clock import SystemClock
from streamserver.config import Config
from streamserver.config.secret import Secret
from streamserver.doctor.findings import UNAVAILABLE, Finding, Status
from streamserver.doctor.player import Measured, measure
from streamserver.doctor.publisher import publishing
from streamserver.errors import ConfigError, StreamServerError, UnavailableError
from streamserver.server import Server

__all__ = ["try_it"]

_PARTS = 15
_WITHIN_S = 30
_LATE_MS = 500
"""Parts that come later than this make players stall: they hold back three parts of 333 ms."""


async def try_it(config: Config, environ: Mapping[str, str], *, running: bool, key: str) -> Finding:
    """Publishes and plays. ``running``: against the server that runs with this configuration,
    with a publish ``key`` where it wants one; otherwise against one of our own on free ports."""
    name = f"doctor-{secrets.token_hex(4)}"
    app = config.server.apps[0] if config.server.apps else "live"
    try:
        if running:
            host = config.rtmp.host or "127.0.0.1"
            http = f"http://{config.http.host or '127.0.0.1'}:{config.http.port}"
            base = http + config.http.base_path
            measured = await _try(f"rtmp://{host}:{config.rtmp.port}/{app}", base, app, name, key)
        else:
            async with _private(config, environ) as (rtmp_port, http_port):
                base = f"http://127.0.0.1:{http_port}{config.http.base_path}"
                rtmp = f"rtmp://127.0.0.1:{rtmp_port}/{app}"
                measured = await _try(rtmp, base, app, name, "")
    except UnavailableError as error:
        return Finding(
            check="trial", status=Status.FAILED, text=str(error),
            code=UNAVAILABLE if running else 1,
        )  # fmt: skip
    except (ConfigError, StreamServerError) as error:
        return Finding(check="trial", status=Status.FAILED, text=str(error))
    return _told(measured)


async def _try(rtmp: str, base: str, app: str, name: str, key: str) -> Measured:
    query = f"?key={key}" if key else ""
    index = f"{base}/hls/{app}/{name}/index.m3u8"
    async with publishing(f"{rtmp}/{name}{query}", SystemClock()) as sent:
        return await measure(index, sent, parts=_PARTS, within_s=_WITHIN_S)


def _told(measured: Measured) -> Finding:
    late = measured.worst_ms > _LATE_MS
    text = (
        f"RTMP in, HLS out: a part is at the player {measured.median_ms:.0f} ms after its last "
        f"picture was sent (at worst {measured.worst_ms:.0f} ms, {measured.parts} parts); shown "
        f"about {measured.shown_ms / 1000:.2f} s after it was sent; first playlist after "
        f"{measured.first_playlist_s:.1f} s"
    )
    if late:
        text += "; this is late: the machine is busy"
    return Finding(
        check="trial",
        status=Status.WARNING if late else Status.OK,
        text=text,
        figures={
            "part_delay_median_ms": round(measured.median_ms, 1),
            "part_delay_worst_ms": round(measured.worst_ms, 1),
            "hold_back_ms": round(measured.hold_back_ms, 1),
            "shown_after_ms": round(measured.shown_ms, 1),
            "first_playlist_s": round(measured.first_playlist_s, 2),
        },
    )


@asynccontextmanager
async def _private(config: Config, environ: Mapping[str, str]) -> AsyncIterator[tuple[int, int]]:
    """A server with the same media settings, on loopback, that asks and tells nobody."""
    auth = replace(
        config.auth, anonymous_publish=True, open_play=True, order=(), hooks=(),
        api_token=Secret(secrets.token_hex(16)),
    )  # fmt: skip
    with tempfile.TemporaryDirectory(prefix="streamserver-doctor-") as directory:
        private = replace(
            config,
            destinations=(),
            webhooks=(),
            streams={},
            rtmp=replace(config.rtmp, host="127.0.0.1", port=0, cert_file="", key_file=""),
            http=replace(
                config.http, host="127.0.0.1", port=0, cert_file="", key_file="",
                trusted_proxies=(),
            ),
            webrtc=replace(config.webrtc, enabled=False),
            auth=auth,
            storage=replace(config.storage, path=directory),
        )  # fmt: skip
        server = Server(private, environ=environ)
        await server.start()
        try:
            ports = {one.name: one.port for one in server.facts.listeners}
            yield ports["rtmp"], ports["http"]
        finally:
            await server.close()
