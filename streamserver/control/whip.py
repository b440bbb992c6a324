"""Publishing over WebRTC as a plain call: an offer comes, an answer goes (RFC 9725)."""

import logging
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Protocol

from streamserver.control.attempt import Attempt
from streamserver.control.publishing import Publishing
from streamserver.control.webrtc import (
    LinkTotals,
    OpensPeers,
    RtcPeer,
    RtcResource,
    RtcResources,
    link_of,
)
from streamserver.hub.registry import Lease
from streamserver.hub.sessions import Link
from streamserver.rtp.parameters import MediaLine
from streamserver.webrtc.negotiation import agree_to_publish
from streamserver.webrtc.peer import PeerHandler
from streamserver.webrtc.sdp import read_description

__all__ = ["Ingest", "IngestStats", "MakesIngest", "WhipPublishing"]

logger = logging.getLogger(__name__)


class IngestStats(Protocol):
    """How a publisher's media arrives: ``ingest.webrtc.WebRtcIngestStats``."""

    @property
    def packets(self) -> int:
        """RTP packets."""

    @property
    def lost(self) -> int:
        """Packets that did not come by themselves."""

    @property
    def recovered(self) -> int:
        """Packets that came after they had been asked for."""

    @property
    def nacks(self) -> int:
        """Packets asked for."""

    @property
    def plis(self) -> int:
        """Keyframes asked for."""

    @property
    def jitter_ms(self) -> float:
        """Variation of the transit time."""

    @property
    def rtt_ms(self) -> float | None:
        """Round trip."""


class Ingest(PeerHandler, Protocol):
    """What takes a publisher's packets: ``ingest.webrtc.WebRtcIngest``."""

    @property
    def stats(self) -> IngestStats:
        """How they arrive."""

    def tick(self, now_ns: int) -> None:
        """Lets time pass; every 20 to 50 ms."""


class MakesIngest(Protocol):
    """Makes one."""

    def __call__(
        self,
        lease: Lease,
        lines: Sequence[MediaLine],
        *,
        send_rtcp: Callable[[bytes], None],
        ended: Callable[[str], None],
    ) -> Ingest:
        """``ended`` is told once, with the reason, when nothing more will come."""


class WhipPublishing:
    """Lets publishers in over WebRTC, and lets time pass for them."""

    def __init__(
        self,
        publishing: Publishing,
        resources: RtcResources,
        opens: OpensPeers,
        make_ingest: MakesIngest,
    ) -> None:
        self.totals = LinkTotals()
        """Sums over those that have gone."""
        self._publishing = publishing
        self._resources = resources
        self._opens = opens
        self._make_ingest = make_ingest
        self._ingests: dict[RtcResource, Ingest] = {}

    def __len__(self) -> int:
        return len(self._ingests)

    async def check(self, attempt: Attempt) -> None:
        """Raises `RefusedError` when such a client would not be let in."""
        await self._publishing.check(attempt)

    async def open(self, attempt: Attempt, offer: str) -> RtcResource:
        """Lets a publisher in; what to answer is ``resource.answer``.

        ``attempt.close`` is not used: the resource ends the connection. Raises
        `RemoteProtocolError` for an offer that cannot be read, and `RefusedError` of a kind that
        says why: `OfferError`, `AccessDeniedError`, `StreamBusyError`, `LimitError` …
        """
        agreement = agree_to_publish(read_description(offer))
        self._resources.check_room(attempt.remote_ip)
        resource = RtcResource(self._resources, attempt.remote_ip)
        publication = await self._publishing.open(replace(attempt, close=resource.close))

        def make(peer: RtcPeer) -> PeerHandler:
            ingest = self._make_ingest(
                publication.lease,
                agreement.media,
                send_rtcp=peer.send_rtcp,
                ended=resource.close,
            )
            publication.session.link = lambda: _link(resource, ingest)
            self._ingests[resource] = ingest
            return ingest

        def end(reason: str) -> None:
            ingest = self._ingests.pop(resource, None)
            if ingest is not None:
                stats = ingest.stats
                self.totals.add(stats, stats.recovered)
            publication.session.link = None
            publication.close(reason)
            logger.info(
                "%s stopped publishing %s over WebRTC: %s",
                attempt.remote_ip,
                publication.session.stream,
                reason,
            )

        resource.on_end = end
        resource.open(self._opens, agreement, make)
        logger.info(
            "%s publishes %s over WebRTC with %s",
            attempt.remote_ip,
            publication.session.stream,
            publication.session.user_agent or "an unnamed client",
        )
        return resource

    def tick(self, now_ns: int) -> None:
        """Lets time pass for all of them."""
        for ingest in tuple(self._ingests.values()):
            ingest.tick(now_ns)

    def sums(self) -> LinkTotals:
        """Over all publishers, those that have gone included."""
        sums = replace(self.totals)
        for ingest in self._ingests.values():
            stats = ingest.stats
            sums.add(stats, stats.recovered)
        return sums


def _link(resource: RtcResource, ingest: Ingest) -> Link:
    stats = ingest.stats
    return link_of(
        resource.pair,
        rtt_ms=stats.rtt_ms,
        jitter_ms=stats.jitter_ms,
        packets=stats.packets,
        lost=stats.lost,
        recovered=stats.recovered,
        nacks=stats.nacks,
        plis=stats.plis,
    )
