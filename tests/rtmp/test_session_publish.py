from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamserver.errors import LocalProtocolError, RemoteProtocolError
from streamserver.rtmp import message as m
from streamserver.rtmp.events import (
    Closed,
    ConnectReceived,
    DataReceived,
    MediaRun,
    PublishEnded,
    PublishRequested,
    RequestRefused,
)
from streamserver.rtmp.message import Message
from streamserver.rtmp.session import ServerSession
from streamserver.rtmp.states import ConnectionState
from tests.rtmp.helpers_wire import (
    CLIENT_HANDSHAKE,
    SIZES,
    Peer,
    Replies,
    comparable,
    decide,
    decode_chunks,
    message_bytes,
    new_session,
    publisher,
    run,
    split,
    split_at,
)
from tests.rtmp.test_message import tag


def asked(session: ServerSession, peer: Peer) -> PublishRequested:
    """Feeds what a peer sends up to its publish; answers the request, undecided."""
    events = run(session, [peer.take()], accept=False)
    (request,) = [event for event in events if isinstance(event, PublishRequested)]
    return request


def live(**settings: int | bool) -> tuple[ServerSession, Peer, Replies]:
    """A session whose publisher was let in, with nothing left to read."""
    session, peer = new_session(**settings), publisher()
    run(session, [peer.take()])
    replies = Replies(session)
    replies.messages()
    return session, peer, replies


# ---- 6.1 to 6.3: the sequence -------------------------------------------------------------------


def whole_broadcast() -> tuple[bytes, bytes]:
    """What comes up to publish, and what comes after the answer to it."""
    peer = Peer().connect(flashVer="FMLE/3.0")
    peer.send(m.set_chunk_size(4096), 2)
    peer.call("releaseStream", 2, None, "cam?token=x").call("FCPublish", 3, None, "cam?token=x")
    request = peer.create_stream().publish("cam?token=x").take()
    peer.data("@setDataFrame", "onMetaData", {"width": 320})
    peer.media(body=b"\x17\x00config").media(m.AUDIO, b"\xaf\x00\x11\x90")
    peer.media(body=bytes(10_000), time=40).media(m.AUDIO, bytes(300), time=46)
    peer.call("FCUnpublish", 6, None, "cam").call("deleteStream", 7, None, 1)
    return request, peer.take()


def check_whole_broadcast(cut: Callable[[bytes], list[bytes]]) -> None:
    pieces = [piece for half in whole_broadcast() for piece in cut(half)]
    events = comparable(run(new_session(), pieces))
    connect = events.pop(0)
    assert isinstance(connect, ConnectReceived)
    assert (connect.app, connect.flash_ver) == ("live", "FMLE/3.0")
    assert events == [
        ("PublishRequested", 1, "live", "cam", {"token": "x"}, "live", "live", "cam?token=x"),
        DataReceived(1, 0, "onMetaData", ({"width": 320.0},)),
        Message(m.VIDEO, 0, 1, b"\x17\x00config"),
        Message(m.AUDIO, 0, 1, b"\xaf\x00\x11\x90"),
        Message(m.VIDEO, 40, 1, bytes(10_000)),
        Message(m.AUDIO, 46, 1, bytes(300)),
        PublishEnded(1, "the publisher stopped"),
    ]


@pytest.mark.parametrize("size", SIZES)
def test_a_broadcast_from_connect_to_delete_stream(size):
    check_whole_broadcast(lambda data: split(data, size))


@given(st.lists(st.integers(0, 20_000), max_size=10))
def test_a_broadcast_is_the_same_at_any_split(cuts):
    check_whole_broadcast(lambda data: split_at(data, cuts))


def test_the_answer_to_connect_comes_after_window_bandwidth_and_chunk_size():
    session = new_session()
    run(session, [Peer().connect().take()])
    replies = Replies(session).messages()
    assert [r.type_id for r in replies] == [
        m.WINDOW_ACK_SIZE, m.SET_PEER_BANDWIDTH, m.SET_CHUNK_SIZE, m.AMF0_COMMAND
    ]  # fmt: skip
    assert m.read_u32(replies[2]) == 65536


