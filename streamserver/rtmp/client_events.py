"""What a client session tells its host, besides the events that it shares with the server's.

Texts of the far side are cut, cleaned and masked before they stand in an event.
"""

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TypeAlias

from streamserver.rtmp.client_settings import ClientSettings
from streamserver.rtmp.events import Closed, DataReceived, MediaRun, PeerAcked, PlayEnded

__all__ = [
    "ClientEvent",
    "Connected",
    "PlayStarted",
    "PublishAccepted",
    "ReconnectWith",
    "Redirected",
    "Rejected",
    "RetryHint",
]


class RetryHint(StrEnum):
    """What a refusal promises of a next try."""

    BUSY = "busy"
    """The key is in use, by our own last connection perhaps: in five to ten seconds."""

    AUTH = "auth"
    """User, password or key are wrong or missing: nothing changes until somebody changes them."""

    LATER = "later"
    """Nothing is known: after the usual time."""


@dataclass(frozen=True, slots=True)
class Connected:
    """The far side took connect."""

    server_version: str
    """``fmsVer``; for people."""

    four_ccs: frozenset[str]
    """The codecs of enhanced RTMP that it offers to take, ``*`` for any; empty without it."""

    caps_ex: int
    """Its ``capsEx``."""


@dataclass(frozen=True, slots=True)
class PublishAccepted:
    """The far side waits for media: metadata, sequence headers, a keyframe."""

    stream_id: int
    """The message stream."""


@dataclass(frozen=True, slots=True)
class PlayStarted:
    """The far side will send media."""

    stream_id: int
    """The message stream."""


@dataclass(frozen=True, slots=True)
class Rejected:
    """The far side said no, at any time; `Closed` follows once the transport is closed."""

    code: str
    """``NetStream.Publish.BadName`` and the like; empty when it gave none."""

    description: str
    """Its own words, or ours where it had none."""

    retry_hint: RetryHint
    """What a next try may hope for."""


@dataclass(frozen=True, slots=True)
class ReconnectWith:
    """Authentication goes on in a new connection to the same place, to be opened at once.

    At most two follow each other; the session ends that by itself.
    """

    settings: ClientSettings
    """For the session on the new connection."""


@dataclass(frozen=True, slots=True)
class Redirected:
    """The far side sends us elsewhere. How often that is followed, the host has to bound; and it
    checks the new address as it checked the first."""

    settings: ClientSettings
    """For the session on the new connection."""

    closing: bool
    """True: this connection is over (302). False: it lives on until the new one has taken over,
    at a keyframe (Enhanced RTMP v2, "Reconnect Request")."""

    description: str = field(default="")
    """The far side's words; may be empty."""


ClientEvent: TypeAlias = (
    Connected
    | PublishAccepted
    | PlayStarted
    | Rejected
    | ReconnectWith
    | Redirected
    | MediaRun
    | DataReceived
    | PlayEnded
    | PeerAcked
    | Closed
)
