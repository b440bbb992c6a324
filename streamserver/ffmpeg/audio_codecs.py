"""FFmpeg's audio decoders and encoders, as far as one codec becomes another: no time but samples.

Between the two stands one form: 32 bit floats, two planes, 48000 samples per second.
"""

from collections.abc import Iterator
from fractions import Fraction
from typing import Any, Final, NamedTuple, TypeAlias, cast

import av
import numpy as np
from av.audio.codeccontext import AudioCodecContext
from av.audio.frame import AudioFrame
from av.error import BlockingIOError as NothingYetError
from av.error import EOFError as NothingMoreError
from av.error import FFmpegError
from av.filter import Graph
from numpy.typing import NDArray

from streamserver.errors import LocalProtocolError, RemoteProtocolError
from streamserver.media.opus import OpusHead
from streamserver.media.track import Codec, Track

__all__ = ["RATE", "AudioDecoder", "AudioEncoder", "Encoded", "Samples", "silence"]

RATE: Final = 48_000
"""Samples per second between decoder and encoder, and ticks per second of what comes out."""

Samples: TypeAlias = NDArray[np.float32]
"""Two rows, left and right, of so many samples."""

_DECODERS: Final = {Codec.AAC: "aac", Codec.OPUS: "opus", Codec.MP3: "mp3float"}
"""FFmpeg's own: libopus' decoder gives 16 bits and costs more."""

_AAC_PRIMING: Final = 1_024
"""Samples by which FFmpeg's AAC encoder is late: one transform overlap."""

_TIME_BASE: Final = Fraction(1, RATE)


class Encoded(NamedTuple):
    """One coded frame."""

    pts: int
    """When its first sample is heard, in 1/48000 s."""

    duration: int
    """Its samples."""

    data: bytes
    """The coded bytes."""


def silence(length: int) -> Samples:
    """So many samples of nothing."""
    return np.zeros((2, length), np.float32)


class AudioDecoder:
    """Packets of a track in, samples out: resampled, and mixed down (or up) to stereo.

    Mono sounds from both sides at its own level. From more than two channels FFmpeg's matrix
    makes two, scaled so that nothing can clip. The low frequency channel is left out, as
    broadcast receivers do.
    """

    def __init__(self, track: Track) -> None:
        """Raises `RemoteProtocolError` when FFmpeg does not take the configuration."""
        name = _DECODERS.get(track.codec)
        if name is None:
            raise LocalProtocolError(f"{track.codec} is not decoded here")
        self._context: Any = AudioCodecContext.create(name, "r")
        self._context.thread_count = 1
        # The decoder is told nothing of the encoder's delay: it would cut off the beginning, and
        # what is decoded of a packet is heard at the packet's time.
        self._context.extradata = _without_skip(track) if track.codec is Codec.OPUS else None
        if track.codec is Codec.AAC:
            self._context.extradata = track.config
        self._form: tuple[str, str, int] | None = None
        self._graph: Graph | None = None
        self._is_mono = False
        try:
            self._context.open()
        except (FFmpegError, ValueError) as error:
            raise RemoteProtocolError(f"the {track.codec} track cannot be decoded") from error

    def decode(self, data: bytes) -> Samples:
        """What one packet holds; may be nothing. Raises `RemoteProtocolError` for a damaged one."""
        try:
            frames: list[AudioFrame] = self._context.decode(av.Packet(data))
            pieces = [piece for frame in frames for piece in self._converted(frame)]
        except (FFmpegError, ValueError) as error:
            raise RemoteProtocolError(f"an audio packet cannot be decoded: {error}") from error
        if not pieces:
            return silence(0)
        return pieces[0] if len(pieces) == 1 else np.concatenate(pieces, axis=1)

    def _converted(self, frame: AudioFrame) -> Iterator[Samples]:
        form = (frame.format.name, frame.layout.name, frame.sample_rate)
        if form == ("fltp", "stereo", RATE):
            yield _samples(frame)
            return
        # The first frames may show another rate than the configuration: SBR that it did not tell.
        if form != self._form:
            self._graph = _resampler(*form, mono=frame.layout.nb_channels == 1)
            self._form, self._is_mono = form, frame.layout.nb_channels == 1
        assert self._graph is not None
        # Without a time the resampler counts samples, as we do.
        frame.pts = None
        self._graph.push(frame)
        for resampled in _pulled(self._graph):
            samples = _samples(resampled)
            yield np.repeat(samples, 2, axis=0) if self._is_mono else samples


def _samples(frame: AudioFrame) -> Samples:
    # Planar floats, as the resampler was told and as was looked at.
    return cast(Samples, frame.to_ndarray())