def connect_result(**connect: object) -> list[object]:
    session = new_session()
    run(session, [Peer().connect(**connect).take()])  # type: ignore[arg-type]
    (call,) = Replies(session).commands()
    return list(call)


def test_the_answer_to_connect_has_the_form_that_encoders_know():
    assert connect_result() == [
        "_result",
        1,
        {"fmsVer": "FMS/3,0,1,123", "capabilities": 31, "mode": 1},
        {
            "level": "status",
            "code": "NetConnection.Connect.Success",
            "description": "Connection succeeded.",
            "objectEncoding": 0,
        },
    ]


def test_the_answer_to_an_enhanced_connect_holds_our_capabilities():
    info = connect_result(fourCcList=["hvc1"], capsEx=1)[3]
    assert isinstance(info, dict)
    codes = ["avc1", "hvc1", "av01", "vp09", "vp08", "mp4a", "Opus", ".mp3"]
    assert info["fourCcList"] == codes
    assert info["videoFourCcInfoMap"] == dict.fromkeys(codes[:5], 4)
    assert info["audioFourCcInfoMap"] == dict.fromkeys(codes[5:], 4)
    assert info["capsEx"] == 1 | 4 | 8


def test_object_encoding_3_is_answered_with_0_and_amf0():
    info = connect_result(objectEncoding=3)[3]
    assert isinstance(info, dict)
    assert info["objectEncoding"] == 0


def test_an_amf3_publisher_is_understood():
    def amf3(message: Message) -> Message:
        kind = {m.AMF0_COMMAND: m.AMF3_COMMAND, m.AMF0_DATA: m.AMF3_DATA}[message.type_id]
        return message._replace(type_id=kind, body=b"\0" + message.body)

    plain = publisher().data("@setDataFrame", "onMetaData", {"a": 1})
    peer = Peer()
    for message in decode_chunks([plain.take()[len(CLIENT_HANDSHAKE) :]]):
        peer.send(amf3(message))
    events = run(new_session(), [peer.take()])
    assert events[-1] == DataReceived(1, 0, "onMetaData", ({"a": 1.0},))


@pytest.mark.parametrize("name", ["releaseStream", "FCPublish", "_checkbw", "FCSubscribe", "x"])
def test_calls_that_mean_nothing_to_us_are_answered_as_haivision_wants(name):
    session = new_session()
    replies = Replies(session)
    run(session, [Peer().connect().take()])
    replies.messages()
    session.receive(Peer(handshake=False).call(name, 7.5, None, "cam").take(), 0)
    assert replies.commands() == [["_result", 7.5, None, None]]


def test_transaction_0_wants_no_answer_as_gstreamer_sends_it():
    session = new_session()
    replies = Replies(session)
    peer = Peer().connect().call("releaseStream", 0, None, "cam").call("FCPublish", 0, None, "cam")
    run(session, [peer.take()])
    assert len(replies.commands()) == 1


@pytest.mark.parametrize("name", ["_result", "_error", "onStatus"])
def test_answers_of_the_far_side_are_not_answered(name):
    session = new_session()
    replies = Replies(session)
    run(session, [Peer().connect().call(name, 3, None, None).take()])
    assert len(replies.commands()) == 1


def test_get_stream_length_is_answered_with_0():
    session = new_session()
    replies = Replies(session)
    run(session, [Peer().connect().call("getStreamLength", 3, None, "cam").take()])
    assert replies.commands()[1] == ["_result", 3, None, 0]


def test_publish_is_answered_only_when_the_host_says_yes():
    session = new_session()
    replies = Replies(session)
    request = asked(session, publisher())
    assert "NetStream.Publish.Start" not in replies.codes()
    assert session.accept_publish(request, 0)
    begin, start = replies.messages()
    assert begin == m.user_control(m.STREAM_BEGIN, 1)
    assert start.stream_id == 1
    assert b"NetStream.Publish.Start" in start.body


