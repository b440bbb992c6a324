"""Real encoders publish, and what they send plays; what must be refused is, with a reason."""

import contextlib
import random
import re
import socket
import ssl
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

import pytest

from tests.peers import publishers
from tests.peers.ffmpeg import require
from tests.peers.readers import Decoded, decode, media_playlist, until
from tests.peers.server import PUBLISH_KEY, RunningServer

pytestmark = [pytest.mark.peer, pytest.mark.timeout(150)]

ENCODERS: Final[dict[str, tuple[tuple[str, ...], Callable[[str], list[str]]]]] = {
    "ffmpeg": (("ffmpeg",), publishers.ffmpeg),
    "rtmp2sink": (("gst-launch-1.0",), publishers.gstreamer),
    "librtmp": (("gst-launch-1.0",), lambda url: publishers.gstreamer(url, sink="rtmpsink")),
}
"""By name: the programs needed, and the command for a URL."""


def read_both(server: RunningServer, key: str, seconds: float = 8) -> list[Decoded]:
    """What ffmpeg makes of the two playlists; nothing to complain about, and every picture."""
    read = decode(server.hls_url(key), server.hls_url(key, "ts.m3u8"), seconds=seconds)
    for each in read:
        assert each.complaints == []
        assert each.time_s == pytest.approx(seconds, abs=0.5)
    return read


@pytest.mark.parametrize("name", ENCODERS)
def test_what_an_encoder_publishes_plays_without_a_word_of_complaint(
    name: str, server: RunningServer, tmp_path: Path
):
    programs, command = ENCODERS[name]
    require("ffmpeg", *programs)
    key = f"live/{name}"
    with publishers.publishing(command(server.rtmp_url(key)), tmp_path / "encoder.log"):
        stream = server.wait_live(key)
        video, audio = stream["tracks"]
        assert (video["codec"], video["width"], video["height"]) == ("h264", 640, 360)
        assert (audio["codec"], audio["sample_rate"]) == ("aac", 48000)
        for read in read_both(server, key):
            assert read.frames == pytest.approx(240, abs=2)
        stream = server.stream(key)
        assert stream["keyframe_interval_s"] == 2
        assert server.complaints(key) == []
        playlist = media_playlist(server, key)
        assert playlist.target_duration == 2
        assert not any(segment.discontinuity for segment in playlist.segments)


# OBS Studio. Each run also holds one of the two spellings in which people paste
# `rtmp://host/live?token=x` into its two fields. Software rendering skips frames.


@contextlib.contextmanager
def obs_studio(
    guarded: RunningServer, directory: Path, path: str, key: str, *, keyframe_interval_s: int | None
) -> Iterator[None]:
    require("ffmpeg", "obs", "xvfb-run")
    server_field = f"rtmp://127.0.0.1:{guarded.rtmp_port}{path}"
    command, environment = publishers.obs(
        directory, server_field, key, keyframe_interval_s=keyframe_interval_s
    )
    with publishers.publishing(command, directory / "obs.log", environment):
        yield


def test_obs_studio_with_an_empty_app_publishes_the_default_stream(
    guarded: RunningServer, tmp_path: Path
):
    key = f"obs?token={PUBLISH_KEY}"
    with obs_studio(guarded, tmp_path, "", key, keyframe_interval_s=2):
        stream = guarded.wait_live("obs/default", 40)
        assert [track["codec"] for track in stream["tracks"]] == ["h264", "aac"]
        for read in read_both(guarded, "obs/default"):
            assert read.frames > 120
        stream = guarded.stream("obs/default")
        assert stream["keyframe_interval_s"] == pytest.approx(2, abs=0.1)
        assert guarded.complaints("obs/default") == []


def test_obs_studio_with_its_own_keyframe_interval_plays_and_its_owner_is_told(
    guarded: RunningServer, tmp_path: Path
):
    key = f"?token={PUBLISH_KEY}"
    with obs_studio(guarded, tmp_path, "/obs250", key, keyframe_interval_s=None):
        guarded.wait_live("obs250/default", 40)
        for read in read_both(guarded, "obs250/default", 10):
            assert read.frames > 150
        assert media_playlist(guarded, "obs250/default").target_duration == 10
        health = guarded.complaints("obs250/default")
        assert [note["code"] for note in health] == ["keyframe_interval"]
        assert "Keyframe Interval: 2 s" in health[0]["message"]


# Spellings and refusals


def test_one_segment_and_a_token_publish_the_default_stream(guarded: RunningServer, tmp_path: Path):
    require("ffmpeg")
    url = f"rtmp://localhost:{guarded.rtmp_port}/live?token={PUBLISH_KEY}"
    with publishers.publishing(publishers.ffmpeg(url), tmp_path / "ffmpeg.log") as encoder:
        guarded.wait_live("live/default")
        assert encoder.log() == ""


@pytest.mark.parametrize(
    ("key", "sentence"),
    [
        (f"live/one/two?token={PUBLISH_KEY}", "a stream is {app}/{name}"),
        ("live/refused?token=wrong-as-can-be", "the key does not allow publishing here"),
        ("live/refused", "publishing needs a key: add ?key=... to the stream key"),
    ],
)
def test_a_refusal_is_read_on_the_console_of_ffmpeg(
    key: str, sentence: str, guarded: RunningServer, tmp_path: Path
):
    require("ffmpeg")
    command = publishers.ffmpeg(guarded.rtmp_url(key))
    with publishers.publishing(command, tmp_path / "ffmpeg.log") as encoder:
        assert encoder.wait(15) != 0
    assert sentence in encoder.log()
    assert guarded.stream("live/refused") is None


