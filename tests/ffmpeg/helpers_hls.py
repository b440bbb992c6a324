"""HLS as other servers make it."""

import io
from pathlib import Path

import av


def make_hls(directory: Path, flv: bytes) -> Path:
    """A playlist with MPEG-TS segments of a clip: start codes and ADTS, not lengths."""
    path = directory / "index.m3u8"
    options = {"hls_time": "1", "hls_list_size": "0"}
    with (
        av.open(io.BytesIO(flv), "r") as source,
        av.open(str(path), "w", format="hls", options=options) as target,
    ):
        streams = {one.index: target.add_stream_from_template(one) for one in source.streams}
        for packet in source.demux():
            if packet.dts is not None:
                packet.stream = streams[packet.stream.index]
                target.mux(packet)
    return path
