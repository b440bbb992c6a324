"""Audio of one codec into another, continuous and on the clock of the time stamps. Knows no IO.

Call it off the loop (`streamserver.ffmpeg.executor`), from one thread at a time.

Samples are counted: what comes out has no jitter, whatever the time stamps have. They are
believed in the long run:

- a packet that begins later than it should by more than stamps jitter has lost others before it:
  silence takes their place. After more than a second, the encoder begins anew at the new time.
- one that begins much too early lies about time that is filled already, and is left out.
- a clock that is slower or faster than it says is followed: by 0.4 % at most, so that nobody hears.
"""

from collections.abc import Iterable
from typing import Final

import numpy as np

from streamserver.errors import RemoteProtocolError
from streamserver.ffmpeg.audio_codecs import (
    RATE,
    AudioDecoder,
    AudioEncoder,
    Encoded,
    Samples,
    silence,
)
from streamserver.ffmpeg.audio_forms import AudioCounters, AudioInput
from streamserver.media.timeline import rescale
from streamserver.media.track import Codec, Track

__all__ = ["AudioCounters", "AudioInput", "AudioTranscoder"]

_LONGEST_FILL: Final = RATE
"""Of silence, in samples; a longer gap is a break."""

_LEAST_GAP: Final = RATE * 12 // 1_000
_MOST_JITTER: Final = 4_096
"""Between them lies what is taken for a gap, by how much the stamps jitter: less than a usual
frame where they are exact. The upper one is what the cmaf feed tolerates too."""

_DRIFT: Final = RATE * 5 // 1_000
"""Samples between count and stamps that are worth a correction; ears and eyes forgive more."""

_STRETCH: Final = 256
"""One sample in so many is added or left out while the clock is followed."""

_SMOOTH: Final = 32
"""Packets over which stamps are averaged."""

_FADE: Final = 128
"""Samples from sound to silence and back: a cut would click."""


class AudioTranscoder:
    """One track in, one codec out; another track takes another transcoder."""

    def __init__(self, track: Track, codec: Codec) -> None:
        """``codec`` is AAC or Opus. Raises `RemoteProtocolError` for a track that is refused."""
        self.counters = AudioCounters()
        self._clock_rate = track.clock_rate
        self._codec = codec
        self._decoder = AudioDecoder(track)
        self._encoder: AudioEncoder | None = None
        self._next = 0
        """Where the next decoded sample will lie, in 1/48000 s."""
        self._drift = 0.0
        """Samples that the stamps are ahead of the count, averaged."""
        self._jitter = 0.0
        self._owed = 0
        """Samples still to be added (or left out, below 0) to follow the clock."""
        self._skipping = False
        self._last: Samples = silence(1)
        self._fades_in = False

    def feed(self, packets: Iterable[AudioInput]) -> list[Encoded]:
        """Takes the next packets; answers what is complete."""
        out: list[Encoded] = []
        for packet in packets:
            self._push(packet, out)
        return out

    def flush(self) -> list[Encoded]:
        """What waits in the encoder; the next packet begins anew."""
        encoder, self._encoder = self._encoder, None
        return [] if encoder is None else encoder.flush()

    def _push(self, packet: AudioInput, out: list[Encoded]) -> None:
        at = rescale(packet.pts, self._clock_rate, RATE)
        if self._encoder is None:
            self._begin(at)
        elif not self._place(at, out):
            return
        try:
            samples = self._decoder.decode(packet.data)
        except RemoteProtocolError:
            # Its time stays empty, and the next one finds a gap.
            self.counters.damaged += 1
            return
        if samples.shape[1]:
            self._append(self._shaped(samples), out)

    def _begin(self, at: int) -> None:
        self._encoder = AudioEncoder(self._codec, at)
        self._next = at
        self._drift = self._jitter = 0.0
        self._owed = 0
        self._skipping = False

    def _place(self, at: int, out: list[Encoded]) -> bool:
        """Compares a packet's time with the count; whether it is to be decoded."""
        drift = at - self._next
        if drift > _LONGEST_FILL:
            self.counters.restarts += 1
            out += self.flush()
            self._begin(at)
            return True
        limit = min(max(_LEAST_GAP, int(4 * self._jitter)), _MOST_JITTER)
        if drift - self._drift > limit:
            self._fill(round(drift - self._drift), out)
            return True
        if self._skipping or drift < -_MOST_JITTER:
            self._skipping = drift < -_DRIFT
            if self._skipping:
                self.counters.overlaps += 1
                return False
        self._jitter += (abs(drift - self._drift) - self._jitter) / _SMOOTH
        self._drift += (drift - self._drift) / _SMOOTH
        if not self._owed and abs(self._drift) > _DRIFT:
            self._owed = round(self._drift)
        return True

    def _fill(self, length: int, out: list[Encoded]) -> None:
        """Silence in place of what was lost, after the last sound has died away."""
        gap = silence(length)
        fade = min(_FADE, length)
        gap[:, :fade] = self._last * np.linspace(1, 0, fade, endpoint=False, dtype=np.float32)
        self._append(gap, out)
        self._fades_in = True
        self.counters.gaps += 1
        self.counters.filled += length

    def _shaped(self, samples: Samples) -> Samples:
        """Faded in after silence, and a little longer or shorter where the clock wants it."""
        length = samples.shape[1]
        if self._fades_in:
            fade = min(_FADE, length)
            samples = samples.copy()
            samples[:, :fade] *= np.linspace(0, 1, fade, endpoint=False, dtype=np.float32)
            self._fades_in = False
        if self._owed:
            most = max(1, length // _STRETCH)
            step = max(-most, min(most, self._owed))
            samples = _stretched(samples, length + step)
            self._owed -= step
            self._drift -= step
            self.counters.corrected += abs(step)
        return samples

    def _append(self, samples: Samples, out: list[Encoded]) -> None:
        assert self._encoder is not None
        self._next += samples.shape[1]
        self._last = samples[:, -1:]
        out += self._encoder.encode(samples)


def _stretched(samples: Samples, length: int) -> Samples:
    old = np.arange(samples.shape[1])
    new = np.arange(length) * (samples.shape[1] / length)
    return np.stack([np.interp(new, old, row) for row in samples]).astype(np.float32)
