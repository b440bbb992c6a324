"""The child that codes slates: what it makes can be repeated, and decoded from its beginning."""

import subprocess
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from av.audio.codeccontext import AudioCodecContext
from av.error import FFmpegError
from av.video.codeccontext import VideoCodecContext

from streamserver.ffmpeg.slate import make_slate
from streamserver.ffmpeg.slate_request import COMMAND, SlateRequest
from streamserver.ffmpeg.testsource_frames import Record, RecordDecoder, RecordKind


def picture(directory: Path, *, frames: int = 1, size: tuple[int, int] = (200, 100)) -> str:
    """A red PNG, or a red clip with a frame every 100 ms."""
    path = directory / ("slate.png" if frames == 1 else "slate.avi")
    with av.open(str(path), "w", format="image2" if frames == 1 else "avi") as container:
        stream = container.add_stream("png", rate=10)
        assert isinstance(stream, av.VideoStream)
        stream.width, stream.height, stream.pix_fmt = *size, "rgb24"
        image = np.zeros((size[1], size[0], 3), np.uint8)
        image[:, :, 0] = 255
        for _ in range(frames):
            frame = av.VideoFrame.from_ndarray(image, format="rgb24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return str(path)


REQUEST = SlateRequest(
    path="", video="h264", profile="main", width=320, height=180, frames=10, audio="aac"
)


def of(records: list[Record], kind: RecordKind) -> list[Record]:
    return [record for record in records if record.kind is kind]


def decoded(records: list[Record], codec: str) -> list[av.VideoFrame]:
    context = av.CodecContext.create(codec, "r")
    assert isinstance(context, VideoCodecContext)
    config = of(records, RecordKind.VIDEO_CONFIG)
    if config:
        context.extradata = config[0].data
    frames = []
    for record in of(records, RecordKind.VIDEO):
        packet: av.Packet[Any] = av.Packet(record.data)
        frames += context.decode(packet)
    return frames + context.decode(None)


@pytest.mark.parametrize("codec", ["h264", "vp8", "vp9"])
def test_a_still_picture_becomes_two_seconds_that_begin_with_a_keyframe(
    tmp_path: Path, codec: str
) -> None:
    request = replace(REQUEST, path=picture(tmp_path), video=codec)
    records = list(make_slate(request))
    pictures = of(records, RecordKind.VIDEO)
    assert [record.keyframe for record in pictures] == [True] + [False] * 19
    assert [record.dts for record in pictures] == [9000 * number for number in range(20)]
    frames = decoded(records, codec)
    assert len(frames) == 20
    assert (frames[0].width, frames[0].height) == (320, 180)
    image = frames[-1].to_ndarray(format="rgb24")
    red_, green, blue = (int(value) for value in image[90, 160])
    assert red_ > 200
    assert max(green, blue) < 60
    # A picture of another shape is whole, between black bars.
    assert int(image[2, 160].max()) < 40


def test_a_file_is_taken_at_the_rate_of_the_stream_for_ten_seconds_at_most(tmp_path: Path) -> None:
    short = replace(REQUEST, path=picture(tmp_path, frames=30), frames=25)
    assert len(of(list(make_slate(short)), RecordKind.VIDEO)) == pytest.approx(75, abs=2)
    long = replace(REQUEST, path=picture(tmp_path, frames=120, size=(64, 36)))
    records = of(list(make_slate(long)), RecordKind.VIDEO)
    assert len(records) == 100
    assert [number for number, one in enumerate(records) if one.keyframe] == [0, 20, 40, 60, 80]


@pytest.mark.parametrize(
    ("codec", "rate", "channels"),
    [("aac", 48_000, 2), ("aac", 44_100, 1), ("aac", 22_050, 6), ("opus", 48_000, 2)],
)
def test_silence_is_one_frame_that_can_follow_itself(
    tmp_path: Path, codec: str, rate: int, channels: int
) -> None:
    request = SlateRequest(path="", audio=codec, sample_rate=rate, channels=channels)
    config, frame = make_slate(request)
    assert (config.kind, frame.kind) == (RecordKind.AUDIO_CONFIG, RecordKind.AUDIO)
    context = av.CodecContext.create(codec, "r")
    assert isinstance(context, AudioCodecContext)
    context.extradata = config.data
    heard = []
    for _ in range(5):
        packet: av.Packet[Any] = av.Packet(frame.data)
        heard += context.decode(packet)
    assert context.sample_rate == rate
    assert {len(one.layout.channels) for one in heard} == {channels}
    assert max(abs(float(one.to_ndarray().max())) for one in heard) < 1e-3


def test_what_is_no_picture_is_an_error(tmp_path: Path) -> None:
    text = tmp_path / "text.png"
    text.write_text("not a picture")
    for path in (str(text), str(tmp_path / "absent.png")):
        with pytest.raises((FFmpegError, OSError)):
            list(make_slate(replace(REQUEST, path=path)))


def test_the_child_writes_records_and_says_with_its_last_words_what_is_wrong(
    tmp_path: Path,
) -> None:
    request = replace(REQUEST, path=picture(tmp_path))
    good = subprocess.run(COMMAND, input=request.to_line(), capture_output=True, check=True)
    records = RecordDecoder().feed(good.stdout)
    assert len(of(records, RecordKind.VIDEO)) == 20
    wrong = replace(REQUEST, path=str(tmp_path / "absent.png"))
    bad = subprocess.run(COMMAND, input=wrong.to_line(), capture_output=True, check=False)
    assert bad.returncode == 1
    assert b"No such file" in bad.stderr


def test_a_request_survives_the_pipe() -> None:
    request = replace(REQUEST, path="ä b.png", frames=30_000, seconds=1_001)
    assert SlateRequest.from_line(request.to_line()) == request
    assert request.frame_rate == Fraction(30_000, 1_001)
