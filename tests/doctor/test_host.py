import socket
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from msgspec.structs import replace

from streamserver.config import Config
from streamserver.doctor import host
from streamserver.doctor.findings import Finding, Status, exit_code
from streamserver.net.tls import self_signed_pem

CONFIG = Config()


def on_loopback(**ports: int) -> Config:
    return replace(
        CONFIG,
        rtmp=replace(CONFIG.rtmp, host="127.0.0.1", port=ports.get("rtmp", 0)),
        http=replace(CONFIG.http, host="127.0.0.1", port=ports.get("http", 0)),
        webrtc=replace(CONFIG.webrtc, host="127.0.0.1", port=ports.get("webrtc", 0)),
    )


def test_free_ports_are_fine():
    assert {one.status for one in host.ports(on_loopback())} == {Status.OK}


def test_a_taken_port_is_named_with_the_exit_code_of_one():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        found = list(host.ports(on_loopback(rtmp=taken.getsockname()[1])))
    assert [one.status for one in found] == [Status.FAILED, Status.OK, Status.OK]
    assert "is taken" in found[0].text
    assert exit_code(found) == 69


def test_a_udp_port_that_is_taken_is_found_too():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
        taken.bind(("127.0.0.1", 0))
        *_, webrtc = host.ports(on_loopback(webrtc=taken.getsockname()[1]))
    assert (webrtc.status, "udp" in webrtc.text) == (Status.FAILED, True)


def test_limits_speak_of_files_and_memory():
    assert [one.check for one in host.limits(CONFIG)] == ["limits", "limits"]


def test_more_connections_than_files_are_a_warning(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("resource.getrlimit", lambda which: (1024, 4096))
    files, *_ = host.limits(CONFIG)
    assert (files.status, "4096 open files" in files.text) == (Status.WARNING, True)


@pytest.mark.parametrize(
    ("days", "status"), [(-1, Status.FAILED), (3, Status.WARNING), (60, Status.OK)]
)
def test_a_certificate_is_judged_by_what_is_left_of_it(tmp_path: Path, days: int, status: Status):
    cert, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    made = datetime.now(UTC) - timedelta(days=90 - days)
    pems = self_signed_pem(["example.org"], now=made)
    cert.write_bytes(pems[0])
    key.write_bytes(pems[1])
    config = replace(CONFIG, http=replace(CONFIG.http, cert_file=str(cert), key_file=str(key)))
    (found,) = host.certificates(config)
    assert found.status is status
    assert round(float(found.figures["days_left"])) == days


def test_no_certificate_is_nothing_to_look_at():
    (found,) = host.certificates(CONFIG)
    assert found.status is Status.SKIPPED


def test_storage_that_can_be_written_is_fine(tmp_path: Path):
    config = replace(CONFIG, storage=replace(CONFIG.storage, path=str(tmp_path / "not" / "yet")))
    assert host.disk(config, {}).figures["free_bytes"]
    assert not list(tmp_path.iterdir()), "and nothing is left behind"


def test_without_a_home_nothing_outlives_the_process():
    assert host.disk(CONFIG, {}).status is Status.WARNING


def test_the_exit_code_is_that_of_the_worst_failure():
    def failed(code: int) -> Finding:
        return Finding(check="x", status=Status.FAILED, text="", code=code)

    assert exit_code([]) == 0
    assert exit_code([failed(1), failed(78), failed(69)]) == 78
