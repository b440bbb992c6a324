"""Writes what fuzzing begins with: ``python -m tests.fuzz.seeds``. The files are committed.

Real bytes where there are any: captures of encoders and servers, clips of FFmpeg's encoders, offers
of browsers.
"""

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from streamserver.media.track import Kind
from streamserver.rtp.packet import build_packet
from streamserver.webrtc import stun
from tests import media_factory
from tests.fuzz.targets import framed
from tests.rtmp.helpers_wire import DATA, player, publisher
from tests.rtp.h264_sets import pps, sps
from tests.rtp.publisher import h264_payloads
from tests.webrtc.offers import CHROMIUM_PLAY, CHROMIUM_PUBLISH, FFMPEG_PUBLISH

__all__ = ["CORPUS"]

CORPUS: Final = Path(__file__).parent / "corpus"
_HANDSHAKE: Final = 3073
_MOST_BYTES: Final = 1500


def _captures(*, of_servers: bool) -> Iterator[bytes]:
    for path in sorted(DATA.glob("*.bin")):
        if path.name.startswith("server") is of_servers:
            yield path.read_bytes()[_HANDSHAKE:][:_MOST_BYTES]


def _tags(clip: media_factory.Clip, count: int) -> bytes:
    pieces = []
    for tag in list(media_factory.tags(clip.flv))[:count]:
        lead = b"\0" if tag.kind is Kind.VIDEO else b"\x01"
        pieces.append(lead + tag.body[:400])
    return framed(*pieces)


def _configs(codec: str) -> Iterator[bytes]:
    clips = (
        media_factory.h264_aac(), media_factory.hevc_aac(), media_factory.av1_aac(),
        media_factory.vp9_opus(),
    )  # fmt: skip
    for clip in clips:
        for track in clip.tracks:
            if track.codec.value == codec:
                yield track.config
                packet = next(one for one in clip.packets if one.track is track)
                yield packet.data[:300]


def _rtp() -> Iterator[bytes]:
    slices = b"\x65" + bytes(2500)
    payloads = h264_payloads(sps(640, 352), pps(), slices)
    packets = [
        build_packet(
            payload_type=102, sequence=index, timestamp=9000, ssrc=7, payload=payload,
            marker=index == len(payloads) - 1, extensions={3: index.to_bytes(2, "big")},
        )
        for index, payload in enumerate(payloads)
    ]  # fmt: skip
    opus = build_packet(
        payload_type=111, sequence=1, timestamp=960, ssrc=8, payload=b"\xfc" + bytes(20),
        marker=False, extensions={3: b"\0\x09"},
    )  # fmt: skip
    report = b"\x80\xc8\0\x06" + (7).to_bytes(4, "big") + bytes(20)
    bye = b"\x81\xcb\0\x01" + (7).to_bytes(4, "big")
    yield framed(*packets, opus, report)
    yield framed(packets[0], packets[2], opus, bye)


def seeds() -> Iterator[tuple[str, bytes]]:
    """Each seed with the name of its target."""
    yield "rtmp_server", publisher().media().media(8, b"\xaf\x01\0").take()[_HANDSHAKE:]
    yield "rtmp_server", player(capsEx=1).take()[_HANDSHAKE:]
    yield from (("rtmp_server", one) for one in _captures(of_servers=False))
    yield from (("rtmp_publishing_client", one) for one in _captures(of_servers=True))
    yield from (("rtmp_playing_client", one) for one in _captures(of_servers=True))
    yield (
        "amf",
        bytes.fromhex("02000764756d6d79200000000000000000000003000161003ff0000000000000000009"),
    )
    yield "amf", bytes.fromhex("0a0b01036103620401090501040206046108010c0500")
    yield "amf", bytes.fromhex("110a0b010361060362010009030106050a0700000000")
    yield "amf", bytes.fromhex("080000000100017802000179000009090a00000002010105")
    yield "rtmp_urls", b"live\ncam?key=secret&x=1"
    yield "rtmp_urls", b"rtmp://user:pass@[2001:db8::1]:1936/live/x?vhost=a\n/cam//"
    yield "rtmp_urls", b"rtmps://a.rtmps.example.com:443/rtmp/FB-1-2?s_bl=1&s_psm=1"
    for clip in (
        media_factory.h264_aac(), media_factory.hevc_aac(), media_factory.av1_aac(),
        media_factory.vp9_opus(),
    ):  # fmt: skip
        yield "flv_tags", _tags(clip, 8)
    for codec, target in (
        ("h264", "h264_config"), ("h265", "h265_config"), ("av1", "av1_config"),
        ("vp9", "vpx_config"), ("aac", "audio_config"), ("opus", "audio_config"),
    ):  # fmt: skip
        yield from ((target, one) for one in _configs(codec))
    yield "h264_config", sps(1280, 720)
    yield from (("rtp", one) for one in _rtp())
    yield "depacketizers", framed(*h264_payloads(sps(640, 352), pps(), b"\x65" + bytes(900)), b"")
    yield "depacketizers", framed(bytes.fromhex("62018042"), bytes.fromhex("6201004201"), b"")
    yield "depacketizers", framed(bytes.fromhex("180a0b0000"), bytes.fromhex("8090806450"), b"")
    yield "rtcp", bytes.fromhex("80c80006000000070000000000000000000000000000000000000000")
    yield "rtcp", bytes.fromhex("81c9000700000001000000070000000000000001000000000000000000000000")
    yield "rtcp", bytes.fromhex("8fcd00050000000100000007000100020000000020010102")
    yield "stun_messages", stun.request(b"abcdefghijkl", b"us:them", b"password", priority=1)
    yield "stun_messages", stun.success(b"abcdefghijkl", ("192.0.2.1", 4000), b"password")
    yield "stun_messages", stun.success(b"abcdefghijkl", ("2001:db8::1", 4000), b"password")
    for offer in (CHROMIUM_PUBLISH, CHROMIUM_PLAY, FFMPEG_PUBLISH):
        yield "sdp_offers", offer.encode()
    yield (
        "http_requests",
        b"GET /hls/live/cam/index.m3u8?_HLS_msn=3 HTTP/1.1\r\nHost: a\r\n\r\n" * 2,
    )
    yield (
        "http_requests",
        b"POST /whip/live/cam HTTP/1.1\r\nhost: [::1]:80\r\ncontent-length: 3\r\n\r\nabc",
    )
    yield (
        "http_requests",
        b"PUT http://a/ HTTP/1.0\r\nHost:a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    )
    yield "http_bodies", b"5;x=y\r\nhello\r\n0\r\nTrailer: a\r\n\r\nGET /"
    yield "proxy_protocol", b"PROXY TCP4 203.0.113.9 198.51.100.1 40000 1935\r\nrest"
    yield (
        "proxy_protocol",
        (b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\xcb\x00\x71\x09\xc6\x33\x64\x01\x9c\x40\x07\x8frest"),
    )
    yield "hls_urls", b"/live/cam/index.m3u8?_HLS_msn=10&_HLS_part=2"
    yield "hls_urls", b"/live/cam/s/abc.def/video.m3u8?x=1&_HLS_part=2&_HLS_msn=10"
    yield "hls_urls", b"/live/ts.m3u8?_HLS_skip=YES"


def main() -> None:
    """Writes the files."""
    for target, data in seeds():
        directory = CORPUS / target
        directory.mkdir(parents=True, exist_ok=True)
        (directory / hashlib.sha256(data).hexdigest()[:12]).write_bytes(data)


if __name__ == "__main__":
    main()
