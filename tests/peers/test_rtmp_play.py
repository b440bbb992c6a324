"""Other people's players on RTMP and FLV: they start at once, go on, and end with the stream."""

import http.server
import json
import logging
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, Final

import av
import pytest

from benchmarks.procfs import usage
from tests.peers.browser import chromium, wait_until
from tests.peers.clock_publisher import CLOCK
from tests.peers.ffmpeg import FfmpegPublisher, Player, require
from tests.peers.players import MpvPlayer, vlc
from tests.peers.server import RunningServer

logger = logging.getLogger(__name__)

pytestmark = [pytest.mark.peer, pytest.mark.timeout(900)]

STREAM: Final = "live/test"
THROTTLED_S: Final = int(os.environ.get("STREAMSERVER_THROTTLED_S", "45"))
"""How long a slow viewer is looked at; the memory must be flat over two thirds of it."""

FLAT_KB: Final = 12 * 1024
"""As much as the bounds of a stream (README, memory) may still fill after the first third."""

_CACHE: Final = Path("/tmp/streamserver-peers")
_COPY: Final = ("-c", "copy", "-f", "null", "-")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    require("ffmpeg")
    directory = tmp_path_factory.mktemp("play")
    with (
        RunningServer(directory, settings=("rtmp.wait_for_stream_s=20",)) as server,
        FfmpegPublisher(server.rtmp_url(STREAM), directory, colour=None),
    ):
        server.wait_live(STREAM)
        yield server


def flv_url(server: RunningServer) -> str:
    return f"{server.base_url}/flv/{STREAM}"


def urls(server: RunningServer) -> dict[str, str]:
    return {"rtmp": server.rtmp_url(STREAM), "flv": flv_url(server)}


def wait_no_viewers(server: RunningServer) -> None:
    wait_until(lambda: server.viewers(STREAM), lambda count: count == 0, 5, "all viewers have left")


