"""What ``examples`` promises, run as it stands there."""

import functools
import http.server
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from tests.peers.browser import Watcher, chromium, wait_until
from tests.peers.ffmpeg import Player, require
from tests.peers.players import LightPlayer
from tests.peers.server import RunningServer

pytestmark = [pytest.mark.peer, pytest.mark.timeout(120)]

EXAMPLES: Final = Path(__file__).parents[2] / "examples"


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        """Says nothing."""


@pytest.fixture
def page_server() -> Iterator[str]:
    """The folder of examples on a port of its own: another origin than the server's."""
    handler = functools.partial(_Quiet, directory=str(EXAMPLES))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as site:
        thread = threading.Thread(target=site.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{site.server_port}"
        site.shutdown()
        thread.join()


def test_the_script_publishes_and_the_watcher_tells_of_it(tmp_path: Path) -> None:
    require("ffmpeg")
    with RunningServer(tmp_path / "server") as server:
        watch = [sys.executable, str(EXAMPLES / "api_watch.py"), server.base_url, "--every", "0.2"]
        with Player(watch, tmp_path / "watch.log") as watcher:
            script = ["sh", str(EXAMPLES / "publish_with_ffmpeg.sh")]
            with Player([*script, server.rtmp_url("live/camera")], tmp_path / "publish.log"):
                said = wait_until(
                    watcher.output, lambda text: "live/camera is live" in text, 30, "the start"
                )
                assert "1280x720" in said
                with LightPlayer(server.hls_url("live/camera")):
                    wait_until(
                        watcher.output, lambda text: "live/camera: 1 watching" in text, 20, "viewer"
                    )
                server.api("streams/live/camera/stop", "POST")
                wait_until(
                    watcher.output, lambda text: "live/camera has ended" in text, 30, "the end"
                )


def test_the_watcher_says_what_the_api_refuses(tmp_path: Path) -> None:
    with RunningServer(tmp_path, settings=('http.trusted_proxies=["127.0.0.1"]',)) as server:
        done = subprocess.run(
            [sys.executable, str(EXAMPLES / "api_watch.py"), server.base_url],
            capture_output=True,
            text=True,
            timeout=20,
            check=False,
        )
    assert done.returncode == 1
    assert "401" in done.stderr


def test_the_page_plays_from_another_origin(tmp_path: Path, page_server: str) -> None:
    with RunningServer(tmp_path, command="demo") as server, chromium() as browser:
        server.wait_live("live/demo")
        watcher = Watcher(browser.new_page())
        watcher.open(f"{page_server}/play_in_browser.html?server={server.base_url}")
        wait_until(watcher.data, lambda data: "latency" in data, 20, "a picture")
        wait_until(watcher.position, lambda position: position > 3, 20, "movement")
        assert float(watcher.data()["latency"]) < 4
