import pytest

from streamserver.rtmp import message as m
from streamserver.rtmp.amf0 import decode
from streamserver.rtmp.events import (
    BufferLengthSet,
    Closed,
    ConnectReceived,
    PauseRequested,
    PeerAcked,
    PlayEnded,
    PlayRequested,
    PublishRequested,
    ReceiveAudioRequested,
    ReceiveVideoRequested,
    RequestRefused,
)
from streamserver.rtmp.session import ServerSession
from tests.rtmp.helpers_wire import SIZES, Peer, Replies, new_session, player, run, split

SECOND = 1_000_000_000


def asked(*more: object, key: str = "cam") -> PlayRequested:
    peer = Peer().connect().create_stream().play(key, *more)  # type: ignore[arg-type]
    request = run(new_session(), [peer.take()])[-1]
    assert isinstance(request, PlayRequested)
    return request


def playing() -> tuple[ServerSession, Peer, Replies]:
    session, peer = new_session(), player()
    run(session, [peer.take()])
    replies = Replies(session)
    replies.messages()
    return session, peer, replies


@pytest.mark.parametrize("size", SIZES)
def test_a_player_from_connect_to_the_end(size):
    peer = Peer().connect().send(m.window_ack_size(2_500_000), 2).create_stream()
    peer.call("getStreamLength", 3, None, "cam").play("cam?token=x", -2000)
    peer.send(m.user_control(m.BUFFER_LENGTH, 1, 3000), 2).send(m.acknowledgement(7), 2)
    peer.call("deleteStream", 0, None, 1)
    session = new_session()
    events = run(session, split(peer.take(), size))
    assert isinstance(events[0], ConnectReceived)
    request = events[1]
    assert isinstance(request, PlayRequested)
    assert (request.app, request.name, request.params) == ("live", "cam", {"token": "x"})
    assert events[2:] == [
        BufferLengthSet(1, 3000),
        PeerAcked(7),
        PlayEnded(1, "the far side deleted its stream"),
    ]


def test_play_is_answered_with_begin_reset_start_and_access():
    session = new_session()
    replies = Replies(session)
    request = run(session, [player().take()], accept=False)[-1]
    assert isinstance(request, PlayRequested)
    replies.messages()
    assert session.accept_play(request)
    begin, reset, start, access = replies.messages()
    assert begin == m.user_control(m.STREAM_BEGIN, 1)
    assert b"NetStream.Play.Reset" in reset.body
    assert b"NetStream.Play.Start" in start.body
    assert decode(access.body) == ["|RtmpSampleAccess", True, True]
    assert {message.stream_id for message in (reset, start, access)} == {1}


def test_a_player_that_wants_no_reset_is_told_of_none():
    session = new_session()
    replies = Replies(session)
    run(session, [Peer().connect().create_stream().play("cam", -2, -1, False).take()])
    assert replies.codes() == ["NetStream.Play.Start"]


@pytest.mark.parametrize(
    ("sent", "start"),
    [(-2, -2), (-2000, -2), (-1, -1), (-1000, -1), (4294965296, -2), (0, 0), (60, 60), ("x", -2)],
    ids=["spec", "ffmpeg", "live", "librtmp live", "unsigned", "vod", "seconds", "text"],
)
def test_the_start_of_a_play_is_read_in_every_unit(sent, start):
    assert asked(sent).start == start


def test_start_duration_and_reset_have_defaults():
    request = asked()
    assert (request.start, request.duration, request.reset) == (-2, -1, True)
    assert asked(-1, 10, 0).duration == 10
    assert asked(-1, 10, 0).reset is False


def test_a_play_is_rejected_with_an_error_and_a_close():
    session = new_session()
    replies = Replies(session)
    request = run(session, [player().take()], accept=False)[-1]
    assert isinstance(request, PlayRequested)
    assert session.reject_play(request, "no such stream")
    (info,) = replies.infos()
    assert (info["level"], info["code"]) == ("error", "NetStream.Play.StreamNotFound")
    assert session.close_after_flush


