"""The tag of a credential: what sessions carry, so that they end when it is taken back."""

import hashlib
from typing import Final

__all__ = ["TAG_CHARS", "credential_tag"]

_TAG_BYTES: Final = 6
TAG_CHARS: Final = 2 * _TAG_BYTES
"""Characters of a tag: 48 bits in hexadecimal. It is no secret and proves nothing."""


def credential_tag(kind: str, ident: str) -> str:
    """The tag of a credential: of a key by its hash, of a token by its id."""
    return hashlib.sha256(f"{kind}\0{ident}".encode()).hexdigest()[:TAG_CHARS]
