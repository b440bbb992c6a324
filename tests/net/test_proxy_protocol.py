from struct import pack

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamserver.errors import RemoteProtocolError
from streamserver.net.proxy_protocol import ProxyHeader, ProxyProtocolParser

SIGNATURE = b"\r\n\r\n\x00\r\nQUIT\n"
V4 = bytes([203, 0, 113, 9, 10, 0, 0, 1]) + pack("!HH", 4711, 1935)
V6 = bytes.fromhex("20010db8" + "00" * 11 + "01" + "20010db8" + "00" * 11 + "02") + pack(
    "!HH", 4711, 1935
)
MAPPED = bytes(10) + b"\xff\xff" + V4[:4] + bytes(10) + b"\xff\xff" + V4[4:8] + V4[8:]
TLV = b"\x04\x00\x03abc"
CLIENT = ("203.0.113.9", 4711)
SERVER = ("10.0.0.1", 1935)


def v2(payload: bytes, *, command: int = 0x21, family: int = 0x11) -> bytes:
    return SIGNATURE + pack("!BBH", command, family, len(payload)) + payload


HEADERS = {
    "v1 over IPv4": (
        b"PROXY TCP4 203.0.113.9 10.0.0.1 4711 1935\r\n",
        ProxyHeader(1, CLIENT, SERVER),
    ),
    "v1 over IPv6": (
        b"PROXY TCP6 2001:db8::1 2001:db8::2 4711 1935\r\n",
        ProxyHeader(1, ("2001:db8::1", 4711), ("2001:db8::2", 1935)),
    ),
    "v1 unknown": (b"PROXY UNKNOWN\r\n", ProxyHeader(1, None, None)),
    "v1 unknown with words": (b"PROXY UNKNOWN ffff::1 x y\r\n", ProxyHeader(1, None, None)),
    "v2 over IPv4": (v2(V4), ProxyHeader(2, CLIENT, SERVER)),
    "v2 with TLVs": (v2(V4 + TLV), ProxyHeader(2, CLIENT, SERVER)),
    "v2 over IPv6": (
        v2(V6, family=0x21),
        ProxyHeader(2, ("2001:db8::1", 4711), ("2001:db8::2", 1935)),
    ),
    "v2 with mapped addresses": (v2(MAPPED, family=0x21), ProxyHeader(2, CLIENT, SERVER)),
    "v2 local": (v2(V4, command=0x20), ProxyHeader(2, None, None)),
    "v2 local without addresses": (v2(b"", command=0x20, family=0), ProxyHeader(2, None, None)),
    "v2 over a Unix socket": (v2(bytes(216), family=0x31), ProxyHeader(2, None, None)),
}


@pytest.mark.parametrize(("wire", "header"), HEADERS.values(), ids=HEADERS)
@pytest.mark.parametrize("step", [1, 7, 4096])
def test_a_header_is_read_however_it_is_split(wire: bytes, header: ProxyHeader, step: int) -> None:
    parser = ProxyProtocolParser()
    stream = wire + b"\x03rest"
    answers = [parser.receive(stream[at : at + step]) for at in range(0, len(stream), step)]
    assert answers[-1] == parser.header == header
    assert all(answer is None for answer in answers[: (len(wire) - 1) // step])
    assert parser.remainder() == b"\x03rest"
    assert parser.remainder() == b""


def test_nothing_is_handed_on_before_the_header_is_complete() -> None:
    parser = ProxyProtocolParser()
    assert parser.receive(b"PROXY TCP4 203.0") is None
    assert parser.remainder() == b""


@pytest.mark.parametrize(
    "wire",
    [
        b"\x03",
        b"GET / HTTP/1.1\r\n",
        b"PROXX",
        b"PROXY \r\n",
        b"PROXY UDP4 203.0.113.9 10.0.0.1 4711 1935\r\n",
        b"PROXY TCP4 203.0.113.9 10.0.0.1 4711\r\n",
        b"PROXY TCP4 203.0.113.9 10.0.0.1 4711 1935 x\r\n",
        b"PROXY TCP4 203.0.113.9  10.0.0.1 4711 1935\r\n",
        b"PROXY TCP4 2001:db8::1 10.0.0.1 4711 1935\r\n",
        b"PROXY TCP6 203.0.113.9 10.0.0.1 4711 1935\r\n",
        b"PROXY TCP6 fe80::1%lo fe80::2 4711 1935\r\n",
        b"PROXY TCP4 203.0.113.9 10.0.0.1 65536 1935\r\n",
        b"PROXY TCP4 203.0.113.9 10.0.0.1 -1 1935\r\n",
        b"PROXY TCP4 203.0.113.9 10.0.0.1 047 1935\r\n",
        b"PROXY TCP4 203.0.113.999 10.0.0.1 47 1935\r\n",
        b"PROXY TCP4 \xff 10.0.0.1 47 1935\r\n",
        b"PROXY TCP4 " + b"1" * 107,
        v2(V4, command=0x11),
        v2(V4, command=0x22),
        v2(V4[:-1]),
        v2(V4, family=0x21),
        SIGNATURE + pack("!BBH", 0x21, 0x11, 65535),
    ],
)
def test_what_is_no_header_is_a_protocol_error(wire: bytes) -> None:
    with pytest.raises(RemoteProtocolError):
        ProxyProtocolParser().receive(wire)


@given(
    st.sampled_from([b"", b"PROXY ", b"PROXY TCP4 ", SIGNATURE, SIGNATURE + b"\x21\x11\x00\x0c"]),
    st.lists(st.binary(max_size=64), max_size=6),
)
def test_random_bytes_raise_only_a_protocol_error(start: bytes, pieces: list[bytes]) -> None:
    parser = ProxyProtocolParser()
    try:
        for piece in [start, *pieces]:
            parser.receive(piece)
    except RemoteProtocolError:
        pass