def _without_skip(track: Track) -> bytes:
    head = OpusHead.parse(track.config) if track.config else OpusHead.of_channels(2)
    return OpusHead(
        head.channels, 0, head.input_rate, head.output_gain, head.family, head.streams,
        head.coupled, head.mapping,
    ).to_bytes()  # fmt: skip


def _resampler(sample_format: str, layout: str, rate: int, *, mono: bool) -> Graph:
    graph = Graph()
    graph.threads = 1  # otherwise it keeps one per core, for each stream
    source = graph.add_abuffer(
        sample_rate=rate, format=sample_format, layout=layout, time_base=Fraction(1, rate)
    )
    # rematrix_maxval: the sum of what goes into one side is 1 at most.
    channels = "mono" if mono else "stereo"
    how = f"osr={RATE}:ochl={channels}:osf=fltp:rematrix_maxval=1.0"
    resample, sink = graph.add("aresample", how), graph.add("abuffersink")
    source.link_to(resample)
    resample.link_to(sink)
    graph.configure()
    return graph


def _pulled(graph: Graph) -> Iterator[AudioFrame]:
    while True:
        try:
            frame = graph.pull()
        except (NothingYetError, NothingMoreError):
            return
        if isinstance(frame, AudioFrame):
            yield frame


class AudioEncoder:
    """Samples in, packets out, the first of them at ``start`` exactly.

    An encoder is late by its priming: that many samples come out before those that went in. A
    little silence goes in first, so that priming and silence fill whole frames, and those are
    left out.
    """

    def __init__(self, codec: Codec, start: int) -> None:
        """``start`` in 1/48000 s."""
        self._context = _aac() if codec is Codec.AAC else _opus()
        self._frame: int = self._context.frame_size
        self._is_planar = codec is Codec.AAC
        self._priming = _AAC_PRIMING if codec is Codec.AAC else _lookahead(self._context)
        lead = -self._priming % self._frame
        self._start = start
        self._at = start - lead
        self._waiting = silence(lead)

    def encode(self, samples: Samples) -> list[Encoded]:
        """Takes samples that follow those before; answers what is complete."""
        waiting = np.concatenate((self._waiting, samples), axis=1)
        out: list[Encoded] = []
        size, begin = self._frame, 0
        while begin + size <= waiting.shape[1]:
            out += self._encode(waiting[:, begin : begin + size])
            begin += size
        self._waiting = waiting[:, begin:]
        return out

    def flush(self) -> list[Encoded]:
        """What waits, filled up with silence. Nothing can be encoded after this."""
        left = self._waiting.shape[1]
        out = self.encode(silence(-left % self._frame)) if left else []
        return out + self._kept(self._context.encode(None))

    def _encode(self, samples: Samples) -> list[Encoded]:
        if self._is_planar:
            frame = AudioFrame.from_ndarray(
                np.ascontiguousarray(samples), format="fltp", layout="stereo"
            )
        else:
            packed = np.ascontiguousarray(samples.T).reshape(1, -1)
            frame = AudioFrame.from_ndarray(packed, format="flt", layout="stereo")
        frame.sample_rate = RATE
        frame.time_base = _TIME_BASE
        frame.pts = self._at
        self._at += self._frame
        return self._kept(self._context.encode(frame))

    def _kept(self, packets: list[Any]) -> list[Encoded]:
        return [
            Encoded(packet.pts, self._frame, bytes(packet))
            for packet in packets
            # A rest shorter than a frame comes at the very end only, and holds the last priming.
            if packet.pts >= self._start and packet.duration >= self._frame
        ]


def _aac() -> Any:
    # The fast coder without the tools that search: a third of the cost, paid with bit rate.
    options = {"aac_coder": "fast", "aac_tns": "0", "aac_pns": "0", "aac_is": "0", "aac_ms": "0"}
    return _open("aac", "fltp", 160_000, options)


def _opus() -> Any:
    # Restricted low delay: 2.5 ms of look-ahead in place of 6.5, and nothing that only speech at
    # low rates needs. Complexity 5 costs half of 10.
    options = {"application": "lowdelay", "frame_duration": "20", "compression_level": "5"}
    return _open("libopus", "flt", 128_000, options)


def _open(name: str, sample_format: str, bit_rate: int, options: dict[str, str]) -> Any:
    context: Any = AudioCodecContext.create(name, "w")
    context.sample_rate = RATE
    context.layout = "stereo"
    context.format = sample_format
    context.bit_rate = bit_rate
    context.time_base = _TIME_BASE
    context.thread_count = 1
    context.options = options
    context.open()
    return context


def _lookahead(context: Any) -> int:
    return OpusHead.parse(bytes(context.extradata or b"")).pre_skip
