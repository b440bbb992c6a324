"""Bounds on newcomers and on publishers: who comes past one is told so, nobody inside is harmed."""

from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from streamserver.errors import LimitError
from streamserver.hub.sessions import Session, SessionTable
from streamserver.names import StreamKey
from streamserver.net.addresses import is_loopback

__all__ = ["LIMITS", "LimitSettings", "Limits"]

LIMITS: Final = (
    "viewers_per_stream", "publishers_per_address", "publisher_bit_rate", "bytes_before_auth",
)  # fmt: skip
"""What is counted, by the keys of ``[limits]``."""

_SECOND: Final = 1_000_000_000
_WINDOW_S: Final = 5
"""The bit rate of a publisher is that of so many seconds: encoders catch up after a stall."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LimitSettings:
    """The bounds; see ``[limits]``."""

    viewers_per_stream: int = 5_000
    """Viewers of one stream at once, over all protocols."""

    publishers_per_address: int = 20
    """Publishers at once from one address that is not this machine."""

    publisher_bit_rate: int = 100_000_000
    """Bits per second of one publisher, over five seconds."""


@dataclass(slots=True)
class _Watched:
    """A publisher, and what it had sent at the end of each of the last seconds."""

    session: Session
    marks: deque[int] = field(default_factory=lambda: deque(maxlen=_WINDOW_S + 1))


class Limits:
    """Checks those who come, and looks at publishers once a second."""

    def __init__(
        self,
        table: SessionTable,
        settings: LimitSettings | None = None,
        complain: Callable[..., object] = lambda text, *values: None,
    ) -> None:
        """``complain`` writes a log line; rate-limited by its owner."""
        self.refused: Counter[str] = Counter(dict.fromkeys(LIMITS, 0))
        """How often each of `LIMITS` was reached."""
        self._table = table
        self.settings = settings or LimitSettings()
        """The bounds; may be exchanged while running. Who is inside stays."""
        self._complain = complain
        self._next_ns = 0
        self._watched: dict[str, _Watched] = {}

    def check_viewer(self, stream: StreamKey) -> None:
        """Raises `LimitError` when a stream has all the viewers that it may have."""
        most = self.settings.viewers_per_stream
        if self._table.viewer_count(stream) >= most:
            self.count("viewers_per_stream", str(stream))
            raise LimitError(
                f"{most} viewers watch {stream} already (limits.viewers_per_stream); "
                "try again in a moment"
            )

    def check_publisher(self, stream: StreamKey, remote_ip: str) -> None:
        """Raises `LimitError` when an address publishes all that it may.

        Its own older connection to the same stream does not count: that is about to be taken over.
        """
        most = self.settings.publishers_per_address
        if not remote_ip or is_loopback(remote_ip):
            return
        held = sum(
            one.remote_ip == remote_ip and one.stream != stream for one in self._table.publishers()
        )
        if held >= most:
            self.count("publishers_per_address", remote_ip)
            raise LimitError(
                f"{most} streams are published from this address already "
                "(limits.publishers_per_address)"
            )

    def count(self, limit: str, who: str) -> None:
        """One was refused at a bound that somebody else has checked."""
        self.refused[limit] += 1
        self._complain("limits.%s is reached: %s", limit, who)

    def tick(self, now_ns: int) -> None:
        """Ends publishers that send too much; looks once a second."""
        if now_ns < self._next_ns:
            return
        self._next_ns = now_ns + _SECOND
        publishers = {one.id: one for one in self._table.publishers()}
        for gone in self._watched.keys() - publishers.keys():
            del self._watched[gone]
        for ident, session in publishers.items():
            self._look(self._watched.setdefault(ident, _Watched(session)))

    def _look(self, watched: _Watched) -> None:
        marks, session, most = watched.marks, watched.session, self.settings.publisher_bit_rate
        marks.append(session.bytes_received)
        # Bytes of fewer seconds count as if there were five: a publisher may begin with a burst.
        if (marks[-1] - marks[0]) * 8 <= most * _WINDOW_S:
            return
        self.count("publisher_bit_rate", f"{session.stream} from {session.remote_ip}")
        session.close(
            f"the stream has more than {most / 1e6:g} Mbit/s over {_WINDOW_S} s "
            "(limits.publisher_bit_rate): lower the bit rate of the encoder"
        )
