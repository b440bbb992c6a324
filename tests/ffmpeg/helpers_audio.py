"""Sound to code, the code of it, and where it lies when it is decoded again."""

from collections.abc import Iterable, Iterator, Sequence
from fractions import Fraction
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray

from streamserver.ffmpeg.audio import AudioTranscoder
from streamserver.ffmpeg.audio_codecs import RATE, Encoded
from streamserver.ffmpeg.audio_forms import AudioInput
from streamserver.media import opus
from streamserver.media.track import Codec, Track
from streamserver.media.units import make_track

Sound = NDArray[np.float32]


def bursts(seconds: float, rate: int = RATE, every_s: float = 0.5) -> Sound:
    """Silence with a chirp of 20 ms at each half second: its place can be told to a sample."""
    sound = np.zeros(int(seconds * rate), np.float32)
    length = rate // 50
    at = np.arange(length) / rate
    sweep = 0.5 * np.sin(2 * np.pi * (400 + 60_000 * at) * at) * np.hanning(length)
    for start in np.arange(every_s / 2, seconds - 0.1, every_s):
        first = round(start * rate)
        sound[first : first + length] += sweep.astype(np.float32)
    return sound


def tone(seconds: float, rate: int = RATE, hertz: float = 440, level: float = 0.4) -> Sound:
    """A steady tone."""
    at = np.arange(int(seconds * rate)) / rate
    return (level * np.sin(2 * np.pi * hertz * at)).astype(np.float32)


def coded(
    sound: Sound,
    encoder: str = "aac",
    *,
    rate: int = RATE,
    layout: str = "stereo",
    start: int = RATE,
    options: dict[str, str] | None = None,
) -> tuple[Track, list[AudioInput]]:
    """The sound in every channel, coded by FFmpeg; its first sample lies at ``start`` ticks."""
    context: Any = av.CodecContext.create(encoder, "w")
    context.sample_rate, context.layout, context.bit_rate = rate, layout, 128_000
    context.format = "flt" if encoder == "libopus" else "fltp"
    context.time_base = Fraction(1, rate)
    context.options = options or {}
    context.open()
    size = context.frame_size
    packets: list[Any] = []
    for index in range(-(-len(sound) // size)):
        piece = np.zeros(size, np.float32)
        there = sound[index * size : (index + 1) * size]
        piece[: len(there)] = there
        channels = context.layout.nb_channels
        if context.format.name == "flt":
            planes = np.repeat(piece, channels)[None, :]
        else:
            planes = np.tile(piece, (channels, 1))
        frame = av.AudioFrame.from_ndarray(planes, format=context.format.name, layout=layout)
        frame.sample_rate, frame.pts, frame.time_base = rate, index * size, Fraction(1, rate)
        packets += context.encode(frame)
    packets += context.encode(None)
    codec = {"aac": Codec.AAC, "libopus": Codec.OPUS, "libmp3lame": Codec.MP3}[encoder]
    first = bytes(packets[0])
    track = make_track(codec, bytes(context.extradata or b""), first=first)
    return track, [AudioInput(start + packet.pts, bytes(packet)) for packet in packets]


def transcoded(transcoder: AudioTranscoder, packets: Iterable[AudioInput]) -> list[Encoded]:
    """Packet by packet, as they come."""
    return [one for packet in packets for one in transcoder.feed([packet])]


def decoded(packets: Sequence[Encoded], codec: Codec) -> tuple[int, Sound]:
    """What a player hears, left and right, and the time of its first sample in 1/48000 s."""
    context: Any = av.CodecContext.create("aac" if codec is Codec.AAC else "libopus", "r")
    if codec is Codec.AAC:
        context.extradata = bytes.fromhex("1190")
    else:
        context.extradata = opus.OpusHead(2, pre_skip=0).to_bytes()
    pieces = [piece for packet in packets for piece in _pieces(context, packet.data)]
    return packets[0].pts, np.concatenate(pieces, axis=1)


def _pieces(context: Any, data: bytes) -> Iterator[Sound]:
    for frame in context.decode(av.Packet(data)):
        samples = frame.to_ndarray()
        if frame.format.is_planar:
            yield samples.astype(np.float32)
        else:
            whole = np.float32(32_768) if samples.dtype == np.int16 else np.float32(1)
            yield (samples.reshape(-1, 2).T / whole).astype(np.float32)


def offset_ms(sound: Sound, start: int, heard: Sound, heard_at: int, most: int = 4_000) -> float:
    """By how much what is heard is late, in ms, by the best match of the two.

    ``start`` and ``heard_at`` say in 1/48000 s where each begins.
    """
    length = max(start + len(sound), heard_at + len(heard)) - min(start, heard_at) + 2 * most
    first = min(start, heard_at)
    one, two = np.zeros(length), np.zeros(length)
    one[start - first : start - first + len(sound)] = sound
    two[heard_at - first : heard_at - first + len(heard)] = heard
    product = np.fft.irfft(np.fft.rfft(two) * np.conj(np.fft.rfft(one)), length)
    lags = np.concatenate((product[-most:], product[: most + 1]))
    return float((np.argmax(lags) - most) * 1_000 / RATE)
