import asyncio
import os
import ssl
from datetime import UTC, datetime
from ipaddress import ip_address
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from streamserver.errors import ConfigError
from streamserver.net.tls import (
    HTTP_ALPN,
    CertificateFiles,
    self_signed_context,
    self_signed_pem,
)


def handshake(server: ssl.SSLContext) -> tuple[bytes, str | None, str | None]:
    """The certificate, ALPN protocol and TLS version that a client gets; all in memory."""
    client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    client.check_hostname = False
    client.verify_mode = ssl.CERT_NONE
    client.set_alpn_protocols(["h2", "http/1.1"])
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    ours = client.wrap_bio(to_client, to_server, server_hostname="localhost")
    theirs = server.wrap_bio(to_server, to_client, server_side=True)
    done: set[ssl.SSLObject] = set()
    while len(done) < 2:
        for side in (ours, theirs):
            try:
                side.do_handshake()
                done.add(side)
            except ssl.SSLWantReadError:
                pass
    certificate = ours.getpeercert(binary_form=True)
    assert certificate is not None
    return certificate, ours.selected_alpn_protocol(), ours.version()


def der(pem: bytes) -> bytes:
    return x509.load_pem_x509_certificate(pem).public_bytes(serialization.Encoding.DER)


class Files:
    """A certificate and key on disk, whose time stamps differ at each writing."""

    def __init__(self, directory: Path) -> None:
        self.cert = directory / "cert.pem"
        self.key = directory / "key.pem"
        self._time = 1_000_000_000

    def write(self, cert: bytes, key: bytes | None) -> None:
        for path, content in ((self.cert, cert), (self.key, key)):
            if content is not None:
                path.write_bytes(content)
                self._time += 1
                os.utime(path, (self._time, self._time))


@pytest.fixture
def files(tmp_path: Path) -> Files:
    return Files(tmp_path)


def test_a_context_from_files_serves_their_certificate_over_http_1_1(files: Files) -> None:
    cert, key = self_signed_pem([])
    files.write(cert, key)
    context = CertificateFiles(files.cert, files.key, alpn=HTTP_ALPN).context
    assert handshake(context) == (der(cert), "http/1.1", "TLSv1.3")


def test_without_alpn_nothing_is_negotiated(files: Files) -> None:
    files.write(*self_signed_pem([]))
    assert handshake(CertificateFiles(files.cert, files.key).context)[1] is None


def test_tls_1_1_is_not_spoken(files: Files) -> None:
    files.write(*self_signed_pem([]))
    context = CertificateFiles(files.cert, files.key).context
    assert context.minimum_version is ssl.TLSVersion.TLSv1_2


def test_a_new_pair_is_served_by_the_same_context(files: Files) -> None:
    files.write(*self_signed_pem([]))
    reloader = CertificateFiles(files.cert, files.key)
    context = reloader.context
    assert not reloader.check()
    cert, key = self_signed_pem([])
    files.write(cert, key)
    assert reloader.check()
    reloader.load()
    assert reloader.context is context
    assert handshake(context)[0] == der(cert)
    assert not reloader.check()


def test_a_broken_new_file_keeps_the_old_pair_and_says_so_once(
    files: Files, caplog: pytest.LogCaptureFixture
) -> None:
    old, key = self_signed_pem([])
    files.write(old, key)
    reloader = CertificateFiles(files.cert, files.key)
    files.write(b"not a certificate", None)
    assert [reloader.check(), reloader.check()] == [False, False]
    assert len(caplog.records) == 1
    assert "the old certificate stays" in caplog.text
    assert handshake(reloader.context)[0] == der(old)


def test_a_certificate_replaced_before_its_key_waits_for_the_key(files: Files) -> None:
    old, old_key = self_signed_pem([])
    new, new_key = self_signed_pem([])
    files.write(old, old_key)
    reloader = CertificateFiles(files.cert, files.key)
    files.write(new, None)
    assert not reloader.check()
    assert handshake(reloader.context)[0] == der(old)
    files.write(new, new_key)
    assert reloader.check()
    reloader.load()
    assert handshake(reloader.context)[0] == der(new)


def test_a_file_that_is_missing_for_a_moment_is_waited_for(
    files: Files, caplog: pytest.LogCaptureFixture
) -> None:
    cert, key = self_signed_pem([])
    files.write(cert, key)
    reloader = CertificateFiles(files.cert, files.key)
    files.cert.unlink()
    assert not reloader.check()
    assert not caplog.records
    files.write(cert, key)
    assert reloader.check()


def test_a_pair_that_breaks_between_check_and_load_is_survived(
    files: Files, caplog: pytest.LogCaptureFixture
) -> None:
    files.write(*self_signed_pem([]))
    reloader = CertificateFiles(files.cert, files.key)
    files.write(b"", None)
    reloader.load()
    assert "cannot be loaded" in caplog.text


async def test_the_watch_loads_a_new_pair_by_itself(
    files: Files, monkeypatch: pytest.MonkeyPatch
) -> None:
    files.write(*self_signed_pem([]))
    reloader = CertificateFiles(files.cert, files.key)
    loaded = asyncio.Event()
    monkeypatch.setattr(reloader, "load", loaded.set)
    task = asyncio.create_task(reloader.watch(0.001))
    files.write(*self_signed_pem([]))
    await loaded.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


@pytest.mark.parametrize(
    ("cert", "key", "reason"),
    [
        (b"", b"", "no certificate and key in PEM form"),
        (self_signed_pem([])[0], self_signed_pem([])[1], "the key is not the certificate's"),
        (None, None, "No such file or directory"),
    ],
)
def test_files_that_are_no_pair_are_a_configuration_error(
    files: Files, cert: bytes | None, key: bytes | None, reason: str
) -> None:
    if cert is not None:
        files.write(cert, key)
    with pytest.raises(ConfigError, match=reason):
        CertificateFiles(files.cert, files.key)


def test_a_key_with_a_password_is_refused_and_nobody_is_asked(files: Files) -> None:
    cert, key = self_signed_pem([])
    loaded = serialization.load_pem_private_key(key, None)
    locked = loaded.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.BestAvailableEncryption(b"x"),
    )
    files.write(cert, locked)
    with pytest.raises(ConfigError, match="password"):
        CertificateFiles(files.cert, files.key)


def test_a_self_signed_certificate_names_hosts_and_addresses() -> None:
    now = datetime(2026, 1, 1, tzinfo=UTC)
    pem, key = self_signed_pem(["Studio.local", "192.168.1.20", "::ffff:10.0.0.1", ""], now=now)
    certificate = x509.load_pem_x509_certificate(pem)
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == ["localhost", "studio.local"]
    assert names.get_values_for_type(x509.IPAddress) == [
        ip_address(text) for text in ("127.0.0.1", "::1", "192.168.1.20", "10.0.0.1")
    ]
    assert certificate.not_valid_before_utc <= now < certificate.not_valid_after_utc
    public = certificate.public_key()
    assert isinstance(public, ec.EllipticCurvePublicKey)
    assert public.curve.name == "secp256r1"
    assert b"PRIVATE KEY" in key


def test_a_self_signed_certificate_may_leave_the_loopback_out() -> None:
    pem, _ = self_signed_pem(["other.example"], loopback=False)
    extensions = x509.load_pem_x509_certificate(pem).extensions
    names = extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == ["other.example"]
    assert names.get_values_for_type(x509.IPAddress) == []


def test_a_self_signed_context_serves_and_leaves_no_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    context = self_signed_context(["studio.local"], alpn=HTTP_ALPN)
    assert handshake(context)[1] == "http/1.1"
    assert list(tmp_path.iterdir()) == []
