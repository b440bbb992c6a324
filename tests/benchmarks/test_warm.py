import os

from benchmarks.procfs import usage
from benchmarks.warm import touch_memory


def test_memory_is_touched_in_bounds_and_given_back():
    before_kb = usage(os.getpid()).rss_kb
    assert touch_memory(64 << 20) == 64 << 20
    assert usage(os.getpid()).rss_kb < before_kb + (32 << 10)
    assert touch_memory(100) == 0
