import io
import json
import logging
import re
import warnings
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamserver.logging_setup import (
    RateLimitedLogger,
    Redactor,
    escape_controls,
    set_up_logging,
    use_color,
)

logger = logging.getLogger("streamserver.tests.logging")


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def _restored_logging() -> Iterator[None]:
    root = logging.getLogger()
    loggers = [root, logging.getLogger("streamserver"), logging.getLogger("asyncio")]
    levels, handlers = [each.level for each in loggers], list(root.handlers)
    yield
    logging.captureWarnings(False)
    root.handlers[:] = handlers
    for each, level in zip(loggers, levels, strict=True):
        each.setLevel(level)


def text_log() -> io.StringIO:
    stream = io.StringIO()
    set_up_logging(form="text", stream=stream)
    return stream


def json_log(*secrets: str) -> io.StringIO:
    stream = io.StringIO()
    set_up_logging(form="json", stream=stream, secrets=secrets)
    return stream


@pytest.mark.parametrize(
    ("text", "clean"),
    [
        ("GET /x?key=abc&b=1", "GET /x?key=***&b=1"),
        ("GET /x?a=1&token=abc HTTP/1.1", "GET /x?a=1&token=*** HTTP/1.1"),
        ("live/demo?TOKEN=abc", "live/demo?TOKEN=***"),
        ("live/demo?abcdef0123", "live/demo?***"),
        ("?access_token=a.b.c", "?access_token=***"),
        ("x?key%3Dabc", "x?key%3D***"),
        ("password=abc, user=u", "password=***, user=u"),
        ("Authorization: Bearer abcdef.ghi-jk", "Authorization: Bearer ***"),
        ("authorization: basic dXNlcjpw", "authorization: basic ***"),
        ("rtmp://user:pw@host/live", "rtmp://***@host/live"),
        ("https://token@host:8080/x", "https://***@host:8080/x"),
        ("{'token': 'abc', 'a': 'b'}", "{'token': '***', 'a': 'b'}"),
        ('{"streamKey": "a b", "n": 1}', '{"streamKey": "***", "n": 1}'),
        ("Secret(key='abc')", "Secret(key='***')"),
        ("{'token': b'abc'} key=b'abc'", "{'token': b'***'} key=b'***'"),
    ],
)
def test_what_looks_like_a_credential_is_masked(text: str, clean: str) -> None:
    assert Redactor().clean(text) == clean


@pytest.mark.parametrize(
    "text",
    [
        "live/demo is live",
        "is the keyframe interval 2 s? yes",
        "monkey=1 bypass=2",
        "http://host:8080/play/live/demo",
        "a bearer of news",
        "user@example.org wrote",
    ],
)
def test_what_is_no_credential_is_left_alone(text: str) -> None:
    assert Redactor().clean(text) == text


def test_a_registered_secret_is_masked_wherever_it_stands_and_percent_encoded_too() -> None:
    redactor = Redactor(["abc/def+1"])
    redactor.register("abc/def+1-longer", "x")
    assert redactor.clean("<abc/def+1> abc%2Fdef%2B1 abc/def+1-longer x") == "<***> *** *** x"


@given(st.text(), st.text("abcdefghijk0123456789", min_size=6, max_size=12), st.text())
def test_no_text_around_it_lets_a_registered_secret_through(
    before: str, secret: str, after: str
) -> None:
    assert secret not in Redactor([secret]).clean(f"{before}{secret}{after}").replace("***", "\0")


@given(st.text())
def test_an_escaped_text_stays_on_its_line(text: str) -> None:
    assert len(f"{escape_controls(text)}.".splitlines()) == 1
    assert not re.search(r"[\x00-\x1f\x7f-\x9f]", escape_controls(text))


def test_a_text_line_tells_time_level_place_message_and_facts() -> None:
    stream = text_log()
    logger.info("%s is live", "live/demo", extra={"session": "s1", "remote": "::1"})
    assert re.fullmatch(
        r"\d\d:\d\d:\d\d\.\d{3} info    tests\.logging: live/demo is live"
        r"  session=s1  remote=::1\n",
        stream.getvalue(),
    )


def test_a_json_line_is_one_object_with_the_facts() -> None:
    stream = json_log()
    logger.warning("%s left", "live/demo", extra={"session": "s1", "bytes": 5, "ok": None})
    entry = json.loads(stream.getvalue())
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", entry.pop("ts"))
    assert entry == {
        "level": "warning",
        "logger": "tests.logging",
        "event": "live/demo left",
        "session": "s1",
        "bytes": 5,
        "ok": None,
    }


