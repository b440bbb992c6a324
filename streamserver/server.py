"""The composition root: what the server consists of, in the order in which bytes pass through.

::

    RTMP ──┬► ingest ──► Stream.packets (a log) ─┬► cmaf feed ──► HLS ──► HTTP
    WebRTC ┘                                     ├► body feed ─┬► chunks ──► fan-out ──► RTMP
                                                 │             └► tags ──► fan-out ──► HTTP (FLV)
                                                 └► rtp feed ──► fan-out ──► WebRTC
                              the API and the pages look at the hub
"""

import asyncio
import contextlib
import logging
import os
import socket
from collections import Counter
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from ssl import SSLContext
from typing import Final
from urllib.parse import urlsplit

from streamserver import __version__
from streamserver.api import openapi
from streamserver.api.app import Api, ApiSettings
from streamserver.api.authorizer import ChainAuthorizer
from streamserver.api.event_streams import EventStreams
from streamserver.api.handlers import Services
from streamserver.api.idempotency import Idempotency
from streamserver.api.metrics import MetricsSources, ServerMetrics
from streamserver.auth import Access, Decider, is_loopback_request
from streamserver.clock import Clock, SystemClock
from streamserver.config import Config, LoadedConfig, OpusForm
from streamserver.control.access_assembly import make_connecting, make_notices, open_access
from streamserver.control.callbacks import Callbacks, Handler
from streamserver.control.connecting import Connecting
from streamserver.control.control import Control, ControlSettings
from streamserver.control.credentials import CredentialControl
from streamserver.control.demonstration import demonstrate
from streamserver.control.destinations import DestinationControl
from streamserver.control.draining import Drain
from streamserver.control.eventing import Eventing, open_events
from streamserver.control.facts import ListenerFacts, LoopLag, ServerFacts
from streamserver.control.hook_notices import HookNotices
from streamserver.control.live_settings import LiveSettings
from streamserver.control.playing import PlayGate
from streamserver.control.publishing import Publishing
from streamserver.control.pulling import make_pulls
from streamserver.control.records import Records
from streamserver.control.registering import Registering
from streamserver.control.reloading import ReloadError, Reloading
from streamserver.control.session_ends import SessionEnds
from streamserver.control.settings_models import Reloaded
from streamserver.control.totals import Totals
from streamserver.control.watching import Watching
from streamserver.control.webhooks import WebhookControl
from streamserver.endpoints.http.app import AppSettings, Mount
from streamserver.endpoints.http.connections import FrontStats
from streamserver.endpoints.http.flv import FlvDoor, flv_mount
from streamserver.endpoints.http.listener import HttpEndpoint, Listener
from streamserver.endpoints.http.mounts import api_mount, hls_mount, pages_mount
from streamserver.endpoints.rtmp import RtmpEndpoint
from streamserver.endpoints.rtmp_watch import PlayDoor
from streamserver.endpoints.webrtc import RtcEndpoint, RtcHub
from streamserver.errors import LocalProtocolError
from streamserver.feeds.cmaf.feed import CmafFeed
from streamserver.feeds.cmaf.settings import CmafSettings
from streamserver.ffmpeg import ts
from streamserver.ffmpeg.executor import MediaExecutor
from streamserver.hub.driver import Driver
from streamserver.hub.feeds import FeedPool
from streamserver.hub.limits import Limits
from streamserver.hub.registry import Registry
from streamserver.hub.sessions import SessionTable
from streamserver.hub.sources import OwnPackets, SourceHold, Sources
from streamserver.ingest.pull import Pulls
from streamserver.logging_setup import RateLimitedLogger, set_level
from streamserver.malloc import MemoryReturn, malloc_trim
from streamserver.media.track import Codec
from streamserver.net.addresses import Listening, lan_address
from streamserver.net.proxies import TrustedProxies
from streamserver.net.resolver import DnsResolver
from streamserver.net.sockets import bind
from streamserver.net.tls import HTTP_ALPN, CertificateFiles, self_signed_context
from streamserver.outputs.destinations.assembly import body_holder, make_destinations
from streamserver.outputs.destinations.loops import OwnDoors
from streamserver.outputs.destinations.manager import ConfiguredDestination, Destinations
from streamserver.outputs.hls.channel import TsMaker
from streamserver.outputs.hls.mount import HlsMount
from streamserver.outputs.hls.output import HlsOutput
from streamserver.outputs.live import LiveOutput
from streamserver.outputs.renditions import Renditions
from streamserver.settings import (
    cmaf_settings,
    fan_out_settings,
    feed_bounds,
    front_settings,
    hls_settings,
    limit_settings,
    live_registry_settings,
    registry_settings,
    rtmp_settings,
    webrtc_settings,
)
from streamserver.storage import Storage, StorageError, open_storage
from streamserver.web.pages import Pages

