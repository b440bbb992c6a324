import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamserver.errors import RemoteProtocolError
from streamserver.ffmpeg.transcode_wire import (
    MAX_RECORD,
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

RECORDS: list[Record] = [
    Begin(7, "h264", b"\x01avcC", 1_000_000, 30),
    Coded(-3, -6, True, b"access unit"),
    Coded(1 << 40, 0, False, b""),
    KeyframeWanted(),
    Configured(7, b"avcC"),
    Picture(7, 1 << 40, True, b"picture"),
    Taken(2, 1234),
    Fault("it is broken"),
]


@pytest.mark.parametrize("step", [1, 3, 1000])
def test_records_arrive_as_they_were_sent(step: int) -> None:
    data = b"".join(map(to_bytes, RECORDS))
    reader = RecordReader()
    found = [
        record for at in range(0, len(data), step) for record in reader.feed(data[at : at + step])
    ]
    assert found == RECORDS


def test_words_are_bounded() -> None:
    (fault,) = RecordReader().feed(to_bytes(Fault("x" * 5000)))
    assert fault == Fault("x" * 1000)


@pytest.mark.parametrize(
    "data",
    [
        b"\x00\x00\x00\x00\x01",
        (MAX_RECORD + 1).to_bytes(4) + b"\x01",
        b"\x00\x00\x00\x01\x63",
        b"\x00\x00\x00\x02\x05x",
        b"\x00\x00\x00\x03\x00[]",
    ],
)
def test_other_bytes_are_refused(data: bytes) -> None:
    with pytest.raises(RemoteProtocolError):
        list(RecordReader().feed(data))


@given(st.lists(st.binary(max_size=40)))
def test_whatever_comes_nothing_else_is_raised(pieces: list[bytes]) -> None:
    reader = RecordReader()
    try:
        for piece in pieces:
            list(reader.feed(piece))
    except RemoteProtocolError:
        pass
