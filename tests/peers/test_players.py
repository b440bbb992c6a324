"""Other people's players on the HLS address: how far behind live, and as how many viewers."""

import contextlib
import io
import logging
import re
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

import av
import pytest

from tests.peers.browser import Watcher, chromium, wait_until
from tests.peers.clock_publisher import CLOCK
from tests.peers.ffmpeg import Player
from tests.peers.players import (
    FramePlayer,
    LightPlayer,
    MpvPlayer,
    gstreamer,
    hls_js_page,
    serve_page,
    video_js,
    vlc,
)
from tests.peers.server import RunningServer

pytestmark = [pytest.mark.peer, pytest.mark.timeout(240)]

logger = logging.getLogger(__name__)

STREAM: Final = "live/clock"
BEHIND_S: Final = 8
STEADY_S: Final = 40
WINDOW_S: Final = 12
"""A viewer is gone 10 s after its last request (target duration 2 s), and a look takes time."""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    directory = tmp_path_factory.mktemp("players")
    with RunningServer(directory) as server:
        command = [sys.executable, "-m", "tests.peers.clock_publisher", server.rtmp_url(STREAM)]
        with Player(command, directory / "publisher.log"):
            server.wait_live(STREAM)
            # A full window: players that join the first segment of all have less to choose from.
            time.sleep(14)
            yield server


def origin(server: RunningServer) -> float:
    """The Unix time of time stamp zero, from one segment and its PROGRAM-DATE-TIME."""
    base = f"/hls/{STREAM}/"
    media = server.get(base + "index.m3u8", {"User-Agent": "origin"}).decode().splitlines()[-1]
    text = server.get(base + media, {"User-Agent": "origin"}).decode()
    with LightPlayer(server.hls_url(STREAM), "origin") as player:
        wait_until(lambda: player.reloads, lambda n: n > 0, 10, "a playlist")
    found = re.findall(r'URI="\.\./\.\./([^"]+init[^"]*)"', text)
    uri = next(line for line in text.splitlines() if line.endswith(".m4s"))
    name = uri.replace("../", "")
    data = server.get(base + found[0]) + server.get(base + name)
    with av.open(io.BytesIO(data), "r") as container:
        first = next(container.decode(video=0))
    assert first.time is not None
    return player.listed[name.rpartition("/")[2]].start - first.time


def wait_for_a_new_segment(reference: LightPlayer) -> None:
    """Players join three target durations before the end of the last *complete* segment (RFC 8216
    6.3.3), which is up to a segment old: so where in it they come makes 2 s of difference."""
    segment = re.compile(r"\d+\.m4s")
    before = {name for name in reference.listed if segment.fullmatch(name)}
    wait_until(
        lambda: {name for name in list(reference.listed) if segment.fullmatch(name)},
        lambda names: names > before,
        10,
        "a new segment",
    )


def counts(server: RunningServer) -> Counter[str]:
    """Viewers by the first word of what they call themselves."""
    items = server.api(f"streams/{STREAM}/viewers")["items"]
    return Counter(re.split(r"[/ ]", item["user_agent"])[0] for item in items)


def in_pages(server: RunningServer, browser: Any) -> Iterator[tuple[str, Watcher]]:
    """hls.js without low latency, and video.js, each in a page."""
    url = server.hls_url(STREAM)
    for name, (body, scripts) in {"hls.js": hls_js_page(url), "video.js": video_js(url)}.items():
        page = browser.new_context(user_agent=name).new_page()
        address = f"{server.base_url}/peer/{name}/page.html"
        serve_page(page, address, body, scripts)
        watcher = Watcher(page, CLOCK)
        watcher.open(address)
        yield name, watcher


def steady(server: RunningServer, wanted: set[str], looks: Callable[[], None]) -> None:
    """For `STEADY_S`: exactly one viewer of each name, each time."""
    end = time.monotonic() + STEADY_S
    while time.monotonic() < end:
        seen = counts(server)
        assert {name: seen[name] for name in wanted} == dict.fromkeys(wanted, 1), seen
        looks()
        time.sleep(2)


