"""The one module that touches private names of aiortc; those of pylibsrtp: `private_srtp`.

Python takes 0.2 to 0.4 s to load aiortc with what it needs: whoever imports this module does so
late, off the loop (`Mux.prepare`).

What is private, and what for:

========================================= ======================================================
``RTCCertificate._create_ssl_context``    a DTLS context with its certificate and SRTP profiles
``RTCSctpTransport._handle_data``         SCTP over a DTLS connection that is not aiortc's
``RTCSctpTransport._advertised_rwnd``     a smaller window than its megabyte, and what it holds
``RTCSctpTransport._inbound_streams``     how many streams it holds state for
========================================= ======================================================

`self_test.self_test` runs those of the handshake; the versions that are allowed stand in
``pyproject.toml``.
"""

from collections.abc import Coroutine, Sequence
from typing import Any, Final, Protocol

from aioice.ice import get_host_addresses
from aiortc import RTCCertificate
from aiortc.rtcdtlstransport import (
    SRTP_AEAD_AES_128_GCM,
    SRTP_AEAD_AES_256_GCM,
    SRTP_AES128_CM_SHA1_80,
    SRTP_PROFILES,
    X509_DIGEST_ALGORITHMS,
    SRTPProtectionProfile,
    certificate_digest,
)
from aiortc.rtcsctptransport import RTCSctpCapabilities, RTCSctpTransport
from OpenSSL import SSL

from streamserver.webrtc.private_srtp import SrtpKeys

__all__ = [
    "Certificate", "SctpCarrier", "export_srtp_keys", "host_addresses", "matches", "new_dtls",
    "sctp", "sctp_excess", "sctp_receive", "sctp_start",
]  # fmt: skip

# GCM with 128 bits costs the least; the server chooses, so the order is ours where we are passive.
_PROFILES: Final = tuple(
    profile
    for profile in (SRTP_AEAD_AES_128_GCM, SRTP_AEAD_AES_256_GCM, SRTP_AES128_CM_SHA1_80)
    if profile in SRTP_PROFILES
)
_TAG_BYTES: Final = {
    SRTP_AEAD_AES_128_GCM.openssl_profile: 16,
    SRTP_AEAD_AES_256_GCM.openssl_profile: 16,
    SRTP_AES128_CM_SHA1_80.openssl_profile: 10,
}
_DTLS_1_2: Final = 0xFEFD
"""The version's number on the wire; pyOpenSSL names only those of TLS."""

_MTU: Final = 1200
_EXPORTER_LABEL: Final = b"EXTRACTOR-dtls_srtp"
_SCTP_PORT: Final = 5000
_SCTP_WINDOW_BYTES: Final = 64 * 1024
_SCTP_STREAMS: Final = 64


class Certificate:
    """A self-signed certificate, and the DTLS context that all its connections share."""

    def __init__(self) -> None:
        self._certificate = RTCCertificate.generateCertificate()
        self.fingerprint = next(
            print_.value
            for print_ in self._certificate.getFingerprints()
            if print_.algorithm == "sha-256"
        )
        """SHA-256 of the certificate as SDP writes it."""
        self.context = self._certificate._create_ssl_context(list(_PROFILES))
        # RFC 8827, section 6.5: at least 1.2. Not 1.3 yet: OpenSSL's is young.
        self.context.set_min_proto_version(_DTLS_1_2)
        self.context.set_max_proto_version(_DTLS_1_2)
        self.context.set_options(SSL.OP_NO_QUERY_MTU | SSL.OP_NO_RENEGOTIATION)
        # Without it a connection holds 92 KB, with it 72.
        self.context.set_mode(SSL.MODE_RELEASE_BUFFERS)


def new_dtls(certificate: Certificate, *, server: bool) -> SSL.Connection:
    """A DTLS connection that reads and writes memory."""
    connection = SSL.Connection(certificate.context)
    connection.set_ciphertext_mtu(_MTU)
    if server:
        connection.set_accept_state()
    else:
        connection.set_connect_state()
    return connection


def export_srtp_keys(connection: SSL.Connection, *, server: bool) -> SrtpKeys | None:
    """The keys after a handshake (RFC 5764, section 4.2); None when no profile was agreed on."""
    chosen = connection.get_selected_srtp_profile()
    for profile in _PROFILES:
        if profile.openssl_profile == chosen:
            return _export(connection, profile, server)
    return None


def _export(connection: SSL.Connection, profile: SRTPProtectionProfile, server: bool) -> SrtpKeys:
    size = 2 * (profile.key_length + profile.salt_length)
    material = connection.export_keying_material(_EXPORTER_LABEL, size)
    client_key, server_key = (profile.get_key_and_salt(material, index) for index in (0, 1))
    return SrtpKeys(
        profile=profile.openssl_profile.decode(),
        libsrtp_profile=profile.libsrtp_profile,
        tag_bytes=_TAG_BYTES[profile.openssl_profile],
        sending=server_key if server else client_key,
        receiving=client_key if server else server_key,
    )


def matches(connection: SSL.Connection, fingerprints: Sequence[tuple[str, str]]) -> bool:
    """Whether the peer's certificate is one of those that its description names.

    RFC 8122, section 5: of the hashes that both know, the strongest decides, and one certificate
    of several is enough.
    """
    certificate = connection.get_peer_certificate(as_cryptography=True)
    if certificate is None:
        return False
    for algorithm in reversed(X509_DIGEST_ALGORITHMS):
        named = {value.upper() for name, value in fingerprints if name.lower() == algorithm}
        if named:
            return certificate_digest(certificate, algorithm) in named
    return False


def host_addresses() -> list[str]:
    """The addresses of the interfaces, without loopback and link-local ones."""
    return get_host_addresses(use_ipv4=True, use_ipv6=True)


class SctpCarrier(Protocol):
    """What aiortc's SCTP asks of the DTLS transport below it."""

    state: str
    """``connected``, or ``closed``."""

    _role: str
    """``server`` or ``client``: who uses odd channel numbers."""

    def _register_data_receiver(self, receiver: object) -> None: ...
    def _unregister_data_receiver(self, receiver: object) -> None: ...
    async def _send_data(self, data: bytes) -> None: ...


def sctp(carrier: SctpCarrier) -> RTCSctpTransport:
    """An association over a carrier of ours, with a small window."""
    transport = RTCSctpTransport(carrier, _SCTP_PORT)  # type: ignore[arg-type]
    transport._advertised_rwnd = _SCTP_WINDOW_BYTES
    return transport


def sctp_start(transport: RTCSctpTransport) -> Coroutine[Any, Any, None]:
    """Begins the association."""
    return transport.start(RTCSctpCapabilities(maxMessageSize=65536), _SCTP_PORT)


def sctp_receive(transport: RTCSctpTransport, data: bytes) -> Coroutine[Any, Any, None]:
    """Hands it one packet."""
    return transport._handle_data(data)


def sctp_excess(transport: RTCSctpTransport) -> bool:
    """Whether the peer made it hold more than its window allows, or too many streams."""
    return (
        transport._advertised_rwnd < -_SCTP_WINDOW_BYTES
        or len(transport._inbound_streams) > _SCTP_STREAMS
    )
