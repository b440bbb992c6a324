"""An FLV file that comes through a pipe: bytes in any split in, tags out (FLV 10.1, E.2, E.4.1)."""

from typing import Final, NamedTuple

from streamserver.errors import RemoteProtocolError

__all__ = ["AUDIO_TAG", "VIDEO_TAG", "FlvReader", "FlvTag"]

AUDIO_TAG: Final = 8
VIDEO_TAG: Final = 9

_FILE_HEADER: Final = 9
_BACK_POINTER: Final = 4
_TAG_HEADER: Final = 11


class FlvTag(NamedTuple):
    """One tag."""

    kind: int
    """`AUDIO_TAG`, `VIDEO_TAG`, or 18 for data."""

    timestamp_ms: int
    """Milliseconds modulo 2^32."""

    body: bytes
    """What an RTMP message would carry."""


class FlvReader:
    """Takes the bytes of a file and answers whole tags. Holds at most one that is incomplete, so
    at most 16 MiB: lengths have 24 bits."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._begun = False

    @property
    def pending(self) -> int:
        """Bytes of the incomplete tag held."""
        return len(self._buffer)

    def feed(self, data: bytes) -> list[FlvTag]:
        """The tags that are complete with these bytes. Raises `RemoteProtocolError`."""
        self._buffer += data
        at = 0
        if not self._begun:
            if not b"FLV".startswith(self._buffer[:3]):
                raise RemoteProtocolError("what came is no FLV")
            if len(self._buffer) < _FILE_HEADER + _BACK_POINTER:
                return []
            # E.2: the header tells its own length, which is 9 in every file that exists.
            if int.from_bytes(self._buffer[5:9]) != _FILE_HEADER:
                raise RemoteProtocolError("the FLV header has an unknown length")
            self._begun = True
            at = _FILE_HEADER + _BACK_POINTER
        tags: list[FlvTag] = []
        while len(self._buffer) - at >= _TAG_HEADER:
            body = at + _TAG_HEADER
            end = body + int.from_bytes(self._buffer[at + 1 : at + 4])
            if end + _BACK_POINTER > len(self._buffer):
                break
            # E.4.1: the upper eight bits of the time follow the lower 24.
            low, high = self._buffer[at + 4 : at + 7], self._buffer[at + 7]
            time = high << 24 | int.from_bytes(low)
            tags.append(FlvTag(self._buffer[at] & 0x1F, time, bytes(self._buffer[body:end])))
            at = end + _BACK_POINTER
        del self._buffer[:at]
        return tags
