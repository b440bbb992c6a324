"""What hostile clients do: each misdeed is one connection, over TCP or UDP, that never behaves."""

import asyncio
import contextlib
import os
import random
import ssl
import struct
from collections.abc import Callable, Coroutine
from typing import Any, Final

from streamserver.webrtc import stun
from tests.endpoints.rtmp_client import message, number, string
from tests.webrtc.offers import CHROMIUM_PLAY

__all__ = ["MISDEEDS", "Ports", "attack"]

Ports = dict[str, int]
"""Where ``rtmp``, ``rtmps``, ``http``, ``https`` and ``webrtc`` are on 127.0.0.1."""

_MIB: Final = 1024 * 1024
_HANDSHAKE: Final = b"\x03" + bytes(2 * 1536)
_UNASKED: Final = _HANDSHAKE + message(6, 9, 0, 1, bytes(8 * _MIB - 1))[:300_000]
_TINY: Final = _HANDSHAKE + message(6, 9, 0, 1, b"") + b"\xc6" * 500_000
_CONNECT: Final = message(
    3, 20, 0, 0,
    string("connect") + number(1) + b"\x03\x00\x03app" + string("live") + b"\0\0\x09",
)  # fmt: skip

Writer = asyncio.StreamWriter
Misdeed = Callable[[Writer], Coroutine[Any, Any, None]]


async def _nothing(writer: Writer) -> None:
    """Says nothing."""


async def _garbage(writer: Writer) -> None:
    writer.write(random.randbytes(random.randrange(1, 4000)))


# ---- RTMP


async def _half_handshake(writer: Writer) -> None:
    writer.write(b"\x03" + bytes(random.randrange(1536)))


async def _trickle(writer: Writer) -> None:
    writer.write(b"\x03")
    for _ in range(200):
        writer.write(b"\0")
        await asyncio.sleep(0.2)


async def _unasked_media(writer: Writer) -> None:
    """A whole handshake, and then media that nobody asked for, in messages of 8 MiB."""
    writer.write(_UNASKED)


async def _tiny_chunks(writer: Writer) -> None:
    """Empty messages, each of which costs a byte to send."""
    writer.write(_TINY)


async def _tiny_control(writer: Writer) -> None:
    """Connects well, and then asks for a pong half a million times."""
    ping = message(2, 4, 0, 0, struct.pack(">HI", 6, 0))
    writer.write(_HANDSHAKE + _CONNECT)
    for _ in range(20):
        writer.write(ping * 2_000)
        await asyncio.sleep(0.2)


# ---- HTTP


async def _half_request(writer: Writer) -> None:
    writer.write(b"GET /hls/live/steady/index.m3u8 HTTP/1.1\r\nHost: a\r\n")


async def _long_head(writer: Writer) -> None:
    writer.write(b"GET / HTTP/1.1\r\n")
    for at in range(200):
        writer.write(b"X-%d: %s\r\n" % (at, b"a" * 200))
        await asyncio.sleep(0.1)


async def _long_body(writer: Writer) -> None:
    writer.write(b"POST /whip/live/x HTTP/1.1\r\nHost: a\r\nContent-Length: 100000000\r\n\r\n")
    for _ in range(100):
        writer.write(bytes(20_000))
        await asyncio.sleep(0.1)


async def _unread(writer: Writer) -> None:
    """Asks for everything at once, and reads nothing."""
    writer.write(b"GET /hls/live/steady/index.m3u8 HTTP/1.1\r\nHost: a\r\n\r\n" * 50)


def _post(path: str, offer: bytes) -> bytes:
    head = f"POST {path} HTTP/1.1\r\nHost: a\r\nContent-Type: application/sdp\r\n"
    return head.encode() + b"Content-Length: %d\r\n\r\n" % len(offer) + offer


