import socket

import pytest

from streamserver.net.addresses import Listening, is_loopback, lan_address, parse_ip, unmap


@pytest.mark.parametrize(
    ("text", "plain"),
    [
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("192.0.2.1", "192.0.2.1"),
        ("2001:DB8::1", "2001:db8::1"),
        ("fe80::1%eth0", "fe80::1"),
        ("example.org", "example.org"),
    ],
)
def test_mapped_addresses_are_unmapped(text: str, plain: str) -> None:
    assert unmap(text) == plain


@pytest.mark.parametrize("text", ["127.0.0.1", "127.9.9.9", "::1", "::ffff:127.0.0.1"])
def test_loopback_addresses_are_known(text: str) -> None:
    assert is_loopback(text)


@pytest.mark.parametrize(
    "text", ["10.0.0.1", "::", "0.0.0.0", "localhost", "", "127.1", "2130706433"]
)
def test_what_is_no_loopback_address_is_none(text: str) -> None:
    assert not is_loopback(text)


def test_a_text_that_is_no_address_is_none() -> None:
    assert parse_ip("1.2.3") is None


def test_the_lan_address_is_the_one_that_the_kernel_would_send_from() -> None:
    assert lan_address(lambda family, far: "192.168.1.20") == "192.168.1.20"


def test_a_host_with_ipv6_only_answers_its_ipv6_address() -> None:
    def route_to(family: int, far: str) -> str:
        if family == socket.AF_INET:
            raise OSError("Network is unreachable")
        return "2001:db8::20"

    assert lan_address(route_to) == "2001:db8::20"


def test_a_host_without_network_answers_loopback() -> None:
    def route_to(family: int, far: str) -> str:
        raise OSError("Network is unreachable")

    assert lan_address(route_to) == "127.0.0.1"


@pytest.mark.parametrize(
    ("listening", "url"),
    [
        (Listening("HTTP", "http", "", 8080), "http://192.168.1.20:8080"),
        (Listening("HTTP", "http", "::", 80, "/video"), "http://192.168.1.20/video"),
        (Listening("RTMP", "rtmp", "", 1935), "rtmp://192.168.1.20"),
        (Listening("RTMPS", "rtmps", "2001:db8::1", 1936), "rtmps://[2001:db8::1]:1936"),
        (Listening("HTTPS", "https", "10.0.0.1", 443), "https://10.0.0.1"),
    ],
)
def test_the_url_of_a_listener_names_an_address_that_can_be_reached(
    listening: Listening, url: str
) -> None:
    assert listening.url("192.168.1.20") == url