__all__ = ["Server"]

_EXECUTOR_CLOSE_S: Final = 2

_MEDIA_WORKERS: Final = 2
_MEDIA_WAITING: Final = 256
"""Threads of FFmpeg, and calls that may wait for one."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _Tls:
    """The contexts of the listeners that have a certificate."""

    https: SSLContext | None = None
    rtmps: SSLContext | None = None


class _Hub:
    """Streams, sessions, and the loop that they run on."""

    def __init__(
        self,
        config: Config,
        clock: Clock,
        executor: MediaExecutor,
        complain: Callable[..., object],
    ) -> None:
        self.driver = Driver(clock)
        self.sessions = SessionTable()
        self.limits = Limits(self.sessions, limit_settings(config), complain)
        self.registry = Registry(
            clock,
            self.driver.schedule,
            registry_settings(config),
        )
        self.feeds = FeedPool(clock.monotonic_ns, self.driver.report)
        # The first listener: outputs complete what they have when a publisher leaves.
        self.renditions = Renditions(
            feeds=self.feeds,
            schedule=self.driver.schedule,
            bounds=registry_settings(config).bounds,
            run=executor.run,
        )
        self.registry.add_listener(self.renditions)
        self.sources: Sources = OwnPackets()
        """What HLS, RTMP, FLV and destinations read."""
        if config.server.opus is OpusForm.AAC:
            self.sources = self.renditions.sources(Codec.AAC)
        self.totals = Totals(self.registry, self.sessions)
        self.ends = SessionEnds(self.sessions, clock)
        self.driver.add_ticker(self.ends.tick)
        self.lag = LoopLag()
        self.driver.add_ticker(self.registry.tick)
        self.driver.add_ticker(self.limits.tick)
        self.driver.add_ticker(self.feeds.tick)
        # In a thread: it takes tens of milliseconds for hundreds of megabytes.
        trim = partial(asyncio.get_running_loop().run_in_executor, None, malloc_trim)
        memory = MemoryReturn(clock.monotonic_ns, trim)
        self.registry.add_listener(memory)
        self.driver.add_ticker(memory.tick)
        self.driver.add_ticker(self.lag.tick)


@dataclass(frozen=True, slots=True)
class _Live:
    """Viewers of RTMP and FLV: who may, and who sends."""

    watching: Watching
    output: LiveOutput


class Server:
    """A whole server in one event loop; several may live in one process."""

    def __init__(
        self,
        config: Config,
        *,
        clock: Clock | None = None,
        environ: Mapping[str, str] = os.environ,
        loaded: LoadedConfig | None = None,
        demo: bool = False,
        tls_self_signed: bool = False,
        deciders: Sequence[Decider] = (),
    ) -> None:
        """Opens nothing yet.

        ``loaded`` knows where ``config`` came from, for `reload`. ``deciders``
        are a program's own voices about who may; see `CoroutineDecider`.
        """
        self.config = config
        self._loaded = loaded or LoadedConfig(config)
        self._reloading: Reloading | None = None
        self.clock = clock or SystemClock()
        self.access: Access | None = None
        """Who may; known once the server has started."""
        self.facts = ServerFacts(
            version=__version__,
            started_wall_ns=self.clock.wall_ns(),
            started_ns=self.clock.monotonic_ns(),
        )
        """Listeners and states, as the API tells them."""
        self._environ = environ
        self._with_demo = demo
        self._deciders = tuple(deciders)
        self._tls_self_signed = tls_self_signed
        self._proxies = TrustedProxies(config.http.trusted_proxies)
        self._complaints = RateLimitedLogger(logging.getLogger("streamserver.peers"))
        self._certificates: list[CertificateFiles] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self._rtmp: list[RtmpEndpoint] = []
        self._http: list[HttpEndpoint] = []
        self._fronts: list[FrontStats] = []
        self._hub: _Hub | None = None
        self._drain: Drain | None = None
        self._hls: HlsOutput | None = None
        self._resolver = DnsResolver()
        self._destinations: Destinations | None = None
        self._pulls: Pulls | None = None
        self._notices: HookNotices | None = None
        self._webrtc: RtcEndpoint | None = None
        self._storage: Storage | None = None
        self._executor: MediaExecutor | None = None
        self._callbacks = Callbacks()
        self._events: Eventing | None = None
        self._event_streams: EventStreams | None = None

    def on(self, types: str, handler: Handler) -> Callable[[], None]:
        """Calls a function or coroutine function with each `Event` of a type.

        ``types`` is a type (``stream.started``), a group (``viewer.*``) or ``*``. Before the start
        or later. A handler never runs within what it is told of, and its errors are logged.
        Answers what takes it off again. Raises `InvalidFilterError`.
        """
        return self._callbacks.on(types, handler)

    @property
    def listeners(self) -> list[Listening]:
        """What is open, with the ports that were really bound."""
        base = self.config.http.base_path
        return [
            Listening(
                one.name.upper(), one.name, one.host, one.port, base * one.name.startswith("http")
            )
            for one in self.facts.listeners
        ]

    @property
    def durable(self) -> bool:
        """Whether the storage outlives the process."""
        return self._storage is not None and self._storage.durable

    @property
    def dashboard_url(self) -> str:
        """Where a browser on this machine finds the dashboard."""
        web = next(one for one in self.listeners if one.scheme == "http")
        return web.url("localhost") + "/"

    # ---- life -------------------------------------------------------------------------------

    async def start(self) -> None:
        """Opens ports and storage, and serves.

        Raises `ConfigError` for what only shows now, such as a broken certificate, and
        `UnavailableError` for a port that is taken; nothing stays open then.
        """
        try:
            await self._start()
        except BaseException:
            await self.close()
            raise

    async def drain(self) -> None:
        """Takes nothing new, asks publishers to move where they can, ends the broadcasts, and lets
        players fetch the end of them; within ``server.drain_timeout_s``.

        The ports stay open: whoever comes now is refused with a sentence.
        """
        self.facts.is_draining = True
        hub = self._hub
        if hub is None:
            return
        if self._events is not None:
            self._events.announcer.server_draining()
        self._drain = Drain(hub.registry, hub.sessions, self.config.server.drain_timeout_s)
        await self._drain.run(
            lambda reason: {one for rtmp in self._rtmp for one in rtmp.ask_to_reconnect(reason)}
        )

    async def close(self) -> None:
        """Ends everything, doors first. Safe after a failed start, and twice."""
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._hub is not None:
            self._hub.registry.close("the server is shutting down")
        if self._pulls is not None:
            await self._pulls.close()
        if self._destinations is not None:
            await self._destinations.close()
        if self._webrtc is not None:
            await self._webrtc.close("the server is shutting down")
        for rtmp in self._rtmp:
            await rtmp.close("the server is shutting down")
        if self._hls is not None:
            self._hls.close()
        if self._event_streams is not None:
            self._event_streams.close()
        for http in self._http:
            await http.close(self._drain.left_s if self._drain is not None else 0)
        if self._events is not None:
            await self._events.close()
        if self._hub is not None:
            self._hub.driver.close()
        if self._hub is not None:
            self._hub.renditions.close()
        if self._executor is not None:
            await self._executor.close(_EXECUTOR_CLOSE_S)
        if self._notices is not None:
            await self._notices.close()
        if self.access is not None:
            await self.access.close()
        await self._resolver.close()
        if self._storage is not None:
            await self._storage.close()
        self.facts.is_listening = False
        self.facts.listeners.clear()

    async def reload(self) -> Reloaded:
        """Reads the configuration again; says what changed and what waits for a restart.

        Raises `ReloadError`: nothing has changed then.
        """
        if self._reloading is None:
            raise LocalProtocolError("the server has not started")
        return await self._reloading.reload()

    def reload_soon(self) -> None:
        """The same as a signal handler can call it; faults are logged."""
        self._run(self._reload_and_tell())

    async def _reload_and_tell(self) -> None:
        try:
            await self.reload()
        except (ReloadError, StorageError) as error:
            logger.error("reload: %s", error)

    def reload_certificates(self) -> None:
        """Looks at the certificate files now, not within a second."""
        for files in self._certificates:
            if files.check():
                files.load()

    async def _start(self) -> None:
        config = self.config
        tls = await self._tls_contexts()
        # Encoders give up when their first connect is refused: their ports come before the rest,
        # and whoever connects now waits in the kernel's queue.
        with contextlib.ExitStack() as stack:
            doors: list[tuple[SSLContext | None, list[socket.socket]]] = []
            doors.append((None, _listen(stack, "rtmp", config.rtmp.host, config.rtmp.port)))
            if tls.rtmps is not None:
                sockets = _listen(stack, "rtmps", config.rtmp.host, config.rtmp.tls_port)
                doors.append((tls.rtmps, sockets))
            self._storage = await open_storage(config.storage.path, self._environ)
            self.access = await open_access(
                config,
                self._storage,
                resolver=self._resolver,
                proxies=self._proxies,
                clock=self.clock,
                complain=partial(self._complaints.log, logging.WARNING),
                deciders=self._deciders,
            )
            secret = await self._storage.signing_secret()
            stack.pop_all()
        self._executor = MediaExecutor(workers=_MEDIA_WORKERS, waiting=_MEDIA_WAITING)
        complain = partial(self._complaints.log, logging.WARNING)
        hub = self._hub = _Hub(config, self.clock, self._executor, complain)
        events = self._events = await self._open_events(hub, self._storage)
        self._hls = self._make_hls(hub, self.access, self._executor, secret)
        self._destinations = await self._make_destinations(hub, self._storage)
        self._destinations.on_state = events.announcer.destination_changed
        live = self._make_live(hub, self.access)
        publishing = Publishing(
            hub.registry,
            hub.sessions,
            self.access.decider,
            self.clock,
            apps=config.server.apps,
            stream_keys=self.access.stream_keys,
            lend=self._destinations.lend,
            limits=hub.limits,
        )
        publishing.on_refused = events.announcer.publish_refused
        self._notices = make_notices(self.access, hub.registry, hub.sessions, self.clock)
        hub.driver.add_ticker(self._notices.tick)
        connecting = make_connecting(config, self.access, self.clock, secret)
        hub.driver.start()
        for context, sockets in doors:
            await self._open_rtmp(hub, publishing, live, connecting, context, sockets)
        if config.webrtc.enabled:
            self._webrtc = await self._open_webrtc(hub, publishing, live)
        credentials = CredentialControl(self.access, self._storage, hub.ends, self.clock)
        records = Records(self._storage)
        await records.load()
        live_settings = await self._open_settings(hub, self._storage)
        self._reloading = Reloading(
            live_settings, self.access, credentials, self.reload_certificates
        )
        api = self._make_api(
            hub,
            self._hls,
            live,
            self.access,
            self._destinations,
            credentials,
            events,
            records,
            self._storage,
            live_settings,
            self._reloading,
        )
        await self._open_http(self._hls, live, api, tls.https)
        self.facts.is_listening = True
        events.announcer.server_started()
        self._pulls = self._start_pulls(hub, publishing)
        if self._with_demo:
            self._run(demonstrate(publishing, self.clock))

    async def _open_settings(self, hub: _Hub, storage: Storage) -> LiveSettings:
        live = LiveSettings(self._loaded, storage)
        await live.load()
        hub.registry.settings_of = partial(
            live_registry_settings, registry_settings(self.config), live
        )
        level = self.config.log.level

        def changed() -> None:
            nonlocal level
            if live.log_level is not level:
                level = live.log_level
                set_level(level)

        live.on_change = changed
        changed()
        return live

    async def _open_events(self, hub: _Hub, storage: Storage) -> Eventing:
        config = self.config
        return await open_events(
            registry=hub.registry,
            sessions=hub.sessions,
            driver=hub.driver,
            facts=self.facts,
            storage=storage,
            resolver=self._resolver,
            clock=self.clock,
            callbacks=self._callbacks,
            webhooks=config.webhooks,
            public_url=config.http.public_url,
            allow_private=config.outgoing.allow_private,
            ca_file=config.outgoing.ca_file,
        )

    # ---- doors ------------------------------------------------------------------------------

    async def _tls_contexts(self) -> _Tls:
        http, rtmp = self.config.http, self.config.rtmp
        https = self._certificate(http.cert_file, http.key_file, HTTP_ALPN)
        rtmps = self._certificate(rtmp.cert_file, rtmp.key_file, ())
        if https is None and self._tls_self_signed:
            names = {"localhost", "127.0.0.1", "::1", socket.gethostname(), lan_address()}
            https = await asyncio.to_thread(self_signed_context, names, alpn=HTTP_ALPN)
        return _Tls(https, rtmps)

    def _certificate(self, cert: str, key: str, alpn: tuple[str, ...]) -> SSLContext | None:
        if not cert:
            return None
        files = CertificateFiles(Path(cert), Path(key), alpn=alpn)
        self._certificates.append(files)
        self._run(files.watch())
        return files.context

    async def _open_rtmp(
        self,
        hub: _Hub,
        publishing: Publishing,
        live: _Live,
        connecting: Connecting,
        tls: SSLContext | None,
        sockets: list[socket.socket],
    ) -> None:
        endpoint = RtmpEndpoint(
            rtmp_settings(self.config, tls),
            publishing=publishing,
            play=PlayDoor(live.watching, live.output, self.config.rtmp.wait_for_stream_s),
            proxies=self._proxies,
            clock=self.clock,
            connecting=connecting,
            bans=self.access.bans if self.access else None,
            limits=hub.limits,
            complain=partial(self._complaints.log, logging.INFO),
        )
        self._rtmp.append(endpoint)
        await endpoint.start(sockets)
        hub.driver.add_ticker(endpoint.tick)
        port = endpoint.addresses[0][1]
        name = endpoint.settings.name
        self.facts.listeners.append(
            ListenerFacts(name, self.config.rtmp.host, port, tls is not None)
        )

    async def _open_webrtc(self, hub: _Hub, publishing: Publishing, live: _Live) -> RtcEndpoint:
        endpoint = RtcEndpoint(
            webrtc_settings(self.config),
            RtcHub(
                driver=hub.driver,
                feeds=hub.feeds,
                publishing=publishing,
                watching=live.watching,
                clock=self.clock,
                resolver=self._resolver,
                sources=hub.renditions.sources(Codec.OPUS),
            ),
        )
        await endpoint.start()
        host, port = self.config.webrtc.host, endpoint.mux.port
        self.facts.listeners.append(ListenerFacts("webrtc", host, port))
        return endpoint

    async def _open_http(
        self, hls: HlsOutput, live: _Live, api: Api, tls: SSLContext | None
    ) -> None:
        http = self.config.http
        webrtc = () if self._webrtc is None else self._webrtc.mounts(self._is_local)
        mounts = (
            *webrtc,
            hls_mount(HlsMount(hls), any_origin="*" in http.cors_origins),
            flv_mount(
                FlvDoor(
                    live.watching,
                    live.output,
                    self._is_local,
                    self.config.rtmp.wait_for_stream_s,
                    http.cors_origins,
                )
            ),
            api_mount(api),
            pages_mount(Pages(https=self._https(tls))),
        )
        await self._open_listener("http", http.port, None, mounts)
        if tls is not None:
            await self._open_listener("https", http.https_port, tls, mounts)

    def _https(self, tls: SSLContext | None) -> str:
        """Where browsers reach the pages over HTTPS; empty: nowhere."""
        http = self.config.http
        if http.public_url.startswith("https:"):
            return http.public_url
        return "" if tls is None else f":{http.https_port}"

    async def _open_listener(
        self, name: str, port: int, tls: SSLContext | None, mounts: tuple[Mount, ...]
    ) -> None:
        config = self.config
        endpoint = HttpEndpoint(
            Listener(name, config.http.host, port, mounts, tls, config.http.base_path),
            clock=self.clock,
            app_settings=AppSettings(
                media_origins=config.http.cors_origins,
                client_address=self._client_address,
                is_banned=self._is_banned,
                is_trusted_proxy=self._proxies.trusts,
            ),
            front_settings=front_settings(config),
            exempt=self._proxies.trusts,
            is_banned=self._is_banned,
        )
        self._http.append(endpoint)
        self._fronts.append(endpoint.stats)
        await endpoint.start()
        bound = endpoint.addresses[0][1]
        self.facts.listeners.append(ListenerFacts(name, config.http.host, bound, tls is not None))

    def _client_address(self, peer: str, headers: Mapping[str, str]) -> str:
        forwarded = [value for name, value in headers.items() if name.lower() == "x-forwarded-for"]
        return self._proxies.client_ip(peer, forwarded)

    # ---- outputs and control ----------------------------------------------------------------

    def _make_hls(
        self, hub: _Hub, access: Access, executor: MediaExecutor, secret: bytes
    ) -> HlsOutput:
        output = HlsOutput(
            clock=self.clock,
            slicer=hub.driver.slicer,
            sessions=hub.sessions,
            settings=hls_settings(self.config),
            secret=secret,
            make_feed=partial(_make_feed, cmaf_settings(self.config), hub.driver),
            ts=TsMaker(partial(executor.run, ts.remux_segment), ts.supports),
            authorize=PlayGate(access.decider, self._is_local, hub.registry.demand).check_hls,
            sources=hub.sources,
            is_revoked=access.is_revoked,
            limits=hub.limits,
        )
        hub.registry.add_listener(output)
        hub.driver.add_ticker(output.tick)
        return output

    async def _make_destinations(self, hub: _Hub, storage: Storage) -> Destinations:
        config = self.config
        public_host = urlsplit(config.http.public_url).hostname
        names = {config.rtmp.host, config.http.host, public_host or "", lan_address()} - {""}
        destinations = make_destinations(
            registry=hub.registry,
            hold=body_holder(hub.feeds, hub.driver, feed_bounds(config), hub.sources),
            sources=hub.sources,
            resolver=self._resolver,
            doors=OwnDoors(self._rtmp_ports, frozenset(names)),
            storage=storage,
            clock=self.clock,
            allow_private=config.outgoing.allow_private,
            ca_file=config.outgoing.ca_file,
        )
        await destinations.load(
            ConfiguredDestination(one.stream, one.url.reveal(), one.name, one.enabled)
            for one in config.destinations
        )
        hub.registry.add_listener(destinations)
        return destinations

    def _start_pulls(self, hub: _Hub, publishing: Publishing) -> Pulls:
        pulls = make_pulls(
            self.config,
            registry=hub.registry,
            sessions=hub.sessions,
            publishing=publishing,
            resolver=self._resolver,
            clock=self.clock,
        )
        hub.registry.add_listener(pulls)
        hub.registry.add_supplier(pulls.supply)
        hub.driver.add_ticker(pulls.tick)
        pulls.start()
        return pulls

    def _rtmp_ports(self) -> frozenset[int]:
        return frozenset(one.port for one in self.facts.listeners if one.name in ("rtmp", "rtmps"))

    def _make_live(self, hub: _Hub, access: Access) -> _Live:
        output = LiveOutput(
            driver=hub.driver,
            feeds=hub.feeds,
            clock=self.clock,
            bounds=feed_bounds(self.config),
            settings=fan_out_settings(self.config),
            chunk_size=self.config.rtmp.chunk_size,
            sources=hub.sources,
        )
        hub.driver.add_ticker(output.tick)
        watching = Watching(
            hub.registry, hub.sessions, access.decider, self.clock, limits=hub.limits
        )
        return _Live(watching, output)

    def _make_api(
        self,
        hub: _Hub,
        hls: HlsOutput,
        live: _Live,
        access: Access,
        destinations: Destinations,
        credentials: CredentialControl,
        events: Eventing,
        records: Records,
        storage: Storage,
        live_settings: LiveSettings,
        reloading: Reloading,
    ) -> Api:
        control = Control(
            registry=hub.registry,
            sessions=hub.sessions,
            totals=hub.totals,
            facts=self.facts,
            clock=self.clock,
            settings=ControlSettings(public_url=self.config.http.public_url),
            destinations=DestinationControl(destinations, self.clock),
            last_event_id=lambda: events.log.last_id,
            records=records,
        )
        self._event_streams = EventStreams(events.log, control.snapshot, self.clock.wall_ns)
        webrtc = self._webrtc
        metrics = ServerMetrics(
            MetricsSources(
                facts=self.facts,
                registry=hub.registry,
                sessions=hub.sessions,
                totals=hub.totals,
                slicer=hub.driver.slicer,
                driver=hub.driver,
                loop_lag=hub.lag,
                fronts=self._fronts,
                hls_requests=lambda: {
                    "playlist": hls.stats.playlists,
                    "media": hls.stats.media,
                },
                rtmp_connections=self._rtmp_outcomes,
                limit_refusals=lambda: hub.limits.refused,
                access=access,
                destinations=destinations,
                renditions=hub.renditions,
                events=events.log,
                announcer=events.announcer,
                event_streams=self._event_streams,
                webhooks=events.webhooks,
                webrtc=webrtc,
                feed_log_bytes=lambda: {
                    "hls": hls.held_bytes,
                    **live.output.held_bytes(),
                    "rtp": 0 if webrtc is None else webrtc.output.held_bytes,
                },
                reader_jumps=lambda: live.output.stats.jumps,
            )
        )
        services = Services(
            control=control,
            settings=live_settings,
            reloading=reloading,
            idempotency=Idempotency(storage, self.clock.wall_ns),
            registering=Registering(control, records, credentials, apps=self.config.server.apps),
            credentials=credentials,
            scrape=metrics.scrape,
            heartbeat=hub.driver,
            clock=self.clock,
            events=self._event_streams,
            webhooks=WebhookControl(events.webhooks),
            openapi=openapi.render(
                self.config.http.public_url or self.config.http.base_path or "/"
            ),
        )
        settings = ApiSettings(cors_origins=self.config.api.cors_origins)
        return Api(services, ChainAuthorizer(access.decider, self._is_local), settings)

    def _is_banned(self, ip: str) -> bool:
        return self.access is not None and self.access.bans.is_banned(ip)

    def _is_local(self, peer_ip: str, headers: Mapping[str, str], host: str | None) -> bool:
        return is_loopback_request(
            peer_ip, headers, host, trusted_proxies_configured=bool(self._proxies)
        )

    def _rtmp_outcomes(self) -> Mapping[str, int]:
        outcomes: Counter[str] = Counter()
        for endpoint in self._rtmp:
            outcomes.update(endpoint.stats.outcomes)
        return outcomes

    # ---- tasks ------------------------------------------------------------------------------

    def _run(self, work: Coroutine[object, object, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def _listen(stack: contextlib.ExitStack, name: str, host: str, port: int) -> list[socket.socket]:
    """Sockets that are closed again if the start fails."""
    sockets = bind(name, host, port)
    for sock in sockets:
        stack.callback(sock.close)
    return sockets


def _make_feed(
    settings: CmafSettings, driver: Driver, source: SourceHold, first_msn: int, position: int
) -> CmafFeed:
    return CmafFeed(source.tracks_of, first_msn, settings, driver.schedule, position=position)
