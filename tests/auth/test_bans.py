import pytest

from streamserver.auth.bans import BanSettings, BanTable
from tests.fakes import FakeClock

STRANGER = "203.0.113.9"


def table(clock: FakeClock, *, after: int = 3, most: int = 100, exempt: str = "") -> BanTable:
    settings = BanSettings(
        after=after, window_ns=60 * 10**9, ban_ns=300 * 10**9, max_addresses=most
    )
    return BanTable(settings, clock.monotonic_ns, exempt=lambda ip: ip == exempt)


def fail(bans: BanTable, ip: str, times: int) -> None:
    for _ in range(times):
        bans.failed(ip)


def test_an_address_is_banned_after_so_many_failures_and_let_in_again_in_time() -> None:
    clock = FakeClock()
    bans = table(clock)
    fail(bans, STRANGER, 2)
    assert not bans.is_banned(STRANGER)
    ban = bans.failed(STRANGER)
    assert ban is not None
    assert (ban.address, ban.failures) == (STRANGER, 3)
    assert bans.is_banned(STRANGER)
    assert not bans.is_banned("203.0.113.10")
    clock.advance(s=299)
    assert bans.is_banned(STRANGER)
    clock.advance(s=1)
    assert not bans.is_banned(STRANGER)
    assert bans.bans() == []


def test_failures_that_are_far_apart_ban_nobody() -> None:
    clock = FakeClock()
    bans = table(clock)
    for _ in range(20):
        clock.advance(s=31)
        bans.failed(STRANGER)
    assert not bans.is_banned(STRANGER)


@pytest.mark.parametrize("ip", ["127.0.0.1", "127.8.9.10", "::1", "::ffff:127.0.0.1", "10.0.0.7"])
def test_loopback_and_trusted_proxies_are_never_banned(ip: str) -> None:
    bans = table(FakeClock(), exempt="10.0.0.7")
    fail(bans, ip, 100)
    assert not bans.is_banned(ip)
    assert bans.failures == 100


def test_an_ipv6_network_counts_as_one_address() -> None:
    bans = table(FakeClock())
    for last in range(3):
        bans.failed(f"2001:db8:1:2::{last:x}")
    assert bans.is_banned("2001:db8:1:2:ffff::1")
    assert not bans.is_banned("2001:db8:1:3::1")
    [ban] = bans.bans()
    assert ban.address == "2001:db8:1:2::/64"
    assert bans.lift("2001:db8:1:2::/64") == 1
    assert not bans.is_banned("2001:db8:1:2::1")


def test_the_table_is_bounded_and_forgets_who_failed_longest_ago() -> None:
    bans = table(FakeClock(), most=10)
    fail(bans, STRANGER, 3)
    for last in range(10):
        bans.failed(f"198.51.100.{last}")
    assert not bans.is_banned(STRANGER)
    assert len(bans._records) == 10
    assert bans._bans == {}


def test_ten_thousand_failures_of_one_address_hold_no_memory() -> None:
    bans = table(FakeClock(), after=30)
    fail(bans, STRANGER, 10_000)
    assert bans.banned == 1
    assert sum(len(record.tries) for record in bans._records.values()) == 0


def test_a_ban_can_be_lifted_and_zero_turns_bans_off() -> None:
    clock = FakeClock()
    bans = table(clock)
    fail(bans, STRANGER, 3)
    assert bans.lift("198.51.100.1") == 0
    assert bans.lift() == 1
    assert not bans.is_banned(STRANGER)
    never = table(clock, after=0)
    fail(never, STRANGER, 1_000)
    assert not never.is_banned(STRANGER)


@pytest.mark.parametrize("ip", ["", "unix", "999.1.1.1", "203.0.113.9/64x"])
def test_what_is_no_address_is_not_counted(ip: str) -> None:
    bans = table(FakeClock())
    fail(bans, ip, 10)
    assert not bans.is_banned(ip)
