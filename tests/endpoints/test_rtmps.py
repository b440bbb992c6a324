"""RTMPS: the same door with a certificate in front of it."""

import asyncio
import os
import socket
import ssl
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from streamserver.config import load
from streamserver.net.tls import CertificateFiles, self_signed_pem
from streamserver.net.tls_listener import TlsListener
from streamserver.server import Server
from tests.endpoints.rtmp_client import RtmpClient
from tests.endpoints.test_rtmp import KEY, SETTINGS, Door, publish_clip


class Files:
    """A certificate and its key on disk, and who trusts it."""

    def __init__(self, directory: Path) -> None:
        self.cert, self.key = directory / "cert.pem", directory / "key.pem"
        self._time = 1_000_000_000
        self.renew()

    def renew(self) -> None:
        """Writes another pair; the time stamps differ also where the clock is coarse."""
        pair = self_signed_pem(["media.example"])
        for path, pem in zip((self.cert, self.key), pair, strict=True):
            path.write_bytes(pem)
            self._time += 1
            os.utime(path, (self._time, self._time))

    def trusted(self) -> ssl.SSLContext:
        """A client that trusts what is on disk now, and nothing else."""
        return ssl.create_default_context(cafile=str(self.cert))


@pytest.fixture(autouse=True)
async def _quiet() -> None:
    """In debug mode asyncio writes a line about each handshake that fails; not so in service."""
    asyncio.get_running_loop().set_debug(False)


@pytest.fixture
def files(tmp_path: Path) -> Files:
    return Files(tmp_path)


@pytest.fixture
def certificate(files: Files) -> CertificateFiles:
    return CertificateFiles(files.cert, files.key)


@pytest.fixture
async def door(certificate: CertificateFiles) -> AsyncIterator[Door]:
    made = Door(replace(SETTINGS, tls=certificate.context))
    await made.endpoint.start()
    yield made
    await made.close()


async def connect(door: Door, files: Files) -> RtmpClient:
    client = await RtmpClient.connect(door.port, tls=files.trusted())
    door.clients.append(client)
    return client


async def publish(door: Door, client: RtmpClient) -> None:
    await client.publish("live", "cam")
    await client.until(b"NetStream.Publish.Start")
    await publish_clip(client)
    await door.lives.started.wait()


async def test_a_publisher_over_tls_becomes_a_stream_and_a_session(door: Door, files: Files):
    client = await connect(door, files)
    await publish(door, client)
    stream = door.registry.get(KEY)
    assert stream is not None
    assert [track.codec for track in stream.tracks] == ["h264", "aac"]
    (session,) = door.sessions.all()
    assert session.remote_ip == "127.0.0.1"
    client.close()
    await door.lives.interrupted.wait()
    await door.forgets_everybody()
    assert door.endpoint.stats.outcomes == {"published": 1}


async def test_a_refused_publisher_reads_why_over_tls(door: Door, files: Files):
    client = await connect(door, files)
    await client.publish("live", "cam?key=wrong")
    await client.until_closed()
    assert b"the key is wrong" in client.seen
    client.close()
    await door.forgets_everybody()
    assert door.endpoint.stats.outcomes == {"refused": 1}


async def test_a_new_certificate_is_for_new_connections_and_old_ones_go_on(
    door: Door, files: Files, certificate: CertificateFiles
):
    first = await connect(door, files)
    await publish(door, first)
    before = files.trusted()
    files.renew()
    assert certificate.check()
    certificate.load()
    second = await connect(door, files)
    second.close()
    with pytest.raises(ssl.SSLCertVerificationError):
        await RtmpClient.connect(door.port, tls=before)
    (session,) = door.sessions.all()
    received = session.bytes_received
    await publish_clip(first)
    async with asyncio.timeout(60):
        while session.bytes_received < 2 * received:
            await asyncio.sleep(0)
    first.close()
    await door.lives.interrupted.wait()


async def test_a_broken_new_certificate_changes_nothing(
    door: Door, files: Files, certificate: CertificateFiles
):
    trusted = files.trusted()
    files.cert.write_text("this is no certificate")
    assert not certificate.check()
    client = await RtmpClient.connect(door.port, tls=trusted)
    door.clients.append(client)
    await publish(door, client)


