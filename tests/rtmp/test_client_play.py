"""The client as a player."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamserver.errors import LocalProtocolError, RemoteProtocolError
from streamserver.rtmp import amf0
from streamserver.rtmp.amf import AmfValue
from streamserver.rtmp.chunk_encoder import ChunkEncoder
from streamserver.rtmp.client_events import Connected, PlayStarted, Rejected, RetryHint
from streamserver.rtmp.client_states import ClientState
from streamserver.rtmp.command import data_message, result
from streamserver.rtmp.events import (
    BufferLengthSet,
    Closed,
    DataReceived,
    MediaRun,
    PlayEnded,
    PlayRequested,
)
from streamserver.rtmp.message import (
    AGGREGATE,
    AMF0_DATA,
    AUDIO,
    BUFFER_LENGTH,
    USER_CONTROL,
    VIDEO,
    Message,
    set_chunk_size,
)
from tests.rtmp.helpers_client import FarSide
from tests.rtmp.helpers_wire import told
from tests.rtmp.pair import Pair, client_settings

SECOND = 1_000_000_000


def playing(url: str = "rtmp://h/live/cam?token=a&x=1") -> FarSide:
    return FarSide(url, "play").accepted()


def tag(kind: int, time: int, body: bytes) -> bytes:
    """One message of an aggregate."""
    head = bytes((kind,)) + len(body).to_bytes(3, "big") + time.to_bytes(3, "big")
    return head + bytes(4) + body + (len(body) + 11).to_bytes(4, "big")


class TestWithOurServer:
    def media(self) -> bytes:
        """What a wire feed writes: chunks of 65536 behind the session's own messages."""
        encoder = ChunkEncoder()
        encoder.encode(set_chunk_size(65536), 2)
        out = encoder.encode(data_message(1, 0, "onMetaData", {"width": 320.0}), 5)
        for index in range(8):
            out += encoder.encode(Message(VIDEO, 33 * index, 1, bytes(20_000 * index + 5)), 6)
            out += encoder.encode(Message(AUDIO, 33 * index, 1, b"\xaf\1" + bytes(200)), 4)
        return out

    def play(self, sizes: tuple[int, ...]) -> Pair:
        pair = Pair(client_settings("rtmp://h/live/cam?t=1", "play"), sizes=sizes).pump()
        wire, step = self.media(), sizes[0]
        for start in range(0, len(wire), step):
            pair.client.receive(wire[start : start + step], 0)
            pair.client_events += pair.client.events()
        (request,) = pair.sent(PlayRequested)
        pair.server.end_play(request.stream_id, "the stream is over", 0)
        return pair.pump()

    def test_all_of_a_stream_arrives(self):
        pair = self.play((1 << 20,))
        (request,) = pair.sent(PlayRequested)
        assert (request.raw_key, request.start) == ("cam?t=1", -2)
        assert pair.sent(BufferLengthSet) == [BufferLengthSet(1, 3000)]
        connected, started, metadata, *media, ended = told(pair.client_events)
        assert isinstance(connected, Connected)
        assert started == PlayStarted(1)
        assert metadata == DataReceived(1, 0, "onMetaData", ({"width": 320.0},))
        assert len(media) == 16
        assert media[-1] == Message(AUDIO, 231, 1, b"\xaf\1" + bytes(200))
        assert ended == PlayEnded(1, "the stream is over")
        assert pair.client.state is ClientState.LIVE

    @settings(max_examples=15)
    @given(st.lists(st.integers(1, 70_000), min_size=1, max_size=6))
    def test_the_same_happens_at_any_split(self, sizes):
        whole = self.play((1 << 20,))
        cut = self.play((max(sizes[0], 500), *sizes))
        assert list(told(cut.client_events)) == list(told(whole.client_events))

    def test_a_refusal_has_the_words_of_the_server(self):
        pair = Pair(client_settings(action="play"), accept=False).pump()
        (request,) = pair.sent(PlayRequested)
        pair.server.reject_play(request, "there is no such stream")
        pair.pump()
        assert pair.told(Rejected) == [
            Rejected("NetStream.Play.StreamNotFound", "there is no such stream", RetryHint.LATER)
        ]

    def test_a_stop_is_understood(self):
        pair = Pair(client_settings(action="play")).pump()
        pair.client.finish("nobody watches")
        pair.pump()
        ended = pair.server_events[-1]
        assert ended == PlayEnded(1, "the far side deleted its stream")


