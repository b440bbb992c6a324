"""Made-up packets, a reader of parts that shares nothing with the writer, and what must hold."""

import io
import random
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import cycle
from struct import unpack_from
from typing import Any

import av

from streamserver.feeds.cmaf import CmafFeed, CmafSettings
from streamserver.feeds.items import CmafItem, Init, Part, SegmentEnd, Target
from streamserver.log import Log
from streamserver.media.packet import Packet
from streamserver.media.track import VIDEO_CLOCK, Codec, Track

AVCC = bytes.fromhex(
    "0164001effe1001a6764001eacd940a02ff9610000030001000003003c8f162d9601000568ebecb22c"
)
ASC_48K_STEREO = bytes.fromhex("1190")


def h264(epoch: int = 0, **changes: Any) -> Track:
    track = Track(Codec.H264, VIDEO_CLOCK, AVCC, epoch=epoch, width=640, height=360)
    return replace(track, **changes)


def aac(epoch: int = 0) -> Track:
    return Track(Codec.AAC, 48_000, ASC_48K_STEREO, epoch=epoch, sample_rate=48_000, channels=2)


def opus(epoch: int = 0) -> Track:
    head = b"OpusHead" + bytes.fromhex("0102380180bb0000000000")
    return Track(Codec.OPUS, 48_000, head, epoch=epoch, sample_rate=48_000, channels=2)


def body(number: int, size: int = 24) -> bytes:
    """Bytes that tell which frame they are."""
    return number.to_bytes(8).ljust(size, b"\xaa")


def video_packets(
    track: Track,
    times_ms: Sequence[float],
    *,
    keyframes: Iterable[int],
    reorder_ms: Sequence[int] = (0,),
) -> list[Packet]:
    """Frames at these decoding times, in whole milliseconds as RTMP has them."""
    keys = set(keyframes)
    packets = []
    for number, time in enumerate(times_ms):
        dts = round(time) * 90
        pts = dts + reorder_ms[number % len(reorder_ms)] * 90
        packets.append(Packet(track, pts, dts, 0, number in keys, body(number), 0))
    return packets


def steady_video(
    track: Track, fps: float, seconds: float, *, gop: int, start_ms: int = 1_000
) -> list[Packet]:
    count = int(fps * seconds)
    times = [start_ms + number * 1000 / fps for number in range(count)]
    return video_packets(track, times, keyframes=range(0, count, gop))


