import json
import os
import signal
import socket
from pathlib import Path

import pytest

from streamserver.cli import sink as module
from streamserver.cli.arguments import SinkOptions, parse
from streamserver.sink import SinkEvent, as_json
from tests.cli.helpers_cli import run_program


@pytest.fixture
def _stopped_when_open(monkeypatch: pytest.MonkeyPatch) -> None:
    """The process gets a signal as soon as the sink listens."""

    def shown(event: SinkEvent) -> str:
        os.kill(os.getpid(), signal.SIGTERM)
        return as_json(event)

    monkeypatch.setattr(module, "as_json", shown)


def test_all_that_can_be_asked_of_the_sink() -> None:
    options = parse(
        ["sink", "--host", "", "--port", "5", "--misbehave", "slow:80k", "--tls", "--json",
         "--save-cert", "a.pem"]
    )  # fmt: skip
    assert options.command == "sink"
    assert options.json
    assert options.sink == SinkOptions(
        host="", port=5, misbehave="slow:80k", tls=True, save_cert="a.pem"
    )
    assert parse(["sink"]).sink == SinkOptions()


@pytest.mark.parametrize(
    "words",
    [
        ["--misbehave", "explode"],
        ["--port", "x"],
        ["--port", "65536"],
        ["--port", "-1"],
        ["--set", "a.b=1"],
    ],
)
def test_wrong_usage_exits_with_2(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        parse(["sink", *words])
    assert caught.value.code == 2
    capsys.readouterr()


@pytest.mark.usefixtures("_stopped_when_open")
def test_a_signal_ends_it_well() -> None:
    ran = run_program("sink", "--port", "0", "--json")
    assert ran.code == 0
    event = json.loads(ran.out.splitlines()[0])
    assert event["event"] == "listening"
    assert event["url"] == f"rtmp://localhost:{event['port']}/live"


@pytest.mark.usefixtures("_stopped_when_open")
def test_its_certificate_can_be_saved(tmp_path: Path) -> None:
    path = tmp_path / "sink.pem"
    ran = run_program("sink", "--port", "0", "--json", "--tls", "--save-cert", str(path))
    assert ran.code == 0
    assert path.read_bytes().startswith(b"-----BEGIN CERTIFICATE-----")
    assert b"PRIVATE" not in path.read_bytes()


def test_a_certificate_that_cannot_be_saved_is_told(tmp_path: Path) -> None:
    path = str(tmp_path / "nowhere" / "sink.pem")
    ran = run_program("sink", "--port", "0", "--tls", "--save-cert", path)
    assert ran.code == 69
    assert "cannot be written: No such file" in ran.err


def test_a_taken_port_exits_with_69_and_names_the_flag() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        ran = run_program("sink", "--host", "127.0.0.1", "--port", str(port))
    assert ran.code == 69
    assert "--port" in ran.err


def test_a_host_that_is_none_exits_with_78() -> None:
    assert run_program("sink", "--host", "media.example.org", "--port", "0").code == 78


def test_a_reader_that_leaves_ends_it() -> None:
    class Broken:
        def write(self, text: str) -> int:
            raise BrokenPipeError

        def flush(self) -> None:
            pass

    options = parse(["sink", "--port", "0"])
    assert module.run_sink(options, stdout=Broken(), stderr=Broken()) == 0  # type: ignore[arg-type]
