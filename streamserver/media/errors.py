"""What can be wrong with media, finer than the protocol error."""

from streamserver.errors import RemoteProtocolError

__all__ = ["DamagedFrameError"]


class DamagedFrameError(RemoteProtocolError):
    """One message or access unit is unusable; what follows it may be fine.

    The ingest counts it and goes on. A plain `RemoteProtocolError` from this package says that a
    decoder configuration is unusable, and with it the track.
    """
