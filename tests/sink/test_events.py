import json

from streamserver.rtmp.message import VIDEO, Message
from streamserver.sink import SinkEvent, as_json, as_text
from streamserver.sink.events import Totals, ended, progress, published
from tests.sink.test_publication import messages, publication

SECOND = 1_000_000_000


def one_second() -> SinkEvent:
    from tests import media_factory

    got = publication()
    before = Totals.of(got, 0)
    for message in messages(media_factory.h264_aac()):
        got.take(message, message.timestamp * 1_000_000)
    return progress(got, before, Totals.of(got, 2 * SECOND))


def test_progress_tells_rates_counts_and_gaps() -> None:
    event = one_second()
    facts = event.facts
    assert (facts["fps"], facts["time_s"], facts["video_frames"]) == (30.0, 2.0, 60)
    assert isinstance(facts["kbit_s"], int)
    line = as_text(event)
    assert line.startswith("127.0.0.1:5000 live/abcd… 2.0 s: 30.0 fps, ")
    assert "60 h264 frames (2 keyframes)" in line
    assert "NOT" not in line


def test_json_is_one_object_on_one_line_with_the_same_facts() -> None:
    event = one_second()
    line = as_json(event)
    assert "\n" not in line
    assert json.loads(line) == {"event": "progress", **event.facts}


def test_what_is_wrong_with_the_media_stands_in_the_line() -> None:
    got = publication()
    for ms in (40, 20):
        got.take(Message(VIDEO, ms, 1, b"\x27\x01\x00\x00\x00\x01"), 0)
    got.take(Message(VIDEO, 0, 1, b"\x17"), 0)
    line = as_text(ended("127.0.0.1:5000", "it left", got))
    assert "ended: it left. 2 h264 frames" in line
    assert line.endswith("NOT begun at a keyframe, 1 steps back, 1 damaged")


def test_a_connection_that_never_published_ends_with_its_reason_alone() -> None:
    assert as_text(ended("1.2.3.4:5", "reset", None)) == "1.2.3.4:5 ended: reset."


def test_a_peers_words_drive_no_terminal_and_no_format() -> None:
    got = publication()
    got.encoder = "\x1b[2Jevil {remote}\n"
    line = as_text(published(got))
    assert "\\x1b[2Jevil {remote}\\n" in line
    assert "\n" not in line


def test_secrets_stand_in_no_event() -> None:
    got = publication("abcdefghijkl?token=xyz")
    for event in (published(got), ended("r", "why", got)):
        assert "efgh" not in as_json(event) + as_text(event)
        assert "xyz" not in as_json(event) + as_text(event)
