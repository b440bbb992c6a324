"""Encoders killed with -9 and started again: every kind of viewer goes on by itself, a destination
notices no more than a pause.

Two kills of each encoder, as a test. ``STREAMSERVER_KILLS=10`` kills as often as that.
"""

import contextlib
import logging
import os
import re
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from itertools import pairwise
from pathlib import Path
from typing import Any, Final, Protocol, Self

import pytest

from tests.peers import publishers
from tests.peers.browser import Watcher, chromium, wait_until
from tests.peers.far_sides import SinkProcess
from tests.peers.ffmpeg import Player, require
from tests.peers.players import MpvPlayer
from tests.peers.publishers import Publisher, publishing
from tests.peers.server import RunningServer

KILLS: Final = int(os.environ.get("STREAMSERVER_KILLS", "2"))
AWAY_S: Final = float(os.environ.get("STREAMSERVER_AWAY_S", "2"))
"""From a kill to the next start: as long as a person or a service manager takes, at least."""

STREAM: Final = "live/camera"
STILL_MS: Final = 500
"""Without a new picture for longer than this, viewers call it an interruption."""

PATIENCE_S: Final = 60

pytestmark = [pytest.mark.peer, pytest.mark.timeout(240 + 90 * KILLS)]

logger = logging.getLogger(__name__)

# Writes down when pictures came: how many, and each pause between two of them.
_EYES: Final = """
(stillMs) => {
  const seen = window.seen = {pictures: 0, pauses: [], last: 0};
  const video = document.querySelector("video");
  const look = () => {
    const now = Date.now();
    if (seen.last && now - seen.last > stillMs) seen.pauses.push([seen.last, now]);
    seen.last = now;
    seen.pictures += 1;
    video.requestVideoFrameCallback(look);
  };
  video.requestVideoFrameCallback(look);
}
"""


class Viewer(Protocol):
    """Somebody who looks, and knows when nothing moved."""

    def pictures(self) -> int:
        """A number that grows while pictures move."""

    def pauses(self) -> list[tuple[float, float]]:
        """Unix milliseconds from and to which nothing moved."""

    def check(self) -> None:
        """Raises where it had to be started again."""


class PageViewer:
    """The play page in Chromium."""

    def __init__(self, browser: Any, server: RunningServer, via: str) -> None:
        self.watcher = Watcher(browser.new_context().new_page())
        self._via = via
        self._navigations = 0
        self.watcher.page.on("framenavigated", self._navigated)
        self.watcher.open(f"{server.base_url}/play/{STREAM}?via={via}")
        self.watcher.wait_playing(PATIENCE_S)
        self.watcher.page.evaluate(_EYES, STILL_MS)

    def pictures(self) -> int:
        return int(self.watcher.page.evaluate("() => window.seen.pictures"))

    def pauses(self) -> list[tuple[float, float]]:
        return [(a, b) for a, b in self.watcher.page.evaluate("() => window.seen.pauses")]

    def check(self) -> None:
        assert self._navigations == 1, "the page was loaded again"
        data = self.watcher.data()
        assert data["via"] == self._via
        assert data["reloads"] == "0", "the player began anew"
        errors = [text for text in self.watcher.messages if text.startswith("error")]
        assert errors == []

    def _navigated(self, frame: object) -> None:
        self._navigations += frame == self.watcher.page.main_frame


class MpvViewer:
    """mpv, asked all the time where it is. A context manager."""

    def __init__(self, url: str, directory: Path) -> None:
        self._mpv = MpvPlayer(url, directory)
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._moves = 0
        self._pauses: list[tuple[float, float]] = []

    def __enter__(self) -> Self:
        self._mpv.__enter__()
        self._thread.start()
        wait_until(self.pictures, lambda moves: moves > 2, PATIENCE_S, "mpv plays")
        return self

    def __exit__(self, *exc: Any) -> None:
        self._stopping.set()
        self._thread.join()
        self._mpv.__exit__(*exc)

    def pictures(self) -> int:
        return self._moves

    def pauses(self) -> list[tuple[float, float]]:
        return list(self._pauses)

    def check(self) -> None:
        assert self._mpv.running, self._mpv.output()[-800:]

    def _run(self) -> None:
        """Asks ten times a second."""
        at, moved = None, 0.0
        while not self._stopping.wait(0.1):
            now = time.time() * 1000
            found = self._mpv.time_pos()
            if found is None or found == at:
                continue
            if moved and now - moved > STILL_MS:
                self._pauses.append((moved, now))
            at, moved = found, now
            self._moves += 1


