"""What every adapter of a foreign server has: a name, what is missing, and how to start it."""

import os
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.servers import Running

__all__ = ["Peer", "given_binary"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Peer:
    """A server of others, as the cases see it."""

    name: str
    """As the table has it."""

    why_missing: Callable[[], str]
    """What is not there, for the table; empty when it can be started."""

    start: Callable[[Path], AbstractContextManager[Running]]
    """Runs it on free ports of loopback, in a directory that it may make and fill."""

    plays: frozenset[str] = field(default=frozenset({"rtmp"}))
    """The protocols over which it is watched here: rtmp, flv, hls, whep."""

    budgets: Mapping[str, float] = field(default_factory=dict)
    """The largest ratio of ours to its figure that the design allows, by protocol."""


def given_binary(variable: str) -> tuple[Path | None, str]:
    """A program whose path stands in the environment, and why there is none."""
    path = os.environ.get(variable, "")
    if not path:
        return None, f"no path in {variable}"
    if not os.access(path, os.X_OK):
        return None, f"{variable}: {path} is no program"
    return Path(path), ""
