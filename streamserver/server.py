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
from collections.abc import Callable, Coroutine, Mapping, Sequence
from ssl import SSLContext
from typing import Final

from streamserver import __version__
from streamserver.assembly.api import Management, make_api, open_management
from streamserver.assembly.doors import SHUTTING_DOWN, Certificates, Doors, EarlySockets
from streamserver.assembly.early import Early
from streamserver.assembly.ground import Ground
from streamserver.assembly.hub import Hub
from streamserver.assembly.late import load_late
from streamserver.assembly.outputs import make_hls, make_live, open_destinations, start_pulls
from streamserver.assembly.parts import Parts
from streamserver.assembly.renewing import keep_renewed
from streamserver.auth import Access, Decider
from streamserver.clock import Clock, SystemClock
from streamserver.config import Config, LoadedConfig
from streamserver.control.access_assembly import make_connecting, make_notices, open_access
from streamserver.control.apps import Apps
from streamserver.control.callbacks import Callbacks, Handler
from streamserver.control.demonstration import demonstrate
from streamserver.control.draining import Drain
from streamserver.control.eventing import Eventing, open_events
from streamserver.control.facts import ServerFacts
from streamserver.control.hook_notices import HookNotices
from streamserver.control.publishing import Publishing
from streamserver.control.reloading import ReloadError, Reloading
from streamserver.control.settings_models import Reloaded
from streamserver.control.slating import make_slates
from streamserver.errors import LocalProtocolError
from streamserver.ffmpeg.executor import MediaExecutor
from streamserver.logging_setup import RateLimitedLogger
from streamserver.net.addresses import Listening
from streamserver.net.proxies import TrustedProxies
from streamserver.net.resolver import DnsResolver
from streamserver.storage import Storage, StorageError, open_storage

__all__ = ["Server"]

_EXECUTOR_CLOSE_S: Final = 2
"""What FFmpeg is given to end what it is at."""

_MEDIA_WORKERS: Final = 2
_AUDIO_WORKERS: Final = 2
_MEDIA_WAITING: Final = 256
"""Threads of FFmpeg, and calls that may wait for one."""

