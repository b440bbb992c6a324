"""The one port: who is let in, and what strangers cost."""

import asyncio
import gc
import os
import socket
import struct
import weakref

import pytest

from streamserver.errors import ConfigError, LimitError, LocalProtocolError, UnavailableError
from streamserver.webrtc.peer import Peer
from tests.fakes import FakeClock
from tests.webrtc.client import WAIT_S, Recorder, WireClient, listening, until


async def test_checks_with_a_wrong_password_are_counted_and_not_answered():
    async with listening() as mux:
        client = WireClient()
        peer = mux.open(Recorder())
        await client.open_udp(mux.port)
        for _ in range(50):
            client.send(client.request(peer, password="w" * 32))
            client.send(client.request(peer, username="nobody:test"))
        await until(lambda: mux.stats.stun_bad + mux.stats.stun_unknown == 100)
        assert (mux.stats.stun_bad, mux.stats.stun_unknown) == (50, 50)
        assert peer.pair is None
        await client.check(peer)
        assert mux.stats.stun_answered == 1
        assert client.answers.empty()
        client.vanish()


async def test_a_handshake_before_ice_and_garbage_reach_nobody():
    hello = bytes((22, 254, 253)) + bytes(60)
    async with listening() as mux:
        client, recorder = WireClient(), Recorder()
        peer = mux.open(recorder)
        client.describe_to(peer)
        await client.open_udp(mux.port)
        strange = [hello, b"\x80" + bytes(40), b"\xff" * 30, b"", b"\x45\x00" + bytes(8)]
        strange += [os.urandom(size) for size in (1, 2, 20, 500, 3000)]
        for data in strange:
            client.send(data)
        await client.check(peer)
        assert mux.stats.received >= len(strange)
        assert not recorder.is_connected.is_set()
        # And from a valid address they do no harm either.
        for data in [hello, *(bytes((first,)) + os.urandom(80) for first in range(256))]:
            client.send(data)
        await client.shake_hands(peer)
        await asyncio.wait_for(recorder.is_connected.wait(), WAIT_S)
        for first in range(256):
            client.send(bytes((first,)) + os.urandom(80))
        await client.check(peer)
        assert not recorder.is_closed.is_set()
        assert mux.stats.refused > 0
        await client.close()


def is_reached(peer: Peer) -> bool:
    return peer.pair is not None


async def test_a_turn_of_the_loop_takes_few_handshakes_and_no_datagram_is_lost(
    monkeypatch: pytest.MonkeyPatch,
):
    taken: list[int] = []
    monkeypatch.setattr(Peer, "on_dtls", lambda self, datagram, now_ns: taken.append(len(datagram)))
    async with listening() as mux:
        client, other = WireClient(), WireClient()
        peer, last = mux.open(Recorder()), mux.open(Recorder())
        await client.open_udp(mux.port)
        await other.open_udp(mux.port)
        await client.check(peer)
        (udp,) = mux._udp
        for size in range(30):
            client.send(bytes((22,)) + bytes(size))
        mux._read(udp)
        assert len(taken) == 8
        # Another peer's check, behind all of them, is answered.
        await other.check(last)
        assert taken == list(range(1, 31))
        client.vanish()
        other.vanish()


async def test_an_address_in_use_cannot_be_taken_over():
    clock = FakeClock()
    async with listening(clock) as mux:
        client = WireClient()
        first, second = mux.open(Recorder()), mux.open(Recorder())
        await client.open_udp(mux.port)
        await client.check(first)
        client.send(client.request(second))
        await until(lambda: mux.stats.unknown == 1)
        assert is_reached(first)
        assert not is_reached(second)
        clock.advance(s=5)
        await client.check(second)
        assert is_reached(second)
        first.close("over")
        client.vanish()


async def test_the_answer_leaves_from_the_address_that_was_asked():
    async with listening(host="", public_addresses=("127.0.0.1",)) as mux:
        peer = mux.open(Recorder())
        for host in ("127.0.0.1", "127.0.0.2", "::1"):
            # A connected socket takes no answer from any other address.
            client = await WireClient().open_udp(mux.port, host)
            answer = await client.check(peer)
            assert answer.attributes["XOR-MAPPED-ADDRESS"] == client.address
            assert peer.pair is not None
            assert peer.pair.local == (host, mux.port)
            client.vanish()


@pytest.mark.parametrize("over", ["udp", "tcp"])
async def test_ipv6_connects(over):
    async with listening(host="::1") as mux:
        recorder, client = Recorder(), WireClient()
        peer = mux.open(recorder)
        await (client.open_udp if over == "udp" else client.open_tcp)(mux.port, "::1")
        await client.connect(peer)
        await asyncio.wait_for(recorder.is_connected.wait(), WAIT_S)
        assert [line.split()[4] for line in peer.candidates] == ["::1", "::1"]
        await client.close()


