import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamserver.errors import LocalProtocolError
from streamserver.metrics import Buckets, Metric, MetricsRegistry, MetricType, Reading

COUNTER, GAUGE, HISTOGRAM = MetricType.COUNTER, MetricType.GAUGE, MetricType.HISTOGRAM


def page(metric: Metric, reading: Reading) -> list[str]:
    registry = MetricsRegistry()
    registry.add(metric, lambda: reading)
    *lines, rest = registry.render().decode().split("\n")
    assert rest == ""
    return lines


def test_a_metric_has_help_type_and_value():
    assert page(Metric("fish", GAUGE, "How many fish."), 3) == [
        "# HELP fish How many fish.",
        "# TYPE fish gauge",
        "fish 3",
    ]


def test_values_carry_their_labels_in_declared_order():
    metric = Metric("fish_total", COUNTER, "Fish.", ("colour", "size"))
    readings: dict[tuple[str, ...], float] = {("red", "big"): 1, ("blue", "small"): 2.5}
    assert page(metric, readings)[2:] == [
        'fish_total{colour="red",size="big"} 1',
        'fish_total{colour="blue",size="small"} 2.5',
    ]


def test_one_label_may_be_a_plain_string():
    assert page(Metric("fish", GAUGE, "Fish.", ("colour",)), {"red": 1})[2:] == [
        'fish{colour="red"} 1'
    ]


def test_a_metric_without_values_still_has_help_and_type():
    assert len(page(Metric("fish", GAUGE, "Fish.", ("colour",)), {})) == 2


def test_buckets_are_cumulative_and_end_with_infinity():
    metric = Metric("wait_seconds", HISTOGRAM, "Waiting.", bounds=(0.001, 0.5))
    assert page(metric, Buckets([4, 0, 2], 7.25))[2:] == [
        'wait_seconds_bucket{le="0.001"} 4',
        'wait_seconds_bucket{le="0.5"} 4',
        'wait_seconds_bucket{le="+Inf"} 6',
        "wait_seconds_sum 7.25",
        "wait_seconds_count 6",
    ]


def test_help_escapes_backslash_and_line_feed():
    assert page(Metric("fish", GAUGE, 'a\\b\n"c"'), 1)[0] == '# HELP fish a\\\\b\\n"c"'


@pytest.mark.parametrize(
    ("number", "text"),
    [(float("inf"), "+Inf"), (float("-inf"), "-Inf"), (10**20, "1" + "0" * 20), (1e-9, "1e-09")],
)
def test_numbers_are_written_as_the_format_wants(number, text):
    assert page(Metric("fish", GAUGE, "Fish."), number)[2] == f"fish {text}"


@given(st.text())
def test_a_label_of_any_text_stays_on_one_line_and_comes_back(text):
    metric = Metric("fish", GAUGE, "Fish.", ("name",))
    _, _, line = page(metric, {text: 1})
    found = re.fullmatch(r'fish\{name="((?:[^"\\]|\\.)*)"\} 1', line, re.DOTALL)
    assert found is not None
    assert re.sub(r"\\(.)", lambda m: "\n" if m[1] == "n" else m[1], found[1]) == text


@pytest.mark.parametrize(
    ("name", "kind", "labels", "bounds", "fault"),
    [
        ("1fish", GAUGE, (), (), "not a metric name"),
        ("fish\n", GAUGE, (), (), "not a metric name"),
        ("fish", COUNTER, (), (), "_total"),
        ("fish_total", GAUGE, (), (), "_total"),
        ("fish", GAUGE, ("a-b",), (), "label name"),
        ("fish", GAUGE, ("le",), (), "reserved"),
        ("fish", HISTOGRAM, (), (), "bounds"),
        ("fish", GAUGE, (), (1,), "bounds"),
        ("fish", HISTOGRAM, (), (2, 1), "grow"),
        ("fish", HISTOGRAM, (), (1, 1), "grow"),
    ],
)
def test_a_bad_declaration_is_a_bug(name, kind, labels, bounds, fault):
    with pytest.raises(LocalProtocolError, match=fault):
        Metric(name, kind, "Fish.", labels, bounds)


def test_a_metric_needs_help():
    with pytest.raises(LocalProtocolError, match="no help"):
        Metric("fish", GAUGE, "")


def test_a_name_is_declared_once():
    registry = MetricsRegistry()
    registry.add(Metric("fish", GAUGE, "Fish."), lambda: 1)
    with pytest.raises(LocalProtocolError, match="twice"):
        registry.add(Metric("fish", GAUGE, "Fish."), lambda: 1)


@pytest.mark.parametrize("reading", [{("a", "b"): 1}, 3])
def test_a_reading_with_other_labels_than_declared_is_a_bug(reading):
    with pytest.raises(LocalProtocolError, match="labels"):
        page(Metric("fish", GAUGE, "Fish.", ("colour",)), reading)


def test_a_histogram_with_other_buckets_than_declared_is_a_bug():
    with pytest.raises(LocalProtocolError, match="does not fit"):
        page(Metric("fish", HISTOGRAM, "Fish.", bounds=(1,)), Buckets([1], 1))


def test_values_are_read_at_the_scrape():
    registry = MetricsRegistry()
    values = [1]
    registry.add(Metric("fish", GAUGE, "Fish."), lambda: values[0])
    assert b"fish 1\n" in registry.render()
    values[0] = 2
    assert b"fish 2\n" in registry.render()
    assert [metric.name for metric in registry.metrics] == ["fish"]
