from streamserver.hub.sessions import Action, Protocol
from streamserver.names import StreamKey
from tests.control.helpers_world import DEMO, World


async def test_bytes_of_a_session_that_left_are_kept():
    world = World()
    viewer = world.join("v1")
    viewer.bytes_sent = 500
    other = world.join("v2", protocol=Protocol.RTMP)
    other.bytes_sent = 7
    assert world.totals.sent_bytes() == {"hls": 500, "rtmp": 7}
    world.sessions.remove(viewer)
    assert world.totals.sent_bytes() == {"hls": 500, "rtmp": 7}


async def test_packets_and_bytes_of_a_stream_that_ended_are_kept():
    world = World()
    publication = await world.publish()
    publication.send(keyframe=True)
    publication.send(300, track=1)
    assert world.totals.packets() == {"video": 1, "audio": 1}
    assert world.totals.received_bytes() == {"rtmp": 1300}
    world.registry.stop(DEMO, "over")
    assert world.totals.packets() == {"video": 1, "audio": 1}
    assert world.totals.received_bytes() == {"rtmp": 1300}


async def test_a_second_broadcast_of_the_name_adds_to_the_first():
    world = World()
    for number in (1, 2):
        publication = await world.publish()
        publication.send(keyframe=True)
        assert world.totals.packets()["video"] == number
        world.registry.stop(DEMO, "over")
    assert (world.totals.streams_started, world.totals.streams_ended) == (2, 2)


async def test_evictions_and_notes_outlive_the_stream():
    world = World()
    publication = await world.publish()
    publication.run(20)
    publication.lease.stream.note("timestamp_jump")
    evicted = world.totals.evicted()
    assert evicted > 0
    assert world.totals.notes() == {"timestamp_jump": 1}
    world.registry.stop(DEMO, "over")
    assert world.totals.evicted() == evicted
    assert world.totals.notes() == {"timestamp_jump": 1}


async def test_dropped_frames_and_joins_are_counted_by_protocol():
    world = World()
    world.join("v1").dropped_frames = 3
    world.sessions.remove(world.join("v2"))
    world.join("p1", StreamKey("live", "x"), action=Action.PUBLISH, protocol=Protocol.WHIP)
    assert world.totals.dropped_frames()["hls"] == 3
    assert world.totals.sessions_joined == {("play", "hls"): 2, ("publish", "whip"): 1}
