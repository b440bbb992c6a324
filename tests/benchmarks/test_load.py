"""A load generator that hangs or dies makes a round useless; it holds nobody up."""

import subprocess
import sys

import pytest

from benchmarks.load import _line
from benchmarks.rules import UselessRunError


def spawn(program: str) -> "subprocess.Popen[str]":
    return subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)


@pytest.mark.parametrize(
    ("program", "seconds", "why"),
    [
        ("import sys; sys.stdin.read()", 0.05, "said nothing"),
        ("raise SystemExit(3)", 30, "code 3"),
    ],
)
def test_a_generator_that_says_nothing_or_ends_makes_a_round_useless(program, seconds, why):
    with subprocess.Popen(
        [sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            with pytest.raises(UselessRunError, match=why):
                _line(process, seconds)
        finally:
            process.kill()


def test_its_lines_come_one_by_one():
    with spawn("print('ready', flush=True)") as process:
        try:
            assert _line(process, 30) == "ready\n"
        finally:
            process.kill()
