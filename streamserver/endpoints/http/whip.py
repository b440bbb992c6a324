"""WHIP and WHEP: descriptions come and go over HTTP (RFC 9725, draft-ietf-wish-whep-03).

An offer is posted to ``/whip/{app}/{name}`` or ``/whep/{app}/{name}``; what it made lives below
that address under a name that nobody can guess, which is all that is needed to change or end it.
"""

import re
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from aiohttp import web

from streamserver.auth import parse_authorization
from streamserver.control.attempt import Attempt
from streamserver.control.playing import IsLocal
from streamserver.control.webrtc import RtcResource, RtcResources
from streamserver.endpoints.http.app import Mount, problem, public_path
from streamserver.errors import NotFoundError, RefusedError, RemoteProtocolError
from streamserver.hub.sessions import Protocol as SessionProtocol
from streamserver.names import DEFAULT_NAME
from streamserver.webrtc.describe import SDP_TYPE
from streamserver.webrtc.fragment import FRAGMENT_TYPE, MAX_FRAGMENT, read_fragment
from streamserver.webrtc.sdp import MAX_TEXT

__all__ = ["RtcDoor", "Signalling", "whep_mount", "whip_mount"]

_RETRY_S: Final = {404: "2", 503: "5"}
"""When to ask again, by status: a stream that is not live, a bound that is reached."""

_TAGS: Final = re.compile(r'(W/)?("[^"\x00-\x20]{0,64}")[ \t]*(?:,[ \t]*|\Z)')


async def _at_once() -> None:
    """There is nothing to wait for."""


class Signalling(Protocol):
    """``control.whip.WhipPublishing``, ``control.whep.WhepWatching``."""

    async def check(self, attempt: Attempt) -> None:
        """Raises `RefusedError` when such a client would not be let in."""

    async def open(self, attempt: Attempt, offer: str) -> RtcResource:
        """Lets a client in. Raises `RefusedError` and `RemoteProtocolError`."""


@dataclass(frozen=True, slots=True)
class RtcDoor:
    """What the routes of one direction need."""

    signalling: Signalling
    """Lets clients in."""

    resources: RtcResources
    """Those that were let in."""

    is_local: IsLocal
    """Tells from address, headers and ``Host`` whether a request comes from this machine."""

    ice_links: Callable[[], Sequence[str]] = tuple
    """Values of ``Link`` for STUN and TURN servers, made for one client."""

    prepared: Callable[[], Awaitable[None]] = _at_once
    """Waits until peers can be made: for a moment after the start they cannot."""