@pytest.mark.parametrize("beginning", [b"", b"\x16\x03\x01\x02"])
async def test_a_tls_handshake_that_does_not_end_is_cut_at_its_deadline(
    certificate: CertificateFiles, caplog: pytest.LogCaptureFixture, beginning: bytes
):
    door = Door(replace(SETTINGS, tls=certificate.context, tls_handshake_s=0.05))
    await door.endpoint.start()
    client = await RtmpClient.connect(door.port, prefix=beginning)
    await client.until_closed()
    assert client.seen == b""
    client.close()
    await door.close()
    assert not [one for one in caplog.records if one.levelname == "ERROR"]


async def test_a_handshake_that_is_not_over_counts_as_a_connection(certificate: CertificateFiles):
    door = Door(replace(SETTINGS, tls=certificate.context, max_connections_per_address=2))
    await door.endpoint.start()
    half = [await door.connect(prefix=b"\x16\x03\x01") for _ in range(2)]
    (listener,) = door.endpoint._servers
    assert isinstance(listener, TlsListener)
    async with asyncio.timeout(60):
        while len(listener) < 2:
            await asyncio.sleep(0.01)
    third = await door.connect()
    await third.until_closed()
    assert door.endpoint.stats.outcomes["refused"] == 1
    assert "limits.connections_per_address" in door.complaints[0]
    for client in half:
        client.close()
    await door.close()


async def test_plain_rtmp_on_the_tls_port_is_closed_and_others_go_on(
    door: Door, files: Files, caplog: pytest.LogCaptureFixture
):
    good = await connect(door, files)
    plain = await door.connect()
    plain.writer.write(b"\x03" + bytes(1536))
    await plain.until_closed()
    assert plain.seen[:1] != b"\x03"
    await publish(door, good)
    assert not [one for one in caplog.records if one.levelname == "ERROR"]


async def test_a_peer_that_never_answers_the_end_of_tls_is_forgotten(
    certificate: CertificateFiles, files: Files
):
    door = Door(replace(SETTINGS, tls=certificate.context, tls_shutdown_s=0.05))
    await door.endpoint.start()
    trusted = files.trusted()

    def silent() -> ssl.SSLSocket:
        raw = socket.create_connection(("127.0.0.1", door.port), timeout=60)
        return trusted.wrap_socket(raw, server_hostname="localhost")

    peer = await asyncio.to_thread(silent)
    async with asyncio.timeout(60):
        while not door.endpoint.open_connections:
            await asyncio.sleep(0)
    await asyncio.to_thread(peer.sendall, b"no RTMP")
    await door.forgets_everybody()
    assert door.endpoint.stats.outcomes == {"protocol_error": 1}
    peer.close()
    await door.close()


async def test_old_tls_is_not_spoken(door: Door, files: Files):
    old = files.trusted()
    old.minimum_version = ssl.TLSVersion.MINIMUM_SUPPORTED
    old.set_ciphers("ALL:@SECLEVEL=0")
    with pytest.warns(DeprecationWarning, match="TLSv1_1"):
        old.maximum_version = ssl.TLSVersion.TLSv1_1
    # Which of the two depends on who closes first.
    with pytest.raises((ssl.SSLError, ConnectionResetError)):
        await RtmpClient.connect(door.port, tls=old)


async def test_the_server_opens_rtmps_and_serves_a_certificate_that_changes(
    tmp_path: Path, files: Files
):
    overrides = (
        "rtmp.port=0", "webrtc.port=0", "rtmp.tls_port=0", "http.port=0", "rtmp.host=127.0.0.1",
        "http.host=127.0.0.1", f"storage.path={tmp_path}",
        f"rtmp.cert_file={files.cert}", f"rtmp.key_file={files.key}",
    )  # fmt: skip
    server = Server(load(environ={}, overrides=overrides, directory=tmp_path).config, environ={})
    await server.start()
    port = next(one.port for one in server.listeners if one.scheme == "rtmps")
    for _ in range(2):
        client = await RtmpClient.connect(port, tls=files.trusted())
        await client.publish("live", "cam")
        await client.until(b"NetStream.Publish.Start")
        client.close()
        await client.writer.wait_closed()
        files.renew()
        server.reload_certificates()
    await server.close()
