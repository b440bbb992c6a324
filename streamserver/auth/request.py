"""The question that every door asks, and its answer."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Protocol

from streamserver.names import StreamKey

__all__ = ["AccessRequest", "Action", "Decider", "Decision"]

_QUERY_CREDENTIALS = ("key", "token")


class Action(StrEnum):
    """What may be asked for."""

    CONNECT = "connect"
    """To speak RTMP at all; only hooks are asked."""

    PUBLISH = "publish"
    """To publish a stream."""

    PLAY = "play"
    """To watch a stream."""

    API = "api"
    """To call the API."""

    METRICS = "metrics"
    """To read the metrics."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AccessRequest:
    """Somebody wants to do something. No credential is in its ``repr``: requests are logged."""

    id: str
    """The session's id, so that the answer can be followed through the logs."""

    action: Action
    """What is wanted."""

    protocol: str
    """How it came: ``rtmp``, ``hls``, ``whep``, ``http`` …"""

    stream: StreamKey | None
    """The stream it is about; None for the server as a whole."""

    remote_ip: str
    """The client's address, as trusted proxies tell it."""

    local: bool = False
    """Whether it came from this machine: see `is_loopback_request`."""

    write: bool = False
    """For the API: whether it would change something."""

    manage: bool = False
    """For the API: whether what it would change is a stream's own, which ``manage`` allows."""

    user: str | None = None
    """The user name, where the protocol has one."""

    password: str | None = field(default=None, repr=False)
    """The password that came with it."""

    token: str | None = field(default=None, repr=False)
    """The bearer token."""

    query: Mapping[str, str] = field(default_factory=dict, repr=False)
    """The parameters of the URL or of the stream key."""

    user_agent: str = ""
    """What the client calls itself."""

    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    """The headers of an HTTP request, all of them; a hook is told those that it names."""

    details: Mapping[str, str] = field(default_factory=dict, repr=False)
    """What RTMP's connect says besides: ``app``, ``tc_url``, ``swf_url``, ``page_url``; and
    ``connection``, the id of its connection where that was asked about."""

    def credentials(self) -> tuple[str, ...]:
        """Everything in it that may be a key, without doubles and empty ones.

        ``?key=`` and ``?token=`` count for media only: the API's token belongs into a header,
        since URLs end up in logs and histories.
        """
        found = [self.token, self.password]
        if self.action in (Action.PUBLISH, Action.PLAY):
            found += [self.query.get(name) for name in _QUERY_CREDENTIALS]
        return tuple(dict.fromkeys(text for text in found if text))


@dataclass(frozen=True, slots=True)
class Decision:
    """The answer."""

    allowed: bool
    """Whether it may be done."""

    reason: str
    """Why, as a sentence for people; never holds a credential."""

    decider: str
    """Who decided, for the logs: ``keys``, ``default`` …"""

    missing: bool = False
    """Refused because no credential came: a door that can, asks for one (401 in place of 403)."""

    innocent: bool = False
    """Refused, and no sign of somebody who tries keys: not counted towards a ban."""

    expires_s: int | None = None
    """Unix time at which what was allowed ends; None: when its holder leaves."""

    credential: str = ""
    """The tag of the credential that opened (see `credential_tag`); when that is taken back,
    running sessions of it end. Empty: none that could be."""

    stream: StreamKey | None = None
    """The stream that it is about in truth, in the place of the one asked for; None: that one."""

    destinations: tuple[str, ...] = field(default=(), repr=False)
    """For a publisher: URLs that this broadcast is sent on to, and that are not kept."""


class Decider(Protocol):
    """One voice in the chain.

    One that keeps its own deadline says it as ``timeout_s``; the chain waits that long, and a
    little more.
    """

    name: str
    """What logs call it."""

    async def decide(self, request: AccessRequest) -> Decision | None:
        """The decision, or None when it has no opinion and the next one is to be asked."""
