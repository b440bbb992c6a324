"""The viewer of the latency cases finds every picture in what servers say."""

from collections.abc import Iterator

import pytest

from benchmarks.publish import chunks
from benchmarks.watch import Picture, flv_bodies, pictures_of, rtmp_bodies
from tests import media_factory

HANDSHAKE = bytes(1 + 2 * 1536)


def tags() -> list[media_factory.Tag]:
    return list(media_factory.tags(media_factory.h264_aac().flv))


def portions(data: bytes, step: int) -> Iterator[bytes]:
    return (data[at : at + step] for at in range(0, len(data), step))


def expected() -> list[bytes]:
    return [tag.body[5:] for tag in tags() if tag.kind == "video" and tag.body[1] == 1]


def of_rtmp() -> bytes:
    kinds = {"video": (6, 9), "audio": (4, 8)}
    return HANDSHAKE + b"".join(
        bytes(chunks(*kinds[tag.kind], 0, 1, tag.body, 128)) for tag in tags() if tag.kind in kinds
    )


def of_http(*, chunked: bool) -> bytes:
    flv = media_factory.h264_aac().flv
    if not chunked:
        return b"HTTP/1.1 200 OK\r\nContent-Type: video/x-flv\r\n\r\n" + flv
    pieces = b"".join(b"%x\r\n%s\r\n" % (len(one), one) for one in portions(flv, 777))
    return b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + pieces


def check(pictures: list[Picture]) -> None:
    assert [picture.data for picture in pictures] == expected()
    assert pictures[0].keyframe
    assert all(picture.config for picture in pictures)


@pytest.mark.parametrize("step", [97, 5000, 10_000_000])
def test_pictures_of_an_rtmp_connection_are_those_that_were_published(step):
    check(list(pictures_of(rtmp_bodies(), portions(of_rtmp(), step))))


@pytest.mark.parametrize("chunked", [False, True])
@pytest.mark.parametrize("step", [97, 5000, 10_000_000])
def test_pictures_of_an_flv_answer_are_those_that_were_published(step, chunked):
    check(list(pictures_of(flv_bodies(), portions(of_http(chunked=chunked), step))))
