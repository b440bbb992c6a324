"""The rtp feed cuts packets once, numbers them, and finds them again."""

from hypothesis import given
from hypothesis import strategies as st

from streamserver.feeds.rtp import RtpFeed
from streamserver.feeds.rtp.items import MAX_ITEM_PACKETS
from streamserver.hub.stream import LogBounds
from streamserver.log import Log
from streamserver.media.packet import Packet
from streamserver.media.track import Codec
from tests.fakes import Turns, audio_track, packet, video_track

VIDEO = video_track(codec=Codec.VP8)
AUDIO = audio_track(codec=Codec.OPUS)
BOUNDS = LogBounds(12_000, 16 * 1024 * 1024)


def source(bounds: LogBounds = BOUNDS) -> Log[Packet]:
    return Log(max_ms=bounds.max_ms, max_bytes=bounds.max_bytes, schedule=Turns())


def feed_on(log: Log[Packet], bounds: LogBounds = BOUNDS) -> RtpFeed:
    return RtpFeed(log, bounds, Turns())


def append(log: Log[Packet], what: Packet) -> None:
    log.append(
        what, size=len(what.data), at_ms=what.dts_ms, keyframe=what.keyframe and what.is_video
    )


def test_it_begins_at_the_newest_keyframe() -> None:
    log = source()
    for ms, keyframe in ((0, True), (40, False), (80, True), (120, False)):
        append(log, packet(VIDEO, ms, keyframe=keyframe))
    feed = feed_on(log)
    feed.pump()
    assert [item.timestamp // 90 for item in feed.log.since(0)] == [80, 120]
    assert feed.log.newest_keyframe == feed.log.start


def test_large_frames_become_several_items_of_which_the_first_is_the_entry() -> None:
    log = source()
    append(log, packet(VIDEO, 0, keyframe=True, size=150_000))
    feed = feed_on(log)
    feed.pump()
    items = feed.log.since(0)
    assert [len(item.payloads) for item in items] == [48, 48, 31]
    assert [(item.begins, item.ends, item.entry) for item in items] == [
        (True, False, True), (False, False, False), (False, True, False),
    ]  # fmt: skip
    assert [item.first for item in items] == [0, 48, 96]


def test_sound_is_no_entry_and_other_codecs_are_left_out() -> None:
    log = source()
    feed = feed_on(log)
    append(log, packet(AUDIO, 0))
    append(log, packet(audio_track(), 0))
    feed.pump()
    assert feed.log.newest_keyframe is None
    assert [item.is_video for item in feed.log.since(0)] == [False]
    assert feed.left_out == 1


def test_damaged_frames_are_counted_and_left_out() -> None:
    log = source()
    feed = feed_on(log)
    append(log, packet(video_track(), 0))  # its config is no avcC
    append(log, packet(video_track(), 40))
    append(log, packet(VIDEO, 80))
    feed.pump()
    assert feed.damaged == 2
    assert len(feed.log.since(0)) == 1


def test_a_gap_in_the_source_is_skipped_to_a_keyframe_and_numbers_go_on() -> None:
    log = source(LogBounds(1_000, 1 << 20))
    feed = feed_on(log)
    append(log, packet(VIDEO, 0))
    feed.pump()
    for ms in range(40, 4_000, 40):
        append(log, packet(VIDEO, ms, keyframe=ms == 3_200))
    feed.pump()
    items = feed.log.since(feed.log.start)
    assert [item.first for item in items] == list(range(items[0].first, items[-1].first + 1))
    assert 3_200 * 90 in {item.timestamp for item in items}
    assert feed.missed


def test_a_feed_that_nobody_read_leaves_out_what_is_old() -> None:
    log = source()
    append(log, packet(VIDEO, 0))
    feed = feed_on(log)
    feed.pump()
    for ms in range(40, 4_000, 40):
        append(log, packet(VIDEO, ms, keyframe=ms == 3_200))
    feed.refresh()
    feed.pump()
    assert [item.timestamp // 90 for item in feed.log.since(0)][:2] == [0, 3_200]


def test_pictures_out_of_order_are_noticed_until_the_next_epoch() -> None:
    log = source()
    feed = feed_on(log)
    for ms in (0, 120, 40):
        append(log, packet(VIDEO, ms, keyframe=ms == 0))
    feed.pump()
    assert feed.reorders
    append(log, packet(video_track(1, Codec.VP8), 160))
    feed.pump()
    assert not feed.reorders


def test_it_closes_once_with_the_rest() -> None:
    log = source()
    feed = feed_on(log)
    append(log, packet(VIDEO, 0))
    feed.close("over")
    feed.close("again")
    assert feed.log.closed == "over"
    assert len(feed.log.since(0)) == 1


frames = st.lists(st.tuples(st.booleans(), st.integers(1, 120_000)), min_size=1, max_size=40)


@given(frames, st.integers(50_000, 1_000_000))
def test_every_packet_that_is_held_is_found_and_no_other(
    what: list[tuple[bool, int]], most: int
) -> None:
    log = source()
    feed = feed_on(log, LogBounds(12_000, most))
    for index, (is_video, size) in enumerate(what):
        track = VIDEO if is_video else AUDIO
        append(log, packet(track, 20 * index, size=size if is_video else 100))
    feed.pump()
    held: dict[tuple[bool, int], bytes] = {}
    for item in feed.log.since(feed.log.start):
        assert len(item.payloads) <= MAX_ITEM_PACKETS
        for index, payload in enumerate(item.payloads):
            held[item.is_video, item.first + index] = payload
    for is_video in (True, False):
        for sequence in range(feed.next_sequence(is_video=is_video) + 3):
            found = feed.find(is_video=is_video, sequence=sequence)
            got = None if found is None else found[0].payloads[found[1]]
            assert got == held.get((is_video, sequence))
