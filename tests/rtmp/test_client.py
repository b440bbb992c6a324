"""The client as a publisher: with our server at the other end, and with a hand that speaks."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamserver.errors import LocalProtocolError, RemoteProtocolError
from streamserver.rtmp.amf import EcmaArray
from streamserver.rtmp.client_events import (
    Connected,
    PublishAccepted,
    Redirected,
    Rejected,
    RetryHint,
)
from streamserver.rtmp.client_states import CLIENT_TRANSITIONS, ENDED, ClientState, ClientStep
from streamserver.rtmp.command import command, error, result
from streamserver.rtmp.events import (
    Closed,
    DataReceived,
    PeerAcked,
    PublishEnded,
    PublishRequested,
)
from streamserver.rtmp.message import (
    ACKNOWLEDGEMENT,
    AMF0_COMMAND,
    AUDIO,
    PING_REQUEST,
    PING_RESPONSE,
    SET_CHUNK_SIZE,
    USER_CONTROL,
    VIDEO,
    WINDOW_ACK_SIZE,
    Message,
    set_chunk_size,
    user_control,
    window_ack_size,
)
from streamserver.rtmp.session import ServerSession
from streamserver.rtmp.settings import FOUR_CCS, SessionSettings
from tests.rtmp.helpers_client import FarSide
from tests.rtmp.helpers_wire import comparable, decide
from tests.rtmp.pair import Pair, client_settings

DAY_MS = 86_400_000
SECOND = 1_000_000_000
TYPES = {"audio": AUDIO, "video": VIDEO}


def publish_some(pair: Pair) -> None:
    """Metadata, headers and frames, as a destination sends them."""
    client = pair.pump().client
    client.send_metadata({"width": 320.0, "encoder": "us"})
    client.send_media("video", 0, b"\x17\0\0\0\0" + bytes(40))
    client.send_media("audio", 0, b"\xaf\0\x11\x90")
    for index in range(10):
        client.send_media("video", 33 * index, b"\x27\1\0\0\0" + bytes(range(200)) * index)
        client.send_media("audio", 21 * index, b"\xaf\1" + bytes(300))
    client.send_data(400, "onCuePoint", {"name": "x"})
    pair.pump()
    client.finish("done")
    pair.pump()


class TestWithOurServer:
    def test_all_of_a_broadcast_arrives(self):
        pair = Pair()
        publish_some(pair)
        assert [type(event) for event in pair.client_events] == [Connected, PublishAccepted]
        media = pair.sent(Message)
        assert len(media) == 22
        assert [m.timestamp for m in media if m.type_id == VIDEO][1:] == [
            33 * index for index in range(10)
        ]
        metadata, cue = pair.sent(DataReceived)
        assert metadata.name == "onMetaData"
        assert metadata.values == ({"width": 320.0, "encoder": "us"},)
        assert isinstance(metadata.values[0], EcmaArray)
        assert (cue.name, cue.timestamp_ms) == ("onCuePoint", 400)
        assert [type(event) for event in pair.server_events][-1] is PublishEnded
        assert pair.client.close_after_flush

    @pytest.mark.parametrize("size", [1, 7, 128, 4096])
    def test_the_same_happens_at_every_size_of_pieces(self, size):
        whole, cut = Pair(), Pair(sizes=(size,))
        publish_some(whole)
        publish_some(cut)
        assert cut.client_events == whole.client_events
        assert comparable(cut.server_events) == comparable(whole.server_events)

    @settings(max_examples=25)
    @given(st.lists(st.integers(1, 3000), min_size=1, max_size=12))
    def test_the_same_happens_at_any_split(self, sizes):
        whole, cut = Pair(), Pair(sizes=sizes)
        publish_some(whole)
        publish_some(cut)
        assert cut.client_events == whole.client_events
        assert comparable(cut.server_events) == comparable(whole.server_events)

    @settings(max_examples=25)
    @given(
        st.lists(
            st.tuples(
                st.sampled_from(["audio", "video"]),
                st.integers(0, 2**33),
                st.integers(0, 70_000),
            ),
            max_size=20,
        ),
        st.sampled_from([128, 4096, 60_000]),
    )
    def test_any_media_arrives_as_it_was_sent(self, messages, chunk_size):
        bounds = SessionSettings(chunk_size=chunk_size)
        pair = Pair(client_settings(bounds=bounds)).pump()
        for kind, time, size in messages:
            assert pair.client.send_media(kind, time, b"\x17" * size)
        pair.pump()
        assert pair.sent(Message) == [
            Message(TYPES[kind], time % 2**32, 1, b"\x17" * size) for kind, time, size in messages
        ]

    def test_a_day_of_times_survives_24_bits_and_31_and_32(self):
        pair = Pair(client_settings(bounds=SessionSettings(chunk_size=128))).pump()
        # 25 days and 50 days are where 31 and 32 bits end.
        for start in (0, DAY_MS - 3_600_000, 24 * DAY_MS, 49 * DAY_MS):
            sent = list(range(start, start + DAY_MS, 60_000))
            for time in sent:
                pair.client.send_media("video", time, bytes(300))
            pair.pump()
            times = [event.timestamp for event in pair.sent(Message)]
            assert times == [time % 2**32 for time in sent]
            pair.server_events.clear()

    def test_times_are_written_as_distances_that_never_need_more_than_24_bits(self):
        pair = Pair().pump()
        for time in (0x00FF_FFF0, 0x0100_0010):
            pair.client.send_media("video", time, b"\x17")
        first, second = pair.client.bytes_to_send(), b""
        # The first is absolute, and the second a distance: type 2, csid 6, 32 ms.
        assert first.endswith(b"\x86\0\0\x20\x17")
        pair.client.send_media("video", 0x0100_0000, b"\x17")
        second = pair.client.bytes_to_send()
        # A step back is absolute, and extended.
        assert second[:4] == b"\x06\xff\xff\xff"
        assert second[-5:] == b"\x01\0\0\0\x17"

    def test_key_and_application_arrive_as_they_stand(self):
        key = "FB-1-0-Ab?s_bl=1&s_psm=1&a=AbW/%2F+="
        server = ServerSession(now_ns=0, nonce=bytes(1528))
        pair = Pair(client_settings(f"rtmp://h/rtmp/{key}"), accept=False)
        pair.server = server
        pair.pump()
        (request,) = pair.sent(PublishRequested)
        assert (request.raw_app, request.raw_key) == ("rtmp", key)
        assert request.publish_type == "live"
        assert pair.connect.tc_url == "rtmp://h/rtmp"

    def test_the_instance_of_wowza_is_part_of_the_application(self):
        pair = Pair(client_settings("rtmp://h:1936/live/_definst_/cam")).pump()
        assert pair.connect.app == "live/_definst_"
        assert pair.connect.tc_url == "rtmp://h:1936/live/_definst_"
        assert pair.connect.swf_url == pair.connect.tc_url
        assert pair.connect.flash_ver.startswith("FMLE/3.0")

    def test_enhanced_rtmp_is_announced_and_what_the_server_offers_is_known(self):
        pair = Pair()
        assert pair.client.peer_four_ccs == frozenset()
        pair.pump()
        assert pair.connect.four_ccs == FOUR_CCS
        assert pair.connect.caps_ex == 5
        assert pair.client.peer_four_ccs == frozenset(FOUR_CCS)
        assert pair.client.peer_takes("hvc1")
        assert not pair.client.peer_takes("vvc1")
        assert pair.told(Connected)[0].caps_ex == 13

    def test_nothing_of_enhanced_rtmp_is_said_where_it_is_turned_off(self):
        bounds = SessionSettings(four_ccs=())
        pair = Pair(client_settings(bounds=bounds)).pump()
        assert (pair.connect.four_ccs, pair.connect.caps_ex) == ((), 0)
        assert pair.client.peer_four_ccs == frozenset()

    def test_a_refusal_has_the_words_of_the_server(self):
        pair = Pair(accept=False).pump()
        (request,) = pair.sent(PublishRequested)
        pair.server.reject_publish(request, "somebody else is live", "NetStream.Publish.BadName")
        pair.pump()
        assert pair.told(Rejected) == [
            Rejected("NetStream.Publish.BadName", "somebody else is live", RetryHint.BUSY)
        ]
        pair.client.connection_lost()
        assert pair.client.events() == [Closed("refused: somebody else is live")]

    def test_the_server_is_told_of_a_stop_and_of_the_reason_for_nothing(self):
        pair = Pair().pump()
        pair.client.finish("the stream ended")
        pair.pump()
        assert [event.reason for event in pair.sent(PublishEnded)] == ["the publisher stopped"]
        pair.client.connection_lost()
        assert pair.client.events() == [Closed("the stream ended")]

    def test_a_wish_to_reconnect_leaves_the_connection_alive(self):
        pair = Pair().pump()
        pair.server.request_reconnect("rtmp://other.example/live", "we restart")
        pair.server.request_reconnect("", "and again")
        pair.pump()
        (event,) = pair.told(Redirected)
        assert (event.closing, event.description) == (False, "we restart")
        assert event.settings.target.host == "other.example"
        assert event.settings.target.key == "cam"
        assert pair.client.send_media("video", 0, b"\x17")

    def test_acknowledgements_go_both_ways(self):
        pair = Pair(server=SessionSettings(window_ack_size=200_000)).pump()
        for index in range(10):
            pair.client.send_media("video", index, bytes(300_000))
            pair.pump()
        acked = [event.received for event in pair.told(PeerAcked)]
        assert acked == sorted(acked)
        assert acked[-1] > 1_000_000


class TestOrder:
    def test_each_step_waits_for_the_one_before(self):
        far = FarSide("rtmp://h/live/k?a=b&c=d")
        assert far.heard() == []
        far.shake()
        size, connect = far.heard()
        assert (size.type_id, size.body) == (SET_CHUNK_SIZE, (60_000).to_bytes(4, "big"))
        assert b"tcUrl\x02\x00\x0drtmp://h/live" in connect.body
        (event,) = far.connected()
        assert isinstance(event, Connected)
        window, *calls = far.heard()
        assert window.type_id == WINDOW_ACK_SIZE
        assert [m.type_id for m in calls] == [AMF0_COMMAND] * 3
        assert far.say(result(2, None), result(4, None, 5)) == []
        (call,) = far.calls()
        assert call == ["publish", 5.0, None, "k?a=b&c=d", "live"]
        assert far.status("NetStream.Publish.Start") == [PublishAccepted(5)]
        assert far.client.state is ClientState.LIVE

    def test_the_calls_are_those_of_obs(self):
        far = FarSide().shake()
        far.heard()
        far.connected()
        assert far.calls() == [
            ["releaseStream", 2.0, None, "cam"],
            ["FCPublish", 3.0, None, "cam"],
            ["createStream", 4.0, None],
        ]

    def test_the_stop_names_key_and_stream(self):
        far = FarSide().accepted()
        far.client.finish()
        far.client.finish()
        assert far.calls() == [
            ["FCUnpublish", 6.0, None, "cam"],
            ["deleteStream", 7.0, None, 5.0],
        ]
        assert not far.client.send_media("video", 0, b"")

    def test_a_stop_before_there_is_a_stream_says_nothing(self):
        far = FarSide().shake()
        far.heard()
        far.client.finish("never mind")
        assert far.heard() == []
        assert far.client.close_after_flush

    def test_media_must_wait_for_leave(self):
        far = FarSide()
        with pytest.raises(LocalProtocolError):
            far.client.send_media("video", 0, b"")
        far.shake().connected()
        with pytest.raises(LocalProtocolError):
            far.client.send_metadata({})
        with pytest.raises(LocalProtocolError):
            far.client.send_data(0, "onX")

    def test_answers_that_are_not_awaited_change_nothing(self):
        far = FarSide().shake()
        assert far.say(result(4, None, 5), result(9)) == []
        assert far.status("NetStream.Publish.Start") == []
        far.connected()
        assert far.connected() == []
        assert far.status("NetStream.Play.Start") == []
        assert far.client.state is ClientState.CREATING

    def test_refusals_of_what_is_no_standard_are_no_refusals(self):
        far = FarSide().shake()
        far.connected()
        answers = [error(2, "NetConnection.Call.Failed", ""), error(3, "x", "")]
        assert far.say(*answers, result(4, None, 5)) == []
        assert far.status("NetStream.Publish.Start") == [PublishAccepted(5)]

    def test_any_stream_number_is_used(self):
        far = FarSide().shake()
        far.connected()
        far.say(result(4, None, 7))
        far.status("NetStream.Publish.Start")
        far.heard()
        far.client.send_media("video", 3, b"\x17")
        assert far.heard() == [Message(VIDEO, 3, 7, b"\x17")]


class TestManners:
    def test_pings_are_answered(self):
        far = FarSide().accepted()
        far.say(user_control(PING_REQUEST, 1234), csid=2)
        (answer,) = far.heard()
        assert answer.type_id == USER_CONTROL
        assert answer.body == PING_RESPONSE.to_bytes(2, "big") + (1234).to_bytes(4, "big")

    def test_chunk_sizes_and_windows_of_the_server_are_honoured(self):
        far = FarSide().accepted()
        far.say(set_chunk_size(70_000), window_ack_size(131_072), csid=2)
        for _ in range(4):
            far.say(Message(99, 0, 0, bytes(60_000)))
        assert far.client.messages_ignored == 4
        assert [m.type_id for m in far.heard()] == [ACKNOWLEDGEMENT, ACKNOWLEDGEMENT]

    def test_calls_of_the_server_are_answered_if_they_want_to_be(self):
        far = FarSide().accepted()
        assert far.call("onBWCheck", 3, None) == []
        assert far.call("onBWDone", 0, None) == []
        assert far.call("onFCPublish", 0, None, {"code": "NetStream.Publish.Start"}) == []
        assert far.calls() == [["_result", 3.0, None, None]]

    def test_media_to_a_publisher_is_counted_and_forgotten(self):
        far = FarSide().accepted()
        assert far.media() == []
        assert far.client.messages_ignored == 1

    def test_a_flood_of_commands_ends_the_connection(self):
        far = FarSide(max_commands_per_s=20).accepted()
        flood = [command(0, "onBWDone", 0) for _ in range(30)]
        with pytest.raises(RemoteProtocolError):
            far.say(*flood)
        (closed,) = far.client.events()
        assert isinstance(closed, Closed)

    @pytest.mark.parametrize(
        ("data", "says"),
        [
            (b"HTTP/1.1 400 Bad Request\r\n", "speaks HTTP or another text protocol, not RTMP"),
            (b"\x15\3\1\0\2\2\x0a", "speaks TLS, not RTMP; rtmps:// may be meant"),
            (b"\x06" + bytes(1536), "asks for RTMPE"),
            (b"\xff\xfd", "begins with byte 0xff"),
        ],
    )
    def test_what_is_no_rtmp_is_called_what_it_is(self, data, says):
        far = FarSide()
        with pytest.raises(RemoteProtocolError, match=says):
            far.raw(data)
        (closed,) = far.client.events()
        assert isinstance(closed, Closed)
        assert says in closed.reason
        assert far.raw(b"more") == []

    @settings(max_examples=60)
    @given(st.binary(max_size=200), st.integers(0, 3))
    def test_garbage_raises_one_error_only_and_closes(self, garbage, stage):
        far = FarSide()
        if stage:
            far.shake()
        if stage == 2:
            far.connected()
        if stage == 3:
            far.accepted()
        try:
            far.raw(garbage)
        except RemoteProtocolError:
            assert isinstance(far.client.events()[-1], Closed)
        far.client.connection_lost()
        assert far.client.state is ClientState.CLOSED


class TestTimeouts:
    @pytest.mark.parametrize("steps", [0, 1, 2, 3])
    def test_a_silent_server_is_named_with_what_it_owes(self, steps):
        far = FarSide()
        if steps > 0:
            far.shake()
        if steps > 1:
            far.connected()
        if steps > 2:
            far.say(result(4, None, 5))
        due = far.client.next_timeout_ns
        assert due == 20 * SECOND
        far.client.handle_timeout(due - 1)
        assert far.client.events() == []
        far.client.handle_timeout(due)
        what = ("the handshake", "connect", "createStream", "publish or play")[steps]
        reason = f"the far side did not answer {what} within 20 s"
        assert far.client.events() == [Closed(reason)]
        assert far.client.next_timeout_ns is None

    def test_a_publisher_that_is_live_has_no_timeout(self):
        far = FarSide().accepted()
        assert far.client.next_timeout_ns is None
        far.client.handle_timeout(1 << 60)
        assert far.client.events() == []

    def test_the_loss_of_the_transport_is_told_once(self):
        far = FarSide().accepted()
        far.client.connection_lost("reset by peer")
        far.client.connection_lost()
        assert far.client.events() == [Closed("reset by peer")]
        assert not far.client.send_metadata({})


def test_every_state_can_stop_and_end_but_those_that_did():
    for state in ClientState:
        assert ((state, ClientStep.STOP) in CLIENT_TRANSITIONS) is (state not in ENDED)
        can_end = state is not ClientState.CLOSED
        assert ((state, ClientStep.END) in CLIENT_TRANSITIONS) is can_end


def test_events_after_a_decision_are_taken_in_order():
    pair = Pair().pump()
    assert decide(pair.server) == []
    assert pair.client.bytes_received > 3000
    assert pair.client.bytes_sent > 3000
