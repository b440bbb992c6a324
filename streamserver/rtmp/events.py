"""What a session tells its host, in the order in which it happened on the wire.

Events are logged, so keys, tokens and queries stay out of their ``repr``.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, NamedTuple, TypeAlias

from streamserver.rtmp.amf import AmfValue
from streamserver.rtmp.message import Message

__all__ = [
    "BufferLengthSet",
    "Closed",
    "ConnectReceived",
    "DataReceived",
    "Event",
    "MediaKind",
    "MediaRun",
    "PauseRequested",
    "PeerAcked",
    "PlayEnded",
    "PlayRequested",
    "PublishEnded",
    "PublishRequested",
    "ReceiveAudioRequested",
    "ReceiveVideoRequested",
    "RequestRefused",
    "StreamAction",
]

MediaKind: TypeAlias = Literal["audio", "video"]
StreamAction: TypeAlias = Literal["publish", "play"]


@dataclass(frozen=True, slots=True)
class ConnectReceived:
    """The far side says who it is and which application it wants (7.2.1.1)."""

    app: str = field(repr=False)
    """The application as sent; may hold a query or the stream's name."""

    tc_url: str = field(repr=False)
    """The URL as sent; may be empty."""

    host: str
    """The host in tcUrl, lower case; empty when there is none."""

    user: str = field(repr=False)
    """The user name in tcUrl; empty when there is none."""

    password: str = field(repr=False)
    """The password in tcUrl; empty when there is none."""

    flash_ver: str
    """What the encoder or player calls itself; librtmp sends nothing."""

    swf_url: str = field(repr=False)
    """Encoders repeat tcUrl here."""

    page_url: str = field(repr=False)
    """The page in which a Flash player ran."""

    object_encoding: int
    """0 AMF0, 3 AMF3. We always answer 0."""

    four_ccs: tuple[str, ...]
    """``fourCcList`` of enhanced RTMP in the spelling of the specification; ``*`` means any.
    Most encoders send none and use enhanced RTMP all the same."""

    video_four_ccs: Mapping[str, int]
    """``videoFourCcInfoMap``: 1 decodes, 2 encodes, 4 forwards."""

    audio_four_ccs: Mapping[str, int]
    """``audioFourCcInfoMap``: 1 decodes, 2 encodes, 4 forwards."""

    caps_ex: int
    """``capsEx``: 1 reconnect, 2 multitrack, 4 ModEx, 8 nanosecond offsets."""

    video_function: int
    """``videoFunction``: 1 seek, 2 HDR, 4 metadata packets, 8 large tiles."""

    will_publish: bool = False
    """Whether ``type`` is ``nonprivate``, which ffmpeg, librtmp and GStreamer send to publish."""


@dataclass(frozen=True, slots=True, eq=False)
class PublishRequested:
    """The far side wants to publish; the host answers with accept or reject."""

    stream_id: int
    """The message stream."""

    app: str
    """First segment of the stream's name, valid."""

    name: str = field(repr=False)
    """Second segment, valid; may be a secret key in the place of the name."""

    params: Mapping[str, str] = field(repr=False)
    """Query parameters from tcUrl, app and key, decoded."""

    publish_type: str
    """``live``, ``record``, ``append``, or whatever else encoders put there."""

    raw_app: str = field(repr=False)
    """The application as sent."""

    raw_key: str = field(repr=False)
    """The stream key as sent."""


@dataclass(frozen=True, slots=True, eq=False)
class PlayRequested:
    """The far side wants to play; the host answers with accept or reject."""

    stream_id: int
    """The message stream."""

    app: str
    """First segment of the stream's name, valid."""

    name: str = field(repr=False)
    """Second segment, valid; may be a secret key in the place of the name."""

    params: Mapping[str, str] = field(repr=False)
    """Query parameters from tcUrl, app and key, decoded."""

    start: int
    """Seconds into a recording, -1 live only, -2 live or else recorded (7.2.2.1)."""

    duration: int
    """Seconds to play, -1 until the end."""

    reset: bool
    """Whether what was played before is dropped."""

    raw_app: str = field(repr=False)
    """The application as sent."""

    raw_key: str = field(repr=False)
    """The stream name as sent."""