class TestCalls:
    def test_a_player_asks_as_ffmpeg_does(self):
        far = FarSide("rtmp://h/live/cam?token=a&x=1", "play").shake()
        _, connect = far.heard()
        values = amf0.decode(connect.body)[2]
        assert isinstance(values, dict)
        assert values["flashVer"] == "LNX 9,0,124,2"
        assert values["capabilities"] == 15
        assert "type" not in values
        far.connected()
        _, create = far.heard()
        assert amf0.decode(create.body) == ["createStream", 4.0, None]
        far.say(result(4, None, 5))
        play, length = far.heard()
        assert play.stream_id == 5
        assert amf0.decode(play.body) == ["play", 5.0, None, "cam?token=a&x=1", -2000.0]
        assert length.type_id == USER_CONTROL
        assert length.body == BUFFER_LENGTH.to_bytes(2, "big") + bytes((0, 0, 0, 5, 0, 0, 11, 184))

    def test_the_stop_says_nothing_of_publishing(self):
        far = playing()
        far.client.finish()
        assert far.calls() == [["deleteStream", 7.0, None, 5.0]]

    def test_a_player_sends_no_media(self):
        with pytest.raises(LocalProtocolError):
            playing().client.send_media("video", 0, b"")


class TestMedia:
    def test_media_is_as_good_as_a_status(self):
        far = FarSide("rtmp://h/live/cam", "play").shake()
        far.connected()
        assert far.media() == []
        far.say(result(4, None, 5))
        assert far.media(time=7) == [
            PlayStarted(5),
            MediaRun(5, [Message(VIDEO, 7, 5, b"\x17\1")]),
        ]
        assert far.status("NetStream.Play.Start") == []

    def test_media_on_another_stream_is_ours(self):
        far = playing()
        events = far.say(Message(AUDIO, 3, 1, b"\xaf\1"))
        assert events == [MediaRun(5, [Message(AUDIO, 3, 1, b"\xaf\1")])]

    def test_aggregates_come_apart(self):
        far = playing()
        body = tag(AUDIO, 0, b"\xaf\1") + tag(VIDEO, 20, b"\x27\1") + tag(AMF0_DATA, 20, b"")
        assert far.say(Message(AGGREGATE, 1000, 5, body)) == [
            MediaRun(5, [Message(AUDIO, 1000, 5, b"\xaf\1"), Message(VIDEO, 1020, 5, b"\x27\1")])
        ]

    def test_a_broken_aggregate_ends_the_connection(self):
        far = playing()
        with pytest.raises(RemoteProtocolError):
            far.say(Message(AGGREGATE, 0, 5, b"\x08\0\0\xff"))
        assert isinstance(far.client.events()[-1], Closed)

    def test_data_is_handed_on_but_not_what_is_meant_for_flash(self):
        far = playing()
        assert far.say(data_message(5, 9, "onTextData", "x")) == [
            DataReceived(5, 9, "onTextData", ("x",))
        ]
        assert far.say(data_message(5, 0, "|RtmpSampleAccess", True, True)) == []
        assert far.say(Message(AMF0_DATA, 0, 5, b"\0\1\2\3")) == []
        assert far.client.messages_ignored == 2


class TestEnds:
    @pytest.mark.parametrize(
        "code", ["NetStream.Play.UnpublishNotify", "NetStream.Play.Stop", "NetStream.Play.Complete"]
    )
    def test_the_end_of_the_stream_is_told_and_it_may_come_back(self, code):
        far = playing()
        (event,) = far.status(code, "over")
        assert event == PlayEnded(5, "over")
        assert len(far.media()) == 1

    def test_the_end_of_a_recording_comes_as_data(self):
        far = playing()
        info: dict[str, AmfValue] = {"level": "status", "code": "NetStream.Play.Complete"}
        (event,) = far.say(data_message(5, 0, "onPlayStatus", info))
        assert event == PlayEnded(5, "the far side's stream is complete")
        assert far.say(data_message(5, 0, "onPlayStatus", "?")) == []

    def test_an_end_without_words_gets_ours(self):
        (event,) = playing().status("NetStream.Play.Stop")
        assert event == PlayEnded(5, "the far side's stream is over")

    def test_a_stream_that_stops_coming_ends_the_connection(self):
        far = playing()
        far.now_ns = 4 * SECOND
        far.audio()
        assert far.client.next_timeout_ns == 12 * SECOND
        far.client.handle_timeout(12 * SECOND)
        assert far.client.events() == [Closed("no audio or video came for 8 s")]
