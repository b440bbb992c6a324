"""Every viewer gets each packet once, with numbers of its own, and the others never wait."""

from streamserver.hub.stream import LogBounds
from streamserver.media.packet import Packet
from streamserver.media.track import VIDEO_CLOCK, Codec, Track
from streamserver.rtp.rtcp import Bye, Nack, Pli, ReceiverReport, ReportBlock, SenderReport
from tests.outputs.webrtc.helpers_webrtc import (
    AUDIO_SSRC,
    RTX_PT,
    RTX_SSRC,
    VIDEO_SSRC,
    PlainArena,
    Seat,
    World,
    frames,
    is_continuous,
    lines,
)


def nack(seat: Seat, world: World, *wires: int, ssrc: int = VIDEO_SSRC) -> None:
    seat.viewer.rtcp(Nack(ssrc=1, media_ssrc=ssrc, sequences=wires).to_bytes(), world.clock.now_ns)


def report(world: World, seat: Seat, fraction: int, *, ssrc: int = VIDEO_SSRC) -> None:
    sent = next(one for one in reversed(seat.peer.reports) if isinstance(one, SenderReport))
    block = ReportBlock(
        ssrc=ssrc, fraction_lost=fraction, lost=7, highest_sequence=0, jitter=900,
        last_sr=sent.middle_ntp, delay_since_last_sr=0,
    )  # fmt: skip
    seat.viewer.rtcp(ReceiverReport(ssrc=1, blocks=(block,)).to_bytes(), world.clock.now_ns)


def test_every_viewer_gets_every_packet_once_and_in_order() -> None:
    world = World()
    world.video(3_000, keyframe=True)
    seats = [world.enter() for _ in range(5)]
    for _ in range(50):
        world.video(5_000)
        world.audio()
    world.pass_ms(100)
    for seat in seats:
        assert frames(seat.peer.video) == list(range(1, 52))
        assert is_continuous(seat.peer.video)
        assert is_continuous(seat.peer.audio)
        assert len(seat.peer.audio) == 50
    assert world.stats.packets == sum(len(seat.peer.packets) for seat in seats)


def test_viewers_alike_share_one_layout_of_each_item() -> None:
    world = World()
    world.video(keyframe=True)
    for _ in range(10):
        world.enter()
    world.pass_ms(100)
    before = world.stats.classes
    world.video(5_000)
    assert world.stats.classes == before + 1


def test_a_newcomer_begins_with_the_newest_keyframe_and_with_live_sound() -> None:
    world = World()
    world.video(keyframe=True)
    for _ in range(10):
        world.video()
        world.audio()
    world.video(keyframe=True)
    for _ in range(5):
        world.video()
        world.audio()
    seat = world.enter()
    world.pass_ms(50)
    world.video()
    world.audio()
    assert frames(seat.peer.video) == list(range(12, 19))
    assert len(seat.peer.audio) == 1
    assert seat.viewer.session.dropped_frames == 0


def test_a_newcomer_is_spared_sound_that_was_converted_late() -> None:
    world = World()
    world.video(keyframe=True)
    old = world.time_ms
    for _ in range(10):
        world.video()
    seat, patient = world.enter(), world.enter()
    for behind_ms in (world.time_ms - old, 200, 120, 80, 40):
        world.audio(behind_ms)
    assert [packet.sequence for packet in seat.peer.audio] == [3, 4]
    world.audio(300)
    assert len(seat.peer.audio) == len(patient.peer.audio) == 3


def test_sound_that_stays_late_is_heard_after_a_second() -> None:
    world = World()
    world.video(keyframe=True)
    seat = world.enter()
    world.audio(300)
    assert not seat.peer.audio
    world.pass_ms(1_250)
    world.video()
    world.audio(300)
    assert len(seat.peer.audio) == 1


