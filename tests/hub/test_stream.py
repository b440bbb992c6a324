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
