"""The fan-out over WebRTC: packets are laid out once, and every viewer has its own keys.

::

    feed.log:  … v a v v a K v a v v |        K: keyframe
                           ^backlog  ^head    newcomers read from K, paced, until they are at head

Sound needs no keyframe and is sent to everybody from its entry on; pictures go to whoever has
had all that came before, which the sequence numbers tell.
"""

import logging
from collections.abc import Callable, Iterator, Sequence
from typing import Final

from streamserver.feeds.rtp.feed import RtpFeed
from streamserver.feeds.rtp.items import RtpItem
from streamserver.hub.slicer import Slicer
from streamserver.outputs.webrtc.again import MAX_ASKED, send_again
from streamserver.outputs.webrtc.peers import SendBuffer
from streamserver.outputs.webrtc.reports import StreamTime, farewell, sender_reports
from streamserver.outputs.webrtc.settings import WebRtcSettings, WebRtcStats
from streamserver.outputs.webrtc.templates import ClassKey, Template, make_template
from streamserver.outputs.webrtc.viewer import Outgoing, WebRtcViewer

__all__ = ["Later", "WebRtcFanOut"]

logger = logging.getLogger(__name__)

_MS: Final = 1_000_000
_SECOND_NS: Final = 1_000_000_000

_OLD_SOUND_MS: Final = 100
"""Behind the newest picture: more than a conversion to Opus takes."""

_OLD_SOUND_NS: Final = _SECOND_NS
"""How long a newcomer is spared old sound; then it is late for good, and better than none."""

_OPUS_TICKS_PER_MS: Final = 48
"""RFC 7587, section 4.1: whatever was sampled."""

_PACE_MS: Final = 5
"""How often newcomers are sent a piece of the backlog."""

Later = Callable[[int, Callable[[], None]], Callable[[], None]]
"""``later(ms, function)`` calls a function once; answers what calls it off."""


