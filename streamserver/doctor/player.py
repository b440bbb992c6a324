"""A player of low-latency HLS that keeps no picture: how late is what it gets?"""

import asyncio
import re
import time
from dataclasses import dataclass
from datetime import datetime
from typing import Final
from urllib.parse import urljoin

import aiohttp

from streamserver.doctor.publisher import Sent
from streamserver.errors import UnavailableError

__all__ = ["Measured", "measure"]

_RETRY_S: Final = 0.1
_PART: Final = re.compile(r'#EXT-X-PART:DURATION=([\d.]+),URI="([^"]+)"')
_HOLD_BACK: Final = re.compile(r"PART-HOLD-BACK=([\d.]+)")
_DURATION: Final = re.compile(r"#EXTINF:([\d.]+)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """What a player found."""

    first_playlist_s: float
    """From the server's yes to the encoder to the first playlist."""

    parts: int
    """Parts that were listed and fetched while we waited for them."""

    median_ms: float
    """From the sending of a part's last picture to the moment when the whole part was here."""

    worst_ms: float
    """The same for the worst of them."""

    hold_back_ms: float
    """How far behind its end the playlist tells players to play."""

    @property
    def shown_ms(self) -> float:
        """How old a picture is, since it was sent, when a player that does as it is told shows it;
        what encoder and decoder need comes on top."""
        return self.median_ms + self.hold_back_ms


@dataclass(slots=True)
class _Playlist:
    parts: list[tuple[str, float]]
    """URI, and the wall-clock second of the end."""

    begin_s: float
    next_query: str
    hold_back_s: float


async def measure(index_url: str, sent: Sent, *, parts: int, within_s: float) -> Measured:
    """Follows the live edge until so many parts have come; ``sent`` tells when pictures were.

    The playlist begins with the first of them: the broadcast is new. Raises `UnavailableError`
    where they do not come in time.
    """
    began = time.monotonic()
    delays: list[float] = []
    hold_back_s = first_s = 0.0
    try:
        async with asyncio.timeout(within_s), aiohttp.ClientSession() as http:
            media_url = await _media_url(http, index_url)
            query, seen, first_at_s = "", set[str](), None
            while len(delays) < parts:
                playlist = _read(await _text(http, media_url + query))
                if first_at_s is None:
                    first_s, first_at_s = time.monotonic() - began, playlist.begin_s
                hold_back_s = playlist.hold_back_s
                for uri, end_s in playlist.parts:
                    if uri not in seen and query:
                        async with http.get(urljoin(media_url, uri)) as answer:
                            await answer.read()
                        sent_s = sent.before((end_s - first_at_s) * 1000)
                        if sent_s is not None:
                            delays.append(time.monotonic() - sent_s)
                    seen.add(uri)
                query = playlist.next_query
    except (TimeoutError, aiohttp.ClientError) as error:
        told = str(error) or f"{len(delays)} of {parts} parts came within {within_s:g} s"
        raise UnavailableError(f"HLS: {told}") from error
    delays.sort()
    return Measured(
        first_playlist_s=first_s,
        parts=len(delays),
        median_ms=delays[len(delays) // 2] * 1000,
        worst_ms=delays[-1] * 1000,
        hold_back_ms=hold_back_s * 1000,
    )


async def _media_url(http: aiohttp.ClientSession, index_url: str) -> str:
    while True:
        async with http.get(index_url) as answer:
            text = await answer.text()
            if answer.status == 200 and text.rstrip():
                return urljoin(index_url, text.rstrip().splitlines()[-1])
        await asyncio.sleep(_RETRY_S)


async def _text(http: aiohttp.ClientSession, url: str) -> str:
    async with http.get(url) as answer:
        if answer.status != 200:
            raise UnavailableError(f"HLS: the playlist was answered with {answer.status}")
        return await answer.text()


def _read(text: str) -> _Playlist:
    """Parts with their ends, and how to ask for the next one (RFC 8216bis, 6.2.5.2)."""
    found: list[tuple[str, float]] = []
    begin_s = segment_s = at_s = 0.0
    msn, listed = 0, 0
    for line in text.splitlines():
        if line.startswith("#EXT-X-MEDIA-SEQUENCE:"):
            msn = int(line.partition(":")[2])
        elif line.startswith("#EXT-X-PROGRAM-DATE-TIME:"):
            stamp = line.partition(":")[2].replace("Z", "+00:00")
            segment_s = at_s = datetime.fromisoformat(stamp).timestamp()
            begin_s = begin_s or at_s
        elif part := _PART.match(line):
            at_s += float(part[1])
            listed += 1
            found.append((part[2], at_s))
        elif duration := _DURATION.match(line):
            segment_s += float(duration[1])
            at_s = segment_s
            msn, listed = msn + 1, 0
    hold_back = _HOLD_BACK.search(text)
    query = f"?_HLS_msn={msn}&_HLS_part={listed}"
    return _Playlist(found, begin_s, query, float(hold_back[1]) if hold_back else 0.0)
