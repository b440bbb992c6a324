"""Plays the clip to WebRTC viewers, by our output or by aiortc's own sender.

``python -m benchmarks.whep_server ours|aiortc``: prints its HTTP port, answers ``POST /whep``.
Both get the same frames at the same time: the clip's pictures, and Opus of 128 kbit/s.
"""

import asyncio
import os
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from fractions import Fraction
from typing import Any
from unittest import mock

import aioice.ice
import av
import uvloop
from aiohttp import web
from aiortc import RTCPeerConnection, RTCSessionDescription
from aiortc.mediastreams import MediaStreamTrack

from benchmarks import clip
from streamserver.clock import SystemClock
from streamserver.hub import sessions
from streamserver.hub.driver import Driver
from streamserver.hub.feeds import FeedPool
from streamserver.hub.sessions import Session
from streamserver.hub.stream import LogBounds, Stream
from streamserver.log import Log
from streamserver.media import flv
from streamserver.media.h264 import AvcConfig
from streamserver.media.nal import split_prefixed
from streamserver.media.packet import Packet
from streamserver.media.track import Codec, Track
from streamserver.media.units import make_reader, make_track
from streamserver.names import StreamKey
from streamserver.outputs.webrtc.output import ARENA_BYTES, WebRtcOutput
from streamserver.webrtc.describe import Local, write_answer
from streamserver.webrtc.mux import Mux, MuxSettings
from streamserver.webrtc.negotiation import agree_to_play
from streamserver.webrtc.sdp import read_description
from streamserver.webrtc.srtp import Arena

__all__: list[str] = []

_OPUS_BYTES = 320
_OPUS_MS = 20

Frame = tuple[int, bool, bytes]
"""Milliseconds from the start of the clip, whether it is a keyframe, and the access unit."""

Take = Callable[[int, bool, bool, bytes], None]
"""``take(ms, is_video, keyframe, data)``."""


def _frames() -> tuple[Track, list[Frame]]:
    media = clip.load()
    track, frames, reader = None, [], None
    bodies = [(0, body) for kind, body in media.headers if kind == 9]
    bodies += [(ms, body) for kind, ms, body in media.messages if kind == 9]
    for ms, body in bodies:
        for item in flv.parse_video(body):
            if isinstance(item, flv.VideoConfig):
                reader, track = (
                    make_reader(item.codec, item.config),
                    make_track(item.codec, item.config),
                )
            elif isinstance(item, flv.VideoFrame) and reader is not None:
                unit = reader.read(item.data, key_hint=item.frame_type is flv.FrameType.KEY)
                if unit is not None:
                    frames.append((ms, unit.keyframe, unit.data))
    assert track is not None
    return track, frames


def _schedule(frames: list[Frame], duration_ms: int) -> Iterator[tuple[int, bool, bool, bytes]]:
    """Pictures and sound in the order of their times, for ever."""
    opus = b"\xfc" + os.urandom(_OPUS_BYTES - 1)
    loop = [(ms, True, key, data) for ms, key, data in frames]
    loop += [(ms, False, True, opus) for ms in range(0, duration_ms, _OPUS_MS)]
    loop.sort(key=lambda one: one[0])
    base = 0
    while True:
        for ms, is_video, key, data in loop:
            yield base + ms, is_video, key, data
        base += duration_ms


async def _feed(frames: list[Frame], take: Take) -> None:
    """Hands every frame over when its time has come."""
    began = time.monotonic()
    for ms, is_video, keyframe, data in _schedule(frames, clip.load().duration_ms):
        wait_s = began + ms / 1000 - time.monotonic()
        if wait_s > 0:
            await asyncio.sleep(wait_s)
        take(ms, is_video, keyframe, data)


class _Watch:
    def __init__(self, stream: Stream, session: Session) -> None:
        self.stream = stream
        self.session = session

    def close(self) -> None:
        """Nobody keeps count."""


