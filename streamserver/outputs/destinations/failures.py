"""Why a destination failed: one of eight classes, and the words of the far side."""

import re
import socket
import ssl
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from streamserver.errors import PeerError, RefusedError, RemoteProtocolError
from streamserver.logging_setup import Redactor, escape_controls
from streamserver.net.guard import ForbiddenAddressError
from streamserver.net.resolver import ResolveError
from streamserver.rtmp.target import PublishTarget

__all__ = ["ConflictError", "ErrorClass", "Failure", "FarSideError", "classify", "clean"]

_MAX_MESSAGE: Final = 300
_MAX_READ: Final = 4096


class ErrorClass(StrEnum):
    """The classes of the API."""

    DNS = "dns"
    """The name has no address, or the name servers do not answer."""

    REFUSED = "refused"
    """No connection could be made, or none is allowed to this address."""

    TIMEOUT = "timeout"
    """The far side did not answer in time."""

    TLS = "tls"
    """No secure connection: a wrong or expired certificate, or no TLS at all."""

    AUTH = "auth"
    """The far side does not accept the key, user or password."""

    REJECTED = "rejected"
    """The far side answered and does not want the stream."""

    PEER_CLOSED = "peer_closed"
    """The far side ended the connection, or sent what is no RTMP."""

    STALLED = "stalled"
    """Connected, but the far side stopped to take what was sent."""


@dataclass(frozen=True, slots=True)
class Failure:
    """One failure, fit to be shown."""

    error_class: ErrorClass
    """What kind of failure."""

    message: str
    """A sentence for people, with the far side's own words; masked, at most 300 characters."""

    wall_ns: int
    """When, in Unix time."""

    final: bool = False
    """Whether another attempt would change nothing."""


class FarSideError(PeerError):
    """An attempt ended, for a reason whose class is known where it is raised."""

    def __init__(self, error_class: ErrorClass, message: str, *, final: bool = False) -> None:
        super().__init__(message)
        self.error_class = error_class
        self.final = final


class ConflictError(RefusedError):
    """What is asked for does not go together with what is there."""

    http_status = 409


def clean(text: str, target: PublishTarget) -> str:
    """A text that came from a far side, fit for logs and answers.

    Without the target's secrets (a far side may echo the key), without what looks like one,
    without control characters, and at most 300 characters long.
    """
    text = escape_controls(Redactor().clean(target.hide(text[:_MAX_READ])))
    return text if len(text) <= _MAX_MESSAGE else text[: _MAX_MESSAGE - 1] + "…"


def classify(error: Exception) -> tuple[ErrorClass, str, bool]:
    """Class, sentence and finality of what an attempt raised.

    Answers only for what an attempt is known to raise (`PeerError`, `ResolveError`,
    `ForbiddenAddressError`, `OSError`, `TimeoutError`); anything else is a bug, and raised again.
    """
    match error:
        case FarSideError():
            return error.error_class, str(error), error.final
        case ResolveError():
            return ErrorClass.DNS, str(error), False
        case ForbiddenAddressError():
            return ErrorClass.REFUSED, str(error), True
        case RemoteProtocolError():
            return ErrorClass.PEER_CLOSED, f"the far side does not speak RTMP: {error}", False
        case ssl.SSLError():
            return ErrorClass.TLS, _tls_words(error), False
        case TimeoutError():
            words = error.strerror or str(error) or "the far side did not answer in time"
            return ErrorClass.TIMEOUT, words, False
        case ConnectionRefusedError():
            return ErrorClass.REFUSED, "the far side refused the connection", False
        case ConnectionError():
            return ErrorClass.PEER_CLOSED, "the far side broke the connection", False
        case OSError() if not isinstance(error, socket.gaierror):
            return ErrorClass.REFUSED, f"no connection: {error.strerror or error}", False
        case _:
            raise error


_NO_TLS: Final = frozenset({"WRONG_VERSION_NUMBER", "HTTP_REQUEST", "RECORD_LAYER_FAILURE"})
_OPENSSL: Final = re.compile(r"\[SSL[^\]]*\]\s*|\s*\(_ssl\.c:\d+\)")


def _tls_words(error: ssl.SSLError) -> str:
    # Only OpenSSL fills these in; an SSLError that Python code raised has neither.
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is not valid: {getattr(error, 'verify_message', '') or error}"
    if getattr(error, "reason", "") in _NO_TLS:
        return "the far side does not speak TLS on this port"
    words = _OPENSSL.sub("", str(error.args[1] if len(error.args) > 1 else error))
    return f"no secure connection: {words}"