def test_a_rejection_is_an_error_with_a_sentence_and_a_close():
    session = new_session()
    replies = Replies(session)
    request = asked(session, publisher())
    replies.messages()
    assert session.reject_publish(request, "wrong key", "NetStream.Publish.BadName")
    assert replies.infos() == [
        {"level": "error", "code": "NetStream.Publish.BadName", "description": "wrong key"}
    ]
    assert session.close_after_flush
    assert session.next_timeout_ns is None
    session.receive(b"whatever still comes", 0)
    session.connection_lost()
    assert session.events() == [Closed("publish refused: wrong key")]


def test_the_type_of_a_publish_may_be_anything_or_missing():
    for more, expected in (((), ""), (("record",), "record"), (("live", 5), "live"), ((5,), "")):
        peer = Peer().connect().create_stream()
        peer.call("publish", 5, None, "cam", *more, stream_id=1)
        assert asked(new_session(), peer).publish_type == expected


def test_a_publish_without_key_means_default():
    assert asked(new_session(), Peer().connect().create_stream().publish("")).name == "default"
    peer = Peer().connect("live/cam").create_stream().call("publish", 5, None, None, stream_id=1)
    assert asked(new_session(), peer).name == "cam"


def test_a_bad_name_is_refused_before_any_host_sees_it():
    session = new_session()
    replies = Replies(session)
    events = run(session, [Peer().connect("live/a").create_stream().publish("b").take()])
    refused = events[-1]
    assert isinstance(refused, RequestRefused)
    assert (refused.stream_id, refused.action) == (1, "publish")
    assert "more than two segments" in refused.reason
    (info,) = replies.infos()
    assert info["level"] == "error"
    assert info["code"] == "NetStream.Publish.BadName"
    assert info["description"] == refused.reason
    assert session.close_after_flush


def test_keys_and_tokens_stay_out_of_the_repr_of_events():
    peer = Peer().connect("live?token=hush").create_stream().publish("hush?key=hush")
    events = run(new_session(), [peer.take()])
    assert "hush" not in repr(events)
    assert isinstance(events[1], PublishRequested)
    assert events[1].raw_key == "hush?key=hush"
    assert events[1].params == {"token": "hush", "key": "hush"}


def test_the_repr_of_media_is_short():
    event = MediaRun(1, [Message(m.VIDEO, 40, 1, bytes(10_000)), Message(m.AUDIO, 41, 1, b"x")])
    assert repr(event) == "MediaRun(stream_id=1, messages=<2 messages, 10001 bytes>)"


# ---- streams ------------------------------------------------------------------------------------


def test_streams_get_the_lowest_free_number_and_are_bounded():
    session = new_session(max_message_streams=3)
    replies = Replies(session)
    peer = Peer().connect()
    for tid in range(2, 6):
        peer.create_stream(tid)
    peer.call("deleteStream", 0, None, 2).create_stream(9)
    run(session, [peer.take()])
    answers = replies.commands()[1:]
    assert [a[3] for a in answers if a[0] == "_result"] == [1, 2, 3, 2]
    assert [a[1] for a in answers if a[0] == "_error"] == [5]


def test_publish_on_a_stream_that_was_never_created_is_taken_as_nginx_does():
    events = run(new_session(), [Peer().connect().publish(stream_id=7).media(stream_id=7).take()])
    assert events[-1] == Message(m.VIDEO, 0, 7, b"\x27\x01")


def test_publish_on_stream_0_is_taken_too():
    events = run(new_session(), [Peer().connect().publish(stream_id=0).media(stream_id=0).take()])
    assert events[-1] == Message(m.VIDEO, 0, 0, b"\x27\x01")


def test_streams_that_were_never_created_are_bounded():
    peer = Peer().connect()
    for stream_id in range(100, 110):
        peer.publish(stream_id=stream_id)
    with pytest.raises(RemoteProtocolError, match="more than 8 message streams"):
        new_session().receive(peer.take(), 0)


