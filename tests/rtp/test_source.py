"""One source: order, bounds, statistics, and its place on the time line."""

from dataclasses import replace

from streamserver.rtp.jitter import ReorderBuffer
from streamserver.rtp.packet import RtpPacket
from streamserver.rtp.receiver import Receiver
from streamserver.rtp.source import Source
from streamserver.rtp.statistics import SourceStatistics
from tests.rtp.publisher import AUDIO, MS, VIDEO


def sound(sequence: int, timestamp: int = 0) -> RtpPacket:
    return RtpPacket(111, False, sequence, timestamp, 3333, sequence.to_bytes(2, "big"))


def source_of(sequence: int, **line) -> Source:
    return Source(replace(AUDIO, **line), sound(sequence))


def numbers(frames) -> list[int]:
    return [int.from_bytes(frame.data, "big") for frame in frames]


def test_order_is_restored_over_the_wrap() -> None:
    source = source_of(65_534)
    came = []
    for sequence in (65_534, 0, 65_535, 2, 1, 3):
        came += numbers(source.receive(sound(sequence), 0))
    assert came == [65_534, 65_535, 0, 1, 2, 3]
    assert source.statistics.lost == 0


def test_duplicates_are_dropped_wherever_they_come() -> None:
    source = source_of(1)
    came = []
    for sequence in (1, 1, 3, 3, 2, 2, 3):
        came += numbers(source.receive(sound(sequence), 0))
    assert came == [1, 2, 3]
    assert source.duplicates == 4
    assert source.statistics.lost == -4


def test_sound_waits_a_moment_for_what_nobody_sends_again() -> None:
    source = source_of(1)
    source.receive(sound(1), 0)
    assert source.receive(sound(3), 0) == []
    assert source.expire(39 * MS) == []
    assert numbers(source.expire(40 * MS)) == [3]
    assert source.lost == 1


def test_a_full_buffer_gives_up_the_oldest_hole() -> None:
    source = source_of(1, nack=True)
    source._buffer.max_packets = 3
    came = []
    for sequence in (1, 3, 4, 6, 7):
        came += numbers(source.receive(sound(sequence), 0))
    assert came == [1, 3, 4]


def test_the_buffer_is_bounded_in_bytes() -> None:
    buffer = ReorderBuffer(0)
    buffer.max_bytes = 3_000
    for number in range(1, 4):
        assert not buffer.is_full
        buffer.hold(number, RtpPacket(1, False, number, 0, 1, bytes(1_000)), 0)
    assert buffer.is_full
    assert buffer.give_up() == 1
    assert len(list(buffer.ready())) == 3
    assert not buffer.is_full


def test_a_hole_that_is_too_large_is_not_waited_for() -> None:
    source = source_of(1, nack=True)
    source.receive(sound(1), 0)
    assert numbers(source.receive(sound(2_000), 0)) == [2_000]
    assert source.restarts == 1
    assert not source.missing


def test_a_source_that_counts_anew_is_believed_with_the_second_packet() -> None:
    source = source_of(20_000)
    for sequence in (20_000, 20_001):
        source.receive(sound(sequence), 0)
    assert source.receive(sound(5), 0) == ()
    assert numbers(source.receive(sound(6), 0)) == [6]
    assert numbers(source.receive(sound(7), 0)) == [7]
    assert source.restarts == 1


def test_a_retransmission_counts_as_lost_and_found() -> None:
    receiver = Receiver((VIDEO,), ssrc=1, cname="us")
    source = Source(VIDEO, RtpPacket(102, False, 1, 0, 1111, b"\x67"))
    for sequence in (1, 2, 4):
        source.receive(RtpPacket(102, False, sequence, 0, 1111, b"\x41"), 0)
    assert receiver.nack(source, 4 * MS) is None
    assert receiver.nack(source, 5 * MS)
    source.receive(RtpPacket(102, False, 3, 0, 1111, b"\x41"), 30 * MS, repair=True)
    assert source.missing.found == 1
    assert source.statistics.lost == 1
    assert source.statistics.received == 3


def test_jitter_is_that_of_rfc_3550() -> None:
    statistics = SourceStatistics(1, 90_000, 0)
    # Sent every 10 ms; every other one takes 2 ms more.
    for index in range(2_000):
        statistics.arrived(900 * index, (10 * index + 2 * (index % 2)) * MS)
    assert 165 <= statistics.jitter_ticks <= 180


def test_the_fraction_counts_from_report_to_report() -> None:
    statistics = SourceStatistics(1, 90_000, 100)
    statistics.highest, statistics.received = 199, 75
    first = statistics.block(0)
    assert (first.fraction_lost, first.lost, first.highest_sequence) == (64, 25, 199)
    statistics.highest, statistics.received = 299, 175
    assert statistics.block(0).fraction_lost == 0


def test_a_packet_of_64_kilobytes_is_refused() -> None:
    receiver = Receiver((AUDIO,), ssrc=1, cname="us")
    assert receiver.receive(b"\x80\x6f" + bytes(60_000), 0) is None
    assert receiver.counters.malformed == 1
