"""The API: what it may ask, and what it counts."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, partial

from streamserver.api import openapi
from streamserver.api.app import Api, ApiSettings
from streamserver.api.authorizer import ChainAuthorizer
from streamserver.api.event_streams import EventStreams
from streamserver.api.handlers import Services
from streamserver.api.idempotency import Idempotency
from streamserver.api.metrics import MetricsSources, ServerMetrics
from streamserver.api.metrics_doors import SlateCounts
from streamserver.assembly.doors import Doors
from streamserver.assembly.ground import Ground
from streamserver.assembly.hub import Hub
from streamserver.assembly.parts import Parts
from streamserver.config import LoadedConfig
from streamserver.control.control import Control, ControlSettings
from streamserver.control.credentials import CredentialControl
from streamserver.control.destinations import DestinationControl
from streamserver.control.live_parts import live_parts
from streamserver.control.live_settings import LiveSettings
from streamserver.control.records import Records
from streamserver.control.registering import Registering
from streamserver.control.reloading import Reloading
from streamserver.control.webhooks import WebhookControl
from streamserver.ingest.slates import Slates
from streamserver.logging_setup import set_level
from streamserver.settings import live_registry_settings, registry_settings
from streamserver.storage import Storage

__all__ = ["Management", "make_api", "open_management"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Management:
    """What the API acts through."""

    control: Control
    """Streams and viewers, told and acted on."""

    records: Records
    """Registered streams."""

    credentials: CredentialControl
    """Keys and tokens."""

    settings: LiveSettings
    """What may change while the server runs."""

    reloading: Reloading
    """Reads the configuration again."""

    event_streams: EventStreams
    """Readers of events."""


async def open_management(
    ground: Ground, parts: Parts, loaded: LoadedConfig, reload_certificates: Callable[[], None]
) -> Management:
    """Reads what the API made in earlier lives. Raises `StorageError`."""
    hub, storage, events = parts.hub, parts.storage, parts.events
    credentials = CredentialControl(parts.access, storage, hub.ends, ground.clock)
    records = Records(storage)
    await records.load()
    settings = await _open_settings(ground, hub, storage, loaded)
    control = Control(
        registry=hub.registry,
        sessions=hub.sessions,
        totals=hub.totals,
        facts=ground.facts,
        clock=ground.clock,
        settings=ControlSettings(public_url=ground.config.http.public_url),
        destinations=DestinationControl(parts.destinations, ground.clock),
        last_event_id=lambda: events.log.last_id,
        records=records,
        peak=events.announcer.audiences.peak,
    )
    return Management(
        control=control,
        records=records,
        credentials=credentials,
        settings=settings,
        reloading=Reloading(
            settings,
            parts.access,
            credentials,
            reload_certificates,
            live_parts(parts.destinations, events.webhooks, parts.apps),
        ),
        event_streams=EventStreams(
            events.log, control.snapshot, ground.clock.wall_ns, ends=hub.ends
        ),
    )


async def _open_settings(
    ground: Ground, hub: Hub, storage: Storage, loaded: LoadedConfig
) -> LiveSettings:
    live = LiveSettings(loaded, storage)
    await live.load()
    hub.registry.settings_of = partial(
        live_registry_settings, registry_settings(ground.config), live
    )
    level = ground.config.log.level

    def changed() -> None:
        nonlocal level
        if live.log_level is not level:
            level = live.log_level
            set_level(level)

    live.on_change = changed
    changed()
    return live


def make_api(
    ground: Ground, parts: Parts, management: Management, doors: Doors, slates: Slates
) -> Api:
    """The API with its metrics and its OpenAPI document."""
    http = ground.config.http
    credentials, control = management.credentials, management.control
    services = Services(
        control=control,
        settings=management.settings,
        reloading=management.reloading,
        idempotency=Idempotency(parts.storage, ground.clock.wall_ns),
        registering=Registering(control, management.records, credentials, apps=parts.apps),
        credentials=credentials,
        scrape=_metrics(ground, parts, management, doors, slates).scrape,
        heartbeat=parts.hub.driver,
        clock=ground.clock,
        events=management.event_streams,
        webhooks=WebhookControl(parts.events.webhooks),
        openapi=cache(partial(openapi.render, http.public_url or http.base_path or "/")),
    )
    settings = ApiSettings(cors_origins=ground.config.api.cors_origins)
    return Api(services, ChainAuthorizer(parts.access.decider, ground.is_local), settings)


def _metrics(
    ground: Ground, parts: Parts, management: Management, doors: Doors, slates: Slates
) -> ServerMetrics:
    hub, hls, live, webrtc = parts.hub, parts.hls, parts.live, doors.webrtc
    video = hub.video_renditions
    return ServerMetrics(
        MetricsSources(
            facts=ground.facts,
            registry=hub.registry,
            sessions=hub.sessions,
            totals=hub.totals,
            slicer=hub.driver.slicer,
            driver=hub.driver,
            loop_lag=hub.lag,
            fronts=doors.fronts,
            hls_requests=lambda: {
                "playlist": hls.stats.playlists,
                "media": hls.stats.media,
            },
            rtmp_connections=doors.rtmp_outcomes,
            doors=doors.counts,
            slates=lambda: SlateCounts(shown=slates.shown, failed=slates.failures),
            limit_refusals=lambda: hub.limits.refused,
            access=parts.access,
            destinations=parts.destinations,
            renditions=hub.renditions,
            video_renditions=video,
            events=parts.events.log,
            announcer=parts.events.announcer,
            event_streams=management.event_streams,
            webhooks=parts.events.webhooks,
            webrtc=webrtc,
            feed_log_bytes=lambda: {
                "hls": hls.held_bytes,
                **live.output.held_bytes(),
                "rtp": 0 if webrtc is None else webrtc.output.held_bytes,
                "converted": 0 if video is None else video.held_bytes,
            },
            reader_jumps=lambda: live.output.stats.jumps,
        )
    )
