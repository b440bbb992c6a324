"""A destination for publishers that swallows what it is sent, and misbehaves when told to.

It serves the tests of everything that publishes, as a library::

    async with Sink(SinkSettings(misbehavior=Misbehavior.parse("drop:2s"))) as sink:
        push_to(f"rtmp://127.0.0.1:{sink.port}/live/key")
        await sink.received(100)
        assert sink.publications[0].begins_with_keyframe

and people, as ``streamserver sink``. It stands apart from the server: of this package it uses the
RTMP core, the FLV bodies and the sockets, and nothing above them.
"""

from streamserver.sink.certificates import SinkCertificate
from streamserver.sink.events import SinkEvent, as_json, as_text
from streamserver.sink.misbehavior import Fault, Misbehavior
from streamserver.sink.publication import MediaCounts, SinkPublication
from streamserver.sink.sink import Sink, SinkSettings

__all__ = [
    "Fault",
    "MediaCounts",
    "Misbehavior",
    "Sink",
    "SinkCertificate",
    "SinkEvent",
    "SinkPublication",
    "SinkSettings",
    "as_json",
    "as_text",
]
