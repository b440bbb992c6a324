import pytest

from streamserver.outputs.flv import WebSocketFrames


@pytest.mark.parametrize(
    ("size", "head"),
    [
        (0, b"\x82\x00"),
        (125, b"\x82\x7d"),
        (126, b"\x82\x7e\x00\x7e"),
        (65_535, b"\x82\x7e\xff\xff"),
        (65_536, b"\x82\x7f\0\0\0\0\0\x01\0\0"),
    ],
)
def test_each_write_is_one_binary_message_that_is_not_masked(size: int, head: bytes):
    assert WebSocketFrames()(bytes(size)) == head + bytes(size)


def test_the_same_bytes_become_the_same_frame():
    frames = WebSocketFrames()
    data = bytes(100)
    assert frames(data) is frames(data)
    assert frames(b"other") == b"\x82\x05other"
