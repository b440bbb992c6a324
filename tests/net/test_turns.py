from collections.abc import Callable

from streamserver.net.turns import Turns


def test_so_many_begin_at_once_and_the_others_in_their_order_later():
    scheduled: list[Callable[[], None]] = []
    begun: list[int] = []
    turns = Turns(2, scheduled.append)
    for number in range(5):
        turns.take(lambda number=number: begun.append(number))  # type: ignore[misc]
    assert begun == [0, 1]
    assert turns.deferred == len(turns) == 3
    scheduled.pop()()
    assert begun == [0, 1, 2, 3]
    turns.take(lambda: begun.append(5))
    assert begun[-1] == 3, "nobody overtakes"
    scheduled.pop()()
    assert begun == [0, 1, 2, 3, 4, 5]
    assert not scheduled


def test_one_that_fails_keeps_nobody_waiting():
    scheduled: list[Callable[[], None]] = []
    begun: list[int] = []
    turns = Turns(1, scheduled.append)

    def fail() -> None:
        raise ValueError

    for begin in (lambda: begun.append(0), fail, lambda: begun.append(2)):
        turns.take(begin)
    for _ in range(2):
        try:
            scheduled.pop()()
        except ValueError:
            continue
    assert begun == [0, 2]