def test_a_refusal_is_read_on_the_console_of_gstreamer(guarded: RunningServer, tmp_path: Path):
    require("gst-launch-1.0")
    command = publishers.gstreamer(guarded.rtmp_url("live/refused?token=wrong-as-can-be"))
    with publishers.publishing(command, tmp_path / "gstreamer.log") as encoder:
        assert encoder.wait(15) != 0
    assert "the key does not allow publishing here" in encoder.log()


def test_ffmpeg_at_the_http_port_is_cut_off_and_the_log_says_why(
    guarded: RunningServer, tmp_path: Path
):
    require("ffmpeg")
    with said_by(guarded) as lines:
        command = publishers.ffmpeg(f"rtmp://127.0.0.1:{guarded.http_port}/live/x")
        with publishers.publishing(command, tmp_path / "ffmpeg.log") as encoder:
            assert encoder.wait(15) != 0
    (line,) = lines
    assert f"RTMP came to port {guarded.http_port}, which speaks HTTP" in line


# Strangers at the RTMP port: each is closed in time, with one line; see `guarded` for the deadline.


@contextlib.contextmanager
def said_by(server: RunningServer) -> Iterator[list[str]]:
    """Fills the list with the lines that the server logs during the block.

    Complaints about peers are rationed by the second: those before and after are kept apart.
    """
    time.sleep(1.2)
    before = len(server.log())
    lines: list[str] = []
    yield lines
    time.sleep(1.2)
    lines += server.log()[before:].splitlines()


def connect(server: RunningServer) -> socket.socket:
    """A connection to the RTMP port."""
    return socket.create_connection(("127.0.0.1", server.rtmp_port), timeout=20)


def trickle(connection: socket.socket, data: bytes) -> None:
    """Sends 50 bytes a second, each alone."""
    for byte in data:
        connection.sendall(bytes([byte]))
        time.sleep(0.02)


def seconds_until_closed(connection: socket.socket) -> float:
    """Reads until the far side closes."""
    began = time.monotonic()
    with contextlib.suppress(ConnectionError):
        while connection.recv(65536):
            pass
    return time.monotonic() - began


@pytest.mark.parametrize(
    ("first_bytes", "sentence"),
    [
        (b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", "HTTP or another text protocol"),
        (b"\xff" + random.Random(1).randbytes(4999), ""),
        (b"\x03" + random.Random(1).randbytes(4999), ""),
        (b"", "took too long"),
        (b"\x03\x00\x00", "took too long"),
    ],
    ids=["http", "garbage", "garbage after a version", "silence", "silence after a few bytes"],
)
def test_a_stranger_at_the_rtmp_port_is_closed_with_one_line(
    first_bytes: bytes, sentence: str, guarded: RunningServer
):
    with said_by(guarded) as lines, connect(guarded) as connection:
        connection.sendall(first_bytes)
        assert seconds_until_closed(connection) < 10
    (line,) = lines
    assert sentence in line


def test_tls_at_the_rtmp_port_is_closed_with_one_line(guarded: RunningServer):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with (
        said_by(guarded) as lines,
        connect(guarded) as connection,
        pytest.raises((ssl.SSLError, ConnectionError)),
    ):
        context.wrap_socket(connection)
    (line,) = lines
    assert "TLS" in line


def test_one_byte_at_a_time_does_not_outlast_the_deadline(guarded: RunningServer):
    with (
        said_by(guarded) as lines,
        connect(guarded) as connection,
        pytest.raises(ConnectionError),
    ):
        trickle(connection, b"\x03" + bytes(1536))
    (line,) = lines
    assert "took too long" in line


def test_a_tcp_probe_costs_no_line(guarded: RunningServer):
    with said_by(guarded) as lines:
        for port in (guarded.rtmp_port, guarded.http_port) * 3:
            socket.create_connection(("127.0.0.1", port)).close()
    assert lines == []


# Many


def test_ten_publishers_at_once_all_play(server: RunningServer, tmp_path: Path):
    require("ffmpeg")
    keys = [f"ten/{number}" for number in range(10)]
    with contextlib.ExitStack() as stack:
        for key in keys:
            command = publishers.ffmpeg(server.rtmp_url(key), width=320, height=180)
            log = tmp_path / f"{key.replace('/', '-')}.log"
            stack.enter_context(publishers.publishing(command, log))
        for key in keys:
            server.wait_live(key)
        assert server.api("streams?state=live")["total"] >= 10
        read = decode(*[server.hls_url(key) for key in keys], seconds=15, timeout_s=60)
        assert [each.complaints for each in read] == [[]] * 10
        assert [each.frames for each in read] == [pytest.approx(450, abs=3)] * 10
        assert all(server.complaints(key) == [] for key in keys)
    until(
        lambda: all(server.stream(key)["state"] == "interrupted" for key in keys),
        "the server notices that all are gone",
    )
    stopped = re.findall(
        r"stopped publishing ten/\d+: .*?\((\d+) frames, (\d+) damaged", server.log()
    )
    assert len(stopped) == 10
    assert all(damaged == "0" for _, damaged in stopped)
