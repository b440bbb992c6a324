import json
import os
import subprocess
import sys
import types
from pathlib import Path

import pytest

from streamserver import __version__
from streamserver.cli import main
from tests.cli.helpers_cli import run_program


def test_version_names_the_parts_that_matter() -> None:
    ran = run_program("version")
    assert ran.code == 0
    assert f"streamserver  {__version__}\n" in ran.out
    found = json.loads(run_program("version", "--json").out)
    assert found["streamserver"] == __version__
    assert set(found) >= {"ffmpeg", "event_loop", "python"}
    assert found["ffmpeg"][0].isdigit()


def test_openapi_prints_the_document(monkeypatch: pytest.MonkeyPatch) -> None:
    module = types.ModuleType("streamserver.api.openapi")
    monkeypatch.setattr(module, "document", lambda: {"openapi": "3.1.0"}, raising=False)
    monkeypatch.setitem(sys.modules, module.__name__, module)
    ran = run_program("openapi")
    assert (ran.code, json.loads(ran.out)) == (0, {"openapi": "3.1.0"})


def test_main_answers_the_exit_code(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["check", "--set", "rtmp.prot=1"]) == 78
    assert "did you mean rtmp.port?" in capsys.readouterr().err
    monkeypatch.setattr(sys, "argv", ["streamserver", "version"])
    assert main() == 0


def test_the_module_runs_and_a_reader_that_leaves_early_is_no_fault() -> None:
    # The pipe's reading end is closed before anything is written.
    program = subprocess.Popen(
        [sys.executable, "-W", "error", "-m", "streamserver", "check", "--config", "/dev/null"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"},
    )
    assert program.stdout is not None
    assert program.stderr is not None
    program.stdout.close()
    with program.stderr:
        assert program.stderr.read() == b""
    assert program.wait() == 0
