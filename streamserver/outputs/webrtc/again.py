"""Sending lost packets again, out of the feed's log."""

from struct import Struct
from typing import Final

from streamserver.feeds.rtp.feed import RtpFeed
from streamserver.outputs.webrtc.viewer import Outgoing, WebRtcViewer
from streamserver.rtp.packet import build_packet

__all__ = ["MAX_ASKED", "send_again"]

MAX_ASKED: Final = 512
"""Packets that one request may name; more is not loss, and looking for each costs time."""

_LOOK_COST: Final = 64
"""Bytes that looking for a packet takes from the allowance, found or not."""

_REPEAT_MS: Final = 10
"""The same packet is not sent twice within this, or within three quarters of a round trip."""

_MAX_RECENT: Final = 1024

_pack_u16: Final = Struct("!H").pack


def send_again(
    feed: RtpFeed,
    viewer: WebRtcViewer,
    outgoing: Outgoing,
    wire: int,
    timestamp_base: int,
    now_ns: int,
) -> bool:
    """Sends one packet again, known by its number on the wire; False ends the request."""
    stats = viewer.stats
    if not viewer.allowance.take(_LOOK_COST, now_ns):
        stats.throttled += 1
        return False
    sequence = outgoing.numbers.find(wire)
    is_video = outgoing is viewer.video
    found = None if sequence is None else feed.find(is_video=is_video, sequence=sequence)
    if sequence is None or found is None:
        stats.not_held += 1
        return True
    if _was_just_sent(viewer, outgoing, sequence, now_ns):
        return True
    item, index = found
    payload = item.payloads[index]
    if not viewer.allowance.take(len(payload), now_ns):
        stats.throttled += 1
        return False
    marker = is_video and item.ends and index == len(item.payloads) - 1
    packet = _build(outgoing, wire, item.timestamp + timestamp_base, payload, marker)
    if not viewer.peer.send_rtp(packet):
        stats.overflows += 1
        return False
    stats.retransmitted += 1
    viewer.session.sent_alone += len(packet)
    return True


def _build(outgoing: Outgoing, wire: int, timestamp: int, payload: bytes, marker: bool) -> bytes:
    line = outgoing.line
    if line.rtx_payload_type is None or not line.rtx_ssrc:
        return build_packet(
            payload_type=line.payload_type, sequence=wire, timestamp=timestamp, ssrc=line.ssrc,
            payload=payload, marker=marker,
        )  # fmt: skip
    # RFC 4588, section 4: a source of its own, and the original number before the payload.
    sequence = outgoing.rtx_sequence
    outgoing.rtx_sequence = sequence + 1 & 0xFFFF
    return build_packet(
        payload_type=line.rtx_payload_type, sequence=sequence, timestamp=timestamp,
        ssrc=line.rtx_ssrc, payload=_pack_u16(wire) + payload, marker=marker,
    )  # fmt: skip


def _was_just_sent(viewer: WebRtcViewer, outgoing: Outgoing, sequence: int, now_ns: int) -> bool:
    recent = outgoing.recent
    wait_ms = max(_REPEAT_MS, (viewer.stats.rtt_ms or 0) * 3 // 4)
    before_ns = recent.get(sequence)
    if before_ns is not None and now_ns - before_ns < wait_ms * 1_000_000:
        return True
    if len(recent) >= _MAX_RECENT:
        recent.clear()
    recent[sequence] = now_ns
    return False
