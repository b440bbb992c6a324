"""The ports of a server: RTMP and RTMPS, WebRTC, HTTP and HTTPS."""

import asyncio
import contextlib
import logging
import socket
from collections import Counter
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass
from pathlib import Path
from ssl import SSLContext
from typing import Final, Self

from streamserver.api.app import Api
from streamserver.api.metrics_doors import DoorCounts
from streamserver.assembly.ground import Ground
from streamserver.assembly.hub import Hub
from streamserver.assembly.outputs import Live
from streamserver.auth import Access
from streamserver.control.connecting import Connecting
from streamserver.control.facts import ListenerFacts
from streamserver.control.publishing import Publishing
from streamserver.endpoints.http.app import AppSettings, Mount
from streamserver.endpoints.http.connections import FrontStats
from streamserver.endpoints.http.flv import FlvDoor, flv_mount
from streamserver.endpoints.http.listener import HttpEndpoint, Listener
from streamserver.endpoints.http.mounts import api_mount, hls_mount, pages_mount
from streamserver.endpoints.rtmp import RtmpEndpoint
from streamserver.endpoints.rtmp_watch import PlayDoor
from streamserver.endpoints.webrtc import RtcEndpoint, RtcHub
from streamserver.media.track import Codec
from streamserver.net.addresses import lan_address
from streamserver.net.sockets import bind
from streamserver.net.tls import HTTP_ALPN, CertificateFiles, self_signed_context
from streamserver.outputs.hls.mount import HlsMount
from streamserver.outputs.hls.output import HlsOutput
from streamserver.settings import front_settings, rtmp_settings, webrtc_settings
from streamserver.web.pages import Pages

__all__ = ["SHUTTING_DOWN", "Certificates", "Doors", "EarlySockets", "Tls"]

SHUTTING_DOWN: Final = "the server is shutting down"
"""What peers are told when it ends."""


@dataclass(frozen=True, slots=True)
class Tls:
    """The contexts of the listeners that have a certificate."""

    https: SSLContext | None = None
    """Of HTTPS."""

    rtmps: SSLContext | None = None
    """Of RTMPS."""


class Certificates:
    """Reads certificates, and reads them again when their files change."""

    def __init__(self, run: Callable[[Coroutine[object, object, None]], object]) -> None:
        """``run`` starts what goes on in the background."""
        self._run = run
        self._files: list[CertificateFiles] = []

    async def contexts(self, ground: Ground, *, self_signed: bool) -> Tls:
        """Those of a configuration. Raises `ConfigError`."""
        http, rtmp = ground.config.http, ground.config.rtmp
        https = self._context(http.cert_file, http.key_file, HTTP_ALPN)
        rtmps = self._context(rtmp.cert_file, rtmp.key_file, ())
        if https is None and self_signed:
            names = {"localhost", "127.0.0.1", "::1", socket.gethostname(), lan_address()}
            https = await asyncio.to_thread(self_signed_context, names, alpn=HTTP_ALPN)
        return Tls(https, rtmps)

    def _context(self, cert: str, key: str, alpn: tuple[str, ...]) -> SSLContext | None:
        if not cert:
            return None
        files = CertificateFiles(Path(cert), Path(key), alpn=alpn)
        self._files.append(files)
        self._run(files.watch())
        return files.context

    def reload(self) -> None:
        """Looks at the files now, not within a second."""
        for files in self._files:
            if files.check():
                files.load()


class EarlySockets:
    """The ports of RTMP, open before anything slow; closed again if the start fails.

    Encoders give up when their first connect is refused; whoever connects before the rest
    is there waits in the kernel's queue.
    """

    def __init__(self, ground: Ground, tls: Tls) -> None:
        """Raises `UnavailableError` for a port that is taken."""
        rtmp = ground.config.rtmp
        self._held = contextlib.ExitStack()
        self.pairs: list[tuple[SSLContext | None, list[socket.socket]]] = []
        """For each listener its context and its sockets."""
        with self._held:
            self._open("rtmp", rtmp.host, rtmp.port, None)
            if tls.rtmps is not None:
                self._open("rtmps", rtmp.host, rtmp.tls_port, tls.rtmps)
            self._held = self._held.pop_all()

    def _open(self, name: str, host: str, port: int, tls: SSLContext | None) -> None:
        sockets = bind(name, host, port)
        for sock in sockets:
            self._held.callback(sock.close)
        self.pairs.append((tls, sockets))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *fault: object) -> None:
        self._held.close()

    def taken(self) -> None:
        """Says that endpoints own the sockets now."""
        self._held.pop_all()


