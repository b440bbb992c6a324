"""How the test source's child process hands packets to the server: records on a pipe.

The stream begins with 8 bytes: ``SSTS``, a version byte (1), three zero bytes. Records follow,
each a header of 22 bytes, big-endian, and its payload::

    0   4   length of the payload in bytes, at most `MAX_PAYLOAD`
    4   1   kind, a `RecordKind`
    5   1   flags: bit 0 a decoder can begin here; the others are zero
    6   8   pts, signed
    14  8   dts, signed
    22      payload

Ticks are `VIDEO_CLOCK` per second for the video kinds and `AUDIO_CLOCK` for the audio kinds;
both count from the same instant. A config record precedes the first frame of its track, with pts
and dts zero: avcC for video, AudioSpecificConfig for audio. Frames have the form of
`streamserver.media.packet.Packet.data`: a length-prefixed access unit without parameter sets, a
raw AAC frame.
"""

import struct
from dataclasses import dataclass
from enum import IntEnum
from typing import Final

from streamserver.errors import LocalProtocolError, RemoteProtocolError

__all__ = [
    "AUDIO_CLOCK",
    "MAX_PAYLOAD",
    "PREAMBLE",
    "VIDEO_CLOCK",
    "Record",
    "RecordDecoder",
    "RecordKind",
    "encode_record",
]

PREAMBLE: Final = b"SSTS\x01\x00\x00\x00"
"""What the stream begins with; another version is another preamble."""

VIDEO_CLOCK: Final = 90_000
"""Ticks per second of video records."""

AUDIO_CLOCK: Final = 48_000
"""Ticks per second of audio records: the sample rate."""

MAX_PAYLOAD: Final = 4 << 20
"""Bytes; a longer record is a fault of the writer."""

_HEADER: Final = struct.Struct(">IBBqq")
_KEYFRAME: Final = 0x01


class RecordKind(IntEnum):
    """What a record carries."""

    VIDEO_CONFIG = 1
    VIDEO = 2
    AUDIO_CONFIG = 3
    AUDIO = 4


@dataclass(frozen=True, slots=True)
class Record:
    """One decoder configuration or one coded frame."""

    kind: RecordKind
    """Configuration or frame, video or audio."""

    data: bytes
    """avcC, AudioSpecificConfig, access unit or AAC frame."""

    pts: int = 0
    """When to show it, in ticks of its kind; 0 for configurations."""

    dts: int = 0
    """When to decode it, same unit."""

    keyframe: bool = False
    """Whether a decoder can begin here; True for audio frames."""


def encode_record(record: Record) -> bytes:
    """The bytes of one record. Raises `LocalProtocolError` when its payload is too long."""
    if len(record.data) > MAX_PAYLOAD:
        raise LocalProtocolError(f"a record of {len(record.data)} bytes is over {MAX_PAYLOAD}")
    flags = _KEYFRAME if record.keyframe else 0
    return _HEADER.pack(len(record.data), record.kind, flags, record.pts, record.dts) + record.data


class RecordDecoder:
    """Takes the bytes of the pipe in any split and answers whole records.

    Holds at most one incomplete record. After an error it stays in error.
    """

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._begun = False
        self._error: str | None = None

    @property
    def pending(self) -> int:
        """Bytes of the incomplete record held."""
        return len(self._buffer)

    def feed(self, data: bytes) -> list[Record]:
        """The records that are complete with these bytes.

        Raises `RemoteProtocolError` when the bytes are not of this format.
        """
        if self._error is not None:
            raise RemoteProtocolError(self._error)
        self._buffer += data
        try:
            return self._take()
        except RemoteProtocolError as error:
            self._error = str(error)
            self._buffer.clear()
            raise

    def _take(self) -> list[Record]:
        records: list[Record] = []
        at = 0
        if not self._begun:
            if len(self._buffer) < len(PREAMBLE):
                return records
            if not self._buffer.startswith(PREAMBLE):
                raise RemoteProtocolError("the test source speaks another version")
            self._begun = True
            at = len(PREAMBLE)
        while len(self._buffer) - at >= _HEADER.size:
            length, kind, flags, pts, dts = _HEADER.unpack_from(self._buffer, at)
            if length > MAX_PAYLOAD:
                raise RemoteProtocolError(f"a record of {length} bytes is over {MAX_PAYLOAD}")
            if kind not in RecordKind.__members__.values():
                raise RemoteProtocolError(f"record kind {kind} is unknown")
            end = at + _HEADER.size + length
            if end > len(self._buffer):
                break
            payload = bytes(self._buffer[at + _HEADER.size : end])
            records.append(Record(RecordKind(kind), payload, pts, dts, bool(flags & _KEYFRAME)))
            at = end
        del self._buffer[:at]
        return records
