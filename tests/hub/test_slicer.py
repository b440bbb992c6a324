from collections.abc import Iterator

from streamserver.hub.slicer import STEPS, Slicer
from tests.fakes import FakeClock, Turns


def make(budget_ms: int = 4) -> tuple[Slicer, FakeClock, Turns]:
    clock, turns = FakeClock(), Turns()
    slicer = Slicer(now_ns=clock.monotonic_ns, schedule=turns, budget_ns=budget_ms * 1_000_000)
    return slicer, clock, turns


def steps(name: str, count: int, done: list[str], clock: FakeClock, ms: int = 1) -> Iterator[None]:
    for _ in range(count):
        clock.advance(ms=ms)
        done.append(name)
        yield


def test_a_short_job_runs_in_one_turn():
    slicer, clock, turns = make()
    done: list[str] = []
    slicer.submit(steps("a", 3, done, clock, ms=0))
    assert turns.run() == 1
    assert done == ["a"] * 3
    assert turns.run() == 0
    assert slicer.waiting == 0


def test_a_job_that_begins_at_once_needs_no_turn_of_the_loop_but_waits_for_one_that_comes():
    slicer, clock, turns = make()
    done: list[str] = []
    slicer.begin(steps("a", 3, done, clock, ms=0))
    assert done == ["a"] * 3
    assert turns.run() == 0
    slicer.submit(steps("b", 1, done, clock))
    slicer.begin(steps("c", 20, done, clock))
    assert done == ["a"] * 3
    turns.run_all()
    assert done == [*["a"] * 3, "b", *["c"] * 20]
    assert slicer.waiting == 0


def test_a_job_that_begins_at_once_gives_the_loop_back_when_its_time_is_up():
    slicer, clock, turns = make()
    done: list[str] = []
    slicer.begin(steps("a", 40, done, clock))
    assert 0 < len(done) < 40
    turns.run_all()
    assert len(done) == 40


def test_a_long_job_gives_the_loop_back_when_its_time_is_up():
    slicer, clock, turns = make()
    done: list[str] = []
    slicer.submit(steps("a", 40, done, clock))
    turns.run()
    assert 0 < len(done) < 40
    turns.run_all()
    assert len(done) == 40
    assert slicer.turns > 1
    assert slicer.longest_ns <= 12_000_000


def test_jobs_take_turns():
    slicer, clock, turns = make()
    done: list[str] = []
    slicer.submit(steps("long", 1000, done, clock))
    slicer.submit(steps("short", 3, done, clock))
    turns.run()
    turns.run()
    assert done.count("short") == 3
    assert done.count("long") < 1000


def test_a_step_that_does_more_counts_for_as_many():
    slicer, clock, turns = make()
    done: list[str] = []

    def writes() -> Iterator[int]:
        for _ in range(3):
            clock.advance(ms=1)
            done.append("many")
            yield STEPS

    slicer.submit(writes())
    slicer.submit(steps("one", 2 * STEPS, done, clock, ms=0))
    turns.run_all()
    assert done == [*["many", *["one"] * STEPS] * 2, "many"]


def test_a_job_that_fails_ends_alone_and_is_reported():
    slicer, clock, turns = make()
    done: list[str] = []
    errors: list[Exception] = []
    slicer.on_error = errors.append

    def broken() -> Iterator[None]:
        yield
        raise ValueError("one reader")

    slicer.submit(broken())
    slicer.submit(steps("a", 3, done, clock))
    turns.run_all()
    assert done == ["a"] * 3
    assert [str(error) for error in errors] == ["one reader"]
    assert slicer.failures == 1


def test_how_long_the_loop_was_held_is_counted():
    slicer, clock, turns = make()
    slicer.submit(steps("a", 1, [], clock, ms=1))
    turns.run()
    assert sum(slicer.hold_histogram) == 1
    assert slicer.hold_histogram[3] == 1
