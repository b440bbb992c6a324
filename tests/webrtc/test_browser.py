"""A whole `RTCPeerConnection`, with full ICE, against the transport and our descriptions."""

import asyncio
import struct

import pytest
from aiortc import RTCBundlePolicy

from streamserver.media.track import Codec
from streamserver.webrtc.channels import ChannelOpened
from streamserver.webrtc.describe import Local, write_answer
from streamserver.webrtc.mux import Mux
from streamserver.webrtc.negotiation import Agreement, agree_to_play, agree_to_publish
from streamserver.webrtc.peer import Peer
from streamserver.webrtc.sdp import read_description
from tests.webrtc.client import WAIT_S, Browser, EncodedTrack, Recorder, listening, until


async def signal(
    browser: Browser,
    mux: Mux,
    recorder: Recorder,
    *,
    play: bool = False,
    on_data_channel: ChannelOpened | None = None,
) -> tuple[Peer, Agreement]:
    """What WHIP and WHEP do, without HTTP."""
    offer = read_description(await browser.offer())
    if play:
        agreement = agree_to_play(offer, (Codec.VP8, Codec.OPUS))
    else:
        agreement = agree_to_publish(offer)
    peer = mux.open(recorder, on_data_channel=on_data_channel)
    remote = agreement.remote
    peer.describe(
        ufrag=remote.ufrag,
        password=remote.password,
        fingerprints=remote.fingerprints,
        setup=remote.setup,
    )
    for candidate in remote.candidates:
        peer.add_candidate(candidate)
    local = Local(
        ufrag=peer.ufrag,
        password=peer.password,
        fingerprint=peer.fingerprint,
        candidates=peer.candidates,
        setup=peer.setup,
    )
    await browser.accept(write_answer(agreement, local, session_id=1))
    await browser.wait_connected()
    await asyncio.wait_for(recorder.is_connected.wait(), WAIT_S)
    return peer, agreement


async def test_a_browser_publishes_frames_that_arrive_as_rtp():
    async with listening() as mux, Browser() as browser:
        recorder, audio = Recorder(), EncodedTrack("audio", 48_000)
        browser.publish(audio)
        peer, agreement = await signal(browser, mux, recorder)
        audio.push(b"an opus packet", 960)
        packet = await asyncio.wait_for(recorder.rtp_packets.get(), WAIT_S)
        assert packet[1] & 0x7F == agreement.media[0].payload_type
        assert packet.endswith(b"an opus packet")
        assert peer.pair is not None
        assert peer.pair.protocol == "udp"
        assert peer.bytes_in > len(packet)
        assert peer.candidates_noted == 1
    await asyncio.wait_for(recorder.is_closed.wait(), WAIT_S)
    assert recorder.reasons == ["the peer closed the connection"]


@pytest.mark.parametrize("bundle", RTCBundlePolicy)
async def test_a_browser_is_sent_what_was_protected_here(bundle: RTCBundlePolicy):
    # With MAX_BUNDLE, aiortc takes the candidates of the last section only.
    async with listening() as mux, Browser(bundle) as browser:
        recorder = Recorder()
        browser.play("video", "audio")
        peer, agreement = await signal(browser, mux, recorder, play=True)
        for line in agreement.media:
            head = struct.pack("!BBHII", 0x80, line.payload_type, 5, 9, line.ssrc)
            # aiortc throws away what comes before it has started its receivers.
            kind = line.kind.value
            await until(lambda: browser.listens(kind))  # noqa: B023
            assert peer.send_rtp(head + b"media of " + kind.encode())
            packet = await asyncio.wait_for(browser.received[kind].get(), WAIT_S)
            assert packet.payload == b"media of " + kind.encode()


@pytest.mark.parametrize("used", [False, True])
async def test_a_data_channel_that_nobody_uses_is_closed_and_media_goes_on(used):
    opened = []
    async with listening() as mux, Browser() as browser:
        recorder, audio = Recorder(), EncodedTrack("audio", 48_000)
        browser.publish(audio)
        channel = browser.talk("questions")
        seen: asyncio.Queue[str] = asyncio.Queue()
        channel.on("open", lambda: seen.put_nowait("open"))
        channel.on("close", lambda: seen.put_nowait("close"))
        channel.on("message", lambda text: seen.put_nowait(text))

        def answer(theirs) -> None:
            opened.append(theirs.label)
            theirs.on("message", lambda text: theirs.send(text.upper()))

        await signal(browser, mux, recorder, on_data_channel=answer if used else None)
        assert await asyncio.wait_for(seen.get(), WAIT_S) == "open"
        if used:
            channel.send("hello")
            assert await asyncio.wait_for(seen.get(), WAIT_S) == "HELLO"
            assert opened == ["questions"]
        else:
            assert await asyncio.wait_for(seen.get(), WAIT_S) == "close"
        audio.push(b"still here", 960)
        packet = await asyncio.wait_for(recorder.rtp_packets.get(), WAIT_S)
        assert packet.endswith(b"still here")


async def test_a_peer_that_floods_its_data_channel_loses_it_and_nothing_else():
    async with listening() as mux, Browser() as browser:
        recorder, audio = Recorder(), EncodedTrack("audio", 48_000)
        browser.publish(audio)
        channel = browser.talk()
        is_open = asyncio.Event()
        channel.on("open", is_open.set)
        peer, _ = await signal(browser, mux, recorder, on_data_channel=None)
        await asyncio.wait_for(is_open.wait(), WAIT_S)
        channels = peer._channels
        assert channels is not None
        for _ in range(30):
            channels.receive(bytes(16_000), 1)
        assert not channels.open
        audio.push(b"still here", 960)
        packet = await asyncio.wait_for(recorder.rtp_packets.get(), WAIT_S)
        assert packet.endswith(b"still here")


async def test_sctp_that_makes_its_parser_fail_ends_the_association_only():
    async with listening() as mux, Browser() as browser:
        recorder, audio = Recorder(), EncodedTrack("audio", 48_000)
        browser.publish(audio)
        browser.talk()
        peer, _ = await signal(browser, mux, recorder)
        await until(lambda: peer._channels)
        channels = peer._channels
        assert channels is not None
        association = channels._association
        assert association is not None
        # Two INITs in one packet: aiortc asserts that this does not happen.
        from aiortc.rtcsctptransport import InitChunk, serialize_packet

        init = InitChunk()
        init.initiate_tag, init.advertised_rwnd = 1, 1
        init.outbound_streams, init.inbound_streams, init.initial_tsn = 1, 1, 1
        one = serialize_packet(5000, 5000, 0, init)
        channels.receive(one + one[12:], 1)
        channels.receive(b"", 1)
        audio.push(b"still here", 960)
        packet = await asyncio.wait_for(recorder.rtp_packets.get(), WAIT_S)
        assert packet.endswith(b"still here")
