"""Messages of one stream as chunks, made once for all connections that are level.

With short headers, chunks tell only how a message differs from the one before it on its chunk
stream: the time between them, and the length where it is another (5.3.1.2). Neither the message
stream nor where a connection began is in them. Two connections whose last messages were the same
go on with the same bytes.
"""

from collections.abc import Iterable, Mapping
from typing import Final

from streamserver.rtmp.chunk_encoder import ChunkEncoder, MediaItem, Run, Tails

__all__ = ["RunCutter"]

_MASK: Final = 0xFFFFFFFF
_ANY_STREAM: Final = 1
"""Stands in full headers only, and a run with one of these is nobody else's."""


class RunCutter:
    """Cuts all messages of a stream, in order, on the time line that its connections share."""

    def __init__(self, csids: Mapping[int, int], chunk_size: int) -> None:
        """``csids`` and ``chunk_size`` are those of the connections."""
        self._csids = csids
        self._chunk_size = chunk_size
        self.forget()

    def forget(self) -> None:
        """What comes next does not follow what came last."""
        self._encoder = ChunkEncoder(self._chunk_size)
        self._tails: dict[int, tuple[int, int]] = {}
        """Time and length of the last message of each type."""

    @property
    def tails(self) -> Tails:
        """For each message type, time and length of the last message that was cut."""
        return self._tails

    def cut(self, items: Iterable[MediaItem]) -> Run | None:
        """The next messages; None where they need a full header.

        Their times are those of the common line here, and need not be below 2^32.
        """
        tails, level = self._tails, True
        before: dict[int, tuple[int, int]] = {}
        run: list[MediaItem] = []
        for type_id, time_ms, body in items:
            tail = tails.get(type_id)
            if tail is None or time_ms < tail[0]:
                level = False
            elif type_id not in before:
                before[type_id] = tail
            tails[type_id] = (time_ms, len(body))
            run.append((type_id, time_ms & _MASK, body))
        pieces: list[bytes] = []
        self._encoder.add(pieces, _ANY_STREAM, self._csids, run)
        if not level:
            return None
        after = {type_id: tails[type_id] for type_id in before}
        return Run(b"".join(pieces), self._chunk_size, before, after)