async def _large_offer(writer: Writer) -> None:
    """A megabyte of description."""
    line = b"a=candidate:1 1 udp 1 127.0.0.1 9 typ host\r\n"
    writer.write(_post("/whep/live/steady", b"v=0\r\n" + line * (_MIB // len(line))))


async def _many_lines(writer: Writer) -> None:
    """Five hundred m-lines, again and again."""
    offer = b"v=0\r\n" + b"m=video 9 UDP/TLS/RTP/SAVPF 96\r\na=mid:1\r\n" * 500
    for _ in range(20):
        writer.write(_post("/whip/live/x", offer))
        await asyncio.sleep(0.5)


# ---- TLS


def _hello() -> bytes:
    """The first flight of a client."""
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    client = context.wrap_bio(incoming, outgoing, server_hostname="localhost")
    with contextlib.suppress(ssl.SSLWantReadError):
        client.do_handshake()
    return outgoing.read()


_HELLO: Final = _hello()


async def _half_hello(writer: Writer) -> None:
    writer.write(_HELLO[: len(_HELLO) // 2])


async def _half_tls(writer: Writer) -> None:
    """Makes the server do its part of a handshake, which is the dear one, and answers nothing."""
    writer.write(_HELLO)


async def _tls_trickle(writer: Writer) -> None:
    for at in range(len(_HELLO)):
        writer.write(_HELLO[at : at + 1])
        await asyncio.sleep(0.1)


# ---- WebRTC

_DTLS_HELLO: Final = bytes.fromhex("16fefd0000000000000000003001000024000000000000002400") + bytes(
    37
)


async def _false_viewer(writer: Writer, reader: asyncio.StreamReader, port: int) -> None:
    """Is let in to watch, and then shows the wrong password and the wrong certificate."""
    writer.write(_post("/whep/live/steady", CHROMIUM_PLAY.encode()))
    answer = await reader.readuntil(b"a=ice-ufrag:")
    answer = await reader.readuntil(b"\r\n")
    name = answer.strip() + b":load"
    transport, _ = await asyncio.get_running_loop().create_datagram_endpoint(
        asyncio.DatagramProtocol, remote_addr=("127.0.0.1", port)
    )
    try:
        await _flood(transport, lambda: _check(name))
    finally:
        transport.close()


async def _tcp_garbage(writer: Writer) -> None:
    for _ in range(100):
        writer.write(struct.pack(">H", 200) + random.randbytes(200))
        await asyncio.sleep(0.1)


async def _flood(transport: asyncio.DatagramTransport, make: Callable[[], bytes]) -> None:
    for _ in range(200):
        for _ in range(5):
            transport.sendto(make())
        await asyncio.sleep(0.1)


def _noise() -> bytes:
    return random.randbytes(random.randrange(1, 1500))


def _false_media() -> bytes:
    return b"\x80\x66" + random.randbytes(1100)


def _check(name: bytes) -> bytes:
    """Signed with a password that is nobody's."""
    return stun.request(
        os.urandom(12), name, b"x" * 24, priority=1, controlling=1, use_candidate=True
    )


def _false_check() -> bytes:
    """To nobody."""
    return _check(b"%016x:load" % random.getrandbits(64))


def _early_hello() -> bytes:
    """DTLS from an address that has shown no check."""
    return _DTLS_HELLO


_TCP: Final[tuple[tuple[str, Misdeed], ...]] = (
    ("rtmp", _nothing), ("rtmp", _garbage), ("rtmp", _half_handshake), ("rtmp", _trickle),
    ("rtmp", _unasked_media), ("rtmp", _tiny_chunks), ("rtmp", _tiny_control),
    ("http", _nothing), ("http", _garbage), ("http", _half_request), ("http", _long_head),
    ("http", _long_body), ("http", _unread), ("http", _large_offer), ("http", _many_lines),
    ("https", _nothing), ("https", _garbage), ("https", _half_hello), ("https", _half_tls),
    ("rtmps", _tls_trickle), ("rtmps", _half_tls), ("webrtc", _nothing), ("webrtc", _tcp_garbage),
)  # fmt: skip
"""Each with the port that it is done to."""

_UDP: Final = (_noise, _false_media, _false_check, _early_hello)
"""What is sent to the port of WebRTC."""

MISDEEDS: Final = (
    *(f"{where} {how.__name__}" for where, how in _TCP),
    *(f"udp {make.__name__}" for make in _UDP),
    f"http {_false_viewer.__name__}",
)
"""Their names, for choosing some."""


async def attack(ports: Ports, at: int, hold_s: float) -> int:
    """Does the misdeed number ``at``, for so long at most; answers 1 when it was let connect."""
    if len(_TCP) <= at < len(_TCP) + len(_UDP):
        return await _attack_udp(ports["webrtc"], _UDP[at - len(_TCP)], hold_s)
    where, misdeed = _TCP[at] if at < len(_TCP) else ("http", _nothing)
    try:
        reader, writer = await asyncio.open_connection("127.0.0.1", ports[where], limit=4096)
    except OSError:
        return 0
    work: Coroutine[Any, Any, None] = misdeed(writer)
    if at >= len(_TCP):
        work.close()
        work = _false_viewer(writer, reader, ports["webrtc"])
    await _carry_out(writer, work, hold_s)
    return 1


async def _carry_out(writer: Writer, work: Coroutine[Any, Any, None], hold_s: float) -> None:
    task = asyncio.ensure_future(work)
    # A write to what the server has closed is no matter here.
    with contextlib.suppress(OSError, TimeoutError):
        async with asyncio.timeout(hold_s):
            while not writer.is_closing() and not task.done():
                await asyncio.sleep(0.1)
            task.cancel()
            await asyncio.sleep(hold_s)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    writer.transport.abort()


async def _attack_udp(port: int, make: Callable[[], bytes], hold_s: float) -> int:
    transport, _ = await asyncio.get_running_loop().create_datagram_endpoint(
        asyncio.DatagramProtocol, remote_addr=("127.0.0.1", port)
    )
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(hold_s):
            await _flood(transport, make)
    transport.close()
    return 1
