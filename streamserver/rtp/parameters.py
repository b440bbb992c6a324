"""What offer and answer agreed on for one line of media."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from streamserver.media.track import Codec, Kind

__all__ = ["MediaLine"]


@dataclass(frozen=True, slots=True, kw_only=True)
class MediaLine:
    """One negotiated audio or video section (``m=`` line), with the one codec that it carries."""

    mid: str
    """Its ``a=mid``, by which candidates and bundles name it."""

    codec: Codec
    """What is sent on it."""

    payload_type: int
    """The number of the codec in RTP headers."""

    clock_rate: int
    """Ticks per second of RTP time stamps: 90000 for video, 48000 for Opus."""

    fmtp: Mapping[str, str] = field(default_factory=dict)
    """Parameters of the codec as answered, names in lower case."""

    rtx_payload_type: int | None = None
    """The number of retransmissions (RFC 4588); None when there are none."""

    nack: bool = False
    """Whether lost packets are asked for again (RFC 4585, section 6.2.1)."""

    pli: bool = False
    """Whether keyframes can be asked for (RFC 4585, section 6.3.1)."""

    transport_cc: bool = False
    """Whether transport-wide feedback is sent (draft-holmer-rmcat-transport-wide-cc-extensions)."""

    extensions: Mapping[str, int] = field(default_factory=dict)
    """Header extensions that both sides have: URI to number (RFC 8285)."""

    remote_ssrcs: tuple[int, ...] = ()
    """Sources that the peer announced for its media, without those of retransmissions."""

    ssrc: int = 0
    """The source that we send with; 0 where we only receive."""

    rtx_ssrc: int = 0
    """The source of our retransmissions; 0 where there are none."""

    @property
    def kind(self) -> Kind:
        """Video or audio."""
        return self.codec.kind