def audio_packets(
    track: Track, seconds: float, *, start_ms: int = 1_000, frame: int = 1_024, first: int = 0
) -> list[Packet]:
    """Frames with time stamps cut down to milliseconds."""
    rate = track.clock_rate
    count = int(seconds * rate / frame)
    packets = []
    for number in range(count):
        at = (start_ms + number * frame * 1000 // rate) * rate // 1000
        packets.append(Packet(track, at, at, 0, True, body(first + number), 0))
    return packets


def interleave(
    *lanes: list[Packet], late_ms: Sequence[int] = (), burst_ms: int = 1
) -> list[Packet]:
    """In order of time, each lane later than it says by its entry in ``late_ms``.

    All lanes but the first come in bursts, once in ``burst_ms``.
    """
    keyed = []
    for index, lane in enumerate(lanes):
        late = late_ms[index] if index < len(late_ms) else 0
        step = burst_ms if index else 1
        keyed += [(-(-packet.dts_ms // step) * step + late, index, packet) for packet in lane]
    return [packet for _, _, packet in sorted(keyed, key=lambda entry: entry[:2])]


def now(function: Any) -> None:
    """A log's schedule where nobody waits."""
    function()


def package(
    packets: Sequence[Packet],
    tracks: Sequence[Track],
    settings: CmafSettings | None = None,
    *,
    close: bool = True,
) -> tuple[CmafFeed, list[CmafItem]]:
    """All items that a feed makes of packets."""
    settings = settings or CmafSettings(window_ms=10**9, window_bytes=10**9)

    def tracks_of(epoch: int) -> tuple[Track, ...]:
        return tuple(track for track in tracks if track.epoch == epoch)

    feed = CmafFeed(tracks_of, 1_000, settings, now)
    for packet in packets:
        feed.push(packet)
    if close:
        feed.close("over")
        in_runs(feed, packets, tracks_of, settings)
    return feed, feed.log.since(0)


def in_runs(
    pushed: CmafFeed,
    packets: Sequence[Packet],
    tracks_of: Callable[[int], tuple[Track, ...]],
    settings: CmafSettings,
) -> None:
    """A feed that gets the same packets in runs of all lengths makes the same of them."""
    log: Log[Packet] = Log(max_ms=10**9, max_bytes=10**9, schedule=lambda function: None)
    feed = CmafFeed(tracks_of, 1_000, settings, now)
    at = 0
    for step in cycle((1, 4, 2, 30, 3, 7, 150)):
        for packet in packets[at : at + step]:
            log.append(packet, size=0, at_ms=0)
        feed.pump(log)
        at += step
        if at >= len(packets):
            break
    feed.close("over")
    assert outline(feed.log.since(0)) == outline(pushed.log.since(0))
    assert feed.counters == pushed.counters


def outline(items: Iterable[CmafItem]) -> list[object]:
    """Items in a form that can be compared between feeds."""
    outlines: list[object] = []
    for item in items:
        if isinstance(item, Part):
            described = (item.msn, item.index, item.discontinuity, item.independent)
            outlines.append((*described, item.start_ms, item.duration, item.data))
        else:
            outlines.append(item)
    return outlines


def parts_of(items: Iterable[CmafItem]) -> list[Part]:
    return [item for item in items if isinstance(item, Part)]


def segments_of(items: Iterable[CmafItem]) -> list[SegmentEnd]:
    return [item for item in items if isinstance(item, SegmentEnd)]


def segment_bytes(items: Iterable[CmafItem]) -> list[tuple[Init, bytes]]:
    """Each segment, with what a decoder needs first."""
    joined: dict[int, tuple[Init, list[bytes]]] = {}
    for part in parts_of(items):
        joined.setdefault(part.msn, (part.init, []))[1].append(part.data)
    return [(init, b"".join(data)) for init, data in joined.values()]


@dataclass(frozen=True)
class Sample:
    """A sample as the file says."""

    track: int
    dts: int
    pts: int
    duration: int
    sync: bool
    data: bytes


def boxes(data: bytes) -> list[tuple[bytes, bytes]]:
    found, position = [], 0
    while position < len(data):
        size, kind = unpack_from(">I4s", data, position)
        assert 8 <= size <= len(data) - position
        found.append((kind, data[position + 8 : position + size]))
        position += size
    return found


def samples_of(part: bytes) -> list[Sample]:
    """Reads moof and mdat by the flags of ISO/IEC 14496-12, 8.8."""
    (moof_kind, moof), (mdat_kind, _) = boxes(part)
    assert (moof_kind, mdat_kind) == (b"moof", b"mdat")
    children = boxes(moof)
    assert children[0][0] == b"mfhd"
    found: list[Sample] = []
    for kind, traf in children[1:]:
        assert kind == b"traf"
        found += _traf(part, dict(boxes(traf)))
    covered = sum(len(sample.data) for sample in found)
    assert covered == len(boxes(part)[1][1])
    return found


def _traf(part: bytes, traf: dict[bytes, bytes]) -> list[Sample]:
    tfhd, trun = traf[b"tfhd"], traf[b"trun"]
    flags, track = unpack_from(">II", tfhd)
    assert flags & 0x02_0000
    position, default_duration, default_flags = 8, 0, 0
    if flags & 0x08:
        (default_duration,), position = unpack_from(">I", tfhd, position), position + 4
    if flags & 0x20:
        (default_flags,) = unpack_from(">I", tfhd, position)
    (dts,) = unpack_from(">Q", traf[b"tfdt"], 4)
    run_flags, count, offset = unpack_from(">IIi", trun)
    assert run_flags >> 24 == 1
    position, found = 12, []
    for _ in range(count):
        duration, size, sample_flags, cts = default_duration, 0, default_flags, 0
        if run_flags & 0x100:
            (duration,), position = unpack_from(">I", trun, position), position + 4
        if run_flags & 0x200:
            (size,), position = unpack_from(">I", trun, position), position + 4
        if run_flags & 0x400:
            (sample_flags,), position = unpack_from(">I", trun, position), position + 4
        if run_flags & 0x800:
            (cts,), position = unpack_from(">i", trun, position), position + 4
        data = part[offset : offset + size]
        sync = not sample_flags & 0x1_0000
        found.append(Sample(track, dts, dts + cts, duration, sync, data))
        dts, offset = dts + duration, offset + size
    assert position == len(trun)
    return found


def check_promises(items: Sequence[CmafItem], *, steady: bool = True) -> None:
    """What a playlist builds on; ``steady``: frames keep their rate, so parts have their length."""
    targets = [item for item in items if isinstance(item, Target)]
    assert len(targets) == 1
    target = targets[0]
    limit = target.part_target_ms * 90
    open_parts: list[Part] = []
    number: int | None = None
    previous_end: int | None = None
    for item in items:
        if isinstance(item, Part):
            assert number is None or item.msn == number
            number = item.msn
            assert item.index == len(open_parts)
            assert 0 < item.duration <= limit
            assert not item.discontinuity or item.index == 0
            if previous_end is not None and not item.discontinuity and steady:
                assert abs(item.start_ms - previous_end // 90) <= 1
            previous_end = item.start_ms * 90 + item.duration
            open_parts.append(item)
        elif isinstance(item, SegmentEnd):
            assert item.msn == number
            assert item.parts == len(open_parts) > 0
            assert item.duration == sum(part.duration for part in open_parts)
            assert (item.duration + 45_000) // 90_000 <= target.target_duration_s
            if steady:
                for part in open_parts[:-1]:
                    assert part.independent or part.duration >= limit * 85 // 100
            number, open_parts = item.msn + 1, []
    assert not open_parts


def check_samples(
    items: Sequence[CmafItem], packets: Iterable[Packet], *, continuous: bool = True
) -> None:
    """Nothing vanishes, nothing is doubled, times are exact and without gap or overlap."""
    for init in dict.fromkeys(part.init for part in parts_of(items)):
        samples = [
            sample
            for part in parts_of(items)
            if part.init is init
            for sample in samples_of(part.data)
        ]
        for number, track in enumerate(init.tracks, 1):
            mine = [sample for sample in samples if sample.track == number]
            sent = [packet for packet in packets if packet.track is track]
            assert [sample.data for sample in mine] == [packet.data for packet in sent]
            assert all(sample.duration > 0 for sample in mine)
            if continuous:
                ends = [sample.dts + sample.duration for sample in mine[:-1]]
                assert [sample.dts for sample in mine[1:]] == ends
            if track.kind == "video":
                assert [sample.pts for sample in mine] == [packet.pts for packet in sent]
                assert [sample.sync for sample in mine] == [packet.keyframe for packet in sent]


@dataclass(frozen=True)
class Demuxed:
    """A packet as FFmpeg reads it, copied out of its container."""

    index: int
    dts: int
    pts: int
    duration: int
    is_keyframe: bool
    data: bytes


def demux(data: bytes, format: str = "mp4") -> list[Demuxed]:
    """FFmpeg's view of a file: its packets."""
    with av.open(io.BytesIO(data), "r", format=format) as container:
        return [
            Demuxed(p.stream.index, p.dts, p.pts, p.duration or 0, p.is_keyframe, bytes(p))
            for p in container.demux()
            if p.dts is not None and p.pts is not None
        ]


def jittered(count: int, interval_ms: float, spread_ms: float, seed: int) -> list[float]:
    """Times that wander around a steady clock, in order."""
    generator = random.Random(seed)
    times = [
        1_000 + number * interval_ms + generator.uniform(-spread_ms, spread_ms)
        for number in range(count)
    ]
    return sorted(max(time, 0) for time in times)