@pytest.mark.parametrize("stream_id", [1, 2])
def test_a_second_publish_is_refused_and_the_first_goes_on(stream_id):
    session, peer, replies = live()
    peer.create_stream(8).publish("other", stream_id=stream_id).media(body=b"\x27\x02")
    events = run(session, [peer.take()])
    assert isinstance(events[0], RequestRefused)
    assert events[1] == Message(m.VIDEO, 0, 1, b"\x27\x02")
    (info,) = replies.infos()
    assert (info["level"], info["code"]) == ("error", "NetStream.Publish.BadName")
    assert not session.close_after_flush


def test_play_on_a_publishing_connection_is_refused():
    session, peer, _replies = live()
    (event,) = run(session, [peer.create_stream(8).play(stream_id=2).take()])
    assert isinstance(event, RequestRefused)
    assert event.action == "play"


def test_a_publish_after_fc_unpublish_is_a_new_one():
    session, peer, replies = live()
    peer.call("FCUnpublish", 6, None, "cam").publish("again").media(time=9)
    events = run(session, [peer.take()])
    assert events[0] == PublishEnded(1, "the publisher stopped")
    assert isinstance(events[1], PublishRequested)
    assert events[1].name == "again"
    assert events[2] == Message(m.VIDEO, 9, 1, b"\x27\x01")
    assert replies.codes() == ["NetStream.Unpublish.Success", "NetStream.Publish.Start"]


def test_close_stream_stops_and_the_connection_may_publish_again():
    session, peer, _replies = live()
    peer.call("closeStream", 0, None, stream_id=1).publish()
    ended, again = run(session, [peer.take()])
    assert ended == PublishEnded(1, "the far side closed its stream")
    assert isinstance(again, PublishRequested)


@pytest.mark.parametrize(
    ("argument", "stream_id"),
    [(1, 0), (1, 1), ("cam", 1), ("cam", 0), (None, 0), (99, 1)],
    ids=["ffmpeg", "number", "gstreamer", "key on stream 0", "nothing", "another number"],
)
def test_delete_stream_ends_the_publish_whatever_its_argument(argument, stream_id):
    session, peer, _ = live()
    events = run(
        session, [peer.call("deleteStream", 7, None, argument, stream_id=stream_id).take()]
    )
    assert events == [PublishEnded(1, "the far side deleted its stream")]


def test_delete_stream_of_another_stream_ends_nothing():
    session, peer, _ = live()
    peer.create_stream(8).call("deleteStream", 9, None, 2).media()
    assert run(session, [peer.take()]) == [Message(m.VIDEO, 0, 1, b"\x27\x01")]


def test_unpublish_close_and_delete_in_a_row_end_it_once():
    session, peer, _ = live()
    peer.call("FCUnpublish", 6, None, "cam").call("closeStream", 0, None, stream_id=1)
    peer.call("deleteStream", 7, None, 1).call("deleteStream", 8, None, 1)
    assert len(run(session, [peer.take()])) == 1


# ---- media and data -----------------------------------------------------------------------------


def test_empty_audio_is_delivered():
    session, peer, _ = live()
    assert run(session, [peer.media(m.AUDIO, b"").take()]) == [Message(m.AUDIO, 0, 1, b"")]


def test_timestamps_are_those_of_the_wire():
    session, peer, _ = live()
    events = run(session, [peer.media(time=0xFFFFFFFF).media(time=5).take()])
    assert [e.timestamp for e in events if isinstance(e, Message)] == [0xFFFFFFFF, 5]


def test_media_for_streams_that_do_not_publish_is_ignored_and_counted():
    session, peer, _ = live()
    peer.media(stream_id=0).media(stream_id=2).data("onMetaData", {}, stream_id=3)
    assert run(session, [peer.take()]) == []
    assert session.messages_ignored == 3


def test_media_before_any_publish_is_ignored():
    session = new_session()
    events = run(session, [Peer().connect().create_stream().media().take()])
    assert [type(event) for event in events] == [ConnectReceived]
    assert session.messages_ignored == 1


@pytest.mark.parametrize("type_id", [0, 7, 10, 16, 19, 21, 23, 255])
def test_unknown_message_types_and_shared_objects_are_ignored(type_id):
    session, peer, _ = live()
    peer.send(Message(type_id, 0, 1, b"\x27\x01"), 7).media()
    events = run(session, [peer.take()])
    assert [e for e in events if isinstance(e, Message)] == [Message(m.VIDEO, 0, 1, b"\x27\x01")]


