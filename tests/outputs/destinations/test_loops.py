import pytest

from streamserver.names import StreamKey
from streamserver.outputs.destinations.loops import OwnDoors, leads_back
from streamserver.rtmp.target import parse_target

DOORS = OwnDoors(lambda: frozenset({1935}), frozenset({"media.example.org", "192.0.2.5"}))
A, B, C = StreamKey("live", "a"), StreamKey("live", "b"), StreamKey("live", "c")


@pytest.mark.parametrize(
    "url",
    ["rtmp://localhost/live/a", "rtmp://127.0.0.1:1935/live/a", "rtmp://[::1]/live/a?key=secret",
     "rtmp://127.8.8.8/live/a", "rtmp://MEDIA.example.org/live/a", "rtmp://192.0.2.5/live/a"],
)  # fmt: skip
def test_our_own_names_are_known(url):
    assert DOORS.stream_named(parse_target(url)) == A


@pytest.mark.parametrize(
    "url", ["rtmp://localhost:1936/live/a", "rtmp://elsewhere.test/live/a", "rtmp://localhost/x/%"]
)
def test_other_servers_and_ports_are_not_ours(url):
    assert DOORS.stream_named(parse_target(url)) is None


def test_a_host_that_talks_to_itself_has_one_address():
    target = parse_target("rtmp://alias.test/live/a")
    assert DOORS.stream_behind(target, "10.0.0.4", "10.0.0.4") == A
    assert DOORS.stream_behind(target, "::ffff:10.0.0.4", "10.0.0.4") == A
    assert DOORS.stream_behind(target, "10.0.0.4", "10.0.0.5") is None


def test_a_stream_may_go_to_another_of_this_server_but_never_come_back():
    assert leads_back(A, A, {})
    assert not leads_back(A, B, {})
    assert leads_back(A, B, {B: [A]})
    assert leads_back(A, B, {B: [C], C: [B, A]})
    assert not leads_back(A, B, {B: [C], C: [B]})
