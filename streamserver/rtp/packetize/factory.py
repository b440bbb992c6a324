"""Which packetizer a track needs."""

from streamserver.media.packet import Packet
from streamserver.media.track import Codec, Track
from streamserver.rtp.packetize.av1 import Av1Packetizer
from streamserver.rtp.packetize.base import MAX_AUDIO_PAYLOAD, Packetizer
from streamserver.rtp.packetize.h264 import h264_packetizer
from streamserver.rtp.packetize.h265 import h265_packetizer
from streamserver.rtp.packetize.vpx import Vp8Packetizer, Vp9Packetizer

__all__ = ["OpusPacketizer", "make_packetizer"]


class OpusPacketizer:
    """RFC 7587 4.2: one Opus packet is one payload. One that is too long is left out."""

    def packetize(self, packet: Packet) -> list[bytes]:
        """The payload of one packet."""
        data = packet.data
        return [data] if 0 < len(data) <= MAX_AUDIO_PAYLOAD else []


def make_packetizer(track: Track) -> Packetizer | None:
    """The packetizer of a track; None for a codec that WebRTC does not carry.

    Raises `RemoteProtocolError` when its configuration cannot be read.
    """
    match track.codec:
        case Codec.H264:
            return h264_packetizer(track)
        case Codec.H265:
            return h265_packetizer(track)
        case Codec.VP8:
            return Vp8Packetizer()
        case Codec.VP9:
            return Vp9Packetizer()
        case Codec.AV1:
            return Av1Packetizer(track)
        case Codec.OPUS:
            return OpusPacketizer()
        case _:
            return None
