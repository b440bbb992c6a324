import pytest
from aiortc import rtp as theirs
from hypothesis import example, given
from hypothesis import strategies as st

from streamserver.errors import LocalProtocolError, RemoteProtocolError
from streamserver.rtp.rtcp import (
    Bye,
    Fir,
    Nack,
    Pli,
    ReceiverReport,
    Remb,
    ReportBlock,
    RtcpPacket,
    SenderReport,
    SourceDescription,
    TransportFeedback,
    parse_rtcp,
)

_BLOCK = ReportBlock(
    ssrc=1, fraction_lost=2, lost=-3, highest_sequence=70_000, jitter=5, last_sr=6,
    delay_since_last_sr=7,
)  # fmt: skip

_PACKETS: list[RtcpPacket] = [
    SenderReport(ssrc=9, ntp=1 << 63, rtp_time=3, packets=4, octets=5, blocks=(_BLOCK,)),
    ReceiverReport(ssrc=9, blocks=(_BLOCK, _BLOCK)),
    ReceiverReport(ssrc=9),
    SourceDescription(cnames=((1, "one"), (2, "zwei"))),
    Bye(ssrcs=(1, 2), reason="good bye"),
    Bye(ssrcs=()),
    Nack(ssrc=1, media_ssrc=2, sequences=(65535, 0, 15, 16, 40)),
    Pli(ssrc=1, media_ssrc=2),
    Fir(ssrc=1, entries=((2, 3), (4, 255))),
    Remb(ssrc=1, bit_rate=4_000_000, ssrcs=(5, 6)),
    TransportFeedback(
        ssrc=1, media_ssrc=2, base_sequence=65_530, count=30, reference_time=-5, feedback_count=7,
        arrivals=((0, 3), (2, 1000), (3, 900), (29, 901)),
    ),
]  # fmt: skip


@pytest.mark.parametrize("packet", _PACKETS, ids=lambda packet: type(packet).__name__)
def test_what_is_written_is_read_back(packet: RtcpPacket) -> None:
    assert parse_rtcp(packet.to_bytes()) == [packet]


def test_a_compound_packet_holds_them_all() -> None:
    assert parse_rtcp(b"".join(packet.to_bytes() for packet in _PACKETS)) == _PACKETS


def test_aiortc_reads_our_reports_and_requests() -> None:
    # It cannot read two names in one packet.
    ours = [*_PACKETS[:3], SourceDescription(cnames=((1, "one"),)), *_PACKETS[4:8]]
    read = theirs.RtcpPacket.parse(b"".join(packet.to_bytes() for packet in ours))
    report, _, _, names, bye, _, nack, pli = read
    assert isinstance(report, theirs.RtcpSrPacket)
    assert report.sender_info.ntp_timestamp == 1 << 63
    assert report.reports[0].highest_sequence == 70_000
    assert isinstance(names, theirs.RtcpSdesPacket)
    assert [chunk.ssrc for chunk in names.chunks] == [1]
    assert isinstance(bye, theirs.RtcpByePacket)
    assert bye.sources == [1, 2]
    assert isinstance(nack, theirs.RtcpRtpfbPacket)
    assert [lost & 0xFFFF for lost in nack.lost] == [65535, 0, 15, 16, 40]  # it does not wrap
    assert isinstance(pli, theirs.RtcpPsfbPacket)
    assert pli.media_ssrc == 2


def test_aiortc_reads_our_remb_and_we_read_theirs() -> None:
    ours = Remb(ssrc=1, bit_rate=4_160_000, ssrcs=(7,)).to_bytes()
    (packet,) = theirs.RtcpPacket.parse(ours)
    assert isinstance(packet, theirs.RtcpPsfbPacket)
    assert theirs.unpack_remb_fci(packet.fci) == (4_160_000, [7])
    assert parse_rtcp(bytes(packet)) == parse_rtcp(ours)


def test_unknown_kinds_are_left_out() -> None:
    unknown = b"\x80\xd0\x00\x01abcd"
    application = b"\x8f\xce\x00\x03" + bytes(8) + b"NONE"
    assert parse_rtcp(unknown + application + _PACKETS[7].to_bytes()) == [_PACKETS[7]]


def test_padding_counts_at_the_end_only() -> None:
    pli = Pli(ssrc=1, media_ssrc=2).to_bytes()
    padded = b"\xa1\xce\x00\x03" + pli[4:] + b"\x00\x00\x00\x04"
    assert parse_rtcp(padded) == [Pli(ssrc=1, media_ssrc=2)]
    with pytest.raises(RemoteProtocolError):
        parse_rtcp(padded + pli)


def test_a_loss_beyond_its_room_is_cut() -> None:
    report = ReceiverReport(
        ssrc=1,
        blocks=(
            ReportBlock(ssrc=1, fraction_lost=0, lost=1 << 30, highest_sequence=0, jitter=0),
            ReportBlock(ssrc=1, fraction_lost=0, lost=-(1 << 30), highest_sequence=0, jitter=0),
        ),
    )
    (read,) = parse_rtcp(report.to_bytes())
    assert isinstance(read, ReceiverReport)
    assert [block.lost for block in read.blocks] == [0x7F_FFFF, -0x80_0000]


