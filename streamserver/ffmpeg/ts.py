"""MPEG-TS for old players: one CMAF segment in, one transport stream segment out.

FFmpeg does what needs a parser: ADTS headers, Annex B start codes, parameter sets before
keyframes. Call it off the loop (`streamserver.ffmpeg.executor`).
"""

import io
from typing import Final

import av
import numpy as np
from av.error import FFmpegError

from streamserver.errors import RemoteProtocolError

__all__ = ["PACKET", "continue_counters", "remux_segment"]

PACKET: Final = 188
"""Bytes of a transport stream packet (ISO/IEC 13818-1, 2.4.3.2)."""

_HAS_PAYLOAD: Final = 0x10
_BUFFER: Final = 1 << 18


class _Sink:
    """Collects what FFmpeg writes; without ``seek``, so that it never goes back."""

    __slots__ = ("blocks",)

    def __init__(self) -> None:
        self.blocks: list[bytes] = []

    def write(self, block: bytes) -> int:
        self.blocks.append(bytes(block))
        return len(block)


def remux_segment(init: bytes, media: bytes, counters: dict[int, int]) -> bytes:
    """One segment, ``init`` and the joined parts, as MPEG-TS.

    Times stay the log's, in 33 bits (they wrap after 26.5 hours, as the format does).
    ``counters`` holds the next continuity counter of each PID; keep it from segment to segment of
    a playlist, so that their concatenation is one stream, and give an empty one to begin.
    Raises `RemoteProtocolError` when FFmpeg cannot read the media.
    """
    sink = _Sink()
    try:
        _remux(init + media, sink)
    except FFmpegError as error:
        raise RemoteProtocolError(f"the segment cannot be remuxed: {error}") from error
    return continue_counters(b"".join(sink.blocks), counters)


def _remux(segment: bytes, sink: _Sink) -> None:
    with (
        av.open(
            io.BytesIO(segment),
            "r",
            format="mp4",
            # The init segment says everything: looking into the frames for more would double the
            # cost.
            container_options={
                "analyzeduration": "0",
                "probesize": "32",
                "fflags": "+nofillin+noparse",
            },
        ) as source,
        av.open(
            sink,
            "w",
            format="mpegts",
            # copyts: no start offset. PAT and PMT come with each keyframe; repeating them ten
            # times a second as well would only cost bytes.
            # pcr_period: a reference at least every 100 ms (2.7.2), also over the segments' ends.
            options={
                "flush_packets": "0",
                "mpegts_copyts": "1",
                "pat_period": "2",
                "pcr_period": "50",
            },
            # A track that is silent holds the others back by a tenth of a second, not by ten.
            # max_delay: the clock reference runs ahead of the decoding times by this, so that
            # audio, gathered for half of it, is never late; times themselves do not move.
            container_options={"max_interleave_delta": "100000", "max_delay": "150000"},
            buffer_size=_BUFFER,
        ) as target,
    ):
        # opaque: parameters are copied, no encoder is opened.
        streams = {
            stream.index: target.add_stream_from_template(stream, opaque=True)
            for stream in source.streams
        }
        for packet in source.demux():
            # The demuxer ends with one empty packet per track.
            if packet.dts is not None:
                packet.stream = streams[packet.stream.index]
                target.mux_one(packet)


def continue_counters(segment: bytes, counters: dict[int, int]) -> bytes:
    """Shifts each PID's continuity counters to go on from ``counters``, and updates those.

    Every muxer starts at 0; a counter grows with each packet that has a payload, and stays with
    those that have none (2.4.3.3).
    """
    packets = np.frombuffer(segment, np.uint8).reshape(-1, PACKET).copy()
    pids = (packets[:, 1].astype(np.uint16) & 0x1F) << 8 | packets[:, 2]
    control = packets[:, 3]
    payload = (control & _HAS_PAYLOAD) != 0
    for pid in np.unique(pids):
        mine = pids == pid
        first = np.flatnonzero(mine & payload)
        if not len(first):
            continue
        counts = control[mine]
        key = int(pid)
        start = int(control[first[0]]) & 15
        shift = (counters.get(key, start) - start) & 15
        control[mine] = counts & 0xF0 | (counts + shift) & 15
        counters[key] = (int(control[first[-1]]) + 1) & 15
    return packets.tobytes()
