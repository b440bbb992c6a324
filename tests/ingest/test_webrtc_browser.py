"""A whole `RTCPeerConnection` publishes real media over sockets into a stream."""

import asyncio
from itertools import pairwise

from aiortc import RTCRtpSender

from streamserver.clock import SystemClock
from streamserver.hub.driver import Driver
from streamserver.hub.registry import Registry, RegistrySettings
from streamserver.hub.stream import LogBounds, StreamState
from streamserver.ingest.webrtc import WebRtcIngest
from streamserver.media.h264 import AvcConfig
from streamserver.media.nal import split_prefixed
from streamserver.media.track import Kind
from streamserver.names import StreamKey
from streamserver.rtp.rtcp import Pli, parse_rtcp
from streamserver.webrtc.describe import Local, write_answer
from streamserver.webrtc.negotiation import agree_to_publish
from streamserver.webrtc.sdp import read_description
from tests import media_factory
from tests.fakes import session
from tests.webrtc.client import WAIT_S, Browser, EncodedTrack, listening, until


class Handler:
    """Hands on to the ingest, which is made once the peer is there."""

    def __init__(self) -> None:
        self.ingest: WebRtcIngest | None = None
        self.is_connected = asyncio.Event()

    def connected(self) -> None:
        self.is_connected.set()

    def rtp(self, packet: bytes, now_ns: int) -> None:
        assert self.ingest is not None
        self.ingest.rtp(packet, now_ns)

    def rtcp(self, packet: bytes, now_ns: int) -> None:
        assert self.ingest is not None
        self.ingest.rtcp(packet, now_ns)

    def closed(self, reason: str) -> None:
        assert self.ingest is not None
        self.ingest.closed(reason)


async def test_real_pictures_and_sound_arrive_bit_by_bit():
    clock = SystemClock()
    registry = Registry(clock, Driver(clock).schedule, RegistrySettings(bounds=LogBounds()))
    lease = await registry.claim(StreamKey("live", "cam"), session())
    clip = media_factory.h264_aac()
    pictures = [packet for packet in clip.packets if packet.track.kind is Kind.VIDEO]
    sets = AvcConfig.parse(pictures[0].track.config).sets.values()
    ended: list[str] = []
    async with listening() as mux, Browser() as browser:
        video, audio = EncodedTrack("video"), EncodedTrack("audio", 48_000)
        browser.publish(video)
        browser.publish(audio)
        browser.connection.getTransceivers()[0].setCodecPreferences(_h264())
        agreement = agree_to_publish(read_description(await browser.offer()))
        handler = Handler()
        peer = mux.open(handler)
        asked: list[object] = []

        def send_rtcp(datagram: bytes) -> None:
            asked.extend(parse_rtcp(datagram))
            peer.send_rtcp(datagram)

        ingest = handler.ingest = WebRtcIngest(
            lease, agreement.media, send_rtcp=send_rtcp, clock=clock, ended=ended.append
        )
        remote = agreement.remote
        peer.describe(
            ufrag=remote.ufrag,
            password=remote.password,
            fingerprints=remote.fingerprints,
            setup=remote.setup,
        )
        local = Local(
            ufrag=peer.ufrag,
            password=peer.password,
            fingerprint=peer.fingerprint,
            candidates=peer.candidates,
            setup=peer.setup,
        )
        await browser.accept(write_answer(agreement, local, session_id=1))
        await asyncio.wait_for(handler.is_connected.wait(), WAIT_S)
        # One at a time: how fast loopback is, and how much its sockets hold, is no matter here.
        for number, picture in enumerate(pictures):
            nals = split_prefixed(picture.data, 4)
            units = [*sets, *nals] if picture.keyframe else nals
            video.push(b"".join(b"\x00\x00\x00\x01" + nal for nal in units), number * 3_000)
            audio.push(b"\xfc" + number.to_bytes(60), number * 960)
            await until(lambda: ingest.stats.frames >= 2 * number + 2)  # noqa: B023
            ingest.tick(clock.monotonic_ns())
        lease.stream.keyframes.request()
        assert isinstance(asked[-1], Pli)
        stream = lease.stream
        assert stream.state is StreamState.LIVE
        came = [packet for packet in stream.packets.since(0) if packet.is_video]
        assert [packet.data for packet in came] == [picture.data for picture in pictures]
        # Reports may move pictures a little, and these were not made in real time.
        assert all(before.dts < after.dts for before, after in pairwise(came))
        stats = ingest.stats
        assert (stats.malformed, stats.strangers, stats.given_up) == (0, 0, 0)
    await until(lambda: ended)
    # aiortc says good-bye and closes; either may come first.
    assert ended[0] in ("the peer closed the connection", "the publisher said good-bye")


def _h264():
    codecs = RTCRtpSender.getCapabilities("video").codecs
    return [codec for codec in codecs if codec.mimeType == "video/H264"]