def test_a_bad_name_is_refused_with_a_play_code():
    session = new_session()
    replies = Replies(session)
    refused = run(session, [Peer().connect("a/b").create_stream().play("c").take()])[-1]
    assert isinstance(refused, RequestRefused)
    assert replies.codes() == ["NetStream.Play.Failed"]
    assert session.close_after_flush


def test_a_player_may_go_to_another_stream():
    session, peer, _ = playing()
    ended, request = run(session, [peer.play("other").take()])
    assert ended == PlayEnded(1, "the player asked for another stream")
    assert isinstance(request, PlayRequested)
    assert request.name == "other"


def test_publish_on_a_playing_connection_is_refused():
    session, peer, _ = playing()
    (event,) = run(session, [peer.publish().take()])
    assert isinstance(event, RequestRefused)
    assert not session.close_after_flush


def test_pause_and_going_on_are_answered_and_told():
    session, peer, replies = playing()
    peer.call("pause", 0, None, True, 1500, stream_id=1)
    assert run(session, [peer.take()]) == [PauseRequested(1, True, 1500)]
    control, status = replies.messages()
    assert control == m.user_control(m.STREAM_EOF, 1)
    assert b"NetStream.Pause.Notify" in status.body
    peer.call("pauseRaw", 0, None, False, 1500, stream_id=1)
    assert run(session, [peer.take()]) == [PauseRequested(1, False, 1500)]
    control, status = replies.messages()
    assert control == m.user_control(m.STREAM_BEGIN, 1)
    assert b"NetStream.Unpause.Notify" in status.body


def test_jw_player_closes_its_stream_for_a_pause_and_plays_again():
    session, peer, _ = playing()
    peer.call("closeStream", 0, None, stream_id=1)
    ended, again = run(session, [peer.play().take()])
    assert ended == PlayEnded(1, "the far side closed its stream")
    assert isinstance(again, PlayRequested)


def test_a_player_turns_audio_and_video_off_and_on():
    session, peer, _ = playing()
    peer.call("receiveAudio", 0, None, False, stream_id=1)
    peer.call("receiveVideo", 0, None, True, stream_id=1)
    assert run(session, [peer.take()]) == [
        ReceiveAudioRequested(1, False),
        ReceiveVideoRequested(1, True),
    ]


@pytest.mark.parametrize("name", ["pause", "pauseRaw", "receiveAudio", "receiveVideo"])
def test_commands_of_players_mean_nothing_where_nothing_plays(name):
    session = new_session()
    peer = Peer().connect().create_stream().call(name, 0, None, True, stream_id=1)
    assert len(run(session, [peer.take()])) == 1


def test_a_player_is_told_that_its_stream_is_over_and_may_play_again():
    session, peer, replies = playing()
    session.end_play(1, "the broadcast is over", 5 * SECOND)
    control, status = replies.messages()
    assert control == m.user_control(m.STREAM_EOF, 1)
    assert b"NetStream.Play.UnpublishNotify" in status.body
    assert session.events() == [PlayEnded(1, "the broadcast is over")]
    assert session.next_timeout_ns == 185 * SECOND
    assert isinstance(run(session, [peer.play().take()])[0], PlayRequested)
    session.end_play(9, "no such stream", 0)


def test_media_from_a_player_is_ignored():
    session, peer, _ = playing()
    assert run(session, [peer.media().take()]) == []


def test_a_player_has_no_deadline():
    session, _, _ = playing()
    assert session.next_timeout_ns is None
    session.handle_timeout(10**18)
    session.connection_lost()
    assert [type(event) for event in session.events()] == [PlayEnded, Closed]


def test_a_player_may_publish_when_it_has_stopped():
    session, peer, _ = playing()
    peer.call("closeStream", 0, None, stream_id=1).publish()
    assert isinstance(run(session, [peer.take()])[1], PublishRequested)
