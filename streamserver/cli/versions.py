"""``streamserver version``: what we are and what we stand on."""

import platform
from importlib.metadata import PackageNotFoundError, version

from streamserver import __version__

__all__ = ["versions"]


def versions() -> dict[str, str]:
    """Name and version of the parts that matter in a report of a fault."""
    # Takes a tenth of a second, which no other command should wait for.
    from streamserver.ffmpeg.versions import ffmpeg_version

    return {
        "streamserver": __version__,
        "python": platform.python_version(),
        "ffmpeg": ffmpeg_version(),
        "pyav": version("av"),
        "event_loop": _event_loop(),
        "platform": platform.platform(),
    }


def _event_loop() -> str:
    try:
        return f"uvloop {version('uvloop')}"
    except PackageNotFoundError:
        return "asyncio"
