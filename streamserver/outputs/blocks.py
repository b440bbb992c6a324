"""Items of a feed in one piece, for everybody who is where it begins."""

from collections.abc import Sequence
from typing import NamedTuple

from streamserver.feeds.body import Header
from streamserver.feeds.framed import Framed

__all__ = ["Block", "join_block", "join_blocks"]


class Block(NamedTuple):
    """Some items in one piece."""

    first: int
    """The position of the first of them."""

    last: int
    """The position behind the last."""

    data: bytes
    """Their bytes."""

    header: Header | None
    """What belongs before the last media in it; None where there is none."""

    time_ms: int
    """The time of the last item."""


def join_blocks(first: int, items: Sequence[Framed], most_bytes: int) -> list[Block]:
    """Items from a position on, joined. A block ends with the item that reaches ``most_bytes``."""
    blocks, begin, size = [], 0, 0
    for index, item in enumerate(items, 1):
        size += item.size
        if size >= most_bytes or index == len(items):
            blocks.append(join_block(first + begin, items[begin:index]))
            begin, size = index, 0
    return blocks


def join_block(first: int, items: Sequence[Framed]) -> Block:
    """All items, from a position on, in one block."""
    last = items[-1]
    header: Header | None = last.header
    if not last.is_media:
        header = next((item.header for item in reversed(items) if item.is_media), None)
    pieces: list[bytes] = []
    for item in items:
        pieces += item.pieces
    return Block(first, first + len(items), b"".join(pieces), header, last.time_ms)
