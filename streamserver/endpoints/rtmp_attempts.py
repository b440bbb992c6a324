"""From what an encoder or player says over RTMP to the attempts that control decides about."""

from collections.abc import Callable
from typing import Final

from streamserver.control.attempt import Attempt, clean_agent
from streamserver.control.connecting import ConnectAttempt
from streamserver.hub.sessions import Protocol
from streamserver.rtmp.auth_server import AUTH_PARAMETERS, Proven, connect_parameters
from streamserver.rtmp.events import ConnectReceived, PlayRequested, PublishRequested

__all__ = ["connect_attempt", "media_attempt"]

_MAX_DETAIL: Final = 1024
"""Characters of a URL in connect that hooks are told."""


def connect_attempt(connect: ConnectReceived, *, remote_ip: str, local: bool) -> ConnectAttempt:
    """Somebody says connect."""
    return ConnectAttempt(
        remote_ip=remote_ip,
        local=local,
        flash_ver=connect.flash_ver,
        params=connect_parameters(connect.app, connect.tc_url),
        details=_details(connect),
        will_publish=connect.will_publish,
        has_user=bool(connect.user),
    )


def media_attempt(
    request: PublishRequested | PlayRequested,
    connect: ConnectReceived | None,
    proven: Proven | None,
    *,
    connection: str,
    remote_ip: str,
    local: bool,
    close: Callable[[str], None],
) -> Attempt:
    """Somebody wants to publish or to play; ``connection`` is the id that was asked about."""
    user, password = (connect.user, connect.password) if connect else ("", "")
    if proven is not None:
        user, password = proven.user, proven.password
    params = request.params
    if "authmod" in params:
        # Spoken between encoder and server, and of no meaning to anybody else.
        params = {key: text for key, text in params.items() if key not in AUTH_PARAMETERS}
    return Attempt(
        protocol=Protocol.RTMP,
        app=request.app,
        name=request.name,
        remote_ip=remote_ip,
        local=local,
        user_agent=clean_agent(connect.flash_ver) if connect else "",
        params=params,
        user=user or None,
        password=password or None,
        details={**_details(connect), "connection": connection} if connect else {},
        close=close,
    )


def _details(connect: ConnectReceived) -> dict[str, str]:
    """What hooks in the words of other servers repeat of a connect; without credentials."""
    return {
        "app": _bare(connect.app),
        "tc_url": _bare(connect.tc_url),
        "swf_url": _bare(connect.swf_url),
        "page_url": _bare(connect.page_url),
    }


def _bare(text: str) -> str:
    """A URL without query, user and password."""
    text = text[:_MAX_DETAIL].partition("?")[0]
    scheme, mark, rest = text.partition("://")
    if not mark:
        return text
    authority, slash, path = rest.partition("/")
    return f"{scheme}://{authority.rpartition('@')[2]}{slash}{path}"
