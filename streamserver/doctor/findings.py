"""What was looked at, and what was found."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

__all__ = ["FAILED", "UNAVAILABLE", "Finding", "Status", "exit_code"]

FAILED: Final = 1
UNAVAILABLE: Final = 69
"""Exit codes: something does not work; a port is taken or a service is missing (sysexits.h)."""


class Status(StrEnum):
    """How it is."""

    OK = "ok"
    WARNING = "warning"
    """It works, and something should be done about it."""

    FAILED = "failed"
    """It does not work."""

    SKIPPED = "skipped"
    """There was nothing to look at."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing that was looked at."""

    check: str
    """What: ``ports``, ``limits``, ``tls`` …"""

    status: Status
    """How it is."""

    text: str
    """A sentence for people; it says what to do where something is to be done."""

    figures: Mapping[str, float | str] = field(default_factory=dict)
    """What was measured; units stand in the names."""

    code: int = FAILED
    """The exit code that a failure asks for."""


def exit_code(findings: Iterable[Finding]) -> int:
    """0 where nothing failed; a missing port or service says more than a failure after it."""
    codes = {one.code for one in findings if one.status is Status.FAILED}
    return max(codes, default=0)
