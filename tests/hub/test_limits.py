from dataclasses import replace

import pytest

from streamserver.errors import LimitError
from streamserver.hub.limits import LIMITS, Limits, LimitSettings
from streamserver.hub.sessions import Action, SessionTable
from streamserver.names import StreamKey
from tests.fakes import session

KEY = StreamKey("live", "cam")
OTHER = StreamKey("live", "other")
SECOND = 1_000_000_000


class World:
    def __init__(self, **bounds: int) -> None:
        self.table = SessionTable()
        self.lines: list[str] = []
        self.limits = Limits(
            self.table,
            replace(LimitSettings(), **bounds),
            lambda text, *values: self.lines.append(text % values),
        )

    def publisher(self, key: StreamKey, ip: str, ident: str = "p", closed=None):
        one = session(key, ident=ident, close=closed or (lambda reason: None))
        one.remote_ip = ip
        self.table.add(one)
        return one


def test_every_limit_is_counted_from_zero():
    assert World().limits.refused == dict.fromkeys(LIMITS, 0)


def test_a_viewer_too_many_is_refused_on_that_stream_only():
    world = World(viewers_per_stream=2)
    for ident in ("a", "b"):
        world.limits.check_viewer(KEY)
        world.table.add(session(KEY, action=Action.PLAY, ident=ident))
    with pytest.raises(LimitError, match=r"limits\.viewers_per_stream"):
        world.limits.check_viewer(KEY)
    world.limits.check_viewer(OTHER)
    assert world.limits.refused["viewers_per_stream"] == 1
    assert world.lines == ["limits.viewers_per_stream is reached: live/cam"]


def test_an_address_publishes_so_many_streams_and_others_may_still():
    world = World(publishers_per_address=1)
    world.publisher(KEY, "203.0.113.1")
    with pytest.raises(LimitError, match=r"limits\.publishers_per_address"):
        world.limits.check_publisher(OTHER, "203.0.113.1")
    world.limits.check_publisher(OTHER, "203.0.113.2")


def test_an_encoder_that_returns_is_not_counted_against_itself():
    world = World(publishers_per_address=1)
    world.publisher(KEY, "203.0.113.1")
    world.limits.check_publisher(KEY, "203.0.113.1")


@pytest.mark.parametrize("ip", ["127.0.0.1", "::1", ""])
def test_this_machine_publishes_as_much_as_it_likes(ip: str):
    world = World(publishers_per_address=1)
    world.publisher(KEY, ip)
    world.limits.check_publisher(OTHER, ip)


def test_a_publisher_above_the_bit_rate_is_closed_with_a_sentence():
    closed: list[str] = []
    world = World(publisher_bit_rate=1_000_000)
    one = world.publisher(KEY, "203.0.113.1", closed=closed.append)
    for second in range(10):
        world.limits.tick(second * SECOND)
        one.bytes_received += 124_000
    assert closed == []
    for second in range(10, 16):
        world.limits.tick(second * SECOND)
        one.bytes_received += 140_000
    assert closed
    assert "1 Mbit/s over 5 s" in closed[0]
    assert world.limits.refused["publisher_bit_rate"] >= 1


def test_a_burst_after_a_stall_is_no_reason_to_close():
    closed: list[str] = []
    world = World(publisher_bit_rate=1_000_000)
    one = world.publisher(KEY, "203.0.113.1", closed=closed.append)
    for second in range(5):
        world.limits.tick(second * SECOND)
    one.bytes_received += 600_000
    for second in range(5, 15):
        world.limits.tick(second * SECOND)
    assert closed == []


def test_a_publisher_that_has_gone_is_forgotten():
    world = World()
    one = world.publisher(KEY, "203.0.113.1")
    world.limits.tick(0)
    world.table.remove(one)
    world.limits.tick(SECOND)
    assert not world.limits._watched
