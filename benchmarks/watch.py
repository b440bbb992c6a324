"""One viewer that takes a stream as its pictures come, over each protocol: for latencies.

Blocking, in one thread, so that nothing stands between a picture's arrival and the clock.
"""

import io
import socket
import time
from collections.abc import Callable, Iterator, Mapping
from http.client import HTTPConnection, HTTPException
from typing import NamedTuple
from urllib.parse import urljoin, urlsplit

import av

from benchmarks.hls_viewers import edge
from benchmarks.play_viewers import opening
from benchmarks.whep_viewers import check, connect, on_stun
from streamserver.media import flv
from streamserver.rtmp.chunk import ChunkDecoder
from streamserver.rtmp.message import VIDEO
from streamserver.rtp.depacketize.h264 import H264Depacketizer
from streamserver.rtp.packet import parse_packet
from streamserver.webrtc.private import Certificate
from streamserver.webrtc.srtp import Arena

__all__ = ["WATCH", "Picture", "flv_bodies", "pictures_of", "rtmp_bodies"]

_TIMEOUT_S = 10
_CHECK_S = 1.0
_H264_PT = 102


class Picture(NamedTuple):
    """A coded picture and when it was there as a whole."""

    at_ns: int
    """Wall clock."""

    keyframe: bool
    """Whether a decoder can begin here."""

    config: bytes
    """avcC; empty when parameter sets are in the data."""

    data: bytes
    """H.264 units behind lengths of four bytes."""

    first: bool = True
    """Whether it is the first of those that came together."""


def _rtmp(url: str) -> Iterator[Picture]:
    parts = urlsplit(url)
    port = parts.port or 1935
    with socket.create_connection(("127.0.0.1", port), timeout=_TIMEOUT_S) as sock:
        sock.sendall(opening("rtmp", port, parts.path.strip("/")))
        yield from pictures_of(rtmp_bodies(), _received(sock))


def _flv(url: str) -> Iterator[Picture]:
    parts = urlsplit(url)
    port = parts.port or 80
    with socket.create_connection(("127.0.0.1", port), timeout=_TIMEOUT_S) as sock:
        sock.sendall(opening("flv", port, parts.path))
        yield from pictures_of(flv_bodies(), _received(sock))


def _received(sock: socket.socket) -> Iterator[bytes]:
    while data := sock.recv(1 << 18):
        yield data


Bodies = Callable[[bytes], list[bytes]]
"""Takes bytes as they come; answers the video bodies that they complete."""


def rtmp_bodies() -> Bodies:
    """For what an RTMP server says."""
    decoder, handshake = ChunkDecoder(), 1 + 2 * 1536

    def take(data: bytes) -> list[bytes]:
        nonlocal handshake
        skipped = min(handshake, len(data))
        handshake -= skipped
        decoder.feed(data[skipped:])
        return [one.body for one in decoder.messages() if one.type_id == VIDEO]

    return take


def flv_bodies() -> Bodies:
    """For an HTTP answer with FLV in it, whether it is chunked or not."""
    held, plain, head, chunked = bytearray(), bytearray(), True, False

    def take(data: bytes) -> list[bytes]:
        nonlocal head, chunked
        held.extend(data)
        if head:
            end = held.find(b"\r\n\r\n")
            if end < 0:
                return []
            chunked = b"transfer-encoding: chunked" in bytes(held[:end]).lower()
            del held[: end + 4]
            head = False
        if chunked:
            _unchunk(held, plain)
        else:
            plain.extend(held)
            held.clear()
        return _tags(plain)

    return take


def _unchunk(held: bytearray, plain: bytearray) -> None:
    """RFC 9112, 7.1: a size in hexadecimal digits, its bytes, and an end of line."""
    while (line := held.find(b"\r\n")) >= 0:
        size = int(bytes(held[:line]).split(b";")[0], 16)
        end = line + 2 + size
        if len(held) < end + 2:
            return
        plain.extend(held[line + 2 : end])
        del held[: end + 2]


def _tags(plain: bytearray) -> list[bytes]:
    """The video bodies of whole tags; a file header of 13 bytes is passed over."""
    bodies, at = [], 0
    while True:
        if plain[at : at + 3] == b"FLV":
            at += 13
        end = at + 15 + int.from_bytes(plain[at + 1 : at + 4])
        if len(plain) < at + 15 or len(plain) < end:
            break
        if plain[at] == VIDEO:
            bodies.append(bytes(plain[at + 11 : end - 4]))
        at = end
    del plain[:at]
    return bodies


