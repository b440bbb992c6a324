"""An installed ``ffmpeg`` that reads what PyAV's FFmpeg cannot: SRT.

The URL may hold a passphrase, and every user of the machine may read a command line. So it is told
on standard input, as a script of FFmpeg's concat demuxer with one entry.
"""

import contextlib
import re
import shutil
import subprocess
import threading
from collections.abc import Iterator
from typing import IO, Final

from streamserver.ffmpeg.pull_request import PullRequest

__all__ = ["CommandError", "find", "reading"]

_NAME: Final = "ffmpeg"
_MAX_WORDS: Final = 8192
_WHERE: Final = re.compile(r"^\[[^\]]*\]\s*")
"""``[srt @ 0x55d0c4]`` before what FFmpeg says."""


class CommandError(Exception):
    """The command is not there, or failed; with its words."""


def find() -> str:
    """The path of the command. Raises `CommandError` with what to do."""
    path = shutil.which(_NAME)
    if path is None:
        raise CommandError(
            "SRT is read by an ffmpeg command, for PyAV's wheel has no SRT, and none is installed "
            "here (Debian: apt install ffmpeg)"
        )
    return path


@contextlib.contextmanager
def reading(request: PullRequest) -> Iterator["_Pipe"]:
    """The source as an MPEG transport stream, while the block lasts; the command ends with it.

    Raises `CommandError` in the place of what the block raised when the command failed first.
    """
    command = [
        *(find(), "-hide_banner", "-loglevel", "error"),
        *("-protocol_whitelist", request.options["protocol_whitelist"]),
        *("-f", "concat", "-safe", "0", "-i", "pipe:0"),
        *("-map", "0:v:0?", "-map", "0:a:0?", "-c", "copy"),
        *("-f", "mpegts", "-flush_packets", "1", "-muxdelay", "0", "pipe:1"),
    ]
    process = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    words = _Words(process.stderr)
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        # It may have ended already; what comes of it then tells why.
        with contextlib.suppress(BrokenPipeError), process.stdin as script:
            script.write(_script(request.url))
        yield _Pipe(process.stdout)
    except Exception as error:
        if process.poll() or words.ended:
            said = words.first()
            if said:
                raise CommandError(said) from error
        raise
    else:
        if process.wait():
            raise CommandError(words.first() or f"ffmpeg ended with {process.returncode}")
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def _script(url: str) -> bytes:
    """One entry; a quote within is closed, escaped and opened again."""
    quoted = url.replace("'", "'\\''")
    return f"ffconcat version 1.0\nfile '{quoted}'\n".encode()


class _Pipe:
    """Nothing but ``read``: FFmpeg would try to seek in anything that can more."""

    def __init__(self, pipe: IO[bytes]) -> None:
        self._pipe = pipe

    def read(self, size: int) -> bytes:
        # What is there, and not all that is asked for: the rest may take seconds to come.
        read1 = getattr(self._pipe, "read1", self._pipe.read)
        data: bytes = read1(size)
        return data


class _Words:
    """What the command says, read as it comes so that it never waits for us."""

    def __init__(self, stream: IO[bytes] | None) -> None:
        self.ended = False
        self._kept = b""
        self._stream = stream
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def first(self) -> str:
        """The first line, which tells the cause; the others follow from it."""
        self._thread.join(1)
        lines = self._kept.decode(errors="replace").strip().splitlines()
        return _WHERE.sub("", lines[0]) if lines else ""

    def _read(self) -> None:
        assert self._stream is not None
        with self._stream as stream:
            while data := stream.read(1024):
                if len(self._kept) < _MAX_WORDS:
                    self._kept += data
        self.ended = True
