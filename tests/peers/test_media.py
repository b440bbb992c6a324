"""Media as encoders send it at their worst, and every codec that they may send."""

import contextlib
import subprocess
import time
import urllib.error
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import m3u8
import pytest

from tests.peers import publishers
from tests.peers.ffmpeg import require
from tests.peers.readers import (
    Decoded,
    PyavRead,
    decode,
    finish_decoding,
    finish_pyav,
    media_playlist,
    probe,
    start_decoding,
    start_pyav,
    until,
)
from tests.peers.server import RunningServer

pytestmark = [pytest.mark.peer, pytest.mark.timeout(120)]

# Time stamps that are unusual and no break. The clip of `librtmp` lasts 4 s and is repeated.

UNUSUAL: Final[dict[str, Callable[[str], list[str]]]] = {
    # Beyond 24 bits from the first message on; neither metadata nor an end of the sequence.
    "ffmpeg-extended": lambda url: publishers.ffmpeg(
        url, output=("-output_ts_offset", "16780", "-flvflags", "no_metadata+no_sequence_end")
    ),
    # In chunks of 128 bytes an extended stamp stands in every one of them.
    "librtmp-extended": lambda url: publishers.librtmp(url, "--offset-ms", "16780000"),
    "librtmp-beyond-24-bits": lambda url: publishers.librtmp(url, "--offset-ms", "16774000"),
    "librtmp-beyond-31-bits": lambda url: publishers.librtmp(url, "--offset-ms", "2147480000"),
    "librtmp-beyond-32-bits": lambda url: publishers.librtmp(url, "--offset-ms", "4294964000"),
    "librtmp-negative-deltas": lambda url: publishers.librtmp(url, "--late-audio-ms", "70"),
    "ffmpeg-b-frames": lambda url: publishers.ffmpeg(
        url, video=("-preset", "veryfast", "-bf", "3", "-b_strategy", "0")
    ),
}


@dataclass(frozen=True, slots=True)
class Played:
    """What came of one of them."""

    reads: list[Decoded]
    """Both playlists, by ffmpeg."""

    health: list[Any]
    """What the API finds about the stream."""

    discontinuities: int
    """Breaks in the playlist."""


