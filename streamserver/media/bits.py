"""Reading bit fields that a stranger wrote: bounded in time and memory."""

from typing import Final

from streamserver.errors import RemoteProtocolError

__all__ = ["BitReader", "read_leb128", "unescape"]

_MAX_ZEROS: Final = 32
"""Leading zeros of the longest Exp-Golomb code that any of our formats allows."""

_MAX_LEB128_BYTES: Final = 8


def unescape(nal: bytes) -> bytes:
    """Takes the emulation prevention bytes out of a NAL unit (H.264 7.4.1.1, H.265 7.4.2.1)."""
    return nal.replace(b"\x00\x00\x03", b"\x00\x00")


class BitReader:
    """Reads big-endian bit fields; every call costs what it reads, not what is left.

    Raises `RemoteProtocolError`, naming ``what``, when the data ends or a value is out of range.
    """

    __slots__ = ("_data", "_end", "_position", "_what")

    def __init__(self, data: bytes, what: str) -> None:
        self._data = data
        self._what = what
        self._position = 0
        self._end = len(data) * 8

    @property
    def left(self) -> int:
        """Bits not read yet."""
        return self._end - self._position

    def u(self, bits: int) -> int:
        """An unsigned number of that many bits, the most significant first."""
        end = self._position + bits
        if end > self._end:
            raise RemoteProtocolError(f"{self._what} ends too early")
        window = int.from_bytes(self._data[self._position >> 3 : (end + 7) >> 3])
        self._position = end
        return window >> (-end & 7) & ((1 << bits) - 1)

    def flag(self) -> bool:
        """One bit."""
        return bool(self.u(1))

    def skip(self, bits: int) -> None:
        """Passes over bits that nobody asks for."""
        if bits > self.left:
            raise RemoteProtocolError(f"{self._what} ends too early")
        self._position += bits

    def take(self, size: int) -> bytes:
        """That many bytes, beginning with the next whole one."""
        start = (self._position + 7) >> 3
        if (start + size) * 8 > self._end:
            raise RemoteProtocolError(f"{self._what} ends too early")
        self._position = (start + size) * 8
        return self._data[start : start + size]

    def ue(self, maximum: int = 0xFFFF_FFFE) -> int:
        """An unsigned Exp-Golomb code (H.264 9.1); more than ``maximum`` is an error."""
        # Nine bytes hold the longest code that begins anywhere in the first of them.
        start = self._position >> 3
        window = int.from_bytes(self._data[start : start + 9].ljust(9, b"\x00"))
        window &= (1 << (72 - (self._position & 7))) - 1
        zeros = 72 - (self._position & 7) - window.bit_length()
        if zeros > _MAX_ZEROS and self.left > _MAX_ZEROS:
            raise RemoteProtocolError(f"{self._what} holds an endless Exp-Golomb code")
        self.skip(zeros)
        value = self.u(zeros + 1) - 1
        if value > maximum:
            raise RemoteProtocolError(f"{self._what} holds {value} where {maximum} is the limit")
        return value

    def se(self) -> int:
        """A signed Exp-Golomb code (H.264 9.1.1): 0, 1, -1, 2, -2, and so on."""
        code = self.ue()
        return (code + 1) // 2 if code & 1 else -(code // 2)

    def uvlc(self) -> int:
        """AV1's variable-length code (AV1 4.10.3): an Exp-Golomb code that may be "infinite"."""
        zeros = 0
        while not self.u(1):
            zeros += 1
            # 32 zeros or more stand for the largest number; nothing of value follows.
            if zeros >= _MAX_ZEROS:
                return 0xFFFF_FFFF
        return (1 << zeros) - 1 + self.u(zeros)


def read_leb128(data: bytes, position: int, what: str) -> tuple[int, int]:
    """A little-endian base 128 number (AV1 4.10.5) and the position after it.

    Raises `RemoteProtocolError` when it does not end within 8 bytes or with the data.
    """
    value = 0
    for index, byte in enumerate(data[position : position + _MAX_LEB128_BYTES]):
        value |= (byte & 0x7F) << (7 * index)
        if byte < 0x80:
            return value, position + index + 1
    raise RemoteProtocolError(f"{what} holds an endless number")
