"""What can be fed with anything: each target takes bytes and lets only the peer's errors pass.

A target returns for whatever it was given. Anything that escapes it is a finding, and so is a
broken promise that it asserts: bounds, the same events however the bytes were split, what was
written can be read.
"""

import contextlib
from collections.abc import Callable, Coroutine, Iterator
from typing import Any, Final, TypeVar

from streamserver.endpoints.http.framing import body_scanner
from streamserver.endpoints.http.requests import BadRequestError, HeadScanner, parse_request_head
from streamserver.errors import RefusedError, RemoteProtocolError
from streamserver.hub.registry import Registry, RegistrySettings
from streamserver.hub.stream import LogBounds
from streamserver.ingest.rtmp import RtmpIngest
from streamserver.media import aac, av1, h264, h265, opus, vp8, vp9
from streamserver.media.track import Codec
from streamserver.names import StreamKey
from streamserver.net.proxy_protocol import ProxyProtocolParser
from streamserver.outputs.hls.directives import parse_directives
from streamserver.outputs.hls.paths import parse_path
from streamserver.rtmp import amf0, amf3
from streamserver.rtmp.amf import Cursor
from streamserver.rtmp.client import ClientSession
from streamserver.rtmp.client_settings import ClientAction, ClientSettings
from streamserver.rtmp.client_states import ClientState
from streamserver.rtmp.events import ConnectReceived, PlayRequested, PublishRequested
from streamserver.rtmp.message import Message
from streamserver.rtmp.session import ServerSession
from streamserver.rtmp.target import parse_target
from streamserver.rtmp.url import TcUrl, resolve
from streamserver.rtp.depacketize.av1 import Av1Depacketizer
from streamserver.rtp.depacketize.base import Depacketizer
from streamserver.rtp.depacketize.h264 import H264Depacketizer
from streamserver.rtp.depacketize.h265 import H265Depacketizer
from streamserver.rtp.depacketize.vp8 import Vp8Depacketizer
from streamserver.rtp.depacketize.vp9 import Vp9Depacketizer
from streamserver.rtp.packet import parse_packet
from streamserver.rtp.receiver import Receiver
from streamserver.rtp.rtcp import parse_rtcp
from streamserver.webrtc import stun
from streamserver.webrtc.fragment import read_fragment
from streamserver.webrtc.negotiation import agree_to_play, agree_to_publish
from streamserver.webrtc.sdp import read_description
from tests.fakes import FakeClock, Turns, session
from tests.rtp.publisher import AUDIO, VIDEO

__all__ = ["TARGETS", "Target", "framed"]

Target = Callable[[bytes], None]
T = TypeVar("T")

_HANDSHAKE: Final = b"\x03" + bytes(2 * 1536)
_PEERS = (RemoteProtocolError, RefusedError)
_MS: Final = 1_000_000


def framed(*pieces: bytes) -> bytes:
    """Several inputs as one: each behind its length in two bytes."""
    return b"".join(len(piece).to_bytes(2, "big") + piece for piece in pieces)


def _pieces(data: bytes) -> Iterator[bytes]:
    at = 0
    while at + 2 <= len(data):
        length = int.from_bytes(data[at : at + 2], "big")
        yield data[at + 2 : at + 2 + length]
        at += 2 + length


def _now(coroutine: Coroutine[Any, Any, T]) -> T:
    """The result of a coroutine that waits for nothing."""
    try:
        coroutine.send(None)
    except StopIteration as stop:
        result: T = stop.value
        return result
    raise AssertionError("it waits")


# ---- RTMP ---------------------------------------------------------------------------------------