class Doors:
    """Opens the listeners, and knows them."""

    def __init__(self, ground: Ground, hub: Hub, access: Access) -> None:
        self._ground = ground
        self._hub = hub
        self._access = access
        self.rtmp: list[RtmpEndpoint] = []
        self.http: list[HttpEndpoint] = []
        self.fronts: list[FrontStats] = []
        self.webrtc: RtcEndpoint | None = None

    def rtmp_outcomes(self) -> Mapping[str, int]:
        """How RTMP connections ended, counted."""
        outcomes: Counter[str] = Counter()
        for endpoint in self.rtmp:
            outcomes.update(endpoint.stats.outcomes)
        return outcomes

    def counts(self) -> DoorCounts:
        """Those who were not let in yet, counted."""
        strangers = [endpoint.strangers for endpoint in self.rtmp]
        shaking = [one for rtmp in self.rtmp for one in rtmp.tls]
        shaking += [one for http in self.http for one in http.tls]
        return DoorCounts(
            deferred=sum(one.deferred for one in strangers),
            turned_away=sum(one.turned_away for one in strangers),
            held_bytes=sum(one.held_bytes for one in strangers),
            handshakes={
                "deferred": sum(one.deferred for one in shaking),
                "failed": sum(one.failed for one in shaking),
                "refused": sum(one.refused for one in shaking),
            },
        )

    def ask_to_reconnect(self, reason: str) -> set[str]:
        """Asks the publishers that understand it to move; answers whom."""
        return {one for rtmp in self.rtmp for one in rtmp.ask_to_reconnect(reason)}

    async def close_media(self) -> None:
        """Ends RTMP and WebRTC."""
        if self.webrtc is not None:
            await self.webrtc.close(SHUTTING_DOWN)
        for endpoint in self.rtmp:
            await endpoint.close(SHUTTING_DOWN)

    async def close_http(self, left_s: float) -> None:
        """Ends HTTP; requests that are being answered get so many seconds."""
        for endpoint in self.http:
            await endpoint.close(left_s)

    async def open_rtmp(
        self,
        early: EarlySockets,
        publishing: Publishing,
        live: Live,
        connecting: Connecting,
    ) -> None:
        """Takes the sockets that are open already."""
        config = self._ground.config
        for tls, sockets in early.pairs:
            endpoint = RtmpEndpoint(
                rtmp_settings(config, tls),
                publishing=publishing,
                play=PlayDoor(live.watching, live.output, config.rtmp.wait_for_stream_s),
                proxies=self._ground.proxies,
                clock=self._ground.clock,
                connecting=connecting,
                bans=self._access.bans,
                limits=self._hub.limits,
                complain=self._ground.complain(logging.INFO),
            )
            self.rtmp.append(endpoint)
            await endpoint.start(sockets)
            self._hub.driver.add_ticker(endpoint.tick)
            port = endpoint.addresses[0][1]
            self._opened(endpoint.settings.name, config.rtmp.host, port, tls is not None)
        early.taken()

    async def open_webrtc(self, publishing: Publishing, live: Live) -> None:
        """UDP and TCP on one port."""
        ground, hub = self._ground, self._hub
        endpoint = self.webrtc = RtcEndpoint(
            webrtc_settings(ground.config),
            RtcHub(
                driver=hub.driver,
                feeds=hub.feeds,
                publishing=publishing,
                watching=live.watching,
                clock=ground.clock,
                resolver=ground.resolver,
                sources=hub.renditions.sources(Codec.OPUS),
                converts=hub.video_renditions,
            ),
        )
        await endpoint.start()
        self._opened("webrtc", ground.config.webrtc.host, endpoint.mux.port, False)

    async def open_http(
        self, hls: HlsOutput, live: Live, api: Api, pages: Pages, tls: SSLContext | None
    ) -> None:
        """Everything that speaks HTTP, and again with TLS where there is a certificate."""
        http, is_local = self._ground.config.http, self._ground.is_local
        flv = FlvDoor(
            live.watching,
            live.output,
            is_local,
            self._ground.config.rtmp.wait_for_stream_s,
            http.cors_origins,
        )
        mounts = (
            *(() if self.webrtc is None else self.webrtc.mounts(is_local)),
            hls_mount(HlsMount(hls), any_origin="*" in http.cors_origins),
            flv_mount(flv),
            api_mount(api),
            pages_mount(pages),
        )
        await self._listen("http", http.port, None, mounts)
        if tls is not None:
            await self._listen("https", http.https_port, tls, mounts)

    async def _listen(
        self, name: str, port: int, tls: SSLContext | None, mounts: tuple[Mount, ...]
    ) -> None:
        config, ground = self._ground.config, self._ground
        is_banned = self._access.bans.is_banned
        endpoint = HttpEndpoint(
            Listener(name, config.http.host, port, mounts, tls, config.http.base_path),
            clock=ground.clock,
            app_settings=AppSettings(
                media_origins=config.http.cors_origins,
                client_address=ground.client_address,
                is_banned=is_banned,
                is_trusted_proxy=ground.proxies.trusts,
            ),
            front_settings=front_settings(config),
            exempt=ground.proxies.trusts,
            is_banned=is_banned,
        )
        self.http.append(endpoint)
        self.fronts.append(endpoint.stats)
        await endpoint.start()
        self._opened(name, config.http.host, endpoint.addresses[0][1], tls is not None)

    def _opened(self, name: str, host: str, port: int, tls: bool) -> None:
        self._ground.facts.listeners.append(ListenerFacts(name, host, port, tls))
