"""One DTLS connection (RFC 6347) that agrees on SRTP keys (RFC 5764). No socket, no loop.

OpenSSL is fed datagram by datagram, as aiortc's ``RTCDtlsTransport`` does it, but without that
class: it needs a task, a queue and a coroutine per peer, and takes 27 ms where this takes 5.
Certificate, ciphers and profiles are aiortc's, see `private`.
"""

from collections.abc import Sequence
from typing import Final

from OpenSSL import SSL

from streamserver.errors import PeerError, RemoteProtocolError
from streamserver.webrtc import private
from streamserver.webrtc.private import Certificate
from streamserver.webrtc.private_srtp import SrtpKeys

__all__ = ["DtlsLink"]

_MTU: Final = 1200
_MAX_FLIGHT_BYTES: Final = 64 * 1024
_MAX_READ: Final = 16 * 1024
_RECORD_HEADER_BYTES: Final = 13


class DtlsLink:
    """A handshake, then keys, then only alerts and the bytes of data channels.

    Its timers are OpenSSL's own: ask `timeout_s`, and call `on_timeout` when it is over.
    """

    __slots__ = ("_fingerprints", "_ssl", "closed", "data", "keys", "server", "wrote")

    def __init__(
        self, certificate: Certificate, *, server: bool, fingerprints: Sequence[tuple[str, str]]
    ) -> None:
        """``fingerprints`` are those of the peer's description: (algorithm, value)."""
        self.server = server
        """Whether we are the passive side."""
        self.keys: SrtpKeys | None = None
        """The media keys: there once handshake and fingerprint are right."""
        self.closed = False
        """Whether the peer has said that it closes."""
        self.data: list[bytes] = []
        """Application data (SCTP) that arrived; whoever reads it empties the list."""
        self.wrote = 0
        """Datagrams written since the start."""
        self._fingerprints = tuple(fingerprints)
        self._ssl = private.new_dtls(certificate, server=server)

    def start(self) -> list[bytes]:
        """Begins the handshake where we are active; answers datagrams to send."""
        return [] if self.server else self._proceed()

    def receive(self, datagram: bytes) -> list[bytes]:
        """Takes one datagram; answers those to send.

        Raises `RemoteProtocolError` when the handshake fails, also by a wrong certificate: the
        link is of no use then.
        """
        try:
            self._ssl.bio_write(datagram)
        except SSL.Error:
            return []
        return self._proceed()

    def timeout_s(self) -> float | None:
        """Seconds until `on_timeout` is due; None when nothing waits for an answer."""
        return None if self.keys is not None else self._ssl.DTLSv1_get_timeout()

    def on_timeout(self) -> list[bytes]:
        """Repeats a flight that was not answered (RFC 6347, section 4.2.4)."""
        try:
            self._ssl.DTLSv1_handle_timeout()
        except SSL.Error as error:
            # OpenSSL gives up after a dozen tries.
            raise PeerError("the DTLS handshake got no answer") from error
        return self._flush()

    def send(self, data: bytes) -> list[bytes]:
        """Encrypts application data; answers datagrams to send."""
        if self.keys is None or self.closed:
            return []
        try:
            self._ssl.send(data)
        except SSL.Error:
            return []
        return self._flush()

    def close(self) -> list[bytes]:
        """Says goodbye (close_notify) where there is somebody; answers datagrams to send."""
        try:
            self._ssl.shutdown()
        except SSL.Error:
            return []
        return self._flush()

    def _proceed(self) -> list[bytes]:
        try:
            if self.keys is None:
                self._ssl.do_handshake()
                self._agree()
            self._read()
        except SSL.WantReadError:
            pass
        except SSL.ZeroReturnError:
            self.closed = True
        except SSL.Error as error:
            if self.keys is None:
                raise RemoteProtocolError(f"the DTLS handshake failed: {_reason(error)}") from error
            # Afterwards only a fatal alert of the peer or an unfit record gets here.
            self.closed = self._ssl.get_shutdown() != 0
        return self._flush()

    def _agree(self) -> None:
        # RFC 8827, section 6.5 and RFC 5763, section 5: the certificate is worth nothing by
        # itself; it has to be the one that came over the signalling.
        if not private.matches(self._ssl, self._fingerprints):
            raise RemoteProtocolError("the certificate is not the one of the description")
        keys = private.export_srtp_keys(self._ssl, server=self.server)
        if keys is None:
            raise RemoteProtocolError("the peer has no SRTP profile in common with us")
        self.keys = keys

    def _read(self) -> None:
        while True:  # until WantReadError; one datagram holds at most a few records
            self.data.append(self._ssl.recv(_MAX_READ))

    def _flush(self) -> list[bytes]:
        """What OpenSSL wrote: records in a row, to be packed into datagrams whole."""
        try:
            flight = self._ssl.bio_read(_MAX_FLIGHT_BYTES)
        except SSL.Error:
            return []
        datagrams = _pack(flight)
        self.wrote += len(datagrams)
        return datagrams


def _pack(flight: bytes) -> list[bytes]:
    # RFC 6347, section 4.1.1: a record does not span datagrams, a datagram may hold several.
    datagrams: list[bytes] = []
    start = at = 0
    while at < len(flight):
        size = _RECORD_HEADER_BYTES + int.from_bytes(flight[at + 11 : at + 13], "big")
        if at > start and at + size - start > _MTU:
            datagrams.append(flight[start:at])
            start = at
        at += size
    datagrams.append(flight[start:])
    return datagrams


def _reason(error: SSL.Error) -> str:
    queue = error.args[0] if error.args else None
    if isinstance(queue, list) and queue:
        return str(queue[-1][-1])
    return type(error).__name__
