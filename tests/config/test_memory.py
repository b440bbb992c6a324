from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from streamserver.config import Config, load, memory_bound

MIB = 1024 * 1024


def test_the_default_bound_is_176_mib_a_stream_and_1_mib_a_viewer() -> None:
    bound = memory_bound(Config())
    assert bound.packet_log_bytes == 16 * MIB
    assert bound.cmaf_log_bytes == bound.ts_window_bytes == 28 * MIB
    assert bound.hls_window_bytes == 56 * MIB
    assert bound.live_logs_bytes == 3 * bound.live_log_bytes == 48 * MIB
    assert bound.per_stream_bytes == 176 * MIB
    assert bound.per_viewer_bytes == MIB
    assert bound.all_streams_bytes == 100 * (176 + 16) * MIB


@given(st.integers(8 * MIB, 1 << 32), st.integers(0, 1 << 33))
def test_the_parts_never_exceed_the_cap_of_a_stream(log: int, rest: int) -> None:
    cap = 4 * log + 32 * MIB + rest
    config = load(
        overrides=[f"limits.log_max_bytes={log}", f"limits.max_stream_memory_bytes={cap}"],
        directory=Path("/nowhere"),
    ).config
    bound = memory_bound(config)
    parts = (
        bound.packet_log_bytes
        + bound.cmaf_log_bytes
        + bound.hls_window_bytes
        + bound.ts_window_bytes
        + bound.live_logs_bytes
    )
    assert parts == bound.per_stream_bytes <= cap