def test_the_backlog_of_a_newcomer_is_paced_and_joins_the_live_pictures() -> None:
    world = World(min_backlog_bytes_per_ms=1_000, backlog_rate=0)
    world.video(20_000, keyframe=True)
    for _ in range(20):
        world.video(10_000)
    seat = world.enter()
    sizes = []
    for _ in range(200):
        before = seat.viewer.session.bytes_sent
        world.pass_ms(5)
        sizes.append(seat.viewer.session.bytes_sent - before)
    assert max(sizes) <= 5 * 1_000 + 20_000  # to within a frame
    assert sum(size > 0 for size in sizes) > 15
    world.video()
    assert frames(seat.peer.video) == list(range(1, 23))
    assert is_continuous(seat.peer.video)
    assert not world.timers, "the pacing goes on for nobody"


def test_live_pictures_that_come_during_a_backlog_are_neither_lost_nor_sent_twice() -> None:
    world = World(min_backlog_bytes_per_ms=200, backlog_rate=0)
    world.video(20_000, keyframe=True)
    for _ in range(30):
        world.video(3_000)
    seat = world.enter()
    for _ in range(200):
        world.video(100)
        world.pass_ms(5)
    assert frames(seat.peer.video) == list(range(1, 232))
    assert is_continuous(seat.peer.video)


def test_a_backlog_that_is_too_large_is_not_sent() -> None:
    world = World(max_backlog_bytes=10_000)
    world.video(20_000, keyframe=True)
    seat = world.enter()
    world.video()
    assert not seat.peer.video
    world.video(keyframe=True)
    world.video()
    assert frames(seat.peer.video) == [3, 4]
    assert seat.viewer.session.dropped_frames == 0


def test_a_newer_keyframe_ends_the_backlog_without_a_gap() -> None:
    world = World(min_backlog_bytes_per_ms=100, backlog_rate=0)
    world.video(20_000, keyframe=True)
    for _ in range(30):
        world.video(3_000)
    seat = world.enter()
    world.pass_ms(20)
    world.video(keyframe=True)
    world.pass_ms(100)
    got = frames(seat.peer.video)
    assert got[0] == 1
    assert got[-1] == 32
    assert len(got) < 20
    assert is_continuous(seat.peer.video)


def test_a_publisher_that_can_be_asked_is_asked_for_a_keyframe() -> None:
    world = World(can_ask=True)
    world.video(keyframe=True)
    for _ in range(20):
        world.video()
    seats = [world.enter(), world.enter()]
    assert world.asked == 1
    assert not seats[0].peer.video
    world.video(keyframe=True)
    world.video()
    for seat in seats:
        assert frames(seat.peer.video) == [22, 23]


def test_while_pictures_are_waited_for_the_publisher_is_asked_again() -> None:
    world = World(can_ask=True)
    world.video(keyframe=True)
    for _ in range(20):
        world.video()
    world.enter()
    world.pass_ms(3_000)
    assert 4 <= world.asked <= 7


def test_a_fresh_keyframe_is_taken_without_asking() -> None:
    world = World(can_ask=True)
    world.video(keyframe=True)
    world.video()
    seat = world.enter()
    world.pass_ms(10)
    assert frames(seat.peer.video) == [1, 2]
    assert world.asked == 0


def test_requests_of_viewers_reach_the_publisher_throttled() -> None:
    world = World(can_ask=True)
    world.video(keyframe=True)
    seats = [world.enter() for _ in range(5)]
    for seat in seats:
        for _ in range(20):
            pli = Pli(ssrc=1, media_ssrc=VIDEO_SSRC).to_bytes()
            seat.viewer.rtcp(pli, world.clock.now_ns)
    assert world.asked == 1
    assert world.stats.plis == 100
    assert seats[0].viewer.stats.plis == 20


def test_a_viewer_that_loses_much_for_long_goes_on_at_a_keyframe_without_a_gap() -> None:
    world = World()
    world.video(keyframe=True)
    seat, other = world.enter(), world.enter()
    for _ in range(5):
        world.video()
        world.pass_ms(1_000)
        report(world, seat, 100)
        report(world, other, 5)
    assert seat.viewer.stats.drops == 1
    for _ in range(5):
        world.video()
    world.pass_ms(1_100)
    world.video(keyframe=True)
    world.video()
    assert frames(seat.peer.video)[-2:] == [12, 13]
    assert is_continuous(seat.peer.video)
    assert 0 < seat.viewer.session.dropped_frames <= 6
    assert frames(other.peer.video) == list(range(1, 14))


