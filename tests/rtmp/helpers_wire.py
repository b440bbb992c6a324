"""Bytes as a far side would write them, in every form, and a host that says yes."""

import itertools
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TypeAlias, TypeVar

from streamserver.errors import RemoteProtocolError
from streamserver.rtmp import amf0
from streamserver.rtmp.amf import AmfValue
from streamserver.rtmp.chunk import ChunkDecoder
from streamserver.rtmp.chunk_encoder import ChunkEncoder
from streamserver.rtmp.command import command
from streamserver.rtmp.events import Event, MediaRun, PlayRequested, PublishRequested
from streamserver.rtmp.handshake import HANDSHAKE_BYTES
from streamserver.rtmp.message import AMF0_COMMAND, AMF0_DATA, AUDIO, VIDEO, Message
from streamserver.rtmp.session import ServerSession
from streamserver.rtmp.settings import SessionSettings

E = TypeVar("E")
Told: TypeAlias = Event | Message

SIZES = (1, 7, 128, 65536)
"""Bytes a time at which every input is fed."""

CLIENT_HANDSHAKE = b"\x03" + bytes(HANDSHAKE_BYTES) + bytes(HANDSHAKE_BYTES)
"""C0, C1 and C2 in one piece."""

DATA = Path(__file__).parent.parent / "data" / "rtmp"
"""Captures of real peers."""


def split(data: bytes, size: int) -> list[bytes]:
    """``data`` in pieces of ``size``."""
    return [data[i : i + size] for i in range(0, len(data), size)]


def split_at(data: bytes, cuts: Iterable[int]) -> list[bytes]:
    """``data`` cut at positions."""
    edges = [0, *sorted(cut % (len(data) + 1) for cut in cuts), len(data)]
    return [data[a:b] for a, b in itertools.pairwise(edges)]


def basic_header(form: int, csid: int) -> bytes:
    """5.3.1.1, in the shortest form."""
    if csid < 64:
        return bytes((form << 6 | csid,))
    if csid < 320:
        return bytes((form << 6, csid - 64))
    return bytes((form << 6 | 1,)) + (csid - 64).to_bytes(2, "little")


def header(
    form: int, csid: int, time: int = 0, length: int = 0, type_id: int = 0, stream_id: int = 0
) -> bytes:
    """A header of any form; ``time`` is the timestamp of form 0 and the delta of 1 and 2."""
    out = basic_header(form, csid)
    if form < 3:
        out += min(time, 0xFFFFFF).to_bytes(3, "big")
    if form < 2:
        out += length.to_bytes(3, "big") + bytes((type_id,))
    if form < 1:
        out += stream_id.to_bytes(4, "little")
    if form < 3 and time >= 0xFFFFFF:
        out += time.to_bytes(4, "big")
    return out


def chunks(
    body: bytes, first: bytes, csid: int, chunk_size: int = 128, extended: int | None = None
) -> Iterator[bytes]:
    """The chunks of one message, ``extended`` repeated on each continuation."""
    yield first + body[:chunk_size]
    field = b"" if extended is None else extended.to_bytes(4, "big")
    for start in range(chunk_size, len(body), chunk_size):
        yield basic_header(3, csid) + field + body[start : start + chunk_size]


def message_bytes(
    body: bytes,
    *,
    csid: int = 4,
    form: int = 0,
    time: int = 0,
    type_id: int = AUDIO,
    stream_id: int = 1,
    chunk_size: int = 128,
    extended: int | None = None,
) -> bytes:
    """One message, uninterrupted."""
    first = header(form, csid, time, len(body), type_id, stream_id)
    return b"".join(chunks(body, first, csid, chunk_size, extended))


def decode_chunks(pieces: Iterable[bytes]) -> list[Message]:
    """What a fresh decoder makes of them."""
    decoder = ChunkDecoder()
    for piece in pieces:
        decoder.feed(piece)
    return decoder.messages()


