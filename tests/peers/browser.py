"""Debian's Chromium, driven by playwright: pages, what they say of themselves, what they show."""

import contextlib
import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeVar

import pytest

from streamserver.ffmpeg.testsource_clock import BlockClock, checksum

__all__ = ["Glance", "Watcher", "chromium", "decode_clock", "wait_until"]

_FLAGS: Final = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--autoplay-policy=no-user-gesture-required",
)

# The levels of the clock's blocks in the picture on screen now, with the time of the look.
# requestVideoFrameCallback tells when that picture was handed to the screen.
_LOOK: Final = """
async ({clock}) => {
  const video = document.querySelector("video");
  if (!video || !video.videoWidth) return null;
  const frame = await Promise.race([
    new Promise((done) => video.requestVideoFrameCallback((now, data) => done(data))),
    new Promise((done) => setTimeout(done, 1000, null)),
  ]);
  if (frame === null) return null;
  const canvas = document.createElement("canvas");
  canvas.width = video.videoWidth;
  canvas.height = video.videoHeight;
  const context = canvas.getContext("2d", {willReadFrequently: true});
  const scale = video.videoWidth / clock.picture_width;
  const y = Math.round((clock.top + clock.block / 4) * scale);
  const height = Math.max(1, Math.round(clock.block / 2 * scale));
  context.drawImage(video, 0, 0);
  const seen = Date.now();
  const row = context.getImageData(0, y, canvas.width, height);
  const levels = [];
  for (let i = 0; i < clock.blocks; i += 1) {
    const x = Math.round((clock.left + clock.block * (i + 0.5)) * scale);
    let sum = 0;
    for (let line = 0; line < height; line += 1) sum += row.data[(line * row.width + x) * 4 + 1];
    levels.push(sum / height);
  }
  return {levels, seen, latency: Number(document.documentElement.dataset.latency ?? NaN)};
}
"""


@contextlib.contextmanager
def chromium(*more: str) -> Iterator[Any]:
    """A headless browser of playwright; ``more`` are flags.

    Skips the test where Chromium or playwright is absent.
    """
    path = shutil.which("chromium")
    if path is None:
        pytest.skip("Chromium is not installed")
    api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    with api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=[*_FLAGS, *more])
        try:
            yield browser
        finally:
            browser.close()


T = TypeVar("T")


def wait_until(
    look: Callable[[], T], wanted: Callable[[T], bool], timeout_s: float, what: str
) -> T:
    """Polls until ``wanted`` is content with what ``look`` sees, and returns that."""
    deadline = time.monotonic() + timeout_s
    while True:
        seen = look()
        if wanted(seen):
            return seen
        if time.monotonic() > deadline:
            raise AssertionError(f"{what}: not within {timeout_s} s; last seen: {seen!r}")
        time.sleep(0.1)


@dataclass(frozen=True, slots=True)
class Glance:
    """One look at a playing picture."""

    glass_s: float
    """Seconds from the drawing of the picture (its burnt-in clock) to the look at it."""

    page_s: float
    """Seconds that the page's own meter gave at that moment."""


def decode_clock(levels: list[float]) -> int | None:
    """The Unix milliseconds in the levels of a picture's clock blocks, or None."""
    if levels[0] - levels[1] < 60 or levels[-1] - levels[-2] < 60:
        return None
    threshold = (levels[0] + levels[1]) / 2
    bits = 0
    for level in levels[2:-2]:
        bits = bits << 1 | (level > threshold)
    unix_ms = bits >> 4
    return unix_ms if bits & 15 == checksum(unix_ms) else None


class Watcher:
    """A page with a player of ours in it, and what it says on ``document.documentElement``."""

    def __init__(self, page: Any, clock: BlockClock | None = None) -> None:
        self.page = page
        self.messages: list[str] = []
        self._clock = clock or BlockClock.for_picture(1280, 720)
        page.on("console", lambda message: self.messages.append(message.text))
        page.on("pageerror", lambda error: self.messages.append(f"error: {error}"))

    def open(self, url: str) -> None:
        """Loads the page; does not wait for a picture."""
        self.page.goto(url, wait_until="domcontentloaded")

    def data(self) -> dict[str, str]:
        """State, stalls, latency and the other counters."""
        found: dict[str, str] = self.page.evaluate("() => ({...document.documentElement.dataset})")
        return found

    def position(self) -> float:
        """The video element's time."""
        return float(self.page.evaluate("() => document.querySelector('video').currentTime"))

    def wait_playing(self, timeout_s: float = 20) -> dict[str, str]:
        """Waits until pictures move and the page says so."""
        before = self.position()
        return wait_until(
            self.data,
            lambda data: data.get("state") == "playing" and self.position() > before + 0.2,
            timeout_s,
            f"playing; console: {self.messages[-5:]}",
        )

    def wait_state(self, *states: str, timeout_s: float = 20) -> dict[str, str]:
        """Waits for one of the page's states."""
        return wait_until(self.data, lambda d: d.get("state") in states, timeout_s, str(states))

    def glance(self) -> Glance | None:
        """Reads the clock in the picture; None where the picture shows none."""
        seen = self.page.evaluate(_LOOK, {"clock": self._clock.geometry()})
        if seen is None:
            return None
        drawn = decode_clock(seen["levels"])
        if drawn is None:
            return None
        return Glance((seen["seen"] - drawn) / 1000, float(seen["latency"]))

    def size(self) -> tuple[int, int]:
        """Width and height of the decoded picture."""
        width, height = self.page.evaluate(
            "() => { const v = document.querySelector('video');"
            " return [v.videoWidth, v.videoHeight]; }"
        )
        return int(width), int(height)

    def screenshot(self, path: Path) -> None:
        """A PNG of the visible part."""
        self.page.screenshot(path=str(path))
