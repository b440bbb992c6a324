from dataclasses import replace
from fractions import Fraction

from streamserver.control.health import KNOWN_NOTES, health
from streamserver.control.models import Severity
from streamserver.hub.stream import LogBounds, VideoRenditionStats
from tests.control.helpers_world import SECOND_NS, World, audio_track, video_track


def codes(publication):
    stream = publication.lease.stream
    return [one.code for one in health(stream, publication.world.clock.now_ns)]


async def test_a_stream_with_a_keyframe_each_two_seconds_has_no_findings():
    publication = await World().publish()
    publication.run(11)
    assert codes(publication) == []


async def test_four_seconds_between_keyframes_are_still_fine():
    publication = await World().publish()
    publication.run(9, keyframe_every_ms=4000)
    assert codes(publication) == []


async def test_the_default_of_obs_is_noticed_and_the_sentence_tells_what_to_do():
    publication = await World().publish()
    publication.run(9, keyframe_every_ms=8300)
    [finding] = health(publication.lease.stream, publication.world.clock.now_ns)
    assert finding.code == "keyframe_interval"
    assert finding.severity is Severity.WARNING
    assert "8.3 s" in finding.message
    assert "Settings → Output" in finding.message
    assert "2 s" in finding.message


async def test_a_long_interval_is_noticed_before_the_second_keyframe():
    publication = await World().publish()
    publication.run(6, keyframe_every_ms=100_000)
    assert codes(publication) == ["keyframe_interval"]


async def test_a_group_of_pictures_larger_than_the_log_is_an_error():
    publication = await World(bounds=LogBounds(max_ms=12_000, max_bytes=20_000)).publish()
    publication.run(4, keyframe_every_ms=100_000)
    [finding] = health(publication.lease.stream, publication.world.clock.now_ns)
    assert finding.code == "keyframe_lost"
    assert finding.severity is Severity.ERROR


async def test_sound_alone_needs_no_keyframes():
    publication = await World().publish(tracks=(audio_track(),))
    publication.run(30)
    assert codes(publication) == []


async def test_a_publisher_that_sends_nothing_is_noticed_after_two_seconds():
    publication = await World().publish()
    publication.run(1)
    publication.world.clock.now_ns += 3 * SECOND_NS
    assert codes(publication) == ["no_media"]


async def test_an_interrupted_stream_is_not_told_that_nothing_comes():
    publication = await World().publish()
    publication.run(1)
    publication.lease.release("gone")
    publication.world.clock.now_ns += 5 * SECOND_NS
    assert codes(publication) == []


async def test_notes_of_the_ingest_are_told_with_their_number():
    publication = await World().publish()
    publication.run(1)
    for _ in range(3):
        publication.lease.stream.note("timestamp_jump")
    [finding] = health(publication.lease.stream, publication.world.clock.now_ns)
    assert finding.code == "timestamp_jump"
    assert finding.message.startswith(KNOWN_NOTES["timestamp_jump"][1])
    assert "3 times" in finding.message


async def test_an_unknown_note_is_told_by_its_name():
    publication = await World().publish()
    publication.run(1)
    publication.lease.stream.note("purple_frames")
    [finding] = health(publication.lease.stream, publication.world.clock.now_ns)
    assert (finding.code, finding.severity) == ("other", Severity.INFO)
    assert "purple_frames" in finding.message


async def test_a_codec_that_is_left_out_is_a_warning():
    publication = await World().publish()
    publication.run(1)
    publication.lease.stream.note("ignored: codec ac-3 is not supported")
    publication.lease.stream.note("ignored: seek command")
    found = health(publication.lease.stream, publication.world.clock.now_ns)
    assert [(one.code, one.severity) for one in found] == [
        ("ignored", Severity.WARNING),
        ("ignored", Severity.INFO),
    ]
    assert "codec ac-3 is not supported" in found[0].message


async def test_an_encoder_cannot_fill_the_answer_with_notes():
    publication = await World().publish()
    publication.run(1)
    for number in range(100):
        publication.lease.stream.note(f"ignored: {number:04d}" + "x" * 10_000)
    found = health(publication.lease.stream, publication.world.clock.now_ns)
    assert len(found) == 16
    assert all(len(one.message) < 250 for one in found)


async def test_the_worst_finding_comes_first():
    publication = await World().publish()
    publication.run(1)
    stream = publication.lease.stream
    stream.note("frames_of_an_old_clock")
    stream.note("timestamp_jump")
    publication.world.clock.now_ns += 3 * SECOND_NS
    severities = [one.severity for one in health(stream, publication.world.clock.now_ns)]
    assert severities == [Severity.ERROR, Severity.WARNING, Severity.INFO]


async def test_pictures_that_no_browser_plays_over_webrtc_are_told_of():
    publication = await World().publish()
    publication.run(1)
    stream = publication.lease.stream
    stream.tracks = tuple(replace(track, chroma_format="4:2:2") for track in stream.tracks)
    # Phones refuse it, too, and that is told first.
    first, finding = health(stream, publication.world.clock.now_ns)
    assert first.code == "pixel_format"
    assert (finding.code, finding.severity) == ("webrtc_unplayable", Severity.INFO)
    assert "4:2:2" in finding.message
    assert "Color Format: NV12" in finding.message


