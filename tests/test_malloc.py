from streamserver.hub.stream import Stream
from streamserver.log import Log
from streamserver.malloc import MemoryReturn, malloc_trim
from streamserver.media.packet import Packet
from streamserver.names import StreamKey
from tests.fakes import FakeClock, Turns


def ended() -> Stream:
    log: Log[Packet] = Log(max_ms=1, max_bytes=1, schedule=Turns())
    return Stream(
        key=StreamKey("live", "cam"), session_id="x", generation=1, packets=log,
        wall_origin_ns=0, origin_ns=0,
    )  # fmt: skip


def test_memory_is_given_back_once_after_broadcasts_ended():
    clock, given = FakeClock(), []
    memory = MemoryReturn(clock.monotonic_ns, lambda: given.append(clock.now_ns))
    memory.tick(clock.now_ns)
    memory.stream_ended(ended(), "over")
    clock.advance(s=30)
    memory.stream_ended(ended(), "over")
    memory.tick(clock.now_ns)
    assert given == []
    clock.advance(s=16)
    memory.tick(clock.now_ns)
    memory.tick(clock.now_ns + 100_000_000_000)
    assert len(given) == 1


def test_trimming_is_safe_wherever_it_is_tried():
    assert malloc_trim() in (True, False)