def test_after_a_drop_pictures_rest_a_second() -> None:
    world = World()
    world.video(keyframe=True)
    seat = world.enter()
    world.fan_out.congested(seat.viewer)
    seat.viewer.congestion.rests_until_ns = world.clock.now_ns + 1_000_000_000
    world.video(keyframe=True)
    assert frames(seat.peer.video) == [1]
    world.pass_ms(1_000)
    world.video(keyframe=True)
    assert frames(seat.peer.video) == [1, 3]


def test_full_buffers_lose_packets_that_can_be_asked_for_again_and_then_drop_pictures() -> None:
    world = World()
    world.video(keyframe=True)
    seat = world.enter()
    seat.peer.full = 1
    world.video()
    world.video()
    sequences = [packet.sequence for packet in seat.peer.video]
    assert sequences[-1] == sequences[-2] + 2  # a number is never used for two packets
    nack(seat, world, sequences[-2] + 1)
    assert [packet.payload[2] for packet in seat.peer.again] == [0x10]
    seat.peer.full = 100
    for _ in range(20):
        world.video()
    assert seat.viewer.stats.drops == 1
    assert seat.viewer.stats.overflows == 8


def test_what_was_lost_is_sent_again_on_its_own_source() -> None:
    world = World()
    world.video(5_000, keyframe=True)
    seat = world.enter()
    for _ in range(5):
        world.video(5_000)
    lost = seat.peer.video[7]
    nack(seat, world, lost.sequence, lost.sequence + 1)
    first, second = seat.peer.again
    assert (first.ssrc, first.payload_type) == (RTX_SSRC, RTX_PT)
    assert first.sequence == 0x7FFF
    assert second.sequence == 0x8000
    assert first.payload == lost.sequence.to_bytes(2) + lost.payload
    assert (first.timestamp, first.marker) == (lost.timestamp, lost.marker)
    assert seat.viewer.stats.retransmitted == 2


def test_without_rtx_the_packet_itself_is_sent_again() -> None:
    world = World()
    world.video(keyframe=True)
    seat = world.enter(agreed=lines(rtx=False))
    world.video(3_000)
    lost = seat.peer.video[-1]
    nack(seat, world, lost.sequence)
    assert seat.peer.again == [lost]


def test_packets_asked_for_after_a_drop_are_the_right_ones() -> None:
    world = World()
    world.video(5_000, keyframe=True)
    seat = world.enter(agreed=lines(rtx=False))
    for _ in range(5):
        world.video(3_000)
    world.fan_out.congested(seat.viewer)
    for _ in range(5):
        world.video(3_000)
    world.video(5_000, keyframe=True)
    world.video(3_000)
    for packet in seat.peer.video:
        nack(seat, world, packet.sequence)
    assert seat.peer.again == seat.peer.video


def test_the_same_packet_is_not_sent_again_at_once() -> None:
    world = World()
    world.video(keyframe=True)
    seat = world.enter()
    sequence = seat.peer.video[0].sequence
    nack(seat, world, sequence, sequence, sequence)
    assert len(seat.peer.again) == 1
    world.pass_ms(20)
    nack(seat, world, sequence)
    assert len(seat.peer.again) == 2


def test_a_viewer_that_asks_for_everything_gets_no_more_than_its_allowance() -> None:
    world = World()
    world.video(60_000, keyframe=True)
    seat = world.enter()
    for _ in range(40):
        world.video(10_000)
    for _ in range(100):
        world.pass_ms(15)
        nack(seat, world, *(packet.sequence for packet in seat.peer.video))
    assert sum(len(packet.payload) for packet in seat.peer.again) <= 250_000 + 500_000 * 1.6
    assert seat.viewer.stats.throttled


def test_packets_that_are_not_held_any_more_or_never_were_cost_little() -> None:
    world = World(bounds=LogBounds(400, 1 << 20))
    world.video(keyframe=True)
    seat = world.enter()
    for _ in range(30):
        world.video()
    first = seat.peer.video[0].sequence
    nack(seat, world, first, first - 5 & 0xFFFF, first + 3_000)
    assert not seat.peer.again
    assert seat.viewer.stats.not_held == 3


