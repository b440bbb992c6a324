"""Who may call what: the question that the API asks, and the checks that need no credential."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final, Protocol

from aiohttp import hdrs, web

from streamserver.api.problems import CrossSiteError, UnauthenticatedError
from streamserver.auth import HttpCredentials, parse_authorization
from streamserver.names import StreamKey

__all__ = [
    "Access",
    "ApiRequest",
    "Authorizer",
    "Grant",
    "challenge",
    "check_same_site",
    "read_credentials",
]


class Access(StrEnum):
    """What a route asks of its caller."""

    PUBLIC = "public"
    """Nothing: probes."""

    READ = "read"
    """The action ``api``, reading: open from loopback, a token from elsewhere."""

    WRITE = "write"
    """The action ``api``, writing: always a token."""

    METRICS = "metrics"
    """The action ``metrics``, reading."""

    VIEWER_COUNT = "viewer_count"
    """As `READ`, unless ``http.public_viewer_count`` opens it to everyone."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiRequest:
    """What an authorizer decides about."""

    action: str
    """``api`` or ``metrics``."""

    write: bool
    """Whether something would change."""

    manage: bool = False
    """Whether it would change only what belongs to the stream."""

    method: str
    """``GET``, ``POST``..."""

    path: str
    """Path as the caller wrote it, without query."""

    stream: StreamKey | None
    """The stream that the path names."""

    remote_ip: str
    """The client's address, as the application knows it (``request.remote``)."""

    headers: Mapping[str, str] = field(repr=False)
    """Request headers; names in any case."""

    credentials: HttpCredentials = field(repr=False)
    """From the ``Authorization`` header; all None when there is none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Grant:
    """Why a request is served, for an answer that goes on."""

    expires_s: int | None = None
    """Unix time until which it holds; None: for ever."""

    credential: str = ""
    """The tag of the credential; when that is taken back, the answer ends. Empty: none."""


class Authorizer(Protocol):
    """Decides whether a request may be served."""

    async def authorize(self, request: ApiRequest) -> Grant:
        """Returns if so.

        Raises `UnauthenticatedError` (401) for a missing or invalid credential, and any other
        `AccessDeniedError` (403; 401 without a credential) for a valid one that does not allow it.
        """


_SAME_SITE: Final = frozenset({"same-origin", "none"})


def check_same_site(request: web.Request, origins: Collection[str] = ()) -> None:
    """Refuses writes that a page of somebody else makes a browser send, unless its origin is one
    of ``origins`` (or they hold ``*``).

    W3C Fetch Metadata, section 2.3: browsers tell in Sec-Fetch-Site; other programs do not send
    it. ``same-site`` is refused, too: another port of the same host is another program.
    """
    site = request.headers.get("Sec-Fetch-Site")
    if "*" in origins or request.headers.get(hdrs.ORIGIN) in origins:
        return
    if site is not None and site not in _SAME_SITE:
        raise CrossSiteError("a page of another site may not change anything here")


def read_credentials(request: web.Request) -> HttpCredentials:
    """The credential of a request, Bearer (RFC 6750) or the password of Basic (RFC 7617).

    Something else in its place is a wrong credential, never none: `UnauthenticatedError`.
    """
    values = request.headers.getall(hdrs.AUTHORIZATION, [])
    credentials = parse_authorization(values[0] if len(values) == 1 else None)
    if values and credentials.token is None and credentials.password is None:
        raise UnauthenticatedError("send one header: Authorization: Bearer <token>")
    return credentials


def challenge(*, presented: bool) -> dict[str, str]:
    """The header of a 401 (RFC 6750, section 3): an error only where a token was presented."""
    error = ', error="invalid_token"' if presented else ""
    return {hdrs.WWW_AUTHENTICATE: f'Bearer realm="streamserver"{error}'}
