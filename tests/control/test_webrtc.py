import pytest

from streamserver.control.present import link
from streamserver.errors import (
    AccessDeniedError,
    CredentialsMissingError,
    LimitError,
    NotFoundError,
    RefusedError,
    RemoteProtocolError,
    UnplayableError,
)
from streamserver.hub.sessions import Protocol
from streamserver.media.track import Codec
from streamserver.webrtc.fragment import Fragment, read_fragment
from streamserver.webrtc.negotiation import OfferError
from streamserver.webrtc.peer import Pair
from streamserver.webrtc.sdp import read_description
from tests.control.helpers_webrtc import CAM, World
from tests.webrtc.offers import CHROMIUM_PLAY, CHROMIUM_PUBLISH, FFMPEG_PUBLISH


async def test_a_publisher_is_let_in_and_its_packets_reach_its_ingest():
    world = World()
    resource = await world.whip.open(world.attempt(), CHROMIUM_PUBLISH)
    (peer,), (ingest,) = world.peers, world.targets
    assert [line.codec for line in ingest.lines] == [Codec.OPUS, Codec.H264]
    assert peer.sent == [b"hello"]
    assert peer.described[0]["ufrag"] == "/YRb"
    answer = read_description(resource.answer)
    assert (answer.sections[1].ufrag, answer.sections[1].setup) == ("ufrag1", "passive")
    assert world.registry.publishers == 1
    peer.handler.connected()
    peer.handler.rtp(b"packet", 1)
    peer.handler.rtcp(b"report", 1)
    assert ingest.events == ["connected", ("rtp", b"packet"), ("rtcp", b"report")]
    world.whip.tick(7)
    assert ingest.events[-1] == ("tick", 7)


async def test_ffmpeg_waits_for_us_and_so_we_are_active():
    world = World()
    resource = await world.whip.open(world.attempt(), FFMPEG_PUBLISH)
    assert read_description(resource.answer).sections[0].setup == "active"


@pytest.mark.parametrize("how", ["delete", "kick", "stop", "peer", "ingest"])
async def test_however_a_publisher_ends_everything_ends_once(how: str):
    world = World()
    resource = await world.whip.open(world.attempt(), CHROMIUM_PUBLISH)
    (peer,), (ingest,) = world.peers, world.targets
    (session,) = world.table.all()
    match how:
        case "delete":
            resource.close("the client ended it")
        case "kick":
            session.close("kicked")
        case "stop":
            assert world.registry.stop(CAM, "stopped")
        case "peer":
            peer.close("no sign of life for 30 s")
        case "ingest":
            ingest.closed("the publisher said good-bye")
    assert resource.is_closed
    assert len(peer.closed) == 1
    assert len([event for event in ingest.events if event[0] == "closed"]) in (1, 2)
    assert (len(world.resources), len(world.whip), world.registry.publishers) == (0, 0, 0)
    assert list(world.table.all()) == []
    assert world.resources.get(resource.id) is None
    assert world.whip.sums().packets == 1000
    resource.close("again")
    await world.whip.open(world.attempt(), CHROMIUM_PUBLISH)


async def test_names_of_connections_that_are_over_are_kept_for_a_while_only():
    world = World()
    names = []
    for _ in range(1002):
        resource = await world.whip.open(world.attempt(), CHROMIUM_PUBLISH)
        resource.close("over")
        names.append(resource.id)
    assert [world.resources.end(name, "again") for name in names[:3]] == [False, False, True]
    assert not world.resources.end("never", "was there")


async def test_a_viewer_gets_what_the_stream_has():
    world = World()
    await world.go_live()
    resource = await world.whep.open(world.attempt(Protocol.WHEP), CHROMIUM_PLAY)
    (viewer,) = world.targets
    assert [line.codec for line in viewer.lines] == [Codec.H264]
    (session,) = world.table.viewers(CAM)
    assert (session.protocol, session.user_agent) == ("whep", "browser/1")
    session.close("kicked")
    assert world.peers[0].closed == ["kicked"]
    assert world.table.viewers(CAM) == []
    assert world.whep.sums().recovered == 9
    assert resource.is_closed


async def test_the_facts_of_a_connection_are_shown():
    world = World()
    await world.go_live()
    await world.whep.open(world.attempt(Protocol.WHEP), CHROMIUM_PLAY)
    (session,) = world.table.viewers(CAM)
    assert link(session).protocol == ""  # type: ignore[union-attr]
    world.peers[0].pair = Pair(
        protocol="udp", local=("192.0.2.1", 8189), remote=("2001:db8::7", 5000), rtt_ms=None
    )
    shown = link(session)
    assert shown is not None
    assert (shown.protocol, shown.local, shown.remote) == (
        "udp", "192.0.2.1:8189", "[2001:db8::7]:5000",
    )  # fmt: skip
    assert (shown.rtt_ms, shown.lost, shown.loss_percent, shown.recovered) == (20, 10, 1.0, 9)


