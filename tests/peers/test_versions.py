"""The oldest versions that are allowed of the libraries whose private names are used.

The newest ones are those that every other test runs with.
"""

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

pytestmark = pytest.mark.peer

ROOT = Path(__file__).parents[2]
LIBRARIES = ("aioice", "aiortc", "pylibsrtp", "pyopenssl", "av")
TOOLS = (
    "aiodns", "aiohttp", "blockbuster", "hypothesis", "msgspec", "numpy", "pyee", "pyjwt",
    "pytest", "pytest-asyncio", "pytest-timeout", "pytest-xdist", "uvloop",
)  # fmt: skip


def oldest() -> list[str]:
    """``aiortc==1.16.*`` for ``aiortc>=1.16,<1.17``."""
    wanted = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
    found = (re.match(r"([a-z0-9]+)>=([0-9.]+)", line) for line in wanted)
    return [f"{one[1]}=={one[2]}.*" for one in found if one and one[1] in LIBRARIES]


@pytest.mark.timeout(600)
def test_the_transport_works_with_the_oldest_versions_that_are_allowed(tmp_path):
    pins = oldest()
    assert len(pins) == len(LIBRARIES)
    subprocess.run([sys.executable, "-m", "venv", tmp_path / "venv"], check=True)
    python = tmp_path / "venv" / "bin" / "python"
    # A pin such as 26.* takes the newest of them; pyOpenSSL's first is what we mean.
    pins = [pin.replace("pyopenssl==26.*", "pyopenssl==26.0.*") for pin in pins]
    subprocess.run([python, "-m", "pip", "install", "-q", *pins, *TOOLS], check=True)
    done = subprocess.run(
        [python, "-m", "pytest", "-q", "-n", "0", "-p", "no:cacheprovider", "tests/webrtc"],
        cwd=ROOT, env={"PYTHONPATH": str(ROOT), "PATH": ""}, capture_output=True, text=True,
        check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-4000:]
