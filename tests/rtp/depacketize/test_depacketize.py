"""Payloads of our own packetizers, of aiortc's, and of nobody."""

from collections.abc import Callable

import pytest
from aiortc.codecs.h264 import H264Encoder
from aiortc.codecs.vpx import VpxPayloadDescriptor
from hypothesis import given
from hypothesis import strategies as st

from streamserver.media.av1 import split_obus
from streamserver.media.errors import DamagedFrameError
from streamserver.media.nal import join_nals, split_prefixed
from streamserver.media.packet import Packet
from streamserver.media.track import Codec, Kind
from streamserver.media.units import make_reader
from streamserver.rtp.depacketize.av1 import Av1Depacketizer
from streamserver.rtp.depacketize.base import Depacketizer
from streamserver.rtp.depacketize.h264 import H264Depacketizer
from streamserver.rtp.depacketize.h265 import H265Depacketizer
from streamserver.rtp.depacketize.vp8 import Vp8Depacketizer
from streamserver.rtp.depacketize.vp9 import Vp9Depacketizer
from streamserver.rtp.packetize.factory import make_packetizer
from tests import media_factory

MAKERS: dict[Codec, Callable[[], Depacketizer]] = {
    Codec.H264: H264Depacketizer,
    Codec.H265: H265Depacketizer,
    Codec.AV1: Av1Depacketizer,
    Codec.VP8: Vp8Depacketizer,
    Codec.VP9: Vp9Depacketizer,
}


def frame_of(depacketizer: Depacketizer, payloads: list[bytes]) -> tuple[bytes, bool]:
    for payload in payloads:
        depacketizer.add(payload)
    coded = depacketizer.take()
    assert coded is not None
    assert depacketizer.take() is None
    return coded


def video_of(clip: media_factory.Clip) -> list[Packet]:
    return [packet for packet in clip.packets if packet.track.kind is Kind.VIDEO]


def without_sei(packet: Packet) -> bytes:
    """What the packetizer sends of H.264."""
    if packet.track.codec is not Codec.H264:
        return packet.data
    return join_nals(nal for nal in split_prefixed(packet.data, 4) if nal[0] & 0x1F != 6)


@pytest.mark.parametrize(
    "make",
    [
        media_factory.h264_aac,
        media_factory.hevc_aac,
        media_factory.av1_aac,
        media_factory.vp9_opus,
    ],
)
def test_real_media_comes_back_as_it_was(make) -> None:
    packets = video_of(make())
    track = packets[0].track
    packetizer = make_packetizer(track)
    assert packetizer is not None
    depacketizer = MAKERS[track.codec]()
    reader = make_reader(track.codec, track.config)
    for packet in packets:
        payloads = packetizer.packetize(packet)
        if packet.keyframe:
            assert depacketizer.begins(payloads[0])
        assert not any(depacketizer.begins(payload) for payload in payloads[1:])
        data, keyframe = frame_of(depacketizer, payloads)
        unit = reader.read(data, key_hint=keyframe)
        assert unit is not None
        assert unit.data == without_sei(packet)
        assert keyframe == packet.keyframe == unit.keyframe


def test_h264_of_aiortc_is_understood() -> None:
    for packet in video_of(media_factory.h264_aac())[:10]:
        nals = split_prefixed(packet.data, 4)
        payloads = H264Encoder._packetize(iter(nals))
        assert frame_of(H264Depacketizer(), payloads) == (packet.data, packet.keyframe)


def test_h264_parameter_sets_stay_in_the_frame() -> None:
    sets = b"\x78\x00\x02\x67\x01\x00\x02\x68\x02"
    data, keyframe = frame_of(H264Depacketizer(), [sets, b"\x65picture"])
    assert data == join_nals([b"\x67\x01", b"\x68\x02", b"\x65picture"])
    assert keyframe


def test_h264_fragments_keep_their_importance() -> None:
    payloads = [b"\x7c\x85ab", b"\x7c\x05cd", b"\x7c\x45ef"]
    assert frame_of(H264Depacketizer(), payloads) == (join_nals([b"\x65abcdef"]), True)


