"""AAC: AudioSpecificConfig (ISO/IEC 14496-3 1.6.2) and ADTS (1.A.3)."""

from dataclasses import dataclass
from typing import Final, NamedTuple, Self

from streamserver.errors import RemoteProtocolError
from streamserver.media.bits import BitReader
from streamserver.media.errors import DamagedFrameError
from streamserver.media.track import Codec, Track

__all__ = ["AacConfig", "is_adts", "strip_adts", "track_from_asc"]

_SAMPLE_RATES: Final = (
    96_000, 88_200, 64_000, 48_000, 44_100, 32_000, 24_000, 22_050, 16_000, 12_000, 11_025, 8_000,
    7_350,
)  # fmt: skip
"""By samplingFrequencyIndex (1.6.3.4)."""

_CHANNELS: Final = {1: 1, 2: 2, 3: 3, 4: 4, 5: 5, 6: 6, 7: 8, 11: 7, 12: 8, 13: 24, 14: 8}
"""By channelConfiguration (1.6.3.5); 0 leaves it to a program config element."""

_AOT_SBR: Final = 5
_AOT_ER_BSAC: Final = 22
_AOT_PS: Final = 29
_AOT_LD: Final = 23
_AOT_ELD: Final = 39
_FRAME_LENGTHS: Final = {_AOT_LD: (512, 480)}
"""Samples in a frame without and with frameLengthFlag, where they are not 1024 and 960."""

_GENERAL_AUDIO: Final = frozenset((1, 2, 3, 4, 6, 7, 17, 19, 20, 21, 22, 23))
"""Object types whose configuration goes on with GASpecificConfig (4.4.1)."""

_PROFILE_NAMES: Final = {
    1: "Main", 2: "LC", 3: "SSR", 4: "LTP", 5: "HE-AAC", 23: "LD", 29: "HE-AACv2", 39: "ELD",
    42: "xHE-AAC",
}  # fmt: skip

_RATE_LIMITS: Final = (4_000, 192_000)
"""Sample rates outside are a broken configuration, not a sound."""

_MAX_CONFIG_BYTES: Final = 1024


@dataclass(frozen=True, slots=True)
class AacConfig:
    """AudioSpecificConfig, as far as a server cares."""

    object_type: int
    """Audio object type of the core codec: 2 is LC."""

    core_rate: int
    """Samples per second of the core codec."""

    channels: int
    """Channels at the decoder's output."""

    frame_length: int
    """Samples of the core codec in one frame: 1024 or 960, half with low delay."""

    sbr_rate: int = 0
    """Output samples per second with spectral band replication; 0 when none is signalled."""

    parametric_stereo: bool = False
    """Whether one coded channel becomes two."""

    @property
    def sample_rate(self) -> int:
        """Samples per second at the decoder's output."""
        return self.sbr_rate or self.core_rate

    @property
    def samples_per_frame(self) -> int:
        """Samples that one frame becomes, at the output rate."""
        return self.frame_length * self.sample_rate // self.core_rate

    @property
    def effective_type(self) -> int:
        """The object type that names the whole: 29 with parametric stereo, 5 with SBR."""
        if self.parametric_stereo:
            return _AOT_PS
        return _AOT_SBR if self.sbr_rate else self.object_type

    @classmethod
    def parse(cls, data: bytes) -> Self:
        """Reads AudioSpecificConfig with its extensions. Raises `RemoteProtocolError`."""
        if len(data) > _MAX_CONFIG_BYTES:
            raise RemoteProtocolError("the AAC configuration is too long")
        bits = BitReader(data, "the AAC configuration")
        object_type = _read_object_type(bits)
        core_rate = _read_rate(bits)
        channel_config = bits.u(4)
        sbr_rate, stereo = 0, False
        explicit = object_type in (_AOT_SBR, _AOT_PS)
        if explicit:
            # 1.6.2.1: hierarchical signalling; the core's type follows.
            stereo = object_type == _AOT_PS
            sbr_rate = _read_rate(bits)
            object_type = _read_object_type(bits)
            if object_type == _AOT_ER_BSAC:
                bits.skip(4)  # extensionChannelConfiguration
        channels, frame_length = _CHANNELS.get(channel_config, 0), 1024
        if object_type in _GENERAL_AUDIO:
            frame_length, in_band = _parse_general_audio(bits, object_type, channel_config)
            channels = channels or in_band
            if not explicit:
                sbr_rate, stereo = _parse_sync_extension(bits)
        elif object_type == _AOT_ELD:
            frame_length = 480 if bits.flag() else 512  # ELDSpecificConfig begins with this flag
        if not channels and channel_config:
            raise RemoteProtocolError("the AAC configuration has a reserved channel configuration")
        if sbr_rate not in (0, core_rate, 2 * core_rate):
            raise RemoteProtocolError("the AAC configuration's SBR does not fit its sample rate")
        channels = 2 if stereo else channels or 2
        return cls(object_type, core_rate, channels, frame_length, sbr_rate, stereo)


