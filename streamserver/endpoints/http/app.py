"""The aiohttp application of one listener: routes of its mounts, and what all of them share.

Errors become problem documents (RFC 9457), ``HEAD`` works wherever ``GET`` does, ``OPTIONS``
everywhere, CORS on media mounts; answers carry security headers and no version.
"""

import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus

from aiohttp import web
from aiohttp.typedefs import Middleware

from streamserver.endpoints.http.answers import problem_body
from streamserver.endpoints.http.media import EXPOSED_HEADERS, MEDIA_HEADERS, SERVER
from streamserver.endpoints.http.requests import FastHandler
from streamserver.errors import (
    AccessDeniedError,
    RefusedError,
    RemoteProtocolError,
    UnavailableError,
)

__all__ = ["AppSettings", "InnerHandler", "Mount", "build_app", "problem", "public_path"]

logger = logging.getLogger(__name__)

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

_CORS_PREFLIGHT = (
    (
        "Access-Control-Allow-Headers",
        "Authorization, Content-Type, Idempotency-Key, If-Match, If-None-Match, Last-Event-ID, "
        "Range",
    ),
    # Two hours: as long as any browser honours.
    ("Access-Control-Max-Age", "7200"),
)
_OWN_HEADERS = (
    ("X-Content-Type-Options", "nosniff"),
    ("Referrer-Policy", "same-origin"),
    # Pages bring their own policy; nothing else is a document.
    ("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'"),
)


@dataclass(frozen=True, slots=True)
class Mount:
    """Something that a listener serves."""

    prefix: str
    """The path under which it lives, such as ``/hls/``; the longest prefix that fits wins."""

    routes: Callable[[web.Application], None]
    """Adds its routes, with full paths, to the application."""

    fast: FastHandler | None = None
    """Answers plain ``GET`` requests under the prefix from prebuilt bytes."""

    media: bool = False
    """Whether pages of the origins that may use media may use it (CORS)."""

    origins: tuple[str, ...] = ()
    """Where it is no media: the origins of pages that may use it (CORS); ``*`` is any."""


@dataclass(frozen=True, slots=True)
class AppSettings:
    """What the application of a listener needs to know."""

    max_body_bytes: int = 1024 * 1024
    """The longest request body that is read into memory."""

    media_origins: tuple[str, ...] = ("*",)
    """The origins of pages that may use media (CORS); ``*`` is any."""

    client_address: Callable[[str, Mapping[str, str]], str] | None = None
    """The client's address from the socket's and the headers; None: the socket's, unmapped."""

    is_banned: Callable[[str], bool] | None = None
    """Whether a client's address failed too often lately; None: none ever does."""

    is_trusted_proxy: Callable[[str], bool] | None = None
    """Whether the socket's address may say ``X-Forwarded-Prefix``."""


_BASE_PATH = web.AppKey("base_path", str)
_FORWARDED_PREFIX = web.RequestKey("forwarded_prefix", str)


class InnerHandler(web.RequestHandler):
    """aiohttp's connection handler, with our error pages and without a traceback per bad peer."""

    __slots__ = ()

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """Answers what no handler answered: bytes that are not HTTP, or an escaped exception."""
        if isinstance(exc, ConnectionError):
            raise exc  # the peer has gone, or its answer cannot be mended
        if status >= 500:
            logger.error("a handler failed", exc_info=exc)
        if request.writer.output_size > 0:
            raise ConnectionError("the answer has begun; all that is left is to end it")
        response = problem(status, None if status >= 500 else "The request is not one of HTTP.")
        response.headers["Server"] = SERVER
        response.force_close()
        return response


def build_app(
    mounts: Sequence[Mount], settings: AppSettings, *, base_path: str = ""
) -> web.Application:
    """The application of a listener. ``base_path`` (``/prefix``) stands before every path."""
    app = web.Application(
        middlewares=[_middleware(settings)], client_max_size=settings.max_body_bytes
    )
    inner = app
    if base_path:
        inner = web.Application(client_max_size=settings.max_body_bytes)
    for mount in mounts:
        mount.routes(inner)
    _add_heads(inner)
    if base_path:
        app.add_subapp(base_path, inner)
    app[_BASE_PATH] = base_path
    # The longest prefix decides.
    ordered = sorted(mounts, key=lambda mount: len(mount.prefix), reverse=True)
    table = [(base_path + one.prefix, one) for one in ordered]

    async def add_headers(request: web.Request, response: web.StreamResponse) -> None:
        path = request.path
        mount = next((mount for prefix, mount in table if path.startswith(prefix)), None)
        media = mount is not None and mount.media
        origins = settings.media_origins if media else mount.origins if mount else ()
        headers = response.headers
        for name, value in MEDIA_HEADERS if media else _OWN_HEADERS:
            headers.setdefault(name, value)
        if origins:
            _name_origin(request, response, origins)
        if origins and request.method == "OPTIONS":
            if "Allow" in headers:
                headers.setdefault("Access-Control-Allow-Methods", headers["Allow"])
            for name, value in _CORS_PREFLIGHT:
                headers.setdefault(name, value)
        headers["Server"] = SERVER

    app.on_response_prepare.append(add_headers)
    return app