async def test_a_connection_that_begins_with_anything_else_is_closed():
    async with listening() as mux:
        peer = mux.open(Recorder())
        for first in (b"\x16\xfe\xfd" + bytes(20), b"\x80" + bytes(20), b"GET / HTTP/1.1"):
            client = await WireClient().open_tcp(mux.port)
            client.send(first)
            await asyncio.wait_for(client.ended.wait(), WAIT_S)
        client = await WireClient().open_tcp(mux.port)
        client.send(client.request(peer, username="nobody:x"))
        await asyncio.wait_for(client.ended.wait(), WAIT_S)
        assert mux.stats.tcp_refused == 4


async def test_a_frame_that_is_too_long_ends_the_connection():
    async with listening() as mux:
        peer = mux.open(Recorder())
        client = await WireClient().open_tcp(mux.port)
        await client.check(peer)
        client.send(bytes(2049))
        await asyncio.wait_for(client.ended.wait(), WAIT_S)


async def test_connections_that_say_nothing_are_closed_after_10_seconds_or_when_too_many():
    clock = FakeClock()
    async with listening(clock) as mux:
        clients = [await WireClient().open_tcp(mux.port) for _ in range(3)]
        await until(lambda: len(mux._strangers) == 3)
        clock.advance(s=9)
        mux.tick(clock.monotonic_ns())
        assert mux.stats.tcp_refused == 0
        clock.advance(s=1)
        mux.tick(clock.monotonic_ns())
        for client in clients:
            await asyncio.wait_for(client.ended.wait(), WAIT_S)
        first = await WireClient().open_tcp(mux.port)
        others = [await WireClient().open_tcp(mux.port) for _ in range(256)]
        await asyncio.wait_for(first.ended.wait(), WAIT_S)
        assert mux.stats.tcp_refused == 4
        for client in others:
            client.vanish()


async def test_frames_may_come_in_any_pieces():
    async with listening() as mux:
        peer = mux.open(Recorder())
        client = await WireClient().open_tcp(mux.port)
        data = client.request(peer)
        for byte in struct.pack("!H", 0) + struct.pack("!H", len(data)) + data:
            client._transport.write(bytes((byte,)))
            await asyncio.sleep(0)
        answer, _ = await asyncio.wait_for(client.answers.get(), WAIT_S)
        assert answer.check_message_integrity(peer.password.encode())
        client.vanish()


async def test_peers_that_are_opened_and_dropped_leave_nothing_behind():
    async with listening() as mux:
        refs = []
        for count in range(300):
            recorder, client = Recorder(), WireClient()
            peer = mux.open(recorder)
            refs.append(weakref.ref(peer))
            if count % 30 == 0:
                await (client.open_udp if count % 60 else client.open_tcp)(mux.port)
                await client.connect(peer)
                await client.close()
                await asyncio.wait_for(recorder.is_closed.wait(), WAIT_S)
            peer.close("dropped")
            del peer
        gc.collect()
        assert mux.peers == 0
        assert not mux._by_ufrag
        assert not mux._strangers
        assert not any(udp.peers for udp in mux._udp)
        assert not any(ref() for ref in refs)


async def test_peers_are_bounded():
    async with listening(max_peers=2) as mux:
        mux.open(Recorder())
        mux.open(Recorder()).close("over")
        mux.open(Recorder())
        with pytest.raises(LimitError):
            mux.open(Recorder())


async def test_closing_the_port_closes_its_peers():
    recorder = Recorder()
    async with listening() as mux:
        mux.open(recorder)
    assert recorder.reasons == ["the server is stopping"]
    with pytest.raises(LocalProtocolError):
        mux.open(recorder)


async def test_a_taken_port_is_explained():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
        taken.bind(("127.0.0.1", 0))
        with pytest.raises(UnavailableError, match=r"ss -lunp .* --set webrtc.port"):
            async with listening(port=taken.getsockname()[1]):
                pass
    with pytest.raises(ConfigError, match="no address"):
        async with listening(host="example.net"):
            pass
    with pytest.raises(UnavailableError, match="not an address of this host"):
        async with listening(host="192.0.2.199"):
            pass


async def test_candidates_name_the_public_addresses_over_udp_and_tcp():
    async with listening(public_addresses=("198.51.100.7", "2001:db8::1")) as mux:
        peer = mux.open(Recorder())
        words = [line.split() for line in peer.candidates]
        assert [(one[2], one[4], int(one[5])) for one in words] == [
            ("udp", "198.51.100.7", mux.port),
            ("tcp", "198.51.100.7", mux.port),
        ]
    async with listening(tcp=False) as mux:
        assert [line.split()[2] for line in mux.candidates] == ["udp"]


async def test_a_certificate_is_renewed_for_newcomers_after_a_week():
    clock = FakeClock()
    async with listening(clock) as mux:
        first = mux.open(Recorder())
        clock.advance(s=6 * 24 * 3600)
        assert mux.open(Recorder()).fingerprint == first.fingerprint
        clock.advance(s=24 * 3600)
        assert mux.open(Recorder()).fingerprint != first.fingerprint
