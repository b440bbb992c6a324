import pytest

from streamserver.control.models import Publisher, ServerState
from streamserver.control.present import stream_urls
from streamserver.errors import NotFoundError
from streamserver.hub.sessions import Protocol
from streamserver.hub.stream import StreamState
from streamserver.names import StreamKey
from tests.control.helpers_world import DEMO, SECOND_NS, World, audio_track

OTHER = StreamKey("live", "Other")


async def test_a_stream_is_shown_as_it_is():
    world = World()
    publication = await world.publish()
    publication.run(5)
    world.join("v1")
    shown = await world.control.stream(DEMO)
    assert (shown.app, shown.name, shown.state) == ("live", "demo", "live")
    assert shown.session_id == publication.lease.stream.session_id
    assert shown.started_at == "2023-11-14T22:13:20.123Z"
    assert shown.uptime_s == 5
    assert shown.publisher == Publisher(
        id="publisher-demo", protocol="rtmp", remote_ip="192.0.2.7", user_agent="test/1", link=None
    )
    assert shown.keyframe_interval_s == 2.0
    assert shown.bit_rate == 80_000
    assert (shown.viewers.total, shown.viewers.peak, shown.viewers.by_protocol.hls) == (1, 1, 1)


async def test_tracks_are_shown_video_first_with_null_for_what_does_not_apply():
    world = World()
    (await world.publish()).run(2)
    video, audio = (await world.control.stream(DEMO)).tracks
    assert (video.kind, video.codec, video.profile) == ("video", "h264", "High")
    assert (video.width, video.height, video.fps) == (1280, 720, 9.99)
    assert (video.sample_rate, video.channels) == (None, None)
    assert video.bit_rate == 80_000
    assert (audio.kind, audio.codec, audio.sample_rate, audio.channels) == (
        "audio", "aac", 48_000, 2,
    )  # fmt: skip
    assert (audio.width, audio.height, audio.fps, audio.bit_rate) == (None, None, None, 0)


async def test_what_comes_with_later_capabilities_is_empty():
    world = World()
    await world.publish()
    shown = await world.control.stream(DEMO)
    assert (shown.title, shown.registered, shown.record) == ("", False, False)
    assert (shown.destinations, shown.metadata) == ([], {})
    assert shown.keyframe_interval_s is None


async def test_addresses_are_relative_to_the_root_without_a_public_url():
    world = World()
    await world.publish()
    urls = (await world.control.stream(DEMO)).urls
    assert (urls.hls, urls.play) == ("hls/live/demo/index.m3u8", "play/live/demo")
    assert (urls.flv, urls.rtmp) == ("flv/live/demo", None)


@pytest.mark.parametrize("public_url", ["https://tv.example/x", "https://tv.example/x/"])
async def test_addresses_are_absolute_with_a_public_url(public_url):
    world = World(public_url=public_url)
    await world.publish()
    urls = (await world.control.stream(DEMO)).urls
    assert urls.hls == "https://tv.example/x/hls/live/demo/index.m3u8"
    assert urls.play == "https://tv.example/x/play/live/demo"
    assert urls.flv == "https://tv.example/x/flv/live/demo"


@pytest.mark.parametrize(
    ("public_url", "port", "expected"),
    [
        ("https://tv.example/x", 1935, "rtmp://tv.example/live/demo"),
        ("http://[2001:db8::1]:8080", 1999, "rtmp://[2001:db8::1]:1999/live/demo"),
        ("https://tv.example", 0, None),
    ],
)
def test_the_rtmp_address_has_the_public_host_and_the_port_of_the_listener(
    public_url, port, expected
):
    assert stream_urls(DEMO, public_url, port).rtmp == expected


async def test_an_interrupted_stream_has_no_publisher():
    world = World()
    (await world.publish()).lease.release("gone")
    shown = await world.control.stream(DEMO)
    assert (shown.state, shown.publisher) == ("interrupted", None)


async def test_a_stream_that_nobody_publishes_is_not_found():
    control = World().control
    with pytest.raises(NotFoundError, match="live/demo is not live"):
        await control.stream(DEMO)
    with pytest.raises(NotFoundError):
        await control.viewers(DEMO)
    with pytest.raises(NotFoundError):
        await control.viewer_count(DEMO)
    with pytest.raises(NotFoundError):
        await control.stop(DEMO)


async def test_streams_are_listed_by_name_and_in_pages():
    world = World()
    for name in ("c", "a", "b"):
        await world.publish(StreamKey("live", name))
    page = await world.control.streams(limit=2, offset=1)
    assert [one.name for one in page.items] == ["b", "c"]
    assert page.total == 3
    assert (await world.control.streams(offset=9)).items == []


async def test_streams_are_filtered_by_state():
    world = World()
    await world.publish()
    (await world.publish(OTHER)).lease.release("gone")
    live = await world.control.streams(state=StreamState.LIVE)
    assert [one.name for one in live.items] == ["demo"]
    interrupted = await world.control.streams(state=StreamState.INTERRUPTED)
    assert [one.name for one in interrupted.items] == ["Other"]
    assert (await world.control.streams(state=StreamState.IDLE)).total == 0


@pytest.mark.parametrize("text", ["other", "OTHER", "live/oth", "the"])
async def test_streams_are_searched_in_any_case(text):
    world = World()
    await world.publish()
    await world.publish(OTHER)
    page = await world.control.streams(search=text)
    assert [one.name for one in page.items] == ["Other"]
    assert page.total == 1


async def test_stop_ends_the_broadcast_and_disconnects_the_publisher():
    world = World()
    publication = await world.publish()
    await world.control.stop(DEMO)
    assert world.closed == {"publisher-demo": "stopped through the API"}
    assert publication.lease.stream.state is StreamState.ENDED
    assert (await world.control.streams()).total == 0
    again = await world.publish()
    assert again.lease.is_current