@pytest.mark.parametrize("form", ["rtmp", "flv"])
def test_ffmpeg_copies_without_a_complaint(server: RunningServer, form: str) -> None:
    command = ["ffmpeg", "-nostdin", "-hide_banner", "-loglevel", "warning", "-stats"]
    done = subprocess.run(
        [*command, "-i", urls(server)[form], "-t", "6", *_COPY],
        check=False, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    lines = done.stderr.replace("\r", "\n").splitlines()
    progress = [line for line in lines if line.startswith("frame=")]
    assert [
        line for line in lines if line.strip() and not line.startswith(("frame=", "video:"))
    ] == []
    assert int(progress[-1].split("=")[1].split()[0]) >= 170
    wait_no_viewers(server)


@pytest.mark.parametrize("form", ["rtmp", "flv"])
def test_ffprobe_finds_the_two_tracks_and_nothing_else(server: RunningServer, form: str) -> None:
    require("ffprobe")
    command = ["ffprobe", "-v", "error", "-show_streams", "-of", "json", urls(server)[form]]
    done = subprocess.run(command, check=True, capture_output=True, text=True, timeout=30)
    streams = json.loads(done.stdout)["streams"]
    assert [one["codec_name"] for one in streams] == ["h264", "aac"]
    assert (streams[0]["width"], streams[0]["height"]) == (640, 360)


def test_rtmpdump_saves_a_file_that_plays(server: RunningServer, tmp_path: Path) -> None:
    require("rtmpdump")
    target = tmp_path / "dump.flv"
    command = ["rtmpdump", "-q", "-r", server.rtmp_url(STREAM), "--live", "-o", str(target)]
    with Player(command, tmp_path / "rtmpdump.log"):
        wait_until(
            lambda: target.stat().st_size if target.exists() else 0,
            lambda size: size > 300_000,
            20,
            "300 KB",
        )
    with av.open(str(target)) as container:
        frames = sum(1 for _ in container.decode(video=0))
    assert frames > 30
    wait_no_viewers(server)


@pytest.mark.parametrize("form", ["rtmp", "flv"])
def test_mpv_goes_on_in_real_time(server: RunningServer, tmp_path: Path, form: str) -> None:
    with MpvPlayer(urls(server)[form], tmp_path) as player:
        wait_until(player.time_pos, lambda at: at is not None, 15, "the first picture")
        first, began = player.time_pos(), time.monotonic()
        time.sleep(6)
        last, elapsed = player.time_pos(), time.monotonic() - began
        assert first is not None
        assert last is not None
        assert abs(last - first - elapsed) < 1
        assert player.output() == ""
    wait_no_viewers(server)


@pytest.mark.parametrize("form", ["rtmp", "flv"])
def test_vlc_shows_pictures_that_are_young(server: RunningServer, form: str) -> None:
    """It buffers a second, and begins up to a group of pictures (two seconds) back."""
    key = "live/clock"
    url = {"rtmp": server.rtmp_url(key), "flv": f"{server.base_url}/flv/{key}"}[form]
    # Not a directory of pytest's: VLC runs as another user, who may not enter those.
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        directory.chmod(0o755)
        command = [sys.executable, "-m", "tests.peers.clock_publisher", server.rtmp_url(key)]
        with Player(command, directory / "publisher.log"):
            server.wait_live(key)
            with vlc(url, directory) as player:
                frames = directory / "vlc"
                wait_until(lambda: len(list(frames.iterdir())), lambda n: n >= 12, 30, "pictures")
                ages = []
                for _ in range(6):
                    ages.append(player.glass(CLOCK))
                    time.sleep(0.5)
                assert player.running
    seen = [age for age in ages if age is not None]
    assert len(seen) > 3, ages
    assert max(seen) < 5, ages


def test_gstreamer_rtmp2src_decodes(server: RunningServer, tmp_path: Path) -> None:
    require("gst-launch-1.0")
    frames = tmp_path / "frames"
    frames.mkdir()
    pipeline = (
        f"rtmp2src location={server.rtmp_url(STREAM)} ! flvdemux name=d d.video ! queue "
        f"! h264parse ! avdec_h264 ! videorate drop-only=true ! video/x-raw,framerate=5/1 "
        f"! videoconvert ! pngenc ! multifilesink location={frames}/%05d.png"
    )
    with Player(["gst-launch-1.0", "-q", *pipeline.split()], tmp_path / "gst.log"):
        wait_until(lambda: len(list(frames.iterdir())), lambda n: n > 15, 30, "three seconds")
    wait_no_viewers(server)


def mpegts_js() -> Path:
    """The script, from the npm registry. Skips without."""
    script = _CACHE / "node_modules/mpegts.js/dist/mpegts.js"
    if not script.exists():
        if shutil.which("npm") is None:
            pytest.skip("npm is not installed, and mpegts.js is not here")
        _CACHE.mkdir(parents=True, exist_ok=True)
        command = ["npm", "install", "--no-audit", "--no-fund", "--ignore-scripts", "mpegts.js@1"]
        done = subprocess.run(
            [*command, "--prefix", str(_CACHE)], check=False, capture_output=True, timeout=120
        )
        if done.returncode or not script.exists():
            pytest.skip(f"mpegts.js could not be installed: {done.stderr[-200:]!r}")
    return script


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with chromium() as browser:
        yield browser


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Callable[[str], str]]:
    """Serves a page with mpegts.js from an origin of its own.

    A page that playwright answers itself is not on this machine for Chromium, which then keeps its
    WebSockets away from loopback.
    """
    shutil.copy(mpegts_js(), tmp_path / "mpegts.js")

    class Handler(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *args: object) -> None:
            pass

    handler = partial(Handler, directory=str(tmp_path))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as pages:

        def serve(body: str) -> str:
            (tmp_path / "page.html").write_text(body)
            return f"http://127.0.0.1:{pages.server_port}/page.html"

        thread = threading.Thread(target=pages.serve_forever)
        thread.start()
        yield serve
        pages.shutdown()
        thread.join()


@pytest.mark.parametrize("scheme", ["http", "ws"])
def test_mpegts_js_plays_in_chromium(
    server: RunningServer, browser: Any, site: Callable[[str], str], scheme: str
) -> None:
    source = flv_url(server).replace("http", scheme, 1)
    body = f"""<!doctype html><video muted autoplay></video>
    <script src="mpegts.js"></script><script>
    window.problems = [];
    const player = mpegts.createPlayer({{type: "flv", isLive: true, url: {json.dumps(source)}}});
    player.on(mpegts.Events.ERROR, (...what) => problems.push(what.join(" ")));
    player.attachMediaElement(document.querySelector("video"));
    player.load();
    player.play();
    </script>"""
    page = browser.new_context().new_page()
    page.goto(site(body))

    def position() -> float:
        at: float = page.evaluate("document.querySelector('video').currentTime")
        return at

    wait_until(position, lambda at: at > 1, 20, "it plays")
    first, began = position(), time.monotonic()
    time.sleep(6)
    assert abs(position() - first - (time.monotonic() - began)) < 1
    assert page.evaluate("problems") == []
    size = page.evaluate("[document.querySelector('video').videoWidth]")
    assert size == [640]
    assert [one["protocol"] for one in server.api(f"streams/{STREAM}/viewers")["items"]] == ["flv"]
    page.context.close()
    wait_no_viewers(server)


