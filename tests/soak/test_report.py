from dataclasses import replace

from tests.soak.report import Sample, faults, report
from tests.soak.traffic import Seen

MIB = 1024 * 1024
IDLE = Sample(at_s=0, memory=100 * MIB, fds=20, threads=6, tasks=4, lines=10)


def run(*, minutes: int = 10) -> list[Sample]:
    return [replace(IDLE, at_s=5.0 * at, memory=120 * MIB, fds=40) for at in range(minutes * 12)]


def test_a_run_that_ends_as_it_began_has_no_faults():
    assert faults(IDLE, run(), IDLE, replace(IDLE, fds=24), Seen(), 0) == []


def test_memory_that_grows_from_rest_to_rest_is_a_fault_of_a_long_run_only():
    after = replace(IDLE, memory=110 * MIB)
    assert "memory grows by 2.02 MiB" in faults(IDLE, run(), IDLE, after, Seen(), 0)[0]
    assert faults(IDLE, run(minutes=2), IDLE, after, Seen(), 0) == []


def test_what_the_log_of_events_keeps_is_no_leak():
    after = replace(IDLE, memory=110 * MIB, events=3_000)
    assert faults(IDLE, run(), IDLE, after, Seen(), 0) == []


def test_what_stays_open_or_was_missed_is_a_fault():
    seen = Seen()
    seen.gap("HLS: nothing")
    after = replace(IDLE, fds=90, tasks=30, threads=40)
    found = faults(IDLE, run(), IDLE, after, seen, 2)
    assert len(found) == 5
    assert "fds: 20 before anybody came, 90 when all had gone" in found


def test_a_log_that_is_flooded_is_a_fault():
    flooded = [replace(one, lines=1_000_000) for one in run()]
    assert "log lines" in faults(IDLE, flooded, IDLE, IDLE, Seen(), 0)[0]


def test_the_report_has_every_figure():
    text = report(IDLE, run(), IDLE, IDLE, Seen())
    for word in ("memory (MiB)", "fds", "threads", "tasks", "rest", "gaps"):
        assert word in text
