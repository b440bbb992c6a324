"""The three layers over the defaults: file, environment, flags; values with their sources."""

import re
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from streamserver.config.model import Config
from streamserver.config.reader import Text, dotted, leaf_paths, type_at
from streamserver.config.secret import Secret
from streamserver.config.sources import DEFAULT, Fault, Source, SourceKind
from streamserver.config.toml_lines import KeyPath, key_lines

__all__ = ["ENVIRONMENT_PREFIX", "Layers"]

ENVIRONMENT_PREFIX: Final = "STREAMSERVER_"
"""Environment variables with this prefix and two underscores between the parts are keys."""

_MAX_FILE_BYTES: Final = 1024 * 1024
_AT_LINE: Final = re.compile(r"\s*\(at line (\d+), column \d+\)")


@dataclass(slots=True)
class Layers:
    """Values laid over each other, later ones winning, each remembering where it came from."""

    values: dict[str, Any] = field(default_factory=dict)
    """The merged tree."""

    sources: dict[KeyPath, Source] = field(default_factory=dict)
    """Where each path came from."""

    faults: list[Fault] = field(default_factory=list)
    """What could not even be read."""

    warnings: list[str] = field(default_factory=list)
    """What looks like a mistake and is none for certain."""

    def source_at(self, path: KeyPath) -> Source:
        """Where the value at a path, or the table around it, came from."""
        for depth in range(len(path), 0, -1):
            if path[:depth] in self.sources:
                return self.sources[path[:depth]]
        return DEFAULT

    def add_file(self, path: Path, shown: str) -> None:
        """Lays a TOML file over what is there. ``shown`` is how messages call it."""
        whole = Source(SourceKind.FILE, shown)
        try:
            with path.open("rb") as file:
                raw = file.read(_MAX_FILE_BYTES + 1)
        except OSError as error:
            self.faults.append(Fault(whole, "", f"cannot be read: {error.strerror or error}"))
            return
        if len(raw) > _MAX_FILE_BYTES:
            self.faults.append(Fault(whole, "", f"is larger than {_MAX_FILE_BYTES} bytes"))
            return
        try:
            # A byte order mark is what editors on Windows leave; TOML has no place for it.
            text = raw.decode("utf-8-sig").replace("\r\n", "\n")
        except UnicodeDecodeError as error:
            line = raw.count(b"\n", 0, error.start) + 1
            self.faults.append(Fault(Source(SourceKind.FILE, shown, line), "", "is not UTF-8"))
            return
        try:
            self.values = tomllib.loads(text)
        except tomllib.TOMLDecodeError as error:
            self.faults.append(_syntax_fault(str(error), shown, text))
        else:
            for key, line in key_lines(text).items():
                self.sources[key] = Source(SourceKind.FILE, shown, line)

    def add_environment(self, environ: Mapping[str, str]) -> None:
        """Lays ``STREAMSERVER_RTMP__PORT`` and ``…_FILE`` (for secrets) over what is there."""
        for name in sorted(environ):
            if not name.startswith(ENVIRONMENT_PREFIX):
                continue
            rest, value = name[len(ENVIRONMENT_PREFIX) :].lower(), environ[name]
            # Kubernetes sets STREAMSERVER_PORT and the like for a service of our name: only two
            # underscores make a key.
            if "__" not in rest:
                self._warn_of_near_miss(name, rest, value)
                continue
            path: KeyPath = tuple(rest.split("__"))
            source = Source(SourceKind.ENVIRONMENT, name)
            secret = self._secret_file_path(path)
            if secret is None:
                self._set(path, Text(value), source)
            else:
                self._set_from_secret_file(secret, Path(value), source)

    def add_flags(self, overrides: Iterable[str]) -> None:
        """Lays ``section.key=value`` over what is there."""
        for override in overrides:
            key, equals, value = override.partition("=")
            key = key.strip()
            # The value may be a secret: only the key is shown.
            source = Source(SourceKind.FLAG, "--set")
            if not equals or not key:
                self.faults.append(Fault(source, "", "is written --set section.key=value"))
                continue
            self._set(tuple(key.split(".")), Text(value), source)

    def _set(self, path: KeyPath, value: Text, source: Source) -> None:
        node = self.values
        for part in path[:-1]:
            node = node.setdefault(str(part), {})
            if not isinstance(node, dict):
                return  # a fault of the layer below, reported there
        node[str(path[-1])] = value
        for known in [known for known in self.sources if known[: len(path)] == path]:
            del self.sources[known]
        self.sources[path] = source

    @staticmethod
    def _secret_file_path(path: KeyPath) -> KeyPath | None:
        last = str(path[-1])
        if not last.endswith("_file") or type_at(Config, path) is not None:
            return None
        base = (*path[:-1], last.removesuffix("_file"))
        return base if type_at(Config, base) is Secret else None

    def _set_from_secret_file(self, path: KeyPath, file: Path, source: Source) -> None:
        try:
            text = file.read_text("utf-8")
        except (OSError, UnicodeDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else "is not UTF-8"
            self.faults.append(Fault(source, dotted(path), f"{file} cannot be read: {reason}"))
            return
        # Editors and `echo` end a file with a line feed that is no part of the secret.
        self._set(path, Text(text.rstrip("\r\n")), source)

    def _warn_of_near_miss(self, name: str, rest: str, value: str) -> None:
        if value.startswith(("tcp://", "udp://")):
            return
        for path in leaf_paths(Config):
            if "_".join(map(str, path)) == rest:
                right = ENVIRONMENT_PREFIX + "__".join(map(str, path)).upper()
                self.warnings.append(f"{name} sets nothing; did you mean {right}?")


def _syntax_fault(message: str, shown: str, text: str) -> Fault:
    found = _AT_LINE.search(message)
    line = int(found[1]) if found else _lines(text)
    return Fault(Source(SourceKind.FILE, shown, line), "", _AT_LINE.sub("", message))


def _lines(text: str) -> int:
    return max(1, text.count("\n") + (not text.endswith("\n")))
