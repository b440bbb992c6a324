"""From plain values to the structs of the model, collecting every fault on the way."""

import difflib
import tomllib
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final, TypeVar, get_args, get_origin

import msgspec

from streamserver.config.secret import Secret
from streamserver.config.toml_lines import KeyPath

__all__ = ["Reader", "Text", "dotted", "leaf_paths", "type_at"]

T = TypeVar("T", bound=msgspec.Struct)


class Text(str):
    """A value that came as text (environment, flag) and takes the form that its key wants."""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class _Missing:
    pass


_MISSING: Final = _Missing()


def dotted(path: KeyPath) -> str:
    """``("auth", "keys", 0, "app")`` as people write it: ``auth.keys[0].app``."""
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
    return text


def type_at(struct: type[msgspec.Struct], path: KeyPath) -> Any:
    """The type of the key at a path, or None when there is no such key."""
    found: Any = struct
    for part in path:
        if not _is_struct(found):
            return None
        found = {f.encode_name: f.type for f in msgspec.structs.fields(found)}.get(str(part))
        if found is None:
            return None
    return found


def leaf_paths(struct: type[msgspec.Struct]) -> list[KeyPath]:
    """The path of every key that holds a value, in the order of the model."""
    paths: list[KeyPath] = []
    for field in msgspec.structs.fields(struct):
        if _is_struct(field.type):
            paths.extend((field.encode_name, *rest) for rest in leaf_paths(field.type))
        else:
            paths.append((field.encode_name,))
    return paths


def _is_struct(candidate: Any) -> bool:
    return isinstance(candidate, type) and issubclass(candidate, msgspec.Struct)


class Reader:
    """Converts a tree of plain values; ``fault(path, message)`` is called for all that is wrong."""

    def __init__(self, root: type[msgspec.Struct], fault: Callable[[KeyPath, str], None]) -> None:
        self._fault = fault
        self._known = [dotted(path) for path in leaf_paths(root)]

    def struct(self, kind: type[T], value: object, path: KeyPath = ()) -> T | None:
        """A struct of a type, or None after a fault that leaves nothing to build."""
        read = self._struct(kind, value, path)
        return None if isinstance(read, _Missing) else read

    def _struct(self, kind: type[T], value: object, path: KeyPath) -> T | _Missing:
        if not isinstance(value, dict):
            self._fault(path, "expected a table of keys")
            return _MISSING
        fields = {field.encode_name: field for field in msgspec.structs.fields(kind)}
        for key in value:
            if key not in fields:
                self._fault((*path, key), "unknown key" + self._suggestion(path, key, list(fields)))
        arguments: dict[str, Any] = {}
        for name, field in fields.items():
            if name in value:
                read = self._value(field.type, value[name], (*path, name))
                if not isinstance(read, _Missing):
                    arguments[field.name] = read
            elif field.required:
                self._fault((*path, name), "is missing")
        if any(f.required and f.name not in arguments for f in fields.values()):
            return _MISSING
        return kind(**arguments)

    def _value(self, kind: Any, value: object, path: KeyPath) -> Any:
        if isinstance(value, Text) and get_origin(kind) is tuple:
            value = self._list_from_text(kind, value, path)
        if _is_struct(kind):
            return self._struct(kind, value, path)
        if get_origin(kind) is tuple and isinstance(value, list):
            element = get_args(kind)[0]
            read = [self._value(element, v, (*path, i)) for i, v in enumerate(value)]
            # One element less would shift the others, and later faults would name the wrong ones.
            return _MISSING if any(isinstance(item, _Missing) for item in read) else tuple(read)
        if get_origin(kind) is dict and not isinstance(value, Text):
            return self._named(get_args(kind)[1], value, path)
        return self._leaf(kind, value, path)

    def _named(self, kind: Any, value: object, path: KeyPath) -> Any:
        """Tables of one type under names that the file chooses."""
        if not isinstance(value, dict):
            self._fault(path, "expected a table of keys")
            return _MISSING
        read = {name: self._value(kind, item, (*path, name)) for name, item in value.items()}
        return _MISSING if any(isinstance(one, _Missing) for one in read.values()) else read

    def _leaf(self, kind: Any, value: object, path: KeyPath) -> Any:
        is_text = isinstance(value, Text)
        if isinstance(value, Text):
            value = str(value)
        if isinstance(kind, type) and issubclass(kind, StrEnum) and value not in list(kind):
            self._fault(path, f"expected one of {', '.join(kind)}")
            return _MISSING
        try:
            return msgspec.convert(value, kind, strict=not is_text, dec_hook=_decode)
        except msgspec.ValidationError as error:
            # The messages of msgspec name types, bounds and words, never the value of a secret:
            # a secret is converted by our own hook.
            self._fault(path, str(error).replace("`", "").replace("Expected", "expected"))
            return _MISSING

    def _list_from_text(self, kind: Any, text: Text, path: KeyPath) -> object:
        """``a, b`` or, when it begins with a bracket, a TOML array."""
        if not text.lstrip().startswith("["):
            return [Text(part.strip()) for part in text.split(",") if part.strip()]
        try:
            return tomllib.loads(f"x = {text}")["x"]
        except tomllib.TOMLDecodeError:
            self._fault(path, "begins with [ and is no array in TOML")
            return []

    def _suggestion(self, path: KeyPath, key: str, siblings: list[str]) -> str:
        prefix = dotted(path)
        near = difflib.get_close_matches(key, siblings, n=1, cutoff=0.6)
        if near:
            return f"; did you mean {dotted((*path, near[0]))}?"
        elsewhere = [name for name in self._known if name.rpartition(".")[2] == key]
        if elsewhere:
            return f"; did you mean {' or '.join(elsewhere)}?"
        where = f"[{prefix}]" if prefix else "the file"
        return f"; {where} knows {', '.join(sorted(siblings))}"


def _decode(kind: type, value: object) -> object:
    if kind is Secret:
        if isinstance(value, str):
            return Secret(value)
        raise ValueError("expected str")
    raise NotImplementedError
