"""The server as its users run it: a process, with ports and a directory of its own."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

__all__ = ["API_TOKEN", "PUBLISH_KEY", "RunningServer", "free_ports", "stop_process"]

API_TOKEN: Final = "peer-test-api-token-0123456789"
PUBLISH_KEY: Final = "peer-test-publish-key"

_READY_S: Final = 40
_STOP_S: Final = 20


def free_ports(count: int) -> list[int]:
    """Loopback ports that are free now; held together while they are chosen, so all differ."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]


def stop_process(process: subprocess.Popen[Any], timeout_s: float = 10) -> int:
    """Asks a child to end, then insists. Returns its exit code."""
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
    return process.returncode


class RunningServer:
    """``streamserver serve`` (or ``demo``) as a child process on loopback.

    The ports stay the same over `restart`, so that its URLs do too. ``settings`` are further
    ``section.key=value`` flags, ``config`` is TOML for a configuration file, ``publish_key`` is
    configured where it is given (otherwise publishing from here is open), ``prefix`` stands before
    the command and becomes it, as ``prlimit`` does. A context manager: entering starts it and waits
    until it is ready.
    """

    def __init__(
        self,
        directory: Path,
        *,
        command: str = "serve",
        settings: tuple[str, ...] = (),
        arguments: tuple[str, ...] = (),
        config: str = "",
        publish_key: str = "",
        prefix: tuple[str, ...] = (),
    ) -> None:
        self.directory = directory
        self.prefix = prefix
        self.rtmp_port, self.http_port, self.https_port, self.rtmps_port = free_ports(4)
        (self.webrtc_port,) = free_ports(1)
        self.base_url = f"http://127.0.0.1:{self.http_port}"
        self.publish_key = publish_key
        self.api_token = API_TOKEN
        self.log_path = directory / "server.log"
        self.command = command
        self.arguments = arguments
        self.settings = settings
        self._config = config
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()
        # A skip is no Exception.
        if isinstance(exc, Exception):
            exc.add_note(f"--- server log ({self.log_path})\n{self.log()[-6000:]}")

    @property
    def pid(self) -> int:
        """The process."""
        assert self._process is not None
        return self._process.pid

    def start(self) -> None:
        """Starts the process and waits for ``/readyz``."""
        self.directory.mkdir(parents=True, exist_ok=True)
        path = self.directory / "config.toml"
        path.write_text(self._config or "# nothing: every key has its default\n")
        settings = (
            "http.host=127.0.0.1",
            "rtmp.host=127.0.0.1",
            f"rtmp.port={self.rtmp_port}",
            f"webrtc.port={self.webrtc_port}",
            f"rtmp.tls_port={self.rtmps_port}",
            f"http.port={self.http_port}",
            f"http.https_port={self.https_port}",
            f"storage.path={self.directory / 'state'}",
            f"auth.api_token={self.api_token}",
            *self.settings,
        )
        if self.publish_key:
            settings += (f'auth.keys=[{{key = "{self.publish_key}"}}]',)
        flags = [word for setting in settings for word in ("--set", setting)]
        environment = {k: v for k, v in os.environ.items() if not k.startswith("STREAMSERVER_")}
        with self.log_path.open("ab") as log:
            self._process = subprocess.Popen(
                [
                    *(*self.prefix, sys.executable, "-m", "streamserver", self.command),
                    *("--config", str(path), *flags, *self.arguments),
                ],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=environment,
            )
        self._wait_ready()

    def stop(self) -> int:
        """SIGTERM, as a service manager would. Returns the exit code."""
        process, self._process = self._process, None
        return 0 if process is None else stop_process(process, _STOP_S)

    def kill(self) -> None:
        """Ends the process with no chance to say anything."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def restart(self) -> None:
        """Stops and starts under the same URLs."""
        self.stop()
        self.start()

    def signal(self, number: signal.Signals) -> None:
        """Sends a signal."""
        os.kill(self.pid, number)

    def log(self) -> str:
        """What the server has said so far."""
        return self.log_path.read_text(errors="replace") if self.log_path.exists() else ""

    def rtmp_url(self, key: str) -> str:
        """Where to publish; ``key`` is ``app/name``, with a query if need be."""
        return f"rtmp://127.0.0.1:{self.rtmp_port}/{key}"

    def hls_url(self, key: str, playlist: str = "index.m3u8") -> str:
        """Where to play."""
        return f"{self.base_url}/hls/{key}/{playlist}"

    def get(self, path: str, headers: dict[str, str] | None = None) -> bytes:
        """The body of an answer; raises `urllib.error.HTTPError` for a status beyond 299."""
        request = urllib.request.Request(self.base_url + path, headers=headers or {})
        with urllib.request.urlopen(request, timeout=20) as response:
            body: bytes = response.read()
            return body

    def api(self, path: str, method: str = "GET", body: object = None) -> Any:
        """JSON of the API; ``path`` is what follows ``/api/v1/``. None for an empty answer."""
        headers = {"Authorization": f"Bearer {self.api_token}"}
        if body is not None:
            headers["Content-Type"] = "application/json"
        request = urllib.request.Request(
            f"{self.base_url}/api/v1/{path}",
            data=None if body is None else json.dumps(body).encode(),
            headers=headers,
            method=method,
        )
        with urllib.request.urlopen(request, timeout=20) as response:
            answer = response.read()
            return json.loads(answer) if answer else None

    def stream(self, key: str) -> Any:
        """The API's stream object, or None while there is none."""
        try:
            return self.api(f"streams/{key}")
        except urllib.error.HTTPError as error:
            error.close()
            if error.code == 404:
                return None
            raise

    def complaints(self, key: str) -> list[Any]:
        """What the API finds wrong with a stream; B-frames, which most encoders make and only
        WebRTC cannot play, are left out."""
        health = self.stream(key)["health"]
        return [one for one in health if one["code"] != "webrtc_unplayable"]

    def wait_live(self, key: str, timeout_s: float = 30) -> Any:
        """Waits until a stream is live and its playlist is there; returns the stream object."""
        deadline = time.monotonic() + timeout_s
        while True:
            stream = self.stream(key)
            if stream is not None and stream["state"] == "live":
                # Waits for the first media by itself.
                with contextlib.suppress(urllib.error.HTTPError):
                    self.get(f"/hls/{key}/index.m3u8")
                    return stream
            if time.monotonic() > deadline:
                raise AssertionError(f"{key} is not live after {timeout_s} s: {stream}")
            time.sleep(0.1)

    def viewers(self, key: str | None = None) -> int:
        """How many watch a stream, or all of them."""
        path = f"streams/{key}/viewers/count" if key else "viewers/count"
        return int(self.api(path)["total"])

    def metrics(self) -> dict[str, float]:
        """Every sample of ``/metrics`` by its name with labels."""
        text = self.get("/metrics", {"Authorization": f"Bearer {self.api_token}"}).decode()
        lines = (line.rpartition(" ") for line in text.splitlines() if line and line[0] != "#")
        return {name: float(value) for name, _, value in lines}

    def _wait_ready(self) -> None:
        deadline = time.monotonic() + _READY_S
        while True:
            assert self._process is not None
            if self._process.poll() is not None:
                raise AssertionError(f"the server ended at once:\n{self.log()[-3000:]}")
            try:
                self.get("/readyz")
                return
            except urllib.error.HTTPError as error:
                error.close()
            except (urllib.error.URLError, ConnectionError):
                pass
            if time.monotonic() > deadline:
                raise AssertionError(f"the server is not ready:\n{self.log()[-3000:]}")
            time.sleep(0.05)
