"""How long the messages of a peer may be: what the chunk layer refuses at a header."""

from streamserver.errors import RemoteProtocolError
from streamserver.rtmp.message import (
    ABORT,
    ACKNOWLEDGEMENT,
    AGGREGATE,
    AMF0_COMMAND,
    AMF3_COMMAND,
    AUDIO,
    SET_CHUNK_SIZE,
    SET_PEER_BANDWIDTH,
    USER_CONTROL,
    VIDEO,
    WINDOW_ACK_SIZE,
)

__all__ = ["MessageLimits"]


class MessageLimits:
    """How long a message of each type may be, in bytes."""

    __slots__ = ("_by_type", "_other", "media", "partial", "smallest")

    def __init__(
        self,
        *,
        media: int = 8 * 2**20,
        command: int = 64 * 2**10,
        data: int = 2**20,
        control: int = 2**10,
        partial: int = 16 * 2**20,
    ) -> None:
        """``media``: audio, video, aggregates; ``command``: AMF commands; ``control``: types 1 to
        6; ``data``: metadata and everything else; ``partial``: what the unfinished messages of
        one connection may hold together. 0: none of that kind."""
        self.media = media
        self.partial = partial
        self.smallest = min(media, command, data, control)
        self._other = data
        self._by_type = {
            AUDIO: media,
            VIDEO: media,
            AGGREGATE: media,
            AMF0_COMMAND: command,
            AMF3_COMMAND: command,
            **dict.fromkeys((SET_CHUNK_SIZE, ABORT, ACKNOWLEDGEMENT, USER_CONTROL), control),
            **dict.fromkeys((WINDOW_ACK_SIZE, SET_PEER_BANDWIDTH), control),
        }

    def check(self, type_id: int, length: int) -> None:
        """Raises `RemoteProtocolError` when a message of a type must not have this length."""
        limit = self._by_type.get(type_id, self._other)
        if not limit:
            raise RemoteProtocolError(f"a message of type {type_id} comes before connect")
        if length > limit:
            raise RemoteProtocolError(
                f"a message of type {type_id} announces {length} bytes, more than {limit}"
            )
