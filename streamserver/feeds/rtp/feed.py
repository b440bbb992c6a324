"""Reads a log of packets from its newest keyframe on, and fills a log of RTP payloads.

The log is also what lost packets are sent again from: `RtpFeed.find` knows them by number.
"""

from collections.abc import Callable
from typing import Final, Protocol

from streamserver.errors import RemoteProtocolError
from streamserver.feeds.rtp.items import MAX_ITEM_PACKETS, RtpItem
from streamserver.hub.stream import LogBounds
from streamserver.log import Log
from streamserver.media.packet import Packet
from streamserver.media.track import Track
from streamserver.rtp.packetize.base import Packetizer
from streamserver.rtp.packetize.factory import make_packetizer

__all__ = ["RtpFeed", "RtpSource"]

_ITEM_COST: Final = 200
"""What an item weighs besides its payloads."""

_PAYLOAD_COST: Final = 48
"""What a payload weighs besides its bytes."""

_STALE_MS: Final = 250
"""A feed that is so far behind when its first reader comes was not read: see `refresh`."""


class RtpSource(Protocol):
    """Where the packets come from: a stream itself, or one with its sound in another codec."""

    @property
    def packets(self) -> Log[Packet]:
        """The log."""


class RtpFeed:
    """RTP payloads of all tracks that WebRTC carries."""

    def __init__(
        self,
        packets: Log[Packet],
        bounds: LogBounds,
        schedule: Callable[[Callable[[], None]], None],
    ) -> None:
        """``schedule`` is the log's."""
        self.log: Log[RtpItem] = Log(
            max_ms=bounds.max_ms, max_bytes=bounds.max_bytes, schedule=schedule
        )
        self.missed = 0
        """Packets that were evicted before they were read."""
        self.damaged = 0
        """Frames that could not be cut."""
        self.left_out = 0
        """Packets of codecs that WebRTC does not carry, or that are too large for it."""
        self.reorders = False
        """Whether the pictures of this epoch are shown in another order than they come."""
        self.epoch = -1
        """The epoch of the newest packet."""
        self.picture_ms = 0
        """Log time of the newest picture."""
        self._packets = packets
        self._packetizers: dict[Track, Packetizer | None] = {}
        self._video_seq = 0
        self._audio_seq = 0
        self._last_pts = -1
        newest = packets.newest_keyframe
        self._position = packets.end if newest is None else newest

    def pump(self) -> None:
        """Takes what came since the last call."""
        packets = self._packets
        if packets.start > self._position:
            self._jump()
        news = packets.since(self._position)
        self._position += len(news)
        for packet in news:
            self._take(packet)

    def refresh(self) -> None:
        """Leaves out what nobody has read for long: everything before the newest keyframe."""
        packets = self._packets
        newest = packets.newest_keyframe
        stale = packets.age_ms(self._position) > _STALE_MS
        if newest is not None and newest > self._position and stale:
            self._jump()

    def close(self, reason: str) -> None:
        """Takes the rest and closes the log. A second close does nothing."""
        if self.log.closed is None:
            try:
                self.pump()
            finally:
                self.log.close(reason)

    def find(self, *, is_video: bool, sequence: int) -> tuple[RtpItem, int] | None:
        """The item that holds a packet, and its index there; None when it is not held any more.

        Numbers grow with positions, so this is a binary search: some fifteen steps.
        """
        log = self.log
        low, high = log.start, log.end
        while low < high:
            middle = (low + high) // 2
            item = log.get(middle)
            assert item is not None
            if (item.video_end if is_video else item.audio_end) > sequence:
                high = middle
            else:
                low = middle + 1
        item = log.get(low)
        # The oldest item held may be of the other kind, or begin behind the number.
        if item is None or item.is_video is not is_video or sequence < item.first:
            return None
        return item, sequence - item.first

    def next_sequence(self, *, is_video: bool) -> int:
        """The number that the next packet of a kind will get."""
        return self._video_seq if is_video else self._audio_seq

    def _jump(self) -> None:
        newest = self._packets.newest_keyframe
        position = self._packets.end if newest is None else newest
        self.missed += position - self._position
        self._position = position

    def _take(self, packet: Packet) -> None:
        track = packet.track
        if track.epoch != self.epoch:
            self.epoch = track.epoch
            self._packetizers.clear()
            self.reorders, self._last_pts = False, -1
        is_video = packet.is_video
        if is_video:
            self.picture_ms = packet.dts_ms
            # Pictures that come out of order: no browser shows them (RFC 7742 asks for no B-frames)
            self.reorders = self.reorders or packet.pts < self._last_pts
            self._last_pts = packet.pts
        try:
            payloads = self._packetize(packet)
        except RemoteProtocolError:
            self.damaged += 1
            return
        if not payloads:
            self.left_out += 1
            return
        for at in range(0, len(payloads), MAX_ITEM_PACKETS):
            piece = payloads[at : at + MAX_ITEM_PACKETS]
            self._append(packet, piece, at == 0, at + len(piece) == len(payloads))

    def _packetize(self, packet: Packet) -> list[bytes]:
        track = packet.track
        if track not in self._packetizers:
            self._packetizers[track] = None  # If its configuration is damaged, say so once.
            self._packetizers[track] = make_packetizer(track)
        packetizer = self._packetizers[track]
        return [] if packetizer is None else packetizer.packetize(packet)

    def _append(self, packet: Packet, payloads: list[bytes], begins: bool, ends: bool) -> None:
        is_video = packet.is_video
        size = sum(map(len, payloads))
        if is_video:
            first = self._video_seq
            self._video_seq += len(payloads)
        else:
            first = self._audio_seq
            self._audio_seq += len(payloads)
        # Sound needs no entry: whoever comes gets it from then on.
        entry = is_video and packet.keyframe and begins
        item = RtpItem(
            is_video, first, packet.pts, tuple(payloads), begins, ends, entry, size,
            self._video_seq, self._audio_seq, packet.track.epoch, packet.received_ns,
        )  # fmt: skip
        weight = size + _ITEM_COST + _PAYLOAD_COST * len(payloads)
        self.log.append(item, size=weight, at_ms=packet.dts_ms, keyframe=entry)
