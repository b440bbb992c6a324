"""Puts the table of routes into an aiohttp application."""

import logging
from collections import defaultdict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Final

import msgspec
from aiohttp import hdrs, web

from streamserver.api.access import (
    Access,
    ApiRequest,
    Authorizer,
    Grant,
    challenge,
    check_same_site,
    read_credentials,
)
from streamserver.api.calls import (
    Call,
    check_no_body,
    parse_body,
    parse_query,
    parse_stream,
    queried_stream,
)
from streamserver.api.handlers import Services
from streamserver.api.idempotency import REPLAYED_HEADER, key_of
from streamserver.api.problems import MethodNotAllowedError, problem_response
from streamserver.api.route import Route
from streamserver.api.routes import ROUTES
from streamserver.api.streamed import Streamed
from streamserver.errors import AccessDeniedError, NotFoundError, RefusedError
from streamserver.names import StreamKey
from streamserver.storage import StorageError

__all__ = ["Api", "ApiSettings"]

_NO_STORE: Final = {hdrs.CACHE_CONTROL: "no-store"}

logger = logging.getLogger(__name__)

AioHandler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass(frozen=True, slots=True)
class ApiSettings:
    """What the configuration says about the API."""

    body_timeout_s: float = 10
    """Within this time a request's body is there."""

    cors_origins: tuple[str, ...] = ()
    """The origins of pages that may call it; ``*`` is any. They bring a token as anybody does."""


class Api:
    """The API of a server; any number of listeners can mount it.

    Refusals and failures of the storage become problem documents here, so that the API is whole in
    any application. What is a bug (any other exception) is left to the application.
    """

    def __init__(self, services: Services, authorizer: Authorizer, settings: ApiSettings) -> None:
        self._services = services
        self._authorizer = authorizer
        self._settings = settings

    @property
    def origins(self) -> tuple[str, ...]:
        """The origins of pages that may call it; whoever mounts it sends the headers (CORS)."""
        return self._settings.cors_origins

    def register(self, app: web.Application, base: str = "") -> None:
        """Adds the routes below a base path: empty, or ``/prefix`` without a slash at its end."""
        by_path: dict[str, list[Route[Any]]] = defaultdict(list)
        for route in ROUTES:
            by_path[route.path].append(route)
        for path, routes in by_path.items():
            resource = app.router.add_resource(base + path)
            for route in routes:
                resource.add_route(route.method, self._door(route))
                if route.method == hdrs.METH_GET:
                    resource.add_route(hdrs.METH_HEAD, self._door(route))
            resource.add_route(hdrs.METH_ANY, _other_methods(routes))
        app.router.add_route(hdrs.METH_ANY, base + "/api/{rest:.*}", _no_such_path)

    def _door(self, route: Route[Any]) -> AioHandler:
        async def answer(request: web.Request) -> web.StreamResponse:
            try:
                return await self._answer(route, request)
            except RefusedError as error:
                return _refusal(error, request)
            except StorageError as error:
                logger.error("%s %s: %s", request.method, request.path, error)
                return problem_response(
                    503, f"the server cannot keep or read what it needs for this: {error}"
                )

        return answer

    async def _answer(self, route: Route[Any], request: web.Request) -> web.StreamResponse:
        key = parse_stream(request.match_info)
        if key is None and route.asks_by_stream:
            key = queried_stream(request)
        if route.is_write:
            check_same_site(request, self._settings.cors_origins)
        grant = await self._authorize(route, request, key)
        # Only now: what a stranger sends is not even looked at.
        query = route.query() if route.lenient else parse_query(request, route.query)
        body = None
        if route.body is not None:
            body = await parse_body(request, route.body, self._settings.body_timeout_s)
        elif route.is_write:
            await check_no_body(request, self._settings.body_timeout_s)
        path = request.match_info
        call = Call(
            query=query,
            id=path.get("id", ""),
            pattern=(path.get("app", ""), path.get("scope", "")),
            key=key,
            body=body,
        )
        replay_key = key_of(request) if route.replays else None
        if replay_key is not None:
            return await self._replayable(route, request, call, replay_key)
        answer = await route.handler(self._services, call)
        if isinstance(answer, Streamed):
            return await answer.serve(request, grant)
        return _render(route, answer)

    async def _replayable(
        self, route: Route[Any], request: web.Request, call: Call[Any], key: str
    ) -> web.Response:
        async def make() -> bytes:
            return msgspec.json.encode(await route.handler(self._services, call))

        asked = msgspec.json.encode(call.body)
        body, again = await self._services.idempotency.answer(request, key, asked, make)
        response = _render(route, body)
        if again:
            response.headers[REPLAYED_HEADER] = "true"
        return response

    async def _authorize(
        self, route: Route[Any], request: web.Request, key: StreamKey | None
    ) -> Grant:
        if route.access is Access.PUBLIC:
            return Grant()
        if route.access is Access.VIEWER_COUNT and self._services.settings.counts_publicly(key):
            return Grant()
        return await self._authorizer.authorize(
            ApiRequest(
                action="metrics" if route.access is Access.METRICS else "api",
                write=route.is_write,
                manage=route.manage,
                method=request.method,
                path=request.rel_url.raw_path,
                stream=key,
                remote_ip=request.remote or "",
                headers=request.headers,
                credentials=read_credentials(request),
            )
        )


def _render(route: Route[Any], answer: msgspec.Struct | bytes | None) -> web.Response:
    if answer is None:
        return web.Response(status=204, headers=_NO_STORE)
    body = answer if isinstance(answer, bytes) else msgspec.json.encode(answer)
    # As a header, because the metrics' type carries parameters.
    headers = {**_NO_STORE, hdrs.CONTENT_TYPE: route.content_type}
    return web.Response(status=route.status, body=body, headers=headers)


def _refusal(error: RefusedError, request: web.Request) -> web.Response:
    """The problem document of a refusal.

    RFC 9110, section 15.5.2: 401 says that a credential is missing or not valid, and how to give
    one; with a valid one that does not suffice it is 403.
    """
    presented = hdrs.AUTHORIZATION in request.headers
    status = error.http_status
    if isinstance(error, AccessDeniedError) and not presented:
        status = 401
    headers = challenge(presented=presented) if status == 401 else {}
    if isinstance(error, MethodNotAllowedError):
        headers = {hdrs.ALLOW: ", ".join(error.allowed)}
    response = problem_response(status, str(error), headers)
    if status in (408, 413):
        # The rest of the body is not waited for (RFC 9110, sections 15.5.9 and 15.5.14).
        response.force_close()
    return response


def _other_methods(routes: list[Route[Any]]) -> AioHandler:
    allowed = [route.method for route in routes]
    if hdrs.METH_GET in allowed:
        allowed.append(hdrs.METH_HEAD)
    allowed.append(hdrs.METH_OPTIONS)

    async def answer(request: web.Request) -> web.Response:
        if request.method == hdrs.METH_OPTIONS:
            return web.Response(status=204, headers={hdrs.ALLOW: ", ".join(allowed)})
        return _refusal(MethodNotAllowedError(allowed), request)

    return answer


async def _no_such_path(request: web.Request) -> web.Response:
    return _refusal(NotFoundError("the API has no such path; see /api/v1/openapi.json"), request)