def _name_origin(
    request: web.Request, response: web.StreamResponse, origins: tuple[str, ...]
) -> None:
    """Opens an answer to the listed origins only (Fetch 3.2.3: the header names one origin)."""
    headers = response.headers
    headers.setdefault("Access-Control-Expose-Headers", EXPOSED_HEADERS)
    if "*" in origins:
        headers["Access-Control-Allow-Origin"] = "*"
        return
    origin = request.headers.get("Origin", "")
    headers.pop("Access-Control-Allow-Origin", None)
    headers.add("Vary", "Origin")
    if origin in origins:
        headers["Access-Control-Allow-Origin"] = origin


def problem(
    status: int, detail: str | None = None, headers: Mapping[str, str] | None = None
) -> web.Response:
    """A problem document as a response."""
    response = web.Response(
        status=status,
        body=problem_body(status, detail),
        headers={"Cache-Control": "no-store", "Content-Type": "application/problem+json"},
    )
    for name, value in (headers or {}).items():
        if name.lower() not in ("content-type", "content-length"):
            response.headers.add(name, value)
    return response


def public_path(request: web.Request, path: str) -> str:
    """A path of ours as the client must ask for it: for redirects, which cannot be relative.

    Before it stand the listener's base path and what a trusted proxy in front has stripped
    (``X-Forwarded-Prefix``).
    """
    in_front: str = request.get(_FORWARDED_PREFIX, "")
    base: str = request.config_dict.get(_BASE_PATH, "")
    return in_front + base + path


def _middleware(settings: AppSettings) -> Middleware:
    @web.middleware
    async def shared(request: web.Request, handler: Handler) -> web.StreamResponse:
        request = _with_client_address(request, settings)
        try:
            if settings.is_banned is not None and settings.is_banned(request.remote or ""):
                raise AccessDeniedError("too many failed tries from this address; try again later")
            return await handler(request)
        except web.HTTPException as error:
            if error.status < 400:
                raise
            return _from_http_exception(request, error, settings)
        except RefusedError as error:
            headers = {"WWW-Authenticate": "Bearer"} if error.http_status == 401 else None
            return _unless_begun(request, error, error.http_status, str(error), headers)
        except UnavailableError as error:  # the storage, most of all
            logger.error("%s %s: %s", request.method, request.path, error)
            detail = "The server cannot keep or read what it needs for this; its log says more."
            return _unless_begun(request, error, 503, detail)
        except RemoteProtocolError as error:
            return _unless_begun(request, error, 400, str(error))
        except ConnectionError:
            raise  # the peer has gone; aiohttp ends the connection
        except TimeoutError as error:
            logger.warning("%s %s took too long", request.method, request.path)
            return _unless_begun(request, error, 504, "The answer took too long.")
        except Exception as error:  # a fault of ours: its peer gets an answer, we get the traceback
            if request.transport is None:
                # aiohttp says RuntimeError to a handler that reads from a peer that has gone.
                logger.debug("%s %s after its peer has gone", request.method, request.path)
                raise ConnectionResetError("the peer has gone") from error
            logger.exception("%s %s failed", request.method, request.path)
            return _unless_begun(
                request, error, 500, "The server made a mistake; its log says more."
            )

    return shared


def _unless_begun(
    request: web.Request,
    error: Exception,
    status: int,
    detail: str | None,
    headers: Mapping[str, str] | None = None,
) -> web.Response:
    """A problem document, or the end of the connection where an answer is under way."""
    if request.writer.output_size > 0:
        raise ConnectionError("the answer has begun; all that is left is to end it") from error
    return problem(status, detail, headers)


def _from_http_exception(
    request: web.Request, error: web.HTTPException, settings: AppSettings
) -> web.Response:
    if isinstance(error, web.HTTPMethodNotAllowed):
        allow = ", ".join(sorted({*error.allowed_methods, "OPTIONS"}))
        if request.method == "OPTIONS":
            return web.Response(status=204, headers={"Allow": allow})
        detail = f"{request.method} does not work here; these do: {allow}."
        return _unless_begun(request, error, 405, detail, {"Allow": allow})
    if isinstance(error, web.HTTPRequestEntityTooLarge):
        detail = f"The body is longer than {settings.max_body_bytes} bytes."
        return _unless_begun(request, error, 413, detail)
    text = error.text or ""
    if error.status == 404 and text == "404: Not Found":
        text = "There is nothing at this address."
    elif text == f"{error.status}: {HTTPStatus(error.status).phrase}":
        text = ""
    return _unless_begun(request, error, error.status, text or None, dict(error.headers))


def _with_client_address(request: web.Request, settings: AppSettings) -> web.Request:
    """``request.remote`` becomes the client's address, whatever stands between."""
    peer = request.remote or ""
    address = peer[7:] if peer.startswith("::ffff:") and "." in peer else peer
    trusted = settings.is_trusted_proxy is not None and settings.is_trusted_proxy(address)
    forwarded = request.headers.get("X-Forwarded-Prefix", "") if trusted else ""
    if settings.client_address is not None:
        address = settings.client_address(address, request.headers)
    if address != peer:
        request = request.clone(remote=address)
    # "//host" would be another server.
    if forwarded.startswith("/") and not forwarded.startswith("//"):
        request[_FORWARDED_PREFIX] = forwarded.rstrip("/")
    return request


def _add_heads(app: web.Application) -> None:
    for resource in app.router.resources():
        if isinstance(resource, web.Resource):
            handlers = {route.method: route.handler for route in resource}
            if "GET" in handlers and "HEAD" not in handlers and "*" not in handlers:
                resource.add_route("HEAD", handlers["GET"])
