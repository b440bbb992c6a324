"""The doctor tries whole servers: its own, and one that runs."""

import json
import socket
from pathlib import Path

import pytest
from msgspec.structs import replace

from streamserver.config import Config, HookConfig, load
from streamserver.config.secret import Secret
from streamserver.doctor import network
from streamserver.doctor.findings import Finding, Status
from streamserver.doctor.publisher import Sent
from streamserver.doctor.trial import try_it
from streamserver.server import Server
from tests.cli.helpers_cli import run_program
from tests.test_server import configured

HOOK = "http://127.0.0.1:{}/may?secret=hidden"


async def far_sides(port: int) -> list[Finding]:
    hook = HookConfig(url=Secret(HOOK.format(port)))
    config = Config(auth=replace(Config().auth, hooks=(hook,)))
    return [one async for one in network.far_sides(config)]


async def test_a_hook_that_listens_is_reached_and_its_query_is_not_told():
    with socket.create_server(("127.0.0.1", 0)) as listening:
        (found,) = await far_sides(listening.getsockname()[1])
    assert found.status is Status.OK
    assert "hidden" not in found.text


async def test_a_hook_that_does_not_listen_is_a_missing_service():
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
    (found,) = await far_sides(port)
    assert (found.status, found.code) == (Status.FAILED, 69)


async def test_the_trial_of_a_server_that_runs_tells_how_late_pictures_are(tmp_path: Path):
    server = Server(configured(tmp_path), environ={})
    await server.start()
    try:
        ports = {one.name: one.port for one in server.facts.listeners}
        running = load(
            environ={},
            overrides=(f"rtmp.port={ports['rtmp']}", f"http.port={ports['http']}"),
            directory=tmp_path,
        ).config
        found = await try_it(running, {}, running=True, key="")
    finally:
        await server.close()
    assert found.status in (Status.OK, Status.WARNING), found.text
    assert float(found.figures["part_delay_median_ms"]) > 0
    assert float(found.figures["shown_after_ms"]) > float(found.figures["hold_back_ms"])


async def test_where_nothing_runs_the_trial_says_so():
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
    config = replace(Config(), rtmp=replace(Config().rtmp, port=port))
    found = await try_it(config, {}, running=True, key="")
    assert (found.status, found.code) == (Status.FAILED, 69)
    assert "cannot be reached" in found.text


def test_the_command_answers_json_and_the_exit_code_of_a_taken_port(tmp_path: Path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        ran = run_program(
            "doctor", "--json", "--set", f"rtmp.port={taken.getsockname()[1]}",
            "--set", "rtmp.host=127.0.0.1", "--set", "http.port=0", "--set", "webrtc.port=0",
            "--set", f"storage.path={tmp_path}", directory=tmp_path,
        )  # fmt: skip
    answer = json.loads(ran.out)
    assert (ran.code, answer["exit_code"]) == (69, 69)
    by_check = {one["check"]: one for one in answer["findings"]}
    assert {"ports", "limits", "tls", "disk", "hooks", "ice", "trial"} == set(by_check)
    assert by_check["trial"]["status"] in ("ok", "warning"), by_check["trial"]


def test_a_broken_configuration_is_no_matter_for_the_doctor(tmp_path: Path):
    assert run_program("doctor", "--set", "rtmp.port=x", directory=tmp_path).code == 78


def test_what_was_sent_last_before_a_moment_is_found(monkeypatch: pytest.MonkeyPatch):
    sent = Sent()
    assert sent.before(10) is None
    times = iter([1.0, 2.0, 3.0])
    monkeypatch.setattr("time.monotonic", lambda: next(times))
    for stamp_ms in (100, 133, 167):
        sent.add(stamp_ms)
    monkeypatch.undo()
    assert (sent.before(33), sent.before(67), sent.before(999)) == (1.0, 2.0, 3.0)
