"""One RTMP player: which dialect it gets, and what it wants of the stream."""

from collections.abc import Collection, Iterable
from typing import Final

from streamserver.errors import NotFoundError
from streamserver.feeds.framed import Framed
from streamserver.feeds.wire import WIRE_STREAM, with_stream_id
from streamserver.media.flv_writer import FOUR_CCS, Dialect, carries
from streamserver.media.track import Track
from streamserver.outputs.live import LiveViewer
from streamserver.rtmp.message import AUDIO, VIDEO

__all__ = ["RtmpPlay", "choose_dialect"]

_ANY: Final = "*"


def choose_dialect(tracks: Iterable[Track], announced: Collection[str]) -> Dialect:
    """The dialect for a player that announced these FourCCs.

    One that announced nothing gets everything: ffmpeg since 6.1 and VLC play enhanced RTMP and
    never say so. One that announced some, and not all that the stream has, gets the tracks that
    every player knows. Raises `NotFoundError` when it could play none.
    """
    tracks = tuple(tracks)
    foreign = [FOUR_CCS[t.codec] for t in tracks if not carries(t, Dialect.LEGACY)]
    if not announced or _ANY in announced or all(code in announced for code in foreign):
        return Dialect.ENHANCED
    if len(foreign) == len(tracks):
        raise NotFoundError(
            f"the stream is {' and '.join(foreign)}, and the player says that it has only "
            f"{', '.join(sorted(announced))}"[:300]
        )
    return Dialect.LEGACY


class RtmpPlay:
    """What a player asked for: pauses, and whether it wants sound and picture.

    As long as it wants everything on message stream 1 it shares the bytes of all.
    """

    def __init__(self, stream_id: int) -> None:
        self.stream_id = stream_id
        self.audio = True
        self.video = True
        self._live: LiveViewer | None = None
        self._broken = False
        """Whether pictures must wait for a keyframe: some were left out."""

    def begin(self, live: LiveViewer) -> None:
        """It is in the fan-out now."""
        self._live = live
        self._apply()

    def stop(self) -> None:
        """It is to get nothing any more. A second call does nothing."""
        live, self._live = self._live, None
        if live is not None:
            live.leave()

    def pause(self, *, paused: bool) -> None:
        """Stops for a while, or goes on at the newest keyframe."""
        if self._live is not None:
            self._live.pause(paused=paused)

    def wait_for_transport(self) -> None:
        """An answer was left in the transport: what follows must not overtake it."""
        if self._live is not None:
            self._live.wait_for_transport()

    def receive_audio(self, wanted: bool) -> None:
        """Turns sound on or off."""
        self.audio = wanted
        self._apply()

    def receive_video(self, wanted: bool) -> None:
        """Turns pictures on, from the next keyframe, or off."""
        if wanted and not self.video:
            self._broken = True
        self.video = wanted
        self._apply()

    def _apply(self) -> None:
        if self._live is not None:
            shared = self.audio and self.video and not self._broken
            own = not shared or self.stream_id != WIRE_STREAM
            self._live.choose(self._choose if own else None)

    def _choose(self, item: Framed) -> bytes | None:
        """An item as this player wants it; headers always pass, so that it can change its mind."""
        if item.is_media:
            if item.kind == AUDIO and not self.audio:
                return None
            if item.kind == VIDEO and not self._wants_picture(item):
                return None
        if self.stream_id == WIRE_STREAM:
            return item.data
        return with_stream_id(item.data, self.stream_id)

    def _wants_picture(self, item: Framed) -> bool:
        if not self.video:
            return False
        if self._broken and item.keyframe:
            self._broken = False
            self._apply()
        return not self._broken
