"""Which FFmpeg is inside."""

import av

__all__ = ["ffmpeg_version"]


def ffmpeg_version() -> str:
    """The release of the FFmpeg libraries that PyAV brought, such as ``8.1.2``."""
    return str(av.ffmpeg_version_info)
