"""What must hold between keys, or within one beyond its type."""

import re
import shutil
from collections.abc import Iterator
from ipaddress import ip_network
from typing import Final
from urllib.parse import urlsplit

from streamserver.config.access_rules import access_rules
from streamserver.config.memory import memory_bound
from streamserver.config.model import Config
from streamserver.config.toml_lines import KeyPath
from streamserver.errors import InvalidNameError
from streamserver.names import StreamKey

__all__ = ["broken_rules"]

_SOURCE_SCHEMES: Final = ("rtmp", "rtmps", "http", "https", "rtsp", "rtsps", "srt")
_ADDRESS: Final = re.compile(r"[A-Za-z0-9._:-]{1,253}\Z")
_ICE_URL: Final = re.compile(
    r"(stuns?:[A-Za-z0-9.\[\]:_-]+|turns?:[A-Za-z0-9.\[\]:_-]+(\?transport=(udp|tcp))?)\Z"
)
_USER: Final = re.compile(r"[!#-\[\]-~ ]{0,256}\Z")
_MIN_SECRET: Final = 16


def broken_rules(config: Config) -> Iterator[tuple[KeyPath, str]]:
    """Every key that breaks a rule, with a sentence for people."""
    yield from _certificates(config)
    yield from _proxies(config)
    yield from _names(config)
    yield from access_rules(config)
    yield from _media(config)
    yield from _destinations(config)
    yield from _webhooks(config)
    yield from _streams(config)
    yield from _webrtc(config)
    yield from _ports(config)


def _certificates(config: Config) -> Iterator[tuple[KeyPath, str]]:
    for section, cert, key in (
        ("http", config.http.cert_file, config.http.key_file),
        ("rtmp", config.rtmp.cert_file, config.rtmp.key_file),
    ):
        if cert and not key:
            yield (section, "cert_file"), f"needs {section}.key_file too"
        if key and not cert:
            yield (section, "key_file"), f"needs {section}.cert_file too"


def _proxies(config: Config) -> Iterator[tuple[KeyPath, str]]:
    for index, text in enumerate(config.http.trusted_proxies):
        try:
            ip_network(text)
        except ValueError as error:
            yield ("http", "trusted_proxies", index), f"is no address or network: {error}"
    if config.rtmp.proxy_protocol and not config.http.trusted_proxies:
        # Believing a header from anyone would let anyone claim to be on loopback.
        yield ("rtmp", "proxy_protocol"), "needs the proxies listed in http.trusted_proxies"
    for section, origins in (("http", config.http), ("api", config.api)):
        for index, origin in enumerate(origins.cors_origins):
            parts = urlsplit(origin)
            is_origin = parts.scheme in ("http", "https") and parts.netloc and not parts.path
            if origin != "*" and not is_origin:
                yield (section, "cors_origins", index), "is no origin such as https://example.org"


def _names(config: Config) -> Iterator[tuple[KeyPath, str]]:
    for index, app in enumerate(config.server.apps):
        try:
            StreamKey(app, "default")
        except InvalidNameError as error:
            yield ("server", "apps", index), str(error)


def _media(config: Config) -> Iterator[tuple[KeyPath, str]]:
    hls, limits = config.hls, config.limits
    if hls.target_duration_s and hls.target_duration_s < hls.segment_s:
        yield ("hls", "target_duration_s"), "is shorter than hls.segment_s"
    if hls.window_s < 3 * hls.segment_s:
        # RFC 8216 6.2.2: a live playlist shorter than three target durations breaks players.
        yield ("hls", "window_s"), "is shorter than three segments (3 x hls.segment_s)"
    if memory_bound(config).cmaf_log_bytes < limits.max_message_bytes:
        yield (
            ("limits", "max_stream_memory_bytes"),
            "leaves the cmaf log less than one message: it must be at least "
            "4 x limits.log_max_bytes + 4 x limits.max_message_bytes",
        )
    if limits.log_max_bytes < limits.max_message_bytes:
        yield ("limits", "log_max_bytes"), "is smaller than limits.max_message_bytes"


def _destinations(config: Config) -> Iterator[tuple[KeyPath, str]]:
    seen: set[tuple[str, str]] = set()
    for index, one in enumerate(config.destinations):
        path: KeyPath = ("destinations", index)
        url = one.url.reveal()
        try:
            StreamKey.parse(one.stream)
        except InvalidNameError as error:
            yield (*path, "stream"), str(error)
        if not url.lower().startswith(("rtmp://", "rtmps://")):
            yield (*path, "url"), "begins with neither rtmp:// nor rtmps://"
        if (one.stream, url) in seen:
            yield (*path, "url"), "is a destination of this stream already"
        seen.add((one.stream, url))


