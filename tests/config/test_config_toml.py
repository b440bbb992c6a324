"""The commented file in the repository, held against the code."""

import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from streamserver.config import Config, SourceKind, load
from streamserver.config.reader import dotted, leaf_paths

FILE = Path(__file__).parents[2] / "config.toml"
TEXT = FILE.read_text("utf-8")


def test_it_loads_and_says_the_defaults() -> None:
    assert load(FILE).config == Config()


def listed(table: dict[str, Any], above: str = "") -> Iterator[str]:
    for name, value in table.items():
        path = f"{above}.{name}" if above else name
        if isinstance(value, dict) and value:
            yield from listed(value, path)
        else:
            yield path


def test_it_lists_every_key_in_the_order_of_the_code() -> None:
    assert list(listed(tomllib.loads(TEXT))) == [dotted(path) for path in leaf_paths(Config)]


def test_every_key_comes_from_it() -> None:
    assert all(source.kind is SourceKind.FILE for _, _, source in load(FILE).items())


def test_every_key_has_a_comment_above_it() -> None:
    lines = TEXT.splitlines()
    for index, line in enumerate(lines):
        if re.match(r"\w+ = ", line):
            assert lines[index - 1].startswith("# "), line
