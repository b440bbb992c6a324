"""What a server and the child process of `streamserver.ffmpeg.transcode` say to each other.

::

    length u32 | kind u8 | body        the length counts kind and body

The server sends `Begin`, then one `Coded` after the other, each of which is answered by one
`Taken` once what came of it has been sent. Making and reading these needs no av.
"""

import json
import struct
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from struct import Struct
from typing import Final

from streamserver.errors import RemoteProtocolError

__all__ = [
    "COMMAND",
    "MAX_PIXELS",
    "MAX_RECORD",
    "Begin",
    "Coded",
    "Configured",
    "Fault",
    "KeyframeWanted",
    "Picture",
    "Record",
    "RecordReader",
    "Taken",
    "to_bytes",
]

COMMAND: Final = (sys.executable, "-m", "streamserver.ffmpeg.transcode")
"""How to run the child."""

MAX_RECORD: Final = 16 * 1024 * 1024
"""Bytes of one record; an access unit is half of it at most."""

MAX_PIXELS: Final = 4096 * 2304
"""Of one picture: the largest of level 5.2 (ITU-T H.264, table A-1). A larger one of a publisher
that means ill would take gigabytes to decode."""

_HEAD: Final = Struct(">IB")
_CODED: Final = Struct(">qq?")
_PICTURE: Final = Struct(">Iq?")
_TAKEN: Final = Struct(">II")
_RUN: Final = Struct(">I")


@dataclass(frozen=True, slots=True)
class Begin:
    """A new run: what follows continues nothing."""

    run: int
    """Its number; the child says it again with all that comes of it."""

    codec: str
    """The name of a `Codec`."""

    config: bytes
    """The configuration of the track."""

    bit_rate: int
    """Bits per second to aim at, and not to exceed over a second."""

    frame_rate: int
    """About how many pictures come in a second. Their bits are reckoned by it: did the encoder look
    at their times, it would hold each back until it knows the next."""

    def body(self) -> bytes:
        """Behind length and kind."""
        return json.dumps(
            [self.run, self.codec, self.config.hex(), self.bit_rate, self.frame_rate]
        ).encode()

    @classmethod
    def parse(cls, body: memoryview) -> "Begin":
        """From behind length and kind."""
        run, codec, config, bit_rate, frame_rate = json.loads(bytes(body))
        return cls(run, codec, bytes.fromhex(config), bit_rate, frame_rate)


@dataclass(frozen=True, slots=True)
class Coded:
    """An access unit of the source."""

    pts: int
    """When to show it, in 1/90000 s."""

    dts: int
    """When to decode it, same unit."""

    late: bool
    """Whether it comes too late to be shown: it is decoded, since others refer to it, no more."""

    data: bytes
    """As in a `Packet`."""

    def body(self) -> bytes:
        """Behind length and kind."""
        return _CODED.pack(self.pts, self.dts, self.late) + self.data

    @classmethod
    def parse(cls, body: memoryview) -> "Coded":
        """From behind length and kind."""
        pts, dts, late = _CODED.unpack_from(body)
        return cls(pts, dts, late, bytes(body[_CODED.size :]))


@dataclass(frozen=True, slots=True)
class KeyframeWanted:
    """The next picture shall be a keyframe."""

    def body(self) -> bytes:
        """Behind length and kind."""
        return b""

    @classmethod
    def parse(cls, body: memoryview) -> "KeyframeWanted":
        """From behind length and kind."""
        return cls()


@dataclass(frozen=True, slots=True)
class Configured:
    """How the pictures that follow are coded."""

    run: int
    """Of which run."""

    config: bytes
    """avcC for lengths of 4 bytes."""

    def body(self) -> bytes:
        """Behind length and kind."""
        return _RUN.pack(self.run) + self.config

    @classmethod
    def parse(cls, body: memoryview) -> "Configured":
        """From behind length and kind."""
        return cls(_RUN.unpack_from(body)[0], bytes(body[_RUN.size :]))


@dataclass(frozen=True, slots=True)
class Picture:
    """An access unit that came of it."""

    run: int
    """Of which run."""

    pts: int
    """When to show it, in 1/90000 s; decoding order is the order of showing."""

    keyframe: bool
    """Whether a decoder can begin here."""

    data: bytes
    """H.264 as in a `Packet`."""

    def body(self) -> bytes:
        """Behind length and kind."""
        return _PICTURE.pack(self.run, self.pts, self.keyframe) + self.data

    @classmethod
    def parse(cls, body: memoryview) -> "Picture":
        """From behind length and kind."""
        run, pts, keyframe = _PICTURE.unpack_from(body)
        return cls(run, pts, keyframe, bytes(body[_PICTURE.size :]))


@dataclass(frozen=True, slots=True)
class Taken:
    """One `Coded` is done with."""

    damaged: int
    """How many access units could not be decoded since the last of these."""

    busy_us: int
    """Microseconds of processor time since the last of these."""

    def body(self) -> bytes:
        """Behind length and kind."""
        return _TAKEN.pack(self.damaged, min(self.busy_us, 0xFFFF_FFFF))

    @classmethod
    def parse(cls, body: memoryview) -> "Taken":
        """From behind length and kind."""
        return cls(*_TAKEN.unpack(body))


@dataclass(frozen=True, slots=True)
class Fault:
    """Nothing comes of this run; each `Coded` is answered nevertheless."""

    words: str
    """Why, for people."""

    def body(self) -> bytes:
        """Behind length and kind."""
        return self.words.encode()[:1000]

    @classmethod
    def parse(cls, body: memoryview) -> "Fault":
        """From behind length and kind."""
        return cls(bytes(body[:1000]).decode(errors="replace"))


Record = Begin | Coded | KeyframeWanted | Configured | Picture | Taken | Fault

_KINDS: Final[tuple[type[Record], ...]] = (
    Begin, Coded, KeyframeWanted, Configured, Picture, Taken, Fault,
)  # fmt: skip


def to_bytes(record: Record) -> bytes:
    """A record as it is sent."""
    body = record.body()
    return _HEAD.pack(len(body) + 1, _KINDS.index(type(record))) + body


class RecordReader:
    """Takes bytes apart into records."""

    def __init__(self) -> None:
        self._held = bytearray()

    def feed(self, data: bytes) -> Iterator[Record]:
        """The records that are complete. Raises `RemoteProtocolError`, and is of no use then."""
        held = self._held
        held += data
        position = 0
        try:
            while len(held) - position >= _HEAD.size:
                length, kind = _HEAD.unpack_from(held, position)
                if not 0 < length <= MAX_RECORD or kind >= len(_KINDS):
                    raise RemoteProtocolError(f"a record of kind {kind} and {length} bytes")
                end = position + 4 + length
                if end > len(held):
                    break
                body = bytes(held[position + _HEAD.size : end])
                position = end
                yield _parse(_KINDS[kind], body)
        finally:
            del held[:position]


def _parse(kind: type[Record], body: bytes) -> Record:
    try:
        return kind.parse(memoryview(body))
    except (struct.error, ValueError, TypeError) as error:
        raise RemoteProtocolError(f"a record {kind.__name__} of {len(body)} bytes") from error
