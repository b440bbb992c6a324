"""VP8 frame tags."""

import io

import av
import pytest

from streamserver.media.errors import DamagedFrameError
from streamserver.media.vp8 import is_keyframe, keyframe_size, track_from_vp8


@pytest.fixture(scope="module")
def frames() -> list[bytes]:
    buffer = io.BytesIO()
    with av.open(buffer, "w", format="ivf") as container:
        stream = container.add_stream("libvpx", rate=25)
        stream.width, stream.height, stream.pix_fmt = 67, 49, "yuv420p"
        for index in range(3):
            frame = av.VideoFrame(67, 49, "yuv420p")
            for plane in frame.planes:
                plane.update(bytes((100 + index,)) * plane.buffer_size)
            frame.pts = index
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    with av.open(io.BytesIO(buffer.getvalue()), "r") as container:
        return [bytes(packet) for packet in container.demux() if packet.size]


def test_key_frames_tell_their_size(frames):
    assert [is_keyframe(frame) for frame in frames] == [True, False, False]
    track = track_from_vp8(b"", 3, frames[0])
    assert (track.width, track.height, track.epoch) == (67, 49, 3)
    assert track.codec_string == "vp08.00.10.08"
    assert track_from_vp8(b"").width == 0


def test_broken_frames_are_damage(frames):
    with pytest.raises(DamagedFrameError):
        is_keyframe(b"\x00\x00")
    with pytest.raises(DamagedFrameError):
        keyframe_size(frames[0][:9])
    with pytest.raises(DamagedFrameError):
        keyframe_size(frames[1])
