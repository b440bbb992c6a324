"""What real peers sent, recorded up to their first media messages.

Made with ffmpeg 5.1, FFmpeg 8 (PyAV 18.1), GStreamer 1.22 (rtmp2sink, rtmp2src; rtmpsink is
librtmp 2.4) and rtmpdump 2.4 against this session.
"""

import pytest

from streamserver.rtmp.events import (
    BufferLengthSet,
    ConnectReceived,
    DataReceived,
    PlayRequested,
    PublishEnded,
    PublishRequested,
)
from streamserver.rtmp.message import AUDIO, VIDEO, Message
from tests.rtmp.helpers_wire import DATA, SIZES, Told, comparable, new_session, run, split


def replay(name: str, size: int) -> list[Told]:
    return run(new_session(), split((DATA / f"{name}.bin").read_bytes(), size))


def of(kind: type, events: list[Told]) -> list[Told]:
    return [event for event in events if isinstance(event, kind)]


PUBLISHERS = ["ffmpeg_publish", "ffmpeg_publish_at_4h39m40s", "rtmp2sink", "rtmpsink"]


@pytest.mark.parametrize("name", [*PUBLISHERS, "rtmpsink_late_audio"])
def test_captures_give_the_same_events_at_every_size(name):
    # Real clients wait for the answer to publish, so a piece never reaches beyond it.
    data = (DATA / f"{name}.bin").read_bytes()
    end = data.index(b"publish\x00", 3073)
    end = data.index(b"live", end) + 4
    outcomes = []
    for size in SIZES:
        pieces = split(data[:end], size) + split(data[end:], size)
        outcomes.append(comparable(run(new_session(), pieces)))
    assert all(outcome[1:] == outcomes[0][1:] for outcome in outcomes)
    assert len(of(Message, outcomes[0])) >= 2  # type: ignore[arg-type]


@pytest.mark.parametrize("name", PUBLISHERS)
def test_real_encoders_publish(name):
    events = replay(name, 1)
    connect, request, metadata = events[:3]
    assert isinstance(connect, ConnectReceived)
    assert (connect.app, connect.host) == ("live", "127.0.0.1")
    assert isinstance(request, PublishRequested)
    assert (request.app, request.name, request.publish_type) == ("live", "cam", "live")
    assert isinstance(metadata, DataReceived)
    assert metadata.name == "onMetaData"
    assert isinstance(metadata.values[0], dict)
    assert metadata.values[0]["width"] == 320
    video, audio = events[3:5]
    assert isinstance(video, Message)
    assert isinstance(audio, Message)
    assert (video.type_id, video.body[:2]) == (VIDEO, b"\x17\x00")
    assert (audio.type_id, audio.body[1]) == (AUDIO, 0)


def test_ffmpeg_and_gstreamer_send_their_query_with_the_key():
    for name, params in (
        ("ffmpeg_publish", {"token": "a", "x": "1"}),
        ("rtmp2sink", {"token": "abc"}),
    ):
        request = replay(name, 1)[1]
        assert isinstance(request, PublishRequested)
        assert request.params == params


def test_encoders_say_what_they_are_and_librtmp_says_nothing():
    versions = []
    for name in PUBLISHERS:
        connect = replay(name, 1)[0]
        assert isinstance(connect, ConnectReceived)
        versions.append(connect.flash_ver)
    ffmpeg = "FMLE/3.0 (compatible; Lavf59.27.100)"
    assert versions == [ffmpeg, ffmpeg, "LNX 10,0,32,18", ""]


def test_ffmpeg_beyond_4_hours_39_minutes_repeats_extended_timestamps():
    events = replay("ffmpeg_publish_at_4h39m40s", 1)
    media = [e for e in events if isinstance(e, Message)]
    assert [(e.type_id, e.timestamp, len(e.body)) for e in media] == [
        (VIDEO, 0, 43),
        (AUDIO, 0, 7),
        (AUDIO, 16779977, 260),
        (VIDEO, 16780000, 5883),
    ]


def test_librtmp_sends_late_audio_with_negative_deltas():
    events = replay("rtmpsink_late_audio", 1)
    media = [e for e in events if isinstance(e, Message)]
    assert [(e.type_id, e.timestamp, len(e.body)) for e in media] == [
        (VIDEO, 0, 20),
        (AUDIO, 0, 7),
        (VIDEO, 1000, 30),
        (AUDIO, 1000, 9),
        (VIDEO, 1040, 31),
        (AUDIO, 1015, 10),
        (VIDEO, 1080, 32),
        (AUDIO, 1038, 300),
    ]
    assert media[-1].body == b"\xaf\x01" + b"\x22" * 298
    assert events[-1] == PublishEnded(1, "the publisher stopped")


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize(
    ("name", "start", "buffers"),
    [
        ("ffmpeg_play", -2, [(1, 3000)]),
        ("ffmpeg8_play", -2, [(1, 3000)]),
        ("rtmpdump", -1, [(0, 300), (1, 36_000_000)]),
        ("rtmp2src", -2, [(0, 300), (1, 30_000)]),
    ],
)
def test_real_players_play(name, start, buffers, size):
    events = replay(name, size)
    (request,) = of(PlayRequested, events)
    assert isinstance(request, PlayRequested)
    assert (request.app, request.name, request.start) == ("live", "cam", start)
    found = [(e.stream_id, e.milliseconds) for e in events if isinstance(e, BufferLengthSet)]
    assert found == buffers


def test_ffmpeg_8_announces_codecs_of_enhanced_rtmp():
    connect = replay("ffmpeg8_play", 1)[0]
    assert isinstance(connect, ConnectReceived)
    assert connect.four_ccs == ("hvc1", "av01", "vp09")
