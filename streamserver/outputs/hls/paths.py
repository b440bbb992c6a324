"""The URLs below an HLS mount, read once by the slow path; the fast one compares whole paths.

::

    {app}/{name}/index.m3u8             multivariant, low latency
    {app}/{name}/ts.m3u8                multivariant, MPEG-TS
    {app}/{name}/s/{sid}/video.m3u8     media playlists of one viewer
    {app}/{name}/s/{sid}/near.m3u8
    {app}/{name}/s/{sid}/ts.m3u8
    {app}/{name}/video.m3u8             media playlists of everybody, without sessions
    {app}/{name}/video.ts.m3u8
    {app}/{name}/{token}/{object}       init0.mp4, 123.m4s, 123.4.m4s, 123.ts

``{app}/index.m3u8`` and ``{app}/ts.m3u8`` mean ``{app}/default``.
"""

import re
from dataclasses import dataclass
from enum import Enum
from typing import Final

from streamserver.errors import NotFoundError
from streamserver.names import DEFAULT_NAME, StreamKey

__all__ = ["Form", "MediaUrl", "MultivariantUrl", "ObjectUrl", "Url", "near_form", "parse_path"]


class Form(Enum):
    """The forms of a stream. Values: the multivariant, a viewer's, and everybody's list."""

    LOW_LATENCY = ("index.m3u8", "video.m3u8", "video.m3u8")
    """CMAF parts and segments."""

    NEAR = ("", "near.m3u8", "near.m3u8")
    """The newest CMAF segments only: `near_form` tells for whom. No multivariant of its own."""

    TS = ("ts.m3u8", "ts.m3u8", "video.ts.m3u8")
    """MPEG-TS segments."""

    @property
    def playlist_name(self) -> str:
        """The file name of a viewer's media playlist."""
        return self.value[1]

    @property
    def open_playlist_name(self) -> str:
        """The file name of everybody's media playlist, without sessions."""
        return self.value[2]


_MULTIVARIANTS: Final = {form.value[0]: form for form in Form if form.value[0]}
_PLAYLISTS: Final = {form.value[1]: form for form in Form}


_BEGINS_FOUR_BACK: Final = re.compile(r"GStreamer souphttpsrc 1\.(\d{1,2})\b")
"""GStreamer before 1.24 begins four segments before the end, where RFC 8216 section 6.3.3 says
three target durations: it is nearer to live where only three are listed."""


def near_form(form: Form, user_agent: str) -> Form:
    """The form for a player that begins too far from the end; for all others the one given."""
    found = _BEGINS_FOUR_BACK.match(user_agent)
    if form is Form.LOW_LATENCY and found is not None and int(found[1]) < 24:
        return Form.NEAR
    return form


@dataclass(frozen=True, slots=True)
class MultivariantUrl:
    """Where a player begins."""

    stream: StreamKey
    """The stream."""

    form: Form
    """What its media playlist lists."""

    prefix: str
    """Leads to the stream: empty, or ``default/`` where the URL names an app only."""

    def prefix_of(self, stream: StreamKey) -> str:
        """Leads from the URL to a stream, which may be another one."""
        if stream == self.stream:
            return self.prefix
        return f"../{stream}/" if self.prefix else f"../../{stream}/"


@dataclass(frozen=True, slots=True)
class MediaUrl:
    """The media playlist of a session."""

    stream: StreamKey
    """The stream."""

    form: Form
    """What it lists."""

    sid: str
    """The session id as sent: not checked yet."""


@dataclass(frozen=True, slots=True)
class ObjectUrl:
    """Anything else: known by its whole path, or not at all."""


Url = MultivariantUrl | MediaUrl | ObjectUrl


def parse_path(path: str) -> Url:
    """Reads what follows the base of the mount, with its leading slash.

    Raises `InvalidNameError` for what is no stream name, `NotFoundError` for any other shape.
    """
    segments = path.split("/")[1:]
    match segments:
        case [app, last] if last in _MULTIVARIANTS:
            return MultivariantUrl(
                StreamKey(app, DEFAULT_NAME), _MULTIVARIANTS[last], f"{DEFAULT_NAME}/"
            )
        case [app, name, last] if last in _MULTIVARIANTS:
            return MultivariantUrl(StreamKey(app, name), _MULTIVARIANTS[last], "")
        case [app, name, "s", sid, last] if last in _PLAYLISTS:
            return MediaUrl(StreamKey(app, name), _PLAYLISTS[last], sid)
        case [_, _, _] | [_, _, _, _]:
            return ObjectUrl()
    raise NotFoundError("there is nothing at this URL")
