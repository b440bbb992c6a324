"""README's commands about the API, run by a shell as they stand there."""

import json
import os
import re
import subprocess
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.peers.ffmpeg import require
from tests.peers.readme import api_block
from tests.peers.server import RunningServer

pytestmark = [pytest.mark.peer, pytest.mark.timeout(180)]

_CURL = 'curl() { command curl -sS --fail-with-body --max-time 5 -w "\\n%{http_code}" "$@"; }\n'


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RunningServer]:
    with RunningServer(tmp_path, command="demo") as running:
        yield running


class Shell:
    """Runs the lines one after the other, and puts the ids of answers where the next look."""

    def __init__(self, server: RunningServer) -> None:
        self.server = server
        self.settings: list[str] = []
        self.variables = {"TOKEN": server.api_token}

    def run(self, line: str) -> tuple[int, str]:
        script = "\n".join([*self.settings, line])
        done = subprocess.run(
            ["bash", "-c", _CURL + script],
            env={**os.environ, **self.variables},
            capture_output=True,
            text=True,
            timeout=20,
            check=False,
        )
        # 28: the time is over; only the stream of events has no end of its own.
        ends = done.returncode == 0 or (done.returncode == 28 and "/events" in line)
        assert ends, f"{line}\n{done.stdout}\n{done.stderr}"
        body, _, status = done.stdout.rpartition("\n")
        return int(status), body

    def take(self, line: str, body: str) -> None:
        answer: Any = json.loads(body) if body.startswith("{") else {}
        if "/destinations" in line and " -d " in line and "POST" not in line:
            self.variables.setdefault("DESTINATION", answer["id"])
        if line.endswith("/tokens"):
            self.variables["TOKEN_ID"] = answer["id"]
        if line.endswith("/webhooks") and " -d " in line:
            self.variables["WEBHOOK"] = answer["id"]


def watch(server: RunningServer) -> None:
    """A viewer over HLS."""
    master = server.get("/hls/live/demo/index.m3u8").decode()
    [media] = [line for line in master.splitlines() if line and not line.startswith("#")][:1]
    with urllib.request.urlopen(server.hls_url("live/demo", media), timeout=20) as answer:
        assert answer.status == 200


def test_every_command_of_readme_does_what_it_says(server: RunningServer) -> None:
    require("bash", "curl")
    server.wait_live("live/demo")
    shell = Shell(server)
    for name in ("VIEWER", "SESSION"):
        watch(server)
        viewers = server.api("streams/live/demo/viewers")["items"]
        shell.variables[name] = viewers[-1]["id"]
    ran = 0
    for line in api_block():
        if not line.startswith("curl "):
            shell.settings.append(line.replace("http://localhost:8080", server.base_url))
            continue
        status, body = shell.run(line)
        expected = 204 if "-X DELETE" in line or "/stop" in line else 200
        if " -d " in line and not re.search("-X (PATCH|POST)", line):
            expected = 201
        assert status == expected, f"{line}\n{status} {body}"
        shell.take(re.sub(r"\s+#.*", "", line), body)
        ran += 1
    assert ran > 30
