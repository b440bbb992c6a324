"""The backends of ``examples``: one in Python follows the events, one in Node is sent webhooks."""

import json
import os
import shutil
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any, Final

import pytest

from tests.peers.browser import wait_until
from tests.peers.ffmpeg import Player, require
from tests.peers.players import LightPlayer
from tests.peers.server import API_TOKEN, RunningServer, free_ports, stop_process

pytestmark = [pytest.mark.peer, pytest.mark.timeout(240)]

EXAMPLES: Final = Path(__file__).parents[2] / "examples"


def table(port: int) -> Any:
    """What a backend tells; None while it cannot be asked."""
    try:
        with urllib.request.urlopen(f"http://localhost:{port}/", timeout=5) as answer:
            return json.load(answer)
    except (urllib.error.URLError, ConnectionError, TimeoutError):
        return None


class Publisher(Player):
    """The script of the examples, which publishes until it is stopped."""

    def __init__(self, server: RunningServer, name: str, log: Path) -> None:
        script = ["sh", str(EXAMPLES / "publish_with_ffmpeg.sh")]
        super().__init__([*script, server.rtmp_url(name)], log)


def test_the_backend_decides_and_shows_who_watches(tmp_path: Path) -> None:
    require("ffmpeg")
    (port,) = free_ports(1)
    hook = f'[[auth.hooks]]\nurl = "http://127.0.0.1:{port}/access"\n'
    with RunningServer(tmp_path / "server", config=hook) as server:
        command = [sys.executable, str(EXAMPLES / "backend.py")]
        env = {**os.environ, "STREAMSERVER_URL": server.base_url, "PORT": str(port)}
        with Player(command, tmp_path / "backend.log", env):
            wait_until(lambda: table(port), lambda shown: shown == {}, 20, "the backend")
            with Publisher(server, "live/demo?key=wrong", tmp_path / "wrong.log"):
                wait_until(
                    lambda: (tmp_path / "wrong.log").read_text(errors="replace"),
                    lambda text: "your key is not the one" in text,
                    30,
                    "the refusal",
                )
            with Publisher(server, "live/demo?key=demo-key", tmp_path / "right.log"):
                wait_until(lambda: table(port), lambda shown: shown == {"live/demo": 0}, 30, "live")
                with LightPlayer(server.hls_url("live/demo")):
                    wait_until(
                        lambda: table(port), lambda shown: shown == {"live/demo": 1}, 20, "viewer"
                    )
                server.kill()
                server.start()
                wait_until(
                    lambda: table(port),
                    lambda shown: shown in ({}, {"live/demo": 0}),
                    10,
                    "the state after a kill",
                )


class Express:
    """The example in Node, as a child process."""

    def __init__(self, directory: Path, server: RunningServer, port: int) -> None:
        self._directory = directory
        self._log = directory / "express.log"
        self._environment = {
            **os.environ,
            "PORT": str(port),
            "STREAMSERVER_URL": server.base_url,
            "STREAMSERVER_TOKEN": API_TOKEN,
            "OWN_URL": f"http://127.0.0.1:{port}",
        }
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                ["node", "index.js"],
                cwd=self._directory,
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )

    def kill(self) -> None:
        assert self._process is not None
        self._process.kill()
        self._process.wait()

    def stop(self) -> None:
        if self._process is not None:
            stop_process(self._process)


@pytest.fixture(scope="session")
def express_directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The example with what npm installs for it."""
    if shutil.which("npm") is None:
        pytest.skip("needs node and npm")
    directory = tmp_path_factory.mktemp("express")
    shutil.copytree(EXAMPLES / "express", directory, dirs_exist_ok=True)
    command = ["npm", "install", "--no-audit", "--no-fund", "--no-package-lock"]
    done = subprocess.run(command, cwd=directory, capture_output=True, timeout=120, check=False)
    if done.returncode:
        pytest.skip(f"npm install failed: {done.stderr.decode(errors='replace')[-300:]}")
    return directory


def test_a_table_kept_by_webhooks_is_right_again_after_a_kill_of_either_side(
    tmp_path: Path, express_directory: Path
) -> None:
    require("ffmpeg")
    (port,) = free_ports(1)

    def names() -> Any:
        shown = table(port)
        return None if shown is None else {name: row["viewers"] for name, row in shown.items()}

    with RunningServer(tmp_path / "server", settings=("server.reconnect_window_s=0",)) as server:
        express = Express(express_directory, server, port)
        express.start()
        try:
            wait_until(names, lambda shown: shown == {}, 30, "the backend")
            with Publisher(server, "live/one", tmp_path / "one.log"):
                wait_until(names, lambda shown: shown == {"live/one": 0}, 30, "the first stream")
                with LightPlayer(server.hls_url("live/one")):
                    wait_until(names, lambda shown: shown == {"live/one": 1}, 20, "the viewer")

                    express.kill()
                    with Publisher(server, "live/two", tmp_path / "two.log"):
                        server.wait_live("live/two")
                        express.start()
                        wait_until(
                            names,
                            lambda shown: (
                                shown is not None
                                and set(shown) == {"live/one", "live/two"}
                                and shown["live/one"] == 1
                            ),
                            10,
                            "the table after the backend was killed",
                        )
                        # From now on events change it again.
                    wait_until(
                        names, lambda shown: shown == {"live/one": 1}, 10, "the end of the second"
                    )
            wait_until(names, lambda shown: shown == {}, 15, "the end of the first")

            with Publisher(server, "live/three", tmp_path / "three.log"):
                wait_until(names, lambda shown: shown == {"live/three": 0}, 30, "the third stream")
                server.kill()
            # ffmpeg has gone with it: nothing is live, and nobody could say so until now.
            assert names() == {"live/three": 0}
            server.start()
            wait_until(names, lambda shown: shown == {}, 10, "the table after the server's kill")
            with Publisher(server, "live/four", tmp_path / "four.log"):
                wait_until(names, lambda shown: shown == {"live/four": 0}, 30, "a stream after it")
        finally:
            express.stop()
