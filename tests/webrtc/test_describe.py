"""Descriptions between us and aiortc, which reads and writes them in its own way."""

from dataclasses import replace

import pytest
from aiortc import RTCPeerConnection, RTCSessionDescription

from streamserver.errors import RemoteProtocolError
from streamserver.media.track import Codec
from streamserver.rtp.parameters import MediaLine
from streamserver.webrtc.describe import (
    Local,
    OfferedLine,
    accept_answer,
    write_answer,
    write_offer,
)
from streamserver.webrtc.negotiation import OfferError, agree_to_play, agree_to_publish
from streamserver.webrtc.sdp import read_description

LOCAL = Local(
    ufrag="ourufrag",
    password="p" * 32,
    fingerprint=":".join(["AB"] * 32),
    candidates=("1 1 udp 2130706431 192.0.2.1 8189 typ host",),
    setup="passive",
)
H264 = {"packetization-mode": "1", "profile-level-id": "42e01f", "level-asymmetry-allowed": "1"}


async def offer_of_aiortc(peer: RTCPeerConnection, direction: str, *, data: bool = False) -> str:
    peer.addTransceiver("audio", direction)
    peer.addTransceiver("video", direction)
    if data:
        peer.createDataChannel("talk")
    await peer.setLocalDescription(await peer.createOffer())
    return peer.localDescription.sdp


@pytest.mark.parametrize("direction", ["recvonly", "sendonly"])
@pytest.mark.parametrize("data", [False, True])
async def test_aiortc_takes_our_answer(direction: str, data: bool):
    peer = RTCPeerConnection()
    try:
        offer = read_description(await offer_of_aiortc(peer, direction, data=data))
        if direction == "recvonly":
            agreement = agree_to_play(offer, (Codec.H264, Codec.OPUS))
        else:
            agreement = agree_to_publish(offer)
        assert [line.codec for line in agreement.media] == [Codec.OPUS, Codec.H264]
        answer = write_answer(agreement, LOCAL, session_id=1)
        await peer.setRemoteDescription(RTCSessionDescription(answer, "answer"))
        directions = [one.currentDirection for one in peer.getTransceivers()]
        assert directions == [direction, direction]
    finally:
        await peer.close()


def offered(*, sending: bool = True) -> list[OfferedLine]:
    audio = MediaLine(mid="a", codec=Codec.OPUS, payload_type=111, clock_rate=48_000, ssrc=13)
    h264 = MediaLine(
        mid="v", codec=Codec.H264, payload_type=96, clock_rate=90_000, fmtp=H264,
        rtx_payload_type=97, nack=True, pli=True, ssrc=11, rtx_ssrc=12,
    )  # fmt: skip
    vp8 = replace(h264, codec=Codec.VP8, payload_type=98, rtx_payload_type=99, fmtp={})
    return [
        OfferedLine(lines=(audio,), sending=sending),
        OfferedLine(lines=(h264, vp8), sending=sending),
    ]


@pytest.mark.parametrize("sending", [True, False])
async def test_aiortc_answers_our_offer(sending: bool):
    sections = offered(sending=sending)
    text = write_offer(sections, replace(LOCAL, setup="actpass"), session_id=1, data=True)
    peer = RTCPeerConnection()
    try:
        await peer.setRemoteDescription(RTCSessionDescription(text, "offer"))
        for one in peer.getTransceivers():
            one.direction = "recvonly" if sending else "sendonly"
        await peer.setLocalDescription(await peer.createAnswer())
        remote, lines = accept_answer(sections, read_description(peer.localDescription.sdp))
    finally:
        await peer.close()
    assert remote.setup == "active"
    audio, video = lines
    assert (audio.mid, audio.codec, audio.payload_type) == ("a", Codec.OPUS, 111)
    assert (video.mid, video.codec, video.payload_type) == ("v", Codec.H264, 96)
    assert video.rtx_payload_type == 97
    assert (video.ssrc, video.rtx_ssrc) == ((11, 12) if sending else (0, 0))


def test_an_answer_to_another_offer_is_the_peers_fault():
    with pytest.raises(RemoteProtocolError, match="fewer"):
        accept_answer(offered(), read_description("v=0\r\n"))
    rejected = "v=0\r\nm=audio 0 UDP/TLS/RTP/SAVPF 0\r\nm=video 0 UDP/TLS/RTP/SAVPF 0\r\n"
    with pytest.raises(OfferError, match="takes nothing"):
        accept_answer(offered(), read_description(rejected))
    with pytest.raises(RemoteProtocolError, match="names a section"):
        accept_answer(offered(), read_description(rejected.replace("0\r\nm", "0\r\na=mid:x\r\nm")))