def test_sound_is_sent_again_only_where_that_was_agreed() -> None:
    world = World()
    world.video(keyframe=True)
    seat = world.enter()
    world.audio()
    nack(seat, world, seat.peer.audio[0].sequence, ssrc=AUDIO_SSRC)
    nack(seat, world, 1, ssrc=4711)
    assert not seat.peer.again


def test_sender_reports_put_pictures_and_sound_on_one_clock() -> None:
    world = World()
    world.video(keyframe=True)
    seat = world.enter()
    world.video()
    world.audio()
    world.pass_ms(3_000)
    reports = [one for one in seat.peer.reports if isinstance(one, SenderReport)]
    assert len(reports) == 2 * 4
    video, audio = reports[-2:]
    assert (video.ssrc, audio.ssrc) == (VIDEO_SSRC, AUDIO_SSRC)
    assert video.ntp == audio.ntp
    base = 0xFFFF_FF00
    passed_ns = world.clock.now_ns - world.origin_ns
    assert video.rtp_time == base + passed_ns * 90_000 // 10**9 & 0xFFFF_FFFF
    assert audio.rtp_time == base + passed_ns * 48_000 // 10**9 & 0xFFFF_FFFF
    assert (video.packets, audio.packets) == (2, 1)
    unix_s = (video.ntp >> 32) - 2_208_988_800
    assert unix_s == (1_800_000_000_000_000_000 + passed_ns) // 10**9


def test_time_stamps_are_those_of_the_log() -> None:
    world = World()
    first = world.video(keyframe=True)
    seat = world.enter()
    second = world.video()
    sound = world.audio()
    base = 0xFFFF_FF00
    stamps = [packet.timestamp for packet in seat.peer.video]
    assert stamps == [first.pts + base & 0xFFFF_FFFF, second.pts + base & 0xFFFF_FFFF]
    assert seat.peer.audio[0].timestamp == sound.pts + base & 0xFFFF_FFFF


def test_receiver_reports_are_read() -> None:
    world = World()
    world.video(keyframe=True)
    seat = world.enter()
    world.clock.advance(ms=80)
    report(world, seat, 26)
    stats = seat.viewer.stats
    assert (stats.lost, stats.fraction_lost, stats.jitter_ms) == (7, 26, 10)
    assert stats.rtt_ms in (79, 80)


def test_reports_that_cannot_be_read_are_counted() -> None:
    world = World()
    seat = world.enter()
    seat.viewer.rtcp(b"\x80\xc9\x00\x09", world.clock.now_ns)
    seat.viewer.rtp(b"\x80" * 12, world.clock.now_ns)
    assert seat.viewer.stats.bad_rtcp == 1


def test_the_end_of_the_stream_is_said_and_closes_all() -> None:
    world = World()
    world.video(keyframe=True)
    seat, waiting = world.enter(), world.expect()
    world.packets.close("the publisher stopped")
    world.settle()
    byes = [one for one in seat.peer.reports if isinstance(one, Bye)]
    assert byes[0].ssrcs == (VIDEO_SSRC, AUDIO_SSRC)
    assert seat.peer.closed == waiting.peer.closed == "the publisher stopped"
    assert {viewer for viewer, _ in world.left} == {seat.viewer, waiting.viewer}
    assert not len(world.fan_out)


def test_a_viewer_that_fails_costs_the_others_nothing() -> None:
    world = World()
    world.video(keyframe=True)
    broken, fine = world.enter(), world.enter()
    broken.peer.fails = True
    world.video()
    world.video()
    assert frames(fine.peer.video) == [1, 2, 3]
    assert broken.peer.closed
    assert [viewer for viewer, _ in world.left] == [broken.viewer]
    assert world.stats.failed == 1


def test_a_viewer_that_leaves_gets_nothing_more_and_is_told_of_once() -> None:
    world = World()
    world.video(keyframe=True)
    seat = world.enter()
    seat.viewer.closed("gone")
    seat.viewer.closed("gone")
    world.video()
    assert frames(seat.peer.video) == [1]
    assert world.left == [(seat.viewer, "gone")]