@dataclass(frozen=True, slots=True)
class RequestRefused:
    """The session itself refused to publish or play: a bad name, or a second request."""

    stream_id: int
    """The message stream."""

    action: StreamAction
    """What was asked for."""

    reason: str
    """The sentence that the far side was sent."""


class MediaRun(NamedTuple):
    """Audio and video messages with nothing else between them, of an accepted publisher or of
    what we play.

    The one event of the hot path: what came together is told at once, not message by message.
    """

    stream_id: int
    """The message stream."""

    messages: list[Message]
    """At least one. Times are milliseconds modulo 2^32, as on the wire: unwrapping is the
    timeline's. Bodies are FLV tag bodies; may be empty."""

    def continues(self, events: Sequence[object]) -> bool:
        """Whether the last of some events is the beginning of this run, and has been given it."""
        last = events[-1] if events else None
        if isinstance(last, MediaRun) and last.stream_id == self.stream_id:
            last.messages.extend(self.messages)
            return True
        return False

    def __repr__(self) -> str:
        size = sum(len(message.body) for message in self.messages)
        return (
            f"MediaRun(stream_id={self.stream_id}, "
            f"messages=<{len(self.messages)} messages, {size} bytes>)"
        )


@dataclass(frozen=True, slots=True)
class DataReceived:
    """Metadata or other data of an accepted publisher."""

    stream_id: int
    """The message stream."""

    timestamp_ms: int
    """Milliseconds modulo 2^32, as on the wire."""

    name: str
    """``onMetaData``, ``onTextData``...; ``@setDataFrame`` is taken off."""

    values: tuple[AmfValue, ...] = field(repr=False)
    """What follows the name."""


@dataclass(frozen=True, slots=True)
class PublishEnded:
    """A publisher stopped, or took back its request. The connection may publish again."""

    stream_id: int
    """The message stream."""

    reason: str
    """A sentence for the log."""


@dataclass(frozen=True, slots=True)
class PlayEnded:
    """A player stopped, or took back its request. The connection may play again."""

    stream_id: int
    """The message stream."""

    reason: str
    """A sentence for the log."""


@dataclass(frozen=True, slots=True)
class PauseRequested:
    """A player pauses or goes on; it has been told yes."""

    stream_id: int
    """The message stream."""

    paused: bool
    """Whether it wants nothing for now."""

    position_ms: int
    """The player's position."""


@dataclass(frozen=True, slots=True)
class ReceiveAudioRequested:
    """A player turns audio on or off (receiveAudio)."""

    stream_id: int
    """The message stream."""

    wanted: bool
    """Whether to send it."""


@dataclass(frozen=True, slots=True)
class ReceiveVideoRequested:
    """A player turns video on or off (receiveVideo)."""

    stream_id: int
    """The message stream."""

    wanted: bool
    """Whether to send it."""


@dataclass(frozen=True, slots=True)
class BufferLengthSet:
    """A player tells how much it buffers (SetBufferLength)."""

    stream_id: int
    """The message stream."""

    milliseconds: int
    """Its buffer."""


@dataclass(frozen=True, slots=True)
class PeerAcked:
    """The far side acknowledged bytes."""

    received: int
    """How many it has read, modulo 2^32 in the way that it counts."""


@dataclass(frozen=True, slots=True)
class Closed:
    """The session is over; always the last event."""

    reason: str
    """A sentence for the log."""


Event: TypeAlias = (
    ConnectReceived
    | PublishRequested
    | PlayRequested
    | RequestRefused
    | MediaRun
    | DataReceived
    | PublishEnded
    | PlayEnded
    | PauseRequested
    | ReceiveAudioRequested
    | ReceiveVideoRequested
    | BufferLengthSet
    | PeerAcked
    | Closed
)