logger = logging.getLogger(__name__)


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
        self.clock = clock or SystemClock()
        self.facts = ServerFacts(
            version=__version__,
            started_wall_ns=self.clock.wall_ns(),
            started_ns=self.clock.monotonic_ns(),
        )
        """Listeners and states, as the API tells them."""
        self.access: Access | None = None
        """Who may; known once the server has started."""
        self._loaded = loaded or LoadedConfig(config)
        self._environ = environ
        self._with_demo = demo
        self._deciders = tuple(deciders)
        self._tls_self_signed = tls_self_signed
        self._ground = Ground(
            config=config,
            clock=self.clock,
            facts=self.facts,
            proxies=TrustedProxies(config.http.trusted_proxies),
            resolver=DnsResolver(),
            complaints=RateLimitedLogger(logging.getLogger("streamserver.peers")),
        )
        self._tasks: set[asyncio.Task[None]] = set()
        self._certificates = Certificates(self._run)
        self._callbacks = Callbacks()
        self._closing = contextlib.AsyncExitStack()
        """What is open, to be closed in the opposite order."""
        self._storage: Storage | None = None
        self._hub: Hub | None = None
        self._events: Eventing | None = None
        self._doors: Doors | None = None
        self._reloading: Reloading | None = None
        self._drain: Drain | None = None
        self._late: asyncio.Task[None] | None = None

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
    def doors(self) -> Doors:
        """The open ports, with what they count. Raises `LocalProtocolError` before the start."""
        if self._doors is None:
            raise LocalProtocolError("the server has not started")
        return self._doors

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

    async def completed(self) -> None:
        """Waits for what is loaded behind the open ports: FFmpeg, the libraries of WebRTC.

        Raises `UnavailableError` where one is missing or broken: the server had better end then.
        """
        if self._late is None:
            raise LocalProtocolError("the server has not started")
        await asyncio.shield(self._late)

    async def drain(self) -> None:
        """Takes nothing new, asks publishers to move where they can, ends the broadcasts, and lets
        players fetch the end of them; within ``server.drain_timeout_s``.

        The ports stay open: whoever comes now is refused with a sentence.
        """
        self.facts.is_draining = True
        if self._hub is None or self._doors is None or self._events is None:
            return
        self._events.announcer.server_draining()
        self._drain = Drain(
            self._hub.registry, self._hub.sessions, self.config.server.drain_timeout_s
        )
        await self._drain.run(self._doors.ask_to_reconnect)

    async def close(self) -> None:
        """Ends everything, doors first. Safe after a failed start, and twice."""
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._closing.aclose()

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
        self._certificates.reload()

    # ---- the rooms, in the order in which they open -------------------------------------------

    async def _start(self) -> None:
        ground = self._ground
        self._closing.callback(self.facts.closed)
        self._closing.push_async_callback(ground.resolver.close)
        tls = await self._certificates.contexts(ground, self_signed=self._tls_self_signed)
        early = Early(self.config, https=tls.https is not None)
        self._closing.push_async_callback(early.close)
        # Encoders give up when their first connect is refused: their ports come before the rest.
        with EarlySockets(ground, tls) as sockets:
            storage, access = await self._open_storage()
            secret = await storage.signing_secret()
            hub, executor = self._make_hub()
            authorities = await early.authorities()
            parts = await self._open_parts(hub, storage, access, executor, secret, authorities)
            publishing = self._make_publishing(parts)
            notices = self._make_notices(parts)
            management = await open_management(
                ground, parts, self._loaded, self.reload_certificates
            )
            self._reloading = management.reloading
            slates = make_slates(management.settings, hub.registry, hub.driver, self.clock)
            self._closing.push_async_callback(slates.close)
            doors = self._open_doors(parts, management)
            hub.driver.start()
            connecting = make_connecting(self.config, access, self.clock, secret)
            connecting.on_left = notices.disconnected
            await doors.open_rtmp(sockets, publishing, parts.live, connecting)
        if self.config.webrtc.enabled:
            await doors.open_webrtc(publishing, parts.live)
        api = make_api(ground, parts, management, doors, slates)
        await doors.open_http(parts.hls, parts.live, api, await early.pages(), tls.https)
        keep_renewed(ground, parts, doors, management.settings)
        self.facts.is_listening = True
        self._late = self._run(load_late(doors.webrtc))
        parts.events.announcer.server_started()
        pulls = start_pulls(ground, hub, publishing)
        self._closing.push_async_callback(pulls.close)
        # First of all: every stream ends, and everybody who follows one is told.
        self._closing.callback(hub.registry.close, SHUTTING_DOWN)
        if self._with_demo:
            self._run(demonstrate(publishing, self.clock))

    async def _open_storage(self) -> tuple[Storage, Access]:
        config, ground = self.config, self._ground
        storage = self._storage = await open_storage(config.storage.path, self._environ)
        self._closing.push_async_callback(storage.close)
        access = self.access = await open_access(
            config,
            storage,
            resolver=ground.resolver,
            proxies=ground.proxies,
            clock=ground.clock,
            complain=ground.complain(),
            deciders=self._deciders,
        )
        self._closing.push_async_callback(access.close)
        return storage, access

    def _make_hub(self) -> tuple[Hub, MediaExecutor]:
        executor = MediaExecutor(workers=_MEDIA_WORKERS, waiting=_MEDIA_WAITING)
        self._closing.push_async_callback(executor.close, _EXECUTOR_CLOSE_S)
        audio = MediaExecutor(workers=_AUDIO_WORKERS, waiting=_MEDIA_WAITING, name="audio")
        self._closing.push_async_callback(audio.close, _EXECUTOR_CLOSE_S)
        hub = self._hub = Hub(self._ground, audio)
        self._closing.push_async_callback(hub.close_children)
        self._closing.callback(hub.close)
        return hub, executor

    async def _open_parts(
        self,
        hub: Hub,
        storage: Storage,
        access: Access,
        executor: MediaExecutor,
        secret: bytes,
        authorities: SSLContext,
    ) -> Parts:
        ground = self._ground
        events = self._events = await self._open_events(hub, storage, authorities)
        self._closing.push_async_callback(events.close)
        hls = make_hls(ground, hub, access, executor, secret)
        destinations = await open_destinations(ground, hub, storage, authorities)
        destinations.on_state = events.announcer.destination_changed
        live = make_live(ground, hub, access)
        return Parts(
            hub=hub,
            apps=Apps(self.config.server.apps),
            storage=storage,
            access=access,
            events=events,
            hls=hls,
            live=live,
            destinations=destinations,
        )

    async def _open_events(self, hub: Hub, storage: Storage, authorities: SSLContext) -> Eventing:
        config, ground = self.config, self._ground
        return await open_events(
            registry=hub.registry,
            sessions=hub.sessions,
            driver=hub.driver,
            facts=self.facts,
            storage=storage,
            resolver=ground.resolver,
            clock=self.clock,
            callbacks=self._callbacks,
            webhooks=config.webhooks,
            public_url=config.http.public_url,
            allow_private=config.outgoing.allow_private,
            tls=authorities,
        )

    def _make_publishing(self, parts: Parts) -> Publishing:
        hub, access = parts.hub, parts.access
        publishing = Publishing(
            hub.registry,
            hub.sessions,
            access.decider,
            self.clock,
            apps=parts.apps,
            stream_keys=access.stream_keys,
            lend=parts.destinations.lend,
            limits=hub.limits,
        )
        publishing.on_refused = parts.events.announcer.publish_refused
        return publishing

    def _make_notices(self, parts: Parts) -> HookNotices:
        hub = parts.hub
        notices = make_notices(parts.access, hub.registry, hub.sessions, self.clock)
        hub.driver.add_ticker(notices.tick, seldom=True)
        self._closing.push_async_callback(notices.close)
        return notices

    def _open_doors(self, parts: Parts, management: Management) -> Doors:
        doors = self._doors = Doors(self._ground, parts.hub, parts.access)
        # Read from below: who sends and who receives without a break goes first, and HTTP last,
        # for players who fetch the end.
        self._closing.push_async_callback(self._close_http, doors)
        self._closing.callback(management.event_streams.close)
        self._closing.callback(parts.hls.close)
        self._closing.push_async_callback(doors.close_media)
        self._closing.push_async_callback(parts.destinations.close)
        return doors

    async def _close_http(self, doors: Doors) -> None:
        await doors.close_http(0 if self._drain is None else self._drain.left_s)

    # ---- tasks ------------------------------------------------------------------------------

    def _run(self, work: Coroutine[object, object, None]) -> asyncio.Task[None]:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task