def pictures_of(take: Bodies, received: Iterator[bytes]) -> Iterator[Picture]:
    """What is in the video bodies of a connection."""
    config = b""
    for data in received:
        bodies, at_ns = take(data), time.time_ns()
        for body in bodies:
            for item in flv.parse_video(body):
                if isinstance(item, flv.VideoConfig):
                    config = item.config
                elif isinstance(item, flv.VideoFrame):
                    yield Picture(at_ns, item.frame_type is flv.FrameType.KEY, config, item.data)


class _Http:
    """A connection that is kept, for one request at a time."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self._connection = HTTPConnection(parts.netloc, timeout=_TIMEOUT_S)

    def get(self, url: str) -> bytes:
        """The body. Raises `ConnectionError`."""
        parts = urlsplit(url)
        target = parts.path + (f"?{parts.query}" if parts.query else "")
        try:
            self._connection.request("GET", target)
            answer = self._connection.getresponse()
            body = answer.read()
        except HTTPException as error:
            raise ConnectionError(f"{url}: {error!r}") from error
        if answer.status != 200:
            raise ConnectionError(f"{url}: HTTP {answer.status}")
        return body


def _hls(url: str) -> Iterator[Picture]:
    """As hls.js does: from the newest part that a decoder can begin with, then every part."""
    playlists, media = _Http(url), _Http(url)
    lines = playlists.get(url).decode().splitlines()
    url = urljoin(url, next(line for line in lines if line and not line.startswith("#")))
    text = playlists.get(url)
    init = media.get(urljoin(url, _attribute(text, b"#EXT-X-MAP:")))
    seen: set[bytes] = set()
    while True:
        msn, part, uris = edge(text)
        fresh = [uri for uri in uris if uri not in seen] if seen else _from_independent(text)
        seen = set(uris)
        for uri in fresh:
            data = media.get(urljoin(url, uri.decode()))
            yield from _part(init, data, time.time_ns())
        text = playlists.get(f"{url}?_HLS_msn={msn}&_HLS_part={part}")


def _attribute(text: bytes, tag: bytes) -> str:
    line = next(line for line in text.splitlines() if line.startswith(tag))
    return line.split(b'URI="', 1)[1].split(b'"', 1)[0].decode()


def _from_independent(text: bytes) -> list[bytes]:
    """The parts from the newest that a decoder can begin with."""
    lines = [line for line in text.splitlines() if line.startswith(b"#EXT-X-PART:")]
    starts = [at for at, line in enumerate(lines) if b"INDEPENDENT=YES" in line]
    begin = starts[-1] if starts else len(lines) - 1
    return [line.split(b'URI="', 1)[1].split(b'"', 1)[0] for line in lines[begin:]]


def _part(init: bytes, data: bytes, at_ns: int) -> Iterator[Picture]:
    with av.open(io.BytesIO(init + data), "r", format="mp4") as container:
        video = container.streams.video[0]
        config = bytes(video.codec_context.extradata or b"")
        first = True
        for packet in container.demux(video):
            if packet.size:
                yield Picture(at_ns, packet.is_keyframe, config, bytes(packet), first)
                first = False


def _whep(url: str) -> Iterator[Picture]:
    viewer = connect(url, Certificate())
    assert viewer.opener is not None
    viewer.sock.settimeout(0.05)
    arena, frame = Arena(4_096), H264Depacketizer()
    checked = heard = time.monotonic()
    while (now := time.monotonic()) - heard < _TIMEOUT_S:
        if now - checked > _CHECK_S:
            checked = now
            check(viewer)
        try:
            size = viewer.sock.recv_into(arena.data)
        except TimeoutError:
            continue
        if arena.data[0] < 4:
            on_stun(viewer, bytes(arena.data[:size]))
        if not 127 < arena.data[0] < 192 or 192 <= arena.data[1] <= 223:
            continue
        plain = viewer.opener.unprotect(arena, size)
        packet = None if plain is None else parse_packet(plain)
        if packet is None or packet.payload_type != _H264_PT or not packet.payload:
            continue
        heard = now
        frame.add(packet.payload)
        coded = frame.take() if packet.marker else None
        if coded is not None:
            yield Picture(time.time_ns(), coded.keyframe, b"", coded.data)
    raise ConnectionError(f"{url}: no picture for {_TIMEOUT_S} s")


WATCH: Mapping[str, Callable[[str], Iterator[Picture]]] = {
    "rtmp": _rtmp,
    "flv": _flv,
    "hls": _hls,
    "whep": _whep,
}
"""Raises `OSError` or `PeerError` when the server does not play along."""
