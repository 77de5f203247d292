"""What of a JSON Schema a provider can hold a model to: the schema to send, what got lost, and why it is not strict.

One walk for all providers; a profile says what each takes. A keyword that a provider does not take moves into the
description, where the model still reads it, and is listed as lossy. What cannot be said at all (a map of unknown keys,
an untyped place, recursion) is never sent in another meaning: `strict` is then False, `reasons` says why and where, and
the schema is for a prompt or a tool that is not strict.

Source: OpenAI and Anthropic structured-output limits as their SDKs and documentation gave them in November 2026; Cohere
and Gemini by what their documentation lists, everything else counted as not taken.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any, Final, Literal

import msgspec

from ..errors import ConfigError
from .result import Lost
from .shape import ANNOTATIONS, compile_schema, find_ref

Profile = Literal["openai", "anthropic", "cohere", "gemini", "generic"]


class Sendable(msgspec.Struct, frozen=True):
    """A schema as a provider takes it.

    `strict`: the provider can hold the model to it. `wrapped`: the value comes under the key 'result'. `lossy` is
    checked here only, after the answer; `reasons` says why the schema is not strict.
    """

    schema: dict[str, Any]
    strict: bool
    wrapped: bool = False
    lossy: tuple[Lost, ...] = ()
    reasons: tuple[str, ...] = ()

    def unwrap(self, value: Any) -> Any:
        """Take the value out of the object that was put around it."""
        if self.wrapped and isinstance(value, dict) and value.keys() == {RESULT}:
            return value[RESULT]
        return value


class _Rules(msgspec.Struct, frozen=True):
    """What a provider takes. Limits are counts over the whole schema; 0 is no limit."""

    keywords: frozenset[str]
    formats: frozenset[str] = frozenset()
    all_required: bool = False
    recursion: bool = False
    references: bool = True
    some_required: bool = False
    depth: int = 0
    properties: int = 0
    enum_values: int = 0
    optional: int = 0
    unions: int = 0


_BASE: Final = frozenset(
    {"type", "properties", "required", "additionalProperties", "items", "anyOf", "enum", "description"}
)
_FORMATS: Final = frozenset({"date-time", "time", "date", "duration", "email", "hostname", "ipv4", "ipv6", "uuid"})
_NUMERIC: Final = frozenset({"minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"})
_RULES: Final[dict[str, _Rules]] = {
    "openai": _Rules(
        _BASE | _NUMERIC | {"const", "pattern", "format", "minItems", "maxItems"},
        formats=_FORMATS, all_required=True, recursion=True, depth=10, properties=5_000, enum_values=1_000,
    ),
    "anthropic": _Rules(
        _BASE | {"const", "pattern", "format"}, formats=_FORMATS | {"uri"}, optional=24, unions=16
    ),
    "cohere": _Rules(_BASE, references=False, some_required=True, properties=200),
    "gemini": _Rules(_BASE | {"minItems", "maxItems", "minimum", "maximum", "prefixItems"}, references=False),
}  # fmt: skip
_LOOK_AROUND: Final = re.compile(r"\(\?[=!<]|\\[1-9bB]")
MAX_INLINED: Final = 5_000
"""Places of a schema after its references were written out."""


RESULT: Final = "result"
"""The key under which a value comes that is no object."""


def rooted(schema: Mapping[str, Any]) -> tuple[dict[str, Any], bool]:
    """Put a schema whose root is no object into one under the key 'result'; say whether that was needed.

    Raises: ConfigError for a reference that leads nowhere.
    """
    root: Any = schema
    seen: list[str] = []
    while isinstance(root, Mapping) and "$ref" in root and root["$ref"] not in seen:
        seen.append(root["$ref"])
        root = {**find_ref(schema, root["$ref"], "$"), **{key: root[key] for key in root if key != "$ref"}}
    kept = {name: schema[name] for name in ("$defs", "definitions") if name in schema}
    if (root.get("type") == "object" or ("type" not in root and "properties" in root)) and not root.keys() & _NO_OBJECT:
        return {**root, **kept}, False
    inner = _moved({key: value for key, value in schema.items() if key not in kept})
    return {
        "type": "object",
        "properties": {RESULT: inner},
        "required": [RESULT],
        "additionalProperties": False,
        **_moved(kept),
    }, True


_NO_OBJECT: Final = frozenset({"anyOf", "oneOf", "allOf", "enum", "const"})


def _moved(node: Any) -> Any:
    """Let references to the root follow it to its new place."""
    if isinstance(node, Mapping):
        return {
            key: f"#/properties/{RESULT}{value[1:]}"
            if key == "$ref" and isinstance(value, str) and not value.startswith(("#/$defs/", "#/definitions/"))
            else _moved(value)
            for key, value in node.items()
        }
    return [_moved(item) for item in node] if isinstance(node, list) else node


def for_tool(schema: Mapping[str, Any]) -> dict[str, Any]:
    """Write a schema with an object at its root as the parameters of a tool that nobody enforces.

    Source: OpenAI refuses parameters in which a list has no items or an object no properties, strict or not.
    """
    return dict(_complete(schema))


def _complete(node: Any) -> Any:
    if isinstance(node, list):
        return [_complete(item) for item in node]
    if not isinstance(node, Mapping):
        return node
    made: dict[str, Any] = {}
    for key, value in node.items():
        if key in ("properties", "$defs", "definitions"):
            made[key] = {name: _complete(part) for name, part in value.items()}
        else:
            made[key] = value if key in ("default", "const", "enum", "examples", "example") else _complete(value)
    if made.get("type") == "object":
        made.setdefault("properties", {})
    if made.get("type") == "array" and "prefixItems" not in made:
        made.setdefault("items", {})
    return made


def sendable(schema: Mapping[str, Any], profile: Profile) -> Sendable:
    """Write a schema as a provider takes it.

    Raises: ConfigError that names the path, for a schema that refers to itself without end or has unknown keywords.
    """
    compile_schema(schema)
    if profile == "generic":
        return Sendable(dict(schema), strict=False, reasons=("this provider is not known to enforce schemas",))
    if profile not in _RULES:
        raise ConfigError(f"no schema profile is called {profile!r}; expected one of {', '.join((*_RULES, 'generic'))}")
    walk = _Walk(schema, _RULES[profile])
    made = walk.node(schema, "$", 1)
    wrapped = made.get("type") != "object" or "anyOf" in made
    if wrapped:
        made = {"type": "object", "properties": {RESULT: made}, "required": [RESULT], "additionalProperties": False}
    if walk.defs:
        made["$defs"] = {name: walk.defs[name] for name in sorted(walk.defs)}
    walk.check_limits(made)
    if walk.reasons:
        return Sendable(dict(schema), strict=False, lossy=tuple(walk.lossy), reasons=tuple(dict.fromkeys(walk.reasons)))
    return Sendable(made, strict=True, wrapped=wrapped, lossy=tuple(walk.lossy))


class _Walk:
    def __init__(self, root: Mapping[str, Any], rules: _Rules) -> None:
        self._root = root
        self._rules = rules
        self._inside: list[str] = []
        self._names: dict[str, str] = {}
        self.defs: dict[str, Any] = {}
        self.lossy: list[Lost] = []
        self.reasons: list[str] = []
        self.places = self.properties = self.values = self.optional = self.unions = self.depth = 0

    def node(self, schema: Any, path: str, depth: int) -> dict[str, Any]:
        """Write one place."""
        self.places += 1
        if self.places > MAX_INLINED:
            raise ConfigError(f"the schema has more than {MAX_INLINED:,} places at {path}; make it smaller")
        self.depth = max(self.depth, depth)
        if not isinstance(schema, Mapping) or not schema.keys() - ANNOTATIONS:
            self.reasons.append(f"{path} has no type")
            return {}
        if "$ref" in schema:
            return self._reference(schema, path, depth)
        if "allOf" in schema:
            schema = self._merged(schema)
        branches = schema.get("anyOf", schema.get("oneOf"))
        names = schema.get("type")
        if isinstance(names, list):
            rest = {key: value for key, value in schema.items() if key not in ("type", "description", *ANNOTATIONS)}
            branches = [{**_relevant(rest, name), "type": name} for name in names]
        if branches is not None:
            self.unions += 1
            made: dict[str, Any] = {
                "anyOf": [self.node(b, f"{path}.anyOf[{at}]", depth) for at, b in enumerate(branches)]
            }
            return self._described(made, schema, path, ())
        return self._typed(schema, path, depth)

    def _typed(self, schema: Mapping[str, Any], path: str, depth: int) -> dict[str, Any]:
        made: dict[str, Any] = {}
        moved: list[str] = []
        for keyword, value in schema.items():
            if keyword in ANNOTATIONS - {"format", "default"} or keyword.startswith("x-") or keyword in _STRUCTURE:
                continue
            if keyword == "const" and "const" not in self._rules.keywords:
                made["enum"] = [value]
            elif self._takes(keyword, value):
                made[keyword] = value
            else:
                moved.append(keyword)
        self.values += len(schema.get("enum", ()))
        kind = schema.get("type") or ("object" if "properties" in schema else "array" if "items" in schema else None)
        if kind is not None:
            made["type"] = kind
        if kind == "object":
            self._object(made, schema, path, depth)
        elif kind == "array":
            if "prefixItems" in schema:
                self.reasons.append(f"{path} is a tuple")
            made["items"] = self.node(schema.get("items", True), f"{path}.items", depth + 1)
        return self._described(made, schema, path, moved)

    def _takes(self, keyword: str, value: Any) -> bool:
        rules = self._rules
        if keyword == "format":
            return value in rules.formats
        if keyword == "pattern":
            return keyword in rules.keywords and _LOOK_AROUND.search(str(value)) is None
        if keyword == "minItems" and "minItems" not in rules.keywords:
            return value in (0, 1) and "const" in rules.keywords
        return keyword in rules.keywords

    def _object(self, made: dict[str, Any], schema: Mapping[str, Any], path: str, depth: int) -> None:
        fields = schema.get("properties", {})
        if schema.get("additionalProperties") not in (None, False) or not fields or "propertyNames" in schema:
            self.reasons.append(f"{path} is a map of unknown keys")
            return
        required = list(schema.get("required", ()))
        made["properties"] = {}
        for name, part in fields.items():
            self.properties += 1
            written = self.node(part, f"{path}.{name}", depth + 1)
            if name not in required:
                self.optional += 1
                if self._rules.all_required and not _nullable(written):
                    written = {"anyOf": [written, {"type": "null"}]}
            made["properties"][name] = written
        made["required"] = list(fields) if self._rules.all_required else required
        made["additionalProperties"] = False
        if self._rules.some_required and not required:
            self.reasons.append(f"{path} requires no field")

    def _reference(self, schema: Mapping[str, Any], path: str, depth: int) -> dict[str, Any]:
        ref = schema["$ref"]
        if ref in self._inside and not (self._rules.recursion and self._rules.references):
            self.reasons.append(f"{path} contains itself through {ref}")
            return {}
        target = find_ref(self._root, ref, path)
        if not self._rules.references or (path == "$" and ref not in json.dumps(target)):
            self._inside.append(ref)
            made = self.node({**target, **{key: value for key, value in schema.items() if key != "$ref"}}, path, depth)
            self._inside.pop()
            return made
        name = self._names.setdefault(ref, ref.rsplit("/", 1)[-1] or "root")
        if name not in self.defs:
            self.defs[name] = {}
            self._inside.append(ref)
            self.defs[name] = self.node(target, f"{path}", depth)
            self._inside.pop()
        made = {"$ref": f"#/$defs/{name}"}
        if path == "$":
            return dict(self.defs[name])
        return {"anyOf": [made], "description": schema["description"]} if "description" in schema else made

    def _merged(self, schema: Mapping[str, Any]) -> Mapping[str, Any]:
        merged = {key: value for key, value in schema.items() if key != "allOf"}
        for part in schema["allOf"]:
            while "$ref" in part:
                part = {**find_ref(self._root, part["$ref"], "$"), **{k: v for k, v in part.items() if k != "$ref"}}
            for key, value in (self._merged(part) if "allOf" in part else part).items():
                if key == "properties":
                    merged[key] = {**value, **merged.get(key, {})}
                elif key == "required":
                    merged[key] = [*merged.get(key, ()), *value]
                else:
                    merged.setdefault(key, value)
        return merged

    def _described(self, made: dict[str, Any], schema: Mapping[str, Any], path: str, moved: Any) -> dict[str, Any]:
        words = [schema["description"]] if schema.get("description") else []
        for keyword in moved:
            self.lossy.append(Lost(path, keyword))
            words.append(f"{{{keyword}: {json.dumps(schema[keyword], ensure_ascii=False, default=str)}}}")
        if words:
            made["description"] = " ".join(words)
        return made

    def check_limits(self, made: Mapping[str, Any]) -> None:
        """Compare the counts with what the provider takes."""
        rules = self._rules
        for noun, count, most in (
            ("levels", self.depth, rules.depth),
            ("properties", self.properties, rules.properties),
            ("enum values", self.values, rules.enum_values),
            ("optional properties", self.optional, rules.optional),
            ("unions", self.unions, rules.unions),
        ):
            if most and count > most:
                self.reasons.append(f"it has {count} {noun}, more than {most}")


_STRUCTURE: Final = frozenset(
    {"properties", "required", "additionalProperties", "items", "prefixItems", "propertyNames"}
)
_OF_TYPE: Final = {
    "object": _STRUCTURE | {"minProperties", "maxProperties"},
    "array": frozenset({"items", "prefixItems", "minItems", "maxItems", "uniqueItems"}),
    "string": frozenset({"minLength", "maxLength", "pattern", "format", "enum", "const"}),
}
_OF_NUMBERS: Final = _NUMERIC | {"enum", "const"}


def _relevant(schema: Mapping[str, Any], kind: str) -> dict[str, Any]:
    """Keep the keywords that mean something for a type."""
    wanted = _OF_TYPE.get(kind, _OF_NUMBERS if kind in ("integer", "number") else frozenset())
    return {key: value for key, value in schema.items() if key in wanted}


def _nullable(schema: Mapping[str, Any]) -> bool:
    return schema.get("type") == "null" or any(_nullable(option) for option in schema.get("anyOf", ()))
