"""Where our client goes: from the URL that a person pasted to host, application and stream key.

What follows the application is sent as it stands. Platforms put ``?`` and ``&`` into their keys
(Facebook: ``FB-1-2?s_bl=1&s_psm=1``), so a key is never cut, decoded or put together again.
"""

import re
from dataclasses import dataclass, replace
from ipaddress import AddressValueError, IPv6Address
from typing import Final
from urllib.parse import unquote

from streamserver.errors import RefusedError

__all__ = ["InvalidTargetError", "PublishTarget", "mask_key", "parse_target"]

_PORTS: Final = {"rtmp": 1935, "rtmps": 443}
_QUOTES_AND_SPACE: Final = " \t\r\n'\""
_UNSENDABLE: Final = re.compile(r"[\x00-\x20\x7f]")
_SCHEME: Final = re.compile(r"[a-z]{1,5}\Z")
"""Schemes that an error may repeat; anything longer could be a key."""
_HOST: Final = re.compile(r"[a-z0-9_]([a-z0-9._-]{0,251}[a-z0-9_.])?\Z")
_LONGEST_URL: Final = 4096
_SHOWN: Final = 4
"""Characters of a key that may be seen, so that people tell two of them apart."""
_SHORTEST_SECRET: Final = 4
"""Shorter texts hide nothing, and would be found in every sentence."""
_MASK: Final = "****"


class InvalidTargetError(RefusedError):
    """The text is no URL that our client can go to. Says what to write, repeats no secret."""

    http_status = 400


@dataclass(frozen=True, slots=True, repr=False)
class PublishTarget:
    """One far side, and the stream there. Shown masked, so that it may be logged."""

    host: str
    """A name or an address, lower case, IPv6 without brackets; to be resolved anew each time."""

    port: int
    """1935 or, for RTMPS, 443 where the URL names none."""

    tls: bool
    """Whether it is RTMPS."""

    app: str
    """The application, one or two segments (Wowza: ``app/_definst_``), perhaps with a query."""

    key: str
    """The stream key as it stands in the URL, its query included."""

    user: str = ""
    """The user name for `auth_schemes`; empty when there is none."""

    password: str = ""
    """The password that goes with it."""

    @property
    def tc_url(self) -> str:
        """The URL of the application: no key, no credentials, no default port."""
        return f"{self._origin()}/{self.app}"

    def masked(self) -> str:
        """The URL for people: host and application, and at most four characters of the key."""
        app, mark, _ = self.app.partition("?")
        return f"{self._origin()}/{app}{mark and '?' + _MASK}/{mask_key(self.key)}"

    def hide(self, text: str) -> str:
        """A text of the far side without what must not be seen: some servers repeat the key."""
        for secret in self._secrets():
            shown = mask_key(secret) if self.key.startswith(secret) else _MASK
            text = text.replace(secret, shown)
        return text

    def follow(self, url: str) -> "PublishTarget":
        """Where a redirect leads: a tcUrl, absolute or relative to ours, or "" for the same.

        The key stays. Raises `InvalidTargetError`, also where it would leave TLS: the key would
        then travel in the clear.
        """
        url = url.strip(_QUOTES_AND_SPACE)
        if not url:
            return self
        if "://" not in url:
            return self._relative(url)
        there = parse_target(url, self.key)
        if self.tls and not there.tls:
            raise InvalidTargetError("a redirect from RTMPS to RTMP is not followed")
        return replace(there, user=self.user, password=self.password)

    def __repr__(self) -> str:
        return f"PublishTarget({self.masked()!r})"

    def _origin(self) -> str:
        scheme = "rtmps" if self.tls else "rtmp"
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{scheme}://{host}" + ("" if self.port == _PORTS[scheme] else f":{self.port}")

    def _relative(self, url: str) -> "PublishTarget":
        # RFC 3986 5.2.2: beside our last segment, unless it begins at the root.
        if url.startswith("//"):
            return self.follow(f"rtmp{'s' if self.tls else ''}:{url}")
        base = "" if url.startswith("/") else self.app.partition("?")[0].rpartition("/")[0]
        app = f"{base}/{url.strip('/')}".strip("/")
        if not app or _UNSENDABLE.search(app) or ".." in app.split("/"):
            raise InvalidTargetError("a redirect leads to no application")
        return replace(self, app=app)

    def _secrets(self) -> list[str]:
        found = {self.password, self.key, self.key.partition("?")[0]}
        for text in (self.app, self.key):
            query = text.partition("?")[2]
            found |= {query, *(pair.partition("=")[2] for pair in query.split("&"))}
        # The longest first: it may hold the others.
        return sorted((s for s in found if len(s) >= _SHORTEST_SECRET), key=len, reverse=True)


