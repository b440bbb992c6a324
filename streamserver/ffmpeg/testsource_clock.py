"""The machine-readable clock in the test picture: a row of black and white blocks.

It encodes the Unix time in milliseconds, so that whoever sees the picture, a browser's canvas for
instance, can tell how old it is. From left to right: a white and a black block to find the row
and its contrast, `TIME_BITS` of time and `CHECK_BITS` of checksum (most significant bit first,
white is 1), a black and a white block to find its end.
"""

from dataclasses import asdict, dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

__all__ = ["CHECK_BITS", "TIME_BITS", "BlockClock", "checksum"]

TIME_BITS: Final = 44
"""Bits of Unix milliseconds: enough until the year 2527."""

CHECK_BITS: Final = 4
"""The nibbles of the time, each rotated by its place and xored together, and 1010 on top, so that
a picture of one colour is no time."""

_BLOCKS: Final = 2 + TIME_BITS + CHECK_BITS + 2
_BLACK: Final = 16
_WHITE: Final = 235
_LEAST_CONTRAST: Final = 60


def checksum(unix_ms: int) -> int:
    """The `CHECK_BITS` that follow a time."""
    check = 0b1010
    for place in range(TIME_BITS // 4):
        nibble = (unix_ms >> (4 * place)) & 0xF
        turn = place % 4
        check ^= ((nibble << turn) | (nibble >> (4 - turn))) & 0xF
    return check


@dataclass(frozen=True, slots=True)
class BlockClock:
    """Where the blocks are in a picture, in its pixels; scale everything with the picture."""

    picture_width: int
    """The picture that the other numbers refer to."""

    picture_height: int
    """Likewise."""

    left: int
    """First column of the first block."""

    top: int
    """First row of the blocks."""

    block: int
    """Width and height of one block."""

    blocks: int = _BLOCKS
    """How many there are."""

    time_bits: int = TIME_BITS
    """How many of them are time."""

    check_bits: int = CHECK_BITS
    """How many of them are checksum."""

    @classmethod
    def for_picture(cls, width: int, height: int) -> "BlockClock":
        """The row for a picture: along its lower edge, with half a block of margin."""
        # Even numbers keep a block on whole chroma samples.
        block = max(2, width // (_BLOCKS + 1) & ~1)
        left = (width - _BLOCKS * block) // 2 & ~1
        return cls(width, height, left, (height - block - block // 2) & ~1, block)

    def geometry(self) -> dict[str, int]:
        """The numbers as a JSON object, for a decoder in another language."""
        return asdict(self)

    def draw(self, luma: NDArray[np.uint8], unix_ms: int) -> None:
        """Draws a time into a picture's luma plane (rows, columns)."""
        bits = (1 << 1 | 0) << TIME_BITS | (unix_ms & ((1 << TIME_BITS) - 1))
        bits = (bits << CHECK_BITS | checksum(unix_ms)) << 2 | 0b01
        row = np.array(
            [_WHITE if bits >> (_BLOCKS - 1 - i) & 1 else _BLACK for i in range(_BLOCKS)], np.uint8
        )
        right = self.left + _BLOCKS * self.block
        luma[self.top : self.top + self.block, self.left : right] = row.repeat(self.block)

    def read(self, luma: NDArray[np.uint8]) -> int | None:
        """The Unix time in milliseconds of a luma plane, or None when it shows none."""
        middle = self.top + self.block // 2
        levels = [
            int(luma[middle - 1 : middle + 2, x - 1 : x + 2].mean())
            for x in range(
                self.left + self.block // 2, self.left + _BLOCKS * self.block, self.block
            )
        ]
        if levels[0] - levels[1] < _LEAST_CONTRAST or levels[-1] - levels[-2] < _LEAST_CONTRAST:
            return None
        threshold = (levels[0] + levels[1]) // 2
        bits = 0
        for level in levels[2:-2]:
            bits = bits << 1 | (level > threshold)
        unix_ms = bits >> CHECK_BITS
        return unix_ms if bits & ((1 << CHECK_BITS) - 1) == checksum(unix_ms) else None
