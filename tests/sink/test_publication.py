from collections import deque

import pytest

from streamserver.media.track import Kind
from streamserver.rtmp.events import DataReceived
from streamserver.rtmp.message import AUDIO, VIDEO, Message
from streamserver.sink import MediaCounts, SinkPublication
from tests import media_factory

SECOND = 1_000_000_000


def publication(key: str = "abcdefgh?s=1", app: str = "live", keep: int = 0) -> SinkPublication:
    return SinkPublication(
        remote="127.0.0.1:5000",
        app=app,
        key=key,
        tc_url="rtmp://user:secret@host/live",
        encoder="test/1.0",
        four_ccs=(),
        accepted_ns=0,
        messages=deque(maxlen=keep),
    )


def messages(clip: media_factory.Clip) -> list[Message]:
    return [tag.message() for tag in media_factory.tags(clip.flv)]


def test_a_whole_clip_is_counted_exactly() -> None:
    clip = media_factory.h264_aac()
    got = publication()
    for message in messages(clip):
        got.take(message, message.timestamp * 1_000_000)
    assert (got.video.codec, got.audio.codec) == ("h264", "aac")
    assert (got.video.frames, got.video.keyframes, got.video.headers) == (60, 2, 1)
    assert got.audio.frames == len(clip.of(Kind.AUDIO))
    assert got.begins_with_keyframe is True
    assert got.video.longest_gap_ms in (33, 34)
    assert got.video.longest_silence_ms == got.video.longest_gap_ms
    assert got.video.span_ms == 1967
    assert got.bytes == sum(len(message.body) for message in messages(clip))
    assert got.video.backward_steps == got.audio.backward_steps == got.video.damaged == 0
    assert not got.messages


@pytest.mark.parametrize("clip", [media_factory.hevc_aac, media_factory.vp9_opus])
def test_enhanced_bodies_are_counted_too(clip) -> None:
    got = publication()
    for message in messages(clip()):
        got.take(message, 0)
    assert (got.video.frames, got.video.headers, got.begins_with_keyframe) == (60, 1, True)


def test_a_stream_that_begins_in_the_middle_of_a_group_is_told() -> None:
    video = [one for one in messages(media_factory.h264_aac()) if one.type_id == VIDEO]
    got = publication()
    got.take(video[0], 0)
    got.take(video[5], 0)
    assert got.begins_with_keyframe is False


def test_a_keyframe_without_its_header_is_no_beginning() -> None:
    video = [one for one in messages(media_factory.h264_aac()) if one.type_id == VIDEO]
    got = publication()
    got.take(video[1], 0)
    assert (got.video.keyframes, got.begins_with_keyframe) == (1, False)


def test_a_lost_frame_shows_as_a_gap_in_time_stamps_and_in_arrival() -> None:
    counts = MediaCounts()
    for ms in (0, 40, 160, 200):
        counts.take_frame(ms, ms * 2_000_000)
    assert (counts.longest_gap_ms, counts.longest_silence_ms, counts.span_ms) == (120, 240, 200)


def test_time_stamps_are_followed_through_their_wrap_and_backwards() -> None:
    counts = MediaCounts()
    for ms in (2**32 - 40, 0, 40, 20, 80):
        counts.take_frame(ms, 0)
    assert (counts.span_ms, counts.longest_gap_ms, counts.backward_steps) == (120, 60, 1)


def test_damaged_and_unknown_messages_are_counted_and_harmless() -> None:
    got = publication()
    got.take(Message(VIDEO, 0, 1, b"\x17"), 0)
    got.take(Message(AUDIO, 0, 1, b""), 0)
    got.take(Message(AUDIO, 0, 1, b"\x00\x01\x02"), 0)
    assert (got.video.damaged, got.audio.damaged, got.frames, got.bytes) == (1, 0, 0, 4)


def test_the_newest_messages_are_kept_as_far_as_asked() -> None:
    got = publication(keep=2)
    sent = messages(media_factory.h264_aac())[:5]
    for message in sent:
        got.take(message, 0)
    assert list(got.messages) == sent[3:]


def test_metadata_is_kept_and_other_data_counted() -> None:
    got = publication()
    got.take_data(DataReceived(1, 0, "onMetaData", ({"width": 320.0},)))
    got.take_data(DataReceived(1, 0, "onTextData", ({"text": "hello"},)))
    got.take_data(DataReceived(1, 0, "onMetaData", ("nothing",)))
    assert (got.data_messages, got.metadata) == (3, {"width": 320.0})


@pytest.mark.parametrize(
    ("app", "key", "shown"),
    [
        ("live", "abcdefgh?s=1", "live/abcd…"),
        ("live", "cam", "live/cam"),
        ("app?token=secret", "abcdefgh", "app?…/abcd…"),
    ],
)
def test_keys_are_masked_where_people_look(app: str, key: str, shown: str) -> None:
    got = publication(key, app)
    assert got.masked == shown
    assert "secret" not in repr(got).replace(app, "")
    assert key == "cam" or key not in repr(got)
