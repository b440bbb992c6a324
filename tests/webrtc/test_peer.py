"""Peers over real sockets, with aiortc's own DTLS and SRTP on the other side."""

import asyncio
import gc
import struct
import weakref

import pytest

from streamserver.errors import LocalProtocolError, RemoteProtocolError
from streamserver.webrtc.srtp import Arena
from tests.fakes import FakeClock
from tests.webrtc.client import WAIT_S, Recorder, WireClient, listening, until

RTCP = struct.pack("!BBHI", 0x80, 201, 1, 5)


def rtp(sequence: int, payload: bytes = b"payload") -> bytes:
    return struct.pack("!BBHII", 0x80, 96, sequence, 1000, 77) + payload


async def wait(event: asyncio.Event) -> None:
    await asyncio.wait_for(event.wait(), WAIT_S)


async def exchange_media(client: WireClient, recorder: Recorder, peer) -> None:
    await client.send_media(rtp(1))
    assert await asyncio.wait_for(recorder.rtp_packets.get(), WAIT_S) == rtp(1)
    await client.send_media(RTCP)
    assert await asyncio.wait_for(recorder.rtcp_packets.get(), WAIT_S) == RTCP
    assert peer.send_rtp(rtp(9))
    assert await asyncio.wait_for(client.rtp.get(), WAIT_S) == rtp(9)
    peer.send_rtcp(RTCP)
    assert await asyncio.wait_for(client.rtcp.get(), WAIT_S) == RTCP


@pytest.mark.parametrize("over", ["udp", "tcp"])
@pytest.mark.parametrize("setup", ["actpass", "active", "passive"])
async def test_media_flows_both_ways_over_either_transport_and_with_either_side_of_the_handshake(
    over, setup
):
    async with listening() as mux:
        recorder, client = Recorder(), WireClient()
        peer = mux.open(recorder)
        await (client.open_udp if over == "udp" else client.open_tcp)(mux.port)
        client.describe_to(peer, setup=setup)
        await client.check(peer)
        await client.shake_hands(peer, server=setup == "passive")
        await wait(recorder.is_connected)
        await exchange_media(client, recorder, peer)
        assert peer.pair is not None
        assert (peer.pair.protocol, peer.pair.remote) == (over, client.address)
        await client.close()
        await wait(recorder.is_closed)
        assert recorder.reasons == ["the peer closed the connection"]
        assert mux.peers == 0


async def test_a_certificate_that_was_not_described_never_gets_to_media():
    async with listening() as mux:
        recorder, client = Recorder(), WireClient()
        peer = mux.open(recorder)
        await client.open_udp(mux.port)
        wrong = [("sha-256", ":".join(["00"] * 32))]
        peer.describe(ufrag="test", password="t" * 22, fingerprints=wrong, setup="actpass")
        await client.check(peer)
        await client.shake_hands(peer)
        await wait(recorder.is_closed)
        assert recorder.reasons == ["the certificate is not the one of the description"]
        assert not recorder.is_connected.is_set()
        assert mux.stats.handshakes_failed == 1
        await client.close()


async def test_of_several_fingerprints_the_strongest_hash_decides():
    async with listening() as mux:
        recorder, client = Recorder(), WireClient()
        peer = mux.open(recorder)
        await client.open_udp(mux.port)
        named = [*client.fingerprints, ("sha-1", "00"), ("sha-512", ":".join(["11"] * 64))]
        peer.describe(ufrag="t", password="t", fingerprints=named, setup="active")
        await client.check(peer)
        await client.shake_hands(peer)
        await wait(recorder.is_connected)
        await client.close()


@pytest.mark.parametrize("setup", ["holdconn", "", "x" * 1000])
async def test_a_description_that_cannot_lead_to_a_handshake_is_refused(setup):
    async with listening() as mux:
        peer = mux.open(Recorder())
        with pytest.raises(RemoteProtocolError):
            peer.describe(ufrag="t", password="t", fingerprints=[("sha-256", "00")], setup=setup)
        with pytest.raises(RemoteProtocolError):
            peer.describe(ufrag="t", password="t", fingerprints=[], setup="actpass")


async def test_certificate_and_side_cannot_change_once_the_handshake_began():
    async with listening() as mux:
        recorder, client = Recorder(), WireClient()
        peer = mux.open(recorder)
        await client.open_udp(mux.port)
        await client.connect(peer)
        await wait(recorder.is_connected)
        client.describe_to(peer)
        client.describe_to(peer, setup="active")
        with pytest.raises(RemoteProtocolError):
            client.describe_to(peer, setup="passive")
        with pytest.raises(RemoteProtocolError):
            WireClient().describe_to(peer)
        await client.close()