def _webhooks(config: Config) -> Iterator[tuple[KeyPath, str]]:
    seen: set[str] = set()
    for index, one in enumerate(config.webhooks):
        path: KeyPath = ("webhooks", index)
        url = one.url.reveal()
        if not url.lower().startswith(("http://", "https://")):
            yield (*path, "url"), "begins with neither http:// nor https://"
        if url in seen:
            yield (*path, "url"), "is a webhook already"
        seen.add(url)
        if one.secret and len(one.secret.reveal()) < _MIN_SECRET:
            yield (*path, "secret"), f"is shorter than {_MIN_SECRET} characters"
        # Their words are checked where they are known, when the server starts.
        for key in ("events", "streams"):
            if not getattr(one, key):
                yield (*path, key), 'lists nothing; everything is ["*"]'


def _streams(config: Config) -> Iterator[tuple[KeyPath, str]]:
    for name, stream in config.streams.items():
        path: KeyPath = ("streams", name)
        app, _, rest = name.partition("/")
        try:
            StreamKey.parse(name if rest != "*" else app)
        except InvalidNameError as error:
            yield path, str(error)
        if not stream.source.reveal():
            if not stream.slate:
                yield (*path, "source"), "is missing, and so is a slate"
            continue
        if rest == "*":
            yield (*path, "source"), "is for one stream, not for all of an app"
        scheme = stream.source.reveal().partition("://")[0].lower()
        if scheme == "srt" and shutil.which("ffmpeg") is None:
            # PyAV's wheels are built without it.
            yield (
                (*path, "source"),
                "SRT is read by an ffmpeg command, and none is installed (Debian: apt install "
                "ffmpeg)",
            )
        elif scheme not in _SOURCE_SCHEMES:
            yield (*path, "source"), f"begins with none of {', '.join(_SOURCE_SCHEMES)}"


def _webrtc(config: Config) -> Iterator[tuple[KeyPath, str]]:
    if not config.webrtc.public_addresses:
        yield ("webrtc", "public_addresses"), 'lists nothing; the addresses of this host: ["auto"]'
    for index, address in enumerate(config.webrtc.public_addresses):
        if not _ADDRESS.match(address):
            yield ("webrtc", "public_addresses", index), "is no address or host name, nor auto"
    for index, server in enumerate(config.webrtc.ice_servers):
        path: KeyPath = ("webrtc", "ice_servers", index)
        if not server.urls:
            yield (*path, "urls"), "lists nothing"
        for url in server.urls:
            if not _ICE_URL.match(url):
                yield (
                    (*path, "urls"),
                    "holds what is no stun:, turn: or turns: URL (RFC 7064, 7065)",
                )
        relays = any(url.startswith("turn") for url in server.urls)
        if server.credential and server.secret:
            yield (*path, "secret"), "stands beside a credential; one of them is enough"
        elif relays and not (server.secret or (server.username and server.credential)):
            yield path, "is a TURN server and needs username and credential, or secret"
        # It travels in a quoted header field, and in a STUN attribute.
        if not _USER.match(server.username) or not _USER.match(server.credential.reveal()):
            yield (*path, "username"), "holds quotes or control characters, or the credential does"


def _ports(config: Config) -> Iterator[tuple[KeyPath, str]]:
    rtmp, http = config.rtmp, config.http
    taken: list[tuple[str, int, str]] = []
    for section, key, host, port, opened in (
        ("rtmp", "port", rtmp.host, rtmp.port, True),
        ("rtmp", "tls_port", rtmp.host, rtmp.tls_port, bool(rtmp.cert_file)),
        ("http", "port", http.host, http.port, True),
        ("http", "https_port", http.host, http.https_port, bool(http.cert_file)),
        ("webrtc", "port", config.webrtc.host, config.webrtc.port, config.webrtc.enabled),
    ):
        if not port or not opened:
            continue
        for other_host, other_port, other in taken:
            if port == other_port and (host == other_host or not host or not other_host):
                yield (section, key), f"is the port of {other} too"
        taken.append((host, port, f"{section}.{key}"))
