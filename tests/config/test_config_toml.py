"""The commented file in the repository, held against the code."""

import re
import tomllib
from pathlib import Path

from streamserver.config import Config, SourceKind, load
from streamserver.config.reader import dotted, leaf_paths

FILE = Path(__file__).parents[2] / "config.toml"
TEXT = FILE.read_text("utf-8")


def test_it_loads_and_says_the_defaults() -> None:
    assert load(FILE).config == Config()


def test_it_lists_every_key_in_the_order_of_the_code() -> None:
    listed: list[str] = []
    for section, keys in tomllib.loads(TEXT).items():
        listed += (
            [f"{section}.{key}" for key in keys] if isinstance(keys, dict) and keys else [section]
        )
    assert listed == [dotted(path) for path in leaf_paths(Config)]


def test_every_key_comes_from_it() -> None:
    assert all(source.kind is SourceKind.FILE for _, _, source in load(FILE).items())


def test_every_key_has_a_comment_above_it() -> None:
    lines = TEXT.splitlines()
    for index, line in enumerate(lines):
        if re.match(r"\w+ = ", line):
            assert lines[index - 1].startswith("# "), line
