import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamserver.errors import RemoteProtocolError
from streamserver.rtmp import amf0
from streamserver.rtmp.command import (
    command,
    data_message,
    error,
    on_status,
    parse_command,
    parse_data,
    result,
)
from streamserver.rtmp.message import AMF0_COMMAND, AMF0_DATA, AMF3_COMMAND, AMF3_DATA, Message


def test_a_command_is_read_as_it_was_written():
    call = parse_command(command(3, "publish", 5, None, "cam", "live"))
    assert (call.name, call.transaction_id, call.stream_id) == ("publish", 5, 3)
    assert call.arguments == (None, "cam", "live")


def test_arguments_of_another_type_or_missing_count_as_their_default():
    call = parse_command(command(0, "x", 1, {"a": 1}, "text", 5.7, True, math.nan))
    assert (call.text(1), call.text(2, "d"), call.text(99)) == ("text", "d", "")
    assert (call.integer(2, -1), call.integer(1, -1), call.integer(4, -1)) == (5, -1, -1)
    assert (call.flag(3, False), call.flag(1, True), call.flag(2, False)) == (True, True, True)
    assert (call.mapping(0), call.mapping(1)) == ({"a": 1}, {})


def test_an_amf3_command_begins_with_a_byte_that_is_skipped():
    body = b"\0" + amf0.encode("connect", 1, {"app": "live"})
    call = parse_command(Message(AMF3_COMMAND, 0, 0, body))
    assert (call.name, call.mapping(0)) == ("connect", {"app": "live"})


def test_an_amf3_command_without_that_byte_is_read_too():
    body = amf0.encode("connect", 1)
    assert parse_command(Message(AMF3_COMMAND, 0, 0, body)).name == "connect"


def test_the_object_of_a_command_may_be_amf3():
    body = b"\0" + amf0.encode("connect", 1) + bytes.fromhex("11 0a0b01 07617070 06096c697665 01")
    assert parse_command(Message(AMF3_COMMAND, 0, 0, body)).mapping(0) == {"app": "live"}


def test_a_command_of_a_name_alone_has_transaction_0():
    assert parse_command(Message(AMF0_COMMAND, 0, 0, amf0.encode("x"))).transaction_id == 0


@pytest.mark.parametrize("values", [(), (1, 2), (None,), ("x", "y"), ("x", True), ("x", None)])
def test_a_message_without_name_or_number_is_no_command(values):
    with pytest.raises(RemoteProtocolError):
        parse_command(Message(AMF0_COMMAND, 0, 0, amf0.encode(*values)))


@given(st.binary(max_size=100), st.sampled_from([AMF0_COMMAND, AMF3_COMMAND]))
def test_random_commands_raise_only_a_remote_protocol_error(body, type_id):
    try:
        parse_command(Message(type_id, 0, 0, body))
    except RemoteProtocolError:
        return


def test_arguments_stay_out_of_the_repr():
    assert "hush" not in repr(parse_command(command(1, "publish", 1, None, "hush")))


@pytest.mark.parametrize("prefix", [(), ("@setDataFrame",)])
def test_set_data_frame_is_taken_off(prefix):
    body = amf0.encode(*prefix, "onMetaData", {"width": 1})
    assert parse_data(Message(AMF0_DATA, 0, 1, body)) == ("onMetaData", ({"width": 1},))


def test_clear_data_frame_stays():
    body = amf0.encode("@clearDataFrame", "onMetaData")
    assert parse_data(Message(AMF0_DATA, 0, 1, body)) == ("@clearDataFrame", ("onMetaData",))


def test_amf3_data_begins_with_a_byte_that_is_skipped():
    body = b"\0" + amf0.encode("onMetaData", {})
    assert parse_data(Message(AMF3_DATA, 0, 1, body)) == ("onMetaData", ({},))


@pytest.mark.parametrize(
    "body",
    [b"", b"\0\1\2\3", b"\0\0\0\0", b"\xff", amf0.encode(5.0), amf0.encode("@setDataFrame")],
)
def test_data_that_is_no_amf_or_has_no_name_is_ignored(body):
    """ffmpeg writes a time code of four bytes that begins with 0."""
    assert parse_data(Message(AMF0_DATA, 0, 1, body)) is None


def test_data_is_written_as_it_is_read():
    message = data_message(1, 40, "onMetaData", {"a": 1})
    assert (message.timestamp, parse_data(message)) == (40, ("onMetaData", ({"a": 1},)))


def test_answers_have_the_form_that_clients_look_for():
    assert amf0.decode(result(4, None, 1).body) == ["_result", 4, None, 1]
    info = {"level": "error", "code": "C", "description": "why"}
    assert amf0.decode(error(1, "C", "why").body) == ["_error", 1, None, info]
    status = on_status(5, "C", "why", level="error")
    assert amf0.decode(status.body) == ["onStatus", 0, None, info]
    assert status.stream_id == 5
