from collections.abc import Callable

import pytest

from streamserver.errors import NotFoundError
from streamserver.feeds.framed import Framed
from streamserver.feeds.wire import WireFormat
from streamserver.media.flv_writer import Dialect
from streamserver.media.track import Codec
from streamserver.outputs.live import LiveViewer
from streamserver.outputs.rtmp_play import RtmpPlay, choose_dialect
from tests.fakes import audio_track, video_track
from tests.outputs.helpers_live import AUDIO, VIDEO, World, header, numbers

HEADER = header()


def item(kind: int, *, keyframe: bool = False, is_media: bool = True) -> Framed:
    pieces = WireFormat(65536).frame(kind, 0, b"", b"x")
    return Framed(pieces, kind, 0, keyframe, HEADER, is_media)


class Live(LiveViewer):
    """Remembers what was chosen."""

    def __init__(self) -> None:
        world = World()
        super().__init__(world.fan_out, world.viewer())
        self.chosen: Callable[..., bytes | None] | None = None

    def choose(self, choose: Callable[..., bytes | None] | None) -> None:
        self.chosen = choose


def test_a_usual_player_shares_the_bytes_of_all():
    live, play = Live(), RtmpPlay(1)
    play.begin(live)
    assert live.chosen is None


def test_one_on_another_message_stream_gets_the_same_with_its_number():
    live, play = Live(), RtmpPlay(3)
    play.begin(live)
    assert live.chosen is not None
    data = live.chosen(item(VIDEO))
    assert data is not None
    assert data[8:12] == b"\x03\0\0\0"


def test_sound_can_be_turned_off_and_on_again():
    live, play = Live(), RtmpPlay(1)
    play.begin(live)
    play.receive_audio(False)
    assert live.chosen is not None
    assert live.chosen(item(AUDIO)) is None
    assert live.chosen(item(VIDEO)) is not None
    assert live.chosen(item(AUDIO, is_media=False)) is not None
    play.receive_audio(True)
    assert live.chosen is None


def test_pictures_come_back_at_a_keyframe_and_then_all_is_shared_again():
    live, play = Live(), RtmpPlay(1)
    play.begin(live)
    play.receive_video(False)
    play.receive_video(True)
    choose = live.chosen
    assert choose is not None
    assert choose(item(VIDEO)) is None
    assert choose(item(AUDIO)) is not None
    assert choose(item(VIDEO, keyframe=True)) is not None
    assert live.chosen is None


def test_in_a_fan_out_pictures_that_were_off_come_back_without_a_hole_in_the_sound():
    world = World()
    play = RtmpPlay(1)
    viewer = world.viewer()
    world.append(keyframe=True)
    world.fan_out.add(viewer)
    play.begin(LiveViewer(world.fan_out, viewer))
    world.settle()
    for off, kind, keyframe in (
        (True, VIDEO, False), (True, AUDIO, False), (False, VIDEO, False), (False, AUDIO, False),
        (False, VIDEO, True), (False, VIDEO, False),
    ):  # fmt: skip
        play.receive_video(not off)
        world.append(kind=kind, keyframe=keyframe)
        world.settle()
    assert numbers(viewer.transport.data) == [0, 2, 4, 5, 6]  # type: ignore[attr-defined]
    assert viewer.reader is None
    play.stop()
    play.stop()
    assert len(world.fan_out) == 0


@pytest.mark.parametrize(
    ("codecs", "announced", "dialect"),
    [
        ((Codec.H264, Codec.AAC), (), Dialect.ENHANCED),
        ((Codec.H264, Codec.AAC), ("hvc1",), Dialect.ENHANCED),
        ((Codec.H265, Codec.AAC), (), Dialect.ENHANCED),
        ((Codec.H265, Codec.AAC), ("hvc1", "av01"), Dialect.ENHANCED),
        ((Codec.H265, Codec.OPUS), ("*",), Dialect.ENHANCED),
        ((Codec.H265, Codec.AAC), ("av01",), Dialect.LEGACY),
        ((Codec.H264, Codec.OPUS), ("hvc1",), Dialect.LEGACY),
    ],
)
def test_the_dialect_follows_what_the_player_announced(codecs, announced, dialect):
    tracks = (video_track(codec=codecs[0]), audio_track(codec=codecs[1]))
    assert choose_dialect(tracks, announced) is dialect


def test_a_player_that_can_play_nothing_is_told_what_it_lacks():
    tracks = (video_track(codec=Codec.AV1), audio_track(codec=Codec.OPUS))
    with pytest.raises(NotFoundError, match="the stream is av01 and Opus"):
        choose_dialect(tracks, ("hvc1",))
