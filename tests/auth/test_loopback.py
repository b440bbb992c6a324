import pytest

from streamserver.auth import is_loopback_request


def local(
    peer_ip: str = "127.0.0.1",
    host: str | None = "127.0.0.1:8080",
    proxies: bool = False,
    **headers: str,
) -> bool:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return is_loopback_request(peer_ip, named, host, trusted_proxies_configured=proxies)


@pytest.mark.parametrize(
    ("peer", "host"),
    [
        ("127.0.0.1", "127.0.0.1:8080"),
        ("127.0.0.1", "localhost"),
        ("127.0.0.1", "LOCALHOST:1935"),
        ("127.0.0.1", "localhost."),
        ("::1", "[::1]:8080"),
        ("::ffff:127.0.0.1", "127.0.0.1"),
        ("127.0.0.5", "127.0.0.5:80"),
        ("127.0.0.1", "[::ffff:127.0.0.1]:80"),
    ],
)
def test_a_request_from_this_machine_to_a_loopback_host_is_local(peer: str, host: str) -> None:
    assert local(peer, host)


def test_a_request_from_elsewhere_is_not() -> None:
    assert not local("192.168.1.20", "localhost")


@pytest.mark.parametrize(
    "host",
    [
        None,
        "",
        ":8080",
        "example.org",
        "evil.example:8080",
        "localhost.evil.example",
        "127.0.0.1.evil.example",
        "192.168.1.20:8080",
        "user@localhost",
        "localhost:80:80",
        "[::1",
        "[localhost]",
        "0.0.0.0",
        "127.0.0.1, evil.example",
    ],
)
def test_another_host_name_is_not_local_since_dns_can_be_rebound(host: str | None) -> None:
    assert not local(host=host)


@pytest.mark.parametrize(
    "name",
    [
        "Forwarded",
        "X_Forwarded_For",
        "x_forwarded_host",
        "X_FORWARDED_PROTO",
        "X_Forwarded_X",
        "Via",
    ],
)
def test_a_trace_of_a_proxy_makes_it_foreign(name: str) -> None:
    headers = {name.replace("_", "-"): ""}
    assert not is_loopback_request(
        "127.0.0.1", headers, "localhost", trusted_proxies_configured=False
    )


def test_a_configured_trusted_proxy_makes_everything_foreign() -> None:
    assert not local(proxies=True)


@pytest.mark.parametrize("origin", ["http://127.0.0.1:8080", "HTTP://127.0.0.1:8080"])
def test_a_page_of_our_own_is_local(origin: str) -> None:
    assert local(Origin=origin)


@pytest.mark.parametrize(
    "origin",
    [
        "null",
        "",
        "https://evil.example",
        "http://127.0.0.1:3000",
        "http://localhost:8080",
        "http://127.0.0.1",
        "file://127.0.0.1:8080",
        "127.0.0.1:8080",
    ],
)
def test_a_page_of_another_origin_is_foreign(origin: str) -> None:
    assert not local(Origin=origin)


def test_other_headers_do_not_matter() -> None:
    assert local(User_Agent="curl", Accept="*/*")
