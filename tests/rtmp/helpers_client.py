"""A server's half, spoken by hand: whatever a far side may say to our client."""

from streamserver.rtmp import amf0
from streamserver.rtmp.amf import AmfValue
from streamserver.rtmp.chunk import ChunkDecoder
from streamserver.rtmp.chunk_encoder import ChunkEncoder
from streamserver.rtmp.client import ClientSession
from streamserver.rtmp.client_events import ClientEvent
from streamserver.rtmp.client_settings import ClientAction
from streamserver.rtmp.command import command, error, on_status, result
from streamserver.rtmp.handshake import HANDSHAKE_BYTES
from streamserver.rtmp.message import AMF0_COMMAND, AUDIO, VIDEO, Message
from streamserver.rtmp.settings import SessionSettings
from tests.rtmp.pair import client_settings

__all__ = ["FarSide"]

_HANDSHAKE = b"\x03" + bytes(2 * HANDSHAKE_BYTES)


class FarSide:
    """A client session and the hand that answers it."""

    def __init__(
        self,
        url: str = "rtmp://localhost/live/cam",
        action: ClientAction = "publish",
        auth_query: str = "",
        **bounds: int,
    ) -> None:
        settings = client_settings(url, action, auth_query=auth_query)
        if bounds:
            more = SessionSettings(**bounds)  # type: ignore[arg-type]
            settings = client_settings(url, action, bounds=more, auth_query=auth_query)
        self.client = ClientSession(settings, now_ns=0, nonce=bytes(1528), auth_nonce="0123abcd")
        self.encoder = ChunkEncoder()
        self.decoder = ChunkDecoder()
        self.handshake_left = 1 + 2 * HANDSHAKE_BYTES
        self.now_ns = 0

    # ---- what the client says ---------------------------------------------------------------

    def heard(self) -> list[Message]:
        """The messages of the client since the last call."""
        data = self.client.bytes_to_send()
        skipped = min(self.handshake_left, len(data))
        self.handshake_left -= skipped
        self.decoder.feed(data[skipped:])
        return self.decoder.messages()

    def calls(self) -> list[list[AmfValue]]:
        """The commands among them: name, transaction id and arguments."""
        return [amf0.decode(m.body) for m in self.heard() if m.type_id == AMF0_COMMAND]

    # ---- what the server says ---------------------------------------------------------------

    def raw(self, data: bytes) -> list[ClientEvent]:
        self.client.receive(data, self.now_ns)
        return self.client.events()

    def say(self, *messages: Message, csid: int = 3) -> list[ClientEvent]:
        """Sends messages in one piece; answers the events."""
        return self.raw(b"".join(self.encoder.encode(message, csid) for message in messages))

    def shake(self) -> "FarSide":
        """The handshake."""
        self.raw(_HANDSHAKE)
        return self

    def connected(self, **info: AmfValue) -> list[ClientEvent]:
        """Yes to connect."""
        values: dict[str, AmfValue] = {"level": "status", "code": "NetConnection.Connect.Success"}
        return self.say(result(1, {"fmsVer": "FMS/3,0,1,123"}, values | info))

    def refuse_connect(
        self, description: str, code: str = "NetConnection.Connect.Rejected"
    ) -> list[ClientEvent]:
        """No to connect."""
        return self.say(error(1, code, description))

    def status(
        self, code: str, description: str = "", level: str = "status", **more: AmfValue
    ) -> list[ClientEvent]:
        """An ``onStatus``."""
        return self.say(on_status(5, code, description, level=level, **more))

    def accepted(self, stream_id: int = 5) -> "FarSide":
        """All the way to publish or play, events taken."""
        self.shake().connected()
        self.say(result(4, None, stream_id))
        play = self.client.settings.action == "play"
        self.status("NetStream.Play.Start" if play else "NetStream.Publish.Start")
        self.heard()
        return self

    def media(self, kind: int = VIDEO, time: int = 0, body: bytes = b"\x17\1") -> list[ClientEvent]:
        return self.say(Message(kind, time, 5, body), csid=6 if kind == VIDEO else 4)

    def audio(self, time: int = 0) -> list[ClientEvent]:
        return self.media(AUDIO, time, b"\xaf\1")

    def call(self, name: str, transaction_id: float, *values: AmfValue) -> list[ClientEvent]:
        return self.say(command(0, name, transaction_id, *values))
