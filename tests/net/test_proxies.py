import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamserver.net.proxies import Origin, TrustedProxies

PROXIES = TrustedProxies(["10.0.0.0/8", "192.0.2.7", "2001:db8::/32"])


def resolve(peer: str, *headers: tuple[str, str]) -> Origin:
    return PROXIES.resolve(peer, headers, scheme="http", host="inner:8080")


def test_what_is_no_network_is_a_value_error() -> None:
    with pytest.raises(ValueError, match="example"):
        TrustedProxies(["example.org"])


def test_a_network_with_host_bits_is_a_value_error() -> None:
    with pytest.raises(ValueError, match="host bits"):
        TrustedProxies(["10.0.0.1/8"])


@pytest.mark.parametrize(
    ("ip", "trusted"),
    [
        ("10.1.2.3", True),
        ("::ffff:10.1.2.3", True),
        ("192.0.2.7", True),
        ("192.0.2.8", False),
        ("2001:db8::1", True),
        ("not an address", False),
        ("", False),
    ],
)
def test_only_listed_addresses_are_trusted(ip: str, trusted: bool) -> None:
    assert PROXIES.trusts(ip) is trusted


def test_headers_from_a_stranger_count_for_nothing() -> None:
    origin = resolve(
        "203.0.113.9",
        ("X-Forwarded-For", "127.0.0.1"),
        ("X-Forwarded-Proto", "https"),
        ("X-Forwarded-Host", "evil.example"),
        ("X-Forwarded-Prefix", "/evil"),
    )
    assert origin == Origin("203.0.113.9", "http", "inner:8080")


def test_headers_from_a_trusted_proxy_tell_the_client() -> None:
    origin = resolve(
        "::ffff:10.0.0.1",
        ("x-forwarded-for", "203.0.113.9"),
        ("x-forwarded-proto", "https"),
        ("x-forwarded-host", "live.example.org"),
        ("x-forwarded-prefix", "/video/"),
    )
    assert origin == Origin("203.0.113.9", "https", "live.example.org", "/video", via_proxy=True)


@pytest.mark.parametrize(
    ("values", "client"),
    [
        (["203.0.113.9"], "203.0.113.9"),
        (["127.0.0.1, 203.0.113.9"], "203.0.113.9"),
        (["127.0.0.1", "203.0.113.9, 10.0.0.2"], "203.0.113.9"),
        (["203.0.113.9, 10.0.0.3, 10.0.0.2"], "203.0.113.9"),
        (["10.0.0.3, 10.0.0.2"], "10.0.0.3"),
        (["::ffff:203.0.113.9"], "203.0.113.9"),
        (["203.0.113.9:4711"], "203.0.113.9"),
        (['"[2001:db9::1]:4711"'], "2001:db9::1"),
        (["2001:db9::1"], "2001:db9::1"),
        (["203.0.113.9, unknown, 10.0.0.2"], "10.0.0.2"),
        (["127.0.0.1, "], "10.0.0.1"),
        ([""], "10.0.0.1"),
        ([], "10.0.0.1"),
    ],
)
def test_the_walk_goes_from_the_right_and_ends_at_the_first_stranger(
    values: list[str], client: str
) -> None:
    assert PROXIES.client_ip("10.0.0.1", values) == client


def test_the_walk_is_bounded() -> None:
    assert PROXIES.client_ip("10.0.0.1", ["203.0.113.9, " + "10.0.0.2, " * 99 + "10.0.0.3"]) == (
        "10.0.0.2"
    )


def test_of_several_values_the_last_was_written_by_the_nearest_proxy() -> None:
    origin = resolve(
        "10.0.0.1", ("X-Forwarded-Proto", "https, http"), ("X-Forwarded-Host", "evil, good.org")
    )
    assert (origin.scheme, origin.host) == ("http", "good.org")


@pytest.mark.parametrize("scheme", ["ws", "WSS", "https"])
def test_websocket_schemes_are_http_schemes(scheme: str) -> None:
    expected = "http" if scheme == "ws" else "https"
    assert resolve("10.0.0.1", ("X-Forwarded-Proto", scheme)).scheme == expected


@pytest.mark.parametrize(
    "host", ["a b", "x/y", "user@host", "a\r\nb", "<script>", "[::1", "x" * 300]
)
def test_a_forwarded_host_that_is_none_is_ignored(host: str) -> None:
    assert resolve("10.0.0.1", ("X-Forwarded-Host", host)).host == "inner:8080"


@pytest.mark.parametrize("prefix", ["video", "//evil.example", "/a//b", '/"><script>', "/"])
def test_a_prefix_that_is_no_path_is_ignored(prefix: str) -> None:
    assert resolve("10.0.0.1", ("X-Forwarded-Prefix", prefix)).prefix == ""


@given(st.lists(st.text(max_size=30), max_size=5), st.text(max_size=40))
def test_no_header_can_make_it_fail_or_answer_no_address(values: list[str], other: str) -> None:
    headers = [("X-Forwarded-For", value) for value in values]
    headers += [(f"X-Forwarded-{name}", other) for name in ("Proto", "Host", "Prefix", "For")]
    origin = PROXIES.resolve("10.0.0.1", headers, scheme="http", host="h")
    assert TrustedProxies([origin.ip]).trusts(origin.ip)
    assert origin.scheme in ("http", "https")
