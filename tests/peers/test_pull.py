"""Sources that the server fetches from other people's servers: RTSP and SRT."""

import subprocess
import urllib.error
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Final

import pytest

from tests.peers.browser import wait_until
from tests.peers.ffmpeg import Player, require
from tests.peers.server import RunningServer, free_ports

pytestmark = [pytest.mark.peer, pytest.mark.timeout(120)]

_PYTHON: Final = "/usr/bin/python3"
_BINDINGS: Final = (
    "import gi; gi.require_version('GstRtspServer', '1.0'); from gi.repository import GstRtspServer"
)
_PASSPHRASE: Final = "a-secret-of-ten-or-more"
_ENCODED: Final = (
    *("-re", "-f", "lavfi", "-i", "testsrc2=s=640x360:r=30"),
    *("-re", "-f", "lavfi", "-i", "sine=frequency=440:sample_rate=48000"),
    *("-c:v", "libx264", "-preset", "ultrafast", "-tune", "zerolatency", "-pix_fmt", "yuv420p"),
    *("-g", "30", "-c:a", "aac"),
)


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


def fetching(stack: ExitStack, directory: Path, url: str) -> RunningServer:
    config = f'[streams."live/far"]\nsource = "{url}"\n'
    return stack.enter_context(RunningServer(directory, config=config))


def plays(server: RunningServer) -> None:
    """It is live with both tracks, goes on, and a player gets pictures and sound."""
    stream = server.wait_live("live/far")
    assert [track["codec"] for track in stream["tracks"]] == ["h264", "aac"]
    assert (stream["tracks"][0]["width"], stream["tracks"][0]["height"]) == (640, 360)
    command = ["ffmpeg", "-nostdin", "-loglevel", "warning", "-i", server.rtmp_url("live/far")]
    done = subprocess.run(
        [*command, "-t", "4", "-f", "null", "-"],
        check=False, capture_output=True, text=True, timeout=40,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""


def test_rtsp_of_gstreamers_server_is_fetched(stack: ExitStack, tmp_path: Path) -> None:
    if subprocess.run([_PYTHON, "-c", _BINDINGS], check=False, capture_output=True).returncode:
        pytest.skip("gir1.2-gst-rtsp-server-1.0 is not installed")
    require("ffmpeg")
    (port,) = free_ports(1)
    script = str(Path(__file__).with_name("rtsp_server.py"))
    far = Player([_PYTHON, script, str(port)], tmp_path / "rtsp.log")
    with far:
        server = fetching(stack, tmp_path / "ours", f"rtsp://127.0.0.1:{port}/cam")
        plays(server)
    # It is gone now, and comes back.
    wait_until(lambda: live(server), lambda is_live: not is_live, 40, "the source is away")
    with Player([_PYTHON, script, str(port)], tmp_path / "again.log"):
        wait_until(lambda: live(server), bool, 60, "it is fetched again")


def live(server: RunningServer) -> bool:
    try:
        stream = server.stream("live/far")
    except (urllib.error.URLError, ConnectionError):
        return False
    return stream is not None and stream["state"] == "live"


def test_srt_is_fetched_by_an_ffmpeg_command_and_its_passphrase_is_not_seen(
    stack: ExitStack, tmp_path: Path
) -> None:
    require("ffmpeg")
    protocols = subprocess.run(
        ["ffmpeg", "-hide_banner", "-protocols"], check=True, capture_output=True, text=True
    ).stdout
    if "srt" not in protocols.split():
        pytest.skip("this ffmpeg has no SRT")
    (port,) = free_ports(1)
    query = f"passphrase={_PASSPHRASE}&pbkeylen=16"
    server = fetching(stack, tmp_path / "ours", f"srt://127.0.0.1:{port}?mode=caller&{query}")
    # It is tried before anybody is there, and the log says why without the passphrase.
    wait_until(lambda: server.log(), lambda text: "live/far" in text, 30, "the log tells of it")
    listener = f"srt://127.0.0.1:{port}?mode=listener&{query}"
    command = ["ffmpeg", "-nostdin", "-loglevel", "error", *_ENCODED, "-f", "mpegts", listener]
    with Player(command, tmp_path / "far.log"):
        plays(server)
        lines = subprocess.run(["ps", "-eo", "args"], check=True, capture_output=True, text=True)
        own = [line for line in lines.stdout.splitlines() if "mode=listener" not in line]
        assert not [line for line in own if _PASSPHRASE in line]
    assert _PASSPHRASE not in server.log()
    wait_until(lambda: live(server), lambda is_live: not is_live, 40, "the source is away")