async def test_a_handshake_that_begins_before_the_description_is_repeated_and_succeeds():
    async with listening() as mux:
        recorder, client = Recorder(), WireClient()
        peer = mux.open(recorder)
        await client.open_udp(mux.port)
        await client.check(peer)
        shaking = asyncio.create_task(client.shake_hands(peer))
        await until(lambda: mux.stats.early)
        client.describe_to(peer)
        await shaking
        await wait(recorder.is_connected)
        await client.close()


async def test_a_peer_moves_to_another_address_by_nominating_it():
    async with listening() as mux:
        recorder, client = Recorder(), WireClient()
        peer = mux.open(recorder)
        await client.open_udp(mux.port)
        await client.connect(peer)
        await wait(recorder.is_connected)
        before = client.address
        await client.open_udp(mux.port)
        # Media from an address without a check is nobody's.
        unknown = mux.stats.unknown
        await client.send_media(rtp(1))
        await until(lambda: mux.stats.unknown > unknown)
        await client.check(peer)
        await exchange_media_from(client, recorder, peer, 2)
        await client.open_tcp(mux.port)
        await client.check(peer)
        await exchange_media_from(client, recorder, peer, 3)
        assert peer.pair is not None
        assert peer.pair.protocol == "tcp"
        assert peer.pair.remote != before
        await client.close()
        await wait(recorder.is_closed)


async def exchange_media_from(client, recorder, peer, sequence):
    await client.send_media(rtp(sequence))
    assert await asyncio.wait_for(recorder.rtp_packets.get(), WAIT_S) == rtp(sequence)
    assert peer.send_rtp(rtp(sequence))
    assert await asyncio.wait_for(client.rtp.get(), WAIT_S) == rtp(sequence)


async def test_media_goes_on_during_a_restart_of_ice():
    async with listening() as mux:
        recorder, client = Recorder(), WireClient()
        peer = mux.open(recorder)
        await client.open_udp(mux.port)
        await client.connect(peer)
        await wait(recorder.is_connected)
        ufrag, password = peer.ufrag, peer.password
        peer.restart()
        assert (peer.ufrag, peer.password) != (ufrag, password)
        await exchange_media_from(client, recorder, peer, 1)
        client.send(client.request(peer, username=f"{ufrag}:test", password=password))
        answer, _ = await asyncio.wait_for(client.answers.get(), WAIT_S)
        assert answer.check_message_integrity(password.encode())
        await client.open_udp(mux.port)
        await client.check(peer)
        await exchange_media_from(client, recorder, peer, 2)
        client.send(client.request(peer, username=f"{ufrag}:test", password=password))
        await client.check(peer)
        assert mux.stats.stun_bad + mux.stats.stun_unknown == 1
        await client.close()


async def test_packets_in_a_row_arrive_one_by_one():
    for over in ("udp", "tcp"):
        async with listening() as mux:
            recorder, client = Recorder(), WireClient()
            peer = mux.open(recorder)
            await (client.open_udp if over == "udp" else client.open_tcp)(mux.port)
            await client.connect(peer)
            await wait(recorder.is_connected)
            # 100 packets are more than one message can be split into.
            packets = [rtp(sequence, bytes(1000)) for sequence in range(100)]
            packets.append(rtp(100, b"the last is shorter"))
            segment, total = protect_row(peer, packets)
            assert peer.send_segments(total, segment)
            received = [
                await asyncio.wait_for(client.rtp.get(), WAIT_S) for _ in range(len(packets))
            ]
            assert received == packets
            assert mux.stats.unsegmented == 0
            await client.close()


def protect_row(peer, packets) -> tuple[int, memoryview]:
    out, arena, at = peer.srtp, Arena(150_000), 0
    for packet in packets:
        arena.data[at : at + len(packet)] = packet
        at += len(packet) + out.overhead
    size = out.protect_run(arena, 0, [len(packet) for packet in packets])
    return len(packets[0]) + out.overhead, arena.view[:size]


async def test_nothing_is_sent_without_a_connection():
    async with listening() as mux:
        peer = mux.open(Recorder())
        peer.send_rtcp(RTCP)
        assert not peer.send_rtp(rtp(1))
        assert not peer.send_segments(memoryview(bytes(100)), 50)
        assert peer.pair is None
        assert not peer.connected