@pytest.fixture(scope="module")
def keeping(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """A server that serves Opus as it comes."""
    directory = tmp_path_factory.mktemp("keeping")
    with RunningServer(directory, settings=("server.opus=keep",)) as running:
        yield running


@pytest.fixture(scope="module")
def unusual(server: RunningServer, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Played]:
    """All of them at the same time, to save time."""
    require("ffmpeg", "gst-launch-1.0")
    directory = tmp_path_factory.mktemp("unusual")
    with contextlib.ExitStack() as stack:
        for name, command in UNUSUAL.items():
            child = publishers.publishing(
                command(server.rtmp_url(f"stamps/{name}")), directory / f"{name}.log"
            )
            stack.enter_context(child)
        for name in UNUSUAL:
            server.wait_live(f"stamps/{name}")
        urls = [
            server.hls_url(f"stamps/{name}", playlist)
            for name in UNUSUAL
            for playlist in ("index.m3u8", "ts.m3u8")
        ]
        reads = iter(decode(*urls, seconds=8, timeout_s=60))
        return {
            name: Played(
                [next(reads), next(reads)],
                server.complaints(f"stamps/{name}"),
                discontinuities(server, f"stamps/{name}"),
            )
            for name in UNUSUAL
        }


@pytest.mark.parametrize("name", UNUSUAL)
def test_unusual_time_stamps_play_without_a_break(name: str, unusual: dict[str, Played]):
    played = unusual[name]
    assert [read.complaints for read in played.reads] == [[], []]
    assert [read.frames for read in played.reads] == [pytest.approx(240, abs=3)] * 2
    assert played.health == []
    assert played.discontinuities == 0


# Breaks


@dataclass(slots=True)
class Across:
    """What players read from before a break until after it."""

    before: Any
    """The stream as the API knew it before."""

    cmaf: Decoded | None = None
    """ffmpeg, with the playlist of everybody."""

    ts: Decoded | None = None
    """ffmpeg, with the playlist for old players."""

    pyav: PyavRead | None = None
    """FFmpeg 8, with the playlist of everybody."""


@contextlib.contextmanager
def reading(server: RunningServer, key: str, seconds: float = 12) -> Iterator[Across]:
    """Plays while the block breaks the stream; afterwards nobody may have complained."""
    across = Across(server.wait_live(key))
    cmaf = start_decoding(server.hls_url(key), seconds)
    ts = start_decoding(server.hls_url(key, "ts.m3u8"), seconds)
    pyav = start_pyav(server.hls_url(key), int(seconds * 30) - 90)
    try:
        yield across
        across.cmaf = finish_decoding(cmaf, seconds + 20)
        across.ts = finish_decoding(ts, 10)
        across.pyav = finish_pyav(pyav, 10)
    finally:
        for process in (cmaf, ts, pyav):
            process.kill()
            process.communicate()
    assert across.cmaf.complaints == []
    assert across.ts.complaints == []
    assert across.pyav.complaints == []


def discontinuities(server: RunningServer, key: str) -> int:
    """Breaks that the playlist shows now."""
    return sum(segment.discontinuity for segment in media_playlist(server, key).segments)


def wait_for_a_break(server: RunningServer, key: str) -> None:
    """Waits until the playlist shows one."""
    until(lambda: discontinuities(server, key), "a discontinuity in the playlist")


@pytest.mark.parametrize("name", ["gstreamer", "pyav"])
def test_players_follow_a_change_of_the_pictures_size(
    name: str, server: RunningServer, tmp_path: Path
):
    require("ffmpeg", *(["gst-launch-1.0"] if name == "gstreamer" else []))
    key = f"size/{name}"
    url = server.rtmp_url(key)
    if name == "gstreamer":
        command = publishers.gstreamer(url, sizes=("640x360", "854x480"))
    else:
        command = publishers.pyav(url, "--then-size", "854x480", "--change-at", "6")
    with publishers.publishing(command, tmp_path / "encoder.log"):
        with reading(server, key) as across:
            wait_for_a_break(server, key)
            assert len(media_playlist(server, key).segment_map) == 2
        stream = server.stream(key)
        assert stream["session_id"] == across.before["session_id"]
        assert [track["width"] for track in stream["tracks"]] == [854, None]
    assert across.pyav is not None
    assert min(across.pyav.widths.get(width, 0) for width in (640, 854)) > 30


def test_players_follow_an_encoder_that_dies_and_comes_back(server: RunningServer, tmp_path: Path):
    require("ffmpeg")
    key = "break/killed"
    command = publishers.ffmpeg(server.rtmp_url(key))
    with contextlib.ExitStack() as stack:
        first = stack.enter_context(publishers.publishing(command, tmp_path / "first.log"))
        with reading(server, key) as across:
            time.sleep(3)
            first.kill()
            until(lambda: server.stream(key)["state"] == "interrupted", "the death is noticed")
            time.sleep(1.5)
            stack.enter_context(publishers.publishing(command, tmp_path / "second.log"))
            wait_for_a_break(server, key)
        stream = server.stream(key)
    assert stream["state"] == "live"
    assert stream["session_id"] == across.before["session_id"]


def test_players_follow_time_stamps_that_begin_again(server: RunningServer, tmp_path: Path):
    require("ffmpeg", "gst-launch-1.0")
    key = "break/restart"
    command = publishers.librtmp(server.rtmp_url(key), "--restart")
    with publishers.publishing(command, tmp_path / "encoder.log"), reading(server, key) as across:
        wait_for_a_break(server, key)
        until(lambda: server.complaints(key), "a note about the jump")
        assert [note["code"] for note in server.complaints(key)] == ["timestamp_jump"]
    # The clip goes on where it began: no picture is lost.
    assert across.cmaf is not None
    assert across.cmaf.frames == pytest.approx(360, abs=6)


def test_players_follow_ffmpeg_that_loops_a_file(server: RunningServer, tmp_path: Path):
    require("ffmpeg")
    key = "break/loop"
    clip = tmp_path / "clip.flv"
    subprocess.run(publishers.ffmpeg(str(clip), seconds=3, realtime=False), check=True)
    command = [
        *("ffmpeg", "-nostdin", "-v", "error", "-re", "-stream_loop", "-1", "-i", str(clip)),
        *("-c", "copy", "-f", "flv", server.rtmp_url(key)),
    ]
    with publishers.publishing(command, tmp_path / "encoder.log"):
        with reading(server, key) as across:
            pass
        assert server.complaints(key) == []
    assert across.cmaf is not None
    assert across.cmaf.frames == pytest.approx(360, abs=6)


# Codecs


@dataclass(frozen=True, slots=True)
class Case:
    """What FFmpeg 8 publishes, and what players must find."""

    video: str
    audio: str
    codecs: str
    """CODECS of the multivariant playlist."""

    found: tuple[str, ...]
    """The streams by ffprobe's names."""

    ts: bool = False
    """Whether the playlist for old players can carry it."""

    opus: str = "keep"
    """What the server makes of Opus."""

    @property
    def name(self) -> str:
        """For people."""
        return f"{self.video}-{self.audio}" + ("" if self.opus == "keep" else "-as-aac")


CASES: Final = (
    Case("hevc", "opus", "hvc1.1.6.L63.90,opus", ("hevc", "opus")),
    Case("av1", "opus", "av01.0.01M.08,opus", ("av1", "opus")),
    Case("vp9", "opus", "vp09.00.21.08,opus", ("vp9", "opus")),
    Case("h264", "opus", "avc1.42C01E,opus", ("h264", "opus")),
    Case("hevc", "opus", "hvc1.1.6.L63.90,mp4a.40.2", ("hevc", "aac"), ts=True, opus="aac"),
    Case("vp9", "opus", "vp09.00.21.08,mp4a.40.2", ("vp9", "aac"), opus="aac"),
    Case("h264", "opus", "avc1.42C01E,mp4a.40.2", ("h264", "aac"), ts=True, opus="aac"),
    Case("hevc", "aac", "hvc1.1.6.L63.90,mp4a.40.2", ("hevc", "aac"), ts=True),
    Case("h264", "mp3", "avc1.42C01E,mp4a.40.34", ("h264", "mp3"), ts=True),
    Case("h264", "none", "avc1.42C01E", ("h264",), ts=True),
    Case("none", "aac", "mp4a.40.2", ("aac",), ts=True),
)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_hls_is_right_by_ffprobe_for_every_codec(
    case: Case, server: RunningServer, keeping: RunningServer, tmp_path: Path
):
    require("ffmpeg", "ffprobe")
    server = keeping if case.opus == "keep" else server
    key = f"codec/{case.name}"
    command = publishers.pyav(server.rtmp_url(key), "--video", case.video, "--audio", case.audio)
    with publishers.publishing(command, tmp_path / "encoder.log"):
        server.wait_live(key)
        variants = m3u8.loads(server.get(f"/hls/{key}/index.m3u8").decode()).playlists
        assert variants[0].stream_info.codecs == case.codecs
        pyav = start_pyav(server.hls_url(key), 100)
        playlists = ["index.m3u8", "ts.m3u8"] if case.ts else ["index.m3u8"]
        for playlist in playlists:
            check_streams(case, probe(server.hls_url(key, playlist)))
        for read in decode(*[server.hls_url(key, each) for each in playlists], seconds=4):
            assert read.complaints == []
            assert read.frames == (0 if case.video == "none" else pytest.approx(120, abs=2))
        check_pyav(case, finish_pyav(pyav, 20))
        if not case.ts:
            with pytest.raises(urllib.error.HTTPError) as refusal:
                server.get(f"/hls/{key}/ts.m3u8")
            assert refusal.value.code == 406
            refusal.value.close()


def check_streams(case: Case, streams: list[dict[str, Any]]) -> None:
    """Holds what Debian's ffprobe (5.1) found against what was published."""
    assert tuple(stream["codec_name"] for stream in streams) == case.found
    for stream in streams:
        if stream["codec_type"] == "video":
            assert (stream["width"], stream["height"]) == (640, 360)
            assert stream["r_frame_rate"] == "30/1"
        else:
            assert stream["sample_rate"] == ("44100" if case.audio == "mp3" else "48000")
            assert stream["channels"] == 2


def check_pyav(case: Case, read: PyavRead) -> None:
    """Holds what FFmpeg 8 found against what was published."""
    assert read.complaints == []
    assert tuple(stream["codec"] for stream in read.streams) == case.found
    first = read.streams[0]
    if case.video != "none":
        assert (first["width"], first["height"], first["fps"]) == (640, 360, 30)
    assert sum(read.widths.values()) == 100
