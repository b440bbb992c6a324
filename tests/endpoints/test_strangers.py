from collections.abc import Callable

import pytest

from streamserver.endpoints.strangers import Strangers, StrangersSettings


class Someone:
    """A stranger whose work takes a time that the test says."""

    def __init__(self, hall: "Hall", takes_ns: int = 1, holds: int = 0) -> None:
        self.hall, self.takes_ns, self.held_bytes = hall, takes_ns, holds
        self.read = b""
        self.is_paused = self.is_away = False

    def work(self, data: bytes) -> None:
        self.hall.now_ns += self.takes_ns
        self.read += data

    def pause_reading(self) -> None:
        self.is_paused = True

    def resume_reading(self) -> None:
        self.is_paused = False

    def turn_away(self) -> None:
        self.is_away = True


class Hall:
    """A clock, and turns that come when the test wants."""

    def __init__(self) -> None:
        self.now_ns = 0
        self.turns: list[Callable[[], None]] = []
        self.strangers = Strangers(
            lambda: self.now_ns,
            self.turns.append,
            StrangersSettings(turn_ns=10, max_held_bytes=1000),
        )

    def turn(self) -> None:
        (function,) = self.turns
        self.turns.clear()
        function()


def test_within_the_share_of_a_turn_bytes_are_read_at_once():
    hall = Hall()
    people = [Someone(hall, 4), Someone(hall, 4)]
    for one in people:
        hall.strangers.receive(one, b"a")
    assert [one.read for one in people] == [b"a", b"a"]
    assert hall.strangers.deferred == 0


def test_beyond_it_they_wait_in_their_order_and_nothing_more_is_read_of_them():
    hall = Hall()
    people = [Someone(hall, 8) for _ in range(5)]
    for one in people:
        hall.strangers.receive(one, b"a")
    assert [one.is_paused for one in people] == [False, False, True, True, True]
    hall.turn()
    assert [bool(one.read) for one in people] == [True, True, True, True, False]
    assert [one.is_paused for one in people] == [False] * 4 + [True]
    hall.turn()
    assert people[4].read == b"a"
    assert not hall.turns
    assert len(hall.strangers) == 0


def test_a_new_turn_brings_a_new_share_even_when_nobody_waits():
    hall = Hall()
    one = Someone(hall, 20)
    hall.strangers.receive(one, b"a")
    hall.turn()
    hall.strangers.receive(one, b"b")
    assert one.read == b"ab"


def test_bytes_of_one_keep_their_order():
    hall = Hall()
    one = Someone(hall, 20)
    for data in (b"a", b"b", b"c"):
        hall.strangers.receive(one, data)
    assert one.read == b"a"
    hall.turn()
    assert one.read == b"abc"


def test_whoever_is_let_in_takes_what_was_not_read_along():
    hall = Hall()
    one = Someone(hall, 20)
    hall.strangers.receive(one, b"a")
    hall.strangers.receive(one, b"b")
    assert hall.strangers.forget(one) == b"b"
    hall.turn()
    assert one.read == b"a"


def test_who_holds_most_goes_when_there_is_no_room():
    hall = Hall()
    modest, greedy = Someone(hall, holds=100), Someone(hall, holds=800)
    last = Someone(hall, holds=200)
    for one in (modest, greedy, last):
        hall.strangers.receive(one, b"a")
    assert [one.is_away for one in (modest, greedy, last)] == [False, True, False]
    assert hall.strangers.held_bytes == 300
    hall.strangers.forget(last)
    assert hall.strangers.held_bytes == 100
    modest.held_bytes = 0
    hall.strangers.receive(modest, b"a")
    assert hall.strangers.held_bytes == 0


def test_a_fault_of_one_does_not_keep_the_others_waiting():
    hall = Hall()
    first, broken, last = Someone(hall, 20), Someone(hall), Someone(hall)
    for one in (first, broken, last):
        hall.strangers.receive(one, b"a")

    def fail(data: bytes) -> None:
        raise ValueError(data)

    broken.work = fail  # type: ignore[method-assign]
    with pytest.raises(ValueError, match="a"):
        hall.turn()
    hall.turn()
    assert last.read == b"a"
