"""Commands: calls and answers in AMF0 on top of messages (Adobe RTMP 1.0 chapter 7.2)."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from streamserver.errors import RemoteProtocolError
from streamserver.rtmp import amf0
from streamserver.rtmp.amf import AmfError, AmfValue, as_int
from streamserver.rtmp.message import AMF0_COMMAND, AMF0_DATA, Message

__all__ = [
    "Command",
    "command",
    "data_message",
    "error",
    "on_status",
    "parse_command",
    "parse_data",
    "result",
]


@dataclass(frozen=True, slots=True)
class Command:
    """A call of the far side, or its answer to one of ours."""

    name: str
    """What is called, or ``_result``, ``_error``, ``onStatus``."""

    transaction_id: float
    """What an answer repeats; 0 wants none."""

    stream_id: int
    """The message stream on which it came."""

    arguments: tuple[AmfValue, ...] = field(repr=False)
    """What follows, the command object first. Holds keys and tokens, so it is never shown."""

    def text(self, index: int, default: str = "") -> str:
        """The argument at ``index`` if it is a string."""
        value = self._at(index)
        return value if isinstance(value, str) else default

    def integer(self, index: int, default: int) -> int:
        """The argument at ``index`` if it is a number, without its fraction."""
        return as_int(self._at(index), default)

    def flag(self, index: int, default: bool) -> bool:
        """The argument at ``index`` if it is a boolean, or a number that stands for one."""
        value = self._at(index)
        return bool(value) if isinstance(value, bool | float) else default

    def mapping(self, index: int) -> Mapping[str, AmfValue]:
        """The argument at ``index`` if it is an object."""
        value = self._at(index)
        return value if isinstance(value, dict) else {}

    def _at(self, index: int) -> AmfValue:
        return self.arguments[index] if index < len(self.arguments) else None


def parse_command(message: Message) -> Command:
    """Reads a message of type 20 or 17. Raises `RemoteProtocolError` when it is no command."""
    values = amf0.decode_arguments(_after_selector(message.body))
    name = values[0] if values else None
    if not isinstance(name, str):
        raise RemoteProtocolError("a command message does not begin with a name")
    transaction_id = values[1] if len(values) > 1 else 0.0
    # A boolean is no number, though Python thinks so.
    if isinstance(transaction_id, bool) or not isinstance(transaction_id, float):
        raise RemoteProtocolError("a command has no transaction id")
    return Command(name, transaction_id, message.stream_id, tuple(values[2:]))


def parse_data(message: Message) -> tuple[str, tuple[AmfValue, ...]] | None:
    """Reads a message of type 18 or 15: its name and values, ``@setDataFrame`` taken off.

    None when it is no AMF or has no name: some encoders send other things as data (ffmpeg a time
    code of four bytes), and the stream is fine without them.
    """
    try:
        values = amf0.decode(_after_selector(message.body))
    except AmfError:
        return None
    if values and values[0] == "@setDataFrame":
        del values[0]
    name = values[0] if values else None
    return (name, tuple(values[1:])) if isinstance(name, str) else None


def _after_selector(body: bytes) -> bytes:
    # Types 15 and 17 begin with a selector byte 0. In AMF0 that would announce a number, with
    # which neither a command nor data begins.
    return body[1:] if body[:1] == b"\0" else body


def command(stream_id: int, name: str, transaction_id: float, *arguments: AmfValue) -> Message:
    """A command in AMF0."""
    return Message(AMF0_COMMAND, 0, stream_id, amf0.encode(name, transaction_id, *arguments))


def result(transaction_id: float, *arguments: AmfValue) -> Message:
    """The answer to a call that succeeded."""
    return command(0, "_result", transaction_id, *arguments)


def error(transaction_id: float, code: str, description: str) -> Message:
    """The answer to a call that failed; ``description`` is shown to people."""
    info: dict[str, AmfValue] = {"level": "error", "code": code, "description": description}
    return command(0, "_error", transaction_id, None, info)


def on_status(
    stream_id: int, code: str, description: str, *, level: str = "status", **more: AmfValue
) -> Message:
    """What happened to a stream; ``level`` "error" is what makes encoders give up."""
    info: dict[str, AmfValue] = {"level": level, "code": code, "description": description}
    return command(stream_id, "onStatus", 0, None, info | more)


def data_message(stream_id: int, timestamp: int, name: str, *values: AmfValue) -> Message:
    """Data such as ``onMetaData``, in AMF0."""
    return Message(AMF0_DATA, timestamp, stream_id, amf0.encode(name, *values))


def play_start(start: int) -> int:
    """The second argument of play, in seconds.

    ffmpeg and librtmp send -2000 and -1000, some as 32 bits without sign.
    """
    if 2**31 <= start < 2**32:
        start -= 2**32
    return start // 1000 if start <= -1000 else start
