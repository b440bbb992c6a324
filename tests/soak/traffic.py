"""Who comes and goes during a soak: publishers, and viewers of RTMP, FLV and HLS."""

import asyncio
import contextlib
import random
import re
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import urljoin

import aiohttp

from streamserver.media.track import Kind
from streamserver.rtmp.message import AUDIO, VIDEO
from tests import media_factory
from tests.endpoints.rtmp_client import RtmpClient
from tests.endpoints.rtmp_player import RtmpPlayer

__all__ = [
    "STALL_S", "WAYS", "Seen", "Site", "Way", "come_and_go", "note_own_lag", "publish",
    "watch_hls", "watch_rtmp",
]  # fmt: skip

STALL_S: Final = 3.0
"""A viewer that gets nothing new for so long would see a still picture."""

_SECONDS: Final = 4
_MSN: Final = re.compile(r"#EXT-X-MEDIA-SEQUENCE:(\d+)")
_ERRORS: Final = (OSError, EOFError, TimeoutError, aiohttp.ClientError, asyncio.IncompleteReadError)


@dataclass(slots=True)
class Seen:
    """What happened to everybody."""

    counts: Counter[str] = field(default_factory=Counter)
    """Joins and leaves."""

    gaps: list[str] = field(default_factory=list)
    """What viewers of the steady stream missed: this must stay empty."""

    longest_s: dict[str, float] = field(default_factory=dict)
    """The longest silence that a viewer of each protocol has borne."""

    stall_s: float = STALL_S
    """A silence of a viewer that is a gap."""

    own_lag_s: float = 0
    """How late our own loop was at worst."""

    late_s: float = 0
    """How late our own publisher was at worst: on a machine that is too busy for the soak, what
    viewers miss is no fault of the server's."""

    began_s: float = field(default_factory=time.monotonic)
    """When it all began."""

    def came(self, protocol: str, newest_s: float) -> float:
        """Something new came for a viewer, the last before at ``newest_s``; answers the time."""
        now_s = time.monotonic()
        silence_s = now_s - newest_s
        self.longest_s[protocol] = max(self.longest_s.get(protocol, 0), silence_s)
        if silence_s > self.stall_s + self.own_lag_s:
            self.gap(f"{protocol}: nothing new came for {silence_s:.1f} s")
        return now_s

    def gap(self, text: str) -> None:
        """A viewer missed something."""
        self.gaps.append(f"after {time.monotonic() - self.began_s:.0f} s: {text}")


@dataclass(frozen=True, slots=True)
class Site:
    """Where the server is."""

    rtmp_port: int
    """RTMP."""

    base: str
    """HTTP."""

    seen: Seen
    """What happens there."""


async def _pace(client: RtmpClient, seen: Seen) -> None:
    """Sends the clip for ever, each message at its time."""
    clip = media_factory.h264_aac(seconds=float(_SECONDS))
    tags = [(tag.timestamp_ms, tag) for tag in media_factory.tags(clip.flv)]
    # Headers are sent once, and the end of the sequence, which stands in the file, never.
    began, turn = time.monotonic(), 0
    while True:
        for stamp_ms, tag in tags:
            if (turn and tag.body[1:2] == b"\0") or tag.body[:2] == b"\x17\x02":
                continue
            at_ms = turn * _SECONDS * 1000 + stamp_ms
            delay = began + at_ms / 1000 - time.monotonic()
            if delay > 0.005:
                await asyncio.sleep(delay)
            seen.late_s = max(seen.late_s, -delay)
            client.media(9 if tag.kind is Kind.VIDEO else 8, at_ms & 0xFFFFFF, tag.body)
        await client.writer.drain()
        turn += 1


async def _swallow(client: RtmpClient) -> None:
    while await client.reader.read(65536):
        pass
    raise EOFError


@contextlib.asynccontextmanager
async def _published(site: Site, name: str) -> AsyncIterator[asyncio.Task[None]]:
    client = await RtmpClient.connect(site.rtmp_port)
    tasks: list[asyncio.Task[None]] = []
    try:
        async with asyncio.timeout(20):
            await client.publish("live", name)
            await client.until(b"NetStream.Publish.Start")
        loop = asyncio.get_running_loop()
        tasks = [loop.create_task(_swallow(client)), loop.create_task(_pace(client, site.seen))]
        yield tasks[0]
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        # Some say good-bye, some are cut off.
        if random.random() < 0.5:
            client.writer.transport.abort()
        client.close()


async def publish(site: Site, name: str) -> None:
    """Publishes without end."""
    async with _published(site, name) as lost:
        await asyncio.wait([lost])
        site.seen.gap(f"the publisher of {name} was cut off")


