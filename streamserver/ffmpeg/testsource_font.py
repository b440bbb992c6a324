"""A small font for the test picture, so that it needs no font file and no filter."""

from typing import Final

import numpy as np
from numpy.typing import NDArray

__all__ = ["ADVANCE", "HEIGHT", "Font"]

ADVANCE: Final = 6
"""Columns from one character to the next, in font pixels: five and a gap."""

HEIGHT: Final = 7
"""Rows of a character, in font pixels."""

_SUPERSAMPLE: Final = 4

_GLYPHS: Final = {
    " ": "00 00 00 00 00 00 00",
    "-": "00 00 00 1F 00 00 00",
    ".": "00 00 00 00 00 0C 0C",
    "/": "00 01 02 04 08 10 00",
    ":": "00 0C 0C 00 0C 0C 00",
    "0": "0E 11 11 11 11 11 0E",
    "1": "04 0C 04 04 04 04 0E",
    "2": "0E 11 01 02 04 08 1F",
    "3": "1F 02 04 02 01 11 0E",
    "4": "02 06 0A 12 1F 02 02",
    "5": "1F 10 1E 01 01 11 0E",
    "6": "06 08 10 1E 11 11 0E",
    "7": "1F 01 02 04 08 08 08",
    "8": "0E 11 11 0E 11 11 0E",
    "9": "0E 11 11 0F 01 02 0C",
    "A": "0E 11 11 11 1F 11 11",
    "B": "1E 11 11 1E 11 11 1E",
    "C": "0E 11 10 10 10 11 0E",
    "D": "1C 12 11 11 11 12 1C",
    "E": "1F 10 10 1E 10 10 1F",
    "F": "1F 10 10 1E 10 10 10",
    "G": "0E 11 10 17 11 11 0F",
    "H": "11 11 11 1F 11 11 11",
    "I": "0E 04 04 04 04 04 0E",
    "J": "07 02 02 02 02 12 0C",
    "K": "11 12 14 18 14 12 11",
    "L": "10 10 10 10 10 10 1F",
    "M": "11 1B 15 15 11 11 11",
    "N": "11 11 19 15 13 11 11",
    "O": "0E 11 11 11 11 11 0E",
    "P": "1E 11 11 1E 10 10 10",
    "Q": "0E 11 11 11 15 12 0D",
    "R": "1E 11 11 1E 14 12 11",
    "S": "0F 10 10 0E 01 01 1E",
    "T": "1F 04 04 04 04 04 04",
    "U": "11 11 11 11 11 11 0E",
    "V": "11 11 11 11 11 0A 04",
    "W": "11 11 11 15 15 15 0A",
    "X": "11 11 0A 04 0A 11 11",
    "Y": "11 11 11 0A 04 04 04",
    "Z": "1F 01 02 04 08 10 1F",
}
"""Seven rows of five bits each, in hexadecimal."""


class Font:
    """The characters at one size, as coverage from 0 to 255."""

    def __init__(self, scale: int) -> None:
        """``scale`` is the width of a font pixel in pixels of the picture, from 1."""
        self.scale = scale
        self._glyphs = {character: _render(rows, scale) for character, rows in _GLYPHS.items()}

    def width(self, text: str) -> int:
        """Pixels that a text takes, its last gap included."""
        return len(text) * ADVANCE * self.scale

    def line(self, text: str) -> NDArray[np.uint8]:
        """The coverage of one line of capitals, digits and ``- . / :``."""
        return np.concatenate([self._glyphs[character] for character in text], axis=1)


def _render(rows: str, scale: int) -> NDArray[np.uint8]:
    masks = [int(row, 16) for row in rows.split()]
    bits = np.array([[m >> 4 & 1, m >> 3 & 1, m >> 2 & 1, m >> 1 & 1, m & 1, 0] for m in masks])
    fine = scale * _SUPERSAMPLE
    big = np.kron(bits, np.ones((fine, fine)))
    # Blurring and then sharpening an oversized copy rounds the corners of the square pixels.
    if scale > 2:
        for axis in (0, 1):
            big = _blur(big, fine * 3 // 4, axis)
        # Below one half, so that pixels that touch at a corner grow together.
        big = np.clip((big - 0.42) * scale + 0.5, 0, 1)
    shape = HEIGHT * scale, _SUPERSAMPLE, ADVANCE * scale, _SUPERSAMPLE
    return np.asarray(255 * big.reshape(shape).mean(axis=(1, 3)), np.uint8)


def _blur(image: NDArray[np.float64], radius: int, axis: int) -> NDArray[np.float64]:
    kernel = np.bartlett(2 * radius + 1)
    kernel /= kernel.sum()
    blurred: NDArray[np.float64] = np.apply_along_axis(
        lambda line: np.convolve(line, kernel, mode="same"), axis, image
    )
    return blurred
