"""Pictures of any codec that is served as H.264 that every browser plays over WebRTC.

No B-frames, 4:2:0, 8 bits, constrained baseline; a keyframe where the source has one, and each 2 s.
Colours of high dynamic range are cut to 8 bits as they are: nothing maps their tones.
"""

from collections.abc import Iterator
from fractions import Fraction
from typing import Any, Final

import av
from av.error import FFmpegError
from av.video.frame import PictureType

from streamserver.errors import RemoteProtocolError
from streamserver.ffmpeg.transcode_wire import MAX_PIXELS, Begin, Coded, Configured, Picture
from streamserver.media.h264 import NAL_AUD, NAL_PPS, NAL_SEI, NAL_SPS, AvcConfig, nal_type
from streamserver.media.nal import join_nals, split_annex_b
from streamserver.media.track import VIDEO_CLOCK, Codec

__all__ = ["VideoTranscoder"]

_KEYFRAME_EVERY: Final = 2 * VIDEO_CLOCK

_DECODERS: Final[dict[str, str]] = {
    Codec.H264: "h264", Codec.H265: "hevc", Codec.AV1: "libdav1d", Codec.VP8: "vp8",
    Codec.VP9: "vp9",
}  # fmt: skip

_THREADS: Final = 2
"""For decoding, and again for encoding: slices of one picture, since whole pictures would add
delay."""

_NOT_CARRIED: Final = frozenset((NAL_SPS, NAL_PPS, NAL_SEI, NAL_AUD))
_BUFFER_S: Final = 1


class VideoTranscoder:
    """One run: a track in, H.264 out. Pictures that change their size begin a new coding."""

    def __init__(self, begin: Begin) -> None:
        """Raises `RemoteProtocolError` for a track that cannot be decoded."""
        self.damaged = 0
        """Access units that could not be decoded."""
        self._begin = begin
        self._decoder = _make_decoder(begin)
        self._encoder: Any = None
        self._form: tuple[int, int] = (0, 0)
        self._newest = -1
        self._last_keyframe = 0
        self._wanted = True

    def want_keyframe(self) -> None:
        """The next picture that is shown will be one."""
        self._wanted = True

    def feed(self, coded: Coded) -> Iterator[Configured | Picture]:
        """What comes of an access unit; later ones come of it, too, where pictures are reordered.

        Raises `RemoteProtocolError` when pictures of this kind cannot be encoded.
        """
        packet = av.Packet(coded.data)
        packet.pts, packet.dts = coded.pts, coded.dts
        packet.time_base = Fraction(1, VIDEO_CLOCK)
        try:
            frames = self._decoder.decode(packet)
        except FFmpegError:
            self.damaged += 1
            return
        for frame in frames:
            # Reordered pictures must come in the order of their times, or players stumble.
            if frame.pts is None or frame.pts <= self._newest:
                continue
            self._newest = frame.pts
            self._wanted = self._wanted or frame.key_frame
            if not coded.late:
                yield from self._encode(frame)

    def _encode(self, frame: Any) -> Iterator[Configured | Picture]:
        # 4:2:0 has no odd sizes.
        form = (max(2, frame.width & ~1), max(2, frame.height & ~1))
        try:
            if self._encoder is None or form != self._form:
                yield self._open(frame, form)
            picture = frame.reformat(width=form[0], height=form[1], format="yuv420p", threads=1)
            wanted = self._wanted or frame.pts - self._last_keyframe >= _KEYFRAME_EVERY
            picture.pts, picture.time_base = frame.pts, Fraction(1, VIDEO_CLOCK)
            picture.pict_type = PictureType.I if wanted else PictureType.NONE
            packets = self._encoder.encode(picture)
            if wanted:
                self._last_keyframe, self._wanted = frame.pts, False
        except (FFmpegError, ValueError) as error:
            raise RemoteProtocolError(f"the pictures could not be encoded: {error}") from error
        for packet in packets:
            nals = split_annex_b(bytes(packet))
            data = join_nals(nal for nal in nals if nal_type(nal) not in _NOT_CARRIED)
            yield Picture(self._begin.run, packet.pts, packet.is_keyframe, data)

    def _open(self, frame: Any, form: tuple[int, int]) -> Configured:
        """An encoder for pictures like this one."""
        encoder: Any = av.CodecContext.create("libx264", "w")
        encoder.width, encoder.height = form
        encoder.pix_fmt = "yuv420p"
        encoder.time_base = Fraction(1, VIDEO_CLOCK)
        encoder.framerate = Fraction(self._begin.frame_rate)
        if self._decoder.sample_aspect_ratio:
            encoder.sample_aspect_ratio = self._decoder.sample_aspect_ratio
        encoder.color_primaries, encoder.color_trc = frame.color_primaries, frame.color_trc
        encoder.colorspace = frame.colorspace
        encoder.bit_rate = self._begin.bit_rate
        # By frames, which is the default, x264 would hold each picture back until the next.
        encoder.thread_count, encoder.thread_type = _THREADS, "SLICE"
        # Parameter sets stand in the configuration, which is known before the first picture.
        encoder.flags |= av.codec.context.Flags.global_header
        encoder.options = {
            "preset": "superfast", "tune": "zerolatency", "profile": "baseline",
            "maxrate": str(self._begin.bit_rate),
            "bufsize": str(self._begin.bit_rate * _BUFFER_S),
            "forced-idr": "1", "g": "100000", "sc_threshold": "0",
        }  # fmt: skip
        encoder.open()
        self._encoder, self._form, self._wanted = encoder, form, True
        config = AvcConfig.parse(bytes(encoder.extradata)).to_bytes()
        return Configured(self._begin.run, config)


def _make_decoder(begin: Begin) -> Any:
    name = _DECODERS.get(begin.codec)
    if name is None:
        raise RemoteProtocolError(f"{begin.codec} is not decoded here")
    try:
        decoder: Any = av.CodecContext.create(name, "r")
        decoder.extradata = begin.config or None
        decoder.thread_count = _THREADS
        decoder.thread_type = "SLICE"
        decoder.options = {"max_pixels": str(MAX_PIXELS)}
        if name == "libdav1d":
            decoder.flags |= av.codec.context.Flags.low_delay
        decoder.open()
    except (FFmpegError, ValueError) as error:
        raise RemoteProtocolError(f"the video cannot be decoded: {error}") from error
    return decoder
