"""Other people's players as test subjects, and a light one of ours that reads playlists only."""

import contextlib
import http.client
import json
import os
import re
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self
from urllib.parse import urljoin, urlsplit

import av
import numpy as np
import pytest

from streamserver.ffmpeg.testsource_clock import BlockClock
from tests.peers.ffmpeg import Player, require

__all__ = [
    "FramePlayer",
    "LightPlayer",
    "Listed",
    "MpvPlayer",
    "gstreamer",
    "hls_js_page",
    "serve_page",
    "video_js",
    "vlc",
]

_HLS_JS: Final = "streamserver/web/vendor/hls.js-1.7.4/hls.light.min.js"
_ROOT: Final = Path(__file__).parents[2]
_CACHE: Final = Path(os.environ.get("XDG_CACHE_HOME", "/tmp")) / "streamserver-peers"


@dataclass(frozen=True, slots=True)
class Listed:
    """A segment or part as a playlist told of it."""

    start: float
    """Unix seconds of its first sample, by PROGRAM-DATE-TIME."""

    duration: float
    """Seconds."""

    seen: float
    """Unix seconds when it was first listed to us."""


class LightPlayer:
    """Follows the live edge with blocking reloads, as a player does, and fetches no media.

    A context manager; runs in a thread. Errors end it, and `stop` raises them.
    """

    def __init__(self, url: str, user_agent: str = "light-player") -> None:
        self._url = url
        self._headers = {"User-Agent": user_agent}
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._error: Exception | None = None
        self.listed: dict[str, Listed] = {}
        self.reloads = 0

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()

    def stop(self) -> None:
        """Ends it after its present request; raises what went wrong."""
        self._stopping.set()
        self._thread.join(10)
        if self._error is not None:
            raise self._error

    def edge(self) -> float:
        """Unix seconds of the end of the newest media listed."""
        return max((each.start + each.duration for each in list(self.listed.values())), default=0)

    def _run(self) -> None:
        parts = urlsplit(self._url)
        connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=20)
        try:
            text = self._get(connection, parts.path)
            path = urljoin(parts.path, text.splitlines()[-1])
            query = ""
            while not self._stopping.is_set():
                query = self._read(self._get(connection, path + query))
                self.reloads += 1
        except Exception as error:  # told to whoever stops us
            self._error = error
        finally:
            connection.close()

    def _get(self, connection: http.client.HTTPConnection, path: str) -> str:
        connection.request("GET", path, headers=self._headers)
        answer = connection.getresponse()
        body = answer.read()
        if answer.status != 200:
            raise AssertionError(f"{path}: {answer.status} {body[:200]!r}")
        return body.decode()

    def _read(self, text: str) -> str:
        """Notes what is listed; returns the query for the part after it."""
        now = time.time()
        msn, parts, duration = 0, 0, 0.0
        start = position = 0.0
        for line in text.splitlines():
            tag, _, value = line.partition(":")
            if tag == "#EXT-X-MEDIA-SEQUENCE":
                msn = int(value)
            elif tag == "#EXT-X-PROGRAM-DATE-TIME":
                start = position = datetime.fromisoformat(value).timestamp()
            elif tag == "#EXT-X-PART":
                parts += 1
                found = re.search(r'DURATION=([\d.]+),URI="(?:[^"]*/)?([^"]+)"', value)
                assert found is not None
                length = float(found[1])
                self.listed.setdefault(found[2], Listed(position, length, now))
                position += length
            elif tag == "#EXTINF":
                duration = float(value.partition(",")[0])
            elif line and line[0] != "#":
                self.listed.setdefault(line.rpartition("/")[2], Listed(start, duration, now))
                msn, parts = msn + 1, 0
        return f"?_HLS_msn={msn}&_HLS_part={parts}"


class MpvPlayer(Player):
    """mpv without a window, asked over its socket."""

    def __init__(self, url: str, directory: Path) -> None:
        require("mpv")
        self._socket = directory / "mpv.sock"
        super().__init__(
            [
                *("mpv", "--no-config", "--vo=null", "--ao=null", "--msg-level=all=warn"),
                *("--rebase-start-time=no", f"--input-ipc-server={self._socket}", url),
            ],
            directory / "mpv.log",
        )

    def time_pos(self) -> float | None:
        """The time stamp on screen in seconds; None before the first picture."""
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(2)
            connection.connect(str(self._socket))
            connection.sendall(b'{"command": ["get_property", "time-pos"]}\n')
            for line in connection.makefile():
                answer: dict[str, Any] = json.loads(line)
                if "error" in answer:
                    return answer.get("data")
        return None


