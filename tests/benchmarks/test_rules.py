"""A run counts only when its generator had time to spare and everybody got everything."""

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest

from benchmarks import rules
from benchmarks.rules import UselessRunError

SPARE = {"cpu_ms": 100.0, "seconds": 2.0}
BUSY = {"cpu_ms": 1800.0, "seconds": 2.0}

PUBLISHED = {"late_ms": 20, "unsent": 0}
FOLLOWED = {"errors": 0, "missed": 0, "fewest_parts": 30, "most_parts": 30}
PLAYED = {"lost": 0, "fewest_bytes": 1_000_000, "most_bytes": 1_000_000}
OPENED = PLAYED | {"damaged": 0, "gaps": 0}
JOINED = {"took_ms": [3.0] * 9}
READ = {"pictures": 90, "unread": 0, "measured_s": 3.0}

EVERY: list[tuple[Callable[[Any], None], dict[str, Any]]] = [
    (rules.publishers_count, PUBLISHED),
    (rules.viewers_count, FOLLOWED),
    (rules.files_count, FOLLOWED),
    (partial(rules.players_count, least_bytes=1_000_000), PLAYED),
    (rules.whep_counts, OPENED),
    (partial(rules.joins_count, count=9), JOINED),
    (rules.glass_counts, READ),
]


@pytest.mark.parametrize(("rule", "report"), EVERY)
def test_a_generator_with_time_to_spare_that_got_everything_counts(rule, report):
    rule(SPARE | report)


@pytest.mark.parametrize(("rule", "report"), EVERY)
def test_a_generator_that_was_busy_does_not_count(rule, report):
    with pytest.raises(UselessRunError, match="90%"):
        rule(BUSY | report)


@pytest.mark.parametrize(
    ("rule", "report", "fault"),
    [
        (rules.publishers_count, PUBLISHED, {"late_ms": 501}),
        (rules.publishers_count, PUBLISHED, {"unsent": 1}),
        (rules.viewers_count, FOLLOWED, {"errors": 1}),
        (rules.files_count, FOLLOWED, {"errors": 1}),
        (rules.viewers_count, FOLLOWED, {"missed": 1}),
        (rules.viewers_count, FOLLOWED, {"fewest_parts": 28}),
        (rules.players_count, PLAYED, {"lost": 1}),
        (rules.players_count, PLAYED, {"fewest_bytes": 900_000}),
        (partial(rules.players_count, least_bytes=1_200_000), PLAYED, {}),
        (rules.whep_counts, OPENED, {"damaged": 1}),
        (rules.whep_counts, OPENED, {"gaps": 1}),
        (rules.whep_counts, OPENED, {"fewest_bytes": 900_000}),
        (partial(rules.joins_count, count=10), JOINED, {}),
        (rules.glass_counts, READ, {"unread": 1}),
        (rules.glass_counts, READ, {"pictures": 70}),
    ],
)
def test_a_run_in_which_somebody_missed_something_does_not_count(rule, report, fault):
    with pytest.raises(UselessRunError):
        rule(SPARE | report | fault)


def test_a_destination_that_was_sent_too_little_does_not_count():
    rules.all_sent(1_000_000, 1_050_000)
    with pytest.raises(UselessRunError, match="900000"):
        rules.all_sent(900_000, 1_050_000)
