"""``python -m benchmarks.audio``: what an audio rendition costs, and how much later its sound is.

Streams of real AAC or Opus beside nothing else, packets at the pace of their samples, through the
real registry, pool, threads and codecs in a uvloop loop of this process. The reference in the same
run is FFmpeg alone, one codec into the other in a tight loop with the same settings.
"""

import argparse
import asyncio
import time
from bisect import bisect_left
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from fractions import Fraction
from typing import Any

import av
import numpy as np
import uvloop

from streamserver.clock import SystemClock
from streamserver.ffmpeg.audio import AudioTranscoder
from streamserver.ffmpeg.audio_forms import AudioInput
from streamserver.ffmpeg.executor import MediaExecutor
from streamserver.hub.driver import Driver
from streamserver.hub.feeds import FeedPool
from streamserver.hub.registry import Registry, RegistrySettings
from streamserver.hub.sessions import Action, Protocol, Session
from streamserver.hub.sources import SourceHold
from streamserver.hub.stream import LogBounds
from streamserver.media.packet import Packet
from streamserver.media.track import Codec, Track
from streamserver.media.units import make_track
from streamserver.names import StreamKey
from streamserver.outputs.renditions import Renditions

_RATE = 48_000
_DIRECTIONS = {"AAC to Opus": ("aac", Codec.OPUS), "Opus to AAC": ("libopus", Codec.AAC)}


@dataclass(slots=True)
class Measured:
    """Of all streams of a run."""

    by_end_ms: list[float] = field(default_factory=list)
    """From the arrival of the packet that completes the sound of an output packet."""

    by_start_ms: list[float] = field(default_factory=list)
    """From the arrival of the packet with the first sample of an output packet."""

    process_ms: float = 0
    """CPU of the whole process per stream-second, pacing and measuring included."""

    thread_ms: float = 0
    """CPU in the threads per stream-second."""


def _sound(seconds: float) -> np.ndarray[Any, np.dtype[np.float32]]:
    """Something between music and speech, for the encoders' sake."""
    at = np.arange(int(seconds * _RATE)) / _RATE
    rng = np.random.default_rng(7)
    beat = 0.5 + 0.5 * np.sin(2 * np.pi * 2 * at)
    tones = sum(0.1 * np.sin(2 * np.pi * hertz * at) for hertz in (220, 440, 660, 1_320))
    return (beat * tones + 0.02 * rng.standard_normal(len(at))).astype(np.float32)


def _coded(encoder: str, seconds: float) -> tuple[Track, list[AudioInput]]:
    context: Any = av.CodecContext.create(encoder, "w")
    context.sample_rate, context.layout, context.bit_rate = _RATE, "stereo", 128_000
    context.format = "flt" if encoder == "libopus" else "fltp"
    context.time_base = Fraction(1, _RATE)
    context.open()
    sound, size, packets = _sound(seconds), context.frame_size, []
    for begin in range(0, len(sound) - size, size):
        piece = sound[begin : begin + size]
        if context.format.name == "flt":
            planes = np.repeat(piece, 2)[None, :]
        else:
            planes = np.stack((piece, piece))
        frame = av.AudioFrame.from_ndarray(planes, format=context.format.name, layout="stereo")
        frame.sample_rate, frame.pts, frame.time_base = _RATE, begin, context.time_base
        packets += context.encode(frame)
    codec = Codec.AAC if encoder == "aac" else Codec.OPUS
    track = make_track(codec, bytes(context.extradata))
    return track, [AudioInput(_RATE + one.pts, bytes(one)) for one in packets if one.pts >= 0]


def _ffmpeg_alone(track: Track, packets: list[AudioInput], codec: Codec) -> float:
    """CPU ms per second of sound of decoder and encoder, without what is between them."""
    name, form = ("libopus", "flt") if codec is Codec.OPUS else ("aac", "fltp")
    decoder: Any = av.CodecContext.create("opus" if track.codec is Codec.OPUS else "aac", "r")
    decoder.extradata = track.config
    template: Any = AudioTranscoder(track, codec)
    template.feed(packets[:2])
    encoder = template._encoder._context
    fifo = av.AudioFifo()
    resampler = av.AudioResampler(format=form, layout="stereo", rate=_RATE)
    assert encoder.name == name
    began = time.thread_time()
    for packet in packets:
        for frame in decoder.decode(av.Packet(packet.data)):
            for ready in resampler.resample(frame):
                ready.pts = None
                fifo.write(ready)
        while (frame := fifo.read(encoder.frame_size)) is not None:
            frame.pts = None
            encoder.encode(frame)
    spent = time.thread_time() - began
    return spent * 1_000 / ((packets[-1].pts - packets[0].pts) / _RATE)


