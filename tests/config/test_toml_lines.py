"""The lines of keys, against tomllib as the judge of what is there."""

import tomllib
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamserver.config.toml_lines import KeyPath, key_lines

TEXT = '''# a comment with [brackets] and = signs
[rtmp]
port = 1935   # "quoted
host = "a # b"

[[auth.keys]]
app = "live"
[[auth.keys]]
app = 'x'
extra.deep = { a = 1, "b c" = [
  2, # two ]
  3,
] }

[streams."live/demo"]
long = """
[not.a.table]
x = 1 \\""" still
"""
after = \'\'\'
]\'\'\'
last = 2020-01-01T00:00:00Z
'''


@pytest.mark.parametrize(
    ("path", "line"),
    [
        (("rtmp",), 2),
        (("rtmp", "port"), 3),
        (("rtmp", "host"), 4),
        (("auth", "keys", 0), 6),
        (("auth", "keys", 0, "app"), 7),
        (("auth", "keys", 1, "app"), 9),
        (("auth", "keys", 1, "extra", "deep", "a"), 10),
        (("auth", "keys", 1, "extra", "deep", "b c", 1), 12),
        (("streams", "live/demo", "long"), 16),
        (("streams", "live/demo", "after"), 20),
        (("streams", "live/demo", "last"), 22),
    ],
)
def test_each_key_is_found_on_its_line(path: KeyPath, line: int) -> None:
    assert key_lines(TEXT)[path] == line


def test_what_stands_in_a_string_is_no_key() -> None:
    assert ("not", "a", "table") not in key_lines(TEXT)


def _paths(value: Any, path: KeyPath = ()) -> Iterator[KeyPath]:
    if path:
        yield path
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from _paths(inner, (*path, key))
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            yield from _paths(inner, (*path, index))


def test_the_example_has_exactly_the_keys_that_tomllib_finds() -> None:
    assert set(key_lines(TEXT)) == set(_paths(tomllib.loads(TEXT)))


_KEYS = st.text("ab.\"' #[]=é", min_size=1, max_size=4)
_VALUES = st.recursive(
    st.integers() | st.booleans() | st.text("x\"'\\\n#[]{},= ", max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text("abc", min_size=1), inner, max_size=3)
    ),
    max_leaves=8,
)


def _basic(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'


def _toml(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int):
        return str(value)
    if isinstance(value, str):
        return _basic(value) if len(value) % 2 else '"""\n' + _basic(value)[1:-1] + '"""'
    if isinstance(value, list):
        return "[ # ]\n" + ",\n".join(map(_toml, value)) + "\n]"
    return "{" + ", ".join(f"{key} = {_toml(inner)}" for key, inner in value.items()) + "}"


@settings(max_examples=60, deadline=None)
@given(st.dictionaries(_KEYS, st.dictionaries(_KEYS, _VALUES, max_size=3), max_size=3))
def test_every_key_of_any_text_is_found_and_no_other(tables: dict[str, dict[str, Any]]) -> None:
    text = "".join(
        f"[{_basic(name)}]\n"
        + "".join(f"{_basic(key)} = {_toml(value)} # c\n" for key, value in table.items())
        for name, table in tables.items()
    )
    assert set(key_lines(text)) == set(_paths(tomllib.loads(text)))
