"""The moving test picture: colour bars, a clock to read, a clock for programs, a sweep.

Drawn straight into the planes of a YUV 4:2:0 picture (BT.709, limited range): a background once,
and per frame only what moves.
"""

from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import pairwise
from typing import Final

import numpy as np
from numpy.typing import NDArray

from streamserver.ffmpeg.testsource_clock import BlockClock
from streamserver.ffmpeg.testsource_font import ADVANCE, HEIGHT, Font

__all__ = ["MIN_HEIGHT", "MIN_WIDTH", "Planes", "TestPicture"]

MIN_WIDTH: Final = 320
"""Pixels; below it the texts do not fit."""

MIN_HEIGHT: Final = 180
"""Pixels; below it the rows overlap."""

FLASH_MS: Final = 100
"""How long the lamp burns from each full second on."""

_BARS: Final = (
    "e9e6dd", "efc45a", "46bfb4", "5fae63", "c65a96", "e2572f", "3d5fd0", "22262f",
)  # fmt: skip
_INK: Final = "0f1217"
_PLATE: Final = "161a21"
_PAPER: Final = "f3f0e8"
_DIM: Final = "8b9099"
_TALLY: Final = "ff5536"
_LAMP_OFF: Final = "3a2622"
_RAIL: Final = "3a404b"


@dataclass(frozen=True, slots=True)
class Planes:
    """The writable samples of one picture; rows, then columns."""

    luma: NDArray[np.uint8]
    """Y, full size."""

    blue: NDArray[np.uint8]
    """U, half size in both directions."""

    red: NDArray[np.uint8]
    """V, likewise."""


@dataclass(frozen=True, slots=True)
class _Box:
    """A rectangle on even pixels."""

    x: int
    y: int
    width: int
    height: int

    @classmethod
    def even(cls, x: float, y: float, width: float, height: float) -> "_Box":
        return cls(*(int(v) & ~1 for v in (x, y, width, height)))


