"""Our own words, and those of MediaMTX and SRS. nginx-rtmp's are in `nginx`."""

import hashlib
import uuid
from collections.abc import Mapping
from typing import Annotated, Any, Final

import msgspec

from streamserver.auth.hooks.words import (
    BadAnswerError,
    Body,
    Notice,
    Verdict,
    client_of,
    query_of,
)
from streamserver.auth.request import AccessRequest, Action
from streamserver.config import HookAction
from streamserver.errors import InvalidNameError
from streamserver.names import DEFAULT_NAME, StreamKey
from streamserver.net.http_client import HttpAnswer

__all__ = ["MediaMtxStyle", "SrsStyle", "StreamserverStyle"]

_MAX_REASON: Final = 200
_MAX_DESTINATIONS: Final = 32


class _Answer(msgspec.Struct):
    """What our own style may answer; other fields are left alone."""

    stream: str | None = None
    destinations: Annotated[list[str], msgspec.Meta(max_length=_MAX_DESTINATIONS)] = []
    expires_in_s: Annotated[float, msgspec.Meta(gt=0, le=10 * 366 * 86400)] | None = None
    reason: str = ""


class StreamserverStyle:
    """Ours: all of the request as JSON; the answer may say more than yes."""

    def question(self, request: AccessRequest, headers: Mapping[str, str]) -> Body:
        """See `Style`."""
        stream = request.stream
        return Body(
            values={
                "id": request.id,
                "action": request.action.value,
                "stream": str(stream) if stream else "",
                "app": stream.app if stream else "",
                "name": stream.name if stream else "",
                "protocol": request.protocol,
                "remote_ip": request.remote_ip,
                "user": request.user or "",
                "password": request.password or "",
                "token": request.token or "",
                "query": dict(request.query),
                "user_agent": request.user_agent,
                "write": request.write,
                "headers": dict(headers),
            }
        )

    def notice(self, notice: Notice) -> Body:
        """Not of this style: events and webhooks tell more."""
        raise BadAnswerError("this style has no notices")

    def read(self, answer: HttpAnswer, request: AccessRequest) -> Verdict:
        """2xx allows. A body that is no JSON object says nothing."""
        allowed = 200 <= answer.status < 300
        said = _Answer()
        if answer.body.lstrip()[:1] == b"{":
            try:
                said = msgspec.json.decode(answer.body, type=_Answer)
            except (msgspec.DecodeError, UnicodeDecodeError) as error:
                if allowed:
                    raise BadAnswerError(f"its JSON cannot be used: {error}") from None
        reason = _clean(said.reason)
        if not allowed:
            return Verdict(allowed=False, reason=reason, outage=answer.status >= 500)
        expires_s = said.expires_in_s
        return Verdict(
            allowed=True,
            reason=reason,
            stream=_stream(said.stream),
            destinations=tuple(said.destinations),
            expires_in_s=None if expires_s is None else max(1, int(expires_s)),
        )


_MEDIAMTX_ACTIONS: Final = {
    Action.PUBLISH: "publish",
    Action.PLAY: "read",
    Action.API: "api",
    Action.METRICS: "metrics",
}
_MEDIAMTX_PROTOCOLS: Final = {"whip": "webrtc", "whep": "webrtc", "flv": "rtmp"}
"""It has no FLV over HTTP; what it carries is what RTMP carries."""