def still_s(viewer: Viewer, since_ms: float) -> float:
    """Seconds without a picture since then."""
    return sum(b - max(a, since_ms) for a, b in viewer.pauses() if b > since_ms) / 1000


@contextlib.contextmanager
def ffmpeg_life(server: RunningServer, directory: Path) -> Iterator[Callable[[], None]]:
    """An ffmpeg that publishes, and what kills it."""
    require("ffmpeg")
    command = publishers.ffmpeg(server.rtmp_url(STREAM))
    with publishing(command, directory / "ffmpeg.log") as encoder:
        yield encoder.kill


@contextlib.contextmanager
def obs_life(server: RunningServer, directory: Path) -> Iterator[Callable[[], None]]:
    """An OBS Studio that publishes, and what kills it."""
    require("obs", "xvfb-run")
    app, _, name = STREAM.partition("/")
    field = f"rtmp://127.0.0.1:{server.rtmp_port}/{app}"
    command, environment = publishers.obs(directory, field, name)
    with publishing(command, directory / "obs.log", environment) as encoder:
        yield lambda: _kill_obs(encoder)


def _kill_obs(encoder: Publisher) -> None:
    encoder.kill_program("obs")


LIVES: Final = {"ffmpeg": ffmpeg_life, "obs": obs_life}


@pytest.mark.parametrize(
    ("encoder", "slate"),
    [("ffmpeg", False), ("obs", False), ("ffmpeg", True)],
    ids=["ffmpeg", "obs", "ffmpeg-slate"],
)
def test_viewers_of_every_kind_go_on_when_an_encoder_is_killed_and_comes_back(
    encoder: str, slate: bool, tmp_path: Path
) -> None:
    require("mpv")
    with ExitStack() as stack:
        # A slow machine takes long to start an encoder; the window is not what is looked at.
        settings: tuple[str, ...] = ("server.reconnect_window_s=90",)
        if slate:
            settings += (f"server.slate={blue_picture(tmp_path)}",)
        server = stack.enter_context(RunningServer(tmp_path / "server", settings=settings))
        sink = stack.enter_context(SinkProcess(tmp_path / "sink"))
        browser = stack.enter_context(chromium())
        life = stack.enter_context(ExitStack())
        kill = life.enter_context(LIVES[encoder](server, tmp_path / "life0"))
        broadcast = server.wait_live(STREAM, PATIENCE_S)["session_id"]
        body = {"url": sink.url("live/copy"), "name": "sink"}
        server.api(f"streams/{STREAM}/destinations", "POST", body)
        pages = {via: PageViewer(browser, server, via) for via in ("hls", "webrtc")}
        mpv = stack.enter_context(MpvViewer(server.rtmp_url(STREAM), tmp_path))
        viewers: dict[str, Viewer] = {"HLS": pages["hls"], "WHEP": pages["webrtc"], "RTMP": mpv}
        wait_until(lambda: sink.events("published"), bool, PATIENCE_S, "the destination is live")
        for name, viewer in viewers.items():
            goes_on(name, viewer)
        sessions = _viewers(server)
        assert len(sessions) == len(viewers)

        told: dict[str, list[float]] = {name: [] for name in ("publisher", *viewers)}
        for number in range(1, KILLS + 1):
            killed_ms = time.time() * 1000
            kill()
            wait_until(
                lambda: server.stream(STREAM)["state"],
                lambda state: state == "interrupted",
                PATIENCE_S,
                "the kill is noticed",
            )
            life.close()
            time.sleep(AWAY_S)
            kill = life.enter_context(LIVES[encoder](server, tmp_path / f"life{number}"))
            wait_until(
                lambda: server.stream(STREAM)["state"],
                lambda state: state == "live",
                PATIENCE_S,
                "the encoder is back",
            )
            told["publisher"].append(time.time() - killed_ms / 1000)
            for name, viewer in viewers.items():
                goes_on(name, viewer)
                told[name].append(still_s(viewer, killed_ms))
        for name, seconds in told.items():
            figures = " ".join(f"{each:.1f}" for each in seconds)
            how = f"{encoder} with a slate" if slate else encoder
            print(f"{how}, seconds away, {name:>9}: {figures}")  # noqa: T201

        for viewer in viewers.values():
            viewer.check()
        assert _viewers(server) == sessions, "sessions of viewers live on"
        assert server.stream(STREAM)["session_id"] == broadcast, "it is one broadcast"
        (destination,) = server.api(f"streams/{STREAM}/destinations")["items"]
        assert (destination["state"], destination["reconnects"]) == ("live", 0)
        assert len(sink.events("published")) == 1
        # The first of all was our own look whether it listens.
        assert len(sink.events("connected")) == 2
        assert len(sink.events("ended")) == 1