async def test_offers_that_cannot_be_taken_leave_nothing_behind():
    world = World()
    await world.go_live()
    for offer, error in (
        ("hello", RemoteProtocolError),
        ("v=0\r\n", OfferError),
        (CHROMIUM_PLAY, OfferError),
    ):
        with pytest.raises(error):
            await world.whip.open(world.attempt(), offer)
    for offer, error in (
        ("hello", RemoteProtocolError),
        (CHROMIUM_PUBLISH, OfferError),
        (CHROMIUM_PLAY.replace("H264", "H999"), OfferError),
    ):
        with pytest.raises(error):
            await world.whep.open(world.attempt(Protocol.WHEP), offer)
    assert world.peers == []
    assert len(world.resources) == 0
    assert len(list(world.table.all())) == 0


async def test_a_stream_that_browsers_cannot_play_is_refused_with_its_sentence():
    world = World()
    await world.go_live()
    world.unplayable = "The video has B-frames"
    with pytest.raises(UnplayableError, match="B-frames"):
        await world.whep.open(world.attempt(Protocol.WHEP), CHROMIUM_PLAY)
    assert (world.table.viewers(CAM), len(world.resources)) == ([], 0)


async def test_a_stream_that_is_not_live_is_not_found():
    world = World()
    with pytest.raises(NotFoundError):
        await world.whep.open(world.attempt(Protocol.WHEP), CHROMIUM_PLAY)


async def test_wrong_and_missing_keys_are_told_apart():
    world = World()
    with pytest.raises(AccessDeniedError):
        await world.whip.open(world.attempt(token="bad"), CHROMIUM_PUBLISH)
    world.chain.needs_key = True
    with pytest.raises(CredentialsMissingError):
        await world.whip.open(world.attempt(), CHROMIUM_PUBLISH)
    with pytest.raises(CredentialsMissingError):
        await world.whep.check(world.attempt(Protocol.WHEP))
    await world.whip.open(world.attempt(token="good"), CHROMIUM_PUBLISH)
    assert world.chain.asked[-1].token == "good"


async def test_connections_are_bounded_in_all_and_for_each_address():
    world = World(max_resources=3, max_per_address=2)
    await world.go_live()

    async def join(ip: str) -> RefusedError | None:
        try:
            await world.whep.open(world.attempt(Protocol.WHEP, remote_ip=ip), CHROMIUM_PLAY)
        except LimitError as error:
            return error
        return None

    assert [await join("192.0.2.1") for _ in range(2)] == [None, None]
    assert "connections_per_address" in str(await join("192.0.2.1"))
    assert await join("192.0.2.2") is None
    assert "webrtc.max_peers" in str(await join("192.0.2.3"))
    world.peers[0].close("gone")
    assert await join("192.0.2.1") is None


async def test_a_peer_that_cannot_be_opened_gives_everything_back():
    world = World()
    world.broken = LimitError("there are too many")
    with pytest.raises(LimitError):
        await world.whip.open(world.attempt(), CHROMIUM_PUBLISH)
    assert (world.registry.publishers, len(world.resources)) == (0, 0)
    await world.go_live()
    with pytest.raises(LimitError):
        await world.whep.open(world.attempt(Protocol.WHEP), CHROMIUM_PLAY)
    assert world.table.viewers(CAM) == []


async def test_candidates_come_whenever_and_a_restart_brings_new_names():
    world = World()
    resource = await world.whip.open(world.attempt(), CHROMIUM_PUBLISH)
    (peer,) = world.peers
    tag = resource.etag
    more = Fragment(ufrag="/YRb", candidates=("1 1 udp 1 192.0.2.9 9 typ host",))
    assert not resource.is_restart(more)
    resource.trickle(more)
    assert peer.told == ["1 1 udp 1 192.0.2.9 9 typ host"]
    new = Fragment(ufrag="abcd", password="q" * 22)
    assert resource.is_restart(new)
    with pytest.raises(RemoteProtocolError):
        resource.restart(Fragment(ufrag="abcd"))
    answer = read_fragment(resource.restart(new))
    assert answer.ufrag == peer.ufrag
    assert resource.etag != tag
    assert not resource.is_restart(new)
    described = peer.described[-1]
    assert (described["ufrag"], described["setup"]) == ("abcd", "actpass")
    assert described["fingerprints"] == peer.described[0]["fingerprints"]
    for number in range(99):
        resource.restart(Fragment(ufrag=f"abcd{number}", password="q" * 22))
    with pytest.raises(LimitError, match="too often"):
        resource.restart(new)
