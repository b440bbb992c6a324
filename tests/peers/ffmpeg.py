"""Debian's ffmpeg as a publisher and as a light player."""

import shutil
import subprocess
from pathlib import Path
from types import TracebackType
from typing import Final, Self

import pytest

from tests.peers.server import stop_process

__all__ = ["FfmpegPublisher", "Player", "require"]

_H264: Final = ("-c:v", "libx264", "-preset", "ultrafast", "-tune", "zerolatency")


def require(*commands: str) -> None:
    """Skips the test where a program is absent."""
    for command in commands:
        if shutil.which(command) is None:
            pytest.skip(f"{command} is not installed")


class Player:
    """A child process that plays (or publishes) until it is stopped. A context manager."""

    def __init__(self, command: list[str], log: Path, env: dict[str, str] | None = None) -> None:
        self.command = command
        self.log = log
        self._env = env
        self.process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                self.command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=self._env
            )
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()
        if exc is not None:
            exc.add_note(f"--- {self.command[0]}: {self.output()[-1500:]}")

    @property
    def running(self) -> bool:
        """Whether it has not ended by itself."""
        return self.process is not None and self.process.poll() is None

    def stop(self) -> None:
        """Asks it to end, then insists."""
        if self.process is not None:
            stop_process(self.process, 5)

    def kill(self) -> None:
        """Ends it with no chance to say anything."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()

    def output(self) -> str:
        """What it has printed."""
        return self.log.read_text(errors="replace") if self.log.exists() else ""


class FfmpegPublisher(Player):
    """A picture of one colour and a tone, 640x360 at 30 frames, a keyframe every two seconds."""

    def __init__(
        self,
        url: str,
        directory: Path,
        *,
        colour: str | None = "red",
        video: bool = True,
        audio: bool = True,
        extra: tuple[str, ...] = (),
    ) -> None:
        """``colour`` None publishes ffmpeg's moving test picture."""
        picture = f"color=c={colour}:s=640x360:r=30" if colour else "testsrc2=s=640x360:r=30"
        command = ["ffmpeg", "-nostdin", "-hide_banner", "-loglevel", "warning"]
        if video:
            command += ["-re", "-f", "lavfi", "-i", picture]
        if audio:
            command += ["-re", "-f", "lavfi", "-i", "sine=frequency=440:sample_rate=48000"]
        if video:
            command += [*_H264, "-pix_fmt", "yuv420p", "-g", "60", "-b:v", "1000k"]
        if audio:
            command += ["-c:a", "aac", "-b:a", "96k"]
        super().__init__(
            [*command, *extra, "-f", "flv", url], directory / f"publisher-{colour}.log"
        )
