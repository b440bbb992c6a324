"""What a server says of a call or a stream: the info object of ``_error`` and ``onStatus``."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from streamserver.rtmp.amf import AmfValue, as_int
from streamserver.rtmp.client_events import RetryHint
from streamserver.rtmp.command import Command

__all__ = ["Status", "clean", "read_status"]

_LONGEST_TEXT: Final = 300
"""Characters of a far side's sentence that are kept."""

_LONGEST_READ: Final = 4096
_UNPRINTABLE: Final = re.compile(r"[\s\x00-\x1f\x7f]+")

_REFUSALS: Final = frozenset(
    {
        "NetConnection.Connect.AppShutdown",
        "NetConnection.Connect.Closed",
        "NetConnection.Connect.Failed",
        "NetConnection.Connect.InvalidApp",
        "NetConnection.Connect.Rejected",
        "NetStream.Failed",
        "NetStream.Play.Failed",
        "NetStream.Play.StreamNotFound",
        "NetStream.Publish.BadName",
        "NetStream.Publish.Denied",
        "NetStream.Publish.Rejected",
    }
)
"""Codes that are a no, even with the level "status" that some servers send them with."""

_HINTS: Final = {
    "NetStream.Publish.BadName": RetryHint.BUSY,
    "NetStream.Publish.Denied": RetryHint.AUTH,
    "NetConnection.Connect.InvalidApp": RetryHint.AUTH,
}
"""What a code tells of the next try; others tell nothing."""


@dataclass(frozen=True, slots=True)
class Status:
    """One info object, as it came."""

    level: str
    """``status``, ``warning`` or ``error``."""

    code: str
    """``NetStream.Publish.Start`` and the like."""

    description: str = field(repr=False)
    """A sentence, which may hold keys."""

    values: Mapping[str, AmfValue] = field(repr=False)
    """All of the object."""

    @property
    def is_refusal(self) -> bool:
        """Whether it is a no. The level decides; some servers forget it."""
        return self.level == "error" or self.code in _REFUSALS

    @property
    def retry_hint(self) -> RetryHint:
        """What the code tells of the next try."""
        return _HINTS.get(self.code, RetryHint.LATER)

    @property
    def redirect(self) -> tuple[str, str] | None:
        """The tcUrl and the full URL of a 302, either perhaps empty; None when it is none.

        SRS's and Ant Media's form: ``ex.code``, ``ex.redirect``, ``ex.redirect2``.
        """
        more = self.values.get("ex")
        if not isinstance(more, dict) or as_int(more.get("code"), 0) != 302:
            return None
        return _text(more, "redirect"), _text(more, "redirect2")


def read_status(call: Command) -> Status:
    """Reads the info object, which is the second argument; a mere string counts as description."""
    values = call.mapping(1)
    return Status(
        level=_text(values, "level"),
        code=clean(_text(values, "code")),
        description=_text(values, "description") or call.text(1),
        values=values,
    )


def clean(text: str) -> str:
    """A far side's text for people and logs: one line, of a bounded length."""
    text = _UNPRINTABLE.sub(" ", text[:_LONGEST_READ]).strip()
    return text if len(text) <= _LONGEST_TEXT else text[: _LONGEST_TEXT - 1] + "…"


def _text(values: Mapping[str, AmfValue], key: str) -> str:
    value = values.get(key)
    return value[:_LONGEST_READ] if isinstance(value, str) else ""
