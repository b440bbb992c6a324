"""AMF0, the value format of RTMP commands and metadata (Adobe AMF0, and what encoders make of it).

Tolerant where real encoders are wrong, bounded everywhere: `amf.MAX_DEPTH`, `amf.MAX_VALUES`.
"""

from collections.abc import Callable, Mapping, Sequence
from struct import pack
from typing import Final

from streamserver.errors import LocalProtocolError
from streamserver.rtmp import amf3
from streamserver.rtmp.amf import AmfDate, AmfError, AmfValue, Cursor, EcmaArray

__all__ = ["decode", "decode_arguments", "encode"]

_NUMBER: Final = 0x00
_BOOLEAN: Final = 0x01
_STRING: Final = 0x02
_OBJECT: Final = 0x03
_NULL: Final = 0x05
_UNDEFINED: Final = 0x06
_REFERENCE: Final = 0x07
_ECMA_ARRAY: Final = 0x08
_OBJECT_END: Final = 0x09
_STRICT_ARRAY: Final = 0x0A
_DATE: Final = 0x0B
_LONG_STRING: Final = 0x0C
_UNSUPPORTED: Final = 0x0D
_XML: Final = 0x0F
_TYPED_OBJECT: Final = 0x10
_AVMPLUS: Final = 0x11


def decode(data: bytes) -> list[AmfValue]:
    """All values of a message. Raises `AmfError` unless every byte is part of one."""
    cursor = Cursor(data)
    values: list[AmfValue] = []
    while cursor.left:
        values.append(_read(cursor, 0))
    return values


def decode_arguments(data: bytes) -> list[AmfValue]:
    """The values of a command, up to the first in AMF3 that we do not know.

    Whoever speaks AMF3 (object encoding 3) may append values of types beyond our subset; what
    stands before them is enough. Raises `AmfError` for anything else that is wrong.
    """
    cursor = Cursor(data)
    values: list[AmfValue] = []
    try:
        while cursor.left:
            values.append(_read(cursor, 0))
    except amf3.UnsupportedAmf3Error:
        pass
    return values


def _read(cursor: Cursor, depth: int) -> AmfValue:
    cursor.spend(depth)
    marker = cursor.u8()
    reader = _READERS.get(marker)
    if reader is None:
        raise AmfError(f"AMF0 marker 0x{marker:02x} is unknown")
    return reader(cursor, depth)


def _read_boolean(cursor: Cursor, depth: int) -> bool:
    return cursor.u8() != 0


def _read_string(cursor: Cursor, depth: int) -> str:
    return cursor.text(cursor.u16())


def _read_long_string(cursor: Cursor, depth: int) -> str:
    return cursor.text(cursor.u32())


def _read_null(cursor: Cursor, depth: int) -> None:
    return None


def _read_reference(cursor: Cursor, depth: int) -> None:
    # Nobody sends references; following them would allow cycles.
    cursor.take(2)


def _read_date(cursor: Cursor, depth: int) -> AmfDate:
    date = AmfDate(cursor.double())
    cursor.take(2)
    return date


def _read_object(cursor: Cursor, depth: int) -> dict[str, AmfValue]:
    return _read_pairs(cursor, depth, {})


def _read_ecma_array(cursor: Cursor, depth: int) -> dict[str, AmfValue]:
    # AMF0 2.10 gives a count; encoders send 0 or a wrong one, so only the end marker counts.
    cursor.take(4)
    return _read_pairs(cursor, depth, EcmaArray())


def _read_typed_object(cursor: Cursor, depth: int) -> dict[str, AmfValue]:
    cursor.take(cursor.u16())
    return _read_pairs(cursor, depth, {})


def _read_pairs(cursor: Cursor, depth: int, into: dict[str, AmfValue]) -> dict[str, AmfValue]:
    """Keys and values up to ``00 00 09``, or the end of the message, which some muxers forget."""
    while cursor.left:
        key_length = cursor.u16()
        if key_length == 0:
            if not cursor.left:
                break
            if cursor.data[cursor.position] == _OBJECT_END:
                cursor.position += 1
                break
            # A nameless value, written by broken muxers: read over it.
            _read(cursor, depth + 1)
            continue
        key = cursor.text(key_length)
        into[key] = _read(cursor, depth + 1)
    return into


def _read_strict_array(cursor: Cursor, depth: int) -> list[AmfValue]:
    count = cursor.u32()
    if count > cursor.left:
        raise AmfError("an AMF0 array promises more values than its message has bytes")
    return [_read(cursor, depth + 1) for _ in range(count)]


def _read_avmplus(cursor: Cursor, depth: int) -> AmfValue:
    # AMF0 3.1: one AMF3 value follows, then AMF0 goes on.
    return amf3.read(cursor, depth)


_READERS: Final[dict[int, Callable[[Cursor, int], AmfValue]]] = {
    _NUMBER: lambda cursor, depth: cursor.double(),
    _BOOLEAN: _read_boolean,
    _STRING: _read_string,
    _OBJECT: _read_object,
    _NULL: _read_null,
    _UNDEFINED: _read_null,
    _REFERENCE: _read_reference,
    _ECMA_ARRAY: _read_ecma_array,
    _STRICT_ARRAY: _read_strict_array,
    _DATE: _read_date,
    _LONG_STRING: _read_long_string,
    _UNSUPPORTED: _read_null,
    _XML: _read_long_string,
    _TYPED_OBJECT: _read_typed_object,
    _AVMPLUS: _read_avmplus,
}


def encode(*values: AmfValue) -> bytes:
    """The bytes of values, in order. Raises `LocalProtocolError` for what AMF0 cannot say."""
    out = bytearray()
    for value in values:
        _write(out, value)
    return bytes(out)


def _write(out: bytearray, value: object) -> None:
    if value is None:
        out.append(_NULL)
    elif isinstance(value, bool):
        out += bytes((_BOOLEAN, value))
    elif isinstance(value, int | float):
        out += pack(">Bd", _NUMBER, value)
    elif isinstance(value, str):
        _write_string(out, value)
    elif isinstance(value, AmfDate):
        out += pack(">Bdh", _DATE, value.milliseconds, 0)
    elif isinstance(value, EcmaArray):
        out += pack(">BI", _ECMA_ARRAY, len(value))
        _write_pairs(out, value)
    elif isinstance(value, Mapping):
        out.append(_OBJECT)
        _write_pairs(out, value)
    elif isinstance(value, Sequence) and not isinstance(value, bytes):
        out += pack(">BI", _STRICT_ARRAY, len(value))
        for item in value:
            _write(out, item)
    else:
        raise LocalProtocolError(f"AMF0 has no form for {type(value).__name__}")


def _write_string(out: bytearray, value: str) -> None:
    text = value.encode("utf-8", "replace")
    out += (
        pack(">BH", _STRING, len(text))
        if len(text) < 2**16
        else pack(">BI", _LONG_STRING, len(text))
    )
    out += text


def _write_pairs(out: bytearray, pairs: Mapping[str, object]) -> None:
    for key, value in pairs.items():
        name = key.encode("utf-8", "replace")
        if not 0 < len(name) < 2**16:
            raise LocalProtocolError("an AMF0 key has 1 to 65535 bytes")
        out += pack(">H", len(name)) + name
        _write(out, value)
    out += bytes((0, 0, _OBJECT_END))
