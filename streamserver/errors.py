"""The exception tree.

::

    StreamServerError
    ├── PeerError                 what the far side did; ends its own connection, logged at INFO
    │   └── RemoteProtocolError   its bytes broke a rule
    ├── LocalProtocolError        we broke a rule: a bug of ours, fails a test
    ├── RefusedError              understood, and refused: carries a reason for people
    │   ├── InvalidNameError      not a stream name
    │   ├── AccessDeniedError     the credential does not allow it
    │   │   └── CredentialsMissingError   none came
    │   ├── StreamBusyError       somebody else publishes there
    │   ├── NotFoundError         no such stream, session or object
    │   ├── UnplayableError       the stream is nothing that this player can play
    │   ├── LimitError            a bound of ours is reached
    │   │   └── FullError         as many objects are kept as may be
    │   └── ShuttingDownError     the server drains
    ├── ConfigError               the configuration is at fault (exit code 78)
    └── UnavailableError          a port or a service that we need is not to be had (exit code 69)
"""

__all__ = [
    "AccessDeniedError",
    "ConfigError",
    "CredentialsMissingError",
    "FullError",
    "InvalidNameError",
    "LimitError",
    "LocalProtocolError",
    "NotFoundError",
    "PeerError",
    "RefusedError",
    "RemoteProtocolError",
    "ShuttingDownError",
    "StreamBusyError",
    "StreamServerError",
    "UnavailableError",
    "UnplayableError",
]


class StreamServerError(Exception):
    """The root of every error that this package raises on purpose."""


class PeerError(StreamServerError):
    """The far side did something that ends its connection, and only that."""


class RemoteProtocolError(PeerError):
    """The bytes of the peer broke a rule of the protocol.

    Whatever a peer sends, parsers raise this and nothing else.
    """


class LocalProtocolError(StreamServerError):
    """Our own code used a protocol core wrongly: a bug here, never the peer's doing."""


class RefusedError(StreamServerError):
    """A request that was understood and refused. ``str()`` is a sentence for people."""

    http_status = 403
    """The status that an HTTP door answers."""

    rtmp_code = "NetStream.Publish.Denied"
    """The ``onStatus`` code that the RTMP door answers."""


class InvalidNameError(RefusedError):
    """The text does not name a stream."""

    http_status = 400
    rtmp_code = "NetStream.Publish.BadName"


class AccessDeniedError(RefusedError):
    """The credential, or its absence, does not allow the action."""


class CredentialsMissingError(AccessDeniedError):
    """Nothing that could be a credential came; a door that can, asks for one."""

    http_status = 401


class StreamBusyError(RefusedError):
    """Another publisher holds the stream."""

    http_status = 409
    rtmp_code = "NetStream.Publish.BadName"


class NotFoundError(RefusedError):
    """There is no such stream, session or object."""

    http_status = 404
    rtmp_code = "NetStream.Play.StreamNotFound"


class UnplayableError(RefusedError):
    """The stream is in a form that this player cannot play; the text says what to change."""

    http_status = 406
    rtmp_code = "NetStream.Play.NoSupportedTrackFound"


class LimitError(RefusedError):
    """A configured bound is reached; the newcomer is refused."""

    http_status = 503
    rtmp_code = "NetConnection.Connect.Rejected"


class FullError(LimitError):
    """As many objects are kept as may be; one has to go before another comes."""

    http_status = 409


class ShuttingDownError(RefusedError):
    """The server is draining and takes nothing new."""

    http_status = 503
    rtmp_code = "NetConnection.Connect.AppShutdown"


class ConfigError(StreamServerError):
    """The configuration is at fault; the text names file, line and key."""

    exit_code = 78


class UnavailableError(StreamServerError):
    """A port or a required service is not to be had; the text says what to look for."""

    exit_code = 69
