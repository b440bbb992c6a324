"""The test sound: a quiet chord, and a short beep at each full second."""

from typing import Final

import numpy as np
from numpy.typing import NDArray

__all__ = ["BEEP_MS", "SAMPLE_RATE", "TestSound"]

SAMPLE_RATE: Final = 48_000
"""Samples per second and channel."""

BEEP_MS: Final = 80
"""How long the beep lasts, from the full second on."""

_CHORD: Final = ((220, 0.020), (330, 0.012), (440, 0.006))
_BEEP: Final = (1000, 0.16)


class TestSound:
    """One second of sound that repeats without a seam: every frequency is a whole number of Hz."""

    __test__ = False  # not a test case, whatever pytest makes of the name

    def __init__(self) -> None:
        t = np.arange(SAMPLE_RATE) / SAMPLE_RATE
        left = np.zeros(SAMPLE_RATE)
        right = np.zeros(SAMPLE_RATE)
        for place, (hertz, amplitude) in enumerate(_CHORD):
            # A slow beat of the overtones between the channels keeps the tone from being flat.
            sway = 0.3 * np.sin(2 * np.pi * t) if place else 0.0
            left += amplitude * (1 + sway) * np.sin(2 * np.pi * hertz * t)
            right += amplitude * (1 - sway) * np.sin(2 * np.pi * hertz * t)
        length = SAMPLE_RATE * BEEP_MS // 1000
        # Five milliseconds of fade: an edge would click.
        fade = np.clip(np.minimum(np.arange(length), length - np.arange(length)) / 240, 0, 1)
        hertz, amplitude = _BEEP
        beep = amplitude * fade * np.sin(2 * np.pi * hertz * t[:length])
        left[:length] += beep
        right[:length] += beep
        self._second: NDArray[np.float32] = np.stack([left, right]).astype(np.float32)

    def samples(self, number: int, count: int) -> NDArray[np.float32]:
        """``count`` samples of both channels; ``number`` counts samples since the Unix epoch."""
        at = np.arange(number % SAMPLE_RATE, number % SAMPLE_RATE + count) % SAMPLE_RATE
        return np.ascontiguousarray(self._second[:, at])
