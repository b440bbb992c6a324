"""schemathesis, all checks, against the API of a live server: it finds nothing.

A long run has ``STREAMSERVER_TEST_SCHEMATHESIS_S=300`` in its environment.
"""

import importlib.util
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from tests.peers.server import RunningServer

_SECONDS: Final = int(os.environ.get("STREAMSERVER_TEST_SCHEMATHESIS_S", "45"))

pytestmark = [pytest.mark.peer, pytest.mark.timeout(2 * _SECONDS + 480)]


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RunningServer]:
    # Most of what it sends is wrong, and comes from one address.
    with RunningServer(tmp_path, command="demo", settings=("auth.ban_after=1000000",)) as running:
        running.wait_live("live/demo")
        yield running


def test_schemathesis_finds_nothing(server: RunningServer) -> None:
    if importlib.util.find_spec("schemathesis") is None:
        pytest.skip("schemathesis is not installed")
    done = subprocess.run(
        [
            *(
                sys.executable,
                "-m",
                "schemathesis.cli",
                "--config-file",
                "schemathesis.toml",
                "run",
            ),
            *(f"{server.base_url}/api/v1/openapi.json", "--url", server.base_url),
            *("--checks", "all", "--max-examples", "20", "--max-time", str(_SECONDS)),
            "--no-color",
        ],
        cwd=Path(__file__).parent,
        env={**os.environ, "STREAMSERVER_TEST_TOKEN": server.api_token},
        capture_output=True,
        text=True,
        timeout=2 * _SECONDS + 420,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-8000:] + done.stderr[-2000:]
    assert server.stream("live/demo") is not None