def _read_object_type(bits: BitReader) -> int:
    object_type = bits.u(5)
    return 32 + bits.u(6) if object_type == 31 else object_type


def _read_rate(bits: BitReader) -> int:
    index = bits.u(4)
    if index == 15:
        rate = bits.u(24)
    else:
        rate = _SAMPLE_RATES[index] if index < len(_SAMPLE_RATES) else 0
    if not _RATE_LIMITS[0] <= rate <= _RATE_LIMITS[1]:
        raise RemoteProtocolError("the AAC configuration has an impossible sample rate")
    return rate


def _parse_general_audio(bits: BitReader, object_type: int, channel_config: int) -> tuple[int, int]:
    """GASpecificConfig (4.4.1): samples in a frame, and channels of a program config element."""
    long, short = _FRAME_LENGTHS.get(object_type, (1024, 960))
    frame_length = short if bits.flag() else long
    if bits.flag():
        bits.skip(14)  # coreCoderDelay
    extension = bits.flag()
    channels = 0
    # Some encoders announce the element and leave it out: then the decoder finds it in the frames.
    if channel_config == 0 and bits.left >= 31:
        channels = _parse_program_config(bits)
    if object_type in (6, 20):
        bits.skip(3)  # layerNr
    if extension:
        if object_type == _AOT_ER_BSAC:
            bits.skip(5 + 11)
        if object_type in (17, 19, 20, 23):
            bits.skip(3)
        bits.skip(1)
    return frame_length, channels


def _parse_program_config(bits: BitReader) -> int:
    """program_config_element (4.4.1.1): how many channels its elements have."""
    bits.skip(4 + 2 + 4)
    front, side, back, low = bits.u(4), bits.u(4), bits.u(4), bits.u(2)
    data_elements, coupling = bits.u(3), bits.u(4)
    for mixdown in (4, 4, 3):  # mono, stereo, matrix
        if bits.flag():
            bits.skip(mixdown)
    channels = low
    for _ in range(front + side + back):
        channels += 2 if bits.flag() else 1
        bits.skip(4)
    bits.skip(4 * (low + data_elements) + 5 * coupling)
    bits.take(bits.take(1)[0])  # comment
    return channels


def _parse_sync_extension(bits: BitReader) -> tuple[int, bool]:
    """Backward compatible signalling of SBR and PS (1.6.2.1): output rate, parametric stereo."""
    if bits.left < 16 or bits.u(11) != 0x2B7:
        return 0, False
    if _read_object_type(bits) != _AOT_SBR or not bits.flag():
        return 0, False
    rate = _read_rate(bits)
    return rate, bits.left >= 12 and bits.u(11) == 0x548 and bits.flag()


def is_adts(data: bytes) -> bool:
    """Whether it begins with an ADTS header; no raw AAC frame begins with its 12 sync bits."""
    return len(data) >= 7 and data[0] == 0xFF and data[1] & 0xF6 == 0xF0


class _Adts(NamedTuple):
    header: int
    end: int
    blocks: int


def _parse_adts(data: bytes) -> _Adts:
    # 1.A.3.2: protection_absent, aac_frame_length, number_of_raw_data_blocks_in_frame
    header = 7 if data[1] & 1 else 9
    length = (data[3] & 3) << 11 | data[4] << 3 | data[5] >> 5
    return _Adts(header, length, 1 + (data[6] & 3))


def strip_adts(data: bytes) -> bytes:
    """The raw frame behind an ADTS header. Raises `DamagedFrameError`."""
    adts = _parse_adts(data)
    if not adts.header < adts.end <= len(data):
        raise DamagedFrameError("the length in the ADTS header does not fit")
    if adts.blocks > 1 or is_adts(data[adts.end :]):
        raise DamagedFrameError("several ADTS frames in one message")
    return data[adts.header : adts.end]


def track_from_asc(config: bytes, epoch: int = 0) -> Track:
    """The track that AudioSpecificConfig describes. Raises `RemoteProtocolError`."""
    aac = AacConfig.parse(config)
    return Track(
        codec=Codec.AAC,
        clock_rate=aac.sample_rate,
        config=config,
        epoch=epoch,
        codec_string=f"mp4a.40.{aac.effective_type}",
        profile=_PROFILE_NAMES.get(aac.effective_type, str(aac.effective_type)),
        sample_rate=aac.sample_rate,
        channels=aac.channels,
    )
