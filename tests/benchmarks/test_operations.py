"""The price of the hot paths in calls of Python functions: a guard that no busy machine disturbs.

The bounds have room for a change of mind, not for a change of design; `python -m benchmarks` says
what a call costs. Whoever has to raise one of them should know why it is worth it.
"""

import asyncio
from functools import partial
from typing import Any
from urllib.parse import urljoin

from benchmarks.hls_viewers import edge
from benchmarks.publish import chunks, commands
from streamserver.auth import AccessRequest, Decision
from streamserver.control.publishing import Publishing
from streamserver.endpoints.http.connections import Connections
from streamserver.endpoints.http.front import Front
from streamserver.endpoints.rtmp import RtmpEndpoint, RtmpSettings
from streamserver.endpoints.rtmp_connection import RtmpConnection
from streamserver.feeds.cmaf import CmafFeed, CmafSettings
from streamserver.hub.registry import Registry, RegistrySettings
from streamserver.hub.sessions import SessionTable
from streamserver.hub.slicer import Slicer
from streamserver.hub.sources import SourceHold
from streamserver.hub.stream import LogBounds
from streamserver.names import StreamKey
from streamserver.net.proxies import TrustedProxies
from streamserver.outputs.hls.channel import TsMaker
from streamserver.outputs.hls.mount import HlsMount
from streamserver.outputs.hls.output import HlsOutput
from streamserver.outputs.hls.settings import HlsSettings
from streamserver.outputs.hls.viewers import ClientInfo
from tests import media_factory
from tests.benchmarks.counting import Calls, count
from tests.fakes import FakeClock, Turns
from tests.media_factory import Tag

KEY = StreamKey("live", "bench0")
CLIENT = ClientInfo("127.0.0.1")
MESSAGE_CALLS = 30
"""From the bytes of one audio or video message to its share of a part."""

MESSAGE_OF_FOUR_CALLS = 10.4
"""The same where a read brings four of them, as it does."""

PLAYLIST_CALLS = 10
PART_CALLS = 5
"""From the bytes of a request to the bytes of its answer."""

ASKING_CALLS = 10
ANSWERING_CALLS = 6
"""For a viewer whose playlist waits for the next part, and when it is there."""

_STAND_INS = ("Rig.", "FakeClock.", "FakeTransport.", "Turns.")

HEADERS = b" HTTP/1.1\r\nHost: x\r\nUser-Agent: y\r\nAccept: */*\r\n\r\n"


class FakeTransport(asyncio.Transport):
    """Takes everything at once."""

    def __init__(self) -> None:
        super().__init__({"peername": ("127.0.0.1", 40_000)})
        self.written: list[bytes] = []

    def write(self, data: Any) -> None:
        self.written.append(bytes(data))

    def get_write_buffer_size(self) -> int:
        return 0

    def is_closing(self) -> bool:
        return False

    def close(self) -> None:
        """Nothing is open."""

    def abort(self) -> None:
        """Nothing is open."""


class Anybody:
    """Lets everybody publish."""

    name = "test"

    async def decide(self, request: AccessRequest) -> Decision:
        return Decision(True, "", self.name)


async def _open(stream: StreamKey, client: ClientInfo, query: str) -> None:
    """Everybody may play."""


async def _no_remux(init: bytes, media: bytes, counters: dict[int, int]) -> bytes:
    raise AssertionError("nobody asked for MPEG-TS")


