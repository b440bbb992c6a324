"""What real servers answered to this client, recorded and fed again.

Made with nginx-rtmp 1.2.2 (Debian 12), node-media-server 4.4.3 and ``ffmpeg -listen 1`` (5.1), each
publishing or playing H.264 and AAC of 320x180; players' recordings end after 12,000 bytes.
"""

import pytest

from streamserver.rtmp.client import ClientSession
from streamserver.rtmp.client_events import (
    ClientEvent,
    Connected,
    PlayStarted,
    PublishAccepted,
    Rejected,
    RetryHint,
)
from streamserver.rtmp.client_settings import ClientAction
from streamserver.rtmp.client_states import ClientState
from streamserver.rtmp.events import Closed, DataReceived
from streamserver.rtmp.message import Message
from tests.rtmp.helpers_wire import DATA, SIZES, split, told
from tests.rtmp.pair import client_settings

PUBLISH = ["nginx_to_publisher", "nms_to_publisher", "ffmpeg_to_publisher"]
PLAY = ["nginx_to_player", "nms_to_player"]
REFUSED = ["nginx_busy", "nginx_deny"]


def replay(name: str, size: int = 1 << 20) -> tuple[ClientSession, list[ClientEvent | Message]]:
    """Feeds a recording in pieces; answers the session and its events."""
    action: ClientAction = "play" if name in PLAY else "publish"
    client = ClientSession(client_settings(action=action), now_ns=0, nonce=bytes(1528))
    events: list[ClientEvent | Message] = []
    for piece in split((DATA / f"server_{name}.bin").read_bytes(), size):
        client.receive(piece, 0)
        events += told(client.events())
    return client, events


@pytest.mark.parametrize("name", [*PUBLISH, *PLAY, *REFUSED])
def test_recordings_give_the_same_events_at_every_size(name):
    outcomes = [replay(name, size)[1] for size in SIZES]
    assert all(outcome == outcomes[0] for outcome in outcomes)


@pytest.mark.parametrize("name", PUBLISH)
def test_real_servers_let_us_publish(name):
    client, events = replay(name)
    connected, accepted = events
    assert isinstance(connected, Connected)
    assert connected.server_version == "FMS/3,0,1,123"
    # None of them answers with its enhanced RTMP, so nothing but H.264 is offered to them.
    assert connected.four_ccs == frozenset()
    assert accepted == PublishAccepted(1)
    assert client.state is ClientState.LIVE


@pytest.mark.parametrize("name", PLAY)
def test_real_servers_let_us_play(name):
    _, events = replay(name)
    connected, started, metadata, *media = events
    assert isinstance(connected, Connected)
    assert started == PlayStarted(1)
    assert isinstance(metadata, DataReceived)
    assert isinstance(metadata.values[0], dict)
    assert metadata.values[0]["width"] == 320
    assert len(media) > 10
    assert all(isinstance(event, Message) for event in media)
    # nginx lets video wait for a keyframe; its recording ends inside that.
    bodies = [event.body[:2] for event in media if isinstance(event, Message)]
    assert {b"\x17\0", b"\xaf\0", b"\xaf\1"} <= set(bodies)


def test_nginx_says_that_somebody_else_publishes():
    client, events = replay("nginx_busy")
    assert events[-1] == Rejected("NetStream.Publish.BadName", "Already publishing", RetryHint.BUSY)
    assert client.close_after_flush


def test_nginx_denies_by_accepting_and_hanging_up():
    # Acceptance is therefore not yet success: a host looks for bytes that get through.
    client, events = replay("nginx_deny")
    assert events[-1] == PublishAccepted(1)
    client.connection_lost()
    assert client.events() == [Closed("the far side closed the connection")]
