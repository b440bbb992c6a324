"""Viewers that come and go, and clients that mean ill: nothing is left behind in the server.

``STREAMSERVER_CHURN=60x20`` has 60 viewers come and go twenty times, ``STREAMSERVER_BAD=10000`` is
how many bad offers, checks and handshakes are sent each; ``STREAMSERVER_STAY=100x600`` has 100
viewers stay for ten minutes.
"""

import asyncio
import logging
import os
import random
import re
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any, Final

import aiohttp
import pytest

from benchmarks.procfs import usage
from tests.peers.browser import wait_until
from tests.peers.ffmpeg import FfmpegPublisher, require
from tests.peers.server import RunningServer
from tests.webrtc.client import WireClient
from tests.webrtc.offers import CHROMIUM_PLAY, CHROMIUM_PUBLISH, without

logger = logging.getLogger(__name__)

pytestmark = [pytest.mark.peer, pytest.mark.timeout(1500)]

KEY: Final = "live/churn"
SDP: Final = {"Content-Type": "application/sdp"}
VIEWERS, ROUNDS = (int(part) for part in os.environ.get("STREAMSERVER_CHURN", "20x5").split("x"))
BAD: Final = int(os.environ.get("STREAMSERVER_BAD", "1000"))
STAY_VIEWERS, STAY_S = (
    int(part) for part in os.environ.get("STREAMSERVER_STAY", "20x10").split("x")
)
_SETTLED: Final = 2
"""Rounds after which memory must not grow: allocators and caches have their size by then."""


@dataclass(frozen=True, slots=True)
class Left:
    """What a server holds, seen from outside."""

    rss_kb: int
    fds: int
    threads: int
    peers: dict[str, float]

    @classmethod
    def of(cls, server: RunningServer) -> "Left":
        process = Path(f"/proc/{server.pid}")
        peers = {k: v for k, v in server.metrics().items() if k.startswith("streamserver_webrtc_p")}
        return cls(
            usage(server.pid).rss_kb,
            len(list((process / "fd").iterdir())),
            len(list((process / "task").iterdir())),
            {name: value for name, value in peers.items() if "_peers{" in name},
        )


@dataclass(frozen=True, slots=True)
class Answered:
    """What `WireClient` asks of a peer, from an answer."""

    ufrag: str
    password: str
    fingerprint: str
    port: int
    video: int
    """The payload type of pictures."""
    location: str

    def describe(self, **_: Any) -> None:
        """The offer has told that."""


@pytest.fixture
def server(tmp_path: Path) -> Any:
    # Nothing that a test leaves may be taken for what the server keeps for players of HLS.
    settings = ("webrtc.host=127.0.0.1",)
    with RunningServer(tmp_path / "server", settings=settings) as running:
        yield running


@pytest.fixture
async def http(server: RunningServer) -> AsyncIterator[aiohttp.ClientSession]:
    # Few, since those that are kept alive are file descriptors of the server.
    connector = aiohttp.TCPConnector(limit=6)
    async with aiohttp.ClientSession(server.base_url, connector=connector) as session:
        yield session


def _offer(client: WireClient) -> str:
    """Chromium's offer, with the credentials of a client of ours."""
    digest = next(value for name, value in client.fingerprints if name == "sha-256")
    text = re.sub("a=ice-ufrag:.*\r", "a=ice-ufrag:test\r", CHROMIUM_PLAY)
    text = re.sub("a=ice-pwd:.*\r", f"a=ice-pwd:{'t' * 22}\r", text)
    return re.sub("a=fingerprint:.*\r", f"a=fingerprint:sha-256 {digest}\r", text)


async def _ask(http: aiohttp.ClientSession, offer: str) -> Answered:
    async with http.post(f"/whep/{KEY}", data=offer, headers=SDP) as answer:
        text = await answer.text()
        assert answer.status == 201, text

    def find(pattern: str) -> str:
        found = re.search(pattern, text)
        assert found is not None, (pattern, text)
        return found[1]

    return Answered(
        find(r"a=ice-ufrag:(\S+)"),
        find(r"a=ice-pwd:(\S+)"),
        find(r"a=fingerprint:sha-256 (\S+)"),
        int(find(r"a=candidate:\S+ 1 udp \d+ \S+ (\d+)")),
        int(find(r"m=video \d+ \S+ (\d+)")),
        answer.headers["Location"],
    )


