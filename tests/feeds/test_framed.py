"""From packets to bytes on the wire, read back with the readers of this project and FFmpeg's."""

import io

import av
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamserver.feeds.body import BodyFeed
from streamserver.feeds.flv_tags import FlvFormat
from streamserver.feeds.framed import Format, Framed, FramedFeed
from streamserver.feeds.wire import WireFormat, with_stream_id
from streamserver.hub.stream import LogBounds
from streamserver.log import Log
from streamserver.media import flv
from streamserver.media.flv_writer import Dialect
from streamserver.media.packet import Packet
from streamserver.media.track import Codec, Kind, Track
from streamserver.rtmp.chunk import ChunkDecoder
from streamserver.rtmp.chunk_encoder import ChunkEncoder
from streamserver.rtmp.command import parse_data
from streamserver.rtmp.message import AMF0_DATA, AUDIO, VIDEO, Message, set_chunk_size
from tests import media_factory
from tests.fakes import Turns, audio_track, packet, video_track

BOUNDS = LogBounds(60_000, 64 * 1024 * 1024)


class Chain:
    """A packet log with both feeds behind it."""

    def __init__(
        self,
        form: Format,
        *tracks: Track,
        dialect: Dialect = Dialect.ENHANCED,
        bounds: LogBounds = BOUNDS,
    ) -> None:
        self.turns = Turns()
        self.tracks = {0: tracks}
        self.packets: Log[Packet] = Log(max_ms=60_000, max_bytes=64 << 20, schedule=self.turns)
        self.bodies = BodyFeed(self.packets, self.tracks.__getitem__, dialect, bounds, self.turns)
        self.framed = FramedFeed(self.bodies.log, form, bounds, self.turns)

    def append(self, *packets: Packet) -> None:
        video = any(track.kind is Kind.VIDEO for track in self.tracks[max(self.tracks)])
        for one in packets:
            entry = one.keyframe and (one.is_video or not video)
            self.packets.append(one, size=len(one.data), at_ms=one.dts_ms, keyframe=entry)

    def pump(self) -> list[Framed]:
        start = self.framed.log.end
        self.bodies.pump()
        self.framed.pump()
        return self.framed.log.since(start)


def of_clip(form: Format, clip: media_factory.Clip) -> bytes:
    """The bytes that a viewer of a whole clip gets."""
    chain = Chain(form, *clip.tracks)
    chain.append(*clip.packets)
    items = chain.pump()
    first = next(item for item in items if item.keyframe)
    begin = items.index(first)
    pieces = [*chain.framed.prologue(first), *items[begin:]]
    return chain.framed.greeting(first.header) + b"".join(item.data for item in pieces)


def decode(data: bytes, chunk_size: int = 65536) -> list[Message]:
    decoder = ChunkDecoder()
    decoder.feed(ChunkEncoder().encode(set_chunk_size(chunk_size), 2))
    decoder.feed(data)
    return decoder.messages()[1:]


def test_headers_stand_where_an_epoch_begins_and_a_keyframe_carries_its_own():
    video, audio = video_track(), audio_track()
    chain = Chain(WireFormat(65536), video, audio)
    chain.append(packet(video, 0), packet(audio, 10), packet(video, 40, keyframe=False))
    items = chain.pump()
    assert [item.is_media for item in items] == [False] * 3 + [True] * 3
    assert [item.keyframe for item in items] == [False] * 3 + [True, False, False]
    assert len({id(item.header) for item in items}) == 1
    again = Track(video.codec, 90_000, b"other", epoch=1)
    chain.tracks[1] = (again,)
    chain.append(packet(again, 80))
    headers = [item for item in chain.pump() if not item.is_media]
    assert [item.kind for item in headers] == [AMF0_DATA, VIDEO]


def test_an_epoch_with_the_same_headers_announces_nothing():
    video = video_track()
    chain = Chain(WireFormat(65536), video)
    chain.append(packet(video, 0))
    first = chain.pump()[-1]
    again = video_track(epoch=1)
    chain.tracks[1] = (again,)
    chain.append(packet(again, 100))
    (item,) = chain.pump()
    assert item.is_media
    assert item.header is first.header


