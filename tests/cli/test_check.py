from pathlib import Path

from streamserver.config import Config
from streamserver.config.reader import leaf_paths
from streamserver.net.tls import self_signed_pem
from tests.cli.helpers_cli import run_program

HOST = 'host = "::"'


def test_it_shows_every_key_with_its_value_and_where_it_comes_from(tmp_path: Path) -> None:
    file = tmp_path / "config.toml"
    file.write_text('[rtmp]\nport = 5\nhost = "::"\n')
    ran = run_program(
        "check",
        "--set",
        "server.apps=live,studio",
        directory=tmp_path,
        environ={"STREAMSERVER_HLS__SESSIONS": "false"},
    )
    assert (ran.code, ran.err) == (0, "")
    lines = [line.strip() for line in ran.out.splitlines()]
    assert f"{'port = 5':<40} # {file}:2" in lines
    assert f"{HOST:<40} # {file}:3" in lines
    assert f"{'sessions = false':<40} # STREAMSERVER_HLS__SESSIONS" in lines
    assert "chunk_size = 65536" in lines
    assert any(line.startswith('apps = ["live", "studio"]') for line in lines)
    assert all(
        any(line.startswith(f"{path[-1]} = ") for line in lines) for path in leaf_paths(Config)
    )
    assert "RTMP   ::, port 5/tcp" in lines


def test_it_shows_the_memory_formula() -> None:
    out = " ".join(run_program("check").out.split())
    assert "= one stream at most 176.0 MiB" in out
    assert "+ each viewer's connection 1.0 MiB" in out
    assert "a usual stream of 2.65 Mbit/s: about 9 MB" in out


def test_it_shows_no_secret() -> None:
    ran = run_program(
        "check",
        "--set",
        "auth.api_token=0123456789abcdef",
        "--set",
        'auth.keys=[{app="live", key="fedcba9876543210"}]',
    )
    assert ran.code == 0
    assert 'api_token = "***"' in ran.out
    assert '[{ key = "***", app = "live", name = "*", actions = ["publish"], ips = [] }]' in ran.out
    assert "0123456789abcdef" not in ran.out
    assert "fedcba9876543210" not in ran.out


def test_every_fault_is_a_line_and_the_exit_code_is_78(tmp_path: Path) -> None:
    file = tmp_path / "config.toml"
    file.write_text("[rtmp]\nprot = 5\n[log]\nlevel = 'loud'\n")
    ran = run_program("check", directory=tmp_path)
    assert (ran.code, ran.out) == (78, "")
    assert ran.err.splitlines() == [
        f"{file}:2: rtmp.prot: unknown key; did you mean rtmp.port?",
        f"{file}:4: log.level: expected one of debug, info, warning, error",
    ]


def test_a_certificate_that_cannot_be_used_is_a_fault_of_its_line(tmp_path: Path) -> None:
    file = tmp_path / "config.toml"
    file.write_text("[http]\ncert_file = '/nowhere/a'\nkey_file = '/nowhere/b'\n")
    ran = run_program("check", directory=tmp_path)
    assert ran.code == 78
    assert ran.err.startswith(f"{file}:2: http.cert_file: /nowhere/a and /nowhere/b: No such file")


def test_a_webhook_that_cannot_be_is_a_fault_and_its_secret_is_not_shown(tmp_path: Path) -> None:
    file = tmp_path / "config.toml"
    secret = "a-secret-of-this-webhook"
    file.write_text(
        f'[[webhooks]]\nurl = "https://u:password@x.test/h"\nsecret = "{secret}"\n'
        'events = ["stream.begun"]\n'
    )
    ran = run_program("check", directory=tmp_path)
    assert ran.code == 78
    assert "webhooks[0]: 'stream.begun' is no event type" in ran.err
    file.write_text(file.read_text().replace("stream.begun", "stream.started"))
    ran = run_program("check", directory=tmp_path)
    assert ran.code == 0
    assert secret not in ran.out
    assert "password" not in ran.out


def test_with_certificates_there_are_four_listeners(tmp_path: Path) -> None:
    cert, key = self_signed_pem([])
    (tmp_path / "c").write_bytes(cert)
    (tmp_path / "k").write_bytes(key)
    sets = [
        f"--set={section}.{name}_file={tmp_path / name[0]}"
        for section in ("http", "rtmp")
        for name in ("cert", "key")
    ]
    ran = run_program("check", *sets)
    assert "HTTPS  all addresses, port 8443/tcp" in ran.out
    assert "RTMPS  all addresses, port 1936/tcp" in ran.out


def test_warnings_are_shown() -> None:
    ran = run_program("check", environ={"STREAMSERVER_RTMP_PORT": "1"})
    assert "warning: STREAMSERVER_RTMP_PORT sets nothing" in ran.out