@dataclass(frozen=True, slots=True, eq=False)
class Viewer:
    """A client that plays, and goes on agreeing to be sent to (RFC 7675)."""

    client: WireClient
    answered: Answered
    consent: asyncio.Task[None]

    @classmethod
    async def join(cls, http: aiohttp.ClientSession) -> "Viewer":
        """Returns with the first packet of media."""
        client = WireClient()
        answered = await _ask(http, _offer(client))
        await client.open_udp(answered.port)
        await client.connect(answered)  # type: ignore[arg-type]  # of a peer, it reads these only
        viewer = cls(client, answered, asyncio.create_task(_consent(client, answered)))
        async with asyncio.timeout(20):
            await client.rtp.get()
        return viewer

    def picture_came(self) -> bool:
        """Whether there is one among the packets since the last call."""
        found, packets = False, self.client.rtp
        while not packets.empty():
            found |= packets.get_nowait()[1] & 0x7F == self.answered.video
        return found

    async def leave(self, http: aiohttp.ClientSession) -> None:
        """By good-bye, or by DELETE."""
        self.consent.cancel()
        if hash(self.answered.ufrag) & 1:
            async with http.delete(self.answered.location) as deleted:
                assert deleted.status == 200
        await self.client.close()


async def _consent(client: WireClient, answered: Answered) -> None:
    """Checks every few seconds; without them a viewer is given up after 30 s."""
    while True:
        client.send(client.request(answered))  # type: ignore[arg-type]  # see `Viewer.join`
        await asyncio.sleep(3)


async def _join_many(http: aiohttp.ClientSession, count: int) -> list[Viewer]:
    viewers: list[Viewer] = []
    # A few at a time: the client's handshakes share the machine.
    while len(viewers) < count:
        wanted = min(6, count - len(viewers))
        viewers += await asyncio.gather(*(Viewer.join(http) for _ in range(wanted)))
    return viewers


async def _settled(server: RunningServer, condition: Callable[[Left], bool], what: str) -> Left:
    look = Left.of
    return await asyncio.to_thread(wait_until, lambda: look(server), condition, 60, what)


def _quiet(left: Left) -> bool:
    return not any(left.peers.values())


async def test_viewers_come_and_go_and_leave_nothing(
    server: RunningServer, http: aiohttp.ClientSession, tmp_path: Path
) -> None:
    require("ffmpeg")
    with FfmpegPublisher(server.rtmp_url(KEY), tmp_path):
        await asyncio.to_thread(server.wait_live, KEY)
        seen = []
        for _ in range(ROUNDS):
            began = time.monotonic()
            viewers = await _join_many(http, VIEWERS)
            joined_s = time.monotonic() - began
            full = await asyncio.to_thread(Left.of, server)
            assert sum(full.peers.values()) == VIEWERS
            await asyncio.gather(*(one.leave(http) for one in viewers))
            left = await _settled(server, _quiet, "every viewer gone")
            seen.append(left)
            logger.info(
                "%d joined in %.1f s, %d KB with them; then %d KB, %d fds, %d threads",
                VIEWERS, joined_s, full.rss_kb, left.rss_kb, left.fds, left.threads,
            )  # fmt: skip
        assert server.viewers(KEY) == 0
        transport = {
            name: value
            for name, value in server.metrics().items()
            if "webrtc_transport" in name and value
        }
        logger.info("%s", transport)
    assert max(one.fds for one in seen[_SETTLED:]) <= seen[0].fds + 6
    assert max(one.threads for one in seen) <= seen[0].threads + 4
    # Events of viewers are kept, two for each and 1.5 KB or so for an event, up to 16 MB in all.
    assert seen[-1].rss_kb - seen[_SETTLED].rss_kb <= 4096 + 6 * VIEWERS * (ROUNDS - _SETTLED)


