"""TLS contexts for our listeners: from files that change, or made on the spot."""

import asyncio
import logging
import os
import ssl
import tempfile
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from streamserver.errors import ConfigError
from streamserver.net.addresses import parse_ip

__all__ = [
    "HTTP_ALPN",
    "CertificateFiles",
    "client_context",
    "outgoing_context",
    "self_signed_context",
    "self_signed_pem",
]

logger = logging.getLogger(__name__)

HTTP_ALPN: Final = ("http/1.1",)
"""What our HTTPS listener speaks; RTMPS negotiates nothing."""

_FileState = tuple[int, int, int]


def client_context(ca_file: str = "") -> ssl.SSLContext:
    """A context that checks certificate and host name against the system's authorities.

    ``ca_file`` (PEM) adds authorities of one's own. Raises `OSError` when it cannot be read.
    """
    context = ssl.create_default_context()
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if ca_file:
        context.load_verify_locations(ca_file)
    return context


def outgoing_context(ca_file: str) -> ssl.SSLContext:
    """The context of a configuration's ``[outgoing]``; any number of clients may share it.

    OpenSSL takes some 40 ms to read the system's authorities, and lets other threads run.
    Raises `ConfigError` when ``ca_file`` cannot be read.
    """
    try:
        return client_context(ca_file)
    except OSError as error:
        words = error.strerror or error
        raise ConfigError(f"outgoing.ca_file: {ca_file} cannot be used: {words}") from error


class CertificateFiles:
    """A certificate and its key, read again when the files change.

    The context stays the same object, so listeners go on; connections that are made after a change
    get the new certificate. A new file that is broken, or a pair that does not match (one file is
    replaced before the other), leaves the old pair in use.
    """

    def __init__(self, cert_file: Path, key_file: Path, *, alpn: Sequence[str] = ()) -> None:
        """Reads the files. Raises `ConfigError` when they are no certificate and its key."""
        self._cert_file = cert_file
        self._key_file = key_file
        self._state = self._stat()
        try:
            self.context = _context(alpn)
            self.context.load_cert_chain(cert_file, key_file, _no_password)
        except (OSError, ValueError) as error:
            # ssl.SSLError is an OSError; its text names no content of the files.
            raise ConfigError(f"{cert_file} and {key_file}: {_reason(error)}") from error

    def check(self) -> bool:
        """Looks at the files, and answers whether a good new pair stands there to be loaded.

        Touches the disk: `watch` calls it in a thread.
        """
        state = self._stat()
        if state == self._state or None in state:
            # A file that is missing for a moment is being replaced.
            return False
        self._state = state
        try:
            # On a context of its own: a failed load would leave half of the new pair in use.
            _context(()).load_cert_chain(self._cert_file, self._key_file, _no_password)
        except (OSError, ValueError) as error:
            logger.warning(
                "%s has changed and cannot be used (%s); the old certificate stays",
                self._cert_file,
                _reason(error),
            )
            return False
        return True

    def load(self) -> None:
        """Takes the pair that `check` found good into use, for connections made from now on."""
        try:
            self.context.load_cert_chain(self._cert_file, self._key_file, _no_password)
        except (OSError, ValueError) as error:
            # Changed again since the check; the next one sees it.
            logger.warning("%s cannot be loaded (%s)", self._cert_file, _reason(error))
        else:
            logger.info("%s has changed and is in use", self._cert_file)

    async def watch(self, interval_s: float = 1.0) -> None:
        """Loads new pairs as they come, until cancelled."""
        while True:
            await asyncio.sleep(interval_s)
            if await asyncio.to_thread(self.check):
                # In the loop's thread: OpenSSL must not change a context while another thread
                # begins a handshake with it.
                self.load()

    def _stat(self) -> tuple[_FileState | None, _FileState | None]:
        return _file_state(self._cert_file), _file_state(self._key_file)


def _file_state(path: Path) -> _FileState | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_ino, found.st_size


def _context(alpn: Sequence[str]) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if alpn:
        context.set_alpn_protocols(list(alpn))
    return context


def _no_password() -> str:
    # Without this, OpenSSL would ask on the terminal and stop the server.
    raise ValueError("the key is protected by a password, which is not supported")


def _reason(error: Exception) -> str:
    if isinstance(error, ssl.SSLError):
        if error.reason == "KEY_VALUES_MISMATCH":
            return "the key is not the certificate's"
        return f"no certificate and key in PEM form ({error.reason or 'unreadable'})"
    return getattr(error, "strerror", None) or str(error)


def self_signed_pem(
    names: Iterable[str], *, now: datetime | None = None, days: int = 90, loopback: bool = True
) -> tuple[bytes, bytes]:
    """A certificate for host names and addresses, and its key (ECDSA P-256), as PEM.

    With ``loopback``, ``localhost``, 127.0.0.1 and ::1 are in it too.
    """
    now = now or datetime.now(UTC)
    key = ec.generate_private_key(ec.SECP256R1())
    alternative = x509.SubjectAlternativeName(_alternative_names(names, loopback))
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "streamserver, self-signed")])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        # An hour of tolerance for a client whose clock is late.
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(days=days))
        .add_extension(alternative, critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .sign(key, hashes.SHA256())
    )
    return certificate.public_bytes(serialization.Encoding.PEM), key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )


def _alternative_names(names: Iterable[str], loopback: bool) -> list[x509.GeneralName]:
    found: dict[str, x509.GeneralName] = {}
    for name in (*(("localhost", "127.0.0.1", "::1") if loopback else ()), *names):
        address = parse_ip(name)
        if address is not None:
            found[str(address)] = x509.IPAddress(ip_address(str(address)))
        elif name and name.isascii():
            found[name.lower()] = x509.DNSName(name.lower())
    return list(found.values())


def self_signed_context(names: Iterable[str], *, alpn: Sequence[str] = ()) -> ssl.SSLContext:
    """A server context with a fresh self-signed certificate. Touches the disk for a moment."""
    certificate, key = self_signed_pem(names)
    context = _context(alpn)
    # The ssl module reads certificates from files only; this one is ours alone and soon gone.
    descriptor, name = tempfile.mkstemp(prefix="streamserver-", suffix=".pem")
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(certificate + key)
        context.load_cert_chain(name)
    finally:
        Path(name).unlink()
    return context
