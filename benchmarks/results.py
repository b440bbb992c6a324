"""What the cases find out, as a table for people and as JSON."""

import os
import platform
import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final

__all__ = ["USELESS", "Row", "as_json", "as_table"]

USELESS: Final = "a round"
"""How what is missing begins when somebody was there but a round of theirs does not count."""


@dataclass(slots=True)
class Row:
    """One load, measured on us and on a reference in turn."""

    case: str
    """The case that it belongs to."""

    load: str
    """What was sent."""

    unit: str
    """What the figures count."""

    reference: str
    """What it is compared with."""

    budget: float | None
    """The largest ratio of ours to the reference's that the design allows; None: it says nothing.
    """

    ours: list[float] = field(default_factory=list)
    """Our figures, one for each round."""

    theirs: list[float] = field(default_factory=list)
    """The reference's, likewise; empty when it is not there."""

    missing: str = ""
    """Why there is nothing to compare with, or nothing at all."""

    viewers: int = 0
    """How many there were, for the plot; 0: the row is not about numbers of viewers."""

    notes: dict[str, Any] = field(default_factory=dict)
    """More figures: memory, bytes, the generator's own time."""

    @property
    def ratios(self) -> list[float]:
        """Ours to theirs in each round, so that what else the machine does weighs on both."""
        return [ours / theirs for ours, theirs in zip(self.ours, self.theirs, strict=False)]

    @property
    def absent(self) -> bool:
        """Whether the reference is not on this machine."""
        return bool(self.missing) and not self.missing.startswith(USELESS) and not self.theirs

    @property
    def ratio(self) -> float | None:
        """The median ratio."""
        return statistics.median(self.ratios) if self.ratios else None

    @property
    def verdict(self) -> str:
        """How it stands to the budget."""
        if self.ratio is None or self.budget is None:
            return "-"
        return "met" if self.ratio <= self.budget else "MISSED"


def _spread(values: Sequence[float]) -> str:
    if not values:
        return "-"
    digits = 1 if max(values) >= 5 else 3
    middle = f"{statistics.median(values):.{digits}f}"
    if len(values) == 1:
        return middle
    return f"{middle} ({min(values):.{digits}f}-{max(values):.{digits}f})"


def as_table(rows: Sequence[Row]) -> str:
    """Medians with their range over the rounds; who is not here has a line at the end."""
    lines = [("load", "unit", "ours", "reference", "", "ratio", "budget", "")]
    absent: dict[str, list[str]] = {}
    told: set[tuple[str, str, str]] = set()
    for row in sorted(rows, key=lambda row: row.absent):
        if row.absent:
            absent.setdefault(f"{row.reference}: {row.missing}", []).append(row.case)
            if (row.case, row.load, row.unit) in told:
                continue
        told.add((row.case, row.load, row.unit))
        name = "-" if row.absent else row.reference
        if row.missing and not row.absent:
            name = f"{row.reference}: {row.missing}"
        lines.append(
            (
                f"{row.case}: {row.load}", row.unit, _spread(row.ours), _spread(row.theirs), name,
                _spread(row.ratios), "-" if row.budget is None else f"{row.budget:g}", row.verdict,
            )
        )  # fmt: skip
    widths = [max(len(line[column]) for line in lines) for column in range(len(lines[0]))]
    table = [
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in lines
    ]
    for name, cases in absent.items():
        table.append(f"not compared with {name} ({', '.join(dict.fromkeys(cases))})")
    return "\n".join(table)


def as_json(rows: Sequence[Row]) -> dict[str, Any]:
    """Everything, with the machine and the time."""
    return {
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": {
            "cores": os.cpu_count(),
            "kernel": platform.release(),
            "python": platform.python_version(),
            "load_average": os.getloadavg(),
        },
        "rows": [
            {
                "case": row.case,
                "load": row.load,
                "unit": row.unit,
                "reference": row.reference,
                "missing": row.missing,
                "ours": row.ours,
                "theirs": row.theirs,
                "ratio": row.ratio,
                "budget": row.budget,
                "verdict": row.verdict,
                "viewers": row.viewers,
                "notes": row.notes,
            }
            for row in rows
        ],
    }
