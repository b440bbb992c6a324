import asyncio
import gc
import io
import json
import logging
import os
import signal
import sys
import threading
import types
from pathlib import Path

import pytest

from streamserver.cli import serve as module
from streamserver.cli.arguments import parse
from streamserver.cli.program import Context, execute
from streamserver.errors import ConfigError, UnavailableError
from tests.cli.helpers_cli import KEY, TOKEN, FakeRunning, FakeServer, Secrets, run_program


def test_the_server_is_told_what_the_command_line_says() -> None:
    server = FakeServer()
    ran = run_program(
        "demo", "--tls-self-signed", "--open", "--set", "rtmp.port=5", "--log-level=debug",
        server=server,
    )  # fmt: skip
    assert ran.code == 0
    assert (server.told["demo"], server.told["tls_self_signed"]) == (True, True)
    assert server.told["open_browser"] is True
    config = server.told["config"].config
    assert (config.rtmp.port, config.log.level) == (5, "debug")


def test_serve_is_no_demonstration() -> None:
    server = FakeServer()
    run_program(server=server)
    assert (server.told["demo"], server.told["tls_self_signed"]) == (False, False)


def test_when_the_ports_are_open_the_banner_goes_to_standard_error() -> None:
    ran = run_program()
    assert f"demo?key={KEY}" in ran.err
    assert TOKEN in ran.err
    assert "\x1b" not in ran.err
    assert ran.out == ""


def test_what_the_banner_showed_is_masked_in_the_log_from_then_on() -> None:
    async def body() -> None:
        logging.getLogger("streamserver.x").info("%s and %s", KEY, TOKEN)

    ran = run_program(server=FakeServer(body))
    assert json.loads(ran.out)["event"] == "*** and ***"


def test_secrets_of_the_configuration_are_masked_in_the_log() -> None:
    async def body() -> None:
        logging.getLogger("streamserver.x").info("%s", "0123456789abcdef")

    ran = run_program("--set", "auth.api_token=0123456789abcdef", server=FakeServer(body))
    assert json.loads(ran.out)["event"] == "***"


def test_with_configured_credentials_the_banner_shows_none() -> None:
    running = FakeRunning(access=Secrets())
    ran = run_program(server=FakeServer(running=running))
    assert "[auth] api_token" in ran.err
    assert "<your publish key>" in ran.err


def test_a_faulty_configuration_starts_nothing_and_exits_with_78() -> None:
    server = FakeServer()
    ran = run_program("--set", "rtmp.prot=1", server=server)
    assert (ran.code, server.told) == (78, {})
    assert ran.err == "--set: rtmp.prot: unknown key; did you mean rtmp.port?\n"


def test_warnings_of_the_configuration_are_logged() -> None:
    ran = run_program(environ={"STREAMSERVER_RTMP_PORT": "1"})
    assert json.loads(ran.out)["level"] == "warning"


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (UnavailableError("port 1935 is taken: look for another media server"), 69),
        (ConfigError("no such certificate"), 78),
        (ExceptionGroup("tasks", [ValueError(), UnavailableError("port 1935 is taken")]), 69),
    ],
)
def test_what_ends_the_server_is_told_and_becomes_the_exit_code(
    error: Exception, code: int
) -> None:
    async def body() -> None:
        raise error

    ran = run_program(server=FakeServer(body))
    assert ran.code == code
    assert ran.err.splitlines()[-1].startswith(("streamserver: port 1935", "streamserver: no such"))
    assert ran.out == ""


def test_the_collector_works_again_after_a_start_that_failed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def body() -> None:
        assert not gc.isenabled()
        raise UnavailableError("port 1935 is taken")

    def begun() -> FakeServer:
        gc.disable()
        return FakeServer(body)

    monkeypatch.setattr(module, "_server", begun)
    out = io.StringIO()
    assert execute(parse([]), Context({}, Path("/nowhere"), out, out)) == 69
    assert gc.isenabled()


def test_a_fault_of_ours_is_logged_with_its_traceback_and_exits_with_1() -> None:
    async def body() -> None:
        raise RuntimeError("a bug")

    ran = run_program(server=FakeServer(body))
    assert ran.code == 1
    entry = json.loads(ran.out)
    assert entry["level"] == "critical"
    assert "RuntimeError: a bug" in entry["exception"]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_first_signal_drains_and_exits_with_0(number: signal.Signals) -> None:
    drained = []

    async def body() -> None:
        try:
            os.kill(os.getpid(), number)
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0)
            drained.append(True)

    ran = run_program(server=FakeServer(body))
    assert (ran.code, drained) == (0, [True])
    assert f"{number.name}: draining" in ran.out


def test_the_second_signal_ends_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    codes: list[int] = []
    ended = asyncio.Event()

    def exit_now(code: int) -> None:
        codes.append(code)
        ended.set()

    monkeypatch.setattr(os, "_exit", exit_now)
    monkeypatch.setattr(logging, "shutdown", lambda: None)

    async def body() -> None:
        try:
            os.kill(os.getpid(), signal.SIGTERM)
            await asyncio.Event().wait()
        finally:
            os.kill(os.getpid(), signal.SIGTERM)
            await ended.wait()

    run_program(server=FakeServer(body))
    assert codes == [128 + signal.SIGTERM]


def test_a_server_that_does_not_end_in_time_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    codes: list[int] = []
    ended = threading.Event()

    def exit_now(code: int) -> None:
        codes.append(code)
        ended.set()

    monkeypatch.setattr(os, "_exit", exit_now)
    monkeypatch.setattr(logging, "shutdown", lambda: None)
    monkeypatch.setattr(module, "_CLOSING_S", -10)

    async def body() -> None:
        try:
            os.kill(os.getpid(), signal.SIGTERM)
            await asyncio.Event().wait()
        finally:
            # The loop stands still: only a thread can still act.
            ended.wait()

    ran = run_program(server=FakeServer(body))
    assert codes == [1]
    assert "did not end within 0 s" in ran.out


def test_a_server_that_cancels_itself_is_a_failure() -> None:
    async def body() -> None:
        raise asyncio.CancelledError

    with pytest.raises(asyncio.CancelledError):
        run_program(server=FakeServer(body))


@pytest.mark.skipif(sys.platform != "linux", reason="uvloop is asked for on Linux")
def test_the_loop_is_uvloop() -> None:
    loops: list[str] = []

    async def body() -> None:
        loops.append(type(asyncio.get_running_loop()).__module__)

    run_program(server=FakeServer(body))
    assert loops == ["uvloop"]


def test_the_real_server_is_imported_late(monkeypatch: pytest.MonkeyPatch) -> None:
    server = types.ModuleType("streamserver.daemon")
    run = FakeServer()
    monkeypatch.setattr(server, "run", run, raising=False)
    monkeypatch.setitem(sys.modules, "streamserver.daemon", server)
    assert module._server() is run