def test_data_that_is_no_amf_is_ignored_and_the_stream_lives():
    """ffmpeg's time code data track."""
    session, peer, _ = live()
    peer.send(Message(m.AMF0_DATA, 0, 1, bytes.fromhex("00010203")), 5).media()
    assert len(run(session, [peer.take()])) == 1
    assert session.messages_ignored == 1


@pytest.mark.parametrize("name", ["onTextData", "onCuePoint", "onFI", "@clearDataFrame"])
def test_other_data_is_handed_on(name):
    session, peer, _ = live()
    assert run(session, [peer.data(name, "x", time=7).take()]) == [DataReceived(1, 7, name, ("x",))]


@pytest.mark.parametrize("size", SIZES)
def test_an_aggregate_is_undone(size):
    session, peer, _ = live()
    meta = b"\x02\x00\x0aonMetaData\x05"
    body = tag(9, 1000, b"\x27v") + tag(8, 1023, b"\xafa") + tag(18, 1030, meta) + tag(3, 0, b"x")
    events = run(session, split(peer.send(Message(m.AGGREGATE, 50, 1, body), 6).take(), size))
    assert events == [
        Message(m.VIDEO, 50, 1, b"\x27v"),
        Message(m.AUDIO, 73, 1, b"\xafa"),
        DataReceived(1, 80, "onMetaData", (None,)),
    ]
    assert session.messages_ignored == 1


def test_a_nested_aggregate_ends_the_connection():
    session, peer, _ = live()
    peer.send(Message(m.AGGREGATE, 0, 1, tag(22, 0, tag(9, 0, b"v"))), 6)
    with pytest.raises(RemoteProtocolError, match="holds another"):
        session.receive(peer.take(), 0)
    assert [type(event) for event in session.events()] == [PublishEnded, Closed]


def test_librtmp_sends_everything_on_one_chunk_stream_and_late_audio_with_negative_deltas():
    session, peer, _ = live()
    peer.raw(message_bytes(b"\x27v", csid=4, type_id=9, time=1040))
    peer.raw(message_bytes(b"\xafa", csid=4, form=1, type_id=8, time=0xFFFFFFE7))
    peer.raw(message_bytes(b"\x27v", csid=4, form=1, type_id=9, time=65))
    times = [e.timestamp for e in run(session, [peer.take()]) if isinstance(e, Message)]
    assert times == [1040, 1015, 1080]


def test_media_that_came_together_is_one_event():
    session, peer, _ = live()
    sent = [Message(kind, time, 1, b"\x27\x01") for time, kind in enumerate([m.VIDEO, m.AUDIO] * 3)]
    for message in sent:
        peer.send(message, 6)
    session.receive(peer.take(), 0)
    assert session.events() == [MediaRun(1, sent)]


def test_what_is_no_media_stands_between_two_runs():
    session, peer, _ = live()
    peer.media(time=1).media(stream_id=9).media(time=2).data("onTextData").media(time=3)
    session.receive(peer.take(), 0)
    first, data, second = session.events()
    assert isinstance(first, MediaRun)
    assert isinstance(second, MediaRun)
    assert isinstance(data, DataReceived)
    assert [message.timestamp for message in first.messages] == [1, 2]
    assert [message.timestamp for message in second.messages] == [3]


# ---- between the request and the decision -------------------------------------------------------


def test_media_before_the_decision_is_kept_and_comes_after_it():
    session = new_session()
    request = asked(session, publisher())
    assert run(session, [Peer(handshake=False).media(time=1).data("onMetaData").take()]) == []
    assert session.accept_publish(request, 0)
    run_on = run(session, [Peer(handshake=False).media(time=2).take()])
    assert run_on == [
        Message(m.VIDEO, 1, 1, b"\x27\x01"),
        DataReceived(1, 0, "onMetaData", ()),
        Message(m.VIDEO, 2, 1, b"\x27\x01"),
    ]


