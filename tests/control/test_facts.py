from streamserver.control.facts import LAG_BUCKETS_US, LoopLag

TICK_NS = 250_000_000


def test_a_loop_that_is_on_time_has_no_lag():
    lag = LoopLag(TICK_NS)
    for number in range(4):
        lag.tick(number * TICK_NS)
    assert (lag.last_ns, lag.longest_ns, lag.total_ns) == (0, 0, 0)
    assert lag.histogram[0] == 3


def test_the_first_tick_is_never_late():
    lag = LoopLag(TICK_NS)
    lag.tick(10**15)
    assert sum(lag.histogram) == 0


def test_each_lag_falls_into_the_bucket_that_holds_it():
    for index, bound_us in enumerate(LAG_BUCKETS_US):
        lag = LoopLag(TICK_NS)
        lag.tick(0)
        lag.tick(TICK_NS + bound_us * 1000)
        assert lag.histogram[index] == 1


def test_a_lag_beyond_the_last_bound_is_counted_last():
    lag = LoopLag(TICK_NS)
    lag.tick(0)
    lag.tick(TICK_NS + 7_000_000_000)
    assert lag.histogram[-1] == 1
    assert lag.longest_ns == lag.total_ns == 7_000_000_000


def test_the_longest_lag_is_kept_and_the_last_is_told():
    lag = LoopLag(TICK_NS)
    for now_ns in (0, TICK_NS + 5_000_000, 2 * TICK_NS + 6_000_000):
        lag.tick(now_ns)
    assert lag.longest_ns == 5_000_000
    assert lag.last_ns == 1_000_000


def test_a_tick_that_comes_early_is_not_negative():
    lag = LoopLag(TICK_NS)
    lag.tick(0)
    lag.tick(1)
    assert lag.total_ns == 0