async def test_stop_ends_an_interrupted_stream():
    world = World()
    (await world.publish()).lease.release("gone")
    await world.control.stop(DEMO)
    assert world.registry.get(DEMO) is None


async def test_viewers_are_listed_with_their_figures():
    world = World()
    await world.publish()
    session = world.join("v1", protocol=Protocol.FLV)
    session.bytes_sent, session.bit_rate = 10, 20
    session.lag_ms, session.dropped_frames = 30, 40
    world.join("elsewhere", OTHER)
    page = await world.control.viewers(DEMO)
    [viewer] = page.items
    assert page.total == 1
    assert (viewer.id, viewer.protocol, viewer.remote_ip) == ("v1", "flv", "192.0.2.7")
    assert viewer.joined_at == "2026-11-20T10:48:00.005Z"
    assert (viewer.bytes_sent, viewer.bit_rate) == (10, 20)
    assert (viewer.lag_ms, viewer.dropped_frames) == (30, 40)


async def test_viewers_come_in_pages():
    world = World()
    await world.publish()
    for number in range(5):
        world.join(f"v{number}")
    page = await world.control.viewers(DEMO, limit=2, offset=2)
    assert [one.id for one in page.items] == ["v2", "v3"]
    assert page.total == 5


async def test_viewers_are_counted_by_protocol():
    world = World()
    await world.publish()
    for number, protocol in enumerate((Protocol.HLS, Protocol.HLS, Protocol.WHEP)):
        world.join(f"v{number}", protocol=protocol)
    world.join("elsewhere", OTHER, protocol=Protocol.RTMP)
    of_one = await world.control.viewer_count(DEMO)
    assert (of_one.total, of_one.by_protocol.hls, of_one.by_protocol.whep) == (3, 2, 1)
    of_all = await world.control.viewer_count()
    assert (of_all.total, of_all.by_protocol.rtmp) == (4, 1)


async def test_who_reads_inside_the_server_is_no_viewer():
    world = World()
    await world.publish()
    world.join("recorder", protocol=Protocol.INTERNAL)
    assert (await world.control.viewer_count(DEMO)).total == 0


async def test_a_viewer_is_kicked_by_its_id():
    world = World()
    world.join("v1")
    await world.control.kick_viewer("v1")
    assert world.closed == {"v1": "disconnected through the API"}
    with pytest.raises(NotFoundError):
        await world.control.kick_viewer("v1")


async def test_a_publisher_is_not_kicked_as_a_viewer():
    world = World()
    await world.publish()
    with pytest.raises(NotFoundError):
        await world.control.kick_viewer("publisher-demo")
    await world.control.kick_session("publisher-demo")
    assert "publisher-demo" in world.closed


async def test_sessions_are_publishers_and_viewers():
    world = World()
    await world.publish()
    world.join("v1")
    page = await world.control.sessions()
    assert [(one.id, one.action, one.stream) for one in page.items] == [
        ("publisher-demo", "publish", "live/demo"),
        ("v1", "play", "live/demo"),
    ]
    assert page.total == 2
    assert [one.id for one in (await world.control.sessions(limit=1, offset=1)).items] == ["v1"]


async def test_an_unknown_id_is_shown_shortened_and_escaped():
    with pytest.raises(NotFoundError) as caught:
        await World().control.kick_session("\r\n" + "x" * 500)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 150


async def test_the_server_tells_its_ports_and_totals():
    world = World()
    publication = await world.publish()
    publication.run(5)
    viewer = world.join("v1")
    viewer.bytes_sent, viewer.bit_rate = 700, 56
    (await world.publish(OTHER)).lease.release("gone")
    info = await world.control.server_info()
    assert (info.version, info.uptime_s) == ("1.2.3", 5)
    assert info.started_at == "2023-11-14T22:13:20.123Z"
    assert [(one.name, one.port, one.tls) for one in info.listeners] == [
        ("http", 8080, False),
        ("https", 8443, True),
    ]
    totals = info.totals
    assert (totals.streams, totals.publishers, totals.viewers.total) == (1, 1, 1)
    assert (totals.bytes_received, totals.bytes_sent) == (50_000, 700)
    assert (totals.bit_rate_in, totals.bit_rate_out) == (80_000, 56)


@pytest.mark.parametrize(
    ("is_listening", "is_draining", "registry_drains", "state"),
    [
        (False, False, False, ServerState.STARTING),
        (True, False, False, ServerState.READY),
        (True, True, False, ServerState.DRAINING),
        (True, False, True, ServerState.DRAINING),
        (False, True, False, ServerState.DRAINING),
    ],
)
async def test_the_server_starts_is_ready_and_drains(
    is_listening, is_draining, registry_drains, state
):
    world = World()
    world.facts.is_listening, world.facts.is_draining = is_listening, is_draining
    world.registry.draining = registry_drains
    assert world.control.state is state


async def test_the_uptime_of_a_stream_grows_while_it_is_interrupted():
    world = World()
    (await world.publish()).lease.release("gone")
    world.clock.now_ns += 3 * SECOND_NS
    assert (await world.control.stream(DEMO)).uptime_s == 3


async def test_a_broadcast_that_follows_on_the_same_connection_begins_anew():
    world = World()
    publication = await world.publish()
    world.clock.now_ns += 60 * SECOND_NS
    other = (audio_track(publication.lease.next_epoch((audio_track(),))),)
    publication.lease.begin_epoch(other)
    world.clock.now_ns += 2 * SECOND_NS
    shown = await world.control.stream(DEMO)
    assert shown.uptime_s == 2
    assert shown.started_at == "2023-11-14T22:14:20.123Z"
    assert [track.kind for track in shown.tracks] == ["audio"]