def goes_on(name: str, viewer: Viewer) -> None:
    """Waits for pictures that come after another for a while."""
    before = viewer.pictures()
    wait_until(viewer.pictures, lambda now: now > before + 20, PATIENCE_S, f"{name} goes on")
    viewer.check()


def _viewers(server: RunningServer) -> set[tuple[str, str]]:
    items = server.api(f"streams/{STREAM}/viewers")["items"]
    return {(one["protocol"], one["id"]) for one in items}


SLATE_AWAY_S: Final = 6


@pytest.mark.parametrize("form", ["rtmp", "hls"])
def test_ffmpeg_reads_through_an_interruption_that_a_slate_fills(tmp_path: Path, form: str) -> None:
    """It decodes all of it, at the pace of the clock, with a picture for nearly every moment."""
    require("ffmpeg")
    settings = ("server.reconnect_window_s=90", f"server.slate={blue_picture(tmp_path)}")
    pictures = tmp_path / "pictures.txt"
    with ExitStack() as stack:
        server = stack.enter_context(RunningServer(tmp_path / "server", settings=settings))
        life = stack.enter_context(ExitStack())
        kill = life.enter_context(ffmpeg_life(server, tmp_path / "life0"))
        server.wait_live(STREAM, PATIENCE_S)
        url = server.rtmp_url(STREAM) if form == "rtmp" else server.hls_url(STREAM)
        # Mean colour and time of each picture: U is the blue of the slate.
        show = "signalstats,metadata=print:key=lavfi.signalstats.UAVG:direct=1:file=" + str(
            pictures
        )
        command = ["ffmpeg", "-v", "error", "-nostdin", "-i", url, "-vf", show, "-f", "null", "-"]
        reader = stack.enter_context(Player(command, tmp_path / "reader.log"))

        def seen() -> list[tuple[float, float]]:
            return _pictures(pictures)

        wait_until(seen, lambda found: len(found) > 60, PATIENCE_S, "pictures")
        kill()
        life.close()
        wait_until(
            lambda: sum(blue > 200 for _, blue in seen()),
            lambda count: count > 30 * SLATE_AWAY_S * 0.8,
            PATIENCE_S,
            "the slate",
        )
        assert server.stream(STREAM)["state"] == "interrupted"
        life.enter_context(ffmpeg_life(server, tmp_path / "life1"))
        wait_until(
            lambda: [blue < 200 for _, blue in seen()[-60:]],
            all,
            PATIENCE_S,
            "the publisher again",
        )
        assert reader.running
    found = seen()
    steps = sorted(b - a for (a, _), (b, _) in pairwise(found))
    words = f"{form}: {len(found)} pictures, the longest steps {steps[-3:]}"
    print(words, reader.output()[-400:])  # noqa: T201
    assert steps[0] >= 0
    assert steps[-1] < 5, words


def blue_picture(directory: Path) -> Path:
    """A slate."""
    path = directory / "slate.png"
    source = ("-f", "lavfi", "-i", "color=c=blue:s=800x600", "-frames:v", "1")
    subprocess.run(["ffmpeg", "-v", "error", *source, str(path)], check=True, timeout=60)
    return path


def _pictures(path: Path) -> list[tuple[float, float]]:
    """Time stamps and mean U of what has been decoded so far."""
    if not path.exists():
        return []
    times = re.findall(r"pts_time:([\d.]+)\nlavfi.signalstats.UAVG=([\d.]+)\n", path.read_text())
    return [(float(at), float(blue)) for at, blue in times]