class _HttpError(RefusedError):
    """A request that is wrong as HTTP."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.http_status = status


def whip_mount(door: RtcDoor) -> Mount:
    """``/whip/{app}/{name}``: publishing."""
    return _mount("/whip", SessionProtocol.WHIP, door)


def whep_mount(door: RtcDoor) -> Mount:
    """``/whep/{app}/{name}``: playing."""
    return _mount("/whep", SessionProtocol.WHEP, door)


def _mount(base: str, protocol: SessionProtocol, door: RtcDoor) -> Mount:
    routes = _Routes(base, protocol, door)
    return Mount(prefix=base + "/", routes=routes.register, media=True)


_Handler = Callable[[web.Request], Awaitable[web.Response]]


class _Routes:
    """The two addresses of one direction: where offers go, and what they made."""

    def __init__(self, base: str, protocol: SessionProtocol, door: RtcDoor) -> None:
        self._base = base
        self._protocol = protocol
        self._door = door

    def register(self, app: web.Application) -> None:
        """Adds the routes. Other methods are answered 405 (RFC 9725, section 4.2)."""
        for path in (self._base + "/{app}", self._base + "/{app}/{name}"):
            app.router.add_post(path, _refusing(self._post))
            app.router.add_options(path, _refusing(self._options))
        path = self._base + "/{app}/{name}/{id}"
        app.router.add_patch(path, _refusing(self._patch))
        app.router.add_delete(path, _refusing(self._delete))
        app.router.add_options(path, _refusing(self._resource_options))

    # ---- where offers go

    async def _post(self, request: web.Request) -> web.Response:
        _check_type(request, SDP_TYPE)
        offer = await _text(request, MAX_TEXT)
        await self._door.prepared()
        resource = await self._door.signalling.open(self._attempt(request), offer)
        app, name = _key(request)
        response = web.Response(
            status=201,
            body=resource.answer.encode(),
            headers={
                "Content-Type": SDP_TYPE,
                "Location": public_path(request, f"{self._base}/{app}/{name}/{resource.id}"),
                "ETag": resource.etag,
                "Accept-Patch": FRAGMENT_TYPE,
                "Cache-Control": "no-store",
            },
        )
        self._add_links(response)
        return response

    async def _options(self, request: web.Request) -> web.Response:
        # RFC 9725 4.2: Accept-Post in every answer to OPTIONS.
        headers = {"Allow": "OPTIONS, POST", "Accept-Post": SDP_TYPE}
        response = web.Response(headers=headers)
        # RFC 9725 4.6: servers are not told to the preflight of a browser. To others they are told
        # as to whoever posts, for TURN credentials are worth stealing.
        if "Access-Control-Request-Method" not in request.headers and await self._admits(request):
            self._add_links(response)
        return response

    async def _admits(self, request: web.Request) -> bool:
        try:
            await self._door.signalling.check(self._attempt(request))
        except RefusedError:
            return False
        return True

    # ---- what they made

    async def _patch(self, request: web.Request) -> web.Response:
        self._resource(request)
        _check_type(request, FRAGMENT_TYPE)
        fragment = read_fragment(await _text(request, MAX_FRAGMENT))
        # The text may have come slowly.
        resource = self._resource(request)
        _check_tag(request, resource.etag)
        if not resource.is_restart(fragment):
            resource.trickle(fragment)
            return web.Response(status=204)
        answer = resource.restart(fragment)
        headers = {"Content-Type": FRAGMENT_TYPE, "ETag": resource.etag}
        return web.Response(body=answer.encode(), headers=headers)

    async def _delete(self, request: web.Request) -> web.Response:
        if not self._door.resources.end(request.match_info["id"], "the client ended it"):
            raise _gone()
        return web.Response()

    async def _resource_options(self, request: web.Request) -> web.Response:
        return web.Response(
            headers={"Allow": "DELETE, OPTIONS, PATCH", "Accept-Patch": FRAGMENT_TYPE}
        )

    # ---- helpers

    def _resource(self, request: web.Request) -> RtcResource:
        resource = self._door.resources.get(request.match_info["id"])
        if resource is None:
            raise _gone()
        return resource

    def _add_links(self, response: web.Response) -> None:
        for link in self._door.ice_links():
            response.headers.add("Link", link)

    def _attempt(self, request: web.Request) -> Attempt:
        credentials = parse_authorization(request.headers.get("Authorization"))
        app, name = _key(request)
        ip = request.remote or ""
        return Attempt(
            protocol=self._protocol,
            app=app,
            name=name,
            remote_ip=ip,
            local=self._door.is_local(ip, request.headers, request.headers.get("Host")),
            user_agent=request.headers.get("User-Agent", ""),
            params=dict(request.query),
            user=credentials.user,
            password=credentials.password,
            token=credentials.token,
            headers=request.headers,
            close=lambda reason: None,
        )


def _refusing(handler: _Handler) -> _Handler:
    """Problem documents with what clients need beside the sentence."""

    async def answer(request: web.Request) -> web.Response:
        try:
            return await handler(request)
        except RefusedError as error:
            status = error.http_status
            return problem(status, str(error), _helpful(request.method, status))
        except RemoteProtocolError as error:
            return problem(400, str(error))

    return answer


def _helpful(method: str, status: int) -> dict[str, str]:
    """Header fields that tell a refused client how to go on."""
    if status == 401:
        return {"WWW-Authenticate": 'Bearer realm="streamserver"'}
    if status == 415:
        return {"Accept-Patch": FRAGMENT_TYPE} if method == "PATCH" else {"Accept-Post": SDP_TYPE}
    # A stream that is not live may be soon; a connection that has ended never will.
    if status == 503 or (status == 404 and method == "POST"):
        return {"Retry-After": _RETRY_S[status]}
    return {}


def _gone() -> NotFoundError:
    return NotFoundError("there is no such connection; it has ended")


def _key(request: web.Request) -> tuple[str, str]:
    return request.match_info["app"], request.match_info.get("name", DEFAULT_NAME)


def _check_type(request: web.Request, wanted: str) -> None:
    if request.content_type != wanted:
        raise _HttpError(415, f"The body must be {wanted}.")


async def _text(request: web.Request, limit: int) -> str:
    """The body, of at most so many bytes."""
    if (request.content_length or 0) <= limit:
        body = bytearray()
        async for chunk in request.content.iter_any():
            body += chunk
            if len(body) > limit:
                break
        else:
            try:
                return body.decode()
            except UnicodeDecodeError:
                raise RemoteProtocolError("the body is not UTF-8") from None
    raise _HttpError(413, f"The body is longer than {limit} bytes.")


def _check_tag(request: web.Request, etag: str) -> None:
    """RFC 9725 4.3.1: changes name the ICE session that they are for, or any (RFC 9110 13.1.1)."""
    value = request.headers.get("If-Match", "").strip()
    if not value:
        raise _HttpError(428, "The request needs If-Match with the ETag of the answer, or *.")
    if value == "*":
        return
    # If-Match compares strongly: a weak tag is equal to none.
    if not any(tag == etag and not weak for weak, tag in _TAGS.findall(value[:1024])):
        raise _HttpError(412, "ICE has been restarted meanwhile: the ETag is another one.")
