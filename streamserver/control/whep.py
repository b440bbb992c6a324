"""Playing over WebRTC as a plain call: an offer comes, an answer goes (draft-ietf-wish-whep)."""

import logging
from collections.abc import Collection, Sequence
from dataclasses import replace
from typing import Final, Protocol

from streamserver.control.attempt import Attempt
from streamserver.control.watching import Watch, Watching
from streamserver.control.webrtc import (
    LinkTotals,
    OpensPeers,
    RtcPeer,
    RtcResource,
    RtcResources,
    link_of,
)
from streamserver.hub.sessions import Link
from streamserver.hub.stream import Stream
from streamserver.media.track import Codec, Track
from streamserver.outputs.webrtc.playable import Form
from streamserver.rtp.parameters import MediaLine
from streamserver.webrtc.negotiation import agree_to_play, check_offer_to_play, offered_codecs
from streamserver.webrtc.peer import PeerHandler
from streamserver.webrtc.sdp import Description, read_description

__all__ = ["RtcOutput", "RtcViewer", "RtcViewerStats", "WhepWatching"]

logger = logging.getLogger(__name__)

_AVCC_PROFILE: Final = slice(1, 4)
"""Where ``avcC`` has what SDP calls ``profile-level-id`` (ISO/IEC 14496-15, section 5.3.3.1)."""


class RtcViewerStats(Protocol):
    """How a viewer gets its packets: ``outputs.webrtc.ViewerStats``."""

    packets: int
    """Packets sent."""

    lost: int
    """Packets that it never got."""

    rtt_ms: int | None
    """Round trip."""

    jitter_ms: int
    """Variation of the transit time."""

    nacks: int
    """Packets that it asked for again."""

    retransmitted: int
    """Packets that were sent again."""

    plis: int
    """Keyframes that it asked for."""


class RtcViewer(PeerHandler, Protocol):
    """A viewer in the output."""

    @property
    def stats(self) -> RtcViewerStats:
        """How it gets its packets."""


class RtcOutput(Protocol):
    """What sends: ``outputs.webrtc.WebRtcOutput``."""

    def playable(self, stream: Stream, offered: Collection[Codec] | None = None) -> Form:
        """In what form a stream is played with the codecs that the player offered. Raises a
        `RefusedError` with a sentence for the publisher when it cannot be."""

    def watch(
        self, watch: Watch, peer: RtcPeer, lines: Sequence[MediaLine], form: Form
    ) -> RtcViewer:
        """Takes a viewer that was let in, and closes ``watch`` when it is gone."""


class WhepWatching:
    """Lets viewers in over WebRTC."""

    def __init__(
        self,
        watching: Watching,
        resources: RtcResources,
        opens: OpensPeers,
        output: RtcOutput,
        *,
        wait_s: float = 0,
    ) -> None:
        """``wait_s`` is how long a player waits for a stream that is not live."""
        self.totals = LinkTotals()
        """Sums over those that have gone."""
        self._watching = watching
        self._resources = resources
        self._opens = opens
        self._output = output
        self._wait_s = wait_s
        self._viewers: dict[RtcResource, RtcViewer] = {}

    def __len__(self) -> int:
        return len(self._viewers)

    async def check(self, attempt: Attempt) -> None:
        """Raises `RefusedError` when such a client would not be let in."""
        await self._watching.check(attempt)

    async def open(self, attempt: Attempt, offer: str) -> RtcResource:
        """Lets a viewer in; what to answer is ``resource.answer``.

        ``attempt.close`` is not used: the resource ends the connection. Raises
        `RemoteProtocolError` for an offer that cannot be read, and `RefusedError` of a kind that
        says why: `OfferError`, `UnplayableError`, `AccessDeniedError`, `NotFoundError` …
        """
        description = read_description(offer)
        check_offer_to_play(description)
        self._resources.check_room(attempt.remote_ip)
        resource = RtcResource(self._resources, attempt.remote_ip)
        watch = await self._watching.open(
            replace(attempt, close=resource.close), wait_s=self._wait_s
        )
        try:
            self._open(resource, watch, description)
        except BaseException:
            resource.close("it could not be opened")
            watch.close()
            raise
        logger.info("%s plays %s over WebRTC", attempt.remote_ip, watch.session.stream)
        return resource

    def sums(self) -> LinkTotals:
        """Over all viewers, those that have gone included."""
        sums = replace(self.totals)
        for viewer in self._viewers.values():
            sums.add(viewer.stats, viewer.stats.retransmitted)
        return sums

    def _open(self, resource: RtcResource, watch: Watch, description: Description) -> None:
        stream = watch.stream
        form = self._output.playable(stream, offered_codecs(description))
        tracks = form.tracks
        agreement = agree_to_play(
            description, [track.codec for track in tracks], profile=_profile(tracks)
        )

        def make(peer: RtcPeer) -> PeerHandler:
            viewer = self._output.watch(watch, peer, agreement.media, form)
            watch.session.link = lambda: _link(resource, viewer)
            self._viewers[resource] = viewer
            return viewer

        def end(reason: str) -> None:
            viewer = self._viewers.pop(resource, None)
            if viewer is not None:
                self.totals.add(viewer.stats, viewer.stats.retransmitted)
            watch.session.link = None
            watch.close()
            session = watch.session
            logger.info(
                "%s stopped playing %s over WebRTC: %s (%d KB sent, %d frames dropped)",
                resource.remote_ip,
                session.stream,
                reason,
                session.bytes_sent // 1000,
                session.dropped_frames,
            )

        resource.on_end = end
        resource.open(self._opens, agreement, make)


def _profile(tracks: Sequence[Track]) -> str:
    """The ``profile-level-id`` of H.264 among the tracks; empty where there is none."""
    config = next((track.config for track in tracks if track.codec is Codec.H264), b"")
    return config[_AVCC_PROFILE].hex()


def _link(resource: RtcResource, viewer: RtcViewer) -> Link:
    stats = viewer.stats
    return link_of(
        resource.pair,
        rtt_ms=stats.rtt_ms,
        jitter_ms=stats.jitter_ms,
        packets=stats.packets,
        lost=stats.lost,
        recovered=stats.retransmitted,
        nacks=stats.nacks,
        plis=stats.plis,
    )
