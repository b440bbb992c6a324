"""``streamserver check``: what would run."""

from enum import Enum
from pathlib import Path
from typing import Any

import msgspec

from streamserver.config import Fault, LoadedConfig, Secret, SourceKind, memory_bound
from streamserver.errors import ConfigError, RefusedError
from streamserver.net.tls import CertificateFiles

__all__ = ["certificate_faults", "report", "webhook_faults"]

_MIB = 1024 * 1024


def certificate_faults(loaded: LoadedConfig) -> list[Fault]:
    """The certificates that cannot be used. Reads the files."""
    faults = []
    for section, cert, key in (
        ("http", loaded.config.http.cert_file, loaded.config.http.key_file),
        ("rtmp", loaded.config.rtmp.cert_file, loaded.config.rtmp.key_file),
    ):
        if not cert:
            continue
        try:
            CertificateFiles(Path(cert), Path(key))
        except ConfigError as error:
            name = f"{section}.cert_file"
            faults.append(Fault(loaded.source(name), name, str(error)))
    return faults


def webhook_faults(loaded: LoadedConfig) -> list[Fault]:
    """The webhooks that the server would refuse at its start."""
    # Late: the other commands need none of what it imports.
    from streamserver.webhooks.assembly import configured_webhooks
    from streamserver.webhooks.manager import check_wishes

    faults = []
    for index, one in enumerate(configured_webhooks(loaded.config.webhooks)):
        try:
            check_wishes(one.spec())
        except RefusedError as error:
            faults.append(Fault(loaded.source("webhooks"), f"webhooks[{index}]", str(error)))
    return faults


def report(loaded: LoadedConfig) -> str:
    """The configuration as it holds, where each value comes from, and what it costs."""
    lines = [f"configuration: {loaded.file or 'no file, all defaults'}"]
    section = ""
    for key, value, source in loaded.items():
        head, _, name = key.rpartition(".")
        if head != section:
            section = head
            lines += ["", f"[{section}]"]
        line = f"{name} = {_toml(value)}"
        lines.append(line if source.kind is SourceKind.DEFAULT else f"{line:<40} # {source}")
    lines += ["", *_listeners(loaded), "", *_memory(loaded)]
    if loaded.warnings:
        lines += ["", *(f"warning: {warning}" for warning in loaded.warnings)]
    return "\n".join(lines) + "\n"


def _listeners(loaded: LoadedConfig) -> list[str]:
    rtmp, http = loaded.config.rtmp, loaded.config.http
    rows = [("RTMP", rtmp.host, rtmp.port), ("HTTP", http.host, http.port)]
    if rtmp.cert_file:
        rows.append(("RTMPS", rtmp.host, rtmp.tls_port))
    if http.cert_file:
        rows.append(("HTTPS", http.host, http.https_port))
    lines = [
        f"{name:<6} {host or 'all addresses'}, port {port or 'any free one'}/tcp"
        for name, host, port in rows
    ]
    webrtc = loaded.config.webrtc
    if webrtc.enabled:
        port = webrtc.port or "any free one"
        lines.append(f"WebRTC {webrtc.host or 'all addresses'}, port {port}/udp and tcp")
    return lines


def _memory(loaded: LoadedConfig) -> list[str]:
    bound = memory_bound(loaded.config)
    rows = [
        ("packet log", bound.packet_log_bytes),
        ("+ cmaf log", bound.cmaf_log_bytes),
        ("+ HLS window, parts and segments", bound.hls_window_bytes),
        ("+ HLS window for old players (TS)", bound.ts_window_bytes),
        ("+ logs of RTMP and FLV out", bound.live_logs_bytes),
        ("= one stream at most", bound.per_stream_bytes),
        ("+ its publisher's connection", bound.per_publisher_connection_bytes),
        (f"x {loaded.config.limits.max_publishers} publishers", bound.all_streams_bytes),
        ("+ each viewer's connection", bound.per_viewer_bytes),
    ]
    # A stream that stays within its times needs far less than its cap.
    usual = loaded.config.limits.log_max_ms / 1000 + 2 * loaded.config.hls.window_s
    return [
        "memory for media",
        *(f"  {name:<38} {size / _MIB:>10.1f} MiB" for name, size in rows),
        f"  a usual stream of 2.65 Mbit/s: about {usual * 2.65 / 8:.0f} MB",
    ]


def _toml(value: Any) -> str:
    """A value as it would stand in the file; secrets masked."""
    match value:
        case Secret():
            return f'"{value}"'
        case bool():
            return str(value).lower()
        case Enum():
            return f'"{value.value}"'
        case str():
            return msgspec.json.encode(value).decode()
        case tuple():
            return f"[{', '.join(map(_toml, value))}]"
        case dict():
            pairs = (f"{_toml(str(name))} = {_toml(one)}" for name, one in value.items())
            return f"{{ {', '.join(pairs)} }}" if value else "{}"
        case msgspec.Struct():
            fields = ", ".join(
                f"{name} = {_toml(getattr(value, name))}" for name in value.__struct_fields__
            )
            return f"{{ {fields} }}"
        case _:
            return str(value)
