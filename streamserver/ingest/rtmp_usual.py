"""Messages of tracks under way, straight to packets: nearly all that a publisher sends."""

from collections.abc import Iterable
from struct import Struct
from typing import Final

from streamserver.ingest.assembler import UnderWay
from streamserver.media.flv_heads import LONG_HEAD, SHORT_HEAD, Heads
from streamserver.media.nal import unpack_u32
from streamserver.media.packet import Packet
from streamserver.media.timeline import Timeline
from streamserver.media.track import VIDEO_CLOCK
from streamserver.media.unit_kinds import LONE_KEY
from streamserver.rtmp.message import VIDEO, Message

__all__ = ["usual_packets"]

_TICKS_PER_MS: Final = VIDEO_CLOCK // 1_000
_I32: Final = Struct(">i").unpack_from


def usual_packets(
    messages: Iterable[Message],
    heads: tuple[Heads, Heads],
    tracks: UnderWay,
    timeline: Timeline,
    now_ns: int,
) -> tuple[list[Packet], Message | None]:
    """Packets of messages that arrived together, up to the first that is not usual.

    Usual is a message whose first bytes tell a frame (``heads``: of video, of audio), with which
    nothing happens but a packet (``tracks``), a usual step behind the last one of its track. All
    in one loop, as `RtmpIngest` and `Assembler.push` would do it in many calls; the time line is
    told. Answers the first other message too, or None.
    """
    video_head, audio_head = heads[0].get, heads[1].get
    video, lone_nals, video_quick, audio, plain_firsts, audio_quick, ticks, rate = tracks
    shift, latest, last_video, last_audio = timeline.pace()
    before_video, before_audio = last_video, last_audio
    # `ms_to_ticks`, without the call: twice the rate, and half a tick of the doubled one.
    rate *= 2
    audio_shift = shift * rate + 1000
    packets: list[Packet] = []
    append = packets.append
    message: Message | None = None
    for message in messages:
        type_id, at_ms, _, body = message
        if type_id == VIDEO:
            head = video_head(body[:SHORT_HEAD]) or video_head(body[:LONG_HEAD])
            if head is None or at_ms <= last_video or at_ms > latest or video is None:
                break
            start, is_composed, key_hint = head
            first, size = start + 4, len(body)
            told = lone_nals[body[first]] if size > first else 0
            if told and unpack_u32(body, start)[0] == size - first:
                data, keyframe = body[start:], told == LONE_KEY
            else:
                unit = video_quick(body[start:], key_hint)
                if unit is None:
                    break
                data, keyframe = unit
            before_video, last_video = last_video, at_ms
            dts = pts = (at_ms + shift) * _TICKS_PER_MS
            if is_composed:
                # The three bytes before the frame, signed: the fourth falls off.
                pts += (_I32(body, start - 3)[0] >> 8) * _TICKS_PER_MS
            append(Packet(video, pts, dts, 0, keyframe, data, now_ns))
        else:
            head = audio_head(body[:SHORT_HEAD]) or audio_head(body[:LONG_HEAD])
            if head is None or at_ms <= last_audio or at_ms > latest or audio is None:
                break
            start = head[0]
            if len(body) > start and plain_firsts[body[start]]:
                data = body[start:]
            else:
                unit = audio_quick(body[start:], True)
                if unit is None:
                    break
                data, _ = unit
            before_audio, last_audio = last_audio, at_ms
            dts = (at_ms * rate + audio_shift) // 2000
            append(Packet(audio, dts, dts, ticks, True, data, now_ns))
    else:
        message = None
    if packets:
        video_step, audio_step = last_video - before_video, last_audio - before_audio
        timeline.keep_pace(last_video, video_step, last_audio, audio_step, now_ns)
    return packets, message