class WebRtcFanOut:
    """All viewers of one feed."""

    def __init__(
        self,
        feed: RtpFeed,
        time: StreamTime,
        settings: WebRtcSettings,
        stats: WebRtcStats,
        *,
        arena: SendBuffer,
        wake: Callable[[Callable[[], None]], Callable[[], None]],
        pump: Callable[[], None],
        request_keyframe: Callable[[], bool],
        unplayable: Callable[[], str | None],
        left: Callable[[WebRtcViewer, str], None],
        slicer: Slicer,
        later: Later,
        now_ns: Callable[[], int],
        cname: str,
    ) -> None:
        """``wake`` is the `Log.wake` of the packets, ``pump`` has the feed read them.

        ``request_keyframe`` asks the publisher and answers whether that can be done at all;
        ``unplayable`` says why the stream cannot be played any more; ``left`` is told of every
        viewer that is gone.
        """
        self.feed = feed
        self._log = feed.log
        self._time = time
        self._settings = settings
        self._stats = stats
        self._arena = arena
        self._view = arena.view
        self._pump = pump
        self._request_keyframe = request_keyframe
        self._unplayable = unplayable
        self._left = left
        self._slicer = slicer
        self._later = later
        self._now_ns = now_ns
        self._cname = cname
        self._head = feed.log.end
        """The position behind the newest item that is being sent, or was."""
        self._expected: dict[WebRtcViewer, None] = {}
        """Viewers that are not connected yet."""
        self._viewers: dict[WebRtcViewer, None] = {}
        self._backlog: dict[WebRtcViewer, None] = {}
        """Viewers that read on their own, the oldest first."""
        self._busy = False
        self._again = False
        self._checked_epoch = feed.epoch
        self._reordered = feed.reorders
        self._asked_ns = -_SECOND_NS
        self._counted_ns = now_ns()
        self._call_off: Callable[[], None] | None = None
        self._unwake = wake(self._wake)

    def __len__(self) -> int:
        return len(self._expected) + len(self._viewers)

    def expect(self, viewer: WebRtcViewer) -> None:
        """A viewer that will enter once it is connected."""
        self._expected[viewer] = None

    def close(self) -> None:
        """Forgets all viewers without a word."""
        self._unwake()
        if self._call_off is not None:
            self._call_off()
        self._viewers.clear()
        self._expected.clear()
        self._backlog.clear()

    # ---- what viewers tell ------------------------------------------------------------------

    def enter(self, viewer: WebRtcViewer) -> None:
        """Lets a viewer in: sound from now on, pictures from the newest keyframe."""
        srtp = viewer.peer.srtp
        if viewer not in self._expected or srtp is None:
            return
        del self._expected[viewer]
        now_ns = self._now_ns()
        if not self._viewers:
            self.feed.refresh()
        self._viewers[viewer] = None
        viewer.entered_ns = viewer.next_report_ns = now_ns
        if viewer.audio is not None:
            first = self.feed.next_sequence(is_video=False)
            viewer.audio.begin(first, srtp.overhead)
        if viewer.video is not None:
            viewer.video.begin(self.feed.next_sequence(is_video=True), srtp.overhead)
            viewer.waiting = True
        self._report(viewer, now_ns)
        self._wake()
        if viewer.video is not None:
            self._pump()
            self._begin(viewer, viewer.video, now_ns)

    def leave(self, viewer: WebRtcViewer, reason: str) -> None:
        """Forgets a viewer. A second call does nothing."""
        if viewer in self._viewers or viewer in self._expected:
            self._viewers.pop(viewer, None)
            self._expected.pop(viewer, None)
            self._backlog.pop(viewer, None)
            self._left(viewer, reason)

    def send_again(
        self, viewer: WebRtcViewer, outgoing: Outgoing, sequences: Sequence[int], now_ns: int
    ) -> None:
        """Packets are missing, by their numbers on the wire."""
        if viewer not in self._viewers:
            return
        self._stats.nacks += len(sequences)
        before = viewer.stats.retransmitted
        for wire in sequences[:MAX_ASKED]:
            if not send_again(self.feed, viewer, outgoing, wire, self._time.base, now_ns):
                break
        self._stats.retransmitted += viewer.stats.retransmitted - before

    def want_keyframe(self, now_ns: int) -> None:
        """A decoder cannot go on; the publisher is asked, if it can be, and not too often."""
        self._stats.plis += 1
        self._ask(now_ns)

    def congested(self, viewer: WebRtcViewer) -> None:
        """It does not keep up: pictures go on at a later keyframe."""
        if viewer.video is not None and viewer in self._viewers:
            self._backlog.pop(viewer, None)
            viewer.backlog = None
            viewer.waiting = True
            viewer.stats.drops += 1
            self._stats.drops += 1

    def middle_ntp(self, now_ns: int) -> int:
        """The 32 bits in the middle of the time that stands in sender reports."""
        return self._time.middle_ntp(now_ns)

    # ---- live -------------------------------------------------------------------------------

    def _wake(self) -> None:
        """Something came, or the stream has ended."""
        if self._busy:
            self._again = True
        else:
            self._busy = True
            self._slicer.submit(self._distribute())

    def _distribute(self) -> Iterator[None]:
        """Sends what has come to everybody."""
        try:
            self._pump()
            log = self._log
            self._head = max(self._head, log.start)
            while (item := log.get(self._head)) is not None:
                self._head += 1
                if self._viewers:
                    yield from self._send_to_all(item)
        finally:
            self._busy = False
        if log.closed is not None and self._head >= log.end:
            self._end(log.closed)
        elif self._again:
            self._again = False
            self._wake()

    def _send_to_all(self, item: RtpItem) -> Iterator[None]:
        """One item to all who are due for it. The one loop that is run per viewer and frame."""
        templates: dict[ClassKey, Template] = {}
        is_video, first = item.is_video, item.first
        self._stats.items += 1
        if item.entry:
            self._check_playable(item)
        spared_ns = self._now_ns() - _OLD_SOUND_NS if self._is_old_sound(item) else None
        for viewer in list(self._viewers):
            outgoing = viewer.video if is_video else viewer.audio
            if outgoing is None:
                continue
            if spared_ns is not None and not outgoing.packets and viewer.entered_ns > spared_ns:
                continue
            numbers = outgoing.numbers
            in_step = numbers.next == first and not (is_video and viewer.waiting)
            if not in_step and not self._admits(viewer, outgoing, item):
                continue
            self._guard(viewer, outgoing, item, templates)
            yield

    def _is_old_sound(self, item: RtpItem) -> bool:
        """Whether a player that begins with it would stay behind for seconds.

        Who converts sound begins with that of a whole group of pictures.
        """
        at_ms = item.timestamp // _OPUS_TICKS_PER_MS
        return not item.is_video and self.feed.picture_ms - at_ms > _OLD_SOUND_MS

    def _admits(self, viewer: WebRtcViewer, outgoing: Outgoing, item: RtpItem) -> bool:
        """Whether a viewer that is out of step gets an item, from which on it is in step."""
        ahead = item.first - outgoing.numbers.next
        if not item.is_video:
            if viewer not in self._viewers or ahead < 0:
                return False
            outgoing.numbers.skip(item.first)
            return True
        if viewer.backlog is not None or (ahead < 0 and not viewer.waiting):
            return False
        # The feed has lost packets, or pictures are left out: only a keyframe helps.
        viewer.waiting = True
        if not item.entry or ahead < 0 or self._now_ns() < viewer.congestion.rests_until_ns:
            if item.begins and viewer.begun:
                viewer.session.dropped_frames += 1
            return False
        viewer.waiting = False
        outgoing.numbers.skip(item.first)
        return True

    def _guard(
        self,
        viewer: WebRtcViewer,
        outgoing: Outgoing,
        item: RtpItem,
        templates: dict[ClassKey, Template],
    ) -> None:
        try:
            self._send(viewer, outgoing, item, templates)
        except Exception as error:  # Whatever sending throws must not stop the others.
            self._stats.failed += 1
            logger.warning("sending to %s failed: %s", viewer.session.remote_ip, error)
            viewer.peer.close("sending to it failed")
            self.leave(viewer, "sending to it failed")

    def _send(
        self,
        viewer: WebRtcViewer,
        outgoing: Outgoing,
        item: RtpItem,
        templates: dict[ClassKey, Template],
    ) -> None:
        """One item to one viewer: copied, protected in place, and handed to the kernel."""
        peer, stats = viewer.peer, self._stats
        srtp = peer.srtp
        if srtp is None:  # It closes; its turn in this round came first.
            return
        key = outgoing.key
        template = templates.get(key)
        if template is None:
            template = make_template(item, key, self._time.base, self._view)
            templates[key] = template
            stats.classes += 1
        data, lengths, runs, _, wire = template
        size, packets = len(data), len(lengths)
        self._view[:size] = data
        numbers = outgoing.numbers
        ours = item.first + numbers.offset & 0xFFFF
        if ours != wire:
            template.renumber(self._view, ours)
        srtp.protect_run(self._arena, 0, lengths)
        # Numbers are spent, whatever becomes of the packets: under the same keys none may be
        # used for two (RFC 3711, section 9.1). What gets lost is asked for again.
        numbers.sent(item.first + packets)
        outgoing.packets += packets
        outgoing.octets += item.size
        viewer.stats.packets += packets
        viewer.session.sent_alone += size
        if item.is_video:
            viewer.begun = True
        stats.packets += packets
        stats.bytes += size
        for view, segment in runs:
            if not peer.send_segments(view, segment):
                self._overflow(viewer)
                break

    def _overflow(self, viewer: WebRtcViewer) -> None:
        self._stats.overflows += 1
        viewer.stats.overflows += 1
        if viewer.congestion.overflow(self._now_ns()):
            self.congested(viewer)

    # ---- newcomers --------------------------------------------------------------------------

    def _begin(self, viewer: WebRtcViewer, video: Outgoing, now_ns: int) -> None:
        """Where a newcomer's pictures begin: in what is held, or at the next keyframe."""
        log, settings = self._log, self._settings
        keyframe = log.newest_keyframe
        item = None if keyframe is None else log.get(keyframe)
        if keyframe is None or item is None:
            self._ask(now_ns)
            return
        if log.age_ms(keyframe) > settings.fresh_keyframe_ms and self._ask(now_ns):
            return
        if keyframe >= self._head:
            return  # It is about to be sent to all.
        if log.size_between(keyframe, log.end) > settings.max_backlog_bytes:
            return
        self._stats.backlogs += 1
        viewer.waiting = False
        video.numbers.skip(item.first)
        viewer.backlog = keyframe
        self._backlog[viewer] = None
        if self._call_off is None:
            self._pace()

    def _pace(self) -> None:
        self._call_off = self._later(_PACE_MS, self._pace)
        self._slicer.submit(self._send_backlogs())

    def _send_backlogs(self) -> Iterator[None]:
        """A piece of the backlog to the oldest newcomers, as much as one step may be."""
        log, settings = self._log, self._settings
        room = settings.max_backlog_bytes_per_ms * _PACE_MS
        live = log.bytes // max(1, log.span_ms)
        each = max(settings.min_backlog_bytes_per_ms, settings.backlog_rate * live) * _PACE_MS
        for viewer in list(self._backlog):
            before = viewer.session.bytes_sent
            while room > 0 and viewer.session.bytes_sent - before < each:
                sent = viewer.session.bytes_sent
                if viewer not in self._backlog or not self._send_backlog(viewer):
                    break
                room -= viewer.session.bytes_sent - sent
                yield
            if room <= 0:
                break
        if not self._backlog and self._call_off is not None:
            self._call_off()
            self._call_off = None

    def _send_backlog(self, viewer: WebRtcViewer) -> bool:
        """The next picture to one newcomer; False when it has reached the others."""
        log, video, position = self._log, viewer.video, viewer.backlog
        assert video is not None
        assert position is not None
        newest = log.newest_keyframe
        if newest is not None and position < newest < self._head:
            position = newest  # What lies before is not worth the time any more.
        while position < self._head:
            item = log.get(position)
            if item is None:  # evicted: one group of pictures is larger than the log
                break
            position += 1
            if item.is_video:
                video.numbers.skip(item.first)
                viewer.backlog = position
                self._guard(viewer, video, item, {})
                return viewer in self._backlog
        viewer.backlog = None
        viewer.waiting = position < self._head
        self._backlog.pop(viewer, None)
        return False

    # ---- time and the end -------------------------------------------------------------------

    def tick(self, now_ns: int) -> None:
        """Reports, rates and keyframes that are waited for, a few times a second."""
        for viewer in list(self._viewers):
            if now_ns >= viewer.next_report_ns:
                self._report(viewer, now_ns)
        if now_ns - self._counted_ns >= _SECOND_NS:
            self._count(now_ns)
        if any(
            viewer.waiting and now_ns >= viewer.congestion.rests_until_ns
            for viewer in self._viewers
        ):
            self._ask(now_ns)

    def _report(self, viewer: WebRtcViewer, now_ns: int) -> None:
        viewer.next_report_ns = now_ns + _SECOND_NS
        viewer.peer.send_rtcp(sender_reports(viewer, self._time, self._cname, now_ns))

    def _count(self, now_ns: int) -> None:
        passed_ms = max(1, (now_ns - self._counted_ns) // _MS)
        self._counted_ns = now_ns
        log = self._log
        for viewer in self._viewers:
            session = viewer.session
            session.bit_rate = (session.bytes_sent - viewer.sent_before) * 8_000 // passed_ms
            viewer.sent_before = session.bytes_sent
            session.lag_ms = 0 if viewer.backlog is None else log.age_ms(viewer.backlog)

    def _ask(self, now_ns: int) -> bool:
        """Asks the publisher for a keyframe; False when it cannot be asked."""
        if now_ns - self._asked_ns < self._settings.keyframe_every_ms * _MS:
            return True
        if not self._request_keyframe():
            return False
        self._asked_ns = now_ns
        self._stats.keyframe_requests += 1
        return True

    def _check_playable(self, item: RtpItem) -> None:
        """After a new beginning, or once pictures come out of order: can this be played still?"""
        feed = self.feed
        if item.epoch == self._checked_epoch and feed.reorders is self._reordered:
            return
        self._checked_epoch, self._reordered = item.epoch, feed.reorders
        reason = self._unplayable()
        if reason is not None:
            self._end(reason)

    def _end(self, reason: str) -> None:
        """Says goodbye to everybody."""
        for viewer in [*self._viewers, *self._expected]:
            if viewer in self._viewers:
                viewer.peer.send_rtcp(farewell(viewer, self._cname))
            viewer.peer.close(reason)
            self.leave(viewer, reason)
