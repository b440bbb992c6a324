"""Parameter sets in samples, once the picture has changed."""

import io
from collections import Counter
from dataclasses import replace

import av
import pytest
from msgspec import structs

from streamserver.feeds.cmaf.in_band import parameter_sets
from streamserver.media.nal import split_prefixed
from streamserver.media.packet import Packet
from streamserver.media.track import Kind, Track
from tests import media_factory
from tests.feeds.cmaf.helpers_stream import (
    AVCC,
    aac,
    audio_packets,
    h264,
    package,
    parts_of,
    samples_of,
    segment_bytes,
    steady_video,
)

OTHER_AVCC = AVCC.replace(bytes.fromhex("68ebecb22c"), bytes.fromhex("68ebecb23c"))


def first_samples(*tracks: Track) -> list[bytes]:
    """The first sample of each epoch, every epoch five seconds long."""
    packets: list[Packet] = []
    for number, track in enumerate(tracks):
        packets += steady_video(track, 30, 5, gop=60, start_ms=1_000 + 6_000 * number)
    _, items = package(packets, tracks)
    first: dict[int, bytes] = {}
    for part in parts_of(items):
        first.setdefault(part.init.epoch, samples_of(part.data)[0].data)
    return list(first.values())


def test_keyframes_carry_their_parameter_sets_once_the_config_has_changed():
    changed = h264(1, config=OTHER_AVCC)
    same, other, back = first_samples(h264(0), changed, h264(2))
    assert not same.startswith(parameter_sets(h264(0)))
    assert other.startswith(parameter_sets(changed))
    assert back.startswith(parameter_sets(h264(2)))


def test_an_epoch_with_the_same_config_leaves_samples_as_they_are():
    before, after = first_samples(h264(0), h264(1))
    assert before == after


def test_sound_between_two_pictures_does_not_hide_that_they_differ():
    first, last = h264(0), h264(2, config=OTHER_AVCC)
    packets = steady_video(first, 30, 3, gop=60)
    packets += audio_packets(aac(1), 2, start_ms=5_000)
    packets += steady_video(last, 30, 3, gop=60, start_ms=8_000)
    _, items = package(packets, [first, aac(1), last])
    newest = [part for part in parts_of(items) if part.init.epoch == 2]
    assert samples_of(newest[0].data)[0].data.startswith(parameter_sets(last))


@pytest.mark.parametrize(
    ("clip", "kinds"), [("h264_aac", {7, 8}), ("hevc_aac", {32, 33, 34}), ("av1_aac", set())]
)
def test_parameter_sets_are_those_of_the_config(clip: str, kinds: set[int]):
    made = getattr(media_factory, clip)()
    (video,) = [track for track in made.tracks if track.kind is Kind.VIDEO]
    nals = split_prefixed(parameter_sets(video), 4)
    h265 = clip == "hevc_aac"
    assert {nal[0] >> 1 & 0x3F if h265 else nal[0] & 0x1F for nal in nals} == kinds


@pytest.mark.parametrize("codec", ["libx264", "libx265"])
def test_ffmpeg_decodes_a_changed_picture_with_the_first_init_segment_alone(codec: str):
    tracks: list[Track] = []
    packets: list[Packet] = []
    for epoch, size in enumerate([(320, 180), (640, 360)]):
        flv = media_factory.encode(video=codec, audio=None, size=size)
        clip = media_factory.read_flv(flv)
        track = replace(clip.tracks[0], epoch=epoch)
        tracks.append(track)
        shift = epoch * 2 * 90_000
        packets += [
            structs.replace(p, track=track, dts=p.dts + shift, pts=p.pts + shift)
            for p in clip.packets
        ]
    _, items = package(packets, tracks)
    segments = segment_bytes(items)
    file = segments[0][0].data + b"".join(data for _, data in segments)
    with av.open(io.BytesIO(file), "r", format="mp4") as container:
        seen = Counter(frame.width for frame in container.decode(video=0))
    assert seen == {320: 60, 640: 60}
