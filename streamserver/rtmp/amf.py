"""What AMF0 and AMF3 share: the values, the error, and a cursor that cannot run away."""

from dataclasses import dataclass
from struct import unpack_from
from typing import Final, TypeAlias

from streamserver.errors import RemoteProtocolError

__all__ = [
    "MAX_DEPTH",
    "MAX_VALUES",
    "AmfDate",
    "AmfError",
    "AmfValue",
    "Cursor",
    "EcmaArray",
    "as_int",
]

MAX_DEPTH: Final = 32
"""How deep objects and arrays may nest; real ones nest three deep."""

MAX_VALUES: Final = 4096
"""How many values one message may hold; the largest real metadata has about sixty."""


class AmfError(RemoteProtocolError):
    """The bytes are no AMF, or more of it than we take."""


@dataclass(frozen=True, slots=True)
class AmfDate:
    """A point in time (AMF0 2.13); its time zone is reserved and ignored."""

    milliseconds: float
    """Milliseconds since the Unix epoch, as on the wire."""


class EcmaArray(dict[str, "AmfValue"]):
    """An associative array (AMF0 2.10): a dict that is written with its own marker."""


AmfValue: TypeAlias = "bool | float | str | AmfDate | list[AmfValue] | dict[str, AmfValue] | None"
"""A decoded value. Numbers are doubles on the wire and stay floats here; null, undefined and
references are None; XML is a str."""


class Cursor:
    """Reads forward through one message, within its bytes and within a count of values.

    Counts and lengths on the wire are only ever compared with what is left, never allocated.
    """

    __slots__ = ("data", "position", "values_left")

    def __init__(self, data: bytes, position: int = 0, *, max_values: int = MAX_VALUES) -> None:
        self.data = data
        self.position = position
        self.values_left = max_values

    @property
    def left(self) -> int:
        """Bytes not read yet."""
        return len(self.data) - self.position

    def spend(self, depth: int) -> None:
        """Accounts for one value at a depth. Raises `AmfError` beyond the bounds."""
        if depth > MAX_DEPTH:
            raise AmfError(f"AMF values nest deeper than {MAX_DEPTH}")
        self.values_left -= 1
        if self.values_left < 0:
            raise AmfError("an AMF message holds too many values")

    def take(self, count: int) -> bytes:
        """The next ``count`` bytes. Raises `AmfError` when there are fewer."""
        start = self.position
        end = start + count
        if end > len(self.data):
            raise AmfError("an AMF value runs past the end of its message")
        self.position = end
        return self.data[start:end]

    def u8(self) -> int:
        """An unsigned byte."""
        return self.take(1)[0]

    def u16(self) -> int:
        """An unsigned 16 bit number."""
        return int.from_bytes(self.take(2), "big")

    def u32(self) -> int:
        """An unsigned 32 bit number."""
        return int.from_bytes(self.take(4), "big")

    def double(self) -> float:
        """An IEEE 754 double."""
        start = self.position
        self.take(8)
        value: float = unpack_from(">d", self.data, start)[0]
        return value

    def text(self, length: int) -> str:
        """UTF-8 text of ``length`` bytes; what is no UTF-8 (some encoders send GBK) is replaced."""
        return self.take(length).decode("utf-8", "replace")


def as_int(value: object, default: int) -> int:
    """A number from the wire as an integer; ``default`` for anything else, NaN and infinity too."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return default
    return int(value) if abs(value) < 2**63 else default
