"""A synthetic cmaf feed, a whole HLS output on a hand-driven clock, and a reader of playlists."""

import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from streamserver.errors import LocalProtocolError
from streamserver.feeds.items import CmafItem, Init, Part, SegmentEnd, Target
from streamserver.hub.sessions import SessionTable
from streamserver.hub.slicer import Slicer
from streamserver.hub.sources import SourceHold
from streamserver.hub.stream import Stream, StreamState
from streamserver.log import Log
from streamserver.media.packet import Packet
from streamserver.media.track import VIDEO_CLOCK, Codec, Track
from streamserver.names import StreamKey
from streamserver.outputs.hls.channel import TsMaker
from streamserver.outputs.hls.delivery import HlsDelivery
from streamserver.outputs.hls.directory import Directory, Entries
from streamserver.outputs.hls.mount import HlsMount
from streamserver.outputs.hls.output import HlsOutput
from streamserver.outputs.hls.replies import Reply
from streamserver.outputs.hls.settings import HlsSettings, HlsStats
from streamserver.outputs.hls.viewers import ClientInfo
from streamserver.outputs.hls.waiters import Parking, Waiter
from tests.fakes import FakeClock, Turns

KEY = StreamKey("live", "cam")
FIRST_MSN = 1_800_000_000
CLIENT = ClientInfo("192.0.2.1", "a player")
SECRET = b"a secret of the server"


def tracks_of(epoch: int) -> tuple[Track, ...]:
    return (
        Track(
            Codec.H264,
            VIDEO_CLOCK,
            b"avcC",
            epoch=epoch,
            codec_string="avc1.64001F",
            width=1280,
            height=720,
        ),
        Track(Codec.AAC, 48_000, b"asc", epoch=epoch, codec_string="mp4a.40.2", sample_rate=48_000),
    )


