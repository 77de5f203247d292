"""Which schemas a provider can hold a model to, and its words for those that it cannot.

Source: the structured-output limits of OpenAI, Anthropic, Cohere and Google, and their error messages, as SDKs, issues
and documentation gave them in November 2026.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

Path = tuple[str, ...]

_OPENAI_REFUSES = frozenset(
    {
        *("allOf", "oneOf", "not", "if", "then", "else", "dependentRequired", "dependentSchemas", "dependencies"),
        *("default", "patternProperties", "propertyNames", "minProperties", "maxProperties", "unevaluatedProperties"),
        *("uniqueItems", "contains", "minContains", "maxContains", "unevaluatedItems", "minLength", "maxLength"),
    }
)
_ANTHROPIC_REFUSES = frozenset(
    {
        *("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf", "minLength", "maxLength"),
        *("maxItems", "uniqueItems", "not", "if", "then", "else", "patternProperties", "propertyNames"),
        *("minProperties", "maxProperties", "prefixItems", "dependentRequired", "dependentSchemas"),
    }
)
_COHERE_TAKES = frozenset(
    {
        "type",
        "properties",
        "required",
        "additionalProperties",
        "items",
        "anyOf",
        "enum",
        "description",
        "title",
        "$defs",
    }
)
_COHERE_FIELDS = 200
_FORMATS = frozenset({"date-time", "time", "date", "duration", "email", "hostname", "ipv4", "ipv6", "uuid"})
_LOOK_AROUND = re.compile(r"\(\?[=!<]")
_SAYS_A_TYPE = frozenset({"type", "$ref", "anyOf", "enum", "const"})
_DEPTH, _PROPERTIES, _VALUES = 10, 5_000, 1_000
_OPTIONAL, _UNIONS = 24, 16


def openai(schema: Mapping[str, Any]) -> str | None:
    """Say what a strict schema is refused for; None when it is taken."""
    if schema.get("type") != "object" or "anyOf" in schema:
        got = "anyOf" if "anyOf" in schema else schema.get("type")
        return f"schema must be a JSON Schema of 'type: \"object\"', got 'type: \"{got}\"'."
    properties = values = 0
    for path, depth, place in _places(schema):
        wrong = _openai_place(path, place)
        if wrong is not None:
            return f"In context={_context(path)}, {wrong}"
        properties += len(place.get("properties") or {})
        values += len(place.get("enum") or ())
        if depth > _DEPTH:
            return f"{depth} levels of nesting exceeds limit of {_DEPTH}."
    if properties > _PROPERTIES:
        return f"{properties} properties exceeds limit of {_PROPERTIES}."
    return f"{values} enum values exceeds limit of {_VALUES}." if values > _VALUES else None


def _openai_place(path: Path, place: Mapping[str, Any]) -> str | None:
    refused = sorted(place.keys() & _OPENAI_REFUSES)
    if refused:
        return f"'{refused[0]}' is not permitted."
    if "$ref" in place and len(place) > 1:
        other = ", ".join(f"'{key}'" for key in place if key != "$ref")
        return f"$ref cannot have keywords {{{other}}}."
    if not place.keys() & _SAYS_A_TYPE:
        return "schema must have a 'type' key."
    if place.get("format") is not None and place["format"] not in _FORMATS:
        return f"'{place['format']}' is not a valid format."
    if _LOOK_AROUND.search(str(place.get("pattern") or "")):
        return "'pattern' is not valid: look-around is not supported."
    if place.get("type") == "array" and not {"items", "prefixItems"} & place.keys():
        return "array schema missing items."
    if place.get("type") == "object" or isinstance(place.get("properties"), dict):
        if place.get("additionalProperties") is not False:
            return "'additionalProperties' is required to be supplied and to be false."
        missing = [key for key in place.get("properties") or {} if key not in (place.get("required") or ())]
        if missing:
            return (
                "'required' is required to be supplied and to be an array including every key in properties. "
                f"Missing '{missing[0]}'."
            )
    return None


def incomplete(schema: Mapping[str, Any]) -> str | None:
    """Say what OpenAI refuses a tool's schema for that is not even strict; None when it is taken."""
    for path, _, place in _places(schema):
        if place.get("type") == "array" and not {"items", "prefixItems"} & place.keys():
            return f"In context={_context(path)}, array schema missing items."
        if place.get("type") == "object" and "properties" not in place:
            return f"In context={_context(path)}, object schema missing properties."
    return None


