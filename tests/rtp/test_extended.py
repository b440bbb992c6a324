"""Round trips by extended reports."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamserver.errors import RemoteProtocolError
from streamserver.rtp.extended import (
    EXTENDED_REPORT,
    ExtendedReport,
    LastReference,
    clock_of,
    round_trip_ns,
)
from streamserver.rtp.packet import build_packet
from streamserver.rtp.receiver import Receiver
from streamserver.rtp.rtcp import parse_rtcp
from tests.rtp.publisher import AUDIO, AUDIO_SSRC, MS, SECOND


def test_both_blocks_are_read_as_they_were_written() -> None:
    last = (LastReference(ssrc=1, clock=2, delay=3), LastReference(ssrc=4, clock=5, delay=6))
    told = ExtendedReport(ssrc=9, clock=1 << 40, last=last)
    assert parse_rtcp(told.to_bytes()) == [told]
    assert parse_rtcp(ExtendedReport(ssrc=9).to_bytes()) == [ExtendedReport(ssrc=9)]


def test_other_blocks_are_left_out() -> None:
    other = bytes((7, 0, 0, 1)) + bytes(4)
    told = ExtendedReport(ssrc=9, clock=7).to_bytes()
    body = told[4:8] + other + told[8:]
    assert ExtendedReport.parse(body) == ExtendedReport(ssrc=9, clock=7)


def test_blocks_that_lie_about_their_length_are_refused() -> None:
    body = bytes(4) + bytes((5, 0, 0, 3)) + bytes(8)
    with pytest.raises(RemoteProtocolError):
        ExtendedReport.parse(body)
    with pytest.raises(RemoteProtocolError):
        ExtendedReport.parse(b"abc")


@given(st.binary(max_size=80))
def test_any_bytes_are_read_or_refused(body: bytes) -> None:
    data = bytes((0x80, EXTENDED_REPORT)) + (len(body) // 4).to_bytes(2, "big") + body
    try:
        found = parse_rtcp(data)
    except RemoteProtocolError:
        return
    assert all(isinstance(one, ExtendedReport) for one in found)


@given(st.integers(0, 1 << 62), st.integers(0, 9_000), st.integers(0, 60_000))
def test_the_round_trip_is_what_passed_less_what_the_peer_kept(
    now_ns: int, trip_ms: int, kept_ms: int
) -> None:
    clock = clock_of(now_ns) >> 16 & 0xFFFF_FFFF
    last = LastReference(ssrc=1, clock=clock, delay=kept_ms * 65_536 // 1_000)
    found = round_trip_ns(last, now_ns + (trip_ms + kept_ms) * MS)
    if clock:
        assert found is not None
        assert abs(found - trip_ms * MS) <= 50_000


def test_an_answer_from_before_our_clock_is_no_round_trip() -> None:
    clock = clock_of(5 * SECOND) >> 16 & 0xFFFF_FFFF
    last = LastReference(ssrc=1, clock=clock, delay=65_536)
    assert round_trip_ns(last, 5 * SECOND) is None
    assert round_trip_ns(LastReference(ssrc=1, clock=0, delay=0), 5 * SECOND) is None


def test_a_receiver_asks_with_its_reports_and_learns_from_the_answer() -> None:
    receiver = Receiver((AUDIO,), ssrc=77, cname="us")
    sound = build_packet(
        payload_type=111, sequence=1, timestamp=0, ssrc=AUDIO_SSRC, payload=b"\xfcsound"
    )
    receiver.receive(sound, 5 * SECOND)
    told = parse_rtcp(b"".join(receiver.feedback(5 * SECOND)))
    (asked,) = [one for one in told if isinstance(one, ExtendedReport)]
    assert asked.clock is not None
    clock = asked.clock >> 16 & 0xFFFF_FFFF
    for ssrc, delay, wanted_ms in ((78, 0, None), (77, 65_536, 50), (77, 0, 50 + 1_000 // 8)):
        last = (LastReference(ssrc=ssrc, clock=clock, delay=delay),)
        answer = ExtendedReport(ssrc=AUDIO_SSRC, last=last).to_bytes()
        receiver.receive_rtcp(answer, 5 * SECOND + 1_050 * MS)
        found = receiver.rtt_ns
        assert (found is None) is (wanted_ms is None)
        if found is not None and wanted_ms is not None:
            assert abs(found - wanted_ms * MS) < MS
