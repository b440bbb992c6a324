"""Deadlines, order, storms and hostile bytes."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamserver.errors import LocalProtocolError, RemoteProtocolError
from streamserver.rtmp import amf0
from streamserver.rtmp import message as m
from streamserver.rtmp.events import (
    Closed,
    ConnectReceived,
    MediaRun,
    PauseRequested,
    PlayRequested,
    PublishEnded,
    PublishRequested,
)
from streamserver.rtmp.handshake import WrongProtocolError
from streamserver.rtmp.message import Message
from streamserver.rtmp.states import ConnectionState
from tests.rtmp.helpers_wire import (
    CLIENT_HANDSHAKE,
    SIZES,
    Peer,
    Replies,
    comparable,
    header,
    message_bytes,
    new_session,
    player,
    publisher,
    run,
    split,
    split_at,
)

SECOND = 1_000_000_000
MS = 1_000_000
AFTER_CONNECT = Peer(handshake=False).connect().take()


def fault_of(peer: Peer | bytes) -> str:
    """The fault that bytes cause, the same at every size of pieces."""
    data = peer if isinstance(peer, bytes) else peer.take()
    faults = set()
    for size in SIZES:
        session = new_session()
        fault = ""
        for piece in split(data, size):
            try:
                session.receive(piece, 0)
            except RemoteProtocolError as caught:
                fault = str(caught)
                break
        assert session.events()[-1] == Closed(fault)
        assert session.state is ConnectionState.CLOSED
        faults.add(fault)
    (fault,) = faults
    return fault


# ---- deadlines ----------------------------------------------------------------------------------


def test_a_silent_connection_ends_after_ten_seconds():
    session = new_session()
    assert session.next_timeout_ns == 10 * SECOND
    session.handle_timeout(10 * SECOND - 1)
    assert session.events() == []
    session.handle_timeout(10 * SECOND)
    (closed,) = session.events()
    assert isinstance(closed, Closed)
    assert "in the handshake" in closed.reason
    assert session.bytes_received == 0
    assert session.next_timeout_ns is None


def test_a_trickle_does_not_move_the_deadline():
    session = new_session()
    for i, byte in enumerate(split(Peer().connect().take()[:3000], 1)):
        session.receive(byte, i * MS)
    assert session.next_timeout_ns == 10 * SECOND


@pytest.mark.parametrize(
    ("peer", "sentence"),
    [
        (Peer(), "before connect"),
        (Peer().connect(), "neither publish nor play"),
        (Peer().connect().create_stream(), "neither publish nor play"),
    ],
    ids=["handshake", "connect", "createStream"],
)
def test_the_deadline_holds_for_every_step_of_the_set_up(peer, sentence):
    session = new_session()
    run(session, [peer.out], now_ns=9 * SECOND)
    assert session.next_timeout_ns == 10 * SECOND
    session.handle_timeout(10 * SECOND)
    (closed,) = session.events()
    assert isinstance(closed, Closed)
    assert sentence in closed.reason


def test_the_host_may_take_its_time_to_decide():
    session = new_session()
    run(session, [publisher().take()], accept=False)
    assert session.next_timeout_ns is None


def test_a_publisher_without_media_ends_after_eight_seconds():
    session = new_session()
    peer = publisher()
    run(session, [peer.take()], now_ns=3 * SECOND)
    assert session.next_timeout_ns == 11 * SECOND
    run(session, [peer.media().take()], now_ns=10 * SECOND)
    run(session, [peer.data("onMetaData", {}).take()], now_ns=15 * SECOND)
    assert session.next_timeout_ns == 18 * SECOND
    session.handle_timeout(18 * SECOND)
    assert session.events() == [
        PublishEnded(1, "no audio or video came for 8 s"),
        Closed("no audio or video came for 8 s"),
    ]


def test_media_in_aggregates_counts_as_media():
    session = new_session()
    peer = publisher()
    run(session, [peer.take()])
    body = bytes((9, 0, 0, 1)) + bytes(7) + b"v"
    run(session, [peer.send(Message(m.AGGREGATE, 0, 1, body), 6).take()], now_ns=9 * SECOND)
    assert session.next_timeout_ns == 17 * SECOND


def test_the_idle_time_counts_from_the_decision_and_not_from_the_request():
    session = new_session()
    request = run(session, [publisher().take()], accept=False)[-1]
    assert isinstance(request, PublishRequested)
    session.accept_publish(request, 8 * SECOND)
    assert session.next_timeout_ns == 16 * SECOND


def test_between_two_publishes_a_connection_may_rest_three_minutes():
    session = new_session()
    peer = publisher()
    run(session, [peer.take()])
    run(session, [peer.call("FCUnpublish", 6, None, "cam").take()], now_ns=100 * SECOND)
    assert session.next_timeout_ns == 280 * SECOND


def test_a_mere_probe_is_told_by_its_bytes():
    session = new_session()
    session.connection_lost()
    assert session.bytes_received == 0
    assert session.events() == [Closed("the far side closed the connection")]


def test_the_end_comes_once():
    session = new_session()
    session.connection_lost("first")
    session.connection_lost("second")
    session.handle_timeout(10**18)
    session.close("third")
    session.receive(b"GET / HTTP/1.1", 0)
    assert session.events() == [Closed("first")]
    assert session.events() == []


# ---- the wrong protocol -------------------------------------------------------------------------


@pytest.mark.parametrize(("data", "name"), [(b"GET / HTTP/1.1\r\n", "HTTP"), (b"\x16\3\1", "TLS")])
def test_the_wrong_protocol_is_a_fault_of_its_own_kind(data, name):
    session = new_session()
    with pytest.raises(WrongProtocolError, match=name):
        session.receive(data, 0)
    assert session.bytes_to_send() == b""


# ---- order --------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["createStream", "publish", "play", "releaseStream", "whatever"])
def test_a_command_before_connect_ends_the_connection(name):
    assert fault_of(Peer().call(name, 1, None, "cam")) == "a command came before connect"


def test_a_second_connect_ends_the_connection():
    assert fault_of(Peer().connect().connect()) == "connect came after connect"


def test_media_before_publish_is_ignored():
    session = new_session()
    events = run(session, [Peer().connect().media().data("onMetaData").take()])
    assert [type(event) for event in events] == [ConnectReceived]
    assert session.messages_ignored == 2


def test_control_messages_may_come_before_connect():
    session = new_session()
    peer = Peer().send(m.set_chunk_size(4096), 2).send(m.window_ack_size(5_000_000), 2)
    assert len(run(session, [peer.connect().take()])) == 1


def test_what_came_before_a_fault_is_told_first():
    session = new_session()
    peer = publisher()
    run(session, [peer.take()])
    with pytest.raises(RemoteProtocolError):
        session.receive(peer.media().raw(header(3, 9)).take(), 0)
    reason = "chunk stream 9 begins with a type 3 header"
    assert session.events() == [
        MediaRun(1, [Message(m.VIDEO, 0, 1, b"\x27\x01")]),
        PublishEnded(1, reason),
        Closed(reason),
    ]


def test_what_comes_behind_a_refusal_is_not_even_read():
    session = new_session()
    peer = Peer().connect("a/b").create_stream().publish("c").raw(header(3, 9)).media()
    session.receive(peer.take(), 0)
    assert session.close_after_flush
    assert session.state is ConnectionState.CLOSING


# ---- connect decided by the host ----------------------------------------------------------------


def test_a_host_may_decide_connect_and_what_comes_meanwhile_waits():
    session = new_session(decide_connect=True)
    replies = Replies(session)
    assert len(run(session, [publisher().media().take()], accept=False)) == 1
    assert replies.messages() == []
    session.accept_connect(0)
    (request,) = session.events()
    assert isinstance(request, PublishRequested)
    session.accept_publish(request, 0)
    assert session.events() == [MediaRun(1, [Message(m.VIDEO, 0, 1, b"\x27\x01")])]
    assert replies.commands()[0][0] == "_result"


def test_pings_are_answered_while_connect_is_decided():
    session = new_session(decide_connect=True)
    replies = Replies(session)
    peer = Peer().connect().send(m.user_control(m.PING_REQUEST, 5), 2)
    run(session, [peer.take()])
    assert [message.type_id for message in replies.messages()] == [m.USER_CONTROL]


def test_a_host_may_reject_connect():
    session = new_session(decide_connect=True)
    replies = Replies(session)
    run(session, [publisher().take()])
    session.reject_connect("not from there")
    (call,) = replies.commands()
    info = {
        "level": "error",
        "code": "NetConnection.Connect.Rejected",
        "description": "not from there",
    }
    assert call == ["_error", 1, None, info]
    assert session.close_after_flush
    session.accept_connect(0)
    session.reject_connect("again")
    session.connection_lost()
    assert session.events() == [Closed("connect refused: not from there")]


def test_what_waits_for_the_decision_is_bounded():
    session = new_session(decide_connect=True, max_held_bytes=5000)
    session.receive(Peer().connect().take(), 0)
    with pytest.raises(RemoteProtocolError, match="before the answer to connect"):
        session.receive(Peer(handshake=False).media(body=bytes(5000)).take(), 0)


def test_a_fault_among_what_waited_closes_the_session():
    session = new_session(decide_connect=True)
    run(session, [Peer().connect().connect().take()])
    session.accept_connect(0)
    assert session.events() == [Closed("connect came after connect")]


def test_deciding_a_connect_that_is_not_there_is_our_own_fault():
    for session in (new_session(), new_session(decide_connect=True)):
        with pytest.raises(LocalProtocolError):
            session.accept_connect(0)


# ---- storms -------------------------------------------------------------------------------------


def test_a_flood_of_commands_ends_the_connection():
    peer = Peer().connect()
    for _ in range(200):
        peer.call("_checkbw", 1, None)
    assert fault_of(peer) == "too many commands in too short a time"


def test_many_commands_over_a_longer_time_are_fine():
    session = new_session()
    run(session, [Peer().connect().take()])
    peer = Peer(handshake=False)
    for second in range(1, 5):
        for _ in range(150):
            peer.call("_checkbw", 1, None)
        session.receive(peer.take(), second * SECOND)
    assert session.state is ConnectionState.CONNECTED


def test_a_flood_of_tiny_chunks_ends_the_connection():
    session = new_session(max_headers_per_s=1000)
    with pytest.raises(RemoteProtocolError, match="too many chunks"):
        session.receive(Peer().raw(message_bytes(b"", csid=9) + b"\xc9" * 1000).take(), 0)


def test_tiny_chunks_in_the_next_second_are_counted_anew():
    session = new_session(max_headers_per_s=1000)
    session.receive(Peer().raw(message_bytes(b"", csid=9) + b"\xc9" * 900).take(), 0)
    session.receive(b"\xc9" * 900, SECOND)
    with pytest.raises(RemoteProtocolError, match="too many chunks"):
        session.receive(b"\xc9" * 900, SECOND + 1)


def test_pings_are_bounded_in_a_session():
    session = new_session()
    replies = Replies(session)
    peer = Peer()
    for _ in range(500):
        peer.send(m.user_control(m.PING_REQUEST, 1), 2)
    run(session, [peer.take()])
    assert len(replies.messages()) == 20
    assert session.replies_withheld == 480


# ---- hostile bytes ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        (header(0, 4, 0, 0xFFFFFF, m.VIDEO, 1), "type 9 comes before connect"),
        (AFTER_CONNECT + header(0, 4, 0, 0xFFFFFF, m.VIDEO, 1), "announces 16777215 bytes"),
        (header(0, 3, 0, 65537, m.AMF0_COMMAND), "announces 65537 bytes"),
        (AFTER_CONNECT + header(0, 5, 0, (1 << 20) + 1, m.AMF0_DATA, 1), "announces 1048577 bytes"),
        (b"\xc4", "begins with a type 3 header"),
        (header(2, 320), "chunk stream 320 begins with a type 2"),
        (header(3, 65599), "chunk stream 65599 begins with a type 3"),
        (message_bytes(bytes(4), csid=2, type_id=1), "chunk size of 0"),
        (message_bytes(b"\x80\0\0\0", csid=2, type_id=1), "chunk size of 2147483648"),
        (message_bytes(b"", csid=2, type_id=1), "too short"),
        (message_bytes(b"\0\0", csid=2, type_id=5), "too short"),
        (message_bytes(b"", csid=2, type_id=3), "too short"),
        (message_bytes(b"", csid=3, type_id=20), "does not begin with a name"),
        (message_bytes(b"\0\0", csid=3, type_id=17), "unknown|past the end"),
        (message_bytes(b"\x02\0\1x\xff", csid=3, type_id=20), "0xff is unknown"),
        (message_bytes(b"\x03\0\1a" * 100, csid=3, type_id=20), "nest deeper"),
        (message_bytes(b"\x05" * 5000, csid=3, type_id=20), "too many values"),
        (message_bytes(b"\x0a\xff\xff\xff\xff", csid=3, type_id=20), "promises more"),
    ],
)
def test_hostile_bytes_end_the_connection_with_a_sentence(data, sentence):
    assert re.search(sentence, fault_of(CLIENT_HANDSHAKE + data))


def test_strange_numbers_in_commands_are_harmless():
    nan, inf = float("nan"), float("inf")
    peer = Peer().call("connect", nan, {"app": "live", "objectEncoding": nan, "capsEx": inf})
    peer.call("createStream", inf, None).call("deleteStream", -1.5, None, nan)
    request = peer.play("cam", inf, nan, nan).take()
    pause = peer.call("pause", nan, None, nan, inf, stream_id=1).take()
    events = run(new_session(), [request, pause])
    assert [type(event) for event in events] == [ConnectReceived, PlayRequested, PauseRequested]


def test_a_metadata_bomb_is_ignored_and_the_stream_lives():
    session = new_session()
    peer = publisher()
    run(session, [peer.take()])
    bomb = amf0.encode("onMetaData") + b"\x03\0\1a" * 500
    peer.send(Message(m.AMF0_DATA, 0, 1, bomb), 5).media()
    assert len(run(session, [peer.take()])) == 1


PIECES = st.one_of(
    st.binary(max_size=200),
    st.builds(
        message_bytes,
        st.binary(max_size=300),
        csid=st.sampled_from([2, 3, 4, 6, 64, 400]),
        type_id=st.integers(0, 25),
        stream_id=st.integers(0, 2),
        time=st.sampled_from([0, 40, 0xFFFFFF, 0xFFFFFFFF]),
        form=st.integers(0, 3),
    ),
    st.builds(
        lambda name, tid, values, stream_id: (
            Peer(handshake=False).call(name, tid, *values, stream_id=stream_id).take()
        ),
        st.sampled_from(
            ["connect", "createStream", "publish", "play", "deleteStream", "closeStream",
             "FCUnpublish", "pause", "receiveAudio", "getStreamLength", "releaseStream", "_result"]
        ),
        st.floats(),
        st.lists(
            st.none() | st.floats() | st.text(max_size=8) | st.booleans()
            | st.just({"app": "live", "tcUrl": "rtmp://h/live", "capsEx": 1}),
            max_size=4,
        ),
        st.integers(0, 2),
    ),
)  # fmt: skip


STARTS = {"": Peer, "connect": lambda: Peer().connect(), "publish": publisher, "play": player}


@given(st.sampled_from(sorted(STARTS)), st.lists(PIECES, max_size=12), st.data())
def test_any_bytes_raise_only_a_remote_protocol_error_and_do_the_same_at_any_split(
    start, pieces, data
):
    opening, rest = STARTS[start]().take(), b"".join(pieces)
    cuts = data.draw(st.lists(st.integers(0, 5000), max_size=6))
    outcomes = []
    for later in ([rest], split_at(rest, cuts), split(rest, 1)):
        session = new_session()
        events = run(session, [opening])
        # Undecided, so that the host's moment is the same at every split.
        events += run(session, later, accept=False)
        session.connection_lost("over")
        outcomes.append(repr(comparable([*events, *session.events()])))
        assert session.state is ConnectionState.CLOSED
        assert isinstance(session.bytes_to_send(), bytes)
    assert outcomes[0] == outcomes[1] == outcomes[2]


@given(st.binary(max_size=4000))
def test_random_connections_raise_only_a_remote_protocol_error(data):
    for first in (b"", b"\x03", CLIENT_HANDSHAKE):
        session = new_session()
        try:
            session.receive(first + data, 0)
        except RemoteProtocolError:
            assert isinstance(session.events()[-1], Closed)


# ---- before it is let in ------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [m.AUDIO, m.VIDEO, m.AMF0_DATA, m.AGGREGATE, 99])
def test_media_and_data_before_connect_are_refused_at_their_header(kind: int):
    session = new_session()
    begin = CLIENT_HANDSHAKE + header(0, 6, length=8_000_000, type_id=kind, stream_id=1)
    with pytest.raises(RemoteProtocolError, match=f"type {kind} comes before connect"):
        session.receive(begin, 0)
    assert session.held_bytes == 0


def test_empty_messages_end_a_connection_that_has_asked_for_nothing():
    session = new_session()
    session.receive(CLIENT_HANDSHAKE + header(0, 6, type_id=m.VIDEO), 0)
    with pytest.raises(RemoteProtocolError, match="too many chunks"):
        session.receive(b"\xc6" * 2_000, 0)
    assert session.state is ConnectionState.CLOSED


def test_a_publisher_that_was_let_in_may_send_any_number_of_chunks():
    session = new_session()
    run(session, [publisher().take()])
    for second in range(10):
        session.receive(header(0, 6, type_id=m.VIDEO, stream_id=1), second * SECOND)
        session.receive(b"\xc6" * 5_000, second * SECOND)
    assert session.state is ConnectionState.CONNECTED


def test_a_player_has_little_to_say():
    session = new_session()
    run(session, [player().take()])
    peer = Peer(handshake=False)
    for second in range(1, 4):
        for _ in range(15):
            peer.send(m.acknowledgement(1), 2)
        session.receive(peer.take(), second * SECOND)
    with pytest.raises(RemoteProtocolError, match="too many chunks"):
        session.receive(header(0, 6, type_id=m.VIDEO) + b"\xc6" * 1_000, 5 * SECOND)
