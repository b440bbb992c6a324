"""Info objects, as servers send them and as they do not."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamserver.rtmp.amf import AmfValue
from streamserver.rtmp.command import command, error, on_status, parse_command
from streamserver.rtmp.message import Message
from streamserver.rtmp.status import Status, clean, read_status


def read(message: Message) -> Status:
    return read_status(parse_command(message))


def test_the_object_is_read():
    status = read(on_status(1, "NetStream.Publish.Start", "Go.", clientid=5))
    assert (status.level, status.code) == ("status", "NetStream.Publish.Start")
    assert status.description == "Go."
    assert status.values["clientid"] == 5
    assert not status.is_refusal


@pytest.mark.parametrize(
    ("code", "level", "refusal"),
    [
        ("Anything", "error", True),
        ("NetStream.Publish.BadName", "status", True),
        ("NetStream.Play.StreamNotFound", "", True),
        ("NetStream.Play.Reset", "status", False),
        ("NetStream.Play.InsufficientBW", "warning", False),
    ],
)
def test_the_level_refuses_and_so_do_some_codes(code, level, refusal):
    assert read(on_status(1, code, "", level=level)).is_refusal is refusal


@pytest.mark.parametrize("values", [(), (None,), (None, 5), (None, []), (None, {"code": 5})])
def test_what_is_missing_is_empty(values: tuple[AmfValue, ...]):
    status = read(command(0, "onStatus", 0, *values))
    assert (status.level, status.code, status.description) == ("", "", "")
    assert not status.is_refusal
    assert status.redirect is None


def test_a_redirect_needs_its_code():
    ex: dict[str, AmfValue] = {"code": 302, "redirect": "rtmp://a/b", "redirect2": "rtmp://a/b/c"}
    info: dict[str, AmfValue] = {"level": "error", "ex": ex}
    assert read(command(0, "_error", 1, None, info)).redirect == ("rtmp://a/b", "rtmp://a/b/c")
    ex["code"] = 301
    assert read(command(0, "_error", 1, None, info)).redirect is None
    assert read(error(1, "x", "y")).redirect is None


def test_the_description_is_not_shown_before_it_is_masked():
    assert "secret" not in repr(read(error(1, "NetStream.Failed", "secret key")))


@given(st.text(max_size=400))
def test_clean_text_is_one_short_line(text):
    cleaned = clean(text * 20)
    assert len(cleaned) <= 300
    assert not any(character in cleaned for character in "\r\n\t\0\x1b\x7f")