@pytest.mark.parametrize(
    "data",
    [
        b"\x80",
        b"\x40\xc8\x00\x00",
        b"\x80\xc8\x00\x02" + bytes(4),
        b"\x80\xc8\x00\x01" + bytes(4),
        b"\x81\xc8\x00\x06" + bytes(24),
        b"\x9f\xc9\x00\x01" + bytes(4),
        b"\x81\xca\x00\x00",
        b"\x81\xca\x00\x02" + bytes(4) + b"\x01\x09ab",
        b"\x81\xca\x00\x02" + bytes(4) + b"\x01\x02ab",
        b"\x82\xcb\x00\x01" + bytes(4),
        b"\x81\xcb\x00\x02" + bytes(4) + b"\x09abc",
        b"\x81\xcd\x00\x01" + bytes(4),
        b"\x8f\xce\x00\x04" + bytes(8) + b"REMB" + b"\x01\x00\x00\x00",
        b"\xa1\xce\x00\x03" + bytes(12),
        b"\xa1\xce\x00\x03" + bytes(11) + b"\x0d",
        bytes(5000),
    ],
    ids=[
        "header", "version", "length", "sender report", "sender's blocks", "receiver's blocks",
        "no chunk", "item", "no end of items", "sources", "reason", "no sources", "REMB sources",
        "no padding", "too much padding", "too long",
    ],
)  # fmt: skip
def test_a_length_that_lies_is_refused(data: bytes) -> None:
    with pytest.raises(RemoteProtocolError):
        parse_rtcp(data)


@given(st.binary(max_size=120))
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    try:
        parse_rtcp(data)
    except RemoteProtocolError:
        return


@given(
    st.sampled_from([200, 201, 202, 203, 205, 206, 207]),
    st.integers(0, 31),
    st.binary(max_size=100),
)
@example(205, 15, bytes(10) + b"\xff\xff" + bytes(4) + b"\x3f\xff" * 40)
def test_any_body_is_read_or_refused(packet_type: int, count: int, body: bytes) -> None:
    body = body[: len(body) // 4 * 4]
    head = bytes((0x80 | count, packet_type)) + (len(body) // 4).to_bytes(2, "big")
    try:
        parse_rtcp(head + body)
    except RemoteProtocolError:
        return


@given(st.sets(st.integers(0, 65535), max_size=60))
def test_any_missing_packets_are_named(sequences: set[int]) -> None:
    asked = Nack(ssrc=1, media_ssrc=2, sequences=tuple(sorted(sequences)))
    assert parse_rtcp(asked.to_bytes()) == [asked]


@given(
    st.lists(st.one_of(st.none(), st.integers(-2000, 9000)), max_size=200),
    st.integers(0, 65535),
    st.integers(-(1 << 23), (1 << 23) - 1),
)
def test_any_arrivals_are_told(times: list[int | None], base: int, reference: int) -> None:
    arrivals = tuple((offset, at) for offset, at in enumerate(times) if at is not None)
    told = TransportFeedback(
        ssrc=1, media_ssrc=2, base_sequence=base, count=len(times), reference_time=reference,
        feedback_count=255, arrivals=arrivals,
    )  # fmt: skip
    assert parse_rtcp(told.to_bytes()) == [told]


def test_long_runs_take_few_bytes() -> None:
    told = TransportFeedback(
        ssrc=1, media_ssrc=2, base_sequence=0, count=20_000, reference_time=0, feedback_count=0,
        arrivals=tuple((offset, offset) for offset in (*range(300), 19_999)),
    )  # fmt: skip
    data = told.to_bytes()
    assert len(data) < 20 + 12 + 301 + 4
    assert parse_rtcp(data) == [told]


def test_feedback_tells_times_on_the_receivers_clock() -> None:
    told = TransportFeedback(
        ssrc=1, media_ssrc=2, base_sequence=65_535, count=3, reference_time=2, feedback_count=0,
        arrivals=((0, 4), (2, 8)),
    )  # fmt: skip
    assert told.sequences == {65_535: 129_000_000, 1: 130_000_000}


def test_an_arrival_without_a_place_is_our_own_fault() -> None:
    for arrivals in (((5, 0),), ((0, 40_000),), ((0, 0), (0, 0))):
        told = TransportFeedback(
            ssrc=1, media_ssrc=2, base_sequence=0, count=2, reference_time=0, feedback_count=0,
            arrivals=arrivals,
        )  # fmt: skip
        with pytest.raises(LocalProtocolError):
            told.to_bytes()


def test_a_few_bytes_of_feedback_take_little_room() -> None:
    body = bytes(10) + b"\xff\xff" + bytes(4) + b"\x1f\xff" * 8 + b"\x00\x07"
    body += bytes(-len(body) % 4)
    (packet,) = parse_rtcp(b"\x8f\xcd" + (len(body) // 4).to_bytes(2, "big") + body)
    assert isinstance(packet, TransportFeedback)
    assert packet.count == 65_535
    assert packet.arrivals == ()
