"""Servers that take streams from us: nginx-rtmp, node-media-server, and our own sink."""

import json
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

import pytest

from benchmarks.peers import nginx_rtmp, node_media_server
from tests.peers.server import free_ports, stop_process

__all__ = ["FarSide", "NginxRtmp", "NodeMediaServer", "SinkProcess"]

_START_S: Final = 30


class FarSide:
    """A server in a process of its own, on a port that stays the same. A context manager."""

    def __init__(self, directory: Path) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self.directory = directory
        (self.port,) = free_ports(1)
        self._process: subprocess.Popen[bytes] | None = None

    def url(self, key: str) -> str:
        """Where ``app/name`` is published, and played."""
        return f"rtmp://127.0.0.1:{self.port}/{key}"

    def start(self) -> None:
        """Starts it, and waits until it listens."""
        self._process = process = self._spawn()
        deadline = time.monotonic() + _START_S
        while True:
            try:
                socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
                return
            except OSError:
                if process.poll() is not None or time.monotonic() > deadline:
                    raise AssertionError(f"{process.args!r} does not listen") from None
                time.sleep(0.05)

    def kill(self) -> None:
        """Ends it with no chance to say good-bye."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def signal(self, number: signal.Signals) -> None:
        """Sends a signal."""
        assert self._process is not None
        self._process.send_signal(number)

    def _spawn(self) -> "subprocess.Popen[bytes]":
        raise NotImplementedError

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._process is not None:
            stop_process(self._process)


class NginxRtmp(FarSide):
    """Debian's nginx with its RTMP module, in one process so that a kill is one. Records what comes
    into ``recorded``."""

    def __init__(self, directory: Path) -> None:
        if missing := nginx_rtmp.why_missing():
            pytest.skip(missing)
        super().__init__(directory)
        self.recorded = directory / "recorded"
        self.recorded.mkdir()

    def _spawn(self) -> "subprocess.Popen[bytes]":
        path = self.directory / "nginx.conf"
        path.write_text(
            f"load_module {nginx_rtmp.MODULE}; daemon off; master_process off; user root;\n"
            f"pid {self.directory}/nginx.pid; error_log {self.directory}/error.log;\n"
            "events {}\n"
            f"rtmp {{ server {{ listen 127.0.0.1:{self.port}; application live {{ live on;\n"
            f"record all; record_path {self.recorded}; record_unique on; }} }} }}\n"
        )
        return subprocess.Popen(
            ["nginx", "-e", f"{self.directory}/error.log", "-c", str(path)],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip

    def recordings(self) -> list[Path]:
        """Its files, the oldest first."""
        return sorted(self.recorded.iterdir(), key=lambda path: path.stat().st_ctime_ns)


class NodeMediaServer(FarSide):
    """node-media-server from npm."""

    def __init__(self, directory: Path) -> None:
        if missing := node_media_server.why_missing():
            pytest.skip(missing)
        super().__init__(directory)

    def _spawn(self) -> "subprocess.Popen[bytes]":
        (http_port,) = free_ports(1)
        log = self.directory / "log"
        with log.open("ab") as sink:
            return subprocess.Popen(
                node_media_server.command(self.directory, self.port, http_port),
                stdin=subprocess.DEVNULL, stdout=sink, stderr=sink, cwd=self.directory,
            )  # fmt: skip


class SinkProcess(FarSide):
    """``streamserver sink``; what it tells is kept."""

    def __init__(self, directory: Path, misbehave: str = "") -> None:
        super().__init__(directory)
        self._misbehave = misbehave
        self._log = directory / "sink.log"

    def _spawn(self) -> "subprocess.Popen[bytes]":
        how = ("--misbehave", self._misbehave) if self._misbehave else ()
        with self._log.open("ab") as log:
            return subprocess.Popen(
                [
                    *(sys.executable, "-m", "streamserver", "sink", "--json"),
                    *("--host", "127.0.0.1", "--port", str(self.port), *how),
                ],
                stdin=subprocess.DEVNULL,
                stdout=log,
            )

    def events(self, name: str) -> list[dict[str, Any]]:
        """What it told of one name, in order."""
        lines = self._log.read_text().splitlines()
        # The last line may be half written.
        told = [json.loads(line) for line in lines if line.endswith("}")]
        return [one for one in told if one["event"] == name]
