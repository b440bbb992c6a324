"""What a decision about a player means for its HLS session."""

from dataclasses import dataclass

from streamserver.names import StreamKey

__all__ = ["Grant"]


@dataclass(frozen=True, slots=True)
class Grant:
    """Somebody may watch."""

    stream: StreamKey
    """This stream; another than was asked for where a hook said so."""

    expires_s: int | None = None
    """Until this Unix time; None: as long as it stays."""

    credential: str = ""
    """The tag of the credential that opened; empty: none that can be taken back."""
