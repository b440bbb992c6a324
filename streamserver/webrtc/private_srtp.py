"""The one module that touches private names of pylibsrtp.

=========================================== ====================================================
``pylibsrtp._binding.ffi`` and ``.lib``     protection in place: a third of the cost of ``Session``
``pylibsrtp.Session._srtp``                 the C session that the calls above need
=========================================== ====================================================

`self_test.self_test` runs them; the versions that are allowed stand in ``pyproject.toml``.
"""

from dataclasses import dataclass, field
from typing import Any

from pylibsrtp import Policy, Session
from pylibsrtp._binding import ffi, lib  # type: ignore[import-not-found]

__all__ = [
    "SrtpKeys", "ffi", "srtp_handle", "srtp_protect", "srtp_protect_rtcp", "srtp_session",
    "srtp_unprotect", "srtp_unprotect_rtcp",
]  # fmt: skip

srtp_protect = lib.srtp_protect
srtp_protect_rtcp = lib.srtp_protect_rtcp
srtp_unprotect = lib.srtp_unprotect
srtp_unprotect_rtcp = lib.srtp_unprotect_rtcp


@dataclass(frozen=True, slots=True, kw_only=True)
class SrtpKeys:
    """What a handshake agreed on for media (RFC 5764)."""

    profile: str
    """The name of the protection profile."""

    libsrtp_profile: int
    """The same, as libsrtp numbers it."""

    tag_bytes: int
    """What protection adds to an RTP packet."""

    sending: bytes = field(repr=False)
    """Master key and salt of our packets."""

    receiving: bytes = field(repr=False)
    """Master key and salt of the peer's packets."""


def srtp_session(profile: int, key: bytes, *, outbound: bool, window: int) -> Session:
    """A session for any number of sources; ``window`` in packets."""
    policy = Policy(
        key=key,
        ssrc_type=Policy.SSRC_ANY_OUTBOUND if outbound else Policy.SSRC_ANY_INBOUND,
        srtp_profile=profile,
    )
    policy.allow_repeat_tx = True  # a retransmission without RTX repeats its number
    policy.window_size = window
    return Session(policy)


def srtp_handle(session: Session) -> Any:
    """The C session; valid only as long as ``session`` is held."""
    return session._srtp[0]
