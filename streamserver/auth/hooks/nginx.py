"""nginx-rtmp's callbacks: a form, the first digit of the status, and 302 for another name."""

from collections.abc import Mapping
from typing import Any, Final

from streamserver.auth.hooks.words import BadAnswerError, Body, Notice, Verdict, client_of
from streamserver.auth.request import AccessRequest, Action
from streamserver.config import HookAction
from streamserver.errors import InvalidNameError
from streamserver.names import StreamKey
from streamserver.net.http_client import HttpAnswer

__all__ = ["NginxStyle"]

_FLASHVER_CHARS: Final = 32
_NOTICES: Final = {
    HookAction.PUBLISH_DONE: "publish_done",
    HookAction.PLAY_DONE: "play_done",
}


class NginxStyle:
    """The fields in nginx-rtmp's order, with the arguments of the stream behind them."""

    def question(self, request: AccessRequest, headers: Mapping[str, str]) -> Body:
        """See `Style`."""
        values = _common(request)
        match request.action:
            case Action.CONNECT:
                values |= {"epoch": "0", "call": "connect"}
            case Action.PUBLISH:
                values |= _named(request, "publish") | {"type": "live"}
            case _:
                # What ffmpeg and Flash send for "live, from now on"; scripts expect the fields.
                values |= _named(request, "play")
                values |= {"start": "4294965296", "duration": "0", "reset": "0"}
        return _with_arguments(values, request)

    def notice(self, notice: Notice) -> Body:
        """See `Style`."""
        request = notice.request
        call = _NOTICES.get(notice.action)
        values = _common(request)
        if notice.action is HookAction.DISCONNECT:
            values |= {"call": "disconnect"}
        elif call is not None:
            values |= _named(request, call)
        else:
            values |= {"call": f"update_{request.action.value}"}
            values |= {"time": str(notice.seconds), "timestamp": str(notice.log_ms)}
            values["name"] = request.stream.name if request.stream else ""
        return _with_arguments(values, request)

    def read(self, answer: HttpAnswer, request: AccessRequest) -> Verdict:
        """Only the first digit counts; its users say no with 500 as well as with 403."""
        kind = answer.status // 100
        if kind == 2:
            return Verdict(allowed=True)
        if kind == 3 and request.stream is not None:
            return self._redirected(answer.headers.get("location", ""), request)
        return Verdict(allowed=False)

    def _redirected(self, location: str, request: AccessRequest) -> Verdict:
        """A plain name renames. An ``rtmp://`` address is where a publisher is sent on to."""
        if not location:
            raise BadAnswerError("its redirect leads nowhere")
        if location.lower().startswith(("rtmp://", "rtmps://")):
            if request.action is Action.PUBLISH:
                return Verdict(allowed=True, destinations=(location,))
            raise BadAnswerError("it sends a player to another server, which is not possible here")
        assert request.stream is not None
        try:
            return Verdict(allowed=True, stream=StreamKey(request.stream.app, location))
        except InvalidNameError:
            # The text may be a key; it is not repeated.
            raise BadAnswerError("its redirect is no stream name") from None


def _common(request: AccessRequest) -> dict[str, Any]:
    details = request.details
    return {
        "app": request.stream.app if request.stream else details.get("app", ""),
        "flashver": request.user_agent[:_FLASHVER_CHARS],
        "swfurl": details.get("swf_url", ""),
        "tcurl": details.get("tc_url", ""),
        "pageurl": details.get("page_url", ""),
        "addr": request.remote_ip,
    }


def _named(request: AccessRequest, call: str) -> dict[str, str]:
    name = request.stream.name if request.stream else ""
    return {"clientid": client_of(request), "call": call, "name": name}


def _with_arguments(values: dict[str, Any], request: AccessRequest) -> Body:
    # nginx-rtmp appends them as they are, so that `?addr=` can lie about the address. Here the
    # fields win.
    extra = {name: text for name, text in request.query.items() if name not in values}
    return Body(values=values | extra, form=True)
