"""A stream's steady life leaves nothing to the cyclic collector, which may come minutes later.

Media in a circle of references stays in memory until then: megabytes for each stream.
"""

import gc
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.benchmarks.test_operations import KEY, Rig, live_rig

SECONDS = 40
"""Longer than packets, segments and their names are held."""


@contextmanager
def circles() -> Iterator[Counter[str]]:
    """Counts our own objects, by type, that only the collector could find afterwards."""
    found: Counter[str] = Counter()
    gc.collect()
    gc.disable()
    try:
        yield found
        gc.set_debug(gc.DEBUG_SAVEALL)
        gc.collect()
        kinds = [type(one) for one in gc.garbage]
        found.update(one.__qualname__ for one in kinds if one.__module__.startswith("streamserver"))
    finally:
        gc.set_debug(0)
        gc.garbage.clear()
        gc.enable()


def live_on(rig: Rig, together: int) -> None:
    """Media in reads of so many messages."""
    for _ in range(SECONDS):
        some = rig.prepare(1)
        reads = [some[at : at + together] for at in range(0, len(some), together)]
        rig.publish(
            [(b"".join(data for data, _ in one), sum(ms for _, ms in one)) for one in reads]
        )
        rig.output.tick(rig.clock.monotonic_ns())


@pytest.mark.parametrize("together", [1, 16])
async def test_a_stream_that_nobody_watches_leaves_nothing_to_the_collector(together):
    rig = await live_rig()
    with circles() as found:
        live_on(rig, together)
    assert rig.feeds[0].counters.segments > SECONDS // 2
    assert not found


async def test_nor_does_one_whose_playlist_and_media_are_asked_for():
    rig = await live_rig()
    await rig.playlist_path()
    delivery = rig.output.delivery(KEY)
    assert delivery is not None
    with circles() as found:
        for _ in range(SECONDS // 2):
            rig.publish(rig.prepare(2))
            rig.output.tick(rig.clock.monotonic_ns())
            assert delivery.playlist().wire
            newest = delivery.window.listed[-1]
            assert newest.reply is not None
            assert newest.reply.wire
            assert newest.parts[0].reply.wire
    assert not found


async def test_circles_would_be_found():
    with circles() as found:
        rig = await live_rig()
        rig.feeds.append(rig)  # type: ignore[arg-type]
        del rig
    assert found
