"""How often the readers of a stream need a keyframe, and who can make one."""

from collections.abc import Callable
from typing import Final

__all__ = ["STEADY_MS", "KeyframeDemand"]

STEADY_MS: Final = 2_000
"""What readers wish that cut at keyframes, or let viewers begin there."""


class KeyframeDemand:
    """What readers wish, for a publisher that makes keyframes only when asked, as browsers do.

    Knows no time: the supplier looks at `every_ms` as often as it likes, and bounds how often
    requests reach the encoder.
    """

    __slots__ = ("_supplier", "_wishes", "requests")

    def __init__(self) -> None:
        self.requests = 0
        """Keyframes that readers asked for at once."""
        self._wishes: dict[object, int] = {}
        self._supplier: Callable[[], None] | None = None

    @property
    def every_ms(self) -> int | None:
        """The most that may lie between two keyframes; None when nobody minds."""
        return min(self._wishes.values(), default=None)

    def want(self, every_ms: int) -> Callable[[], None]:
        """Wishes a keyframe at least so often, until what is answered gets called.

        Calling it a second time does nothing.
        """
        wish = object()
        self._wishes[wish] = every_ms

        def release() -> None:
            self._wishes.pop(wish, None)

        return release

    def request(self) -> None:
        """A reader cannot go on, or begin, without a keyframe. Most publishers cannot be asked."""
        self.requests += 1
        if self._supplier is not None:
            self._supplier()

    def supply(self, supplier: Callable[[], None]) -> Callable[[], None]:
        """Says who is called for each request, until what is answered gets called.

        A newer supplier takes the place of an older one, whose withdrawal then does nothing.
        """
        self._supplier = supplier

        def withdraw() -> None:
            if self._supplier is supplier:
                self._supplier = None

        return withdraw