def vp8(start: bool, data: bytes, **fields: int) -> bytes:
    descriptor = VpxPayloadDescriptor(
        partition_start=start,
        partition_id=0,
        picture_id=fields.get("picture"),
        tl0picidx=fields.get("tl0"),
        tid=(fields["tid"], 0) if "tid" in fields else None,
        keyidx=fields.get("keyidx"),
    )
    return bytes(descriptor) + data


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"picture": 5},
        {"picture": 30_000},
        {"picture": 30_000, "tl0": 1, "tid": 2},
        {"tid": 1, "keyidx": 3},
        {"picture": 5, "tl0": 1, "tid": 2, "keyidx": 3},
    ],
)
def test_vp8_descriptors_of_any_form_are_stepped_over(fields: dict[str, int]) -> None:
    payloads = [vp8(True, b"\x10key", **fields), vp8(False, b"frame", **fields)]
    assert frame_of(Vp8Depacketizer(), payloads) == (b"\x10keyframe", True)
    assert frame_of(Vp8Depacketizer(), [vp8(True, b"\x11next", **fields)]) == (b"\x11next", False)


KEY_VP9 = bytes.fromhex("82498342 00 04f0 02d0 00".replace(" ", ""))
"""The beginning of a VP9 key frame; its size means nothing here."""


@pytest.mark.parametrize(
    "descriptor",
    [
        "0c",  # nothing but B and E
        "8c05",  # a picture number of 7 bits
        "8c8005",
        "ac80050001",  # layers, not flexible
        "bc800500",  # flexible: no base layer index
        "8e0508010455",  # a scalability structure with a group of one picture, one reference
        "8e0530" + "00a0005a" * 2,  # two sizes
    ],
)
def test_vp9_descriptors_of_any_form_are_stepped_over(descriptor: str) -> None:
    head = bytes.fromhex(descriptor)
    assert frame_of(Vp9Depacketizer(), [head + KEY_VP9]) == (KEY_VP9, True)


def test_vp9_references_are_stepped_over() -> None:
    inter = b"\x86\x00\x01"
    payload = b"\xdc\x05\x03\x05\x02" + inter
    assert frame_of(Vp9Depacketizer(), [payload]) == (inter, False)


def test_vp9_layers_become_a_superframe() -> None:
    base, upper = KEY_VP9 + bytes(20), b"\x86" + bytes(300)
    payloads = [
        b"\xa8\x05\x00\x00" + base[:10],
        b"\xa4\x05\x00\x00" + base[10:],
        b"\xac\x05\x02\x00" + upper,
    ]
    data, keyframe = frame_of(Vp9Depacketizer(), payloads)
    assert keyframe
    assert data[: len(base) + len(upper)] == base + upper
    # Annex B: marker, two sizes of two bytes, marker.
    index = b"\xc9" + len(base).to_bytes(2, "little") + len(upper).to_bytes(2, "little") + b"\xc9"
    assert data[len(base) + len(upper) :] == index
    assert Vp9Depacketizer().begins(payloads[0])
    assert not Vp9Depacketizer().begins(payloads[2])


SEQUENCE = b"\x08" + b"sequence"
FRAME = b"\x30" + bytes(200)


@pytest.mark.parametrize(
    "payloads",
    [
        [b"\x28" + b"\x09" + SEQUENCE + FRAME],
        [b"\x08" + b"\x09" + SEQUENCE + b"\xc9\x01" + FRAME],
        [b"\x68" + b"\x09" + SEQUENCE + FRAME[:50], b"\x90" + FRAME[50:]],
        [b"\x68" + b"\x09" + SEQUENCE + FRAME[:50], b"\xd0" + FRAME[50:90], b"\x90" + FRAME[90:]],
        [b"\x38" + b"\x02\x12\x00" + b"\x09" + SEQUENCE + FRAME],
        [b"\x58" + SEQUENCE[:3], b"\xa0" + b"\x06" + SEQUENCE[3:] + FRAME],
    ],
    ids=["two", "all with lengths", "fragment", "three packets", "delimiter", "cut between"],
)
def test_av1_units_get_their_sizes_back(payloads: list[bytes]) -> None:
    data, keyframe = frame_of(Av1Depacketizer(), payloads)
    assert keyframe
    assert data == b"\x0a\x08sequence" + b"\x32\xc8\x01" + bytes(200)
    assert [obu.kind for obu in split_obus(data)] == [1, 6]


