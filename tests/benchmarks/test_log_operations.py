"""The price of log, hub and HLS feed in calls, once a publisher's packets are there.

The bounds have room for a change of mind, as those of `test_operations`.
"""

import pytest

from streamserver.media.packet import Packet
from tests.benchmarks.counting import Calls
from tests.benchmarks.test_operations import KEY, Rig, live_rig, media

RUN = 4
"""Packets that a read brings, as a rule."""

UNFOLLOWED_CALLS = 5.5
FOLLOWED_CALLS = 7.2
"""For each packet, from the lease to its share of a part."""


def runs(rig: Rig, seconds: int) -> list[list[Packet]]:
    stream = rig.registry.get(KEY)
    assert stream is not None
    video, audio = stream.tracks
    start_ms = stream.packets.since(stream.packets.end - 1)[0].dts_ms + 33
    packets: list[Packet] = []
    for ms, is_video, body in media(0, seconds):
        at_ms = start_ms + ms
        track = video if is_video else audio
        at = at_ms * track.clock_rate // 1000
        received_ns = (len(packets) // RUN * RUN * 13 + start_ms) * 1_000_000
        keyframe = not is_video or body[0] == 0x17
        packets.append(Packet(track, at, at, 0, keyframe, body, received_ns))
    return [packets[at : at + RUN] for at in range(0, len(packets), RUN)]


@pytest.mark.parametrize(("followed", "bound"), [(False, UNFOLLOWED_CALLS), (True, FOLLOWED_CALLS)])
async def test_a_packet_that_comes_in_a_run_is_few_calls_from_the_lease_to_its_part(
    followed, bound
):
    rig = await live_rig()
    lease = rig.registry._leases[KEY]
    if followed:
        await rig.playlist_path()
    parts, some = rig.feeds[0].counters.parts, runs(rig, 8)
    with Calls() as calls:
        for run in some:
            lease.extend(run)
            rig.turns.run_all()
    assert rig.feeds[0].counters.parts >= parts + 23
    price = calls.without("Turns.", "FakeClock.") / (len(some) * RUN)
    assert price < bound, calls.names.most_common(30)