def mask_key(key: str) -> str:
    """At most four characters of a key, and at most a quarter of it."""
    secret = key.partition("?")[0]
    return secret[: min(_SHOWN, len(secret) // 4)] + _MASK


def parse_target(url: str, key: str | None = None) -> PublishTarget:
    """Reads ``rtmp[s]://[user:password@]host[:port]/app/key``, or the same without key and ``key``.

    In one string, the first segment is the application, or the first two where three are given
    (as in ffmpeg); all that follows is the key. With ``key`` apart, as in the two fields of OBS,
    the whole path is the application. Raises `InvalidTargetError`.
    """
    text = url.strip(_QUOTES_AND_SPACE)
    if len(text) + len(key or "") > _LONGEST_URL:
        raise InvalidTargetError(f"the URL is longer than {_LONGEST_URL} characters")
    if _UNSENDABLE.search(text):
        raise InvalidTargetError("the URL holds a space or a control character; write it as %20")
    scheme, rest = _cut_scheme(text)
    end = min(at for at in (rest.find("/"), rest.find("?"), len(rest)) if at >= 0)
    userinfo, _, location = rest[:end].rpartition("@")
    user, _, password = userinfo.partition(":")
    host, port = _read_location(location, _PORTS[scheme])
    app, found_key = _cut_path(rest[end:]) if key is None else (rest[end:].strip("/"), key.strip())
    _check(app, found_key)
    return PublishTarget(
        host=host,
        port=port,
        tls=scheme == "rtmps",
        app=app,
        key=found_key,
        user=unquote(user),
        password=unquote(password),
    )


def _cut_scheme(text: str) -> tuple[str, str]:
    scheme, separator, rest = text.partition("://")
    scheme = scheme.lower()
    if separator and scheme in _PORTS:
        return scheme, rest
    if separator and scheme in ("rtmpe", "rtmpt", "rtmpte", "rtmpts", "rtmfp"):
        raise InvalidTargetError(f"{scheme}:// is not spoken here; use rtmp:// or rtmps://")
    if separator and _SCHEME.match(scheme):
        raise InvalidTargetError(f"{scheme}:// is no RTMP URL; use rtmp:// or rtmps://")
    raise InvalidTargetError("the URL has to begin with rtmp:// or rtmps://")


def _read_location(location: str, default_port: int) -> tuple[str, int]:
    host, colon, port = location.rpartition(":")
    if location.startswith("["):
        host, bracket, after = location[1:].partition("]")
        colon, port = after[:1], after[1:]
        if colon not in ("", ":"):
            raise InvalidTargetError("behind the ] of an address stands nothing or a :port")
        try:
            # A zone (%eth0) would be a name of this machine in a tcUrl.
            host = str(IPv6Address(host if bracket and "%" not in host else ""))
        except AddressValueError:
            raise InvalidTargetError("what stands in [ ] is no IPv6 address") from None
    elif not colon:
        host = location
    elif ":" in host:
        raise InvalidTargetError("an IPv6 address is written in brackets: rtmp://[::1]/app/key")
    host = host.lower()
    if not host:
        raise InvalidTargetError("the URL names no host: rtmp://host/app/key")
    if ":" not in host and not _HOST.match(host):
        raise InvalidTargetError(
            "the host of the URL is no host name; one with letters beyond a to z is written in "
            "its ASCII form (xn--…)"
        )
    if not colon:
        return host, default_port
    if not (port.isascii() and port.isdigit() and len(port) < 6 and 0 < int(port) < 2**16):
        raise InvalidTargetError("the port of the URL is no number from 1 to 65535")
    return host, int(port)


def _cut_path(path: str) -> tuple[str, str]:
    """Application and key; either is empty when it is not there."""
    main, mark, query = path.partition("?")
    segments = [segment for segment in main.split("/") if segment]
    if len(segments) > 1:
        count = 2 if len(segments) > 2 else 1
        return "/".join(segments[:count]), "/".join(segments[count:]) + mark + query
    app = segments[0] if segments else ""
    # `live2?backup=1/key`: the query is the application's, as OBS sends it.
    app_query, _, key = query.partition("/")
    return (f"{app}?{app_query}" if app_query else app), key


def _check(app: str, key: str) -> None:
    if not app or app.startswith("?"):
        raise InvalidTargetError("the URL names no application: rtmp://host/app/key")
    if not key:
        raise InvalidTargetError(
            "the URL has no stream key: write it behind the application, rtmp://host/app/key"
        )
    if _UNSENDABLE.search(key):
        raise InvalidTargetError("the stream key holds a space or a control character")
