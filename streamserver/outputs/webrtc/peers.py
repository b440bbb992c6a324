"""What the fan-out needs of a connection: `streamserver.webrtc` has the real ones."""

from collections.abc import Sequence
from typing import Any, Protocol

__all__ = ["SendBuffer", "SendingPeer", "Srtp"]


class SendBuffer(Protocol):
    """Memory in which packets are protected: ``webrtc.srtp.Arena``."""

    @property
    def view(self) -> memoryview:
        """All of it."""


class Srtp(Protocol):
    """The keys of one viewer: ``webrtc.srtp.SrtpOut``."""

    @property
    def overhead(self) -> int:
        """Bytes that protecting adds behind a packet."""

    def protect_run(self, arena: Any, offset: int, lengths: Sequence[int]) -> int:
        """Protects packets that lie in a row, each with room for ``overhead`` behind it.

        ``arena`` is the `SendBuffer` that belongs to it. Raises `LocalProtocolError` when they
        would reach beyond the arena.
        """


class SendingPeer(Protocol):
    """A connection: ``webrtc.peer.Peer``."""

    @property
    def srtp(self) -> Srtp | None:
        """Its keys, once it is connected."""

    def send_segments(self, view: memoryview, segment_bytes: int) -> bool:
        """Sends protected packets that lie back to back, all but the last of one size.

        False when the kernel had no room, and some of them are lost.
        """

    def send_rtp(self, packet: bytes) -> bool:
        """Protects and sends one packet."""

    def send_rtcp(self, packet: bytes) -> None:
        """Protects and sends a compound packet."""

    def close(self, reason: str) -> None:
        """Ends it. A second call does nothing."""
