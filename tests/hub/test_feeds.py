from streamserver.hub.feeds import FeedPool
from streamserver.log import Log
from tests.fakes import FakeClock, Turns


class Doubler:
    """A feed that doubles numbers, and fails at a negative one."""

    def __init__(self, source: Log[int], turns: Turns) -> None:
        self.source = source
        self.log: Log[int] = Log(max_ms=10_000, max_bytes=10_000, schedule=turns)
        self.position = source.start

    def pump(self) -> None:
        for number in self.source.since(self.position):
            self.position += 1
            if number < 0:
                raise ValueError(number)
            self.log.append(2 * number, size=1, at_ms=0)

    def close(self, reason: str) -> None:
        self.log.close(reason)


class World:
    def __init__(self) -> None:
        self.clock = FakeClock()
        self.turns = Turns()
        self.errors: list[Exception] = []
        self.pool = FeedPool(self.clock.monotonic_ns, self.errors.append)
        self.source = self.log()

    def log(self) -> Log[int]:
        return Log(max_ms=10_000, max_bytes=10_000, schedule=self.turns)

    def append(self, number: int) -> None:
        self.source.append(number, size=1, at_ms=0)

    def hold(self, source: Log[int] | None = None, **more):
        source = source or self.source
        return self.pool.hold(source, "double", lambda: Doubler(source, self.turns), **more)


def test_a_feed_is_made_once_and_follows_its_source():
    world = World()
    world.append(1)
    one, two = world.hold(), world.hold()
    assert one.feed is two.feed
    world.append(2)
    world.turns.run_all()
    assert one.feed.log.since(0) == [2, 4]


def test_without_push_it_reads_only_when_asked():
    world = World()
    hold = world.hold(push=False)
    world.append(1)
    world.turns.run_all()
    assert hold.feed.log.since(0) == []
    hold.pump()
    assert hold.feed.log.since(0) == [2]
    pushed = world.hold()
    world.append(2)
    world.turns.run_all()
    assert hold.feed.log.since(0) == [2, 4]
    pushed.release()
    world.append(3)
    world.turns.run_all()
    assert hold.feed.log.since(0) == [2, 4]


def test_a_pump_goes_up_to_the_source_of_the_source():
    world = World()
    parent = world.hold(push=False)
    child = world.hold(parent.feed.log, push=False, parent=parent)
    world.append(3)
    child.pump()
    assert child.feed.log.since(0) == [12]


def test_it_lingers_after_its_last_reader_and_then_goes_with_its_parent():
    world = World()
    parent = world.hold(push=False)
    child = world.hold(parent.feed.log, push=False, parent=parent)
    again = world.hold(parent.feed.log, push=False, parent=world.hold(push=False))
    assert again.feed is child.feed
    child.release()
    child.release()
    world.clock.advance(s=60)
    world.pool.tick(world.clock.now_ns)
    assert len(world.pool) == 2
    again.release()
    world.clock.advance(s=29)
    world.pool.tick(world.clock.now_ns)
    assert len(world.pool) == 2
    kept = world.hold(parent.feed.log, push=False, parent=world.hold(push=False))
    assert kept.feed is child.feed
    kept.release()
    world.clock.advance(s=30)
    world.pool.tick(world.clock.now_ns)
    assert child.feed.log.closed == "nobody reads it"
    world.clock.advance(s=30)
    world.pool.tick(world.clock.now_ns)
    assert len(world.pool) == 0


def test_the_end_of_the_source_goes_through_all():
    world = World()
    parent = world.hold(push=False)
    child = world.hold(parent.feed.log, push=False, parent=parent)
    world.append(1)
    world.source.close("the publisher stopped")
    child.pump()
    assert child.feed.log.since(0) == [4]
    assert child.feed.log.closed == "the publisher stopped"
    assert len(world.pool) == 0


def test_a_feed_on_a_source_that_is_over_already_is_closed_at_once():
    world = World()
    world.append(1)
    world.source.close("over")
    hold = world.hold()
    assert hold.feed.log.since(0) == [2]
    assert hold.feed.log.closed == "over"


def test_a_feed_that_fails_is_closed_and_the_next_reader_gets_a_new_one():
    world = World()
    hold = world.hold()
    world.append(-1)
    world.turns.run_all()
    assert hold.feed.log.closed == "the stream could not be sent on"
    assert [str(error) for error in world.errors] == ["-1"]
    assert world.pool.failures == 1
    hold.release()
    world.source.append(5, size=1, at_ms=0)
    assert world.hold().feed is not hold.feed


def test_closing_the_pool_closes_every_feed():
    world = World()
    hold = world.hold()
    world.pool.close("shutting down")
    assert hold.feed.log.closed == "shutting down"
    world.append(1)
    world.turns.run_all()
    assert hold.feed.log.since(0) == []
