"""Packets in, the items of the cmaf log out: epochs, numbers and bytes."""

from collections.abc import Callable, Sequence
from typing import Final

from msgspec.structs import replace

from streamserver.feeds.cmaf.cuts import PartCut, SegmentCut
from streamserver.feeds.cmaf.cutter import Cutter
from streamserver.feeds.cmaf.entries import can_carry
from streamserver.feeds.cmaf.fragment import fragment
from streamserver.feeds.cmaf.in_band import parameter_sets
from streamserver.feeds.cmaf.init import init_segment
from streamserver.feeds.cmaf.settings import CmafCounters, CmafSettings
from streamserver.feeds.items import CmafItem, Init, Part, SegmentEnd, Target
from streamserver.media.packet import Packet
from streamserver.media.track import Kind, Track

__all__ = ["Packager"]

_SMALL_PIECE: Final = 256
"""Bytes of a frame below which it costs more memory to keep frames apart than to join them; bounds
of bytes would not hold for them."""


class Packager:
    """Packages one stream. Sequence numbers start at ``first_msn`` and only grow by one."""

    def __init__(
        self,
        tracks_of: Callable[[int], tuple[Track, ...]],
        first_msn: int,
        settings: CmafSettings,
    ) -> None:
        self.counters = CmafCounters()
        self.init: Init | None = None
        """The initialisation segment of the current epoch; None before the first."""
        self.unsupported: tuple[Track, ...] = ()
        """Tracks of the current epoch that are left out: codecs without a place in CMAF, data,
        and any track after the first of its kind."""
        self._tracks_of = tracks_of
        self._cutter = Cutter(settings, self.counters)
        self._epoch = -1
        self._msn = first_msn
        self._index = 0
        self._sequence = 0
        self._new_epoch = False
        self._video: Track | None = None
        # Goes before every keyframe once the picture's config has changed.
        self._parameter_sets = b""

    @property
    def target(self) -> Target | None:
        """What the playlists promise, once it is known."""
        return self._cutter.target

    @property
    def quiet_until_ms(self) -> int:
        """See `Cutter.quiet_until`, in milliseconds."""
        return self._cutter.quiet_until // 90

    def push(self, packet: Packet) -> Sequence[CmafItem]:
        """Takes the next packet of the log; answers what it completed, mostly nothing.

        Raises `RemoteProtocolError` when a new epoch's track has a malformed config.
        """
        if packet.track.epoch == self._epoch:
            if self._parameter_sets and packet.keyframe and packet.track is self._video:
                packet = replace(packet, data=self._parameter_sets + packet.data)
            cuts = self._cutter.push(packet)
            return [self._item(cut) for cut in cuts] if cuts else ()
        if packet.track.epoch < self._epoch:
            self.counters.stale += 1
            return ()
        items = self.flush()
        self._begin(packet.track.epoch)
        items += self.push(packet)
        return items

    def skim(self, packets: Sequence[Packet], first: int) -> int:
        """See `Cutter.skim`; what it leaves is to be pushed."""
        return self._cutter.skim(packets, first)

    def flush(self) -> list[CmafItem]:
        """Completes the part and the segment under way, for the end or an interruption."""
        return [self._item(cut) for cut in self._cutter.flush()]

    def finish(self) -> list[CmafItem]:
        """The end of the stream: `flush`, and the promise if the stream was too short for it."""
        items = self.flush()
        if self.init is not None and (target := self._cutter.last_call()) is not None:
            items.append(target)
        return items

    def _begin(self, epoch: int) -> None:
        tracks = self._tracks_of(epoch)
        chosen: dict[Kind, Track] = {}
        for track in tracks:
            if can_carry(track):
                chosen.setdefault(track.kind, track)
        video, audio = chosen.get(Kind.VIDEO), chosen.get(Kind.AUDIO)
        carried = tuple(track for track in (video, audio) if track is not None)
        init = Init(epoch, carried, init_segment(carried)) if carried else None
        self._cutter.begin(video, audio)
        if video is not None:
            before, self._video = self._video, video
            if self._parameter_sets or (before is not None and before.config != video.config):
                self._parameter_sets = parameter_sets(video)
        self._epoch = epoch
        self._new_epoch = self._sequence > 0
        self.unsupported = tuple(track for track in tracks if track not in carried)
        self.init = init

    def _item(self, cut: PartCut | SegmentCut | Target) -> CmafItem:
        if isinstance(cut, PartCut):
            return self._part(cut)
        if isinstance(cut, SegmentCut):
            item = SegmentEnd(self._msn, self._index, cut.duration)
            self._msn += 1
            self._index = 0
            self.counters.segments += 1
            return item
        return cut

    def _part(self, cut: PartCut) -> Part:
        assert self.init is not None  # parts come from its tracks
        self._sequence += 1
        pieces = fragment(self._sequence, cut.video, cut.audio)
        size = sum(map(len, pieces))
        if size < len(pieces) * _SMALL_PIECE:
            pieces = [b"".join(pieces)]
        part = Part(
            msn=self._msn,
            index=self._index,
            init=self.init,
            discontinuity=cut.discontinuity or self._new_epoch,
            independent=cut.independent,
            start_ms=cut.start // 90,
            duration=cut.duration,
            pieces=tuple(pieces),
            size=size,
        )
        self._index += 1
        self._new_epoch = False
        self.counters.parts += 1
        return part
