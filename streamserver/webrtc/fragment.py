"""What a client sends after its offer: more candidates, or a restart of ICE (RFC 8840, 9)."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from streamserver.errors import RemoteProtocolError
from streamserver.webrtc.sdp import attributes, read_credentials, split_lines

__all__ = ["FRAGMENT_TYPE", "MAX_FRAGMENT", "Fragment", "read_fragment", "write_fragment"]

FRAGMENT_TYPE: Final = "application/trickle-ice-sdpfrag"
"""The media type of a fragment."""

MAX_FRAGMENT: Final = 16 * 1024
"""Characters of a fragment."""

_MAX_CANDIDATES: Final = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class Fragment:
    """A fragment of a description."""

    ufrag: str = ""
    """The ICE user name that it belongs to; empty where it says nothing."""

    password: str = field(default="", repr=False)
    """The password of that name."""

    candidates: tuple[str, ...] = ()
    """Values of ``a=candidate``, unread."""

    complete: bool = False
    """Whether there will be no more."""


def read_fragment(text: str) -> Fragment:
    """Reads a fragment. Raises `RemoteProtocolError`."""
    if len(text) > MAX_FRAGMENT:
        raise RemoteProtocolError(f"the fragment is longer than {MAX_FRAGMENT} characters")
    found = list(attributes(split_lines(text)))
    if not found:
        raise RemoteProtocolError("the fragment holds no attributes")
    candidates = [value for name, value in found if name == "candidate"]
    if len(candidates) > _MAX_CANDIDATES:
        raise RemoteProtocolError(f"there are more than {_MAX_CANDIDATES} candidates")
    ufrag, password = read_credentials(found)
    return Fragment(
        ufrag=ufrag,
        password=password,
        candidates=tuple(candidates),
        complete=any(name == "end-of-candidates" for name, _ in found),
    )


def write_fragment(ufrag: str, password: str, candidates: Sequence[str]) -> str:
    """Our new credentials and candidates, as the answer to a restart (RFC 9725, section 4.3.3)."""
    lines = [
        "a=ice-lite",
        "a=ice-options:trickle ice2",
        f"a=ice-ufrag:{ufrag}",
        f"a=ice-pwd:{password}",
        *(f"a=candidate:{candidate}" for candidate in candidates),
        "a=end-of-candidates",
    ]
    return "\r\n".join((*lines, ""))