def anthropic(schema: Mapping[str, Any]) -> str | None:
    """Say what a schema is refused for; None when it is taken."""
    optional = unions = 0
    for _, _, place in _places(schema):
        kind = place.get("type") or "object"
        refused = sorted(place.keys() & _ANTHROPIC_REFUSES)
        if refused:
            return f"For '{kind}' type, property '{refused[0]}' is not supported"
        if place.get("minItems") not in (None, 0, 1):
            return "For 'array' type, 'minItems' values other than 0 or 1 are not supported"
        if not str(place.get("$ref", "#")).startswith("#"):
            return "External schema references are not supported"
        if "allOf" in place and any("$ref" in part for part in place["allOf"]):
            return "'allOf' with '$ref' is not supported"
        if _LOOK_AROUND.search(str(place.get("pattern") or "")):
            return "Invalid regex in 'pattern': look-around is not supported"
        if any(isinstance(value, (dict, list)) for value in place.get("enum") or ()):
            return "Enum values must be primitives"
        if kind == "object" and ("type" in place or "properties" in place):
            if place.get("additionalProperties") is not False:
                return "For 'object' type, 'additionalProperties' must be explicitly set to false"
            optional += len(set(place.get("properties") or {}) - set(place.get("required") or ()))
        unions += "anyOf" in place or "oneOf" in place or isinstance(place.get("type"), list)
    if _recurs(schema):
        return "Recursive schemas are not supported"
    if optional > _OPTIONAL or unions > _UNIONS:
        return "Schema is too complex: reduce optional parameters and union types"
    return None


def cohere(schema: Mapping[str, Any]) -> str | None:
    """Say what a schema is refused for; None when it is taken."""
    if schema.get("type") != "object":
        return "root must be of type 'object'"
    properties = 0
    for path, _, place in _places(schema):
        where = ".".join(path) or "root"
        refused = sorted(place.keys() - _COHERE_TAKES)
        if refused:
            return f"unsupported keyword '{refused[0]}' at {where}"
        if place.get("type") == "object":
            if not place.get("required"):
                return f"object at {where} must have at least one required field"
            properties += len(place.get("properties") or {})
    return f"{properties} fields exceed the limit of {_COHERE_FIELDS}" if properties > _COHERE_FIELDS else None


def gemini(schema: Mapping[str, Any]) -> str | None:
    """Say what a schema is refused for; None when it is taken."""
    for path, _, place in _places(schema):
        if place.get("type") == "object" and not place.get("properties") and "additionalProperties" not in place:
            return f"{'.'.join((*path, 'properties'))}: should be non-empty for OBJECT type"
        if place.get("type") == "array" and not {"items", "prefixItems"} & place.keys():
            return f"{'.'.join((*path, 'items'))}: missing field."
    return None


def _context(path: Path) -> str:
    return "(" + ", ".join(repr(part) for part in path) + ("," if len(path) == 1 else "") + ")"


def _places(schema: Any, path: Path = (), depth: int = 1) -> Iterator[tuple[Path, int, Mapping[str, Any]]]:
    """Every place of a schema with its path and how many objects and lists are around it."""
    if not isinstance(schema, Mapping):
        return
    yield path, depth, schema
    for key in ("$defs", "definitions", "properties"):
        for name, part in (schema.get(key) or {}).items():
            yield from _places(part, (*path, key, name), depth + 1 if key == "properties" else 1)
    if "items" in schema:
        yield from _places(schema["items"], (*path, "items"), depth + 1)
    for key in ("anyOf", "oneOf", "allOf"):
        for at, part in enumerate(schema.get(key) or ()):
            yield from _places(part, (*path, key, str(at)), depth)


def _recurs(schema: Mapping[str, Any]) -> bool:
    defs = {**(schema.get("definitions") or {}), **(schema.get("$defs") or {})}

    def uses(node: Any) -> set[str]:
        if isinstance(node, list):
            return set().union(*map(uses, node))
        if not isinstance(node, Mapping):
            return set()
        own = {str(node["$ref"]).rpartition("/")[2]} if "$ref" in node else set()
        return own.union(*(uses(value) for key, value in node.items() if key not in ("$defs", "definitions")))

    direct = {name: uses(part) for name, part in defs.items()}
    for name in defs:
        seen: set[str] = set()
        todo = set(direct[name])
        while todo:
            step = todo.pop()
            if step in (name, "#"):
                return True
            if step not in seen:
                seen.add(step)
                todo |= direct.get(step, set())
    return "#" in uses(schema)
