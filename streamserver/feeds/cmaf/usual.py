"""The many packets between two cuts, taken in one loop whose names are local.

Most packets complete nothing: they join the queue of their track, and that is all. What a packet
does here, `Cutter.push` would do with it as well; any that may do more is left to it.
"""

from collections.abc import Sequence

from streamserver.feeds.cmaf.fragment import NON_SYNC
from streamserver.feeds.cmaf.frames import frame_samples
from streamserver.feeds.cmaf.queues import (
    DRIFT,
    ROUNDING,
    SAMPLE_COST,
    SHORTEST_INTERVAL,
    SLOWEST,
    AudioQueue,
    VideoQueue,
)
from streamserver.media.packet import Packet

__all__ = ["take_usual"]


def take_usual(
    packets: Sequence[Packet],
    first: int,
    video: VideoQueue,
    audio: AudioQueue | None,
    *,
    deadline: int,
    audio_deadline: int,
    max_weight: int,
) -> int:
    """Queues packets from index ``first`` on; answers the index of the first that it left.

    The part under way ends at ``deadline`` (of the video's clock), audio may come up to
    ``audio_deadline`` (of its own), and neither queue may weigh more than ``max_weight``.
    """
    if not video.measured or not video.data:
        return first
    video_track = video.track
    table, frames, weight = video.table, video.data, video.weight
    written, last = video.written, video.last
    interval, shortest, lead = video.interval, video.shortest, video.lead
    # An audio clock that is not the file's is left to the careful way.
    audio_track, sounds, durations, fixed, sound_end, sound_weight = None, [], [], 0, 0, 0
    if audio is not None and not audio.scaled:
        audio_track, fixed, durations = audio.track, audio.fixed, audio.durations
        sounds, sound_end, sound_weight = audio.data, audio.end, audio.weight
        if not sounds:
            # A part that has none yet begins with the next.
            audio.start = sound_end
    early, late, sample_cost = -DRIFT, DRIFT, SAMPLE_COST
    left = len(packets)
    for index in range(first, left):
        packet = packets[index]
        track, data = packet.track, packet.data
        if track is audio_track:
            # As `AudioQueue.append`; nothing is changed before it is sure that the part goes on.
            frame = packet.duration or fixed or frame_samples(packet)
            ends = sound_end + frame
            heavier = sound_weight + len(data) + sample_cost
            if (
                not early <= packet.pts - sound_end <= late
                or ends > audio_deadline
                or heavier > max_weight
                or not data
            ):
                left = index
                break
            sounds.append(data)
            durations.append(frame)
            sound_end, sound_weight = ends, heavier
        elif track is video_track:
            # As `VideoQueue.measure` and `VideoQueue.append`.
            dts = packet.dts
            step = dts - last
            if packet.keyframe or not data or step > SLOWEST:
                left = index
                break
            smooth = interval + (step - interval + 4 >> 3)
            least = step if step < shortest else shortest + (smooth - shortest - ROUNDING >> 6)
            if smooth < SHORTEST_INTERVAL:
                smooth = SHORTEST_INTERVAL
            half = smooth >> 1
            lasts = least if least > half else half
            at = dts if dts > written else written + 1
            end = dts + lasts
            if end <= at:
                end = at + 1
            size = len(data)
            heavier = weight + size + sample_cost
            if end + smooth > deadline or heavier > max_weight:
                left = index
                break
            last, interval, shortest, lead, weight = dts, smooth, least, lasts, heavier
            table[-4] = at - written
            table += (0, size, NON_SYNC, packet.pts - at)
            written = at
            frames.append(data)
        else:
            left = index
            break
    video.written, video.last, video.weight = written, last, weight
    video.interval, video.shortest, video.lead = interval, shortest, lead
    if audio_track is not None and audio is not None:
        audio.end, audio.weight = sound_end, sound_weight
    return left