async def _publish_for_a_while(site: Site, name: str) -> None:
    async with _published(site, name):
        await asyncio.sleep(random.uniform(2, 12))


async def note_own_lag(seen: Seen) -> None:
    """Notes how late our own loop is, for then what viewers miss is ours."""
    while True:
        due_s = time.monotonic() + 0.05
        await asyncio.sleep(0.05)
        seen.own_lag_s = max(seen.own_lag_s, time.monotonic() - due_s)


async def watch_rtmp(site: Site, name: str) -> None:
    """Plays without end, and notes when nothing comes."""
    player = await RtmpPlayer.play(site.rtmp_port, "live", name)
    newest_s = time.monotonic()
    try:
        while True:
            await player._read()
            if any(one.type_id in (AUDIO, VIDEO) for one in player.messages):
                newest_s = site.seen.came("RTMP", newest_s)
            player.messages.clear()
    except (EOFError, ConnectionError):
        site.seen.gap("RTMP: the server closed the connection of a viewer")
    finally:
        # A silence up to the end is one, too.
        site.seen.came("RTMP", newest_s)
        player.close()


async def watch_hls(site: Site, name: str) -> None:
    """Follows the live edge without end, and notes what it missed."""
    last_msn, fetched, newest_s = -1, set[str](), time.monotonic()
    async with aiohttp.ClientSession() as http:
        url, query = await _media_url(http, site, name), ""
        while True:
            text = await _text(http, url + query)
            found = _MSN.search(text)
            first = int(found[1]) if found else 0
            if last_msn >= 0 and first > last_msn + 1:
                site.seen.gap(f"HLS: segments {last_msn + 1} to {first - 1} were missed")
            uris = re.findall(r'#EXT-X-PART:DURATION=[\d.]+,URI="([^"]+)"', text)
            fresh = [uri for uri in uris if uri not in fetched]
            for uri in fresh if fetched else fresh[-1:]:
                async with http.get(urljoin(url, uri)) as answer:
                    if answer.status != 200 or not await answer.read():
                        site.seen.gap(f"HLS: a part was answered with {answer.status}")
            newest_s = site.seen.came("HLS", newest_s) if fresh else newest_s
            fetched = set(uris)
            last_msn = first + text.count("#EXTINF:") - 1
            listed = text.rpartition("#EXTINF:")[2].count("#EXT-X-PART:")
            query = f"?_HLS_msn={last_msn + 1}&_HLS_part={listed}"


async def _media_url(http: aiohttp.ClientSession, site: Site, name: str) -> str:
    index = f"{site.base}/hls/live/{name}/index.m3u8"
    return urljoin(index, (await _text(http, index)).rstrip().splitlines()[-1])


async def _text(http: aiohttp.ClientSession, url: str) -> str:
    async with http.get(url) as answer:
        answer.raise_for_status()
        return await answer.text()


async def _rtmp_for_a_while(site: Site, name: str) -> None:
    player = await RtmpPlayer.play(site.rtmp_port, "live", name)
    try:
        async with asyncio.timeout(random.uniform(1, 8)):
            while True:
                await player._read()
                player.messages.clear()
    finally:
        player.writer.transport.abort()


async def _flv_for_a_while(site: Site, name: str) -> None:
    async with (
        asyncio.timeout(random.uniform(1, 8)),
        aiohttp.ClientSession() as http,
        http.get(f"{site.base}/flv/live/{name}") as answer,
    ):
        async for _ in answer.content.iter_any():
            pass


async def _hls_for_a_while(site: Site, name: str) -> None:
    ends = time.monotonic() + random.uniform(1, 8)
    async with aiohttp.ClientSession() as http:
        url = await _media_url(http, site, name)
        while time.monotonic() < ends:
            text = await _text(http, url)
            for uri in re.findall(r'URI="([^"]+\.m4s)"', text)[-2:]:
                async with http.get(urljoin(url, uri)) as answer:
                    await answer.read()
            await asyncio.sleep(0.5)


Way = Callable[[Site, str], Coroutine[Any, Any, None]]

WAYS: Final[dict[str, Way]] = {
    "publisher": _publish_for_a_while,
    "rtmp": _rtmp_for_a_while,
    "flv": _flv_for_a_while,
    "hls": _hls_for_a_while,
}


async def come_and_go(site: Site, way: str, name: str, join: Way) -> None:
    """Joins and leaves for ever; that somebody is refused or finds no stream is life."""
    while True:
        try:
            await join(site, name)
            site.seen.counts[way] += 1
        except TimeoutError:
            site.seen.counts[way] += 1
        except _ERRORS:
            site.seen.counts[f"{way} in vain"] += 1
        await asyncio.sleep(random.uniform(0.2, 3))
