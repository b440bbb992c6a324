"""Metrics, declared once and read at scrape time from plain integers.

No counter lives here: objects count for themselves, and a scrape asks them. The writer is for
version 0.0.4 of Prometheus' text format ("Exposition formats", section "Text-based format"). It is
small enough that a dependency would cost more: the usual client library keeps counters of its own.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, TypeAlias

from streamserver.errors import LocalProtocolError

__all__ = [
    "CONTENT_TYPE",
    "Buckets",
    "Metric",
    "MetricType",
    "MetricsRegistry",
    "Number",
    "Reading",
]

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"
"""The media type of the text format."""

_NAME: Final = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*\Z")
_LABEL: Final = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*\Z")
_RESERVED_LABELS: Final = frozenset({"le", "quantile"})

Number: TypeAlias = int | float


class MetricType(StrEnum):
    """How a metric behaves."""

    COUNTER = "counter"
    """Only grows; its name ends in ``_total``."""

    GAUGE = "gauge"
    """Goes up and down."""

    HISTOGRAM = "histogram"
    """Counts observations by size."""


@dataclass(frozen=True, slots=True)
class Metric:
    """A declared metric. A bad declaration raises `LocalProtocolError`."""

    name: str
    """In base units: ``_seconds``, ``_bytes``; counters end in ``_total``."""

    type: MetricType
    """How it behaves."""

    help: str
    """A sentence for people."""

    labels: tuple[str, ...] = ()
    """Names of its labels. Their values are few and known: never an id or a stream's name."""

    bounds: tuple[Number, ...] = ()
    """Upper bounds of a histogram's buckets, growing, without infinity."""

    def __post_init__(self) -> None:
        if fault := self._fault():
            raise LocalProtocolError(f"metric {self.name}: {fault}")

    def _fault(self) -> str:
        if not _NAME.match(self.name):
            return "not a metric name"
        if not self.help:
            return "no help"
        # The format allows other counters; "Metric and label naming" asks for the suffix.
        if (self.type is MetricType.COUNTER) != self.name.endswith("_total"):
            return "counters, and only they, end in _total"
        if any(not _LABEL.match(label) for label in self.labels):
            return "not a label name"
        if _RESERVED_LABELS.intersection(self.labels):
            return "a reserved label"
        if (self.type is MetricType.HISTOGRAM) != bool(self.bounds):
            return "histograms, and only they, have bounds"
        if list(self.bounds) != sorted(set(self.bounds)):
            return "bounds must grow"
        return ""


@dataclass(frozen=True, slots=True)
class Buckets:
    """The observations of a histogram."""

    counts: Sequence[int]
    """Observations per bucket, each counted once; the last are beyond the last bound."""

    sum: Number
    """Sum of all observed values."""


Reading: TypeAlias = Number | Buckets | Mapping[str, Number] | Mapping[tuple[str, ...], Number]
"""What a metric reads: one value without labels, or values by label values, in declared order; a
plain string where there is one label."""


class MetricsRegistry:
    """The metrics of one server, in the order in which they were added."""

    def __init__(self) -> None:
        self._readers: dict[str, tuple[Metric, Callable[[], Reading]]] = {}

    def add(self, metric: Metric, read: Callable[[], Reading]) -> None:
        """Adds a metric and the function that reads it; a name twice is `LocalProtocolError`."""
        if metric.name in self._readers:
            raise LocalProtocolError(f"metric {metric.name} is declared twice")
        self._readers[metric.name] = (metric, read)

    @property
    def metrics(self) -> list[Metric]:
        """All metrics."""
        return [metric for metric, _ in self._readers.values()]

    def render(self) -> bytes:
        """All values as they are now, in the text format."""
        lines: list[str] = []
        for metric, read in self._readers.values():
            lines.append(f"# HELP {metric.name} {_escape(metric.help)}")
            lines.append(f"# TYPE {metric.name} {metric.type.value}")
            _write_samples(lines, metric, read())
        return ("\n".join(lines) + "\n").encode()


def _write_samples(lines: list[str], metric: Metric, reading: Reading) -> None:
    if isinstance(reading, Buckets):
        _write_histogram(lines, metric, reading)
    elif isinstance(reading, Mapping):
        for values, number in reading.items():
            lines.append(f"{metric.name}{_labels(metric, values)} {_number(number)}")
    else:
        lines.append(f"{metric.name}{_labels(metric, ())} {_number(reading)}")


def _write_histogram(lines: list[str], metric: Metric, buckets: Buckets) -> None:
    if metric.labels or len(buckets.counts) != len(metric.bounds) + 1:
        raise LocalProtocolError(f"metric {metric.name}: the reading does not fit the declaration")
    # Buckets are cumulative in the format, and the last one is infinite.
    seen = 0
    for bound, count in zip((*metric.bounds, float("inf")), buckets.counts, strict=True):
        seen += count
        lines.append(f'{metric.name}_bucket{{le="{_number(bound)}"}} {seen}')
    lines.append(f"{metric.name}_sum {_number(buckets.sum)}")
    lines.append(f"{metric.name}_count {seen}")


def _labels(metric: Metric, values: str | tuple[str, ...]) -> str:
    if isinstance(values, str):
        values = (values,)
    if len(values) != len(metric.labels):
        raise LocalProtocolError(f"metric {metric.name}: {len(metric.labels)} labels expected")
    if not values:
        return ""
    pairs = zip(metric.labels, values, strict=True)
    return "{" + ",".join(f'{name}="{_escape_label(value)}"' for name, value in pairs) + "}"


def _number(value: Number) -> str:
    """Go's ParseFloat reads it; infinities have names of their own."""
    if value == float("inf"):
        return "+Inf"
    return "-Inf" if value == float("-inf") else repr(value)


def _escape(text: str) -> str:
    """HELP text: backslash and line feed are escaped."""
    return text.replace("\\", r"\\").replace("\n", r"\n")


def _escape_label(text: str) -> str:
    """Label values: the quote, too."""
    return _escape(text).replace('"', r"\"")
