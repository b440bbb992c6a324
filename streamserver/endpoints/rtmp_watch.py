"""The playing half of an RTMP connection: from leave to play until the end of it."""

import logging
from asyncio import Transport
from collections.abc import Callable, Collection
from dataclasses import dataclass

from streamserver.control.attempt import Attempt
from streamserver.control.watching import Watch, Watching
from streamserver.errors import RefusedError
from streamserver.media.flv_writer import Dialect
from streamserver.outputs.live import Form, LiveOutput
from streamserver.outputs.rtmp_play import RtmpPlay, choose_dialect
from streamserver.outputs.transports import make_live, own_socket
from streamserver.outputs.viewer import Viewer
from streamserver.rtmp.events import (
    Event,
    PauseRequested,
    ReceiveAudioRequested,
    ReceiveVideoRequested,
)

__all__ = ["PlayDoor", "RtmpWatch", "play_code"]

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class PlayDoor:
    """What a listener needs in order to play."""

    watching: Watching
    """Decides about viewers."""

    live: LiveOutput
    """Sends to them."""

    wait_s: float = 10
    """How long a player waits for a stream that is not live; 0: it is refused at once."""

    async def open(self, attempt: Attempt, four_ccs: Collection[str], peer: str) -> "RtmpWatch":
        """Lets a player in; ``peer`` names it in log lines. Raises `RefusedError`."""
        watch = await self.watching.open(attempt, wait_s=self.wait_s)
        try:
            dialect = choose_dialect(self.live.tracks(watch.stream), four_ccs)
            return RtmpWatch(self.live, watch, dialect, peer)
        except BaseException:
            watch.close()
            raise


class RtmpWatch:
    """One player that was let in."""

    def __init__(self, live: LiveOutput, watch: Watch, dialect: Dialect, peer: str) -> None:
        self.session = watch.session
        self._live = live
        self._watch = watch
        self._dialect = dialect
        self._peer = peer
        self._play: RtmpPlay | None = None

    def begin(
        self, transport: Transport, stream_id: int, ended: Callable[[str, bool], None]
    ) -> None:
        """Sends; ``ended(reason, over)`` is told when that stops: the stream is over, or not."""
        logger.info("%s plays %s", self._peer, self.session.stream)
        make_live(transport)
        self._play = play = RtmpPlay(stream_id)
        viewer = Viewer(transport, self.session, ended, socket=own_socket(transport))
        play.begin(self._live.join(self._watch.stream, Form.RTMP, self._dialect, viewer))

    def handle(self, event: Event) -> None:
        """What the player wants now."""
        if self._play is None:
            return
        match event:
            case PauseRequested(paused=paused):
                self._play.pause(paused=paused)
            case ReceiveAudioRequested(wanted=wanted):
                self._play.receive_audio(wanted)
            case ReceiveVideoRequested(wanted=wanted):
                self._play.receive_video(wanted)

    def wait_for_transport(self) -> None:
        """An answer was left in the transport: what follows must not overtake it."""
        if self._play is not None:
            self._play.wait_for_transport()

    def close(self, reason: str) -> None:
        """The player has left, or must. A second call does nothing."""
        if self._play is not None:
            self._play.stop()
            logger.info(
                "%s stopped playing %s: %s (%d KB sent, %d frames dropped)",
                self._peer,
                self.session.stream,
                reason,
                self.session.bytes_sent // 1000,
                self.session.dropped_frames,
            )
            self._play = None
        self._watch.close()


def play_code(refusal: RefusedError) -> str:
    """The code that tells a player of a refusal."""
    code = refusal.rtmp_code
    return "NetStream.Play.Failed" if code.startswith("NetStream.Publish") else code
