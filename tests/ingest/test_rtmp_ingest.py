"""Real FLV bodies through the ingest into a real stream."""

from itertools import pairwise

import pytest

from streamserver.hub.registry import Lease, Registry, RegistrySettings, StreamListener
from streamserver.hub.stream import LogBounds, Stream
from streamserver.ingest.rtmp import RtmpIngest
from streamserver.media.packet import Packet
from streamserver.media.track import Kind
from streamserver.names import StreamKey
from streamserver.rtmp.message import AUDIO, VIDEO, Message
from tests import media_factory
from tests.fakes import FakeClock, Turns, session
from tests.media_factory import Tag

KEY = StreamKey("live", "cam")
START_NS = 5_000_000_000


class Starts(StreamListener):
    def __init__(self) -> None:
        self.streams: list[Stream] = []

    def stream_started(self, stream: Stream) -> None:
        self.streams.append(stream)


class Publisher:
    """A publisher whose messages arrive in real time on a fake clock."""

    def __init__(self) -> None:
        self.clock = FakeClock(monotonic_ns=START_NS)
        bounds = LogBounds(max_ms=600_000, max_bytes=1 << 30)
        self.registry = Registry(self.clock, Turns(), RegistrySettings(bounds=bounds))
        self.starts = Starts()
        self.registry.add_listener(self.starts)
        self.lease: Lease
        self.ingest: RtmpIngest

    async def connect(self) -> None:
        self.lease = await self.registry.claim(KEY, session())
        self.ingest = RtmpIngest(self.lease)

    def send(self, tags: list[Tag], *, shift_ms: int = 0, wire_shift_ms: int = 0) -> None:
        begin = self.clock.now_ns
        for tag in tags:
            due = begin + (tag.timestamp_ms + shift_ms) * 1_000_000
            self.clock.advance(ms=max(0, (due - self.clock.now_ns) // 1_000_000))
            wire = (tag.timestamp_ms + wire_shift_ms) & 0xFFFF_FFFF
            message = tag.message()._replace(timestamp=wire)
            self.ingest.media((message,), self.clock.now_ns)

    @property
    def packets(self) -> list[Packet]:
        return self.lease.stream.packets.since(0)


@pytest.fixture
async def publisher() -> Publisher:
    made = Publisher()
    await made.connect()
    return made


def of(packets: list[Packet], kind: Kind) -> list[Packet]:
    return [packet for packet in packets if packet.track.kind is kind]


@pytest.mark.parametrize(
    "make",
    [
        media_factory.h264_aac,
        media_factory.hevc_aac,
        media_factory.av1_aac,
        media_factory.vp9_opus,
        media_factory.video_only,
        media_factory.audio_only,
    ],
)
async def test_every_packet_of_a_clip_arrives_once_in_one_epoch(publisher, make):
    clip = make()
    tags = list(media_factory.tags(clip.flv))
    publisher.send(tags)
    publisher.ingest.assembler.flush()
    stream = publisher.registry.get(KEY)
    assert stream is not None
    assert [track.codec for track in stream.tracks] == [track.codec for track in clip.tracks]
    for kind in (Kind.VIDEO, Kind.AUDIO):
        sent, got = clip.of(kind), of(publisher.packets, kind)
        # Sound from before the first picture has no place in the broadcast.
        early = len(sent) - len(got)
        assert early <= (5 if kind is Kind.AUDIO else 0)
        assert [p.data for p in got] == [p.data for p in sent[early:]]
        assert [p.keyframe for p in got] == [p.keyframe for p in sent[early:]]
        assert all(a.dts <= b.dts for a, b in pairwise(got))
    assert stream.epoch == 0
    assert publisher.ingest.assembler.counters.damaged == 0
    assert publisher.packets[0].keyframe


async def test_a_stream_begins_with_a_video_keyframe_and_drops_what_precedes_it(publisher):
    clip = media_factory.h264_aac()
    tags = list(media_factory.tags(clip.flv))
    configs = tags[:2]
    late = [tag for tag in tags[2:] if tag.timestamp_ms > 300]
    publisher.send(configs + late)
    first = publisher.packets[0]
    assert first.track.kind is Kind.VIDEO
    assert first.keyframe
    assert all(packet.dts_ms >= first.dts_ms for packet in publisher.packets)
    assert publisher.ingest.assembler.counters.waiting > 0


async def test_dates_follow_the_arrival_of_the_first_packet(publisher):
    publisher.clock.advance(s=3)
    publisher.send(list(media_factory.tags(media_factory.h264_aac().flv)))
    stream = publisher.lease.stream
    first = publisher.packets[0]
    behind_ns = first.received_ns - (stream.origin_ns + first.dts_ms * 1_000_000)
    assert 0 <= behind_ns < 50_000_000
    assert stream.wall_origin_ns - stream.origin_ns == publisher.clock.wall - publisher.clock.now_ns


async def test_metadata_that_announces_no_audio_lets_video_begin_at_once(publisher):
    tags = list(media_factory.tags(media_factory.video_only().flv))
    publisher.ingest.metadata([{"videocodecid": 7.0, "width": 320.0}])
    publisher.send(tags[:2])
    assert publisher.registry.get(KEY) is not None


async def test_without_a_word_on_audio_video_waits_a_second_for_it(publisher):
    tags = list(media_factory.tags(media_factory.video_only().flv))
    publisher.send([tag for tag in tags if tag.timestamp_ms < 900])
    assert publisher.registry.get(KEY) is None
    publisher.send([tag for tag in tags if tag.timestamp_ms >= 900], shift_ms=-900)
    stream = publisher.registry.get(KEY)
    assert stream is not None
    assert [track.kind for track in stream.tracks] == [Kind.VIDEO]
    assert len(publisher.packets) == 60, "what was held is not lost"


async def test_a_clock_that_jumps_begins_a_new_epoch_at_a_keyframe(publisher):
    tags = list(media_factory.tags(media_factory.h264_aac().flv))
    publisher.send(tags)
    before = publisher.lease.stream.packets.end
    publisher.send(tags[2:], wire_shift_ms=900_000)
    stream = publisher.lease.stream
    assert stream.epoch == 1
    after = stream.packets.since(before)
    assert after[0].keyframe
    assert after[0].track.kind is Kind.VIDEO
    assert {packet.track.epoch for packet in after} == {1}
    assert after[0].dts_ms >= publisher.packets[before - 1].dts_ms
    assert stream.health_notes["timestamp_jump"] == 1


async def test_a_new_picture_size_begins_a_new_epoch_and_nothing_of_it_is_lost(publisher):
    small = list(media_factory.tags(media_factory.h264_aac().flv))
    large_flv = media_factory.encode(size=(640, 360), seconds=1.0)
    large = list(media_factory.tags(large_flv))
    publisher.send(small)
    publisher.send(large, wire_shift_ms=2000)
    stream = publisher.lease.stream
    assert stream.epoch == 1
    sizes = [(stream.tracks_of(n)[0].width, stream.tracks_of(n)[0].height) for n in (0, 1)]
    assert sizes == [(320, 180), (640, 360)]
    video = [p for p in of(publisher.packets, Kind.VIDEO) if p.track.epoch == 1]
    assert len(video) == 30
    assert len(publisher.starts.streams) == 1


async def test_the_same_headers_again_change_nothing(publisher):
    tags = list(media_factory.tags(media_factory.h264_aac().flv))
    publisher.send(tags)
    publisher.send(tags, wire_shift_ms=2000)
    assert publisher.lease.stream.epoch == 0


async def test_a_publisher_that_returns_continues_the_broadcast_at_its_real_time(publisher):
    tags = list(media_factory.tags(media_factory.h264_aac().flv))
    publisher.send(tags)
    stream = publisher.lease.stream
    end_ms = max(packet.dts_ms for packet in publisher.packets)
    count = stream.packets.end
    publisher.lease.release("lost")
    publisher.clock.advance(s=5)
    await publisher.connect()
    publisher.send(tags)
    assert publisher.lease.stream is stream
    assert stream.epoch == 1
    again = stream.packets.since(count)[0]
    assert 4_900 <= again.dts_ms - end_ms <= 5_200


async def test_damaged_frames_are_counted_and_end_nothing(publisher):
    tags = list(media_factory.tags(media_factory.h264_aac().flv))
    publisher.send(tags[:20])
    publisher.ingest.media(
        (Message(VIDEO, 500, 1, b"\x27\x01\x00\x00\x00\x7f\xff\xff\xffjunk"),), START_NS
    )
    publisher.ingest.media((Message(VIDEO, 500, 1, b"\x27"),), START_NS)
    publisher.ingest.media((Message(AUDIO, 500, 1, b"\xaf"),), START_NS)
    publisher.ingest.media((Message(VIDEO, 500, 1, b""),), START_NS)
    publisher.send(tags[20:])
    assert publisher.registry.get(KEY) is not None
    assert publisher.ingest.assembler.counters.damaged >= 2
    assert publisher.lease.stream.health_notes["damaged_video"] == 2


async def test_a_revoked_lease_appends_nothing(publisher):
    tags = list(media_factory.tags(media_factory.h264_aac().flv))
    publisher.send(tags[:40])
    end = publisher.lease.stream.packets.end
    publisher.registry.stop(KEY, "enough")
    publisher.send(tags[40:])
    publisher.ingest.assembler.flush()
    assert publisher.lease.stream.packets.end == end


async def test_opus_of_a_layout_that_nobody_knows_is_noted_and_ends_nothing(publisher):
    # Enhanced RTMP v2, MultichannelConfig: 13 channels in an order that is not said.
    publisher.ingest.media((Message(AUDIO, 0, 1, b"\x94Opus\x00\x0d"),), START_NS)
    publisher.send(list(media_factory.tags(media_factory.h264_aac().flv)))
    stream = publisher.registry.get(KEY)
    assert stream is not None
    assert any("13 channels" in note for note in stream.health_notes)
