"""What is loaded when the doors are open: nobody waits for it, and its absence ends the server.

FFmpeg and the libraries of WebRTC take Python most of a second to load. They are used in threads
or by peers that wait for them, so that no first viewer stops the loop.
"""

import asyncio
import importlib

from streamserver.endpoints.webrtc import RtcEndpoint
from streamserver.errors import UnavailableError

__all__ = ["load_late"]

_FFMPEG = ("streamserver.ffmpeg.audio", "streamserver.ffmpeg.ts")


async def load_late(webrtc: RtcEndpoint | None) -> None:
    """Loads the rest, in threads. Raises `UnavailableError`: a library is missing or broken."""
    if webrtc is not None:
        await webrtc.prepared()
    await asyncio.to_thread(_load_ffmpeg)


def _load_ffmpeg() -> None:
    try:
        for name in _FFMPEG:
            importlib.import_module(name)
    except Exception as error:  # whatever a broken library makes of its import
        raise UnavailableError(f"FFmpeg's libraries cannot be loaded: {error!r}") from error
