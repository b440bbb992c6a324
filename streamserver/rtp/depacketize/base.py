"""What the depacketizers of all codecs have in common."""

from typing import Final, NamedTuple, Protocol

__all__ = ["MAX_FRAME_BYTES", "MAX_PIECES", "Coded", "Depacketizer"]

MAX_FRAME_BYTES: Final = 4 * 1024 * 1024
"""A longer frame is given up: at 30 frames per second it would be 1 Gbit/s."""

MAX_PIECES: Final = 4096
"""Units (NAL units, OBUs) in one frame, as `streamserver.media.nal` has it."""


class Coded(NamedTuple):
    """A whole frame."""

    data: bytes
    """In the form of `Packet.data`, but parameter sets may still be in it."""

    keyframe: bool
    """Whether a decoder can begin here, as far as the payload tells."""


class Depacketizer(Protocol):
    """Puts the frames of one source together, from payloads that come in order and without gaps."""

    def begins(self, payload: bytes) -> bool:
        """Whether a frame certainly begins with this payload, which is not empty.

        Asked after a loss, when nothing else tells where the next frame begins.
        """

    def add(self, payload: bytes) -> None:
        """Takes the next payload of a frame; it is not empty. Raises `DamagedFrameError`."""

    def take(self) -> Coded | None:
        """The frame of what was added; None when nothing was. The next one begins.

        Raises `DamagedFrameError` when parts of it are missing.
        """

    def drop(self) -> None:
        """Forgets what was added: a part of the frame is lost."""