def test_a_feed_begins_at_the_newest_keyframe_and_without_one_at_the_end():
    video = video_track()
    chain = Chain(WireFormat(65536), video)
    chain.append(packet(video, 0), packet(video, 40, keyframe=False), packet(video, 80))
    late = BodyFeed(chain.packets, chain.tracks.__getitem__, Dialect.LEGACY, BOUNDS, chain.turns)
    late.pump()
    assert [body.time_ms for body in late.log.since(0) if body.is_media] == [80]
    empty = Chain(WireFormat(65536), video)
    empty.append(packet(video, 0, keyframe=False))
    late = BodyFeed(empty.packets, empty.tracks.__getitem__, Dialect.LEGACY, BOUNDS, empty.turns)
    late.pump()
    assert late.log.end == 0


def test_a_dialect_leaves_out_the_tracks_that_it_cannot_carry():
    video, audio = video_track(codec=Codec.H265), audio_track()
    chain = Chain(WireFormat(65536), video, audio, dialect=Dialect.LEGACY)
    chain.append(packet(video, 0), packet(audio, 0), packet(audio, 20))
    items = chain.pump()
    assert {item.kind for item in items} == {18, 8}
    # Without a picture a reader can begin anywhere.
    assert [item.keyframe for item in items if item.is_media] == [True, True]
    assert not items[-1].header.has_video


def test_chunks_hold_the_bodies_at_absolute_times_on_message_stream_1():
    clip = media_factory.h264_aac()
    data = of_clip(WireFormat(4096), clip)
    messages = decode(data, 4096)
    assert {message.stream_id for message in messages} == {1}
    meta = parse_data(messages[0])
    assert meta is not None
    assert meta[0] == "onMetaData"
    assert messages[0].timestamp == 0
    frames = [m for m in messages[3:] if m.type_id == VIDEO]
    assert [m.timestamp for m in frames] == [p.dts_ms for p in clip.of(Kind.VIDEO)]
    found = [flv.parse_video(m.body)[0] for m in frames]
    assert [f.data for f in found if isinstance(f, flv.VideoFrame)] == [
        p.data for p in clip.of(Kind.VIDEO)
    ]


@pytest.mark.parametrize("hours", [5, 24 * 25, 24 * 50])
def test_times_beyond_24_and_beyond_32_bits_are_read_back(hours: int):
    ms = hours * 3_600_000
    video = video_track()
    chain = Chain(WireFormat(128), video)
    chain.append(packet(video, ms, size=1_000), packet(video, ms + 40, keyframe=False, size=1_000))
    items = chain.pump()
    messages = decode(b"".join(item.data for item in items), 128)
    assert [m.timestamp for m in messages if m.type_id == VIDEO] == [
        ms % 2**32, ms % 2**32, (ms + 40) % 2**32
    ]  # fmt: skip
    tag = b"".join(FlvFormat().frame(VIDEO, ms, b"", b"x"))
    assert int.from_bytes(tag[4:7]) | tag[7] << 24 == ms % 2**32


@given(
    st.sampled_from((AUDIO, VIDEO, AMF0_DATA)),
    st.integers(-1_000, 2**33) | st.integers(0xFFFFFD, 0x1000001),
    st.integers(0, 300),
    st.integers(0, 9),
)
def test_a_frame_is_what_the_chunk_encoder_makes_of_it(
    kind: int, time_ms: int, size: int, head: int
):
    encoder = ChunkEncoder(128)
    csid = {AUDIO: 4, VIDEO: 6, AMF0_DATA: 5}[kind]
    message = Message(kind, time_ms % 2**32, 1, b"h" * head + bytes(size))
    pieces = WireFormat(128).frame(kind, time_ms, b"h" * head, bytes(size))
    assert b"".join(pieces) == encoder.encode(message, csid)


EPOCHS = [(video_track(), audio_track()), (audio_track(epoch=1),), (video_track(epoch=2),)]


