"""Parameter sets repeated in samples, for players that do not read a second init segment."""

from typing import Final

from streamserver.media.h264 import AvcConfig
from streamserver.media.h265 import HevcConfig
from streamserver.media.nal import join_nals
from streamserver.media.track import Codec, Track

__all__ = ["parameter_sets"]

_CONFIGS: Final[dict[Codec, type[AvcConfig | HevcConfig]]] = {
    Codec.H264: AvcConfig,
    Codec.H265: HevcConfig,
}


def parameter_sets(track: Track) -> bytes:
    """The NAL units of a track's config in the form of samples; empty for other codecs.

    FFmpeg's HLS reader, and mpv and VLC with it, skips the ``moov`` of every init segment after
    its first, so of a changed picture only what samples say reaches its decoder. For all others
    it repeats what their init segment said (ISO/IEC 14496-15 wants the sets of avc1 and hvc1 there,
    and there they are).

    Raises `RemoteProtocolError` when the config is malformed.
    """
    config = _CONFIGS.get(track.codec)
    return b"" if config is None else join_nals(config.parse(track.config).sets.values())