def test_an_av1_extension_stays() -> None:
    data, keyframe = frame_of(Av1Depacketizer(), [b"\x10\x34\x08xyz"])
    assert (data, keyframe) == (b"\x36\x08\x03xyz", False)


@pytest.mark.parametrize(
    ("codec", "payloads"),
    [
        (Codec.H264, [b"\x7c\x05ab"]),
        (Codec.H264, [b"\x7c\x85ab", b"\x7c\x85ab"]),
        (Codec.H264, [b"\x7c\x85ab", b"\x41single"]),
        (Codec.H264, [b"\x7c\x85ab"]),
        (Codec.H264, [b"\x7c\x85"]),
        (Codec.H264, [b"\x78\x00"]),
        (Codec.H264, [b"\x78\x00\x05abc"]),
        (Codec.H264, [b"\x7dmode 2"]),
        (Codec.H264, [b"\x60nothing"]),
        (Codec.H265, [b"\x62\x01\x01ab"]),
        (Codec.H265, [b"\x62\x01"]),
        (Codec.H265, [b"\x62\x01\x81"]),
        (Codec.H265, [b"\x60\x01\x00"]),
        (Codec.H265, [b"\x60\x01\x00\x09a"]),
        (Codec.H265, [b"\x64\x01paci"]),
        (Codec.VP8, [b"\x00start missing"]),
        (Codec.VP8, [b"\x10"]),
        (Codec.VP8, [b"\x90\x80"]),
        (Codec.VP8, [b"\x90\xf0\x80\x00\x00"]),
        (Codec.VP9, [b"\x08no end"]),
        (Codec.VP9, [b"\x04no start"]),
        (Codec.VP9, [b"\x8c\x80"]),
        (Codec.VP9, [b"\x0c"]),
        (Codec.VP9, [b"\xdc\x05\x03\x03\x03\x03" + KEY_VP9]),
        (Codec.VP9, [b"\x0e\x08\xff\x00"]),
        (Codec.VP9, [b"\x0c\x00no marker"]),
        (Codec.AV1, [b"\x10"]),
        (Codec.AV1, [b"\x90went on"]),
        (Codec.AV1, [b"\x50goes on"]),
        (Codec.AV1, [b"\x50goes on", b"\x10begins"]),
        (Codec.AV1, [b"\x00\x09short"]),
        (Codec.AV1, [b"\x30\x01\x30\x01\x30"]),
        (Codec.AV1, [b"\x10\x80forbidden"]),
        (Codec.AV1, [b"\x00" + b"\xff" * 9]),
    ],
)
def test_damage_is_noticed(codec: Codec, payloads: list[bytes]) -> None:
    depacketizer = MAKERS[codec]()
    with pytest.raises(DamagedFrameError):
        frame_of(depacketizer, payloads)
    depacketizer.drop()
    assert depacketizer.take() is None


_FIRSTS = st.sampled_from([0x7C, 0x78, 0x62, 0x60, 0x90, 0x10, 0x8E, 0xAC, 0x50, 0xD0, 0x28])


@given(
    st.sampled_from(sorted(MAKERS)),
    st.lists(
        st.binary(min_size=1, max_size=30)
        | st.tuples(_FIRSTS, st.binary(max_size=30)).map(lambda both: bytes(both[:1]) + both[1]),
        max_size=8,
    ),
)
def test_any_payloads_make_a_frame_or_are_damaged(codec: Codec, payloads: list[bytes]) -> None:
    depacketizer = MAKERS[codec]()
    for payload in payloads:
        try:
            depacketizer.begins(payload)
            depacketizer.add(payload)
        except DamagedFrameError:
            depacketizer.drop()
    try:
        depacketizer.take()
    except DamagedFrameError:
        assert depacketizer.take() is None