@pytest.fixture
def open_directory() -> Iterator[Path]:
    """A directory that other users may enter, as those of pytest may not: VLC is another user."""
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o755)
        yield Path(name)


def test_native_players_are_near_live_and_one_viewer_each(
    server: RunningServer, open_directory: Path
) -> None:
    url = server.hls_url(STREAM)
    zero = origin(server)
    behind: dict[str, list[float]] = {"mpv": [], "VLC": [], "GStreamer": []}
    with contextlib.ExitStack() as stack:
        reference = stack.enter_context(LightPlayer(url, "reference"))
        wait_for_a_new_segment(reference)
        mpv = stack.enter_context(MpvPlayer(url, open_directory))
        framed: dict[str, FramePlayer] = {
            "VLC": stack.enter_context(vlc(url, open_directory)),
            "GStreamer": stack.enter_context(gstreamer(url, open_directory)),
        }
        players: list[Player] = [mpv, *framed.values()]
        wait_until(
            lambda: counts(server),
            lambda c: {"libmpv", "VLC", "GStreamer"} <= set(c),
            15,
            "all of them",
        )
        time.sleep(4)

        def look() -> None:
            assert all(player.running for player in players)
            position = mpv.time_pos()
            if position is not None:
                behind["mpv"].append(time.time() - zero - position)
            for name, player in framed.items():
                glass = player.glass(CLOCK)
                if glass is not None:
                    behind[name].append(glass)

        steady(server, {"libmpv", "VLC", "GStreamer"}, look)
    ranges = {name: f"{min(seen):.2f} to {max(seen):.2f}" for name, seen in behind.items()}
    logger.info("seconds behind live: %s", ranges)
    for name, seen in behind.items():
        assert len(seen) > 5, name
        assert max(seen) < BEHIND_S, (name, seen)


def test_players_in_pages_are_near_live_and_one_viewer_each(server: RunningServer) -> None:
    behind: dict[str, list[float]] = {}
    with chromium() as browser, LightPlayer(server.hls_url(STREAM), "reference") as reference:
        wait_for_a_new_segment(reference)
        watchers = dict(in_pages(server, browser))
        time.sleep(6)

        def look() -> None:
            for name, watcher in watchers.items():
                glance = watcher.glance()
                if glance is not None:
                    behind.setdefault(name, []).append(glance.glass_s)

        steady(server, set(watchers), look)
    ranges = {name: f"{min(seen):.2f} to {max(seen):.2f}" for name, seen in behind.items()}
    logger.info("seconds behind live: %s", ranges)
    for name in watchers:
        assert len(behind[name]) > 5, name
        assert max(behind[name]) < BEHIND_S, (name, behind[name])


def test_ten_players_then_five_then_none(server: RunningServer) -> None:
    url = server.hls_url(STREAM)
    wait_until(lambda: server.viewers(STREAM), lambda n: n == 0, WINDOW_S, "nobody")
    with chromium() as browser:
        contexts = [browser.new_context() for _ in range(2)]
        for context in contexts:
            watcher = Watcher(context.new_page())
            watcher.open(f"{server.base_url}/play/{STREAM}")
            watcher.wait_playing()
        light = [LightPlayer(url) for _ in range(8)]
        with contextlib.ExitStack() as stack:
            for player in light:
                stack.enter_context(player)
            wait_until(lambda: server.viewers(STREAM), lambda n: n == 10, 5, "ten")
            time.sleep(WINDOW_S)
            assert server.viewers(STREAM) == 10
            contexts[0].close()
            for player in light[:4]:
                player.stop()
            wait_until(lambda: server.viewers(STREAM), lambda n: n == 5, WINDOW_S, "five")
        contexts[1].close()
        wait_until(lambda: server.viewers(STREAM), lambda n: n == 0, WINDOW_S, "none")
