import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamserver.errors import RemoteProtocolError
from streamserver.rtmp.message import (
    AGGREGATE,
    AMF0_DATA,
    AUDIO,
    MAX_AGGREGATED,
    VIDEO,
    Message,
    acknowledgement,
    read_u32,
    set_peer_bandwidth,
    split_aggregate,
    user_control,
    window_ack_size,
)


def tag(type_id: int, time: int, body: bytes, *, back_pointer: bool = True) -> bytes:
    out = bytes((type_id,)) + len(body).to_bytes(3, "big")
    out += (time & 0xFFFFFF).to_bytes(3, "big") + bytes((time >> 24,)) + b"\0\0\7" + body
    return out + (len(body) + 11).to_bytes(4, "big") if back_pointer else out


def parts(time: int, body: bytes) -> list[Message]:
    return list(split_aggregate(Message(AGGREGATE, time, 1, body)))


def test_the_first_part_takes_the_time_of_the_aggregate_and_the_others_follow_it():
    body = tag(VIDEO, 5000, b"v") + tag(AUDIO, 5023, b"aa") + tag(AMF0_DATA, 4990, b"d")
    assert parts(100, body) == [
        Message(VIDEO, 100, 1, b"v"),
        Message(AUDIO, 123, 1, b"aa"),
        Message(AMF0_DATA, 90, 1, b"d"),
    ]


def test_times_of_parts_have_32_bits_and_wrap():
    body = tag(VIDEO, 0x01FFFFFF, b"v") + tag(VIDEO, 0x02000010, b"v")
    assert [m.timestamp for m in parts(0xFFFFFFF8, body)] == [0xFFFFFFF8, 9]


def test_the_last_back_pointer_may_be_missing():
    body = tag(VIDEO, 0, b"v") + tag(AUDIO, 0, b"a", back_pointer=False)
    assert [m.body for m in parts(0, body)] == [b"v", b"a"]


def test_an_empty_aggregate_holds_nothing():
    assert parts(0, b"") == []


def test_an_aggregate_inside_an_aggregate_is_refused():
    with pytest.raises(RemoteProtocolError, match="holds another"):
        parts(0, tag(AGGREGATE, 0, tag(VIDEO, 0, b"v")))


@pytest.mark.parametrize("cut", [1, 10, 12])
def test_an_aggregate_that_is_cut_short_is_refused(cut):
    with pytest.raises(RemoteProtocolError, match="ends inside"):
        parts(0, tag(VIDEO, 0, b"0123456789")[:cut])


def test_an_aggregate_of_very_many_parts_is_refused():
    with pytest.raises(RemoteProtocolError, match="more than"):
        parts(0, tag(AUDIO, 0, b"") * (MAX_AGGREGATED + 1))


@given(st.binary(max_size=100))
def test_random_aggregates_raise_only_a_remote_protocol_error(body):
    with contextlib.suppress(RemoteProtocolError):
        parts(0, body)


def test_control_messages_go_to_stream_0_at_time_0():
    for message in (acknowledgement(5), window_ack_size(5), set_peer_bandwidth(5)):
        assert (message.stream_id, message.timestamp, read_u32(message)) == (0, 0, 5)
    assert user_control(3, 1, 3000).body == bytes.fromhex("0003 00000001 00000bb8")


def test_acknowledgements_wrap_at_32_bits():
    assert read_u32(acknowledgement(2**32 + 7)) == 7


def test_the_repr_of_a_message_is_short():
    assert repr(Message(VIDEO, 1, 1, bytes(100_000))) == (
        "Message(type_id=9, timestamp=1, stream_id=1, body=<100000 bytes>)"
    )