def test_frames_larger_than_the_arena_go_out_in_pieces() -> None:
    world = World()
    world.video(keyframe=True)
    seat = world.enter()
    world.video(1_000_000)
    assert sum(len(packet.payload) - 1 for packet in seat.peer.video[1:]) == 1_000_000
    assert is_continuous(seat.peer.video)
    assert [packet.marker for packet in seat.peer.video].count(True) == 2
    assert max(size for size, _ in seat.peer.sizes) <= 48 * 1216


def test_an_arena_without_room_is_never_overrun() -> None:
    world = World(arena=PlainArena(2_000))
    world.video(keyframe=True)
    seat = world.enter()
    world.video(5_000)
    assert world.stats.failed == 1
    assert seat.peer.closed


def test_a_newcomer_between_two_pieces_of_a_frame_gets_whole_frames() -> None:
    world = World()
    world.video(keyframe=True)
    first = world.enter()
    old = first.peer.video[0].timestamp
    world.look_ns = world.slicer.budget_ns
    large = Packet(world.video_track, 7_200, 7_200, 0, True, bytes(1_000_000), 0)
    world.packets.append(large, size=1_000_000, at_ms=80, keyframe=True)
    world.turns.run()
    world.turns.run()
    late = world.expect()
    late.viewer.connected()
    assert 0 < len(first.peer.video) < 800
    world.settle()
    world.look_ns = 0
    world.pass_ms(100)
    for seat in (first, late):
        packets = [packet for packet in seat.peer.video if packet.timestamp != old]
        assert sum(len(packet.payload) - 1 for packet in packets) == 1_000_000
        assert is_continuous(seat.peer.video)


def test_more_than_the_log_holds_at_once_makes_viewers_wait_for_a_keyframe() -> None:
    world = World(bounds=LogBounds(12_000, 30_000))
    world.video(keyframe=True)
    seat = world.enter()
    world.turns.waiting.clear()
    for number in range(20):
        ticks = (world.time_ms + 40 * number) * 90
        packet = Packet(world.video_track, ticks, ticks, 0, False, bytes(5_000), 0)
        world.packets.append(packet, size=5_000, at_ms=ticks // 90, keyframe=False)
    world.settle()
    world.video(keyframe=True)
    world.video()
    assert is_continuous(seat.peer.video)
    assert frames(seat.peer.video)[-2:] == [2, 3]


def test_a_stream_that_becomes_unplayable_says_goodbye() -> None:
    world = World()
    world.video(keyframe=True)
    seat = world.enter()
    world.unplayable = "it has B-frames now"
    world.video()
    assert seat.peer.closed is None
    world.video_track = Track(Codec.VP8, VIDEO_CLOCK, b"", epoch=1)
    world.video(keyframe=True)
    assert seat.peer.closed == "it has B-frames now"


def test_a_viewer_stays_through_a_new_epoch_with_the_same_source() -> None:
    world = World()
    world.video(keyframe=True)
    seat = world.enter()
    world.video_track = Track(Codec.VP8, VIDEO_CLOCK, b"", epoch=1)
    world.time_ms += 5_000
    world.video(keyframe=True)
    assert frames(seat.peer.video) == [1, 2]
    assert is_continuous(seat.peer.video)
    assert {packet.ssrc for packet in seat.peer.video} == {VIDEO_SSRC}
    first, second = seat.peer.video
    assert second.timestamp - first.timestamp & 0xFFFF_FFFF == 5_040 * 90


def test_a_viewer_of_pictures_alone_gets_no_sound() -> None:
    world = World()
    world.video(keyframe=True)
    seat = world.enter(agreed=lines(audio=False))
    world.audio()
    world.video()
    assert not seat.peer.audio
    assert frames(seat.peer.video) == [1, 2]


def test_numbers_and_rates_are_counted_for_the_session() -> None:
    world = World()
    world.video(keyframe=True)
    seat = world.enter()
    world.pass_ms(1_000)
    for _ in range(10):
        world.video(10_000)
    world.pass_ms(1_000)
    assert seat.viewer.session.bit_rate > 800_000
    assert seat.viewer.session.lag_ms == 0
