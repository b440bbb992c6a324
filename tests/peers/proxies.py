"""nginx and Caddy with the recipes of ``examples/deploy``, on ports and in a directory of ours."""

import re
import socket
import subprocess
import time
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from streamserver.net.tls import self_signed_pem
from tests.peers.ffmpeg import require
from tests.peers.server import free_ports, stop_process

__all__ = ["RECIPES", "Caddy", "Nginx", "write_certificate"]

RECIPES: Final = Path(__file__).parents[2] / "examples" / "deploy"


def write_certificate(directory: Path, stem: str = "server") -> tuple[Path, Path]:
    """A certificate for localhost and its key; returns their paths."""
    certificate, key = self_signed_pem(["localhost", "127.0.0.1"])
    paths = directory / f"{stem}.pem", directory / f"{stem}.key"
    paths[0].write_bytes(certificate)
    paths[1].write_bytes(key)
    return paths


class _Proxy:
    """A proxy process in the foreground. ``url`` is what leads to the server's root."""

    def __init__(self, directory: Path, http_port: int) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        # Workers of a proxy that root started run as somebody else.
        directory.chmod(0o755)
        self.directory = directory
        self.upstream = f"127.0.0.1:{http_port}"
        (self.port,) = free_ports(1)
        self.url = f"https://127.0.0.1:{self.port}/video"
        self.log = directory / "proxy.log"
        self.access_log = directory / "access.log"
        self._process: subprocess.Popen[bytes] | None = None

    def _command(self) -> list[str]:
        raise NotImplementedError

    def __enter__(self) -> Self:
        command = self._command()
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env={"HOME": str(self.directory), "PATH": "/usr/sbin:/usr/bin:/sbin:/bin"},
            )
        deadline = time.monotonic() + 15
        while True:
            try:
                socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
                return self
            except OSError:
                if self._process.poll() is not None or time.monotonic() > deadline:
                    stop_process(self._process)
                    raise AssertionError(self.log.read_text(errors="replace")) from None
                time.sleep(0.05)

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._process is not None:
            stop_process(self._process)
        if exc is not None:
            exc.add_note(f"--- proxy: {self.log.read_text(errors='replace')[-2000:]}")


def _replaced(text: str, *changes: tuple[str, str]) -> str:
    """A recipe with what belongs to its host replaced; each must be there."""
    for old, new in changes:
        assert old in text, f"the recipe says {old!r} no more"
        text = text.replace(old, new)
    return text


class Nginx(_Proxy):
    """The recipe in a configuration of its own; keeps an access log."""

    def __init__(self, directory: Path, http_port: int, *, tls: bool = True) -> None:
        require("nginx")
        super().__init__(directory, http_port)
        self._tls = tls
        if not tls:
            self.url = f"http://127.0.0.1:{self.port}/video"

    def _command(self) -> list[str]:
        certificate, key = write_certificate(self.directory)
        recipe = _replaced(
            (RECIPES / "nginx.conf").read_text(),
            ("server 127.0.0.1:8080", f"server {self.upstream}"),
            ("/var/cache/nginx/streamserver", str(self.directory / "cache")),
            ("listen 443 ssl http2", f"listen 127.0.0.1:{self.port}" + " ssl http2" * self._tls),
            ("/etc/ssl/live.example.org.pem", str(certificate)),
            ("/etc/ssl/live.example.org.key", str(key)),
        )
        temporary = "".join(
            f"{kind}_temp_path {self.directory}/{kind};\n"
            for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
        )
        path = self.directory / "nginx.conf"
        path.write_text(
            "daemon off;\nuser root;\nworker_processes 1;\n"
            f"pid {self.directory}/nginx.pid;\nevents {{}}\nhttp {{\n{temporary}"
            "log_format told '$msec|$status|$upstream_cache_status|$request_uri|"
            "$server_protocol|$http_user_agent';\n"
            f"access_log {self.access_log} told;\n{recipe}\n}}\n"
        )
        return ["nginx", "-e", str(self.log), "-c", str(path), "-p", str(self.directory)]

    def requests(self) -> list[list[str]]:
        """Of each answer: Unix time, status, cache status, path, protocol and user agent."""
        return [line.split("|") for line in self.access_log.read_text().splitlines()]


class Caddy(_Proxy):
    """The recipe with a certificate of ours in place of one from outside."""

    def __init__(self, directory: Path, http_port: int) -> None:
        require("caddy")
        super().__init__(directory, http_port)

    def _command(self) -> list[str]:
        certificate, key = write_certificate(self.directory)
        recipe = _replaced(
            (RECIPES / "Caddyfile").read_text(),
            ("reverse_proxy 127.0.0.1:8080", "reverse_proxy " + self.upstream),
        )
        recipe, changed = re.subn(
            r"(?m)^live\.example\.org \{",
            f"https://127.0.0.1:{self.port} {{\n\ttls {certificate} {key}",
            recipe,
        )
        assert changed == 1
        path = self.directory / "Caddyfile"
        path.write_text(
            "{\n\tadmin off\n\tauto_https disable_redirects\n\tstorage file_system "
            f"{self.directory}/storage\n\tdefault_bind 127.0.0.1\n}}\n{recipe}"
        )
        return ["caddy", "run", "--config", str(path), "--adapter", "caddyfile"]
