from hypothesis import given
from hypothesis import strategies as st

from streamserver.hub.rates import RateMeter
from streamserver.hub.stream import Stream
from streamserver.log import Log
from streamserver.names import StreamKey
from tests.fakes import Turns, audio_track, packet, video_track


def make() -> Stream:
    return Stream(
        key=StreamKey("live", "cam"),
        session_id="x",
        generation=1,
        packets=Log(max_ms=10_000, max_bytes=1 << 20, schedule=Turns()),
        wall_origin_ns=0,
        origin_ns=0,
    )


def test_with_video_only_video_keyframes_are_entries():
    stream, video, audio = make(), video_track(), audio_track()
    stream.begin_epoch((video, audio))
    stream.append(packet(video, 0))
    stream.append(packet(audio, 10))
    stream.append(packet(video, 40, keyframe=False))
    assert stream.packets.newest_keyframe == 0


def test_without_video_every_packet_is_an_entry():
    stream, audio = make(), audio_track()
    stream.begin_epoch((audio,))
    stream.append(packet(audio, 0))
    stream.append(packet(audio, 21))
    assert stream.packets.newest_keyframe == 1


def test_the_keyframe_interval_is_measured_within_an_epoch():
    stream, video = make(), video_track()
    stream.begin_epoch((video,))
    for ms in (0, 2000, 4000):
        stream.append(packet(video, ms))
    assert stream.keyframe_interval_ms == 2000
    later = video_track(1)
    stream.begin_epoch((later,))
    stream.append(packet(later, 9000))
    assert stream.keyframe_interval_ms == 2000


def test_the_rate_is_averaged_over_whole_seconds():
    meter = RateMeter(0)
    for tenth in range(50):
        meter.add(1000, tenth * 100_000_000)
    assert meter.bits_per_second(5_000_000_000) == 80_000
    assert meter.bits_per_second(60_000_000_000) == 0


@given(
    st.lists(
        st.lists(
            st.tuples(
                st.booleans(), st.integers(0, 700), st.booleans(), st.sampled_from([0, 0, 0, 400])
            ),
            max_size=8,
        ),
        max_size=20,
    ),
    st.booleans(),
)
def test_a_run_counts_like_its_packets_one_by_one(runs, with_video):
    one, many = make(), make()
    video, audio = video_track(), audio_track()
    for stream in (one, many):
        stream.begin_epoch((video, audio) if with_video else (audio,))
    ms = at_ms = 0
    for run in runs:
        packets = []
        at_ms += 150
        for is_video, step, keyframe, pause_ms in run:
            ms, at_ms = ms + step, at_ms + pause_ms
            track = video if is_video and with_video else audio
            packets.append(packet(track, ms, keyframe=keyframe, size=step, at_ns=at_ms * 1_000_000))
        for each in packets:
            one.append(each)
        many.extend(packets)
    assert facts(one) == facts(many)


def facts(stream: Stream) -> tuple[object, ...]:
    now_ns, log, frames = stream.last_packet_ns, stream.packets, stream.frames
    rates = {
        kind: (stats.packets, stats.bytes, stats.rate.bits_per_second(now_ns))
        for kind, stats in stream.stats.items()
    }
    return (
        *(rates, now_ns, stream.keyframe_interval_ms, frames.frames, frames.seconds),
        *(frames.recent_mhz(), log.since(0), log.start, log.bytes, log.newest_keyframe),
    )
