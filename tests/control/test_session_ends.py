from streamserver.control.session_ends import SessionEnds
from streamserver.hub.sessions import Session, SessionTable
from tests import fakes
from tests.fakes import FakeClock


class World:
    """A table whose sessions leave it when they are closed."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.table = SessionTable()
        self.ends = SessionEnds(self.table, self.clock)
        self.closed: list[tuple[str, str]] = []

    def join(self, ident: str, *, expires_in_s: int | None = None, tag: str = "") -> Session:
        def close(reason: str) -> None:
            self.closed.append((ident, reason))
            self.table.remove(session)

        session = fakes.session(ident=ident, close=close)
        if expires_in_s is not None:
            session.expires_s = self.clock.wall // 10**9 + expires_in_s
        session.credential = tag
        self.table.add(session)
        return session

    def pass_seconds(self, seconds: int) -> list[str]:
        """Lets time pass with four ticks a second; answers who was closed."""
        before = len(self.closed)
        for _ in range(4 * seconds):
            self.clock.advance(ms=250)
            self.ends.tick(self.clock.now_ns)
        return [ident for ident, _ in self.closed[before:]]


def test_a_session_ends_with_its_time_and_others_stay() -> None:
    world = World()
    world.join("short", expires_in_s=10)
    world.join("long", expires_in_s=100)
    world.join("forever")
    assert world.pass_seconds(9) == []
    assert world.pass_seconds(2) == ["short"]
    assert "expired" in world.closed[0][1]
    assert [one.id for one in world.table.all()] == ["long", "forever"]
    assert world.ends.expired == 1


def test_who_left_before_is_not_closed() -> None:
    world = World()
    world.table.remove(world.join("gone", expires_in_s=1))
    assert world.pass_seconds(5) == []
    assert world.ends._ending == {}


def test_a_credential_that_is_taken_back_ends_what_it_let_in() -> None:
    world = World()
    for ident, tag in (("a", "t1"), ("b", "t1"), ("c", "t2"), ("d", "")):
        world.join(ident, tag=tag)
    assert world.ends.revoke("t1", "taken back") == 2
    assert world.closed == [("a", "taken back"), ("b", "taken back")]
    assert world.ends.revoke("t1", "taken back") == 0
    assert world.ends.revoke("", "taken back") == 0
    assert set(world.ends._by_credential) == {"t2"}
