"""Numbers of a viewer have no gaps, and lead back to those of the feed."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from streamserver.outputs.webrtc.numbers import SequenceMap

steps = st.lists(st.tuples(st.integers(0, 500), st.integers(1, 300)), min_size=1, max_size=40)


@given(st.integers(0, 1 << 40), steps)
def test_the_wire_has_no_gap_and_every_number_leads_back(
    first: int, runs: list[tuple[int, int]]
) -> None:
    numbers = SequenceMap(first)
    sent: list[tuple[int, int]] = []
    position = first
    for skipped, count in runs:
        position += skipped
        numbers.skip(position)
        assert numbers.next == position
        sent += [(at, at + numbers.offset & 0xFFFF) for at in range(position, position + count)]
        position += count
        numbers.sent(position)
    wires = [wire for _, wire in sent]
    assert wires[0] < 0x8000
    assert all(b == a + 1 & 0xFFFF for a, b in pairwise(wires))
    assert [numbers.find(wire) for _, wire in sent] == [feed for feed, _ in sent]


def test_nothing_is_found_before_anything_was_sent() -> None:
    assert SequenceMap(7).find(7) is None


def test_a_number_that_was_not_sent_is_not_found() -> None:
    numbers = SequenceMap(100)
    numbers.sent(110)
    assert numbers.find(109) == 109
    assert numbers.find(99) is None
    assert numbers.find(110) is None


def test_the_first_number_is_so_low_that_it_does_not_wrap_soon() -> None:
    assert SequenceMap(0xFFFA).offset == -0x8000
    assert SequenceMap(0x7FFF).offset == 0
    numbers = SequenceMap(5)
    numbers.skip(0x1_FFF0)  # nothing was sent yet: it begins anew
    assert 0x1_FFF0 + numbers.offset & 0xFFFF == 0x7FF0


def test_skips_that_are_long_gone_are_forgotten() -> None:
    numbers = SequenceMap(0)
    position = 0
    for _ in range(100):
        numbers.sent(position + 10)
        position += 20
        numbers.skip(position)
    assert len(numbers._starts) <= 64
    assert numbers.find(0) is None
