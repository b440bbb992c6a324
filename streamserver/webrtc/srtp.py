"""Protection of RTP and RTCP (RFC 3711, RFC 7714) in place, in memory whose bounds are checked.

libsrtp writes where it is told to, beyond the end as well: every call here looks first.
"""

from collections.abc import Sequence
from struct import Struct
from typing import Any, Final

from streamserver.errors import LocalProtocolError
from streamserver.webrtc import private_srtp
from streamserver.webrtc.private_srtp import SrtpKeys

__all__ = ["RTCP_TRAILER_BYTES", "Arena", "SrtpIn", "SrtpOut"]

RTCP_TRAILER_BYTES: Final = 4 + 16
"""What protection may add to an RTCP packet: its index and the tag."""

_RTP_HEADER_BYTES: Final = 12
_RTCP_HEADER_BYTES: Final = 8
_SEND_WINDOW: Final = 1024
"""Packets that may be sent again; libsrtp refuses older ones once newer ones were sent.

It shifts the whole window for every packet: 8192 cost half as much as the cipher, 1024 nothing.
"""

_RECEIVE_WINDOW: Final = 1024
_MAX_SOURCES: Final = 64
"""Sources that a peer may send with: libsrtp keeps state for each, in a list."""

_SSRC: Final = Struct("!I")


class Arena:
    """A fixed piece of memory that C may write to: used for one thing at a time, then again."""

    __slots__ = ("data", "length", "pointer", "size", "view")

    def __init__(self, size: int) -> None:
        self.size = size
        """Bytes."""
        self.data = bytearray(size)
        """The bytes themselves. Never resize it."""
        self.view = memoryview(self.data)
        """The same, for slices without a copy."""
        self.pointer: Any = private_srtp.ffi.from_buffer(self.data)
        """The same, for C."""
        self.length: Any = private_srtp.ffi.new("int *")
        """Where C reads and writes the length of a packet."""


class SrtpOut:
    """Protects what we send."""

    __slots__ = ("_handle", "_session", "overhead", "refused")

    def __init__(self, keys: SrtpKeys) -> None:
        self.overhead = keys.tag_bytes
        """Bytes that `protect` adds behind a packet."""
        self.refused = 0
        """Packets that libsrtp did not take: too old to be sent again, or not RTP."""
        self._session = private_srtp.srtp_session(
            keys.libsrtp_profile, keys.sending, outbound=True, window=_SEND_WINDOW
        )
        self._handle = private_srtp.srtp_handle(self._session)

    def protect(self, arena: Arena, offset: int, length: int) -> int:
        """Protects one RTP packet where it lies; answers its new length.

        0: libsrtp refused it (counted), and the bytes are spoiled. Raises `LocalProtocolError`
        when packet and ``overhead`` do not lie within the arena.
        """
        if offset < 0 or length < _RTP_HEADER_BYTES or offset + length + self.overhead > arena.size:
            raise LocalProtocolError("the packet to protect does not lie within the arena")
        cell = arena.length
        cell[0] = length
        if private_srtp.srtp_protect(self._handle, arena.pointer + offset, cell):
            self.refused += 1
            return 0
        return int(cell[0])

    def protect_run(self, arena: Arena, offset: int, lengths: Sequence[int]) -> int:
        """Protects packets that lie in a row, each with room for ``overhead`` behind it.

        Answers the bytes that they fill together. One that libsrtp refuses is counted and becomes
        zeros, which its receiver drops: what lies in the row is sent as a whole, and nothing may
        leave in the clear. Raises like `protect`, before anything is done.
        """
        overhead = self.overhead
        total = sum(lengths) + overhead * len(lengths)
        short = lengths and min(lengths) < _RTP_HEADER_BYTES
        if offset < 0 or short or offset + total > arena.size:
            raise LocalProtocolError("the packets to protect do not lie within the arena")
        cell, handle, protect = arena.length, self._handle, private_srtp.srtp_protect
        at = arena.pointer + offset
        for length in lengths:
            cell[0] = length
            if protect(handle, at, cell):
                self.refused += 1
                private_srtp.ffi.memmove(at, bytes(length + overhead), length + overhead)
            at += length + overhead
        return total

    def protect_rtcp(self, arena: Arena, length: int) -> int:
        """Protects the compound RTCP packet at the arena's start; answers its new length, or 0."""
        if length < _RTCP_HEADER_BYTES or length + RTCP_TRAILER_BYTES > arena.size:
            raise LocalProtocolError("the RTCP packet does not lie within the arena")
        cell = arena.length
        cell[0] = length
        if private_srtp.srtp_protect_rtcp(self._handle, arena.pointer, cell):
            self.refused += 1
            return 0
        return int(cell[0])


class SrtpIn:
    """Checks and opens what the peer sends."""

    __slots__ = ("_handle", "_session", "_sources", "refused")

    def __init__(self, keys: SrtpKeys) -> None:
        self.refused = 0
        """Packets that were forged, repeated, or of a source too many."""
        self._sources: set[int] = set()
        self._session = private_srtp.srtp_session(
            keys.libsrtp_profile, keys.receiving, outbound=False, window=_RECEIVE_WINDOW
        )
        self._handle = private_srtp.srtp_handle(self._session)

    def unprotect(self, arena: Arena, length: int) -> bytes | None:
        """The RTP packet that lies protected at the arena's start; None when it is refused."""
        if not _RTP_HEADER_BYTES <= length <= arena.size:
            self.refused += 1
            return None
        return self._open(private_srtp.srtp_unprotect, arena, length, 8)

    def unprotect_rtcp(self, arena: Arena, length: int) -> bytes | None:
        """The same for a compound RTCP packet."""
        if not _RTCP_HEADER_BYTES <= length <= arena.size:
            self.refused += 1
            return None
        return self._open(private_srtp.srtp_unprotect_rtcp, arena, length, 4)

    def _open(self, function: Any, arena: Arena, length: int, ssrc_at: int) -> bytes | None:
        source = _SSRC.unpack_from(arena.data, ssrc_at)[0]
        known = source in self._sources
        if not known and len(self._sources) >= _MAX_SOURCES:
            self.refused += 1
            return None
        cell = arena.length
        cell[0] = length
        if function(self._handle, arena.pointer, cell):
            self.refused += 1
            return None
        if not known:
            self._sources.add(source)
        return bytes(arena.view[: cell[0]])
