"""The commands of README's chapter on the API."""

import re
from pathlib import Path
from typing import Final

__all__ = ["api_block", "api_commands"]

_README: Final = Path(__file__).parents[2] / "README.md"


def api_block() -> list[str]:
    """Its lines, without empty ones and comments."""
    text = _README.read_text(encoding="utf-8")
    chapter = text.partition("\n## The API\n")[2].partition("\n## ")[0]
    found = re.search(r"```sh\n(.*?)```", chapter, re.DOTALL)
    assert found is not None
    return [line for line in found[1].splitlines() if line and not line.startswith("#")]


def api_commands() -> list[str]:
    """The calls of curl among them."""
    return [line for line in api_block() if line.startswith("curl ")]
