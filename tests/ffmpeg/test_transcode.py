"""What the child process does with records, in this process."""

import io
import os
from collections.abc import Iterator

import pytest

from streamserver.errors import RemoteProtocolError
from streamserver.ffmpeg.transcode import serve
from streamserver.ffmpeg.transcode_wire import (
    Begin,
    Coded,
    Configured,
    Fault,
    KeyframeWanted,
    Picture,
    Record,
    RecordReader,
    Taken,
    to_bytes,
)
from streamserver.media.packet import Packet
from tests import media_factory


@pytest.fixture(scope="module")
def clip() -> media_factory.Clip:
    return media_factory.read_flv(
        media_factory.encode(audio=None, seconds=0.3, size=(64, 64), gop=100)
    )


def coded(packet: Packet) -> Coded:
    return Coded(packet.pts, packet.dts, False, packet.data)


def answers(*records: Record) -> list[Record]:
    """What comes of records that fit into a pipe."""
    source, sink = os.pipe()
    try:
        os.write(sink, b"".join(map(to_bytes, records)))
        os.close(sink)
        target = io.BytesIO()
        serve(source, target)
    finally:
        os.close(source)
    return list(RecordReader().feed(target.getvalue()))


def kinds(records: list[Record]) -> Iterator[str]:
    return (type(record).__name__ for record in records)


def test_each_access_unit_is_answered_when_its_pictures_are_sent(clip: media_factory.Clip) -> None:
    first, second, third = map(coded, clip.packets[:3])
    begin = Begin(5, "h264", clip.tracks[0].config, 300_000, 30)
    said = answers(begin, first, second, KeyframeWanted(), third)
    assert list(kinds(said)) == ["Configured", *["Picture", "Taken"] * 3]
    assert isinstance(said[0], Configured)
    assert said[0].run == 5
    pictures = [one for one in said if isinstance(one, Picture)]
    assert [(one.run, one.pts, one.keyframe) for one in pictures] == [
        (5, first.pts, True), (5, second.pts, False), (5, third.pts, True),
    ]  # fmt: skip


def test_a_track_that_cannot_be_decoded_is_a_fault_and_its_units_are_answered() -> None:
    said = answers(Begin(1, "aac", b"", 300_000, 30), Coded(0, 0, False, b"x"), KeyframeWanted())
    assert list(kinds(said)) == ["Fault", "Taken"]
    assert isinstance(said[0], Fault)
    assert "aac" in said[0].words


def test_damage_is_told_with_the_answer(clip: media_factory.Clip) -> None:
    begin = Begin(1, "h264", clip.tracks[0].config, 300_000, 30)
    said = answers(begin, Coded(0, 0, False, b"\x00\x00\x00\x05nonse"), coded(clip.packets[0]))
    assert [one.damaged for one in said if isinstance(one, Taken)] == [1, 0]


def test_units_before_a_run_are_answered_too() -> None:
    assert list(kinds(answers(Coded(0, 0, False, b"x")))) == ["Taken"]


def test_other_bytes_end_it() -> None:
    source, sink = os.pipe()
    os.write(sink, b"nonsense that is none of it")
    os.close(sink)
    with pytest.raises(RemoteProtocolError):
        serve(source, io.BytesIO())
    os.close(source)
