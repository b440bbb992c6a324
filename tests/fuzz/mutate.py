"""A mutator of ours: seeded, so that a finding can be had again."""

import random
from collections.abc import Sequence
from typing import Final

__all__ = ["mutate"]

_EDGES: Final = (
    b"\0", b"\xff", b"\x7f", b"\x80", b"\0\0", b"\xff\xff", b"\0\0\0\0", b"\xff\xff\xff\xff",
    b"\x7f\xff\xff\xff", b"\x80\0\0\0", b"\r\n", b"\r\n\r\n", b"0", b"-1", b"99999999999999999999",
)  # fmt: skip
_MOST_BYTES: Final = 8192


def mutate(random: random.Random, seeds: Sequence[bytes]) -> bytes:
    """One of the seeds, changed in one to eight places."""
    data = bytearray(random.choice(seeds)) if seeds else bytearray()
    for _ in range(random.choice((1, 1, 2, 3, 5, 8))):
        at = random.randrange(len(data) + 1)
        length = random.choice((1, 1, 2, 4, 16, 64))
        match random.randrange(8):
            case 0 if data:
                data[at % len(data)] ^= 1 << random.randrange(8)
            case 1:
                data[at : at + length] = random.randbytes(length)
            case 2:
                data[at:at] = random.randbytes(length)
            case 3:
                del data[at : at + length]
            case 4:
                edge = random.choice(_EDGES)
                data[at : at + len(edge)] = edge
            case 5:
                data[at:at] = data[at : at + length] * random.choice((1, 2, 50))
            case 6 if seeds:
                other = random.choice(seeds)
                cut = random.randrange(len(other) + 1)
                data[at:] = other[cut:]
            case _:
                del data[at:]
    return bytes(data[:_MOST_BYTES])
