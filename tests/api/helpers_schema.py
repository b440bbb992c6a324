"""Holds JSON values against the part of JSON Schema (2020-12) that our document uses."""

import re
from typing import Any

_KNOWN = {
    "$ref", "allOf", "anyOf", "default", "description", "enum", "format", "items", "maxLength",
    "maximum", "minLength", "minimum", "pattern", "properties", "required", "title", "type",
    "additionalProperties",
}  # fmt: skip
_TYPES = {
    "array": list,
    "boolean": bool,
    "integer": int,
    "null": type(None),
    "number": (int, float),
    "object": dict,
    "string": str,
}
_DATE_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")


def faults(
    value: Any, schema: dict[str, Any], document: dict[str, Any], at: str = "$"
) -> list[str]:
    """What is wrong with a value; a keyword that this does not know is a fault, too."""
    found = [f"{at}: unknown keyword {name}" for name in schema.keys() - _KNOWN]
    if "$ref" in schema:
        found += faults(value, _resolve(schema["$ref"], document), document, at)
    for part in schema.get("allOf", ()):
        found += faults(value, part, document, at)
    if "anyOf" in schema and all(faults(value, part, document, at) for part in schema["anyOf"]):
        found.append(f"{at}: fits no alternative")
    if "type" in schema and not _has_type(value, schema["type"]):
        return [*found, f"{at}: {value!r} is no {schema['type']}"]
    if "enum" in schema and value not in schema["enum"]:
        found.append(f"{at}: {value!r} is none of {schema['enum']}")
    if "minimum" in schema and value < schema["minimum"]:
        found.append(f"{at}: {value} is too small")
    if "maximum" in schema and value > schema["maximum"]:
        found.append(f"{at}: {value} is too large")
    if schema.get("format") == "date-time" and not _DATE_TIME.fullmatch(value):
        found.append(f"{at}: {value!r} is no time")
    if isinstance(value, dict) and "properties" in schema:
        found += _object_faults(value, schema, document, at)
    if isinstance(value, list) and "items" in schema:
        for index, item in enumerate(value):
            found += faults(item, schema["items"], document, f"{at}[{index}]")
    return found


def _object_faults(
    value: dict[str, Any], schema: dict[str, Any], document: dict[str, Any], at: str
) -> list[str]:
    found = [f"{at}: {name} is missing" for name in schema["required"] if name not in value]
    for name, item in value.items():
        if name not in schema["properties"]:
            found.append(f"{at}: {name} is not in the document")
        else:
            found += faults(item, schema["properties"][name], document, f"{at}.{name}")
    return found


def _resolve(reference: str, document: dict[str, Any]) -> dict[str, Any]:
    found: Any = document
    for step in reference.removeprefix("#/").split("/"):
        found = found[step]
    assert isinstance(found, dict)
    return found


def _has_type(value: Any, name: str | list[str]) -> bool:
    if isinstance(name, list):
        return any(_has_type(value, one) for one in name)
    if isinstance(value, bool) and name in ("integer", "number"):
        return False
    return isinstance(value, _TYPES[name])  # type: ignore[arg-type]  # the table is of types