async def test_a_packet_larger_than_any_path_is_a_bug_of_ours():
    async with listening() as mux:
        recorder, client = Recorder(), WireClient()
        peer = mux.open(recorder)
        await client.open_udp(mux.port)
        await client.connect(peer)
        await wait(recorder.is_connected)
        with pytest.raises(LocalProtocolError):
            peer.send_rtp(rtp(1, bytes(2040)))
        with pytest.raises(LocalProtocolError):
            peer.send_rtcp(RTCP + bytes(2040))
        await client.close()


class Failing(Recorder):
    def __init__(self, error: Exception) -> None:
        super().__init__()
        self.error = error

    def rtp(self, packet: bytes, now_ns: int) -> None:
        raise self.error


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (RemoteProtocolError("no such payload"), "no such payload"),
        (ValueError("a bug"), "an error in the server"),
    ],
)
async def test_a_handler_that_fails_ends_its_own_peer_only(error, reason):
    async with listening() as mux:
        failing, other = Failing(error), Recorder()
        clients = [WireClient(), WireClient()]
        peers = [mux.open(failing), mux.open(other)]
        for client, peer in zip(clients, peers, strict=True):
            await client.open_udp(mux.port)
            await client.connect(peer)
        await wait(failing.is_connected)
        await clients[0].send_media(rtp(1))
        await wait(failing.is_closed)
        assert failing.reasons == [reason]
        await exchange_media_from(clients[1], other, peers[1], 5)
        for client in clients:
            await client.close()


async def test_closing_says_goodbye_frees_everything_and_tells_the_handler_once():
    async with listening() as mux:
        recorder, client = Recorder(), WireClient()
        peer = mux.open(recorder)
        await client.open_udp(mux.port)
        await client.connect(peer)
        await wait(recorder.is_connected)
        gone = weakref.ref(peer)
        task = client.dtls._task
        peer.close("kicked")
        peer.close("again")
        assert recorder.reasons == ["kicked"]
        assert mux.peers == 0
        assert not peer.send_rtp(rtp(1))
        assert task is not None
        await asyncio.wait([task])
        assert client.dtls.state == "closed"
        del peer
        gc.collect()
        assert gone() is None
        await client.close()


async def test_a_peer_that_vanishes_is_given_up_after_30_seconds():
    clock = FakeClock()
    async with listening(clock) as mux:
        recorder, client = Recorder(), WireClient()
        peer = mux.open(recorder)
        await client.open_udp(mux.port)
        await client.connect(peer)
        await wait(recorder.is_connected)
        clock.advance(s=20)
        await client.check(peer)
        clock.advance(s=29)
        mux.tick(clock.monotonic_ns())
        assert peer.connected
        clock.advance(s=1)
        mux.tick(clock.monotonic_ns())
        assert recorder.reasons == ["no sign of life for 30 s"]
        assert mux.stats.expired == 1
        client.vanish()


async def test_a_peer_whose_connection_broke_has_10_seconds_to_come_back():
    clock = FakeClock()
    async with listening(clock) as mux:
        recorder, client = Recorder(), WireClient()
        peer = mux.open(recorder)
        await client.open_tcp(mux.port)
        await client.connect(peer)
        await wait(recorder.is_connected)
        await client.open_tcp(mux.port)
        await until(lambda: peer.pair is None)
        clock.advance(s=9)
        mux.tick(clock.monotonic_ns())
        await client.check(peer)
        clock.advance(s=9)
        mux.tick(clock.monotonic_ns())
        assert peer.connected
        client.vanish()
        await until(lambda: peer.pair is None)
        clock.advance(s=10)
        mux.tick(clock.monotonic_ns())
        assert recorder.reasons == ["the connection broke, and the peer did not come back"]


async def test_a_peer_that_does_not_connect_is_given_up_after_30_seconds():
    clock = FakeClock()
    async with listening(clock) as mux:
        recorder = Recorder()
        mux.open(recorder)
        clock.advance(s=29)
        mux.tick(clock.monotonic_ns())
        assert not recorder.reasons
        clock.advance(s=1)
        mux.tick(clock.monotonic_ns())
        assert recorder.reasons == ["not connected within 30 s"]
        assert mux.peers == 0


async def test_noted_candidates_are_bounded():
    async with listening() as mux:
        peer = mux.open(Recorder())
        for _ in range(1000):
            peer.add_candidate("1 1 udp 1 0e2f.local 5000 typ host")
        peer.add_candidate("")
        assert peer.candidates_noted == 64
