import gc

import pytest

from streamserver.errors import LocalProtocolError
from streamserver.feeds.items import SegmentEnd, Target
from streamserver.outputs.hls.replies import Reply
from streamserver.outputs.hls.settings import HlsSettings
from streamserver.outputs.hls.window import Segment
from tests.outputs.hls.helpers_hls import FIRST_MSN, DeliveryRig, Read


def held_in_memory(rig: DeliveryRig) -> int:
    """Bytes of every distinct body behind a name."""
    return sum(len(entry.payload) for entry in rig.entries.values() if isinstance(entry, Reply))


def test_the_window_is_bounded_whatever_comes():
    rig = DeliveryRig(HlsSettings(window_ms=4_000, window_bytes=200_000))
    rig.ready()
    for number in range(400):
        if number % 5 == 0:
            rig.make.new_epoch()
        rig.make.segment(parts=1 + number % 7)
        rig.run()
        for segment in rig.delivery.window.listed:
            assert segment.reply is not None
            assert segment.reply.wire
        assert rig.delivery.window.held_bytes <= 200_000
        assert len(rig.entries) < 150


def test_names_do_not_outlive_what_they_name():
    rig = DeliveryRig()
    rig.ready()
    sizes = []
    for _ in range(100):
        rig.make.segment()
        rig.run()
        sizes.append((len(rig.entries), rig.delivery.window.held_bytes))
    assert len(set(sizes[40:])) == 1, "the window still grows"
    rig.delivery.clear()
    assert not rig.entries


def test_a_segment_that_is_gone_leaves_memory_without_the_collector():
    rig = DeliveryRig()
    rig.ready()
    gc.collect()
    gc.disable()
    try:
        for _ in range(50):
            rig.make.segment()
            rig.run()
        in_memory = sum(isinstance(one, Segment) for one in gc.get_objects())
    finally:
        gc.enable()
    assert in_memory < 20


def test_very_short_segments_do_not_pile_up():
    rig = DeliveryRig()
    rig.ready()
    for _ in range(2_000):
        rig.make.segment(parts=1, ticks=9)
        rig.run()
    assert len(rig.delivery.window.listed) <= 200
    assert len(rig.entries) < 1_300


def test_the_bound_of_bytes_wins_and_is_counted():
    rig = DeliveryRig(HlsSettings(window_bytes=40_000))
    rig.ready(segments=8)
    assert rig.delivery.window.held_bytes <= 20_000
    assert rig.stats.shrunk > 0
    assert len(Read(rig.text()).segments) == 3


def test_the_newest_segment_stays_even_beyond_the_bound():
    rig = DeliveryRig(HlsSettings(window_bytes=10))
    rig.ready(segments=3)
    assert [s.msn for s in Read(rig.text()).segments] == [FIRST_MSN + 2]


def test_a_whole_segment_is_its_parts_joined_and_made_only_when_asked_for():
    rig = DeliveryRig()
    rig.ready(segments=1)
    segment = rig.delivery.window.listed[0]
    assert segment.reply is not None
    assert not segment.reply.is_built
    assert segment.held_bytes == segment.size
    whole = b"".join(part.reply.body for part in segment.parts)
    assert segment.reply.body == whole
    assert segment.media() == whole
    assert segment.held_bytes == 2 * segment.size


def test_parts_leave_memory_once_the_whole_was_joined_and_they_are_out_of_reach():
    rig = DeliveryRig()
    rig.ready(segments=1)
    segment = rig.delivery.window.listed[0]
    assert segment.reply is not None
    assert segment.reply.wire
    for _ in range(6):
        rig.make.segment()
    rig.run()
    assert not segment.parts
    assert segment.held_bytes == segment.size
    assert segment.reply.body.startswith(b"%d.0;" % FIRST_MSN)


def test_parts_that_are_out_of_reach_still_make_the_whole_segment():
    rig = DeliveryRig(HlsSettings(window_ms=20_000))
    rig.ready(segments=7)
    read = Read(rig.text())
    part = f"../../{rig.delivery.window.token}/{FIRST_MSN}.0.m4s"
    assert rig.fetch(part) is None
    whole = rig.fetch(read.segments[0].uri)
    assert whole is not None
    assert len(whole.body) == 6_000
    oldest = rig.delivery.window.listed[0]
    assert oldest.held_bytes == oldest.size


def test_items_that_do_not_follow_each_other_are_a_bug_of_ours():
    for spoil in ("index", "msn", "end", "target"):
        rig = DeliveryRig()
        rig.ready(segments=1, parts=1)
        match spoil:
            case "index":
                rig.make.index += 1
                rig.make.part()
            case "msn":
                rig.make.end()
                rig.make.msn += 1
                rig.make.part()
            case "end":
                rig.make.log.append(SegmentEnd(FIRST_MSN, 6, 1), size=0, at_ms=0)
            case "target":
                rig.make.log.append(Target(9, 334), size=0, at_ms=0)
        with pytest.raises(LocalProtocolError):
            rig.run()


def test_a_log_that_lost_unread_items_is_a_bug_of_ours():
    rig = DeliveryRig()
    rig.ready()
    rig.turns.waiting.clear()
    for _ in range(400):
        rig.make.part()
    with pytest.raises(LocalProtocolError, match="dropped"):
        rig.delivery.pump()


def test_a_rotated_token_names_what_comes_and_breaks_nothing_that_was_named():
    rig = DeliveryRig()
    rig.ready(segments=2, parts=2)
    before = Read(rig.text())
    old = rig.delivery.window.token
    rig.delivery.window.rotate_token()
    new = rig.delivery.window.token
    assert new != old
    rig.make.part()
    rig.make.part()
    rig.make.end()
    rig.make.part()
    rig.run()
    after = Read(rig.text())
    assert all(rig.fetch(uri) for uri in before.uris)
    # The hinted part kept its name; whatever was named later is unknown to who was kicked.
    assert rig.fetch(before.hints[0])
    assert f"../../{new}/{FIRST_MSN + 2}.3.m4s" in after.uris
    assert f"../../{new}/{FIRST_MSN + 2}.m4s" in after.uris
    assert rig.fetch(f"../../{old}/{FIRST_MSN + 2}.3.m4s") is None
    assert rig.fetch(f"../../{old}/{FIRST_MSN + 2}.m4s") is None
    assert all(new in hint for hint in after.hints)
