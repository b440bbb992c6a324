"""Debian's Chromium for tests marked ``peer``: it needs the package ``chromium`` and, from PyPI,
``playwright`` (whose own browsers are neither needed nor downloaded)."""

import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal

import pytest

from streamserver.ffmpeg.testsource_clock import BlockClock

if TYPE_CHECKING:
    from playwright.async_api import Browser, Page

__all__ = ["Watched", "chromium", "glass_to_glass_ms", "open_page", "read_block_clock"]

FLAGS: Final = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
"""Without those about the network Chromium looks for hosts that a test machine cannot reach."""

_READ_BLOCKS: Final = (Path(__file__).parent / "web" / "block_clock.js").read_text()


@asynccontextmanager
async def chromium(*, autoplay: bool = True) -> "AsyncIterator[Browser]":
    """A headless Chromium. Skips the test where it, or Playwright, is not installed.

    ``autoplay`` False keeps the browser's rule that sound needs a gesture first.
    """
    api = pytest.importorskip("playwright.async_api")
    path = shutil.which("chromium")
    if path is None:
        pytest.skip("chromium is not installed")
    flags = [*FLAGS, *(["--autoplay-policy=no-user-gesture-required"] if autoplay else [])]
    async with api.async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=path, args=flags)
        try:
            yield browser
        finally:
            await browser.close()


@dataclass(frozen=True, slots=True)
class Watched:
    """A page and everything that went wrong on it."""

    page: "Page"
    """Playwright's page."""

    faults: list[str]
    """Uncaught exceptions and violations of the content security policy."""

    requests: list[str]
    """The URLs asked for, in order."""

    async def data(self) -> dict[str, str]:
        """The counters that our player keeps on the document: ``state latency stalls errors``."""
        found: dict[str, str] = await self.page.evaluate("({...document.documentElement.dataset})")
        return found

    async def until(self, condition: str, *, timeout_s: float = 60) -> None:
        """Waits until a JavaScript expression is true. Raises Playwright's TimeoutError."""
        # By polling: the page's policy forbids what Playwright's default evaluates.
        await self.page.wait_for_function(
            f"() => ({condition})", timeout=timeout_s * 1000, polling=100
        )


@asynccontextmanager
async def open_page(
    browser: "Browser",
    url: str,
    *,
    width: int = 1280,
    height: int = 800,
    colour_scheme: Literal["dark", "light"] = "dark",
) -> AsyncIterator[Watched]:
    """A page in a profile of its own."""
    context = await browser.new_context(
        viewport={"width": width, "height": height}, color_scheme=colour_scheme
    )
    try:
        page = await context.new_page()
        watched = Watched(page, [], [])
        page.on("pageerror", lambda error: watched.faults.append(str(error)))
        page.on("request", lambda request: watched.requests.append(request.url))
        page.on("console", lambda message: _note(watched, message.text))
        await page.goto(url)
        yield watched
    finally:
        await context.close()


def _note(watched: Watched, text: str) -> None:
    if "Content Security Policy" in text:
        watched.faults.append(text)


async def read_block_clock(page: "Page", selector: str, clock: BlockClock) -> int | None:
    """The Unix milliseconds that a video or canvas of the page shows, or None."""
    shown: int | None = await page.evaluate(
        f"([selector, geometry]) => ({_READ_BLOCKS})(document.querySelector(selector), geometry)",
        [selector, clock.geometry()],
    )
    return shown


async def glass_to_glass_ms(page: "Page", selector: str = "#video") -> int | None:
    """The age of the test picture that a video shows, by this machine's clock; None while it
    shows no test picture."""
    size: dict[str, Any] = await page.evaluate(
        "s => { const v = document.querySelector(s); return {w: v.videoWidth, h: v.videoHeight}; }",
        selector,
    )
    if not size["w"]:
        return None
    geometry = BlockClock.for_picture(size["w"], size["h"]).geometry()
    age: int | None = await page.evaluate(
        f"""([selector, geometry]) => {{
            const shown = ({_READ_BLOCKS})(document.querySelector(selector), geometry);
            return shown === null ? null : Date.now() - shown;
        }}""",
        [selector, geometry],
    )
    return age