class MediaMtxStyle:
    """MediaMTX's ten fields with its words: one-segment paths, ``read``, ``webrtc``."""

    def question(self, request: AccessRequest, headers: Mapping[str, str]) -> Body:
        """See `Style`."""
        stream, query = request.stream, request.query
        password = request.password or query.get("pass", "")
        token = request.token or password or query.get("token") or query.get("jwt") or ""
        protocol = _MEDIAMTX_PROTOCOLS.get(request.protocol, request.protocol)
        return Body(
            values={
                "ip": request.remote_ip,
                "user": request.user or query.get("user", ""),
                "password": password,
                "token": token,
                "action": _MEDIAMTX_ACTIONS[request.action],
                "path": _mediamtx_path(stream),
                "protocol": protocol if stream else "",
                "id": _uuid(request.id) if stream else None,
                "query": query_of(request),
                "userAgent": request.user_agent,
            }
        )

    def notice(self, notice: Notice) -> Body:
        """It has none."""
        raise BadAnswerError("this style has no notices")

    def read(self, answer: HttpAnswer, request: AccessRequest) -> Verdict:
        """2xx allows; the body is not looked at."""
        return Verdict(allowed=200 <= answer.status < 300, outage=answer.status >= 500)


_SRS_ACTIONS: Final = {
    Action.CONNECT: "on_connect",
    Action.PUBLISH: "on_publish",
    Action.PLAY: "on_play",
}
_SRS_NOTICES: Final = {
    HookAction.DISCONNECT: "on_close",
    HookAction.PUBLISH_DONE: "on_unpublish",
    HookAction.PLAY_DONE: "on_stop",
}
_VHOST: Final = "__defaultVhost__"


class SrsStyle:
    """SRS's JSON; yes is 200 or 201 with ``0`` or ``{"code": 0}``, as there."""

    def question(self, request: AccessRequest, headers: Mapping[str, str]) -> Body:
        """See `Style`."""
        return Body(values=_srs(request, _SRS_ACTIONS[request.action]))

    def notice(self, notice: Notice) -> Body:
        """See `Style`."""
        values = _srs(notice.request, _SRS_NOTICES[notice.action])
        if notice.action is HookAction.DISCONNECT:
            values |= {"send_bytes": notice.sent_bytes, "recv_bytes": notice.received_bytes}
        return Body(values=values)

    def read(self, answer: HttpAnswer, request: AccessRequest) -> Verdict:
        """Other servers' developers trip here, too: an empty 200 is a no."""
        if answer.status not in (200, 201):
            return Verdict(allowed=False, outage=answer.status >= 500)
        try:
            said = msgspec.json.decode(answer.body)
        except (msgspec.DecodeError, UnicodeDecodeError):
            return Verdict(allowed=False, reason="the hook's answer has no code 0")
        code = said.get("code") if isinstance(said, dict) else said
        return Verdict(allowed=code == 0 and not isinstance(code, bool))


def _srs(request: AccessRequest, action: str) -> dict[str, Any]:
    stream, details = request.stream, request.details
    query = query_of(request)
    app = stream.app if stream else details.get("app", "")
    name = stream.name if stream else ""
    values: dict[str, Any] = {
        "server_id": "streamserver",
        "service_id": "streamserver",
        "action": action,
        "client_id": client_of(request),
        "ip": request.remote_ip,
        "vhost": _VHOST,
        "app": app,
        "tcUrl": details.get("tc_url", ""),
        "stream": name,
        "param": f"?{query}" if query else "",
        "stream_url": f"{_VHOST}/{app}/{name}" if name else "",
        "stream_id": f"{app}/{name}" if name else "",
    }
    if action in ("on_connect", "on_play"):
        values["pageUrl"] = details.get("page_url", "")
    return values


def _mediamtx_path(stream: StreamKey | None) -> str:
    if stream is None:
        return ""
    return stream.app if stream.name == DEFAULT_NAME else str(stream)


def _uuid(ident: str) -> str:
    """The same id in the form that its users' code expects."""
    return str(uuid.UUID(bytes=hashlib.sha256(ident.encode()).digest()[:16], version=4))


def _stream(text: str | None) -> StreamKey | None:
    if text is None:
        return None
    try:
        return StreamKey.parse(text)
    except InvalidNameError as error:
        raise BadAnswerError(str(error)) from None


def _clean(text: str) -> str:
    return "".join(c if c.isprintable() else " " for c in text[:_MAX_REASON]).strip()
