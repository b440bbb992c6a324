import pytest
from aiortc.sdp import candidate_from_sdp

from streamserver.net.resolver import ResolveError
from streamserver.webrtc.candidates import candidates, public_addresses

BOTH = ["0.0.0.0", "::"]


class Names:
    async def resolve(self, host: str) -> tuple[str, ...]:
        known = {"media.example.net": ("198.51.100.7", "2001:db8::7")}
        if host in known:
            return known[host]
        if host[0].isdigit() or ":" in host:
            return (host,)
        raise ResolveError(f"there is no host {host}")


async def learn(wanted, bound=BOTH, interfaces=("192.0.2.2", "fd00::2")):
    return await public_addresses(wanted, bound, Names(), lambda: list(interfaces))


async def test_auto_stands_for_the_interfaces_of_this_host():
    assert await learn(["auto"]) == (["192.0.2.2", "fd00::2"], [])
    assert await learn(["auto"], interfaces=()) == (["127.0.0.1", "::1"], [])
    assert await learn(["auto"], bound=["127.0.0.1"]) == (["127.0.0.1"], [])


async def test_addresses_and_names_keep_their_order_and_none_comes_twice():
    found, failures = await learn(["203.0.113.9", "media.example.net", "auto", "198.51.100.7"])
    assert found == ["203.0.113.9", "198.51.100.7", "2001:db8::7", "192.0.2.2", "fd00::2"]
    assert not failures


async def test_an_address_without_a_socket_of_its_family_is_left_out():
    assert await learn(["media.example.net"], bound=["0.0.0.0"]) == (["198.51.100.7"], [])


async def test_a_name_that_is_not_known_is_told_and_the_others_stay():
    found, failures = await learn(["nowhere.example", "203.0.113.9"])
    assert found == ["203.0.113.9"]
    assert failures == ["there is no host nowhere.example"]


async def test_no_more_than_eight_addresses_are_printed():
    found, _ = await learn([f"203.0.113.{index}" for index in range(20)])
    assert len(found) == 8


@pytest.mark.parametrize("tcp", [False, True])
def test_another_implementation_reads_the_lines(tcp):
    lines = candidates(["192.0.2.2", "2001:db8::7"], 8189, tcp=tcp)
    parsed = [candidate_from_sdp(line) for line in lines]
    assert [(one.protocol, one.ip, one.port, one.tcpType) for one in parsed] == [
        ("udp", "192.0.2.2", 8189, None),
        ("udp", "2001:db8::7", 8189, None),
        ("tcp", "192.0.2.2", 8189, "passive"),
        ("tcp", "2001:db8::7", 8189, "passive"),
    ][: 4 if tcp else 2]
    priorities = [one.priority for one in parsed]
    assert priorities == sorted(priorities, reverse=True)
    assert priorities[0] == 2130706431
    assert len({one.foundation for one in parsed}) == len(parsed)
