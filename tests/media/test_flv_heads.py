"""What the first bytes of a message tell is what the parser says of all of it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamserver.media.flv import AudioFrame, FrameType, VideoFrame, parse_tag
from streamserver.media.flv_heads import LONG_HEAD, SHORT_HEAD, frame_heads
from streamserver.media.track import Codec, Kind

HEADS = [(codec, head) for codec in Codec for head in frame_heads(codec)]


@given(st.sampled_from(HEADS), st.binary(max_size=16))
def test_a_message_with_a_known_head_is_one_frame_of_that_codec(known, rest):
    codec, head = known
    start, is_composed, key_hint = frame_heads(codec)[head]
    body = head + rest
    if len(body) <= start:
        return
    (item,) = parse_tag(codec.kind, body)
    assert isinstance(item, VideoFrame if codec.kind is Kind.VIDEO else AudioFrame)
    assert item.codec is codec
    assert item.data == body[start:]
    if isinstance(item, VideoFrame):
        composition = body[start - 3 : start] if is_composed else b"\0"
        assert item.composition_ms == int.from_bytes(composition, signed=True)
        assert key_hint is (item.frame_type in (FrameType.KEY, FrameType.GENERATED_KEY))
    else:
        assert key_hint
        assert not is_composed


@pytest.mark.parametrize(
    ("codec", "heads"),
    [
        (Codec.H264, (b"\x17\x01", b"\x27\x01", b"\x91avc1", b"\xa1avc1", b"\xa3avc1")),
        (Codec.H265, (b"\x1c\x01", b"\x91hvc1", b"\xa3hvc1")),
        (Codec.AV1, (b"\x1d\x01", b"\x91av01", b"\xa1av01")),
        (Codec.AAC, (b"\xaf\x01", b"\x91mp4a")),
    ],
)
def test_frames_are_known_by_their_heads(codec, heads):
    assert set(heads) <= set(frame_heads(codec))


def test_no_message_fits_two_heads():
    for codec in Codec:
        heads = frame_heads(codec)
        assert {len(head) for head in heads} <= {SHORT_HEAD, LONG_HEAD}
        assert not any(head[:SHORT_HEAD] in heads for head in heads if len(head) == LONG_HEAD)
