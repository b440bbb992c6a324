"""Which codecs a far side is sent, and times over a day and over the wraps of RTMP."""

import pytest

from streamserver.feeds.body import Body, Header
from streamserver.log import Log
from streamserver.media.flv_writer import Dialect
from streamserver.media.track import Codec
from streamserver.outputs.destinations.failures import ErrorClass, FarSideError
from streamserver.outputs.destinations.sender import Sender
from streamserver.outputs.destinations.sending import choose_dialect
from streamserver.rtmp.chunk import ChunkDecoder
from streamserver.rtmp.chunk_encoder import ChunkEncoder
from streamserver.rtmp.message import AUDIO, VIDEO, Message
from tests.fakes import Turns, audio_track, video_track

HEADER = Header((video_track(), audio_track()), ((VIDEO, b"vh"), (AUDIO, b"ah")))
DAY_MS = 24 * 3600 * 1000


class Offers:
    """A far side that offers to take some codecs."""

    def __init__(self, *four_ccs: str) -> None:
        self._four_ccs = four_ccs

    def peer_takes(self, four_cc: str) -> bool:
        return four_cc in self._four_ccs or "*" in self._four_ccs


@pytest.mark.parametrize(
    ("video", "audio", "offers", "expected"),
    [
        (Codec.H264, Codec.AAC, Offers(), Dialect.LEGACY),
        (Codec.H264, Codec.MP3, Offers("hvc1"), Dialect.LEGACY),
        (Codec.H265, Codec.AAC, Offers("hvc1"), Dialect.ENHANCED),
        (Codec.AV1, Codec.OPUS, Offers("*"), Dialect.ENHANCED),
    ],
)
def test_new_codecs_go_only_where_they_are_offered(video, audio, offers, expected):
    assert choose_dialect((video_track(0, video), audio_track(0, audio)), offers) is expected


@pytest.mark.parametrize(
    ("video", "audio", "offers"),
    [
        (Codec.H265, Codec.AAC, Offers()),
        (Codec.H265, Codec.OPUS, Offers("hvc1")),
        (Codec.AV1, Codec.AAC, Offers("hvc1")),
    ],
)
def test_a_codec_that_nobody_asked_for_is_said_and_not_sent(video, audio, offers):
    with pytest.raises(FarSideError) as caught:
        choose_dialect((video_track(0, video), audio_track(0, audio)), offers)
    assert caught.value.error_class is ErrorClass.REJECTED
    assert "enhanced RTMP" in str(caught.value)


class Wire:
    """Writes chunks as a client session does, and reads them back."""

    def __init__(self) -> None:
        self._encoder, self._decoder = ChunkEncoder(), ChunkDecoder()
        self.read: list[Message] = []

    def send_metadata(self, values):
        return True

    def send_shared(self, run, origin_ms):
        return False

    def send_run(self, items):
        pieces: list[bytes] = []
        self._encoder.add(pieces, 1, {AUDIO: 4, VIDEO: 6}, items)
        self._decoder.feed(b"".join(pieces))
        self.read += self._decoder.messages()
        return True


@pytest.mark.parametrize("begin_ms", [0, 2**24 - 5_000, 2**31 - 5_000, 2**32 - 5_000])
@pytest.mark.parametrize("length_ms", [DAY_MS, 50 * DAY_MS])
def test_times_of_long_pushes_are_read_back_as_they_were(begin_ms, length_ms):
    log: Log[Body] = Log(max_ms=10**12, max_bytes=1 << 30, schedule=Turns())
    wire = Wire()
    sender = Sender(log, wire, max_lag_ms=10**12)
    step_ms = length_ms // 4_000
    times = range(begin_ms, begin_ms + length_ms, step_ms)
    for index, ms in enumerate(times):
        kind = AUDIO if index % 3 else VIDEO
        body = Body(kind, ms, b"x" * (index % 300), kind == VIDEO, HEADER, True)
        log.append(body, size=1, at_ms=ms, keyframe=kind == VIDEO and not index)
        sender.pump(1 << 20)
    media = [message for message in wire.read if message.body not in (b"vh", b"ah")]
    assert [one.timestamp for one in media] == [(ms - begin_ms) % 2**32 for ms in times]


def test_a_log_that_begins_late_still_begins_at_zero():
    log: Log[Body] = Log(max_ms=10_000, max_bytes=1 << 20, schedule=Turns())
    wire = Wire()
    sender = Sender(log, wire, max_lag_ms=10_000)
    log.append(Body(VIDEO, 2**33, b"k", True, HEADER, True), size=1, at_ms=0, keyframe=True)
    sender.pump(1000)
    assert wire.read[-1] == replace_time(wire.read[-1], 0)


def replace_time(message: Message, timestamp: int) -> Message:
    return message._replace(timestamp=timestamp)
