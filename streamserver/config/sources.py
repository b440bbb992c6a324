"""Where a value came from, and what is wrong with it."""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from streamserver.errors import ConfigError

__all__ = ["DEFAULT", "Fault", "InvalidConfigError", "Source", "SourceKind"]


class SourceKind(StrEnum):
    """The layers of the configuration, the weakest first."""

    DEFAULT = "default"
    FILE = "file"
    ENVIRONMENT = "environment"
    FLAG = "flag"


@dataclass(frozen=True, slots=True)
class Source:
    """Where one value came from."""

    kind: SourceKind
    """Its layer."""

    name: str = ""
    """The file's path, the variable's name or the flag; empty for a default."""

    line: int | None = None
    """The line in the file, from 1."""

    def __str__(self) -> str:
        if self.kind is SourceKind.DEFAULT:
            return "default"
        return self.name if self.line is None else f"{self.name}:{self.line}"


DEFAULT = Source(SourceKind.DEFAULT)
"""The source of everything that nobody set."""


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that is wrong with the configuration."""

    source: Source
    """Where it stands."""

    key: str
    """The key, dotted (``rtmp.port``, ``auth.keys[0].app``); empty for the file as a whole."""

    message: str
    """What is wrong, for people. Never holds a secret."""

    def __str__(self) -> str:
        return ": ".join(part for part in (str(self.source), self.key, self.message) if part)


class InvalidConfigError(ConfigError):
    """The configuration has faults; ``str()`` gives one line for each."""

    def __init__(self, faults: Iterable[Fault]) -> None:
        self.faults = tuple(faults)
        super().__init__("\n".join(map(str, self.faults)))
