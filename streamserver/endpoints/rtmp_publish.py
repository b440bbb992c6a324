"""The publishing half of an RTMP connection: from leave to publish until the end of it."""

import asyncio
import logging
from collections.abc import Callable, Sequence
from operator import attrgetter
from typing import Final

from streamserver.control.publishing import Publication
from streamserver.endpoints.rtmp_patience import Patience
from streamserver.ingest.rtmp import RtmpIngest
from streamserver.rtmp.amf import AmfValue
from streamserver.rtmp.message import Message

__all__ = ["RtmpPublisher"]

_BODY: Final = attrgetter("body")

logger = logging.getLogger(__name__)


class RtmpPublisher:
    """One publisher that was let in."""

    def __init__(
        self,
        publication: Publication,
        peer: str,
        transport: asyncio.Transport,
        take: Callable[[bytes], None],
    ) -> None:
        """``peer`` names it in log lines; ``transport`` is where its media comes from, and ``take``
        gets what `Patience` reads of it."""
        self._patience = Patience(transport, take)
        self.session = publication.session
        self._publication = publication
        self._peer = peer
        self._ingest = RtmpIngest(publication.lease)
        self._packets = publication.lease.stream.packets
        self._packets.feeder = self._patience
        logger.info(
            "%s publishes %s with %s",
            peer,
            self.session.stream,
            self.session.user_agent or "an unnamed encoder",
        )

    def media(self, messages: Sequence[Message], now_ns: int) -> None:
        """Audio and video have come together."""
        self.session.bytes_received += sum(map(len, map(_BODY, messages)))
        self._ingest.media(messages, now_ns)
        if self._patience.after_read:
            self._patience.resume()

    def metadata(self, values: Sequence[AmfValue]) -> None:
        """``onMetaData`` has come."""
        self._ingest.metadata(values)

    def tick(self, received_bytes: int) -> None:
        """Time passes; so many bytes have come over the connection."""
        packets = self._packets
        hurried, followed = packets.hurried, packets.followed
        self._patience.tick(received_bytes, hurried=hurried, followed=followed)

    def close(self, reason: str) -> None:
        """The publisher has left, or must."""
        if self._packets.feeder is self._patience:
            self._packets.feeder = None
        self._patience.end()
        assembler = self._ingest.assembler
        assembler.flush()
        counters = assembler.counters
        logger.info(
            "%s stopped publishing %s: %s (%d frames, %d damaged, %d without a keyframe)",
            self._peer,
            self.session.stream,
            reason,
            counters.frames,
            counters.damaged,
            counters.waiting,
        )
        self._publication.close(reason)
