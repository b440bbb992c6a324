"""Publishers over WHIP and viewers over WHEP for the soak: whole peers of aiortc."""

import asyncio
import contextlib
import random
import time
from collections.abc import AsyncIterator
from fractions import Fraction
from functools import cache
from typing import Any, Final

import aiohttp
import av
import numpy as np

from tests.priority import be_ordinary
from tests.soak.traffic import Site
from tests.webrtc.client import Browser, EncodedTrack

__all__ = ["watch_whep", "whep_for_a_while", "whip_for_a_while"]

_SDP: Final = {"Content-Type": "application/sdp"}
_RATE: Final = 30
_SILENCE: Final = b"\xfc\xff\xfe"
_CONNECT_S: Final = 20


@cache
def _pictures() -> tuple[bytes, ...]:
    """Two seconds of H.264, constrained baseline, a keyframe each second; Annex B."""
    encoder: Any = av.CodecContext.create("libx264", "w")
    encoder.width, encoder.height, encoder.pix_fmt = 320, 180, "yuv420p"
    encoder.time_base, encoder.framerate = Fraction(1, _RATE), Fraction(_RATE)
    encoder.options = {"tune": "zerolatency", "profile": "baseline", "g": str(_RATE)}
    found: list[bytes] = []
    for number in range(2 * _RATE):
        pixels = np.full((180, 320, 3), number * 4, dtype=np.uint8)
        frame = av.VideoFrame.from_ndarray(pixels, format="rgb24")
        frame.pts = number
        found += [bytes(packet) for packet in encoder.encode(frame)]
    be_ordinary()
    return tuple(found)


@contextlib.asynccontextmanager
async def _connected(site: Site, path: str, browser: Browser) -> AsyncIterator[None]:
    async with browser, aiohttp.ClientSession(site.base) as http:
        async with asyncio.timeout(_CONNECT_S):
            async with http.post(path, data=await browser.offer(), headers=_SDP) as answer:
                answer.raise_for_status()
                location = answer.headers["Location"]
                await browser.accept(await answer.text())
            await browser.is_connected.wait()
        yield
        # Some say good-bye, some just go.
        if random.random() < 0.5:
            async with http.delete(location):
                pass


async def whip_for_a_while(site: Site, name: str) -> None:
    """Publishes, and leaves."""
    pictures = await asyncio.to_thread(_pictures)
    video, audio = EncodedTrack("video"), EncodedTrack("audio", 48000)
    browser = Browser()
    browser.publish(audio)
    browser.publish(video)
    async with _connected(site, f"/whip/live/{name}", browser):
        began, ends = time.monotonic(), time.monotonic() + random.uniform(4, 15)
        sent = 0
        while time.monotonic() < ends and not browser.is_closed.is_set():
            video.push(pictures[sent % len(pictures)], sent * 90000 // _RATE)
            audio.push(_SILENCE, sent * 48000 // _RATE)
            sent += 1
            await asyncio.sleep(max(0, began + sent / _RATE - time.monotonic()))


async def whep_for_a_while(site: Site, name: str) -> None:
    """Watches, and leaves."""
    browser = Browser()
    browser.play("audio", "video")
    async with _connected(site, f"/whep/live/{name}", browser):
        await asyncio.sleep(random.uniform(2, 10))


async def watch_whep(site: Site, name: str) -> None:
    """Watches without end, and notes when no picture comes."""
    browser = Browser()
    browser.play("audio", "video")
    async with _connected(site, f"/whep/live/{name}", browser):
        newest_s = time.monotonic()
        video, audio = browser.received["video"], browser.received["audio"]
        try:
            while not browser.is_closed.is_set():
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(1):
                        await video.get()
                    newest_s = site.seen.came("WHEP", newest_s)
                while not audio.empty():
                    audio.get_nowait()
            site.seen.gap("WHEP: the server closed the connection of a viewer")
        finally:
            site.seen.came("WHEP", newest_s)