class Peer:
    """A client's half: queues bytes. Chunks of 128 unless it says otherwise."""

    def __init__(self, *, handshake: bool = True) -> None:
        self.out = CLIENT_HANDSHAKE if handshake else b""
        self.encoder = ChunkEncoder()

    def send(self, message: Message, csid: int = 3) -> "Peer":
        self.out += self.encoder.encode(message, csid)
        return self

    def raw(self, data: bytes) -> "Peer":
        self.out += data
        return self

    def call(
        self, name: str, transaction_id: float, *arguments: AmfValue, stream_id: int = 0
    ) -> "Peer":
        return self.send(command(stream_id, name, transaction_id, *arguments))

    def connect(self, app: AmfValue = "live", **more: AmfValue) -> "Peer":
        values: dict[str, AmfValue] = {"app": app, "tcUrl": f"rtmp://localhost/{app}"}
        return self.call("connect", 1, values | more)

    def create_stream(self, transaction_id: float = 4) -> "Peer":
        return self.call("createStream", transaction_id, None)

    def publish(self, key: str = "cam", stream_id: int = 1) -> "Peer":
        return self.call("publish", 5, None, key, "live", stream_id=stream_id)

    def play(self, key: str = "cam", *more: AmfValue, stream_id: int = 1) -> "Peer":
        return self.call("play", 5, None, key, *more, stream_id=stream_id)

    def media(
        self, kind: int = VIDEO, body: bytes = b"\x27\x01", time: int = 0, stream_id: int = 1
    ) -> "Peer":
        return self.send(Message(kind, time, stream_id, body), 6 if kind == VIDEO else 4)

    def data(self, *values: AmfValue, time: int = 0, stream_id: int = 1) -> "Peer":
        return self.send(Message(AMF0_DATA, time, stream_id, amf0.encode(*values)), 5)

    def take(self) -> bytes:
        out, self.out = self.out, b""
        return out


def publisher(**connect: AmfValue) -> Peer:
    """A peer that asks to publish ``live/cam`` on stream 1."""
    return Peer().connect(**connect).create_stream().publish()


def player(**connect: AmfValue) -> Peer:
    """A peer that asks to play ``live/cam`` on stream 1."""
    return Peer().connect(**connect).create_stream().play()


def new_session(**settings: int | bool) -> ServerSession:
    return ServerSession(SessionSettings(**settings), now_ns=0, nonce=bytes(1528))  # type: ignore[arg-type]


def run(
    session: ServerSession,
    pieces: Iterable[bytes],
    *,
    now_ns: int = 0,
    accept: bool = True,
) -> list[Told]:
    """Feeds pieces, says yes to what is asked, and answers all events, runs of media undone.

    A `RemoteProtocolError` ends the feeding; `Closed` tells of it.
    """
    events: list[Told] = []
    for piece in pieces:
        try:
            session.receive(piece, now_ns)
        except RemoteProtocolError:
            events += told(session.events())
            break
        events += decide(session, now_ns) if accept else told(session.events())
    return events


def told(events: Iterable[E]) -> Iterator[E | Message]:
    """Events with the messages of each run of media in its place: how much came together
    depends on the pieces."""
    for event in events:
        if isinstance(event, MediaRun):
            assert event.messages
            yield from event.messages
        else:
            yield event


def decide(session: ServerSession, now_ns: int = 0) -> list[Told]:
    """Takes the events and accepts every request among them."""
    events: list[Told] = []
    while new := session.events():
        events += told(new)
        for event in new:
            if isinstance(event, PublishRequested):
                session.accept_publish(event, now_ns)
            elif isinstance(event, PlayRequested):
                session.accept_play(event)
    return events


def comparable(events: Iterable[Told]) -> list[object]:
    """Events by value: requests are compared by identity otherwise."""
    return [
        (type(event).__name__, *(getattr(event, name) for name in event.__dataclass_fields__))
        if isinstance(event, PublishRequested | PlayRequested)
        else event
        for event in events
    ]


class Replies:
    """What a session answers, decoded."""

    def __init__(self, session: ServerSession) -> None:
        self.session = session
        self.decoder = ChunkDecoder()
        self.handshake_left = 1 + 2 * HANDSHAKE_BYTES

    def messages(self) -> list[Message]:
        data = self.session.bytes_to_send()
        skipped = min(self.handshake_left, len(data))
        self.handshake_left -= skipped
        self.decoder.feed(data[skipped:])
        return self.decoder.messages()

    def commands(self) -> list[list[AmfValue]]:
        """Name, transaction id and arguments of the commands."""
        return [amf0.decode(m.body) for m in self.messages() if m.type_id == AMF0_COMMAND]

    def infos(self) -> list[dict[str, AmfValue]]:
        """The info objects of the ``onStatus`` among them."""
        calls = self.commands()
        return [c[3] for c in calls if c[0] == "onStatus" and isinstance(c[3], dict)]

    def codes(self) -> list[AmfValue]:
        """The codes of the ``onStatus`` among them."""
        return [info["code"] for info in self.infos()]
