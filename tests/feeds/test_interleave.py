from hypothesis import example, given
from hypothesis import strategies as st

from streamserver.feeds.interleave import Interleaver
from streamserver.media.packet import Packet
from streamserver.media.track import Kind
from tests.fakes import audio_track, packet, video_track

VIDEO, AUDIO = video_track(), audio_track()


def begun(*kinds: Kind) -> Interleaver:
    interleaver = Interleaver()
    interleaver.begin(kinds or (Kind.VIDEO, Kind.AUDIO))
    return interleaver


def times(packets: list[Packet]) -> list[tuple[str, int]]:
    return [(one.track.kind.value[0], one.dts_ms) for one in packets]


def push_all(interleaver: Interleaver, *packets: Packet) -> list[tuple[str, int]]:
    return times(interleaver.push(packets))


def test_what_is_nearly_in_order_passes_at_once():
    interleaver = begun()
    out = push_all(interleaver, packet(VIDEO, 0), packet(AUDIO, 90), packet(VIDEO, 40))
    assert out == [("v", 0), ("a", 90), ("v", 40)]
    assert interleaver.held == 0


def test_more_slack_lets_a_track_run_further_ahead():
    interleaver = Interleaver(250)
    interleaver.begin((Kind.VIDEO, Kind.AUDIO))
    out = push_all(interleaver, packet(AUDIO, 0), packet(VIDEO, 0), packet(VIDEO, 240))
    assert out == [("a", 0), ("v", 0), ("v", 240)]
    assert push_all(interleaver, packet(VIDEO, 280)) == []


def test_a_track_that_runs_ahead_waits_for_the_other():
    interleaver = begun()
    out = push_all(interleaver, packet(VIDEO, 0), packet(AUDIO, 0), packet(AUDIO, 200))
    assert out == [("v", 0), ("a", 0)]
    assert push_all(interleaver, packet(VIDEO, 90)) == [("v", 90)]
    assert push_all(interleaver, packet(VIDEO, 130)) == [("v", 130), ("a", 200)]
    assert interleaver.forced == 0


def test_a_track_that_fell_silent_stops_nobody():
    interleaver = begun()
    out = push_all(interleaver, *(packet(AUDIO, ms) for ms in range(0, 2_000, 100)))
    assert out[-1] == ("a", 1_400)
    assert interleaver.forced > 0


def test_few_bytes_may_wait():
    interleaver = begun()
    out = push_all(
        interleaver, *(packet(AUDIO, 300, size=1024 * 1024) for _ in range(3)), packet(VIDEO, 0)
    )
    assert len(out) == 4
    big = begun()
    big.push([packet(VIDEO, 0)])
    held = push_all(big, *(packet(AUDIO, 300, size=1024 * 1024) for _ in range(4)))
    assert len(held) == 2
    assert big.held == 2


def test_one_track_alone_never_waits():
    interleaver = begun(Kind.AUDIO)
    assert push_all(interleaver, packet(AUDIO, 0), packet(AUDIO, 5_000)) == [("a", 0), ("a", 5_000)]


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 400)), max_size=80))
def test_nothing_is_lost_and_each_track_keeps_its_order(steps: list[tuple[bool, int]]):
    interleaver = begun()
    clocks = {VIDEO: 0, AUDIO: 0}
    sent: list[Packet] = []
    out: list[Packet] = []
    for is_video, step in steps:
        track = VIDEO if is_video else AUDIO
        clocks[track] += step
        sent.append(packet(track, clocks[track]))
        out += interleaver.push(sent[-1:])
        newest = max(clocks.values())
        assert all(held[0] > newest - 500 for held in interleaver._held)
    out += interleaver.flush()
    assert interleaver.held == 0
    assert len(out) == len(sent)
    for track in (VIDEO, AUDIO):
        assert [p for p in out if p.track is track] == [p for p in sent if p.track is track]


@given(
    st.lists(st.tuples(st.booleans(), st.integers(0, 400), st.integers(0, 900_000)), max_size=60),
    st.lists(st.integers(1, 9), max_size=20),
)
@example([(True, 101, 0), (False, 0, 0), (True, 0, 0)], [])  # sound that begins before the picture
def test_what_goes_out_does_not_hang_on_how_packets_come_together(steps, runs):
    clocks = {VIDEO: 0, AUDIO: 0}
    sent: list[Packet] = []
    for is_video, step, size in steps:
        track = VIDEO if is_video else AUDIO
        clocks[track] += step
        sent.append(packet(track, clocks[track], size=size))
    apart, together = begun(), begun()
    one_by_one = [out for one in sent for out in apart.push([one])]
    out: list[Packet] = []
    rest = sent
    for count in runs:
        out += together.push(rest[:count])
        rest = rest[count:]
    out += together.push(rest)
    assert out == one_by_one
    assert (apart.forced, apart.held) == (together.forced, together.held)
    assert apart.flush() == together.flush()