@pytest.mark.parametrize("form", ["rtmp", "flv"])
def test_players_wait_for_a_stream_and_end_with_it(
    server: RunningServer, tmp_path: Path, form: str
) -> None:
    key = "live/short"
    url = {"rtmp": server.rtmp_url(key), "flv": f"{server.base_url}/flv/{key}"}[form]
    command = ["ffmpeg", "-nostdin", "-loglevel", "error", "-i", url, *_COPY]
    player = Player(command, tmp_path / "player.log")
    with FfmpegPublisher(server.rtmp_url(key), tmp_path) as publisher:
        publisher.stop()
        player.__enter__()
        time.sleep(1)
        publisher.__enter__()
        server.wait_live(key)
        wait_until(lambda: server.viewers(key), lambda count: count == 1, 10, "it plays")
        server.api(f"streams/{key}/stop", "POST")
        wait_until(lambda: player.running, lambda running: not running, 10, "ffmpeg ends")
    assert player.process is not None
    assert player.process.returncode == 0
    wait_until(lambda: server.stream(key), lambda stream: stream is None, 30, "it is gone")


def test_a_reader_at_500_kbit_s_gets_fresh_keyframes_and_the_others_lose_nothing(
    server: RunningServer, tmp_path: Path
) -> None:
    """The stream has 1.1 Mbit/s; what the slow one cannot read it skips, whole groups at a time."""
    with socket.create_connection(("127.0.0.1", server.http_port)) as slow:
        slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 32 * 1024)
        slow.sendall(f"GET /flv/{STREAM} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        command = ["ffmpeg", "-nostdin", "-loglevel", "warning", "-i", server.rtmp_url(STREAM)]
        with Player([*command, *_COPY], tmp_path / "quick.log") as quick:
            data = b""
            began = time.monotonic()
            settled_kb = 0
            while time.monotonic() - began < THROTTLED_S:
                data += slow.recv(6_250)
                time.sleep(0.1)
                if not settled_kb and time.monotonic() - began > THROTTLED_S / 3:
                    settled_kb = usage(server.pid).rss_kb
            grown_kb = usage(server.pid).rss_kb - settled_kb
            items = server.api(f"streams/{STREAM}/viewers")["items"]
            assert quick.running
            assert quick.output() == ""
    by_protocol = {one["protocol"]: one for one in items}
    assert by_protocol["rtmp"]["dropped_frames"] == 0
    assert by_protocol["flv"]["dropped_frames"] > 0
    assert by_protocol["flv"]["lag_ms"] < 10_000
    keyframes = keyframe_times(data[data.index(b"FLV\x01") + 13 :])
    covered_s = (keyframes[-1] - keyframes[0]) / 1000
    logger.info("%s s read, %s s covered, %s kB grown", THROTTLED_S, covered_s, grown_kb)
    assert grown_kb < FLAT_KB
    # At the end it is as far behind as at any time, though there was room for half of it only.
    assert covered_s > max(THROTTLED_S - 20, THROTTLED_S * 2 / 3)


def keyframe_times(tags: bytes) -> list[int]:
    """Milliseconds of the keyframes; every tag must follow the one before."""
    times, at = [], 0
    while at + 11 <= len(tags):
        size = int.from_bytes(tags[at + 1 : at + 4])
        if at + 15 + size > len(tags):
            break
        assert tags[at] in (8, 9, 18)
        assert int.from_bytes(tags[at + 11 + size : at + 15 + size]) == size + 11
        if tags[at] == 9 and tags[at + 11 : at + 13] == b"\x17\x01":
            times.append(int.from_bytes(tags[at + 4 : at + 7]) | tags[at + 7] << 24)
        at += 15 + size
    assert times == sorted(times)
    return times
