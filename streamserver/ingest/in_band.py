"""What a track is, read from its first keyframe: RTP has no place for decoder configurations."""

from streamserver.media import av1, h264, h265
from streamserver.media.nal import split_prefixed
from streamserver.media.opus import OpusHead
from streamserver.media.track import Codec

__all__ = ["config_of"]

_START_CODE = b"\x00\x00\x00\x01"

_H265_SETS = frozenset((h265.NAL_VPS, h265.NAL_SPS, h265.NAL_PPS))


def config_of(codec: Codec, frame: bytes) -> bytes | None:
    """The configuration for `Assembler.configure` that a keyframe implies; None when it has none.

    Raises `RemoteProtocolError`.
    """
    match codec:
        case Codec.H264:
            nals = split_prefixed(frame, 4)
            sets = [nal for nal in nals if h264.nal_type(nal) in (h264.NAL_SPS, h264.NAL_PPS)]
            found = {h264.nal_type(nal) for nal in sets}
            return _annex_b(sets) if len(found) == 2 else None
        case Codec.H265:
            nals = split_prefixed(frame, 4)
            sets = [nal for nal in nals if h265.nal_type(nal) in _H265_SETS]
            found = {h265.nal_type(nal) for nal in sets}
            return _annex_b(sets) if len(found) == 3 else None
        case Codec.AV1:
            header = av1.sequence_header_of(frame)
            return None if header is None else av1.build_av1c(header)
        case Codec.OPUS:
            # RFC 7587, section 7: whoever takes Opus takes stereo; packets tell what they hold.
            return OpusHead.of_channels(2).to_bytes()
        case _:
            return b""


def _annex_b(nals: list[bytes]) -> bytes:
    return b"".join(_START_CODE + nal for nal in nals)
