"""Counts calls of Python functions and bytes that are held: no busy machine disturbs either."""

import gc
import sys
import tracemalloc
from collections import Counter
from collections.abc import Callable
from types import FrameType

__all__ = ["Calls", "count", "peak_bytes"]


class Calls:
    """Counts calls of Python functions by name while it is entered.

    The garbage collector rests meanwhile: what it would call belongs to tests that ran before.
    """

    def __init__(self) -> None:
        self.names: Counter[str] = Counter()

    def __enter__(self) -> "Calls":
        gc.disable()
        sys.setprofile(self._note)
        return self

    def __exit__(self, *error: object) -> None:
        sys.setprofile(None)
        gc.enable()

    def _note(self, frame: FrameType, event: str, argument: object) -> None:
        if event == "call":
            code = frame.f_code
            if code is not Calls.__exit__.__code__:
                self.names[code.co_qualname] += 1

    @property
    def total(self) -> int:
        return self.names.total()

    def without(self, *stand_ins: str) -> int:
        """Calls but those of functions whose qualified names begin so."""
        own = sum(number for name, number in self.names.items() if name.startswith(stand_ins))
        return self.total - own


def count(times: int, action: Callable[[], object]) -> Calls:
    with Calls() as calls:
        for _ in range(times):
            action()
    return calls


def peak_bytes(action: Callable[[], object]) -> int:
    """How much more memory Python held at worst during an action than before it."""
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        tracemalloc.reset_peak()
        action()
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    return peak - before
