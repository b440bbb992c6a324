"""Messages in runs have the effect of the same messages one by one, each read with care."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from streamserver.hub.registry import Lease, Registry, RegistrySettings
from streamserver.hub.stream import LogBounds
from streamserver.ingest import rtmp
from streamserver.ingest.assembler import Frame
from streamserver.ingest.rtmp import RtmpIngest
from streamserver.media.h264 import AvcConfig
from streamserver.media.nal import join_nals
from streamserver.media.packet import Packet
from streamserver.media.timeline import Timeline
from streamserver.names import StreamKey
from streamserver.rtmp.message import AUDIO, VIDEO, Message
from tests import media_factory
from tests.fakes import FakeClock, Turns, session
from tests.media.helpers_reference import video_sample

KEY = StreamKey("live", "cam")
IDR, SLICE = b"\x65\x88\x84\x00\x33", b"\x41\x9a\x21\x6c"
SEI, AUD = b"\x06\x05\x01\xaa\x80", b"\x09\xf0"
H265_IDR, H265_SLICE = b"\x26\x01\xaf\x09", b"\x02\x01\xd0\x11"

Body = tuple[int, bytes]


def legacy(nals: list[bytes], head: bytes = b"\x27", composition: bytes = b"\0\0\0") -> Body:
    return VIDEO, head + b"\x01" + composition + join_nals(nals)


def enhanced(first: int, four_cc: bytes, rest: bytes) -> Body:
    return VIDEO, bytes((first,)) + four_cc + rest


@cache
def configs() -> tuple[Body, ...]:
    """Sequence headers: two sizes of H.264, H.265, AV1, and AAC of two rates."""
    small, large = video_sample("libx264"), video_sample("libx264", "yuv420p", 426, 238)
    return (
        (VIDEO, b"\x17\x00\0\0\0" + small.config),
        (AUDIO, b"\xaf\x00\x11\x90"),
        (VIDEO, b"\x17\x00\0\0\0" + large.config),
        enhanced(0x90, b"avc1", large.config),
        enhanced(0x90, b"hvc1", video_sample("libx265").config),
        enhanced(0x90, b"av01", video_sample("libsvtav1", "yuv420p", 64, 64).config),
        (AUDIO, b"\xaf\x00\x12\x10"),
        enhanced(0x90, b"mp4a", b"\x11\x90"),
        (VIDEO, b"\x17\x00\0\0\0junk"),
        (AUDIO, b"\xaf\x00"),
        # Length prefixes of two bytes.
        (VIDEO, b"\x17\x00\0\0\0" + small.config[:4] + b"\xfd" + small.config[5:]),
    )


USUAL: tuple[Body, ...] = (
    legacy([IDR], b"\x17"),
    legacy([SLICE]),
    legacy([SLICE, SLICE], composition=b"\0\0\x50"),
    legacy([SLICE], b"\x37", b"\xff\xff\xd8"),
    (AUDIO, b"\xaf\x01\x21\x1b\x8c"),
    (AUDIO, b"\xaf\x01\xff\x00"),
)
"""Frames that make packets without more ado, once all is under way."""

UNUSUAL: tuple[Body, ...] = (
    enhanced(0x91, b"avc1", b"\0\0\x28" + join_nals([SEI, IDR])),
    enhanced(0xA3, b"avc1", join_nals([SLICE])),
    enhanced(0x93, b"hvc1", join_nals([H265_IDR])),
    enhanced(0xA1, b"hvc1", b"\0\0\x10" + join_nals([H265_SLICE])),
    enhanced(0xA1, b"av01", b"\x32\x02\x30\x00"),
    enhanced(0xA1, b"av01", b"\x12\x00\x32\x02\x30\x00"),
    enhanced(0x91, b"av01", b"\x12\x00\x32\x02\x10\x00"),
    enhanced(0x91, b"vp09", b"\x82\x49\x83\x42"),
    enhanced(0x92, b"avc1", b""),
    enhanced(0x96, b"avc1", b"\0\0\0\0"),
    enhanced(0x97, b"\x02\0\0\0\x01", b"avc1" + b"\0\0\0" + join_nals([SLICE])),
    enhanced(0xD4, b"avc1", b"\x02"),
    legacy([SEI, SLICE], b"\x17"),
    legacy([AUD, IDR], b"\x17"),
    legacy([AUD]),
    legacy([SLICE], b"\x57"),
    legacy([SLICE], b"\x2c"),
    (VIDEO, b"\x27\x01\0\0\0"),
    (VIDEO, b"\x27\x01\0\0"),
    (VIDEO, b"\x27\x01\0\0\0\x7f\xff\xff\xffjunk"),
    (VIDEO, b"\x27\x01\0\0\0\0\0\0\0" + join_nals([SLICE])),
    (VIDEO, b"\x27\x02\0\0\0"),
    (VIDEO, b""),
    (AUDIO, b""),
    (AUDIO, b"\xaf\x01"),
    (AUDIO, b"\xaf\x01\xff\xf1\x50\x80\x01\x9f\xfc\x21\x1b\x8c"),
    (AUDIO, b"\xaf\x01\xff\xf1\x50\x80\x7f\xff\xfc"),
    (AUDIO, b"\x91mp4a\x21\x1b"),
    (AUDIO, b"\x91Opus\xfc\xff\xfe"),
    (AUDIO, b"\x94Opus\x00\x0d"),
    (AUDIO, b"\x2f\xff\xfb\x90\x00"),
    (AUDIO, b"\xdf\x01\xfc\xff\xfe"),
)
"""What has to be read with care, or changes what is usual."""


@cache
def in_band() -> Body:
    """A keyframe with the parameter sets of another size in it."""
    config = AvcConfig.parse(video_sample("libx264", "yuv420p", 426, 238).config)
    return legacy([*config.sets.values(), IDR], b"\x17")


_BODIES = st.one_of(
    st.sampled_from(USUAL),
    st.sampled_from(USUAL),
    st.sampled_from(USUAL),
    st.sampled_from(UNUSUAL),
    st.integers(0, 10).map(lambda number: configs()[number]),
    st.builds(in_band),
    st.tuples(st.sampled_from((AUDIO, VIDEO)), st.binary(max_size=12)),
)
_STEPS = st.one_of(
    st.integers(0, 40),
    st.integers(0, 40),
    st.integers(0, 40),
    st.sampled_from((-1, -30, -999, -1_001, 10_000, 10_001, 60_000, -60_000, 2**31)),
)
_RUNS = st.lists(
    st.tuples(st.integers(0, 1_200), st.lists(st.tuples(_BODIES, _STEPS), max_size=12)),
    max_size=8,
)
"""Runs: the milliseconds before one, and its messages, each with the step of its time stamp."""


class Side:
    """A stream and the ingest of its publisher."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        bounds = LogBounds(max_ms=2_000, max_bytes=10_000)
        self.registry = Registry(self.clock, Turns(), RegistrySettings(bounds=bounds))
        self.lease = self._claim()
        self.ingest = RtmpIngest(self.lease)

    def _claim(self) -> Lease:
        try:
            self.registry.claim(KEY, session()).send(None)
        except StopIteration as done:
            lease: Lease = done.value
            return lease
        raise AssertionError("the claim waits for something")

    def returns(self) -> None:
        """The publisher comes back on another connection."""
        self.lease.release("lost")
        self.lease = self._claim()
        self.ingest = RtmpIngest(self.lease)

    @property
    def state(self) -> dict[str, Any]:
        stream, assembler = self.lease.stream, self.ingest.assembler
        return {
            "packets": [seen(packet) for packet in stream.packets.since(0)],
            "end": stream.packets.end,
            "evicted": stream.packets.evicted,
            "counters": assembler.counters,
            "fault": assembler.last_fault,
            "notes": stream.health_notes,
            "epoch": stream.epoch,
            "stats": {k: (s.packets, s.bytes) for k, s in stream.stats.items()},
            "live": (assembler.is_live, assembler.needs_keyframe, stream.last_packet_ns),
            "interval": stream.keyframe_interval_ms,
            "timeline": whole(stream.timeline),
        }


