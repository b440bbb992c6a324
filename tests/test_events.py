"""The log of events: ids, replay, filters and bounds."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamserver.events import (
    FIGURES,
    EventFilter,
    EventLog,
    EventType,
    InvalidFilterError,
    check_stream_pattern,
    expand_types,
)
from streamserver.names import StreamKey
from tests.fakes import FakeClock, Turns

DEMO = StreamKey("live", "demo")


def make(boot: int = 7, max_bytes: int = 1 << 20) -> EventLog:
    return EventLog(boot=boot, wall_ns=FakeClock().wall_ns, schedule=Turns(), max_bytes=max_bytes)


def test_an_event_has_an_id_of_boot_and_sequence_and_is_json_once() -> None:
    log = make()
    assert log.last_id == "7-0"
    log.emit(EventType.STREAM_STARTED, {"session_id": "s"}, DEMO)
    log.emit(EventType.SERVER_DRAINING, {})
    first, second = log.since(0)
    assert [first.id, second.id, log.last_id] == ["7-1", "7-2", "7-2"]
    assert json.loads(first.wire) == {
        "id": "7-1",
        "type": "stream.started",
        "at": "2027-01-15T08:00:00.000Z",
        "stream": "live/demo",
        "data": {"session_id": "s"},
    }
    assert json.loads(second.wire)["stream"] is None
    assert log.emitted == {"stream.started": 1, "server.draining": 1}


def test_replay_goes_on_after_a_known_id() -> None:
    log = make()
    for _ in range(3):
        log.emit(EventType.SERVER_STARTED, {})
    assert log.position_after("7-0") == 1
    assert log.position_after("7-2") == 3
    assert log.position_after("7-3") == log.end


@pytest.mark.parametrize(
    "unknown",
    ["", "0", "7", "7-", "7-4", "6-1", "8-1", "7--1", "7-+1", "7- 1", "7-1x", "7-\u0663", "x-1",
     "7-" + "9" * 5000],
)  # fmt: skip
def test_an_id_that_was_never_given_is_unknown(unknown: str) -> None:
    log = make()
    for _ in range(3):
        log.emit(EventType.SERVER_STARTED, {})
    assert log.position_after(unknown) is None


@given(st.text())
def test_any_text_is_taken_for_an_id_without_an_error(text: str) -> None:
    log = make()
    log.emit(EventType.SERVER_STARTED, {})
    assert log.position_after(text) in (None, 1, 2)


def test_an_id_whose_followers_are_evicted_is_unknown() -> None:
    log = make(max_bytes=10_000)
    for _ in range(100):
        log.emit(EventType.SERVER_STARTED, {})
    assert log.start > 2
    assert log.position_after("7-1") is None
    assert log.position_after(f"7-{log.start - 1}") == log.start


def test_readers_are_woken_once_per_turn_and_never_within_the_emission() -> None:
    turns, woken = Turns(), []
    log = EventLog(boot=1, wall_ns=FakeClock().wall_ns, schedule=turns)
    log.wake(lambda: woken.append(log.end))
    log.emit(EventType.SERVER_STARTED, {})
    log.emit(EventType.SERVER_STARTED, {})
    assert woken == []
    turns.run_all()
    assert woken == [3]
    log.close()
    turns.run_all()
    assert len(woken) == 2
    assert log.closed
    log.emit(EventType.SERVER_STARTED, {})
    assert log.end == 3


def matching(filter_: EventFilter) -> list[tuple[str, str | None]]:
    log = make()
    log.emit(EventType.STREAM_STARTED, {}, DEMO)
    log.emit(EventType.VIEWER_JOINED, {}, StreamKey("live", "other"))
    log.emit(EventType.VIEWERS_COUNT, {}, StreamKey("tv", "demo"))
    log.emit(EventType.PUBLISH_REFUSED, {})
    log.emit(EventType.SERVER_DRAINING, {})
    return [
        (event.type.value, None if event.stream is None else str(event.stream))
        for event in log.since(0)
        if filter_.matches(event)
    ]


def test_a_filter_of_streams_lets_the_server_itself_pass() -> None:
    assert matching(EventFilter.parse("live/demo", "")) == [
        ("stream.started", "live/demo"),
        ("server.draining", None),
    ]
    assert matching(EventFilter.parse("live/*", "viewer.*,stream.started")) == [
        ("stream.started", "live/demo"),
        ("viewer.joined", "live/other"),
    ]
    assert len(matching(EventFilter.parse("", ""))) == 5
    assert len(matching(EventFilter.parse("*", "*"))) == 5


def test_figures_come_by_wildcard_only_where_that_is_wanted() -> None:
    assert expand_types(["*"], figures=True) == set(EventType)
    assert expand_types(["*"], figures=False) == set(EventType) - FIGURES
    assert expand_types(["stream.*"], figures=False).isdisjoint(FIGURES)
    assert expand_types(["viewers.count"], figures=False) == {EventType.VIEWERS_COUNT}


@pytest.mark.parametrize("wrong", ["", "stream", "stream.*.x", ".*", "nothing.*", "STREAM.STARTED"])
def test_what_is_no_type_is_refused(wrong: str) -> None:
    with pytest.raises(InvalidFilterError):
        expand_types([wrong], figures=True)


@pytest.mark.parametrize(
    "wrong", ["", "live", "live/", "/x", "a/b/c", "*/x", "li*/x", "../x", "api/x"]
)
def test_what_is_no_stream_is_refused(wrong: str) -> None:
    with pytest.raises(InvalidFilterError):
        check_stream_pattern(wrong)


def test_a_filter_has_a_bound() -> None:
    with pytest.raises(InvalidFilterError, match="at most 64"):
        EventFilter.parse(",".join(["live/x"] * 65), "")
