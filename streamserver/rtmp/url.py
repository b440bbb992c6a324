"""From what an encoder sends as application, tcUrl and stream key to a stream and its parameters.

Encoders cut ``rtmp://host/app/name?token=x`` at different places, and people paste the pieces
into the wrong fields. Joined again, the path says ``app/name``, or one segment, which means
``{it}/default``; a query may stand behind any piece.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import unquote

from streamserver.errors import InvalidNameError
from streamserver.names import DEFAULT_NAME, RESERVED_APPS, StreamKey

__all__ = ["MAX_PARAMETERS", "StreamTarget", "TcUrl", "query_parameters", "resolve"]

MAX_PARAMETERS: Final = 64
"""Query parameters that a publisher or player may send."""

_VHOST: Final = "...vhost..."
_INSTANCE: Final = "_definst_"
_HOST_KEYS: Final = frozenset({"vhost", "domain"})
_TYPE_PREFIXES: Final = ("mp4:", "flv:", "mp3:")
_QUOTES_AND_SPACE: Final = " \t\r\n'\""
_HOST: Final = re.compile(r"[A-Za-z0-9._:-]{1,253}\Z")
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f]")
_NAME_RULE: Final = "use 1 to 128 of A-Z a-z 0-9 _ - and ., not beginning with a dot"


@dataclass(frozen=True, slots=True)
class TcUrl:
    """What a tcUrl says, read tolerantly: it may be missing, quoted, or hold the whole URL."""

    host: str = ""
    """The host in lower case, without port and brackets; empty when there is none."""

    path: str = ""
    """The path without its leading slash and without query."""

    query: str = field(default="", repr=False)
    """What follows the first ``?`` or ``#``."""

    user: str = field(default="", repr=False)
    """The user name before ``@``, decoded."""

    password: str = field(default="", repr=False)
    """The password before ``@``, decoded."""

    @classmethod
    def parse(cls, text: str) -> "TcUrl":
        """Reads any text; what is not there stays empty."""
        text = text.strip(_QUOTES_AND_SPACE)
        scheme, separator, rest = text.partition("://")
        if not separator:
            rest = scheme
        main, query = _cut_query(rest)
        authority, _, path = main.partition("/")
        userinfo, _, location = authority.rpartition("@")
        user, _, password = userinfo.partition(":")
        if location.startswith("["):
            host = location[1:].partition("]")[0]
        else:
            host = location.partition(":")[0]
        return cls(
            host=host.lower() if _HOST.match(host) else "",
            path=path,
            query=query,
            user=unquote(user),
            password=unquote(password),
        )


@dataclass(frozen=True, slots=True)
class StreamTarget:
    """The stream that somebody wants, and what he says to be let in."""

    app: str
    """The first segment, a valid name."""

    name: str = field(repr=False)
    """The second segment, a valid name; it may be a secret key in the place of one."""

    params: Mapping[str, str] = field(repr=False)
    """Query parameters, decoded; those of the key override those of the app, and these tcUrl's."""


def resolve(app: str, key: str, tc_url: str = "") -> StreamTarget:
    """The stream that ``app`` of connect and ``key`` of publish or play mean together.

    Raises `InvalidNameError`, whose text is for people and repeats nothing that could be secret.
    """
    url = TcUrl.parse(tc_url)
    app_path, app_query = _cut_query(_vhost_to_query(app.strip(_QUOTES_AND_SPACE)))
    key_path, key_query = _cut_query(_vhost_to_query(key.strip(_QUOTES_AND_SPACE)))
    params = query_parameters(url.query)
    app_params = query_parameters(app_query)
    # `app?vhost=v/name`: no host holds a slash, so the name was swallowed by the query.
    for host_key in _HOST_KEYS & app_params.keys():
        app_params[host_key], _, more = app_params[host_key].partition("/")
        key_path = f"{more}/{key_path}"
    params.update(app_params)
    params.update(query_parameters(key_query))
    if len(params) > MAX_PARAMETERS:
        raise InvalidNameError(f"the URL has more than {MAX_PARAMETERS} parameters")
    if any(_CONTROL.search(text) for pair in params.items() for text in pair):
        raise InvalidNameError("the parameters of the URL hold control characters")
    # A connect without app leaves only its tcUrl to tell.
    segments = [*_segments(app_path or url.path), *_segments(key_path)]
    return _target(segments, params)


def _target(segments: list[str], params: Mapping[str, str]) -> StreamTarget:
    if not segments:
        raise InvalidNameError(
            "the URL names no stream: the server is rtmp://host/{app}, the stream key {name}"
        )
    if len(segments) > 2:
        raise InvalidNameError(
            "the URL has more than two segments: a stream is {app}/{name}, so the server is "
            "rtmp://host/{app} and the stream key {name}"
        )
    app = segments[0]
    name = segments[1] if len(segments) == 2 else DEFAULT_NAME
    for prefix in _TYPE_PREFIXES:
        # ffmpeg writes `mp4:` before a name that ends so.
        name = name.removeprefix(prefix)
    if app in RESERVED_APPS:
        raise InvalidNameError(f"{app!r} is a word of this server and names no app")
    for what, stream in (("app", (app, DEFAULT_NAME)), ("stream name", ("live", name))):
        try:
            StreamKey(*stream)
        except InvalidNameError:
            # Its own text repeats the segment, which may be a secret key.
            raise InvalidNameError(f"the {what} is not valid: {_NAME_RULE}") from None
    return StreamTarget(app, name, params)


def _segments(path: str) -> list[str]:
    # `_definst_` is the name of the only instance of an application in Adobe's and Wowza's URLs.
    return [part for part in path.split("/") if part and part != _INSTANCE]


def _cut_query(text: str) -> tuple[str, str]:
    """Path and query, cut at the first ``?`` or ``#``."""
    match = re.search(r"[?#]", text)
    return (text[: match.start()], text[match.end() :]) if match else (text, "")


def _vhost_to_query(text: str) -> str:
    """``app...vhost...v?a=b`` is how FMLE writes ``app?vhost=v&a=b``."""
    head, found, tail = text.partition(_VHOST)
    if not found:
        return text
    host, mark, query = tail.partition("?")
    return f"{head}{'&' if '?' in head else '?'}vhost={host}{'&' if mark else ''}{query}"


def query_parameters(query: str) -> dict[str, str]:
    """Parameters, percent-decoded. ``+`` stays: tokens in base64 are full of it."""
    params: dict[str, str] = {}
    for pair in query.split("&", MAX_PARAMETERS + 1):
        key, _, value = pair.partition("=")
        if key:
            params[unquote(key)] = unquote(value)
    return params
