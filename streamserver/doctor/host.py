"""What this host gives: ports, limits, certificates, disk."""

import contextlib
import os
import resource
import shutil
import socket
import tempfile
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from cryptography import x509

from streamserver.config import Config, memory_bound
from streamserver.doctor.findings import UNAVAILABLE, Finding, Status
from streamserver.errors import ConfigError, UnavailableError
from streamserver.net.sockets import bind
from streamserver.net.tls import CertificateFiles
from streamserver.storage.location import state_directory

__all__ = ["certificates", "disk", "limits", "ports"]

_MIB: Final = 1024 * 1024
_SPARE_FILES: Final = 100
"""Open files besides connections: libraries, logs, database."""

_LITTLE_DISK_BYTES: Final = 200 * _MIB
_SOON_DAYS: Final = 14


def ports(config: Config) -> Iterator[Finding]:
    """Whether each configured port is to be had."""
    rtmp, http, webrtc = config.rtmp, config.http, config.webrtc
    wanted = [("rtmp", rtmp.host, rtmp.port), ("http", http.host, http.port)]
    if rtmp.cert_file:
        wanted.append(("rtmps", rtmp.host, rtmp.tls_port))
    if http.cert_file:
        wanted.append(("https", http.host, http.https_port))
    if webrtc.enabled:
        wanted.append(("webrtc", webrtc.host, webrtc.port))
    for name, host, port in wanted:
        try:
            for sock in bind(name, host, port):
                sock.close()
            if name == "webrtc":
                _bind_udp(host, port)
        except (UnavailableError, ConfigError) as error:
            yield Finding(check="ports", status=Status.FAILED, text=str(error), code=UNAVAILABLE)
        else:
            text = f"{name}: port {port or 'any'} is free"
            yield Finding(check="ports", status=Status.OK, text=text)


def _bind_udp(host: str, port: int) -> None:
    family = socket.AF_INET if host and ":" not in host else socket.AF_INET6
    with contextlib.closing(socket.socket(family, socket.SOCK_DGRAM)) as sock:
        try:
            sock.bind((host or "::", port))
        except OSError as error:
            raise UnavailableError(f"webrtc port {port}/udp: {error.strerror}") from error


def limits(config: Config) -> Iterator[Finding]:
    """Open files, and memory against what the configuration allows."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = config.limits.max_connections + _SPARE_FILES
    files = {"open_files": float(hard), "wanted": float(wanted)}
    if hard != resource.RLIM_INFINITY and hard < wanted:
        text = (
            f"{hard} open files are allowed, and limits.max_connections needs {wanted}: raise "
            "LimitNOFILE in the unit, or nofile in limits.conf"
        )
        yield Finding(check="limits", status=Status.WARNING, text=text, figures=files)
    else:
        text = f"open files: enough for {config.limits.max_connections} connections"
        yield Finding(check="limits", status=Status.OK, text=text, figures=files)
    available = _available_bytes()
    if available is None:
        return
    bound = memory_bound(config)
    streams = available // max(1, bound.per_stream_bytes)
    figures = {"available_bytes": float(available), "per_stream_bytes": bound.per_stream_bytes}
    most = config.limits.max_publishers
    text = (
        f"memory: {available // _MIB} MiB are available, enough for {streams} streams that each "
        f"need all they may (limits.max_stream_memory_bytes); limits.max_publishers is {most}"
    )
    status = Status.OK if streams >= 1 else Status.WARNING
    yield Finding(check="limits", status=status, text=text, figures=figures)


def _available_bytes() -> int | None:
    """What the kernel, and the control group around us, still give."""
    found = []
    with contextlib.suppress(OSError, ValueError, IndexError):
        lines = Path("/proc/meminfo").read_text().splitlines()
        free = next(line for line in lines if line.startswith("MemAvailable:"))
        found.append(int(free.split()[1]) * 1024)
    with contextlib.suppress(OSError, ValueError):
        # cgroups(7), version 2; "max" is no number.
        most = int(Path("/sys/fs/cgroup/memory.max").read_text())
        used = int(Path("/sys/fs/cgroup/memory.current").read_text())
        found.append(most - used)
    return min(found, default=None)


def certificates(config: Config) -> Iterator[Finding]:
    """Whether the certificates can be used, and for how long."""
    pairs = [
        ("http", config.http.cert_file, config.http.key_file),
        ("rtmp", config.rtmp.cert_file, config.rtmp.key_file),
    ]
    if not any(cert for _, cert, _ in pairs):
        text = "no certificate: browsers publish only from pages over HTTPS"
        yield Finding(check="tls", status=Status.SKIPPED, text=text)
    for name, cert, key in pairs:
        if cert:
            yield _certificate(name, Path(cert), Path(key))


def _certificate(name: str, cert: Path, key: Path) -> Finding:
    try:
        CertificateFiles(cert, key)
        ends = x509.load_pem_x509_certificate(cert.read_bytes()).not_valid_after_utc
    except (ConfigError, OSError, ValueError) as error:
        return Finding(check="tls", status=Status.FAILED, text=f"{name}: {error}", code=78)
    days = (ends - datetime.now(UTC)).total_seconds() / 86400
    figures = {"days_left": round(days, 1)}
    if days < 0:
        text = f"{name}: {cert} ran out on {ends:%Y-%m-%d}: browsers and encoders refuse it"
        return Finding(check="tls", status=Status.FAILED, text=text, figures=figures)
    status = Status.WARNING if days < _SOON_DAYS else Status.OK
    text = f"{name}: {cert} is valid until {ends:%Y-%m-%d}"
    return Finding(check="tls", status=status, text=text, figures=figures)


def disk(config: Config, environ: Mapping[str, str]) -> Finding:
    """Whether the storage can be written, and how much room there is."""
    home = Path(environ["HOME"]) if environ.get("HOME") else None
    configured = config.storage.path
    path = Path(configured) if configured else state_directory(environ, home=home)
    if path is None:
        text = "there is no home directory, so nothing outlives the process: set storage.path"
        return Finding(check="disk", status=Status.WARNING, text=text)
    # A directory that is not there yet is made by the server in the nearest one that is.
    nearest = next(one for one in (path, *path.parents) if one.exists())
    try:
        with tempfile.TemporaryFile(dir=nearest) as file:
            file.write(b"x" * 4096)
            file.flush()
            os.fsync(file.fileno())
        free = shutil.disk_usage(nearest).free
    except OSError as error:
        text = f"{path} cannot be written ({error.strerror}), so nothing outlives the process"
        return Finding(check="disk", status=Status.WARNING, text=text)
    figures = {"free_bytes": float(free)}
    status = Status.OK if free >= _LITTLE_DISK_BYTES else Status.WARNING
    text = f"{path} can be written; {free // _MIB} MiB are free"
    return Finding(check="disk", status=status, text=text, figures=figures)