class Maker:
    """Appends items to a cmaf log as the real feed does."""

    def __init__(
        self, log: Log[CmafItem], first_msn: int = FIRST_MSN, *, part_bytes: int = 1_000
    ) -> None:
        self.log = log
        self.msn = first_msn
        self.index = 0
        self.start = 0
        self.segment_ticks = 0
        self.part_bytes = part_bytes
        self.discontinuity = False
        self.init = Init(0, tracks_of(0), b"init0")

    def target(self, seconds: int = 2, part_ms: int = 334) -> None:
        self._append(Target(seconds, part_ms))

    def part(self, ticks: int = 30_000, *, independent: bool | None = None) -> Part:
        """A third of a second; the first of a segment is independent unless told."""
        first = self.index == 0
        part = Part(
            msn=self.msn,
            index=self.index,
            init=self.init,
            discontinuity=first and self.discontinuity,
            independent=first if independent is None else independent,
            start_ms=self.start // 90,
            duration=ticks,
            pieces=(f"{self.msn}.{self.index};".encode().ljust(self.part_bytes, b"."),),
            size=self.part_bytes,
        )
        if first:
            self.discontinuity = False
        self.index += 1
        self.start += ticks
        self.segment_ticks += ticks
        self._append(part)
        return part

    def end(self) -> None:
        self._append(SegmentEnd(self.msn, self.index, self.segment_ticks))
        self.msn += 1
        self.index = self.segment_ticks = 0

    def segment(self, parts: int = 6, ticks: int = 30_000) -> None:
        for _ in range(parts):
            self.part(ticks)
        self.end()

    def new_epoch(self) -> None:
        if self.index:
            self.end()
        epoch = self.init.epoch + 1
        self.init = Init(epoch, tracks_of(epoch), b"init%d" % epoch)
        self.discontinuity = True

    def _append(self, item: CmafItem) -> None:
        size = len(item.data) if isinstance(item, Part) else 0
        self.log.append(item, size=size, at_ms=self.start // 90)


def cmaf_log(turns: Turns) -> Log[CmafItem]:
    return Log(max_ms=120_000, max_bytes=1 << 30, schedule=turns)


class DeliveryRig:
    """A delivery alone, with a maker in front of it."""

    def __init__(
        self,
        settings: HlsSettings | None = None,
        slicer_now_ns: Callable[[], int] | None = None,
    ) -> None:
        self.clock = FakeClock()
        self.turns = Turns()
        self.settings = settings or HlsSettings()
        self.stats = HlsStats()
        self.entries: Entries = {}
        self.log = cmaf_log(self.turns)
        self.make = Maker(self.log)
        self.slicer = Slicer(now_ns=slicer_now_ns or self.clock.monotonic_ns, schedule=self.turns)
        self.parking = Parking(
            self.stats,
            max_parked=self.settings.max_parked,
            max_per_owner=self.settings.max_parked_per_session,
        )
        self.delivery = HlsDelivery(
            self.log,
            Directory(self.entries, KEY),
            wall_origin_ms=FIRST_MSN * 1000,
            settings=self.settings,
            parking=self.parking,
            slicer=self.slicer,
            now_ns=self.clock.monotonic_ns,
        )
        self.log.wake(self.delivery.pump)

    def run(self) -> None:
        self.turns.run_all()

    def ready(self, segments: int = 1, parts: int = 0) -> None:
        """Target, complete segments, and parts of the next one."""
        self.make.target()
        for _ in range(segments):
            self.make.segment()
        for _ in range(parts):
            self.make.part()
        self.run()

    def ask(self, query: str = "") -> Reply | Waiter:
        return self.delivery.ask_playlist(query.encode(), None, self.clock.now_ns)

    def held(self, query: str = "") -> list[Reply]:
        """Asks for what must be held; the list gets the answer when it comes."""
        return collect(self.ask(query))

    def status(self, query: str) -> int:
        answer = self.ask(query)
        assert isinstance(answer, Reply)
        return answer.status

    def text(self) -> str:
        return self.delivery.playlist().body.decode()

    def later(self, *, ms: int) -> None:
        self.clock.advance(ms=ms)
        self.delivery.tick(self.clock.now_ns)
        self.run()

    def fetch(self, uri: str) -> Reply | None:
        """What a URI in the media playlist leads to."""
        entry = self.entries.get(f"/{KEY}/{uri.removeprefix('../../')}".encode())
        return entry if isinstance(entry, Reply) else None


def collect(outcome: Reply | Waiter) -> list[Reply]:
    assert isinstance(outcome, Waiter), "answered at once instead of being held"
    answers: list[Reply] = []
    outcome.park_reply(answers.append)
    return answers


@dataclass
class FakeFeed:
    """A feed that is driven through its maker; `fails` makes it raise."""

    log: Log[CmafItem]
    make: Maker
    position: int
    fails: bool = False
    flushes: int = 0
    quiet_until_ms: int = 0

    def pump(self, packets: Log[Packet]) -> None:
        self.position = packets.end
        if self.fails:
            raise LocalProtocolError("the feed is broken")

    def flush(self) -> None:
        self.flushes += 1

    def close(self, reason: str) -> None:
        self.log.close(reason)


async def _open(stream: StreamKey, client: ClientInfo, query: str) -> None:
    """Everybody may play."""


async def fake_remux(init: bytes, media: bytes, counters: dict[int, int]) -> bytes:
    counters[256] = counters.get(256, 0) + 1
    return b"ts%d:%s:" % (counters[256], init) + media.split(b";")[0]


@dataclass
class OutputRig:
    """The whole output on a hand-driven clock, with one stream and one mount."""

    settings: HlsSettings = field(default_factory=HlsSettings)
    authorize: Callable[[StreamKey, ClientInfo, str], Awaitable[None]] = _open
    remux: Callable[[bytes, bytes, dict[int, int]], Awaitable[bytes]] = fake_remux
    supports: Callable[[tuple[Track, ...]], str | None] = lambda tracks: None
    clock: FakeClock = field(default_factory=FakeClock)
    secret: bytes = SECRET

    def __post_init__(self) -> None:
        self.turns = Turns()
        self.feeds: list[FakeFeed] = []
        self.sessions = SessionTable()
        self.feeds_fail = 0
        self.output = HlsOutput(
            clock=self.clock,
            slicer=Slicer(now_ns=self.clock.monotonic_ns, schedule=self.turns),
            sessions=self.sessions,
            settings=self.settings,
            secret=self.secret,
            make_feed=self._make_feed,
            ts=TsMaker(self.remux, self.supports),
            authorize=self.authorize,
        )
        self.mount = HlsMount(self.output)

    def _make_feed(self, source: SourceHold, first_msn: int, position: int) -> FakeFeed:
        log = cmaf_log(self.turns)
        feed = FakeFeed(log, Maker(log, first_msn), position, fails=self.feeds_fail > 0)
        self.feeds_fail -= self.feeds_fail > 0
        self.feeds.append(feed)
        return feed

    @property
    def make(self) -> Maker:
        return self.feeds[-1].make

    def fetch(self, uri: str) -> Reply | None:
        """What a URI in the media playlist leads to."""
        entry = self.output.entries.get(f"/{KEY}/{uri.removeprefix('../../')}".encode())
        return entry if isinstance(entry, Reply) else None

    def start(self, key: StreamKey = KEY, tracks: tuple[Track, ...] | None = None) -> Stream:
        stream = Stream(
            key=key,
            session_id="b1",
            generation=1,
            packets=Log(max_ms=1000, max_bytes=1 << 20, schedule=self.turns),
            wall_origin_ns=self.clock.wall_ns(),
            origin_ns=self.clock.monotonic_ns(),
        )
        stream.begin_epoch(tracks or tracks_of(0))
        stream.state = StreamState.LIVE
        self.output.stream_started(stream)
        return stream

    def live(self, segments: int = 3, key: StreamKey = KEY) -> Stream:
        stream = self.start(key)
        self.make.target()
        for _ in range(segments):
            self.make.segment()
            self.run()
        return stream

    def end(self, stream: Stream, reason: str = "over") -> None:
        stream.state = StreamState.ENDED
        stream.packets.close(reason)
        self.output.stream_ended(stream, reason)
        self.run()

    def run(self) -> None:
        self.turns.run_all()

    def later(self, *, s: int) -> None:
        """Time passes in steps as the driver ticks."""
        for _ in range(s * 4):
            self.clock.advance(ms=250)
            self.output.tick(self.clock.now_ns)
            self.run()

    async def get(self, path: str, query: str = "", client: ClientInfo = CLIENT) -> Reply:
        return await self.mount.answer(path, query, client)

    def fast(self, path: str, *, gzip: bool = False) -> bytes | Waiter | None:
        return self.mount.fast(path.encode(), gzip)

    async def session_path(self, form: str = "index.m3u8") -> str:
        """The media playlist that a fresh multivariant playlist points to."""
        reply = await self.get(f"/hls/{KEY}/{form}")
        assert reply.status == 200, reply.body
        return f"/hls/{KEY}/{reply.body.decode().splitlines()[-1]}"


_ATTRIBUTE = re.compile(r'([A-Z-]+)=("[^"]*"|[^,]*)')


def attributes(line: str) -> dict[str, str]:
    return {name: value.strip('"') for name, value in _ATTRIBUTE.findall(line.partition(":")[2])}


@dataclass
class Listed:
    """A segment as a playlist tells of it; ``uri`` is empty while it grows."""

    msn: int
    discontinuity: bool = False
    map_uri: str | None = None
    date: str = ""
    parts: list[dict[str, str]] = field(default_factory=list)
    duration: str = ""
    uri: str = ""


class Read:
    """A media playlist, read line by line with no mercy."""

    def __init__(self, text: str) -> None:
        lines = text.split("\n")
        assert lines[0] == "#EXTM3U"
        assert lines[-1] == ""
        self.tags: dict[str, str] = {}
        self.segments: list[Listed] = []
        self.hints: list[str] = []
        self.ended = False
        self.growing: Listed | None = None
        self._open: Listed | None = None
        for line in lines[1:-1]:
            assert not self.ended, "something follows the end"
            self._line(line)
        self.growing = self._open

    @property
    def first_msn(self) -> int:
        return int(self.tags["#EXT-X-MEDIA-SEQUENCE"])

    @property
    def discontinuity_sequence(self) -> int:
        return int(self.tags["#EXT-X-DISCONTINUITY-SEQUENCE"])

    @property
    def uris(self) -> list[str]:
        maps = [s.map_uri for s in self.all_segments() if s.map_uri]
        parts = [part["URI"] for s in self.all_segments() for part in s.parts]
        return [*maps, *parts, *[s.uri for s in self.segments]]

    def all_segments(self) -> list[Listed]:
        return [*self.segments, *([self.growing] if self.growing else [])]

    def _line(self, line: str) -> None:
        tag = line.partition(":")[0]
        match tag:
            case "#EXT-X-DISCONTINUITY":
                assert not self._segment().parts
                self._segment().discontinuity = True
            case "#EXT-X-MAP":
                assert not self._segment().parts
                self._segment().map_uri = attributes(line)["URI"]
            case "#EXT-X-PROGRAM-DATE-TIME":
                assert not self._segment().parts
                self._segment().date = line.partition(":")[2]
            case "#EXT-X-PART":
                self._segment().parts.append(attributes(line))
            case "#EXTINF":
                self._segment().duration = line.partition(":")[2].rstrip(",")
            case "#EXT-X-PRELOAD-HINT":
                self.hints.append(attributes(line)["URI"])
            case "#EXT-X-ENDLIST":
                self.ended = True
            case _ if line.startswith("#"):
                assert tag not in self.tags, f"{tag} comes twice"
                assert self._open is None, f"{tag} comes after media"
                assert not self.segments
                self.tags[tag] = line.partition(":")[2]
            case _:
                segment = self._segment()
                assert segment.duration
                segment.uri = line
                self.segments.append(segment)
                self._open = None

    def _segment(self) -> Listed:
        assert not self.hints, "the hint comes last"
        if self._open is None:
            self._open = Listed(self.first_msn + len(self.segments))
        return self._open