class FramePlayer(Player):
    """A player that writes what it shows as pictures, a few in a second."""

    def __init__(
        self, command: list[str], directory: Path, frames: Path, env: dict[str, str] | None = None
    ) -> None:
        super().__init__(command, directory / f"{frames.name}.log", env)
        self._frames = frames

    def glass(self, clock: BlockClock) -> float | None:
        """Seconds from the drawing of the newest picture to its showing; None without one."""
        # The very newest may be half written.
        paths = sorted(self._frames.iterdir(), key=lambda path: path.stat().st_mtime)[:-1]
        if not paths:
            return None
        with av.open(str(paths[-1])) as container:
            frame = next(container.decode(video=0))
        # VLC pads the lines to its liking and scales the whole.
        luma = frame.to_ndarray(
            format="gray", width=clock.picture_width, height=clock.picture_height
        )
        drawn = clock.read(luma.astype(np.uint8))
        return None if drawn is None else paths[-1].stat().st_mtime - drawn / 1000


def vlc(url: str, directory: Path) -> FramePlayer:
    """VLC without a window. It refuses to run as root, so it runs as nobody."""
    require("cvlc", "setpriv")
    home, frames = directory / "vlc-home", directory / "vlc"
    for each in (home, frames):
        each.mkdir()
        each.chmod(0o777)
    as_nobody = ("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups")
    return FramePlayer(
        [
            *(as_nobody if os.geteuid() == 0 else ()),
            *("cvlc", "-q", "-I", "dummy", "--vout", "dummy", "--aout", "dummy"),
            *("--video-filter=scene", "--scene-format=png", "--scene-ratio=15"),
            *(f"--scene-path={frames}", url, "vlc://quit"),
        ],
        directory,
        frames,
        {"HOME": str(home), "PATH": os.environ["PATH"], "XDG_RUNTIME_DIR": str(home)},
    )


def gstreamer(url: str, directory: Path) -> FramePlayer:
    """GStreamer's playbin3 with sinks that keep time."""
    require("gst-launch-1.0")
    frames = directory / "gstreamer"
    frames.mkdir()
    sink = (
        "videorate drop-only=true ! video/x-raw,framerate=2/1 ! videoconvert ! pngenc "
        f"! multifilesink sync=true location={frames}/%05d.png"
    )
    return FramePlayer(
        [
            *("gst-launch-1.0", "-q", "playbin3", f"uri={url}"),
            *(f"video-sink={sink}", "audio-sink=fakesink sync=true"),
        ],
        directory,
        frames,
    )


def serve_page(page: Any, url: str, body: str, scripts: dict[str, Path]) -> None:
    """Answers ``url`` and scripts beside it from here, as a page of another origin."""
    _answer(page, url, body, "text/html; charset=utf-8")
    for name, path in scripts.items():
        _answer(page, urljoin(url, name), path.read_text(), "text/javascript; charset=utf-8")


def _answer(page: Any, url: str, body: str, content_type: str) -> None:
    page.route(url, lambda route: route.fulfill(body=body, content_type=content_type))


def hls_js_page(source: str) -> tuple[str, dict[str, Path]]:
    """A page that plays with hls.js, low latency off, and its scripts."""
    body = f"""<!doctype html><video muted autoplay></video><script src="hls.js"></script><script>
    const hls = new Hls({{lowLatencyMode: false}});
    hls.loadSource({json.dumps(source)});
    hls.attachMedia(document.querySelector("video"));
    </script>"""
    return body, {"hls.js": _ROOT / _HLS_JS}


def video_js(source: str) -> tuple[str, dict[str, Path]]:
    """A page that plays with video.js from the npm registry, and its scripts. Skips without."""
    script = _CACHE / "node_modules/video.js/dist/video.min.js"
    if not script.exists():
        if shutil.which("npm") is None:
            pytest.skip("npm is not installed, and video.js is not here")
        _CACHE.mkdir(parents=True, exist_ok=True)
        command = ["npm", "install", "--no-audit", "--no-fund", "--ignore-scripts", "video.js@8"]
        done = subprocess.run(
            [*command, "--prefix", str(_CACHE)], check=False, capture_output=True, timeout=120
        )
        if done.returncode or not script.exists():
            pytest.skip(f"video.js could not be installed: {done.stderr[-200:]!r}")
    kind = "application/vnd.apple.mpegurl"
    body = f"""<!doctype html><video id="v" muted></video><script src="video.js"></script><script>
    const player = videojs("v", {{autoplay: "muted", html5: {{vhs: {{overrideNative: true}}}}}});
    player.src({{src: {json.dumps(source)}, type: "{kind}"}});
    </script>"""
    return body, {"video.js": script}


@contextlib.contextmanager
def many(url: str, count: int) -> Iterator[list[LightPlayer]]:
    """So many light players at once."""
    with contextlib.ExitStack() as stack:
        yield [stack.enter_context(LightPlayer(url)) for _ in range(count)]