class _Ours:
    """The output with its transport, without the server around it."""

    def __init__(self, video: Track) -> None:
        clock = SystemClock()
        self._clock = clock
        self._video = video
        self._audio = Track(Codec.OPUS, 48_000, b"")
        self._driver = driver = Driver(clock)
        self._mux = Mux(clock, MuxSettings(host="127.0.0.1", port=0))
        bounds = LogBounds()
        feeds = FeedPool(clock.monotonic_ns, driver.report)
        self._output = WebRtcOutput(
            driver=driver, feeds=feeds, clock=clock, bounds=bounds, arena=Arena(ARENA_BYTES)
        )
        log: Log[Packet] = Log(
            max_ms=bounds.max_ms, max_bytes=bounds.max_bytes, schedule=driver.schedule
        )
        now_ns = clock.monotonic_ns()
        self._stream = Stream(StreamKey("live", "bench"), "s", 1, log, clock.wall_ns(), now_ns)
        self._stream.begin_epoch((video, self._audio))
        for ticker in (feeds.tick, self._output.tick, self._mux.tick):
            driver.add_ticker(ticker)
        driver.start()

    async def start(self) -> None:
        await self._mux.start()

    def take(self, ms: int, is_video: bool, keyframe: bool, data: bytes) -> None:
        track = self._video if is_video else self._audio
        ticks = ms * track.clock_rate // 1000
        now_ns = self._clock.monotonic_ns()
        self._stream.append(Packet(track, ticks, ticks, 0, keyframe, data, now_ns))

    async def answer(self, offer: str) -> str:
        agreement = agree_to_play(read_description(offer), (Codec.H264, Codec.OPUS))
        session = Session(
            "s", sessions.Action.PLAY, sessions.Protocol.WHEP, self._stream.key, "127.0.0.1", "",
            None, lambda reason: None,  # type: ignore[arg-type]  # nobody reads the date
        )  # fmt: skip
        handler = _Late()
        peer = self._mux.open(handler)
        handler.to = self._output.watch(_Watch(self._stream, session), peer, agreement.media)
        remote = agreement.remote
        peer.describe(
            ufrag=remote.ufrag, password=remote.password, fingerprints=remote.fingerprints,
            setup=remote.setup,
        )  # fmt: skip
        local = Local(
            ufrag=peer.ufrag, password=peer.password, fingerprint=peer.fingerprint,
            candidates=tuple(peer.candidates), setup=peer.setup,
        )  # fmt: skip
        return write_answer(agreement, local, session_id=1)


class _Late:
    """Stands for a handler that needs its peer first."""

    to: Any

    def connected(self) -> None:
        self.to.connected()

    def rtp(self, packet: bytes, now_ns: int) -> None:
        self.to.rtp(packet, now_ns)

    def rtcp(self, packet: bytes, now_ns: int) -> None:
        self.to.rtcp(packet, now_ns)

    def closed(self, reason: str) -> None:
        self.to.closed(reason)


class _Track(MediaStreamTrack):
    def __init__(self, kind: str, clock_rate: int) -> None:
        super().__init__()
        self.kind = kind
        self.frames: asyncio.Queue[Any] = asyncio.Queue()
        self.time_base = Fraction(1, clock_rate)

    async def recv(self) -> Any:
        """aiortc packetizes what was encoded before, and sends it to one peer."""
        return await self.frames.get()


class _Aiortc:
    """A peer connection for each viewer, as aiortc's examples have it."""

    def __init__(self, video: Track) -> None:
        self._tracks: list[tuple[_Track, _Track]] = []
        self._peers: list[RTCPeerConnection] = []
        sets = AvcConfig.parse(video.config).sets.values()
        self._sets = b"".join(b"\x00\x00\x00\x01" + one for one in sets)

    async def start(self) -> None:
        patch = mock.patch.object(aioice.ice, "get_host_addresses", return_value=["127.0.0.1"])
        patch.start()

    def take(self, ms: int, is_video: bool, keyframe: bool, data: bytes) -> None:
        if is_video:
            nals = b"".join(b"\x00\x00\x00\x01" + nal for nal in split_prefixed(data, 4))
            data = self._sets + nals if keyframe else nals
        rate = 90_000 if is_video else 48_000
        for pair in self._tracks:
            track = pair[0] if is_video else pair[1]
            packet = av.Packet(data)
            packet.pts = packet.dts = ms * rate // 1000
            packet.time_base = track.time_base
            track.frames.put_nowait(packet)

    async def answer(self, offer: str) -> str:
        peer = RTCPeerConnection()
        pair = _Track("video", 90_000), _Track("audio", 48_000)
        for track in pair:
            peer.addTrack(track)

        @peer.on("connectionstatechange")
        def changed() -> None:
            if peer.connectionState == "connected":
                self._tracks.append(pair)

        self._peers.append(peer)
        await peer.setRemoteDescription(RTCSessionDescription(offer, "offer"))
        await peer.setLocalDescription(await peer.createAnswer())
        return peer.localDescription.sdp


def _whep(answer: Callable[[str], Awaitable[str]]) -> web.Application:
    async def post(request: web.Request) -> web.Response:
        text = await answer(await request.text())
        return web.Response(text=text, status=201, content_type="application/sdp")

    app = web.Application()
    app.router.add_post("/whep", post)
    return app


async def _main(mode: str) -> None:
    video, frames = _frames()
    server = _Ours(video) if mode == "ours" else _Aiortc(video)
    await server.start()
    runner = web.AppRunner(_whep(server.answer))
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    print(runner.addresses[0][1], flush=True)
    await _feed(frames, server.take)


if __name__ == "__main__":
    uvloop.run(_main(sys.argv[1]))