class _Stream:
    """One publisher, and what comes out of its rendition."""

    def __init__(self, hold: SourceHold, append: Callable[[Packet], object], track: Track) -> None:
        self._hold = hold
        self._append = append
        self._track = track
        self._ends: list[int] = []
        self._times: list[float] = []
        self._position = 0
        self.measured = Measured()
        hold.packets.wake(self._look)

    def send(self, packet: AudioInput, end: int) -> None:
        self._ends.append(end)
        self._times.append(time.perf_counter())
        pts = packet.pts
        self._append(Packet(self._track, pts, pts, 0, True, packet.data, time.monotonic_ns()))

    def _look(self) -> None:
        now = time.perf_counter()
        news = self._hold.packets.since(self._position)
        self._position += len(news)
        for one in news:
            self.measured.by_end_ms.append(1_000 * (now - self._arrived(one.pts + one.duration)))
            self.measured.by_start_ms.append(1_000 * (now - self._arrived(one.pts + 1)))

    def _arrived(self, until: int) -> float:
        return self._times[bisect_left(self._ends, until)]


async def _run(direction: str, streams: int, seconds: float) -> Measured:
    encoder, codec = _DIRECTIONS[direction]
    track, packets = await asyncio.to_thread(_coded, encoder, seconds)
    frame = packets[1].pts - packets[0].pts
    clock = SystemClock()
    driver = Driver(clock)
    registry = Registry(clock, driver.schedule, RegistrySettings(LogBounds()))
    feeds = FeedPool(clock.monotonic_ns, driver.report)
    executor = MediaExecutor(workers=2, waiting=256)
    renditions = Renditions(
        feeds=feeds, schedule=driver.schedule, bounds=LogBounds(), submit=executor.submit
    )
    made = []
    for number in range(streams):
        key = StreamKey("bench", f"s{number}")
        lease = await registry.claim(key, _session(key))
        mine = replace(track, epoch=lease.next_epoch((track,)))
        lease.begin_epoch((mine,))
        made.append(_Stream(renditions.hold(lease.stream, codec), lease.append, mine))
    cpu, began = time.process_time(), time.perf_counter()
    tasks = [
        asyncio.create_task(_pace(one, packets, frame, began + 0.02 * number / streams))
        for number, one in enumerate(made)
    ]
    await asyncio.gather(*tasks)
    await asyncio.sleep(0.2)
    total = streams * seconds
    measured = Measured(
        [ms for one in made for ms in one.measured.by_end_ms],
        [ms for one in made for ms in one.measured.by_start_ms],
        (time.process_time() - cpu) * 1_000 / total,
        renditions.totals().busy_ns / 1e6 / total,
    )
    registry.close("measured")
    feeds.close("measured")
    renditions.close()
    await executor.close(2)
    return measured


async def _pace(stream: _Stream, packets: list[AudioInput], frame: int, began: float) -> None:
    """Each packet when its last sample has been recorded."""
    first = packets[0].pts
    for packet in packets:
        due = began + (packet.pts + frame - first) / _RATE
        await asyncio.sleep(max(0.0, due - time.perf_counter()))
        stream.send(packet, packet.pts + frame)


def _session(key: StreamKey) -> Session:
    return Session(
        key.name, Action.PUBLISH, Protocol.INTERNAL, key, "127.0.0.1", "benchmark",
        datetime.now(UTC), lambda reason: None,
    )  # fmt: skip


def _quantiles(values: list[float]) -> str:
    p50, p99 = np.percentile(values, (50, 99))
    return f"p50 {p50:5.1f}  p99 {p99:5.1f}  max {max(values):5.1f} ms"


def main() -> None:
    """Prints a few lines for each direction."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.audio", description=__doc__)
    parser.add_argument("--seconds", type=float, default=20, help="of sound (20)")
    parser.add_argument("--streams", type=int, nargs="*", default=[1, 10], help="(1 10)")
    options = parser.parse_args()
    for direction, (encoder, codec) in _DIRECTIONS.items():
        alone = _ffmpeg_alone(*_coded(encoder, options.seconds), codec)
        print(f"{direction}: FFmpeg alone {alone:.1f} ms CPU per second of sound")
        for streams in options.streams:
            measured = uvloop.run(_run(direction, streams, options.seconds))
            print(
                f"  {streams} streams: {measured.thread_ms:.1f} ms CPU per stream-second in the "
                f"threads, {measured.process_ms:.1f} with loop and hand-over"
            )
            print(f"    after the sound was complete {_quantiles(measured.by_end_ms)}")
            print(f"    after its first sample came  {_quantiles(measured.by_start_ms)}")


if __name__ == "__main__":
    main()
