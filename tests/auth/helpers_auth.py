"""Requests and keys with little writing."""

from typing import Any

from streamserver.auth import AccessRequest, Action
from streamserver.config import KeyAction, KeyConfig, Secret
from streamserver.names import StreamKey

LIVE_DEMO = StreamKey("live", "demo")


def request(action: Action, **changes: Any) -> AccessRequest:
    """A request from elsewhere, without any credential."""
    stream = LIVE_DEMO if action in (Action.PUBLISH, Action.PLAY) else None
    values: dict[str, Any] = {
        "id": "s1",
        "protocol": "rtmp",
        "stream": stream,
        "remote_ip": "203.0.113.9",
        **changes,
    }
    return AccessRequest(action=action, **values)


def publish(key: str | None = None, **changes: Any) -> AccessRequest:
    """A publisher, with ``?key=`` if one is given."""
    return request(Action.PUBLISH, query={"key": key} if key else {}, **changes)


def play(key: str | None = None, **changes: Any) -> AccessRequest:
    """A viewer, with ``?key=`` if one is given."""
    return request(Action.PLAY, query={"key": key} if key else {}, **changes)


def api(token: str | None = None, **changes: Any) -> AccessRequest:
    """A call of the API, with a bearer token if one is given."""
    return request(Action.API, token=token, protocol="http", **changes)


def key(text: str, *actions: str, app: str = "*", name: str = "*") -> KeyConfig:
    """A configured key; publishes if nothing else is said."""
    return KeyConfig(
        key=Secret(text),
        app=app,
        name=name,
        actions=tuple(KeyAction(action) for action in actions) or (KeyAction.PUBLISH,),
    )