class Rig:
    """RTMP door, hub, cmaf feed, HLS output and front, without sockets and without time."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.turns = Turns()
        self.sessions = SessionTable()
        self.feeds: list[CmafFeed] = []
        self.registry = Registry(
            self.clock, self.turns, RegistrySettings(bounds=LogBounds(max_ms=12_000))
        )
        self.output = HlsOutput(
            clock=self.clock,
            slicer=Slicer(now_ns=self.clock.monotonic_ns, schedule=self.turns),
            sessions=self.sessions,
            settings=HlsSettings(),
            secret=b"s" * 32,
            make_feed=self._make_feed,
            ts=TsMaker(_no_remux, lambda tracks: None),
            authorize=_open,
        )
        self.registry.add_listener(self.output)
        self.mount = HlsMount(self.output)
        self.publisher = self._door()
        self.transport = FakeTransport()
        self.ms = 0

    def _make_feed(self, source: SourceHold, first_msn: int, position: int) -> CmafFeed:
        self.feeds.append(
            CmafFeed(source.tracks_of, first_msn, CmafSettings(), self.turns, position=position)
        )
        return self.feeds[-1]

    def _door(self) -> RtmpConnection:
        publishing = Publishing(self.registry, self.sessions, Anybody(), self.clock)
        return RtmpConnection(
            RtmpEndpoint(
                RtmpSettings(), publishing=publishing, proxies=TrustedProxies([]), clock=self.clock
            )
        )

    async def connect(self, chunk_size: int) -> None:
        """Handshake and commands, then sequence headers."""
        publisher = self.publisher
        publisher.connection_made(self.transport)
        publisher.data_received(b"\x03" + bytes(1536))
        publisher.data_received(b"".join(self.transport.written)[1:1537])
        for command in commands("rtmp://x/live", "live", KEY.name, chunk_size):
            publisher.data_received(command)
        # The decision about the publisher is a task.
        for _ in range(5):
            await asyncio.sleep(0)
        assert any(b"NetStream.Publish.Start" in data for data in self.transport.written)
        for tag in headers():
            publisher.data_received(wire(tag.kind == "video", 0, tag.body, chunk_size))

    def prepare(self, seconds: int, chunk_size: int = 4096) -> list[tuple[bytes, int]]:
        """The next messages of 2.65 Mbit/s, each with the milliseconds to the one behind it."""
        frames = media(self.ms, seconds)
        self.ms += seconds * 1000
        ends = [at_ms for at_ms, _, _ in frames[1:]] + [self.ms]
        return [
            (wire(is_video, at_ms, body, chunk_size), end_ms - at_ms)
            for (at_ms, is_video, body), end_ms in zip(frames, ends, strict=True)
        ]

    def publish(self, messages: list[tuple[bytes, int]]) -> None:
        """Sends them one by one."""
        for data, pause_ms in messages:
            self.publisher.data_received(data)
            self.turns.run_all()
            self.clock.advance(ms=pause_ms)

    def front(self) -> tuple[Front, FakeTransport]:
        """A connection of a player."""
        connections = Connections(
            fast=[("/hls/", self.mount.fast)], new_inner=_no_aiohttp, clock=self.clock
        )
        front, transport = Front(connections), FakeTransport()
        front.connection_made(transport)
        return front, transport

    async def playlist_path(self) -> str:
        """The media playlist of a new viewer, which has asked for it once."""
        base = f"/hls/{KEY}/index.m3u8"
        reply = await self.mount.answer(base, "", CLIENT)
        path = urljoin(base, reply.body.decode().splitlines()[-1])
        assert (await self.mount.answer(path, "", CLIENT)).status == 200
        return path


def _no_aiohttp() -> Any:
    raise AssertionError("the request was left to aiohttp")


def headers() -> list[Tag]:
    """Sequence headers of a real clip."""
    tags = media_factory.tags(media_factory.h264_aac().flv)
    return [tag for tag in tags if tag.body[1] == 0]


def media(start_ms: int, seconds: int) -> list[tuple[int, bool, bytes]]:
    """Frames whose insides nobody looks at: a keyframe every 2 s, 30 and 47 messages a second."""
    frames = []
    for number in range(30 * seconds):
        at_ms = start_ms + number * 1000 // 30
        key = number % 60 == 0
        nal = (b"\x65" if key else b"\x41") + bytes([number % 255 + 1]) * (60_000 if key else 9_500)
        head = (b"\x17" if key else b"\x27") + b"\x01\0\0\0"
        frames.append((at_ms, True, head + len(nal).to_bytes(4, "big") + nal))
    for number in range(seconds * 48_000 // 1024):
        body = b"\xaf\x01" + bytes([number % 255 + 1]) * 340
        frames.append((start_ms + number * 1024 // 48, False, body))
    return sorted(frames, key=lambda frame: frame[0])


def wire(is_video: bool, at_ms: int, body: bytes, size: int) -> bytes:
    kind, csid = (9, 6) if is_video else (8, 4)
    return bytes(chunks(csid, kind, at_ms, 1, body, size))


async def live_rig(chunk_size: int = 4096) -> Rig:
    """A stream that is on air for a while."""
    rig = Rig()
    await rig.connect(chunk_size)
    rig.publish(rig.prepare(8, chunk_size))
    return rig


def message_cost(rig: Rig, seconds: int, chunk_size: int = 4096, together: int = 1) -> float:
    """Calls for each message, when so many come in a read."""
    messages = rig.prepare(seconds, chunk_size)
    reads = [messages[at : at + together] for at in range(0, len(messages), together)]
    joined = [(b"".join(data for data, _ in read), sum(ms for _, ms in read)) for read in reads]
    with Calls() as calls:
        rig.publish(joined)
    return calls.without(*_STAND_INS) / len(messages)


async def test_a_message_from_the_wire_to_the_part_is_few_calls():
    rig = await live_rig()
    parts = rig.feeds[0].counters.parts
    assert message_cost(rig, 4) < MESSAGE_CALLS
    assert rig.feeds[0].counters.parts == parts + 12


async def test_messages_that_come_together_share_most_of_their_calls():
    assert message_cost(await live_rig(), 4, together=4) < MESSAGE_OF_FOUR_CALLS
    assert message_cost(await live_rig(128), 4, 128, together=4) < MESSAGE_OF_FOUR_CALLS


async def test_chunks_of_128_bytes_cost_no_more_calls_than_chunks_of_4096():
    large, small = await live_rig(4096), await live_rig(128)
    assert message_cost(small, 2, 128) < message_cost(large, 2) * 1.05


async def test_a_part_and_a_playlist_that_is_there_are_few_calls():
    rig = await live_rig()
    path = await rig.playlist_path()
    front, transport = rig.front()
    playlist_request = b"GET " + path.encode() + HEADERS
    front.data_received(playlist_request)
    playlist = transport.written[-1].partition(b"\r\n\r\n")[2]
    part_path = urljoin(path, edge(playlist)[2][-1].decode())
    part_request = b"GET " + part_path.encode() + HEADERS
    front.data_received(part_request)
    assert transport.written[-1].startswith(b"HTTP/1.1 200")
    playlists = count(100, partial(front.data_received, playlist_request))
    parts = count(100, partial(front.data_received, part_request))
    assert len(transport.written) == 202
    assert playlists.total / 100 < PLAYLIST_CALLS, playlists.names
    assert parts.total / 100 < PART_CALLS, parts.names


async def parked(count: int) -> tuple[int, int]:
    """Calls for so many viewers that ask for what is to come, and when it comes."""
    rig = await live_rig()
    path = await rig.playlist_path()
    delivery = rig.output.delivery(KEY)
    assert delivery is not None
    assert delivery.window.hint is not None
    msn, part = delivery.window.hint
    request = f"GET {path}?_HLS_msn={msn}&_HLS_part={part}".encode() + HEADERS
    viewers = [rig.front() for _ in range(count)]
    for front, _ in viewers:
        # The first request of a connection is read in full; later ones are compared with it.
        front.data_received(b"GET " + path.encode() + HEADERS)
    with Calls() as asking:
        for front, _ in viewers:
            front.data_received(request)
    assert all(len(transport.written) == 1 for _, transport in viewers)
    messages = rig.prepare(1)
    with Calls() as answering:
        rig.publish(messages)
    assert all(len(transport.written) == 2 for _, transport in viewers)
    return asking.total, answering.total


async def test_a_playlist_that_waits_for_its_part_is_few_calls_for_each_viewer():
    # As many as may wait with one session id: here they stand for viewers of their own.
    few, many = await parked(1), await parked(8)
    asking, answering = ((many[at] - few[at]) / 7 for at in range(2))
    assert asking < ASKING_CALLS
    assert answering < ANSWERING_CALLS