@given(
    st.lists(st.tuples(st.integers(0, 2), st.booleans(), st.integers(0, 250)), max_size=40),
    st.sets(st.integers(0, 39)),
    st.sampled_from((BOUNDS, LogBounds(60_000, 2_500))),
)
def test_it_does_not_matter_how_often_the_feeds_are_pumped(steps, pumps, bounds):
    often, seldom = (Chain(WireFormat(128), *EPOCHS[0], bounds=bounds) for _ in range(2))
    epoch = ms = 0
    for index, (jump, is_video, step) in enumerate(steps):
        epoch = min(2, epoch + jump // 2)
        ms += step
        tracks = EPOCHS[epoch]
        one = packet(tracks[0 if is_video else -1], ms, keyframe=is_video or not step % 3, size=200)
        for chain in (often, seldom):
            chain.tracks[epoch] = tracks
            chain.append(one)
        often.pump()
        if index in pumps:
            seldom.pump()
    often.pump()
    seldom.pump()

    def held(chain: Chain) -> list[list[object]]:
        found: list[list[object]] = []
        for log in (chain.bodies.log, chain.framed.log):
            items = [(item[0:4], item[5:]) for item in log.since(0)]
            found.append([log.start, log.end, log.bytes, log.newest_keyframe, *items])
        return found

    if not seldom.framed.missed:
        assert held(often) == held(seldom)


def test_a_message_can_be_moved_to_another_message_stream():
    wire = b"".join(WireFormat(128).frame(VIDEO, 0x1000000, b"", bytes(1_000)))
    (message,) = decode(with_stream_id(wire, 7), 128)
    assert message == Message(VIDEO, 0x1000000, 7, bytes(1_000))


@pytest.mark.parametrize("make", ["h264_aac", "hevc_aac", "av1_aac", "vp9_opus", "audio_only"])
def test_ffmpeg_reads_the_tags_that_we_write(make: str):
    clip = getattr(media_factory, make)()
    data = of_clip(FlvFormat(), clip)
    with av.open(io.BytesIO(data), "r", format="flv") as container:
        kinds = sorted(stream.type for stream in container.streams)
        assert kinds == sorted(
            track.kind.value for track in {t.kind: t for t in clip.tracks}.values()
        )
        packets = [p for p in container.demux() if p.size]
    assert len(packets) >= len(clip.packets) - 2


@pytest.mark.parametrize(
    ("tracks", "flags"),
    [((video_track(), audio_track()), 5), ((video_track(),), 1), ((audio_track(),), 4)],
)
def test_the_flags_of_the_file_tell_which_kinds_come(tracks: tuple[Track, ...], flags: int):
    chain = Chain(FlvFormat(), *tracks)
    chain.append(packet(tracks[0], 0))
    item = chain.pump()[-1]
    assert chain.framed.greeting(item.header) == (
        b"FLV\x01" + bytes((flags,)) + b"\0\0\0\x09\0\0\0\0"
    )


def test_what_was_evicted_before_it_was_read_is_counted_and_a_keyframe_comes_next():
    video = video_track()
    chain = Chain(FlvFormat(), video, bounds=LogBounds(60_000, 4_000))
    chain.append(packet(video, 0, size=500))
    chain.pump()
    other = Track(video.codec, 90_000, b"other", epoch=1)
    chain.tracks[1] = (other,)
    chain.append(*(packet(other, 40 * n, keyframe=n % 5 == 0, size=500) for n in range(1, 23)))
    items = chain.pump()
    assert chain.framed.missed > 0
    # The headers were lost with the rest, and are told anew.
    assert [item.is_media for item in items[:3]] == [False, False, True]
    assert items[2].keyframe
    assert items[2].time_ms == 800


def test_packets_that_were_evicted_before_they_were_read_are_counted():
    video = video_track()
    chain = Chain(FlvFormat(), video)
    chain.packets.max_bytes = 2_000
    chain.append(packet(video, 0, size=500))
    chain.pump()
    chain.append(*(packet(video, 40 * n, keyframe=n % 2 == 0, size=500) for n in range(1, 20)))
    items = chain.pump()
    assert chain.bodies.missed == 17
    assert items[0].keyframe
    assert items[0].time_ms == 720


def test_a_body_beyond_24_bits_is_left_out_and_counted():
    video = video_track()
    chain = Chain(FlvFormat(), video)
    chain.append(packet(video, 0, size=0xFFFFFF), packet(video, 40, size=10))
    items = chain.pump()
    assert chain.framed.oversized == 1
    assert [item.time_ms for item in items if item.is_media] == [40]


def test_closing_brings_what_waited():
    video, audio = video_track(), audio_track()
    chain = Chain(FlvFormat(), video, audio)
    chain.append(packet(video, 0), packet(audio, 400))
    assert [item.time_ms for item in chain.pump() if item.is_media] == [0]
    chain.bodies.close("over")
    chain.framed.close("over")
    chain.framed.close("again")
    assert chain.framed.log.since(0)[-1].time_ms == 400
    assert chain.framed.log.closed == "over"
