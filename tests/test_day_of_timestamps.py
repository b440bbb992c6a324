"""A day of a publisher's time stamps through the whole server's path and back, in simulated time.

RTMP chunks in, ingest, the stream's log, the bodies that destinations share, chunks out: over the
extended time stamps of both directions (RTMP 1.0, 5.3.1.3: from 16777215 ms on) and the wraps at
31 and 32 bits.
"""

import pytest

from streamserver.feeds.body import BodyFeed
from streamserver.hub.registry import Registry, RegistrySettings
from streamserver.hub.stream import LogBounds
from streamserver.ingest.rtmp import RtmpIngest
from streamserver.media.flv_writer import Dialect
from streamserver.media.track import Kind
from streamserver.names import StreamKey
from streamserver.outputs.destinations.sender import Sender
from streamserver.rtmp.chunk import ChunkDecoder
from streamserver.rtmp.chunk_encoder import ChunkEncoder
from streamserver.rtmp.message import AUDIO, VIDEO, Message
from tests import media_factory
from tests.fakes import FakeClock, Turns, session

KEY = StreamKey("live", "cam")
DAY_MS = 24 * 3600 * 1000
STEP_MS = 5_000
START_NS = 5_000_000_000


class FarSide:
    """A destination that reads back what its connection is sent."""

    def __init__(self) -> None:
        self._encoder, self._decoder = ChunkEncoder(), ChunkDecoder()
        self.media: dict[int, list[int]] = {AUDIO: [], VIDEO: []}
        self.headers = 0

    def send_metadata(self, values):
        return True

    def send_shared(self, run, origin_ms):
        return False

    def send_run(self, items):
        pieces: list[bytes] = []
        self._encoder.add(pieces, 1, {AUDIO: 4, VIDEO: 6}, items)
        self._decoder.feed(b"".join(pieces))
        for message in self._decoder.messages():
            # The second byte says whether it is a sequence header (FLV E.4.2.1, E.4.3.1).
            if message.body[1]:
                self.media[message.type_id].append(message.timestamp)
            else:
                self.headers += 1
        return True


@pytest.mark.parametrize(
    "first_ms",
    [
        pytest.param(0, id="from zero, past the extended time stamps"),
        pytest.param(2**31 - DAY_MS // 2, id="over 31 bits"),
        pytest.param(2**32 - DAY_MS // 2, id="over 32 bits"),
    ],
)
async def test_a_day_of_time_stamps_is_read_back_without_a_gap(first_ms):
    clock = FakeClock(monotonic_ns=START_NS)
    bounds = LogBounds(max_ms=12_000, max_bytes=1 << 24)
    registry = Registry(clock, Turns(), RegistrySettings(bounds=bounds))
    lease = await registry.claim(KEY, session())
    ingest, stream = RtmpIngest(lease), lease.stream
    tags = list(media_factory.tags(media_factory.h264_aac().flv))
    bodies = {
        kind: [tag.body for tag in tags if tag.kind is kind] for kind in (Kind.VIDEO, Kind.AUDIO)
    }
    encoder, decoder = ChunkEncoder(), ChunkDecoder()

    def publish(kind: Kind, body: bytes, ms: int) -> None:
        """One message as an encoder writes it: only the first has a full header."""
        type_id, csid = (VIDEO, 6) if kind is Kind.VIDEO else (AUDIO, 4)
        wire = encoder.encode(Message(type_id, ms & 0xFFFF_FFFF, 1, body), csid, full=False)
        decoder.feed(wire)
        for message in decoder.messages():
            ingest.media((message,), clock.now_ns)

    for kind, (header, *_) in bodies.items():
        publish(kind, header, first_ms)
    far_side = FarSide()
    sender: Sender | None = None
    feed: BodyFeed | None = None
    for ms in range(first_ms, first_ms + DAY_MS, STEP_MS):
        publish(Kind.VIDEO, bodies[Kind.VIDEO][1], ms)
        publish(Kind.AUDIO, bodies[Kind.AUDIO][1], ms)
        clock.advance(ms=STEP_MS)
        if stream.packets.end == 0:
            continue
        if feed is None or sender is None:
            feed = BodyFeed(stream.packets, stream.tracks_of, Dialect.LEGACY, bounds, Turns())
            sender = Sender(feed.log, far_side, max_lag_ms=10_000)
        feed.pump()
        sender.pump(1 << 20)
    assert feed is not None
    assert sender is not None
    feed.close("the day is over")
    sender.pump(1 << 20)
    assert stream.epoch == 0
    assert stream.health_notes == {}
    assert sender.dropped == 0
    assert far_side.headers == 2
    for times in far_side.media.values():
        assert len(times) == DAY_MS // STEP_MS
        assert times == list(range(0, DAY_MS, STEP_MS))
