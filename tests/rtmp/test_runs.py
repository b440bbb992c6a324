from hypothesis import given
from hypothesis import strategies as st

from streamserver.rtmp.chunk import ChunkDecoder
from streamserver.rtmp.chunk_encoder import ChunkEncoder, MediaItem, Run
from streamserver.rtmp.message import AUDIO, VIDEO, Message
from streamserver.rtmp.message_limits import MessageLimits
from streamserver.rtmp.runs import RunCutter

CSIDS = {AUDIO: 4, VIDEO: 6}
CHUNK = 60_000
MASK = 0xFFFFFFFF
SMALL = [(VIDEO, 40, b"v1"), (AUDIO, 41, b"a1")]


def own(items: list[MediaItem], origin_ms: int) -> list[MediaItem]:
    """The same messages at the times of one connection."""
    return [(kind, (time_ms - origin_ms) & MASK, body) for kind, time_ms, body in items]


class Connection:
    """One that begins at a time of the common line, and what its far side understood."""

    def __init__(self, stream_id: int, origin_ms: int) -> None:
        self.stream_id = stream_id
        self.origin_ms = origin_ms
        self.encoder = ChunkEncoder(CHUNK)
        self.out: list[bytes] = []

    def cut(self, items: list[MediaItem]) -> None:
        self.encoder.add(self.out, self.stream_id, CSIDS, own(items, self.origin_ms))

    def follow(self, run: Run) -> bool:
        return self.encoder.follow(self.out, self.stream_id, CSIDS, run, self.origin_ms)

    def understood(self) -> list[Message]:
        decoder = ChunkDecoder(MessageLimits())
        decoder.feed(ChunkEncoder().encode(Message(1, 0, 0, CHUNK.to_bytes(4, "big")), 2), 1 << 20)
        decoder.feed(b"".join(self.out), 1 << 20)
        return decoder.messages()[1:]


steps = st.lists(
    st.tuples(
        st.sampled_from([AUDIO, VIDEO]),
        st.sampled_from([0, 1, 23, 40, 5_000]),
        st.sampled_from([1, 7, 7, 300, CHUNK, CHUNK + 1, 2 * CHUNK + 5]),
    ),
    min_size=1,
    max_size=8,
)


@given(st.lists(steps, min_size=2, max_size=6), st.integers(0, 1 << 33))
def test_who_is_level_sends_the_same_bytes_and_is_understood(batches, start_ms):
    cutter = RunCutter(CSIDS, CHUNK)
    connections = [Connection(1, start_ms), Connection(7, start_ms - 123_456)]
    sent: list[MediaItem] = []
    at_ms = start_ms
    for batch in batches:
        items = []
        for number, (kind, step, size) in enumerate(batch):
            at_ms += step
            items.append((kind, at_ms, bytes([number + 1]) * size))
        sent += items
        run = cutter.cut(items)
        for connection in connections:
            if run is None or not connection.follow(run):
                assert run is None
                connection.cut(items)
    for connection in connections:
        expected = own(sent, connection.origin_ms)
        got = connection.understood()
        assert [(each.type_id, each.timestamp, each.body) for each in got] == expected
        assert {each.stream_id for each in got} == {connection.stream_id}


def test_who_sent_something_else_last_cuts_for_himself():
    cutter = RunCutter(CSIDS, CHUNK)
    assert cutter.cut(SMALL) is None
    level, other_time, other_length, fresh = (Connection(1, 0) for _ in range(4))
    level.cut(SMALL)
    other_time.cut([(VIDEO, 39, b"v1"), SMALL[1]])
    other_length.cut([(VIDEO, 40, b"v12"), SMALL[1]])
    run = cutter.cut([(VIDEO, 80, b"v2")])
    assert run is not None
    assert level.follow(run)
    for connection in (other_time, other_length, fresh):
        before = list(connection.out)
        assert not connection.follow(run)
        assert connection.out == before
    assert not ChunkEncoder(128).follow([], 1, CSIDS, run, 0)


def test_a_step_back_and_what_was_forgotten_need_full_headers():
    cutter = RunCutter(CSIDS, CHUNK)
    cutter.cut(SMALL)
    assert cutter.cut([(VIDEO, 30, b"v2")]) is None
    assert cutter.cut([(VIDEO, 50, b"v3")]) is not None
    cutter.forget()
    assert cutter.cut([(VIDEO, 90, b"v4")]) is None
