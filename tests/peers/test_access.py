"""Real encoders before a server that asks somebody's backend, or for user and password."""

import contextlib
import http.server
import json
import os
import socket
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.peers import publishers
from tests.peers.browser import wait_until
from tests.peers.ffmpeg import Player, require
from tests.peers.server import RunningServer, free_ports

pytestmark = [pytest.mark.peer, pytest.mark.timeout(120)]

EXAMPLE = Path(__file__).parents[2] / "examples" / "backend.py"
REASON = "this token is not on our list"


class Hook(http.server.BaseHTTPRequestHandler):
    """Somebody's backend: one token publishes."""

    asked: list[dict[str, Any]]

    def do_POST(self) -> None:
        """Decides."""
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.asked.append(body)
        allowed = body["query"].get("token") == "good"
        answer = json.dumps({} if allowed else {"reason": REASON}).encode()
        self.send_response(200 if allowed else 403)
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, format: str, *args: object) -> None:
        """Says nothing."""


@pytest.fixture
def asked() -> list[dict[str, Any]]:
    return []


@pytest.fixture
def hook_url(asked: list[dict[str, Any]]) -> Iterator[str]:
    handler = type("Asked", (Hook,), {"asked": asked})
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as site:
        thread = threading.Thread(target=site.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{site.server_port}/access"
        site.shutdown()
        thread.join()


def test_ffmpeg_with_a_wrong_token_reads_the_backends_reason_on_its_console(
    hook_url: str, asked: list[dict[str, Any]], tmp_path: Path
) -> None:
    require("ffmpeg")
    hooks = f'auth.hooks=[{{url = "{hook_url}", actions = ["publish"]}}]'
    with RunningServer(tmp_path / "server", settings=(hooks,)) as server:
        wrong = publishers.ffmpeg(server.rtmp_url("live/cam?token=wrong"))
        with publishers.publishing(wrong, tmp_path / "wrong.log") as encoder:
            assert encoder.wait(20) != 0
        assert REASON in encoder.log()
        right = publishers.ffmpeg(server.rtmp_url("live/cam?token=good"))
        with publishers.publishing(right, tmp_path / "right.log"):
            server.wait_live("live/cam")
        assert (asked[0]["action"], asked[0]["stream"]) == ("publish", "live/cam")
        assert "token=wrong" not in server.log()


def test_ffmpeg_and_gstreamer_prove_user_and_password(tmp_path: Path) -> None:
    require("ffmpeg", "gst-launch-1.0")
    settings = ("rtmp.adobe_auth=true", 'auth.keys=[{key = "the-password"}]')
    with RunningServer(tmp_path / "server", settings=settings) as server:

        def url(password: str, key: str) -> str:
            return f"rtmp://anna:{password}@127.0.0.1:{server.rtmp_port}/live/{key}"

        with publishers.publishing(
            publishers.ffmpeg(url("the-password", "right")), tmp_path / "right.log"
        ):
            server.wait_live("live/right")
        with publishers.publishing(
            publishers.ffmpeg(url("not-the-password", "wrong")), tmp_path / "wrong.log"
        ) as encoder:
            assert encoder.wait(20) != 0
        assert server.stream("live/wrong") is None
        # rtmp2sink has both schemes; user and password stand in its URL as well.
        with publishers.publishing(
            publishers.gstreamer(url("the-password", "gst")), tmp_path / "gst.log"
        ):
            server.wait_live("live/gst")
        # ffmpeg sends a key only with publish: it is asked before, and has no answer.
        keyed = f"rtmp://127.0.0.1:{server.rtmp_port}/live/keyed?key=the-password"
        with publishers.publishing(publishers.ffmpeg(keyed), tmp_path / "keyed.log") as encoder:
            assert encoder.wait(20) != 0
        assert "the-password" not in server.log()


def test_the_example_refuses_a_wrong_key_and_says_so_on_the_console(tmp_path: Path) -> None:
    require("ffmpeg")
    (port,) = free_ports(1)
    hooks = f'auth.hooks=[{{url = "http://localhost:{port}/access"}}]'
    with RunningServer(tmp_path / "server", settings=(hooks,)) as server:
        env = {**os.environ, "STREAMSERVER_URL": server.base_url, "PORT": str(port)}
        with Player([sys.executable, str(EXAMPLE)], tmp_path / "backend.log", env):
            wrong = publishers.ffmpeg(server.rtmp_url("live/demo?key=wrong"))
            wait_until(lambda: answers(port), bool, 20, "the backend")
            with publishers.publishing(wrong, tmp_path / "wrong.log") as encoder:
                assert encoder.wait(20) != 0
            assert "your key is not the one" in encoder.log()
            right = publishers.ffmpeg(server.rtmp_url("live/demo?key=demo-key"))
            with publishers.publishing(right, tmp_path / "right.log"):
                server.wait_live("live/demo")


def answers(port: int) -> bool:
    """Whether the backend listens."""
    with contextlib.suppress(OSError):
        socket.create_connection(("localhost", port), timeout=1).close()
        return True
    return False