def rtmp_server(data: bytes) -> None:
    """A server session after the handshake; whatever is asked is allowed."""
    told = [_serve([data]), _serve([data[: len(data) // 2], data[len(data) // 2 :]])]
    assert told[0] == told[1], "the same bytes, split otherwise, gave other events"


def _serve(parts: list[bytes]) -> list[str]:
    server = ServerSession(now_ns=0, nonce=bytes(1528))
    told: list[str] = []
    with contextlib.suppress(RemoteProtocolError):
        for part in (_HANDSHAKE, *parts):
            server.receive(part, 0)
    for event in server.events():
        told.append(repr(event)[:200])
        match event:
            case ConnectReceived():
                assert len(event.four_ccs) <= 64
            case PublishRequested():
                server.accept_publish(event, 0)
            case PlayRequested():
                server.accept_play(event)
    server.bytes_to_send()
    server.handle_timeout(10**18)
    server.events()
    return told


def _rtmp_client(action: ClientAction, data: bytes) -> None:
    target = parse_target("rtmp://127.0.0.1/live/cam")
    client = ClientSession(ClientSettings(target=target, action=action), now_ns=0)
    with contextlib.suppress(RemoteProtocolError):
        client.receive(_HANDSHAKE, 0)
        for at in range(0, len(data), 700):
            client.receive(data[at : at + 700], 0)
            client.events()
            if client.state is ClientState.LIVE and action == "publish":
                client.send_media("video", 0, b"\x17\x01\0\0\0")
            client.bytes_to_send()
    client.handle_timeout(10**18)
    client.finish()
    client.events()


def rtmp_publishing_client(data: bytes) -> None:
    """What a destination answers."""
    _rtmp_client("publish", data)


def rtmp_playing_client(data: bytes) -> None:
    """What a server sends that we fetch a stream from."""
    _rtmp_client("play", data)


def amf(data: bytes) -> None:
    """AMF0, AMF3, and AMF0 written again."""
    for decode in (amf0.decode, amf0.decode_arguments):
        with contextlib.suppress(RemoteProtocolError):
            decode(data)
    with contextlib.suppress(RemoteProtocolError):
        amf3.read(Cursor(data))


def rtmp_urls(data: bytes) -> None:
    """``tcUrl``, application and key, and what people paste."""
    text = data.decode("utf-8", "replace")
    app, _, key = text.partition("\n")
    TcUrl.parse(app)
    for read in (lambda: resolve(app, key, text), lambda: parse_target(text)):
        with contextlib.suppress(*_PEERS):
            read()


# ---- media --------------------------------------------------------------------------------------


def flv_tags(data: bytes) -> None:
    """Audio (odd first byte) and video bodies in a row, up to the log."""
    registry = Registry(FakeClock(), Turns(), RegistrySettings(bounds=LogBounds(10_000, 1 << 20)))
    lease = _now(registry.claim(StreamKey("live", "cam"), session()))
    ingest = RtmpIngest(lease)
    for index, piece in enumerate(_pieces(data)):
        if piece:
            stamp = index * 40 if piece[0] < 128 else int.from_bytes(piece[:4], "big")
            message = Message(8 | (not piece[0] & 1), stamp & 0xFFFFFFFF, 1, piece[1:])
            ingest.media((message,), index * 40 * _MS)
    ingest.assembler.flush()
    assert lease.stream.packets.bytes <= (1 << 20) + len(data)


def h264_config(data: bytes) -> None:
    """SPS, avcC, and the track of it."""
    _configuration(data, h264.parse_sps, h264.recovery_frames, h264.track_from_avcc)
    with contextlib.suppress(RemoteProtocolError):
        config = h264.AvcConfig.parse(data)
        again = h264.AvcConfig.parse(config.to_bytes())
        assert again.to_bytes() == config.to_bytes()
        h264.track_from_avcc(config.merged(list(_pieces(data))).to_bytes())


def h265_config(data: bytes) -> None:
    """SPS, hvcC, and the track of it."""
    _configuration(data, h265.parse_sps, h265.track_from_hvcc)
    with contextlib.suppress(RemoteProtocolError):
        config = h265.HevcConfig.parse(data)
        again = h265.HevcConfig.parse(config.to_bytes())
        assert again.to_bytes() == config.to_bytes()
        h265.track_from_hvcc(config.merged(list(_pieces(data))).to_bytes())


def av1_config(data: bytes) -> None:
    """OBUs, sequence headers, av1C."""
    _configuration(
        data, lambda some: list(av1.split_obus(some)), av1.parse_sequence_header, av1.parse_obu,
        av1.sequence_header_of, av1.build_av1c, av1.track_from_av1c, av1.is_shown_key_frame,
    )  # fmt: skip


def vpx_config(data: bytes) -> None:
    """Frames of VP8 and VP9, and vpcC."""
    _configuration(
        data, vp8.keyframe_size, vp8.is_keyframe, vp9.parse_frame, vp9.VpConfig.parse,
        vp9.track_from_vpcc, lambda some: vp9.track_from_vpcc(b"", 0, some),
        lambda some: vp8.track_from_vp8(b"", 0, some),
    )  # fmt: skip


def audio_config(data: bytes) -> None:
    """AudioSpecificConfig, ADTS, OpusHead, Opus packets."""
    _configuration(
        data, aac.AacConfig.parse, aac.track_from_asc, _adts, opus.OpusHead.parse,
        opus.track_from_opus_head, opus.packet_samples,
    )  # fmt: skip


def _adts(data: bytes) -> None:
    if aac.is_adts(data):
        aac.strip_adts(data)


def _configuration(data: bytes, *readers: Callable[[bytes], object]) -> None:
    for read in readers:
        with contextlib.suppress(RemoteProtocolError):
            read(data)


# ---- WebRTC -------------------------------------------------------------------------------------


def rtp(data: bytes) -> None:
    """Packets and reports of a publisher, as the receiver takes them."""
    receiver = Receiver((VIDEO, AUDIO), ssrc=1, cname="c")
    now_ns = 10**9
    for piece in _pieces(data):
        now_ns += 7 * _MS
        with contextlib.suppress(RemoteProtocolError):
            parse_packet(piece)
        with contextlib.suppress(RemoteProtocolError):
            if len(piece) > 1 and 192 <= piece[1] <= 223:
                receiver.receive_rtcp(piece, now_ns)
            else:
                receiver.receive(piece, now_ns)
        receiver.expire(now_ns)
        receiver.feedback(now_ns)
    receiver.expire(now_ns + 10**10)
    receiver.totals()


def depacketizers(data: bytes) -> None:
    """Payloads of each video codec; an empty one ends the frame."""
    made: tuple[Depacketizer, ...] = (
        H264Depacketizer(), H265Depacketizer(), Av1Depacketizer(), Vp8Depacketizer(),
        Vp9Depacketizer(),
    )  # fmt: skip
    for depacketizer in made:
        for piece in _pieces(data):
            with contextlib.suppress(RemoteProtocolError):
                if piece:
                    depacketizer.begins(piece)
                    depacketizer.add(piece)
                else:
                    depacketizer.take()
        with contextlib.suppress(RemoteProtocolError):
            depacketizer.take()
        depacketizer.drop()


def rtcp(data: bytes) -> None:
    """Compound reports."""
    with contextlib.suppress(RemoteProtocolError):
        parse_rtcp(data)


def stun_messages(data: bytes) -> None:
    """STUN, and whether it is authentic."""
    stun.username_of(data)
    with contextlib.suppress(RemoteProtocolError):
        message = stun.parse(data)
        stun.authentic(data, message, b"password")


def sdp_offers(data: bytes) -> None:
    """Offers of publishers and players, and trickled fragments."""
    text = data.decode("utf-8", "replace")
    with contextlib.suppress(*_PEERS):
        read_fragment(text)
    try:
        offer = read_description(text)
    except RemoteProtocolError:
        return
    with contextlib.suppress(*_PEERS):
        agree_to_publish(offer)
    for codecs in ((Codec.H264, Codec.OPUS), (Codec.VP9,), (Codec.AV1, Codec.OPUS)):
        with contextlib.suppress(*_PEERS):
            agree_to_play(offer, codecs, profile="42e01f")


# ---- HTTP and what stands before it -------------------------------------------------------------


def http_requests(data: bytes) -> None:
    """Pipelined heads with bodies, in one piece and byte by byte."""
    whole, split = _heads([data]), _heads([data[at : at + 1] for at in range(len(data))])
    assert whole == split, "the same requests, split otherwise, were read otherwise"


def _heads(parts: list[bytes]) -> list[str]:
    scanner, told = HeadScanner(4096), list[str]()
    try:
        for part in parts:
            scanner.feed(part)
            while (head := scanner.next_head()) is not None:
                told.append(repr(parse_request_head(head)))
    except BadRequestError as error:
        told.append(str(error.status))
    return told


def http_bodies(data: bytes) -> None:
    """Bodies of requests: chunked, and of a known length."""
    for feed in (body_scanner(-1), body_scanner(5)):
        with contextlib.suppress(RemoteProtocolError):
            assert 0 <= feed.feed(data) <= len(data)


def proxy_protocol(data: bytes) -> None:
    """The header that a proxy sends first, whole and byte by byte."""
    told = []
    for parts in ([data], [data[at : at + 1] for at in range(len(data))]):
        parser, said = ProxyProtocolParser(), ""
        try:
            for part in parts:
                parser.receive(part)
            said = repr(parser.header)
        except RemoteProtocolError:
            said = "refused"
        told.append(said)
    assert told[0] == told[1]


def hls_urls(data: bytes) -> None:
    """Paths and directives of HLS."""
    path, _, query = data.partition(b"?")
    with contextlib.suppress(*_PEERS):
        parse_path(path.decode("latin-1"))
    with contextlib.suppress(*_PEERS):
        msn, part = parse_directives(query)
        assert msn >= -1
        assert part >= -1


TARGETS: Final[dict[str, Target]] = {
    target.__name__: target
    for target in (
        rtmp_server, rtmp_publishing_client, rtmp_playing_client, amf, rtmp_urls, flv_tags,
        h264_config, h265_config, av1_config, vpx_config, audio_config, rtp, depacketizers, rtcp,
        stun_messages, sdp_offers, http_requests, http_bodies, proxy_protocol, hls_urls,
    )
}  # fmt: skip
