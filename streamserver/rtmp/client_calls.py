"""What a client calls, as messages with the chunk streams that they go on.

The order and the fields are those of OBS and ffmpeg, which every server and platform knows
(FMLE's way: releaseStream and FCPublish are in no specification, and some CDNs want them).
"""

from collections.abc import Mapping
from typing import Final

from streamserver.rtmp.amf import AmfValue, EcmaArray
from streamserver.rtmp.channel import CSID_COMMAND, CSID_CONTROL, CSID_STREAM
from streamserver.rtmp.client_settings import ClientSettings
from streamserver.rtmp.command import command, data_message
from streamserver.rtmp.message import (
    BUFFER_LENGTH,
    set_chunk_size,
    user_control,
    window_ack_size,
)
from streamserver.rtmp.replies import Replies

__all__ = [
    "CONNECT_ID",
    "CREATE_STREAM_ID",
    "REQUEST_ID",
    "connect_call",
    "create_calls",
    "metadata_message",
    "play_calls",
    "publish_calls",
    "stop_calls",
]

CONNECT_ID: Final = 1
CREATE_STREAM_ID: Final = 4
REQUEST_ID: Final = 5
"""Transaction ids: always the same, as each call is made once."""

_RELEASE_ID: Final = 2
_FC_PUBLISH_ID: Final = 3
_FC_UNPUBLISH_ID: Final = 6
_DELETE_ID: Final = 7
_LIVE_OR_RECORDED_MS: Final = -2000
_PLAYER_VERSION: Final = "LNX 9,0,124,2"
_ALL_AUDIO: Final = 4071
_ALL_VIDEO: Final = 252


def connect_call(settings: ClientSettings) -> Replies:
    """The chunk size, for some servers take none later, and connect (7.2.1.1)."""
    values: dict[str, AmfValue] = {"app": settings.connect_app}
    tc_url = settings.connect_tc_url
    if settings.action == "publish":
        values |= {
            "type": "nonprivate",
            "flashVer": settings.flash_ver,
            "swfUrl": tc_url,
            "tcUrl": tc_url,
        }
    else:
        values |= {
            "flashVer": _PLAYER_VERSION,
            "tcUrl": tc_url,
            "fpad": False,
            "capabilities": 15,
            "audioCodecs": _ALL_AUDIO,
            "videoCodecs": _ALL_VIDEO,
            "videoFunction": 1,
        }
    return [
        (set_chunk_size(settings.bounds.chunk_size), CSID_CONTROL),
        (command(0, "connect", CONNECT_ID, values | _capabilities(settings)), CSID_COMMAND),
    ]


def _capabilities(settings: ClientSettings) -> dict[str, AmfValue]:
    """Enhanced RTMP v2, "Enhancing NetConnection connect command". Others read over it."""
    codes = settings.bounds.four_ccs
    if not codes:
        return {}
    return {"fourCcList": list(codes), "capsEx": settings.bounds.caps_ex}


def create_calls(settings: ClientSettings) -> Replies:
    """After yes to connect: what leads to a message stream."""
    calls: Replies = [(window_ack_size(settings.bounds.window_ack_size), CSID_CONTROL)]
    if settings.action == "publish":
        key = settings.target.key
        calls += [
            (command(0, "releaseStream", _RELEASE_ID, None, key), CSID_COMMAND),
            (command(0, "FCPublish", _FC_PUBLISH_ID, None, key), CSID_COMMAND),
        ]
    return [*calls, (command(0, "createStream", CREATE_STREAM_ID, None), CSID_COMMAND)]


def publish_calls(settings: ClientSettings, stream_id: int) -> Replies:
    """publish (7.2.2.6)."""
    publish = command(stream_id, "publish", REQUEST_ID, None, settings.target.key, "live")
    return [(publish, CSID_STREAM)]


def play_calls(settings: ClientSettings, stream_id: int) -> Replies:
    """play (7.2.2.1), and how much we buffer."""
    key = settings.target.key
    play = command(stream_id, "play", REQUEST_ID, None, key, _LIVE_OR_RECORDED_MS)
    length = user_control(BUFFER_LENGTH, stream_id, settings.buffer_ms)
    return [(play, CSID_STREAM), (length, CSID_CONTROL)]


def stop_calls(settings: ClientSettings, stream_id: int) -> Replies:
    """A stop that the far side understands as one, and not as a lost connection."""
    calls: Replies = []
    if settings.action == "publish":
        unpublish = command(0, "FCUnpublish", _FC_UNPUBLISH_ID, None, settings.target.key)
        calls.append((unpublish, CSID_COMMAND))
    return [*calls, (command(0, "deleteStream", _DELETE_ID, None, stream_id), CSID_COMMAND)]


def metadata_message(stream_id: int, values: Mapping[str, AmfValue]) -> Replies:
    """``onMetaData`` for the server to keep (FLV 10.1, E.5)."""
    message = data_message(stream_id, 0, "@setDataFrame", "onMetaData", EcmaArray(values))
    return [(message, CSID_STREAM)]
