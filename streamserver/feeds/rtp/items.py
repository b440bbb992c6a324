"""What the rtp log holds."""

from typing import NamedTuple

__all__ = ["MAX_ITEM_PACKETS", "RtpItem"]

MAX_ITEM_PACKETS = 48
"""Packets in an item: the kernel cuts up to 64 segments out of one datagram of 64 KB."""


class RtpItem(NamedTuple):
    """A frame, or a piece of a large one, as RTP payloads. A tuple: every packet makes one.

    Sequence numbers count from 0, without wrapping, for pictures and sound apart; time stamps are
    those of the stream's log. A viewer adds what makes them its own.
    """

    is_video: bool
    """Picture or sound."""

    first: int
    """Sequence number of the first packet."""

    timestamp: int
    """Presentation time in ticks of the track, on the log's time line; not wrapped."""

    payloads: tuple[bytes, ...]
    """The payloads, at most `MAX_ITEM_PACKETS` of them; the packets are numbered in this order."""

    begins: bool
    """Whether a frame begins with it."""

    ends: bool
    """Whether a frame ends with it: its last packet carries the marker bit."""

    entry: bool
    """Whether a decoder can begin here."""

    size: int
    """Bytes of all payloads."""

    video_end: int
    """The sequence number that the next picture packet will have."""

    audio_end: int
    """The same for sound. Both, so that a packet can be found by its number: see `RtpFeed.find`."""

    epoch: int
    """The discontinuity-free run of media that it belongs to."""

    received_ns: int
    """Monotonic time at which the frame arrived, for measuring our own delay."""
