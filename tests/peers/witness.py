"""A viewer whose word counts: ffprobe, which writes down every packet that it was sent."""

from itertools import pairwise
from pathlib import Path

from tests.peers.browser import wait_until
from tests.peers.ffmpeg import Player

__all__ = ["GAP_S", "Witness"]

GAP_S = 0.15
"""Pictures are 33 ms apart."""

_PATIENCE_S = 90


class Witness(Player):
    """Reads a URL until it is stopped. A context manager."""

    def __init__(self, url: str, log: Path, prefix: tuple[str, ...] = ()) -> None:
        """``prefix`` stands before the command, such as ``ip netns exec``."""
        entries = ("-show_entries", "packet=dts_time", "-select_streams", "v", "-of", "csv=p=0")
        super().__init__([*prefix, "ffprobe", "-v", "error", *entries, url], log)

    def times(self) -> list[float]:
        """Decoding times of the pictures that came."""
        lines = self.output().split("\n")[:-1]
        return [float(line.rstrip(",")) for line in lines if line[:1].isdigit()]

    def see_more(self, pictures: int) -> None:
        """Waits until so many more have come."""
        before = len(self.times())
        wait_until(
            lambda: len(self.times()),
            lambda count: count >= before + pictures,
            _PATIENCE_S,
            f"{pictures} pictures after {before}; {self.output()[-200:]}",
        )

    def longest_step_s(self) -> float:
        """The longest time between two pictures, in the media's own time."""
        return max((b - a for a, b in pairwise(self.times())), default=0.0)

    def missed_nothing(self) -> bool:
        """Whether every picture came, in order."""
        steps = [b - a for a, b in pairwise(self.times())]
        return bool(steps) and min(steps) >= 0 and max(steps) < GAP_S
