"""One attempt to fetch a source over HLS, RTSP or SRT: a child reads, what comes is published."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

from streamserver.clock import Clock
from streamserver.errors import ConfigError, PeerError, StreamServerError
from streamserver.ffmpeg.child import end, tail
from streamserver.ffmpeg.pull_request import COMMAND, PullRequest
from streamserver.ingest.pull import Source
from streamserver.ingest.pull_rtmp import OpenPublisher, Publisher
from streamserver.ingest.rtmp import RtmpIngest
from streamserver.media.flv_reader import AUDIO_TAG, VIDEO_TAG, FlvReader, FlvTag
from streamserver.rtmp.message import Message

__all__ = ["ChildPull", "FarUrl"]

_HTTP: Final = {"protocol_whitelist": "http,https,tcp,tls,crypto"}
_RTSP: Final = {
    "protocol_whitelist": "rtsp,rtsps,rtp,srtp,udp,tcp,tls,crypto",
    # Over UDP cameras lose packets, and firewalls all of them.
    "rtsp_transport": "tcp",
}
_SRT: Final = {"protocol_whitelist": "pipe,srt,udp"}
_OPTIONS: Final = {"http": _HTTP, "https": _HTTP, "rtsp": _RTSP, "rtsps": _RTSP, "srt": _SRT}
"""By scheme. The lists keep a playlist from naming files of this machine."""

_READ_BYTES: Final = 256 * 1024
_SHORTEST_SECRET: Final = 4
_MASK: Final = "****"


@dataclass(frozen=True, slots=True, repr=False)
class FarUrl:
    """Where FFmpeg fetches a source. Shown masked, so that it may be logged."""

    url: str
    """The URL as it stands; may hold credentials."""

    @classmethod
    def parse(cls, text: str) -> "FarUrl":
        """Checks a text. Raises `ConfigError`, which repeats nothing of it."""
        try:
            parts = urlsplit(text)
            # A control character would begin a line of the script that names it to ffmpeg.
            known = parts.scheme in _OPTIONS and parts.hostname and text.isprintable()
        except ValueError:
            known = False
        if not known:
            raise ConfigError("is no URL of http, https, rtsp, rtsps or srt with a host")
        return cls(text)

    @property
    def scheme(self) -> str:
        """What stands before ``://``."""
        return urlsplit(self.url).scheme

    @property
    def host(self) -> str:
        """The name or address, IPv6 without brackets."""
        return urlsplit(self.url).hostname or ""

    def masked(self) -> str:
        """The URL for people: scheme and host."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}://{host}/{_MASK}"

    def hide(self, text: str) -> str:
        """A text without what must not be seen of the URL."""
        parts = urlsplit(self.url)
        for secret in (self.url, parts.netloc.rpartition("@")[0], parts.path, parts.query):
            if len(secret) >= _SHORTEST_SECRET:
                text = text.replace(secret, _MASK)
        return text

    def __repr__(self) -> str:
        return f"FarUrl({self.masked()})"


class ChildPull:
    """Makes attempts; holds nothing between them."""

    def __init__(
        self,
        *,
        open_publisher: OpenPublisher,
        clock: Clock,
        check_host: Callable[[str], Awaitable[object]],
    ) -> None:
        """``check_host`` raises `StreamServerError` for hosts that this server may not ask. The
        child resolves the name again, and follows what a playlist names."""
        self._open = open_publisher
        self._clock = clock
        self._check_host = check_host

    async def __call__(self, source: Source, began: Callable[[], None]) -> None:
        """See `streamserver.ingest.pull.Attempt`."""
        target = source.target
        assert isinstance(target, FarUrl)
        await self._check_host(target.host)
        request = PullRequest(
            target.url,
            _OPTIONS[target.scheme],
            pace=target.scheme in ("http", "https"),
            command=target.scheme == "srt",
        )
        process = await asyncio.create_subprocess_exec(
            *COMMAND,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        fetching = _Fetching(source, self._open, self._clock, began, process)
        reason = "the server stopped to fetch it"
        try:
            await fetching.run(request)
            reason = "the source ended"
        except StreamServerError as error:
            reason = target.hide(str(error))
            raise
        finally:
            fetching.close(reason)
            await end(process)


class _Fetching:
    """What happens with one child."""

    def __init__(
        self,
        source: Source,
        open_publisher: OpenPublisher,
        clock: Clock,
        began: Callable[[], None],
        process: asyncio.subprocess.Process,
    ) -> None:
        self._source = source
        self._open = open_publisher
        self._clock = clock
        self._began = began
        self._process = process
        self._publisher: Publisher | None = None
        self._ingest: RtmpIngest | None = None
        self._stopped = ""

    async def run(self, request: PullRequest) -> None:
        """Until the source ends. Raises `PeerError` with the child's last words."""
        process, flv = self._process, FlvReader()
        assert process.stdin is not None
        assert process.stdout is not None
        last_words = asyncio.create_task(tail(process.stderr))
        try:
            process.stdin.write(request.to_line())
            process.stdin.close()
            while data := await process.stdout.read(_READ_BYTES):
                for tag in flv.feed(data):
                    await self._take(tag)
            words, code = await last_words, await process.wait()
            if self._stopped:
                raise StreamServerError(self._stopped)
            if code:
                raise PeerError(words or f"the reading process ended with {process.returncode}")
        finally:
            last_words.cancel()

    def close(self, reason: str) -> None:
        """Gives the right to append back."""
        if self._ingest is not None:
            self._ingest.assembler.flush()
        if self._publisher is not None:
            self._publisher.close(reason)

    async def _take(self, tag: FlvTag) -> None:
        if tag.kind not in (AUDIO_TAG, VIDEO_TAG) or self._stopped:
            return
        if self._ingest is None or self._publisher is None:
            self._publisher = await self._open(self._source.key, self._stop)
            self._ingest = RtmpIngest(self._publisher.lease)
            self._began()
        self._publisher.session.bytes_received += len(tag.body)
        now_ns = self._clock.monotonic_ns()
        # Tags of FLV have the numbers of the messages.
        self._ingest.media((Message(tag.kind, tag.timestamp_ms, 1, tag.body),), now_ns)

    def _stop(self, reason: str) -> None:
        self._stopped = reason
        # The end of its output wakes who reads it.
        with contextlib.suppress(ProcessLookupError):
            self._process.terminate()