@pytest.mark.parametrize("form", ["text", "json"])
def test_neither_message_nor_argument_nor_fact_nor_exception_shows_a_secret(form: str) -> None:
    stream = io.StringIO()
    redactor = set_up_logging(form=form, stream=stream, secrets=["hidden-in-config"])
    redactor.register("hidden-later")
    try:
        raise ValueError("bad ?key=hidden1 and hidden-later")
    except ValueError:
        logger.exception(
            "refused rtmp://u:hidden2@h/live?token=%s hidden-in-config",
            "hidden3",
            extra={"token": "hidden4", "url": "x?key=hidden5"},
            stack_info=True,
        )
    assert "refused" in stream.getvalue()
    assert "ValueError" in stream.getvalue()
    # The source lines of the traceback hold the words of this test itself.
    logged = re.sub(r'(raise ValueError|logger\.exception|File ")[^\n]*', "", stream.getvalue())
    shown = set(re.findall(r"hidden\w*", logged))
    assert not shown


def test_control_characters_cannot_forge_a_line() -> None:
    stream = text_log()
    logger.info("name %s", "a\r\n12:00:00.000 error   fake\x1b[2J\u2028", extra={"ua": "b\nc"})
    (line,) = stream.getvalue().splitlines()
    assert r"a\r\n12:00:00.000 error   fake\x1b[2J\u2028" in line
    assert r"ua=b\nc" in line


def test_an_exception_in_text_is_indented_and_in_json_one_field() -> None:
    try:
        raise RuntimeError("a\nb")
    except RuntimeError:
        text = text_log()
        logger.exception("failed")
        stream = json_log()
        logger.exception("failed")
    first, *rest = text.getvalue().splitlines()
    assert first.endswith("failed")
    assert all(line.startswith("    ") for line in rest)
    (line,) = stream.getvalue().splitlines()
    assert "RuntimeError: a\nb" in json.loads(line)["exception"]


def test_a_line_with_wrong_arguments_is_still_written() -> None:
    stream = text_log()
    logger.info("%d viewers of %s", 3)
    assert "%d viewers of %s (cannot be formatted" in stream.getvalue()


def test_a_line_of_a_peer_that_goes_on_and_on_is_cut() -> None:
    stream = text_log()
    logger.info("x" * 100_000, extra={"ua": "y" * 100_000})
    assert len(stream.getvalue()) < 20_000
    assert "(100000 characters)" in stream.getvalue()


def test_auto_is_text_on_a_terminal_and_json_elsewhere() -> None:
    for stream, is_json in ((Terminal(), False), (io.StringIO(), True)):
        set_up_logging(stream=stream)
        logger.info("hello")
        assert stream.getvalue().startswith("{") is is_json


def test_colours_only_on_a_terminal_without_no_color() -> None:
    assert use_color(Terminal(), {})
    assert use_color(Terminal(), {"NO_COLOR": ""})
    assert not use_color(Terminal(), {"NO_COLOR": "1"})
    assert not use_color(io.StringIO(), {})
    stream = Terminal()
    set_up_logging(stream=stream)
    logger.warning("careful")
    assert "\x1b[33mwarning\x1b[0m" in stream.getvalue()


def test_the_level_holds_for_us_and_others_only_warn() -> None:
    stream = text_log()
    logger.debug("quiet")
    logging.getLogger("aiohttp.access").info("quiet")
    logging.getLogger("aiohttp").warning("loud")
    logger.info("loud")
    assert stream.getvalue().count("loud") == 2
    assert "quiet" not in stream.getvalue()


def test_warnings_of_python_become_lines() -> None:
    stream = text_log()
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        logging.captureWarnings(True)
        warnings.warn("old ?key=abc", UserWarning, stacklevel=1)
    assert "old ?key=***" in stream.getvalue()


def test_a_second_setup_takes_the_place_of_the_first() -> None:
    first, second = text_log(), text_log()
    logger.info("once")
    assert first.getvalue() == ""
    assert second.getvalue().count("once") == 1


def test_one_line_an_interval_with_a_count_of_the_rest(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    times = [0, 1, 999, 1000, 1500, 5000, 6000]
    limited = RateLimitedLogger(logger, interval_ns=1000, now_ns=iter(times).__next__)
    written = [limited.info("from %s", "::1", remote="::1") for _ in times]
    assert written == [True, False, False, True, False, True, True]
    assert [record.getMessage() for record in caplog.records] == [
        "from ::1",
        "from ::1 (2 more like it were left out)",
        "from ::1 (1 more like it were left out)",
        "from ::1",
    ]
    assert vars(caplog.records[0])["remote"] == "::1"


def test_lines_below_the_level_are_not_counted(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING, "streamserver.tests.logging")
    limited = RateLimitedLogger(logger)
    assert not limited.info("x")
    assert limited.suppressed == 0
    assert limited.warning("x")
