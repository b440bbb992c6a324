"""Real encoders as child processes: how each is started so that it publishes a live test picture.

Each command is what a user of that program would type, with a small fast picture. None of them
ends by itself unless told; `publishing` ends what it started.
"""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

__all__ = [
    "Publisher",
    "ffmpeg",
    "gstreamer",
    "librtmp",
    "obs",
    "publishing",
    "pyav",
]

_OBS_HOME: Final = ".config/obs-studio"

_SOURCE: Final = "testsrc2=size={width}x{height}:rate={rate}"


@dataclass(frozen=True, slots=True)
class Publisher:
    """A running encoder."""

    process: subprocess.Popen[bytes]
    """The child."""

    log_path: Path
    """What it writes to its console."""

    def log(self) -> str:
        """What it has written so far."""
        return self.log_path.read_text(errors="replace")

    def wait(self, timeout_s: float = 30) -> int:
        """Waits for its end; returns the exit code."""
        return self.process.wait(timeout_s)

    def kill(self) -> None:
        """Ends it with no chance to say good-bye, as a crash does."""
        self.process.kill()
        self.process.wait()

    def kill_program(self, name: str) -> None:
        """The same for the program of this name that the child, such as ``xvfb-run``, has started;
        its helpers are left to clean up after it."""
        for path in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                stat = (path / "stat").read_text()
                comm = stat[stat.index("(") + 1 : stat.rindex(")")]
                session = int(stat[stat.rindex(")") + 2 :].split()[3])
                if comm == name and session == self.process.pid:
                    os.kill(int(path.name), signal.SIGKILL)
                    return
        raise AssertionError(f"no {name} runs")


@contextlib.contextmanager
def publishing(
    command: Sequence[str], log_path: Path, environment: dict[str, str] | None = None
) -> Iterator[Publisher]:
    """Runs an encoder while the block lasts; its console is added to what the block raises."""
    log_path.parent.mkdir(parents=True, exist_ok=True)
    with log_path.open("wb") as log:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            env={**os.environ, **(environment or {})},
            # xvfb-run has children of its own.
            start_new_session=True,
        )
    publisher = Publisher(process, log_path)
    try:
        yield publisher
    except BaseException as error:
        error.add_note(f"--- {Path(command[0]).name} ({log_path})\n{publisher.log()[-3000:]}")
        raise
    finally:
        _stop_group(process)


def _stop_group(process: subprocess.Popen[bytes]) -> None:
    """Asks an encoder and its children to end, then insists."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(10)
        deadline = time.monotonic() + 3
        while time.monotonic() < deadline:
            os.killpg(process.pid, 0)
            time.sleep(0.05)
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def ffmpeg(
    url: str,
    *,
    width: int = 640,
    height: int = 360,
    rate: int = 30,
    gop: int = 60,
    video: Sequence[str] = (),
    audio: Sequence[str] = ("-c:a", "aac", "-b:a", "128k"),
    seconds: float | None = None,
    output: Sequence[str] = (),
    realtime: bool = True,
) -> list[str]:
    """Debian's ffmpeg. ``video`` adds to the options of x264 (["-vn"]: no picture),
    an empty ``audio`` means no sound, ``output`` stands before the URL."""
    source = _SOURCE.format(width=width, height=height, rate=rate)
    pace = ["-re"] if realtime else []
    command = ["ffmpeg", "-nostdin", "-v", "error", *pace, "-f", "lavfi", "-i", source]
    if audio:
        command += [*pace, "-f", "lavfi", "-i", "sine=frequency=440:sample_rate=48000"]
    command += [
        *("-c:v", "libx264", "-preset", "ultrafast", "-pix_fmt", "yuv420p"),
        *("-b:v", "800k", "-g", str(gop), "-keyint_min", str(gop), "-sc_threshold", "0"),
        *video,
        *audio,
    ]
    if seconds is not None:
        command += ["-t", f"{seconds:g}"]
    return [*command, *output, "-f", "flv", url]


def gstreamer(
    url: str, *, sink: str = "rtmp2sink", sizes: Sequence[str] = ("640x360",)
) -> list[str]:
    """GStreamer with ``rtmp2sink`` (its own RTMP) or ``rtmpsink`` (librtmp: audio and video on one
    chunk stream, chunks of 128 bytes). More than one of ``sizes``: the picture changes after five
    seconds."""
    command = [
        # Without patience flvmux gives late pictures the time of the sound that overtook them.
        *("gst-launch-1.0", "-q", "flvmux", "name=mux", "streamable=true", "latency=500000000"),
        *("!", sink, f"location={url}"),
        *("concat", "name=pictures", "!", "identity", "sync=true"),
        # Left alone it makes 4:4:4 of 10 bits.
        *("!", "video/x-raw,format=I420", "!", "x264enc", "tune=zerolatency"),
        *("speed-preset=ultrafast", "key-int-max=60"),
        *("!", "h264parse", "!", "queue", "!", "mux."),
        *("audiotestsrc", "is-live=true", "!", "audio/x-raw,rate=48000,channels=2"),
        *("!", "voaacenc", "!", "aacparse", "!", "queue", "!", "mux."),
    ]
    for index, size in enumerate(sizes):
        width, height = size.split("x")
        frames = [] if index + 1 == len(sizes) else ["num-buffers=150"]
        caps = f"video/x-raw,width={width},height={height},framerate=30/1"
        command += ["videotestsrc", *frames, "!", caps, "!", "pictures."]
    return command


def librtmp(url: str, *options: str) -> list[str]:
    """librtmp with chosen time stamps; see ``librtmp_publisher.py`` for the options."""
    return [sys.executable, "-m", "tests.peers.librtmp_publisher", url, *options]


def pyav(url: str, *options: str) -> list[str]:
    """FFmpeg 8's enhanced RTMP in a child; see ``pyav_publisher.py`` for the options."""
    return [sys.executable, "-m", "tests.peers.pyav_publisher", url, *options]