def seen(packet: Packet) -> tuple[Any, ...]:
    track = packet.track
    return (
        (track.codec, track.config, track.epoch),
        (packet.pts, packet.dts, packet.duration),
        (packet.keyframe, packet.data, packet.received_ns),
    )


def whole(timeline: Timeline) -> dict[str, Any]:
    """Everything that it knows."""
    values = {name: getattr(timeline, name) for name in Timeline.__slots__}
    return values | {"_lanes": repr(values["_lanes"])}


@contextmanager
def all_with_care() -> Iterator[None]:
    """No message is known by its head."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(rtmp, "frame_heads", lambda codec: {})
        yield


@settings(suppress_health_check=[HealthCheck.too_slow])
@given(
    st.sampled_from(((), (0,), (0, 1), (0, 6), (4, 6))),
    st.sampled_from((0, 77, 2**31 - 60, 2**32 - 60)),
    _RUNS,
    st.integers(0, 20),
)
@example((0, 6), 0, [(0, [(USUAL[4], 1)] * 40)], 20)
def test_a_run_has_the_effect_of_its_messages_one_by_one(begun, start, runs, returns_after):
    careful, quick = Side(), Side()
    wire = start
    if begun:
        first = [configs()[number] for number in begun]
        runs = [(0, [(body, 20) for body in (*first, *USUAL, *USUAL)]), *runs]
        if len(begun) == 1:
            for side in (careful, quick):
                side.ingest.metadata([{"videocodecid": 7.0}])
    for number, (pause_ms, items) in enumerate(runs):
        if number == returns_after:
            careful.returns()
            quick.returns()
        messages = []
        for (type_id, body), step in items:
            wire = (wire + step) % 2**32
            messages.append(Message(type_id, wire, 1, body))
        for side in (careful, quick):
            side.clock.advance(ms=pause_ms)
        with all_with_care():
            for message in messages:
                careful.ingest.media((message,), careful.clock.now_ns)
        quick.ingest.media(messages, quick.clock.now_ns)
        assert quick.state == careful.state
    for side in (careful, quick):
        side.ingest.assembler.flush()
    assert quick.state == careful.state


@given(st.lists(st.integers(1, 30), min_size=1))
def test_however_a_clip_is_split_it_comes_out_the_same(sizes):
    messages = [tag.message() for tag in media_factory.tags(media_factory.h264_aac().flv)]
    whole_clip, pieces = Side(), Side()
    whole_clip.ingest.media(messages, 0)
    position = 0
    while position < len(messages):
        for size in sizes:
            pieces.ingest.media(messages[position : position + size], 0)
            position += size
    assert pieces.state == whole_clip.state


@pytest.mark.parametrize(
    "make", [media_factory.h264_aac, media_factory.hevc_aac, media_factory.av1_aac]
)
def test_of_a_usual_clip_few_messages_are_read_with_care(make, monkeypatch):
    careful: list[Frame] = []
    side = Side()
    push = side.ingest.assembler.push

    def note(frame: Frame) -> None:
        careful.append(frame)
        push(frame)

    monkeypatch.setattr(side.ingest.assembler, "push", note)
    messages = [tag.message() for tag in media_factory.tags(make().flv)]
    for message in messages:
        side.ingest.media((message,), 0)
    assert side.ingest.assembler.counters.frames > 100
    # Until it is on air, and keyframes that carry parameter sets.
    assert len(careful) < 15


def test_sound_that_comes_later_joins_at_the_next_keyframe_of_a_run():
    side = Side()
    side.ingest.metadata([{"videocodecid": 7.0}])
    video, audio, keyframe, sound = configs()[0], configs()[1], USUAL[0], USUAL[4]
    bodies = (video, keyframe, keyframe, audio, sound, keyframe, sound, keyframe)
    side.ingest.media([Message(type_id, 0, 1, body) for type_id, body in bodies], 0)
    packets = side.lease.stream.packets.since(0)
    assert [packet.is_video for packet in packets] == [True, True, True, False, True]
    assert [packet.track.epoch for packet in packets] == [0, 0, 1, 1, 1]


def test_a_stream_that_was_ended_takes_a_run_and_appends_nothing():
    side = Side()
    run = [Message(type_id, 0, 1, body) for type_id, body in (*configs()[:2], *USUAL)]
    side.ingest.media(run, 0)
    end = side.lease.stream.packets.end
    assert end == len(USUAL)
    side.registry.stop(KEY, "enough")
    side.ingest.media(run[2:], 0)
    assert side.lease.stream.packets.end == end


def test_a_publisher_that_leaves_between_two_codecs_begins_nothing():
    side = Side()
    vp9 = enhanced(0x90, b"vp09", b"\x01\0\0\0\x00\x0a\x82\x02\x02\x02\0\0")
    run = [Message(type_id, 0, 1, body) for type_id, body in (configs()[0], USUAL[0], vp9)]
    side.ingest.media(run, 0)
    side.ingest.assembler.flush()
    assert not side.ingest.assembler.is_live
    assert side.ingest.assembler.counters.waiting == 1
