"""H.264 (RFC 6184): single NAL units, STAP-A and FU-A, as packetization modes 0 and 1 have them."""

from typing import ClassVar, Final

from streamserver.media.errors import DamagedFrameError
from streamserver.rtp.depacketize.nal import NalDepacketizer

__all__ = ["H264Depacketizer"]

_IDR: Final = 5
_SPS: Final = 7
_DELIMITER: Final = 9
_STAP_A: Final = 24
_FU_A: Final = 28


class H264Depacketizer(NalDepacketizer):
    """Frames are length-prefixed NAL units, parameter sets among them."""

    __slots__ = ()

    codec: ClassVar[str] = "H.264"

    @staticmethod
    def is_entry(unit: bytes) -> bool:
        """See `NalDepacketizer`."""
        return unit[0] & 0x1F == _IDR

    def begins(self, payload: bytes) -> bool:
        """See `Depacketizer`."""
        # H.264, section 7.4.1.2.3: delimiter and parameter sets stand before the first slice.
        kind = payload[0] & 0x1F
        if kind == _STAP_A and len(payload) > 3:
            kind = payload[3] & 0x1F
        return kind in (_SPS, _DELIMITER)

    def add(self, payload: bytes) -> None:
        """See `Depacketizer`."""
        kind = payload[0] & 0x1F
        if kind == _FU_A:
            if len(payload) < 3:
                raise DamagedFrameError("the H.264 fragment is empty")
            # Section 5.8: an indicator, then start, end, reserved and the type of the unit.
            header = bytes((payload[0] & 0xE0 | payload[1] & 0x1F,))
            self.add_fragment(payload[1], header, payload[2:])
        elif 0 < kind < _STAP_A:
            self.add_unit(payload)
        elif kind == _STAP_A:
            self.add_aggregate(payload, 1)
        else:
            # Section 5.4: the others belong to the interleaved mode, which is never negotiated.
            raise DamagedFrameError("the H.264 payload is of a kind that was not negotiated")
