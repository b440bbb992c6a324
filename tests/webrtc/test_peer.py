"""Peers over real sockets, with aiortc's own DTLS and SRTP on the other side."""

import asyncio
import struct

import pytest

from tests.webrtc.client import WAIT_S, Recorder, WireClient, listening

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
