"""Stand-ins that several tests share: a clock that moves by hand, a scheduler that runs by hand."""

from collections.abc import Callable
from datetime import UTC, datetime

from streamserver.hub.sessions import Action, Protocol, Session
from streamserver.media.packet import Packet
from streamserver.media.track import VIDEO_CLOCK, Codec, Track
from streamserver.names import StreamKey


class FakeClock:
    """Time that passes only when a test says so."""

    def __init__(self, monotonic_ns: int = 1_000_000_000, wall_ns: int = 1_800_000_000_000_000_000):
        self.now_ns = monotonic_ns
        self.wall = wall_ns

    def monotonic_ns(self) -> int:
        return self.now_ns

    def wall_ns(self) -> int:
        return self.wall

    def advance(self, *, ms: int = 0, s: int = 0) -> None:
        step = ms * 1_000_000 + s * 1_000_000_000
        self.now_ns += step
        self.wall += step


class Turns:
    """Collects what a loop would run at the end of its turn."""

    def __init__(self) -> None:
        self.waiting: list[Callable[[], None]] = []

    def __call__(self, function: Callable[[], None]) -> None:
        self.waiting.append(function)

    def run(self) -> int:
        """Runs one turn; answers how many functions ran."""
        turn, self.waiting = self.waiting, []
        for function in turn:
            function()
        return len(turn)

    def run_all(self, most: int = 100_000) -> None:
        """Runs turns until nothing is left."""
        for _ in range(most):
            if not self.run():
                return
        raise AssertionError("the turns never end")


def video_track(epoch: int = 0, codec: Codec = Codec.H264) -> Track:
    """A track whose config no test looks into."""
    return Track(codec, VIDEO_CLOCK, b"config", epoch=epoch, width=640, height=360)


def audio_track(epoch: int = 0, codec: Codec = Codec.AAC) -> Track:
    """Likewise, at 48 kHz."""
    return Track(codec, 48_000, b"asc", epoch=epoch, sample_rate=48_000, channels=2)


def packet(
    track: Track, ms: int, *, keyframe: bool = True, size: int = 100, at_ns: int = 0
) -> Packet:
    """A packet at a log time in milliseconds."""
    ticks = ms * track.clock_rate // 1000
    return Packet(track, ticks, ticks, 0, keyframe, bytes(size), at_ns)


def session(
    key: StreamKey | None = None,
    *,
    action: Action = Action.PUBLISH,
    protocol: Protocol = Protocol.RTMP,
    ident: str = "s1",
    close: Callable[[str], None] = lambda reason: None,
) -> Session:
    """A session from nowhere."""
    return Session(
        id=ident,
        action=action,
        protocol=protocol,
        stream=key or StreamKey("live", "cam"),
        remote_ip="127.0.0.1",
        user_agent="test",
        joined_at=datetime(2026, 11, 20, tzinfo=UTC),
        close=close,
    )
