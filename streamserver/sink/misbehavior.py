"""What may be wrong with a destination, as words: ``stall``, ``drop:10s``, ``slow:500k``."""

import re
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from streamserver.errors import ConfigError

__all__ = ["Fault", "Misbehavior"]


class Fault(StrEnum):
    """A way to be a bad destination."""

    NONE = "none"
    """Accepts every publisher and reads all that it sends."""

    REFUSE = "refuse"
    """Resets each connection as soon as it is accepted. (A closed port does so earlier.)"""

    SILENT = "silent"
    """Accepts connections, reads, and never answers; under TLS not even the handshake."""

    GARBAGE = "garbage"
    """Answers whatever comes with bytes that mean nothing."""

    WEB = "web"
    """Is a web server: answers 400 Bad Request and closes."""

    REJECT = "reject"
    """Refuses each publisher with a sentence; ``reject:why`` chooses it."""

    STALL = "stall"
    """Accepts each publisher and then stops to read."""

    DROP = "drop"
    """Closes each connection so long after it accepted the publisher; ``drop:10s``."""

    SLOW = "slow"
    """Reads so many bits a second; ``slow:500k``."""

    CLOSE_EACH = "close-each"
    """Closes the first connection at its first message that means something, the second one at
    its second, and so on: a publisher that returns is cut off at every point of the talk in turn.
    ``close-each:3`` closes every connection at its third."""

    TLS_BAD = "tls-bad"
    """Speaks TLS with a certificate for another name; ``tls-bad:expired`` with one out of date."""


_UNITS_S: Final = {"ms": 0.001, "s": 1.0, "m": 60.0, "": 1.0}
_UNITS_BITS: Final = {"k": 1_000, "M": 1_000_000, "": 1}
_NUMBER: Final = re.compile(r"(\d{1,9}(?:\.\d{1,3})?)([A-Za-z]*)\Z")
_DEFAULT_ARGUMENT: Final = {Fault.DROP: "10s", Fault.SLOW: "500k", Fault.TLS_BAD: "name"}
_DEFAULT_SENTENCE: Final = "this sink was told to refuse every publisher"
_SMALLEST_RATE: Final = 1_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Misbehavior:
    """One fault with its measure."""

    fault: Fault = Fault.NONE
    """What is wrong."""

    after_s: float = 0.0
    """``drop``: seconds from the acceptance of the publisher to the close."""

    bits_per_s: int = 0
    """``slow``: bits read per second; 0 is no bound."""

    sentence: str = _DEFAULT_SENTENCE
    """``reject``: what the publisher is told."""

    message: int = 0
    """``close-each``: at which message of a connection; 0 is one later each time."""

    expired: bool = False
    """``tls-bad``: a certificate out of date in the place of one for another name."""

    @classmethod
    def parse(cls, text: str) -> "Misbehavior":
        """Reads ``fault`` or ``fault:measure``. Raises `ConfigError` with what may stand there."""
        word, colon, argument = text.partition(":")
        try:
            fault = Fault(word)
        except ValueError:
            raise ConfigError(f"{word!r} is no misbehavior; there are {', '.join(Fault)}") from None
        if not colon:
            argument = _DEFAULT_ARGUMENT.get(fault, "")
        elif not argument:
            raise ConfigError(f"{text!r} ends where its measure should stand")
        match fault:
            case Fault.DROP:
                return cls(fault=fault, after_s=_measure(text, argument, _UNITS_S, "10s"))
            case Fault.SLOW:
                rate = round(_measure(text, argument, _UNITS_BITS, "500k"))
                if rate < _SMALLEST_RATE:
                    raise ConfigError(f"{text!r}: at least {_SMALLEST_RATE} bits per second")
                return cls(fault=fault, bits_per_s=rate)
            case Fault.REJECT if argument:
                return cls(fault=fault, sentence=argument)
            case Fault.CLOSE_EACH if argument:
                if not argument.isascii() or not argument.isdigit() or not int(argument):
                    raise ConfigError(f"{text!r}: the number of a message, such as 3")
                return cls(fault=fault, message=int(argument))
            case Fault.TLS_BAD:
                if argument not in ("name", "expired"):
                    raise ConfigError(f"{text!r}: either tls-bad:name or tls-bad:expired")
                return cls(fault=fault, expired=argument == "expired")
        if argument:
            raise ConfigError(f"{text!r}: {fault} has no measure")
        return cls(fault=fault)

    @property
    def below_rtmp(self) -> bool:
        """Whether no RTMP is spoken at all."""
        return self.fault in (Fault.REFUSE, Fault.SILENT, Fault.GARBAGE, Fault.WEB)

    @property
    def below_tls(self) -> bool:
        """Whether not even TLS is spoken, also where it is asked for."""
        return self.fault in (Fault.REFUSE, Fault.SILENT)

    @property
    def keeps_little(self) -> bool:
        """Whether the kernel must keep little, so that the far side notices soon."""
        return self.fault in (Fault.STALL, Fault.SLOW)


def _measure(
    text: str, argument: str, units: dict[str, float] | dict[str, int], like: str
) -> float:
    found = _NUMBER.match(argument)
    if found is None or found[2] not in units:
        raise ConfigError(
            f"{text!r}: a number such as {like}; units: {' '.join(filter(None, units))}"
        )
    return float(found[1]) * units[found[2]]
