"""What must hold within ``[auth]`` beyond the types of its keys."""

import re
from collections.abc import Iterator
from ipaddress import ip_network
from typing import Final
from urllib.parse import urlsplit

from streamserver.config.auth_model import (
    HookAction,
    HookConfig,
    HookStyle,
    KeyAction,
    KeyConfig,
)
from streamserver.config.model import (
    Config,
)
from streamserver.config.toml_lines import KeyPath

__all__ = ["access_rules"]

_PATTERN: Final = re.compile(r"[A-Za-z0-9._*-]{1,128}\Z")
_HEADER: Final = re.compile(r"[A-Za-z0-9-]{1,64}\Z")
_MIN_KEY: Final = 8
_MIN_TOKEN: Final = 16
_MIN_JWT_SECRET: Final = 32
"""RFC 7518, section 3.2: a key at least as long as the hash; 32 bytes for HS256."""

_PROTOCOLS: Final = ("rtmp", "hls", "flv", "whip", "whep", "http")
_OF_STYLE: Final = {
    HookStyle.NGINX_RTMP: frozenset(HookAction) - {HookAction.API, HookAction.METRICS},
    HookStyle.SRS: frozenset(HookAction) - {HookAction.API, HookAction.METRICS, HookAction.UPDATE},
}
_ASKED: Final = frozenset({HookAction.PUBLISH, HookAction.PLAY, HookAction.API, HookAction.METRICS})


def access_rules(config: Config) -> Iterator[tuple[KeyPath, str]]:
    """Every key of ``[auth]`` that breaks a rule, with a sentence for people."""
    auth = config.auth
    token = auth.api_token.reveal()
    if token and len(token) < _MIN_TOKEN:
        yield ("auth", "api_token"), f"is shorter than {_MIN_TOKEN} characters"
    for index, key in enumerate(auth.keys):
        yield from _key(("auth", "keys", index), key)
    for index, hook in enumerate(auth.hooks):
        yield from _hook(("auth", "hooks", index), hook)
    if len(set(auth.order)) != len(auth.order):
        yield ("auth", "order"), "names a decider twice"
    yield from _jwt(config)
    if config.rtmp.adobe_auth and not any(map(_is_password, auth.keys)):
        yield (
            ("rtmp", "adobe_auth"),
            "needs a key in auth.keys that publishes and is no hash: it is the password",
        )


def _is_password(key: KeyConfig) -> bool:
    text = key.key.reveal()
    plain = bool(text) and not text.startswith(("sha256:", "scrypt:"))
    return plain and KeyAction.PUBLISH in key.actions


def _key(path: KeyPath, key: KeyConfig) -> Iterator[tuple[KeyPath, str]]:
    text = key.key.reveal()
    if not text:
        if not key.ips:
            yield (*path, "key"), "is empty: give a key, or the addresses (ips) that need none"
    elif len(text) < _MIN_KEY:
        yield (*path, "key"), f"is shorter than {_MIN_KEY} characters"
    elif text.startswith(("sha256:", "scrypt:")) and not _is_hash(text):
        yield (
            (*path, "key"),
            "is no hash that this server reads: sha256:<64 hex digits> or scrypt:…",
        )
    for field, pattern in (("app", key.app), ("name", key.name)):
        if not _PATTERN.match(pattern):
            yield (*path, field), "is no name, and no name with * in it"
    if not key.actions:
        yield (*path, "actions"), "allows nothing: list publish, play, api or metrics"
    for index, text in enumerate(key.ips):
        try:
            ip_network(text)
        except ValueError as error:
            yield (*path, "ips", index), f"is no address or network: {error}"


def _is_hash(text: str) -> bool:
    """``sha256:hex``, or ``scrypt:log2(n):r:p:salt:hash`` within bounds of memory and time."""
    if text.startswith("sha256:"):
        return re.fullmatch(r"sha256:[0-9a-fA-F]{64}", text) is not None
    found = re.fullmatch(
        r"scrypt:(\d{1,2}):(\d{1,2}):(\d{1,2}):(?:[0-9a-fA-F]{2}){8,64}:[0-9a-fA-F]{64}", text
    )
    if found is None:
        return False
    log_n, r, p = (int(group) for group in found.groups())
    # 128 * n * r bytes are needed to check one credential.
    return 1 <= log_n <= 17 and 1 <= r <= 16 and 1 <= p <= 4 and 128 * (1 << log_n) * r <= 1 << 26


def _hook(path: KeyPath, hook: HookConfig) -> Iterator[tuple[KeyPath, str]]:
    fault = _url_fault(hook.url.reveal())
    if fault:
        yield (*path, "url"), fault
    if not hook.actions:
        yield (*path, "actions"), "is empty: the hook would never be called"
    can = _OF_STYLE.get(hook.style, _ASKED)
    for index, action in enumerate(hook.actions):
        if action not in can:
            yield (*path, "actions", index), f"is nothing that the style {hook.style.value} tells"
    for index, protocol in enumerate(hook.protocols):
        if protocol not in _PROTOCOLS:
            yield (*path, "protocols", index), f"expected one of {', '.join(_PROTOCOLS)}"
    for index, header in enumerate(hook.forward_headers):
        if not _HEADER.match(header):
            yield (*path, "forward_headers", index), "is no name of a header"


def _jwt(config: Config) -> Iterator[tuple[KeyPath, str]]:
    jwt = config.auth.jwt
    secret = jwt.secret.reveal()
    if secret and jwt.secret_file:
        yield ("auth", "jwt", "secret_file"), "and auth.jwt.secret are both set"
    if secret and len(secret) < _MIN_JWT_SECRET:
        yield ("auth", "jwt", "secret"), f"is shorter than {_MIN_JWT_SECRET} characters"
    if jwt.public_key_file and jwt.jwks_url:
        yield ("auth", "jwt", "public_key_file"), "and auth.jwt.jwks_url are both set"
    if jwt.jwks_url:
        fault = _url_fault(jwt.jwks_url)
        if fault:
            yield ("auth", "jwt", "jwks_url"), fault


def _url_fault(url: str) -> str | None:
    """What is wrong with an address to call, without repeating it: it may hold a secret."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return "is no URL"
    if parts.scheme not in ("http", "https"):
        return "begins with neither http:// nor https://"
    if not parts.hostname or port == 0 or not url.isascii() or re.search(r"[\s\x00-\x1f]", url):
        return "is no URL"
    return None