def test_media_before_the_decision_is_bounded():
    session = new_session(max_held_bytes=10_000)
    asked(session, publisher())
    peer = Peer(handshake=False)
    session.receive(peer.media(body=bytes(9000)).take(), 0)
    with pytest.raises(RemoteProtocolError, match="before leave to publish"):
        session.receive(peer.media(body=bytes(1000)).take(), 0)


def test_empty_messages_before_the_decision_are_bounded_too():
    session = new_session(max_held_bytes=10_000)
    asked(session, publisher())
    with pytest.raises(RemoteProtocolError, match="before leave to publish"):
        session.receive(message_bytes(b"", csid=9) + b"\xc9" * 100, 0)


def test_a_request_taken_back_can_no_longer_be_decided():
    session = new_session()
    peer = publisher()
    request = asked(session, peer)
    assert run(session, [peer.call("deleteStream", 7, None, 1).take()]) == [
        PublishEnded(1, "the far side deleted its stream")
    ]
    assert not session.accept_publish(request, 0)
    assert not session.reject_publish(request, "too late")
    assert not session.close_after_flush


def test_a_decision_belongs_to_its_request_and_not_to_the_next_one():
    session = new_session()
    peer = publisher()
    first = asked(session, peer)
    second = asked(session, peer.call("closeStream", 0, None, stream_id=1).publish("other"))
    assert not session.reject_publish(first, "no")
    assert session.accept_publish(second, 0)


def test_deciding_twice_is_our_own_fault():
    session = new_session()
    request = asked(session, publisher())
    session.accept_publish(request, 0)
    with pytest.raises(LocalProtocolError, match="twice"):
        session.accept_publish(request, 0)


def test_a_decision_after_the_end_does_nothing():
    session = new_session()
    request = asked(session, publisher())
    session.connection_lost()
    assert session.events() == [
        PublishEnded(1, "the far side closed the connection"),
        Closed("the far side closed the connection"),
    ]
    assert not session.accept_publish(request, 0)


# ---- from our side ------------------------------------------------------------------------------


def test_a_publisher_is_thrown_out_with_a_sentence():
    session, _, replies = live()
    session.close("stopped by the operator", "NetStream.Publish.Denied")
    assert replies.infos() == [
        {
            "level": "error",
            "code": "NetStream.Publish.Denied",
            "description": "stopped by the operator",
        }
    ]
    session.close("again")
    session.connection_lost("gone")
    assert session.events() == [
        PublishEnded(1, "stopped by the operator"),
        Closed("stopped by the operator"),
    ]
    assert session.state is ConnectionState.CLOSED


def test_an_idle_connection_is_closed_on_stream_0():
    session = new_session()
    replies = Replies(session)
    run(session, [Peer().connect().take()])
    replies.messages()
    session.close("enough")
    (status,) = replies.messages()
    assert status.stream_id == 0


def test_a_connection_in_its_handshake_is_closed_without_a_word():
    session = new_session()
    session.close("enough")
    assert session.bytes_to_send() == b""
    assert session.close_after_flush


@pytest.mark.parametrize(("caps", "able"), [(1, True), (15, True), (2, False), (None, False)])
def test_reconnect_is_asked_only_of_those_who_can(caps, able):
    session = new_session()
    replies = Replies(session)
    run(session, [publisher(capsEx=caps).take()])
    replies.messages()
    assert session.request_reconnect("rtmp://other/live", "the server drains") is able
    expected = {
        "level": "status",
        "code": "NetConnection.Connect.ReconnectRequest",
        "description": "the server drains",
        "tcUrl": "rtmp://other/live",
    }
    assert replies.infos() == ([expected] if able else [])


def test_reconnect_to_the_same_server_names_no_url():
    session = new_session()
    run(session, [publisher(capsEx=1).take()])
    replies = Replies(session)
    replies.messages()
    assert session.request_reconnect()
    assert "tcUrl" not in replies.infos()[0]


def test_decide_sees_what_accepting_brings():
    session = new_session()
    session.receive(publisher().media().take(), 0)
    assert decide(session)[-1] == Message(m.VIDEO, 0, 1, b"\x27\x01")