async def test_pictures_that_are_converted_for_browsers_are_told_of():
    publication = await World().publish()
    publication.run(1)
    stream = publication.lease.stream
    stream.tracks = tuple(replace(track, chroma_format="4:2:2") for track in stream.tracks)
    stream.conversion = VideoRenditionStats()
    assert codes(publication) == ["pixel_format", "webrtc_transcoded"]
    stream.conversion = VideoRenditionStats(running=1, packets_in=100, skipped=50, behind=5)
    assert codes(publication) == ["pixel_format", "webrtc_transcoded"]
    stream.conversion = VideoRenditionStats(running=1, packets_in=100, skipped=6, behind=6)
    assert "video_conversion_behind" in codes(publication)
    stream.conversion = VideoRenditionStats(running=1, fault="it is odd")
    first = health(stream, publication.world.clock.now_ns)[0]
    assert (first.code, first.severity) == ("video_not_converted", Severity.ERROR)
    assert "it is odd" in first.message


async def test_pixels_that_phones_refuse_are_noticed():
    for odd in ({"chroma_format": "4:2:2"}, {"bit_depth": 10}):
        tracks = (replace(video_track(), **odd), audio_track())
        publication = await World().publish(tracks=tracks)
        publication.run(3)
        assert "pixel_format" in codes(publication)


async def test_sound_that_stops_while_the_picture_goes_on_is_noticed():
    publication = await World().publish()
    publication.send(track=1)
    publication.run(2)
    assert codes(publication) == []
    publication.run(5)
    assert codes(publication) == ["audio_missing"]
    publication.send(track=1)
    publication.run(2)
    assert codes(publication) == []


async def test_where_all_stops_no_track_alone_is_blamed():
    publication = await World().publish()
    publication.send(track=1)
    publication.run(2)
    for _ in range(100):
        publication.world.clock.now_ns += 100_000_000
        assert not {"audio_missing", "video_missing"} & set(codes(publication))


async def test_a_bit_rate_that_falls_is_noticed_after_a_while():
    publication = await World().publish()
    publication.run(40)
    world = publication.world
    for _ in range(60):
        publication.send(100, keyframe=publication.at_ms % 2000 == 0)
        publication.at_ms += 100
        world.clock.now_ns += 100_000_000
    [finding] = health(publication.lease.stream, world.clock.now_ns)
    assert (finding.code, finding.severity) == ("bit_rate_low", Severity.WARNING)
    assert "8 kbit/s" in finding.message
    publication.run(6)
    assert codes(publication) == []


async def test_a_size_that_keeps_changing_is_noticed():
    publication = await World().publish()
    for epoch in range(1, 4):
        publication.run(2)
        publication.tracks = (replace(video_track(epoch), width=640 * epoch), audio_track(epoch))
        publication.lease.begin_epoch(publication.tracks)
    publication.run(2)
    assert "tracks_keep_changing" in codes(publication)
    publication.run(200)
    assert codes(publication) == []


async def test_a_picture_that_stutters_is_noticed_until_it_no_longer_does():
    publication = await World().publish()
    publication.run(30, step_ms=40)
    assert codes(publication) == ["frame_rate_differs"]
    publication.run(7, step_ms=200)
    # The bit rate of these frames, all of one size, has fallen, too.
    finding = health(publication.lease.stream, publication.world.clock.now_ns)[-1]
    assert (finding.code, finding.severity) == ("frame_rate_low", Severity.WARNING)
    assert "5.0 frames a second, 2" in finding.message
    publication.run(7, step_ms=40)
    assert codes(publication) == ["frame_rate_differs"]


async def test_a_frame_rate_beside_the_declared_one_is_told_once_it_is_certain():
    publication = await World().publish()
    publication.run(5, step_ms=20)
    assert codes(publication) == []
    publication.run(3, step_ms=20)
    [finding] = health(publication.lease.stream, publication.world.clock.now_ns)
    assert (finding.code, finding.severity) == ("frame_rate_differs", Severity.INFO)
    assert "50.0 frames a second, and the encoder declares 9.99" in finding.message


async def test_an_encoder_that_declares_no_frame_rate_is_not_told_another():
    tracks = (replace(video_track(), frame_rate=None), audio_track())
    publication = await World().publish(tracks=tracks)
    publication.run(8, step_ms=20)
    assert codes(publication) == []


async def test_frames_that_a_network_delays_are_no_stutter():
    publication = await World().publish()
    publication.run(30)
    for _ in range(70):
        publication.send(keyframe=publication.at_ms % 2000 == 0)
        publication.at_ms += 100
        publication.world.clock.now_ns += 250_000_000
    assert "frame_rate_low" not in codes(publication)


async def test_another_epoch_is_measured_anew():
    publication = await World().publish()
    publication.run(30)
    publication.tracks = (replace(video_track(1), frame_rate=Fraction(2)), audio_track(1))
    publication.lease.begin_epoch(publication.tracks)
    publication.run(10, step_ms=500)
    assert codes(publication) == []