def obs(
    home: Path,
    server: str,
    key: str,
    *,
    keyframe_interval_s: int | None = 2,
    preset: str = "ultrafast",
) -> tuple[list[str], dict[str, str]]:
    """OBS Studio in a virtual screen: its command and environment. ``server`` and ``key`` are the
    two fields of its settings page; an interval of None is OBS's own default, 250 frames. Its own
    default of presets is veryfast, which has B-frames."""
    root = home / _OBS_HOME
    profile, scenes = root / "basic/profiles/test", root / "basic/scenes"
    profile.mkdir(parents=True)
    scenes.mkdir(parents=True)
    (root / "global.ini").write_text(
        "[General]\nFirstRun=true\nLastVersion=486539266\n"
        "[Basic]\nProfile=test\nProfileDir=test\nSceneCollection=test\nSceneCollectionFile=test\n"
        "[OBSWebSocket]\nServerEnabled=false\nFirstLoad=false\n"
    )
    settings = "" if keyframe_interval_s is None else f"keyint={30 * keyframe_interval_s}"
    (profile / "basic.ini").write_text(
        "[General]\nName=test\n"
        "[Output]\nMode=Simple\nReconnect=true\nRetryDelay=1\nMaxRetries=25\n"
        "[SimpleOutput]\nStreamEncoder=x264\nVBitrate=800\nABitrate=128\nUseAdvanced=true\n"
        f"Preset={preset}\nx264Settings={settings}\n"
        "[Video]\nBaseCX=640\nBaseCY=360\nOutputCX=640\nOutputCY=360\n"
        "FPSType=0\nFPSCommon=30\n"
        "[Audio]\nSampleRate=48000\n"
    )
    (profile / "service.json").write_text(
        json.dumps({"type": "rtmp_custom", "settings": {"server": server, "key": key}})
    )
    (scenes / "test.json").write_text(json.dumps(_obs_scene()))
    command = [
        *("xvfb-run", "-a", "-s", "-screen 0 1280x800x24 +extension GLX"),
        *("obs", "--multi", "--startstreaming", "--profile", "test", "--collection", "test"),
        *("--scene", "Scene", "--disable-updater", "--disable-missing-files-check"),
    ]
    return command, {
        "HOME": str(home),
        "XDG_CONFIG_HOME": str(home / ".config"),
        "XDG_RUNTIME_DIR": str(home),
        "TMPDIR": str(home),
        "LIBGL_ALWAYS_SOFTWARE": "1",
        "QT_QPA_PLATFORM": "xcb",
    }


def _obs_scene() -> dict[str, object]:
    """A scene with a moving picture and a tone that FFmpeg makes: no file is needed."""
    graph = "testsrc2=size=640x360:rate=30[out0];sine=frequency=440:sample_rate=48000[out1]"
    source = {
        "id": "ffmpeg_source",
        "name": "Picture",
        "settings": {"is_local_file": False, "input": graph, "input_format": "lavfi"},
    }
    scene = {
        "id": "scene",
        "name": "Scene",
        "settings": {
            "id_counter": 1,
            "items": [{"name": "Picture", "id": 1, "visible": True}],
        },
    }
    return {
        "name": "test",
        "current_scene": "Scene",
        "current_program_scene": "Scene",
        "scene_order": [{"name": "Scene"}],
        "sources": [source, scene],
    }
