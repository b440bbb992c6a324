"""The simple handshake, both sides (Adobe RTMP 1.0 section 5.2).

The digest handshake of Flash Player is not answered: every live client takes the simple one, as
long as bytes 4 to 7 of S1 are zero (ffmpeg as a player asks for a digest otherwise). C2 and S2
are read and never compared: some clients write a time into them.
"""

import os
from abc import ABC, abstractmethod
from typing import Final

from streamserver.errors import RemoteProtocolError

__all__ = ["HANDSHAKE_BYTES", "ClientHandshake", "ServerHandshake", "WrongProtocolError"]

HANDSHAKE_BYTES: Final = 1536
"""Length of C1, C2, S1 and S2."""

_VERSION: Final = 3
_RTMPE: Final = frozenset({6, 8, 9})
_TLS_RECORDS: Final = frozenset({0x15, 0x16})
"""An alert, which a TLS port answers to RTMP, and a handshake."""


class WrongProtocolError(RemoteProtocolError):
    """Somebody speaks another protocol to an RTMP port: a scanner, or a wrong setting."""

    def __init__(self, protocol: str) -> None:
        super().__init__(f"{protocol} was spoken to an RTMP port")
        self.protocol = protocol


def _check_version(version: int) -> None:
    if version == _VERSION:
        return
    if version in _RTMPE:
        raise RemoteProtocolError(
            f"the handshake asks for RTMPE (version {version}), which is not offered; use RTMPS"
        )
    if version in _TLS_RECORDS:
        raise WrongProtocolError("TLS")
    if ord("A") <= version <= ord("Z"):
        raise WrongProtocolError("HTTP or another text protocol")
    raise RemoteProtocolError(f"the handshake begins with byte 0x{version:02x} and not with 3")


def _packet(nonce: bytes | None) -> bytes:
    """C1 or S1: time 0, version 0, and bytes that nobody looks at."""
    return bytes(8) + (os.urandom(HANDSHAKE_BYTES - 8) if nonce is None else nonce)


class _Handshake(ABC):
    """Bytes in, an answer when the far side's packets are there, the rest behind them out."""

    def __init__(self, nonce: bytes | None) -> None:
        self._buffer = bytearray()
        self._own = _packet(nonce)
        self._answered = False

    def receive(self, data: bytes) -> tuple[bytes, bytes | None]:
        """Takes bytes; answers ``(bytes to send, what followed the handshake)``.

        The second is None while the handshake lasts, and bytes, perhaps none, once it is over.
        Raises `RemoteProtocolError` as soon as the first byte is wrong.
        """
        if not self._buffer and data and not self._answered:
            _check_version(data[0])
        self._buffer += data
        answer = b""
        if not self._answered:
            if len(self._buffer) <= HANDSHAKE_BYTES:
                return b"", None
            answer = self._answer(bytes(self._buffer[1 : 1 + HANDSHAKE_BYTES]))
            del self._buffer[: 1 + HANDSHAKE_BYTES]
            self._answered = True
        if len(self._buffer) < HANDSHAKE_BYTES:
            return answer, None
        return answer, bytes(self._buffer[HANDSHAKE_BYTES:])

    @abstractmethod
    def _answer(self, theirs: bytes) -> bytes:
        """What to send once C0 C1, or S0 S1, are there."""


class ServerHandshake(_Handshake):
    """C0 C1 in, S0 S1 S2 out at once, C2 in; chunks may follow C2 in the same read."""

    def __init__(self, *, nonce: bytes | None = None) -> None:
        """``nonce``: the 1528 free bytes of S1; random by default."""
        super().__init__(nonce)

    def _answer(self, theirs: bytes) -> bytes:
        # 5.2.4: S2 is C1 sent back.
        return bytes((_VERSION,)) + self._own + theirs


class ClientHandshake(_Handshake):
    """C0 C1 out, S0 S1 S2 in, C2 out. Old servers send C1 back as S1, which is accepted."""

    def __init__(self, *, nonce: bytes | None = None) -> None:
        """``nonce``: the 1528 free bytes of C1; random by default."""
        super().__init__(nonce)

    def bytes_to_send(self) -> bytes:
        """C0 and C1, to be sent first."""
        return bytes((_VERSION,)) + self._own

    def _answer(self, theirs: bytes) -> bytes:
        # 5.2.4: C2 is S1 sent back.
        return theirs