class TestPicture:
    """Draws frame after frame into the same planes."""

    __test__ = False  # not a test case, whatever pytest makes of the name

    def __init__(self, planes: Planes, fps: int) -> None:
        """Paints the background. ``fps`` divides the seconds into frames."""
        self._planes = planes
        self._fps = fps
        height, width = planes.luma.shape
        self._width, self._height = width, height
        self.clock = BlockClock.for_picture(width, height)
        self._digits = Font(max(2, min(width // 98, height // 44)))
        self._small = Font(max(1, self._digits.scale // 4))
        self._ink, self._plate = _colour(_INK), _colour(_PLATE)
        plate_width = self._digits.width("00:00:00.000") + width // 14
        plate_height = HEIGHT * (self._digits.scale + 4 * self._small.scale) + height // 24
        self._plate_box = _Box.even(
            (width - plate_width) / 2, height * 0.40 - plate_height / 2, plate_width, plate_height
        )
        self._rail_box = _Box.even(width * 0.08, height * 0.79, width * 0.84, height * 0.008)
        self._knob = max(4, height // 18) & ~1
        self._last_knob: _Box | None = None
        self._ramp = self._make_ramp()
        self._date = ""
        self._background()

    def draw(self, number: int) -> None:
        """Draws the frame whose time is ``number`` frames after the Unix epoch."""
        second, part = divmod(number, self._fps)
        unix_ms = number * 1000 // self._fps
        now = datetime.fromtimestamp(second, UTC)
        self._draw_clock(now, unix_ms % 1000)
        self._draw_ramp(number)
        self._draw_sweep(second % 2 * self._fps + part)
        self._draw_lamp(part * 1000 < FLASH_MS * self._fps)
        self.clock.draw(self._planes.luma, unix_ms)

    def _background(self) -> None:
        width, height = self._width, self._height
        self._fill(_Box(0, 0, width, height), self._ink)
        edges = [round(i * width / len(_BARS)) & ~1 for i in range(len(_BARS) + 1)]
        bars_height = height * 0.62
        for colour, (left, right) in zip(_BARS, pairwise(edges), strict=True):
            self._fill(_Box.even(left, 0, right - left, bars_height), _colour(colour))
        for i, (left, right) in enumerate(pairwise(edges)):
            grey = 16 + round(219 * i / (len(_BARS) - 1))
            self._fill(_Box.even(left, bars_height, right - left, height * 0.025), (grey, 128, 128))
        self._fill(self._plate_box, self._plate)
        self._title()
        self._fill(self._rail_box, _colour(_RAIL))
        tick = _colour(_DIM)
        for i in range(9):
            x = self._rail_box.x + self._rail_box.width * i / 8 - 1
            tall = 3 if i == 4 else 1
            y = self._rail_box.y + self._knob * 0.8
            self._fill(_Box.even(x, y, 2, self._height * 0.01 * tall), tick)

    def _title(self) -> None:
        box, small = self._plate_box, self._small
        inset = self._width // 28
        y = box.y + small.scale * 5
        self._text(small, "STREAMSERVER", box.x + inset, y, _colour(_PAPER))
        size = f"{self._width}X{self._height} {self._fps} FPS"
        right = box.x + box.width - inset - small.width(size) + small.scale
        self._text(small, size, right, y, _colour(_DIM))

    def _draw_clock(self, now: datetime, ms: int) -> None:
        box, digits, small = self._plate_box, self._digits, self._small
        x = box.x + (box.width - digits.width("00:00:00.000") + digits.scale) // 2
        y = box.y + (box.height - HEIGHT * digits.scale) // 2 + small.scale // 2
        self._text(digits, f"{now:%H:%M:%S}.{ms:03d}", x, y, _colour(_PAPER))
        date = f"{now:%Y-%m-%d} UTC"
        if date != self._date:
            self._date = date
            below = box.y + box.height - small.scale * (HEIGHT + 5)
            self._text(small, date, box.x + self._width // 28, below, _colour(_DIM))

    def _draw_lamp(self, lit: bool) -> None:
        box, small = self._plate_box, self._small
        size = small.scale * HEIGHT & ~1
        x = box.x + box.width - self._width // 28 - size
        lamp = _Box.even(x, box.y + box.height - small.scale * (HEIGHT + 5), size, size)
        self._fill(lamp, _colour(_TALLY if lit else _LAMP_OFF))

    def _draw_sweep(self, position: int) -> None:
        """A knob that crosses the middle of its rail at each full second."""
        if self._last_knob is not None:
            self._fill(self._last_knob, self._ink)
            self._fill(self._rail_box, _colour(_RAIL))
        # Half a period later it is at an end: a triangle wave of two seconds.
        half = self._fps
        phase = (2 * position + half) % (4 * half)
        ramp = phase if phase <= 2 * half else 4 * half - phase
        travel = self._rail_box.width - self._knob
        x = self._rail_box.x + travel * ramp // (2 * half)
        y = self._rail_box.y + self._rail_box.height // 2 - self._knob // 2
        self._last_knob = _Box.even(x, y, self._knob, self._knob)
        self._fill(self._last_knob, _colour(_TALLY))

    def _make_ramp(self) -> NDArray[np.uint8]:
        """Two widths of a soft wave, so that a moving window of one width always fits."""
        x = np.arange(2 * self._width)
        wave = 0.5 - 0.5 * np.cos(2 * np.pi * 4 * x / self._width)
        return np.asarray(26 + 70 * wave, np.uint8)

    def _draw_ramp(self, number: int) -> None:
        top, bottom = int(self._height * 0.67) & ~1, int(self._height * 0.72) & ~1
        shift = number * max(1, self._width // 320) % (self._width // 4)
        self._planes.luma[top:bottom] = self._ramp[shift : shift + self._width]

    def _fill(self, box: _Box, colour: tuple[int, int, int]) -> None:
        right, bottom = box.x + box.width, box.y + box.height
        self._planes.luma[box.y : bottom, box.x : right] = colour[0]
        half = slice(box.y // 2, bottom // 2), slice(box.x // 2, right // 2)
        self._planes.blue[half] = colour[1]
        self._planes.red[half] = colour[2]

    def _text(self, font: Font, text: str, x: int, y: int, colour: tuple[int, int, int]) -> None:
        """Writes on the plate; in its own luma only, for every colour of text is near grey."""
        ground = self._plate[0]
        cover = font.line(text).astype(np.int32)
        cover = cover[:, : cover.shape[1] - font.scale * (ADVANCE - 5)]
        ink = ground + (colour[0] - ground) * cover // 255
        self._planes.luma[y : y + ink.shape[0], x : x + ink.shape[1]] = ink


def _colour(rgb: str) -> tuple[int, int, int]:
    """Y, Cb, Cr of a hexadecimal sRGB colour: BT.709, limited range (ITU-R BT.709-6, 3)."""
    r, g, b = (int(rgb[i : i + 2], 16) / 255 for i in (0, 2, 4))
    y = 0.2126 * r + 0.7152 * g + 0.0722 * b
    blue, red = (b - y) / 1.8556, (r - y) / 1.5748
    return round(16 + 219 * y), round(128 + 224 * blue), round(128 + 224 * red)
