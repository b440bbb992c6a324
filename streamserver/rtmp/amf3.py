"""The part of AMF3 that stands behind marker 0x11 in commands (Adobe AMF3 chapter 3).

References to strings and traits are followed. References to objects become None: they can make
cycles, and no value that we look for is one. Vectors, dictionaries and externalizable objects
have no length of their own, so nothing behind them can be read.
"""

from collections.abc import Callable
from typing import Final

from streamserver.rtmp.amf import AmfDate, AmfError, AmfValue, Cursor

__all__ = ["UnsupportedAmf3Error", "read"]


class UnsupportedAmf3Error(AmfError):
    """A value outside our subset; what follows it cannot be read."""


def read(cursor: Cursor, depth: int = 0) -> AmfValue:
    """One value, with reference tables of its own. Raises `AmfError` or `UnsupportedAmf3Error`."""
    return _Reader(cursor).value(depth)


class _Reader:
    """The reference tables of one value."""

    __slots__ = ("_cursor", "_strings", "_traits")

    def __init__(self, cursor: Cursor) -> None:
        self._cursor = cursor
        self._strings: list[str] = []
        self._traits: list[tuple[bool, list[str]]] = []

    def value(self, depth: int) -> AmfValue:
        self._cursor.spend(depth)
        marker = self._cursor.u8()
        reader = _READERS.get(marker)
        if reader is None:
            raise UnsupportedAmf3Error(f"AMF3 marker 0x{marker:02x} is not read here")
        return reader(self, depth)

    def u29(self) -> int:
        """AMF3 1.3.1: seven bits in each of three bytes, eight in the fourth."""
        value = 0
        for _ in range(3):
            byte = self._cursor.u8()
            value = value << 7 | byte & 0x7F
            if byte < 0x80:
                return value
        return value << 8 | self._cursor.u8()

    def integer(self, depth: int) -> float:
        value = self.u29()
        return float(value - 2**29 if value >= 2**28 else value)

    def double(self, depth: int) -> float:
        return self._cursor.double()

    def string(self, depth: int) -> str:
        head = self.u29()
        if head & 1:
            text = self._cursor.text(head >> 1)
            if text:
                # AMF3 1.3.2: the empty string is never sent by reference.
                self._strings.append(text)
            return text
        if head >> 1 >= len(self._strings):
            raise AmfError("an AMF3 string refers to one that was never sent")
        return self._strings[head >> 1]

    def xml(self, depth: int) -> str | None:
        head = self.u29()
        return self._cursor.text(head >> 1) if head & 1 else None

    def byte_array(self, depth: int) -> None:
        head = self.u29()
        if head & 1:
            self._cursor.take(head >> 1)

    def date(self, depth: int) -> AmfDate | None:
        return AmfDate(self._cursor.double()) if self.u29() & 1 else None

    def array(self, depth: int) -> AmfValue:
        head = self.u29()
        if not head & 1:
            return None
        named = self._pairs(depth)
        dense: list[AmfValue] = []
        for _ in range(head >> 1):
            dense.append(self.value(depth + 1))  # noqa: PERF401 - grows with the bytes, on purpose
        if not named:
            return dense
        named.update((str(index), value) for index, value in enumerate(dense))
        return named

    def object(self, depth: int) -> AmfValue:
        head = self.u29()
        if not head & 1:
            return None
        dynamic, names = self._read_traits(head)
        members = {name: self.value(depth + 1) for name in names}
        if dynamic:
            members.update(self._pairs(depth))
        return members

    def _read_traits(self, head: int) -> tuple[bool, list[str]]:
        """AMF3 3.12: by reference, externalizable, or a class name and its members' names."""
        if not head & 2:
            if head >> 2 >= len(self._traits):
                raise AmfError("an AMF3 object refers to traits that were never sent")
            return self._traits[head >> 2]
        if head & 4:
            raise UnsupportedAmf3Error("an externalizable AMF3 object is not read here")
        self.string(0)
        names: list[str] = []
        for _ in range(head >> 4):
            self._cursor.spend(0)
            names.append(self.string(0))
        traits = (bool(head & 8), names)
        self._traits.append(traits)
        return traits

    def _pairs(self, depth: int) -> dict[str, AmfValue]:
        pairs: dict[str, AmfValue] = {}
        while key := self.string(0):
            pairs[key] = self.value(depth + 1)
        return pairs


def _constant(value: bool | None) -> Callable[[_Reader, int], AmfValue]:
    return lambda reader, depth: value


_READERS: Final[dict[int, Callable[[_Reader, int], AmfValue]]] = {
    0x00: _constant(None),
    0x01: _constant(None),
    0x02: _constant(False),
    0x03: _constant(True),
    0x04: _Reader.integer,
    0x05: _Reader.double,
    0x06: _Reader.string,
    0x07: _Reader.xml,
    0x08: _Reader.date,
    0x09: _Reader.array,
    0x0A: _Reader.object,
    0x0B: _Reader.xml,
    0x0C: _Reader.byte_array,
}
