"""What a server answers, as messages with the chunk streams that they go on."""

from typing import Final, TypeAlias

from streamserver.rtmp.amf import AmfValue
from streamserver.rtmp.channel import CSID_COMMAND, CSID_CONTROL, CSID_STREAM
from streamserver.rtmp.command import data_message, error, on_status, result
from streamserver.rtmp.connect import AUDIO_FOUR_CCS, VIDEO_FOUR_CCS, speaks_enhanced
from streamserver.rtmp.events import ConnectReceived
from streamserver.rtmp.message import (
    STREAM_BEGIN,
    STREAM_EOF,
    Message,
    set_chunk_size,
    set_peer_bandwidth,
    user_control,
    window_ack_size,
)
from streamserver.rtmp.settings import SessionSettings

__all__ = [
    "Replies",
    "connect_accepted",
    "connect_rejected",
    "pause_noted",
    "play_ended",
    "play_started",
    "publish_ended",
    "publish_started",
    "reconnect_request",
    "refusal",
    "stream_created",
]

Replies: TypeAlias = list[tuple[Message, int]]

_FORWARD: Final = 4


def connect_accepted(
    transaction_id: float, connect: ConnectReceived, settings: SessionSettings
) -> Replies:
    """NetConnection.Connect.Success and what goes before it (7.2.1.1).

    This order works with every encoder; OBS wants the chunk size before any long answer.
    """
    properties: dict[str, AmfValue] = {
        "fmsVer": settings.server_version,
        "capabilities": 31,
        "mode": 1,
    }
    info: dict[str, AmfValue] = {
        "level": "status",
        "code": "NetConnection.Connect.Success",
        "description": "Connection succeeded.",
        # Whoever asks for AMF3 is told that we speak AMF0.
        "objectEncoding": 0,
    }
    if speaks_enhanced(connect):
        info |= _capabilities(settings)
    return [
        (window_ack_size(settings.window_ack_size), CSID_CONTROL),
        (set_peer_bandwidth(settings.window_ack_size), CSID_CONTROL),
        (set_chunk_size(settings.chunk_size), CSID_CONTROL),
        (result(transaction_id, properties, info), CSID_COMMAND),
    ]


def _capabilities(settings: SessionSettings) -> dict[str, AmfValue]:
    """Enhanced RTMP v2, "Enhancing NetConnection connect command": ours for who sent theirs."""
    codes = settings.four_ccs
    return {
        "fourCcList": list(codes),
        "videoFourCcInfoMap": {code: _FORWARD for code in codes if code in VIDEO_FOUR_CCS},
        "audioFourCcInfoMap": {code: _FORWARD for code in codes if code in AUDIO_FOUR_CCS},
        "capsEx": settings.caps_ex,
    }


def connect_rejected(transaction_id: float, code: str, reason: str) -> Replies:
    """No to connect. Only a close afterwards makes encoders notice."""
    return [(error(transaction_id, code, reason), CSID_COMMAND)]


def stream_created(transaction_id: float, stream_id: int | None) -> Replies:
    """The number of a new message stream, or that there are too many (7.2.1.3)."""
    if stream_id is None:
        text = "This connection has too many streams."
        return [(error(transaction_id, "NetStream.Failed", text), CSID_COMMAND)]
    return [(result(transaction_id, None, stream_id), CSID_COMMAND)]


def publish_started(stream_id: int) -> Replies:
    """Media may come (7.2.2.6)."""
    status = on_status(stream_id, "NetStream.Publish.Start", "Publishing.")
    return [(user_control(STREAM_BEGIN, stream_id), CSID_CONTROL), (status, CSID_STREAM)]


def publish_ended(stream_id: int) -> Replies:
    """The publisher stopped, and we have noticed."""
    status = on_status(stream_id, "NetStream.Unpublish.Success", "Stopped publishing.")
    return [(status, CSID_STREAM)]


def play_started(stream_id: int, *, reset: bool) -> Replies:
    """Media will come (7.2.2.1)."""
    begin: Replies = [(user_control(STREAM_BEGIN, stream_id), CSID_CONTROL)]
    if reset:
        status = on_status(stream_id, "NetStream.Play.Reset", "Playing and resetting.")
        begin.append((status, CSID_STREAM))
    return [
        *begin,
        (on_status(stream_id, "NetStream.Play.Start", "Playing."), CSID_STREAM),
        # Flash players read pixels and samples only where this allows it.
        (data_message(stream_id, 0, "|RtmpSampleAccess", True, True), CSID_STREAM),
    ]


def play_ended(stream_id: int, reason: str) -> Replies:
    """No more media will come."""
    status = on_status(stream_id, "NetStream.Play.UnpublishNotify", reason)
    return [(user_control(STREAM_EOF, stream_id), CSID_CONTROL), (status, CSID_STREAM)]


def pause_noted(stream_id: int, *, paused: bool) -> Replies:
    """Yes to pause, or to going on (7.2.2.8)."""
    if paused:
        control = user_control(STREAM_EOF, stream_id)
        status = on_status(stream_id, "NetStream.Pause.Notify", "Paused.")
    else:
        control = user_control(STREAM_BEGIN, stream_id)
        status = on_status(stream_id, "NetStream.Unpause.Notify", "Going on.")
    return [(control, CSID_CONTROL), (status, CSID_STREAM)]


def refusal(stream_id: int, code: str, reason: str) -> Replies:
    """No, with a sentence that encoders show. With any level but "error" they wait forever."""
    status = on_status(stream_id, code, reason, level="error")
    return [(status, CSID_STREAM if stream_id else CSID_COMMAND)]


def reconnect_request(tc_url: str, description: str) -> Replies:
    """Enhanced RTMP v2, "Reconnect Request": come again, here or at ``tc_url``."""
    where = {"tcUrl": tc_url} if tc_url else {}
    text = description or "The server asks for a new connection."
    status = on_status(0, "NetConnection.Connect.ReconnectRequest", text, **where)
    return [(status, CSID_COMMAND)]