async def test_viewers_stay_and_memory_stays_flat(
    server: RunningServer, http: aiohttp.ClientSession, tmp_path: Path
) -> None:
    require("ffmpeg")
    with FfmpegPublisher(server.rtmp_url(KEY), tmp_path):
        await asyncio.to_thread(server.wait_live, KEY)
        viewers = await _join_many(http, STAY_VIEWERS)
        step_s = max(2.0, STAY_S / 10)
        memory: list[int] = []
        longest_s = 0.0
        for _ in range(round(STAY_S / step_s)):
            ending = time.monotonic() + step_s
            last = dict.fromkeys(viewers, time.monotonic())
            while time.monotonic() < ending:
                await asyncio.sleep(0.1)
                now = time.monotonic()
                for viewer in last:
                    # Sound that goes on says nothing about pictures that do not.
                    if viewer.picture_came():
                        last[viewer] = now
                    longest_s = max(longest_s, now - last[viewer])
            memory.append((await asyncio.to_thread(usage, server.pid)).rss_kb)
        items = server.api(f"streams/{KEY}/viewers?limit=1000")["items"]
        logger.info(
            "%d viewers for %d s: %s KB, the longest wait for a picture %.1f s, "
            "%d lost of %d",
            STAY_VIEWERS, STAY_S, memory, longest_s,
            sum(one["link"]["lost"] for one in items), sum(one["link"]["packets"] for one in items),
        )  # fmt: skip
        assert server.viewers(KEY) == STAY_VIEWERS
        await asyncio.gather(*(one.leave(http) for one in viewers))
        await _settled(server, _quiet, "every viewer gone")
    assert memory[-1] - memory[len(memory) // 2] < 4096 + 50 * STAY_VIEWERS
    assert longest_s < 2


_MEDIA: Final = CHROMIUM_PUBLISH[CHROMIUM_PUBLISH.index("m=video") :].partition("m=appl")[0]
_BAD_OFFERS: Final = (
    ("nonsense", "v=0\r\nnonsense " + "x" * 300),
    ("no credentials", without(CHROMIUM_PUBLISH, "a=ice-ufrag", "a=ice-pwd")),
    ("no fingerprint", without(CHROMIUM_PUBLISH, "a=fingerprint")),
    ("500 m-lines", CHROMIUM_PUBLISH + "m=video 9 UDP/TLS/RTP/SAVPF 96\r\n" * 500),
    ("1 MB", CHROMIUM_PUBLISH + "a=ssrc:1 cname:x\r\n" * 60_000),
    ("empty", ""),
    ("an answer's roles", CHROMIUM_PUBLISH.replace("sendonly", "recvonly").replace("sendrecv", "")),
    ("a data channel only", CHROMIUM_PUBLISH.partition("m=")[0] + "m=application 9 UDP/DTLS/SCTP "
     "webrtc-datachannel\r\nc=IN IP4 0.0.0.0\r\na=mid:0\r\n"),
    ("control characters", CHROMIUM_PUBLISH.replace("a=mid", "a=\x00mid")),
)  # fmt: skip


async def test_ten_thousand_bad_offers_and_packets_leave_nothing(
    server: RunningServer, http: aiohttp.ClientSession, tmp_path: Path
) -> None:
    require("ffmpeg")
    chance = random.Random(4)
    statuses: dict[str, int] = {}

    async def offers(count: int) -> None:
        for number in range(count):
            name, text = _BAD_OFFERS[number % len(_BAD_OFFERS)]
            if name == "1 MB" and number % 10:
                continue
            way = ("whip", "whep")[number & 1]
            async with http.post(
                f"/{way}/{KEY}bad", data=BytesIO(text.encode()), headers=SDP
            ) as answer:
                key = f"{way} {name}: {answer.status}"
                statuses[key] = statuses.get(key, 0) + 1
                await answer.read()

    with FfmpegPublisher(server.rtmp_url(KEY), tmp_path):
        await asyncio.to_thread(server.wait_live, KEY)
        await asyncio.gather(*(offers(100) for _ in range(4)))
        victim = await Viewer.join(http)
        answered = victim.answered
        flooder = await WireClient().open_udp(answered.port)
        before = await asyncio.to_thread(Left.of, server)
        began = time.monotonic()
        await asyncio.gather(*(offers(BAD // 4) for _ in range(4)))
        offered_s = time.monotonic() - began
        offered = await asyncio.to_thread(Left.of, server)
        for number in range(BAD):
            peer: Any = answered
            flooder.send(flooder.request(peer, password="w" * 22))
            flooder.send(flooder.request(peer, username=f"n{number}:test"))
            # DTLS, RTP and nothing at all, before ICE.
            flooder.send(b"\x16\xfe\xfd" + chance.randbytes(200))
            flooder.send(b"\x80\x60" + chance.randbytes(100))
            flooder.send(chance.randbytes(chance.randrange(1, 1400)))
            if not number % 50:
                await asyncio.sleep(0.01)
        # Offers that are well, and that nobody follows: forgotten after half a minute. Twice, for
        # what they take at once is not given back to the system, but used again.
        abandoned = max(100, min(500, BAD // 10))
        waves: list[int] = []
        after = offered
        for _ in range(2):
            for _ in range(abandoned):
                await _ask(http, _offer(flooder))
            after = await _settled(
                server, lambda left: sum(left.peers.values()) <= 1, "abandoned offers forgotten"
            )
            waves.append(after.rss_kb)
        while not victim.client.rtp.empty():
            victim.client.rtp.get_nowait()
        async with asyncio.timeout(10):
            await victim.client.rtp.get()  # goes on
        flooder.vanish()
        counts = {k: v for k, v in server.metrics().items() if "webrtc_transport" in k and v}
        logger.info(
            "%d bad offers in %.1f s: %s; %s; %d KB before, %d KB after them, %s KB after each "
            "wave of %d abandoned; %d fds before, %d after; the log has %d KB",
            BAD, offered_s, statuses, counts, before.rss_kb, offered.rss_kb, waves, abandoned,
            before.fds, after.fds, len(server.log()) // 1024,
        )  # fmt: skip
        await victim.leave(http)
    assert all(status.endswith((" 400", " 404", " 406", " 413", " 422")) for status in statuses)
    assert after.fds <= before.fds + 2
    assert offered.rss_kb - before.rss_kb < 6144
    assert waves[0] - offered.rss_kb < 4096 + 80 * abandoned
    assert waves[1] - waves[0] < 4096
