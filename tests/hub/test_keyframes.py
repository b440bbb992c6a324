from streamserver.hub.keyframes import KeyframeDemand


def _every_ms(demand: KeyframeDemand) -> int | None:
    """Asked anew each time: mypy believes that nothing changes between two looks."""
    return demand.every_ms


def test_the_smallest_wish_counts_until_it_is_released() -> None:
    demand = KeyframeDemand()
    assert _every_ms(demand) is None
    release_slow = demand.want(4_000)
    release = demand.want(2_000)
    other = demand.want(2_000)
    assert _every_ms(demand) == 2_000
    release()
    release()
    assert _every_ms(demand) == 2_000
    other()
    assert _every_ms(demand) == 4_000
    release_slow()
    assert _every_ms(demand) is None


def test_a_request_reaches_whoever_supplies() -> None:
    demand = KeyframeDemand()
    asked: list[str] = []
    demand.request()
    withdraw_first = demand.supply(lambda: asked.append("first"))
    demand.request()
    withdraw = demand.supply(lambda: asked.append("second"))
    withdraw_first()
    demand.request()
    assert asked == ["first", "second"]
    withdraw()
    demand.request()
    assert asked == ["first", "second"]
    assert demand.requests == 4
