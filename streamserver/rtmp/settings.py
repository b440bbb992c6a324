"""What the host may choose about a session, with the defaults that work with every encoder."""

from dataclasses import dataclass
from typing import Final

__all__ = [
    "CAPS_MOD_EX",
    "CAPS_MULTITRACK",
    "CAPS_RECONNECT",
    "CAPS_TIMESTAMP_NANO",
    "FOUR_CCS",
    "SessionSettings",
]

CAPS_RECONNECT: Final = 1
CAPS_MULTITRACK: Final = 2
CAPS_MOD_EX: Final = 4
CAPS_TIMESTAMP_NANO: Final = 8

FOUR_CCS: Final = (
    "avc1", "hvc1", "av01", "vp09", "vp08", "mp4a", "Opus", ".mp3",
)  # fmt: skip
"""Codecs of enhanced RTMP that we take."""

_SECOND: Final = 1_000_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionSettings:
    """Bounds and announcements of one connection."""

    chunk_size: int = 65536
    """Bytes of payload per chunk that we send; announced before the answer to connect."""

    window_ack_size: int = 2_500_000
    """Bytes after which we want an acknowledgement, and which the far side may leave
    unacknowledged."""

    server_version: str = "FMS/3,0,1,123"
    """``fmsVer`` in the answer to connect; some encoders look for FMS."""

    four_ccs: tuple[str, ...] = FOUR_CCS
    """Codecs of enhanced RTMP to announce to those who announce theirs."""

    caps_ex: int = CAPS_RECONNECT | CAPS_MOD_EX | CAPS_TIMESTAMP_NANO
    """``capsEx`` to announce. Multitrack is read and its first track kept, but not asked for."""

    decide_connect: bool = False
    """True: the host answers each `ConnectReceived` itself; False: it is accepted at once."""

    setup_timeout_ns: int = 10 * _SECOND
    """From the first moment to publish or play, all steps together: a peer that trickles gains
    nothing."""

    idle_timeout_ns: int = 8 * _SECOND
    """A publisher without audio or video for so long is gone."""

    rest_timeout_ns: int = 180 * _SECOND
    """How long a connection that stopped to publish or play may think about the next time."""

    max_media_bytes: int = 8 * 2**20
    """Bytes of one audio, video or aggregate message."""

    max_command_bytes: int = 64 * 2**10
    """Bytes of one command message."""

    max_data_bytes: int = 2**20
    """Bytes of one data message, and of any of an unknown type."""

    max_partial_bytes: int = 16 * 2**20
    """Bytes that unfinished messages may hold together."""

    max_held_bytes: int = 2 * 2**20
    """Bytes that may arrive while the host decides; more ends the connection."""

    max_message_streams: int = 8
    """Message streams open at once."""

    max_headers_per_s: int = 100_000
    """Chunk headers a second: the bound on the work that tiny chunks make. 50 Mbit/s in chunks
    of 128 bytes that interleave are half of it."""

    max_player_headers_per_s: int = 1_000
    """The same of a player, who acknowledges, pings and pauses; anybody may be one."""

    max_headers_before_request: int = 2_000
    """Chunk headers in all until publish or play is asked for: a connect of 64 KB has 512."""

    max_headers_before_leave: int = 20_000
    """The same from there until that is granted: an encoder may send media while it waits."""

    max_commands_per_s: int = 200
    """Commands a second; an encoder sends ten in all."""

    max_control_replies_per_s: int = 20
    """Pings and bandwidth messages answered a second; more are counted and not answered."""
