import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamserver.errors import RemoteProtocolError
from streamserver.media.flv_reader import AUDIO_TAG, VIDEO_TAG, FlvReader, FlvTag
from streamserver.media.track import Kind
from tests import media_factory

KINDS = {Kind.VIDEO: VIDEO_TAG, Kind.AUDIO: AUDIO_TAG}


def clip() -> bytes:
    return media_factory.h264_aac().flv


def expected() -> list[FlvTag]:
    """What another reader finds."""
    tags = media_factory.tags(clip())
    return [FlvTag(KINDS[tag.kind], tag.timestamp_ms, tag.body) for tag in tags]


def media(tags: list[FlvTag]) -> list[FlvTag]:
    return [tag for tag in tags if tag.kind in (AUDIO_TAG, VIDEO_TAG)]


def test_a_file_in_one_piece_is_its_tags() -> None:
    reader = FlvReader()
    tags = reader.feed(clip())
    assert media(tags) == expected()
    assert [tag.kind for tag in tags if tag not in media(tags)] == [18]
    assert reader.pending == 0


@given(st.lists(st.integers(1, 40_000), max_size=20))
def test_any_split_gives_the_same_tags(sizes: list[int]) -> None:
    reader, data, tags = FlvReader(), clip(), []
    for size in sizes:
        tags += reader.feed(data[:size])
        data = data[size:]
    tags += reader.feed(data)
    assert media(tags) == expected()


def test_bytes_one_by_one_give_the_same_tags() -> None:
    reader = FlvReader()
    start = clip()[:2000]
    tags = [tag for byte in start for tag in reader.feed(bytes([byte]))]
    assert tags == FlvReader().feed(start)
    assert tags


def test_times_have_32_bits() -> None:
    header = b"FLV\x01\x05\0\0\0\x09\0\0\0\0"
    tag = b"\x09\0\0\x01" + b"\x34\x56\x78\x12" + b"\0\0\0" + b"x" + b"\0\0\0\x0c"
    assert FlvReader().feed(header + tag) == [FlvTag(VIDEO_TAG, 0x12345678, b"x")]


@pytest.mark.parametrize("data", [b"HTTP/1.1", b"FLY", b"FLV\x01\x05\0\0\0\x0a\0\0\0\0"])
def test_what_is_no_flv_is_refused(data: bytes) -> None:
    with pytest.raises(RemoteProtocolError, match="FLV"):
        FlvReader().feed(data)


@given(st.binary(max_size=200))
def test_any_bytes_are_tags_or_a_protocol_error(data: bytes) -> None:
    reader = FlvReader()
    try:
        reader.feed(b"FLV\x01\x05\0\0\0\x09\0\0\0\0" + data)
    except RemoteProtocolError:
        return
    assert reader.pending <= len(data)
