"""Delivery directives: what a query asks of a playlist (RFC 8216bis-22 section 6.2.5)."""

import re
from typing import Final

from streamserver.errors import RemoteProtocolError

__all__ = ["NO_DIRECTIVE", "parse_directives"]

NO_DIRECTIVE: Final = -1
"""Stands for an absent number."""

_USUAL: Final = re.compile(rb"_HLS_msn=(\d{1,18})(?:&_HLS_part=(\d{1,9}))?").fullmatch
_MSN: Final = b"_HLS_msn"
_PART: Final = b"_HLS_part"
_MAX_DIGITS: Final = 18


def parse_directives(query: bytes) -> tuple[int, int]:
    """The media sequence number and the part asked for, `NO_DIRECTIVE` where absent.

    Other parameters are ignored, ``_HLS_skip`` too, as no playlist of ours offers it.
    Raises `RemoteProtocolError` for directives that are no numbers, come twice, or name a part
    without a segment.
    """
    usual = _USUAL(query)
    if usual is not None:
        part = usual[2]
        return int(usual[1]), NO_DIRECTIVE if part is None else int(part)
    found: dict[bytes, int] = {}
    for pair in query.split(b"&"):
        name, _, value = pair.partition(b"=")
        if name not in (_MSN, _PART):
            continue
        if name in found:
            raise RemoteProtocolError(f"{name.decode()} is given twice")
        if not value.isdigit() or len(value) > _MAX_DIGITS:
            raise RemoteProtocolError(f"{name.decode()} must be a whole number")
        found[name] = int(value)
    if _PART in found and _MSN not in found:
        raise RemoteProtocolError("_HLS_part is given without _HLS_msn")
    return found.get(_MSN, NO_DIRECTIVE), found.get(_PART, NO_DIRECTIVE)
