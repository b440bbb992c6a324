"""How many samples an audio frame holds: what makes an audio clock exact."""

from typing import Final

from streamserver.media.aac import AacConfig
from streamserver.media.errors import DamagedFrameError
from streamserver.media.mp3 import parse_frame
from streamserver.media.opus import packet_samples
from streamserver.media.packet import Packet
from streamserver.media.track import Codec, Track

__all__ = ["fixed_frame", "frame_samples"]

_USUAL: Final = {Codec.AAC: 1_024, Codec.OPUS: 960, Codec.MP3: 1_152}
"""Samples in most frames of a codec, for a frame that cannot be read."""


def fixed_frame(track: Track) -> int:
    """Samples of the AAC core in every frame of a track; 0 for codecs whose frames vary.

    With HE-AAC a frame is 1024 samples of the core and 2048 of the output, which is twice as
    fast; files count in the core's. Raises `RemoteProtocolError` for a malformed config.
    """
    return AacConfig.parse(track.config).frame_length if track.codec is Codec.AAC else 0


def frame_samples(packet: Packet) -> int:
    """Samples in an Opus packet (at 48 kHz) or an MP3 frame, read from its first bytes."""
    codec = packet.track.codec
    try:
        if codec is Codec.OPUS:
            return packet_samples(packet.data)
        return parse_frame(packet.data).samples
    except DamagedFrameError:
        # The ingest lets no such frame through; should one come, time goes on as usual.
        return _USUAL[codec]
