"""Publishers for sinks."""

import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from streamserver.media.track import Kind
from streamserver.sink import Misbehavior, Sink, SinkSettings
from streamserver.sink.connection import reset
from tests import media_factory
from tests.endpoints.rtmp_client import RtmpClient


def sink_that(how: str = "none", **more: object) -> Sink:
    """A sink on a free port of the loopback."""
    return Sink(
        SinkSettings(misbehavior=Misbehavior.parse(how), **more)  # type: ignore[arg-type]
    )


@asynccontextmanager
async def client_of(sink: Sink, *, tls: ssl.SSLContext | None = None) -> AsyncIterator[RtmpClient]:
    """A connection that is closed at the end."""
    client = await RtmpClient.connect(sink.port, tls=tls)
    try:
        yield client
    finally:
        client.close()


def vanish(client: RtmpClient) -> None:
    """Resets the connection, so that no unsent bytes keep it half open."""
    reset(client.writer)


def trusting(sink: Sink) -> ssl.SSLContext:
    """A client's context that trusts the sink's certificate, and checks all the rest."""
    assert sink.certificate is not None
    return ssl.create_default_context(cadata=sink.certificate.pem.decode())


def send_clip(client: RtmpClient, seconds: float = 2.0) -> int:
    """Sends a clip at once; answers how many coded frames it has."""
    clip = media_factory.h264_aac(seconds=seconds)
    for tag in media_factory.tags(clip.flv):
        client.media(9 if tag.kind is Kind.VIDEO else 8, tag.timestamp_ms, tag.body)
    return len(clip.packets)
