"""Shapes: a JSON Schema read once, its references resolved, ready to fit values to.

What a shape cannot check is refused when it is read, with the path of the keyword, instead of being ignored.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final, Literal

from ..errors import ConfigError

Kind = Literal["any", "object", "array", "string", "integer", "number", "boolean", "null", "enum", "union"]

TYPES: Final = frozenset({"object", "array", "string", "integer", "number", "boolean", "null"})
ANNOTATIONS: Final = frozenset(
    {
        "title", "description", "default", "examples", "example", "deprecated", "readOnly", "writeOnly", "format",
        "$schema", "$id", "$comment", "$defs", "definitions", "$anchor", "discriminator", "contentMediaType",
        "contentEncoding", "nullable", "enumNames",
    }
)  # fmt: skip
LIMITS: Final = frozenset(
    {
        "minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf", "minLength", "maxLength", "pattern",
        "minItems", "maxItems", "uniqueItems", "minProperties", "maxProperties",
    }
)  # fmt: skip
STRUCTURE: Final = frozenset(
    {
        "type", "enum", "const", "anyOf", "oneOf", "allOf", "$ref", "properties", "required", "additionalProperties",
        "propertyNames", "items", "prefixItems",
    }
)  # fmt: skip
MAX_SHAPES: Final = 10_000
"""Places in one schema; OpenAI takes 5,000 properties."""


class Shape:
    """What a value must be. `fields` maps a property to its shape, `rest` is what other properties may be."""

    __slots__ = ("aliases", "fields", "item", "kind", "limits", "options", "prefix", "required", "rest", "values")

    def __init__(self, kind: Kind = "any") -> None:
        self.kind: Kind = kind
        self.fields: dict[str, Shape] = {}
        self.aliases: dict[
            str, str
        ] = {}  # another name of a field, or of a value, → the name or the place of the value
        self.required: tuple[str, ...] = ()
        self.rest: Shape | bool = True
        self.item: Shape | None = None
        self.prefix: tuple[Shape, ...] = ()
        self.options: tuple[Shape, ...] = ()
        self.values: tuple[Any, ...] = ()
        self.limits: dict[str, Any] = {}


def compile_schema(schema: Mapping[str, Any] | bool, *, closed: bool = False) -> Shape:
    """Read a JSON Schema; `closed` says that objects which name their fields and nothing else take no other field.

    Raises: ConfigError that names the path, when the schema refers to itself without end, has a keyword that is unknown
    or cannot be checked, or a type that does not exist.
    """
    return _Compiler(schema, closed=closed).shape(schema, "$")


class _Compiler:
    def __init__(self, root: Any, *, closed: bool) -> None:
        self._root = root
        self._closed = closed
        self._known: dict[str, Shape] = {}
        self._count = 0

    def shape(self, schema: Any, path: str) -> Shape:
        made = Shape()
        self._fill(made, schema, path, ())
        return made

    def _fill(self, made: Shape, schema: Any, path: str, seen: tuple[str, ...]) -> None:
        self._count += 1
        if self._count > MAX_SHAPES:
            raise ConfigError(f"the schema has more than {MAX_SHAPES:,} places; make it smaller")
        if schema is True or schema == {}:
            return
        if not isinstance(schema, Mapping):
            raise ConfigError(f"the schema has {schema!r:.60} at {path}, where an object was expected")
        schema = self._resolved(schema, path, seen)
        if isinstance(schema, Shape):
            for slot in Shape.__slots__:
                setattr(made, slot, getattr(schema, slot))
            return
        self._check_keywords(schema, path)
        if "allOf" in schema:
            schema = self._merged(schema, path)
        branches = schema.get("anyOf", schema.get("oneOf"))
        if branches is not None:
            if not isinstance(branches, (list, tuple)) or not branches:
                raise ConfigError(f"the schema has no alternatives at {path}.anyOf")
            made.kind = "union"
            made.options = tuple(self._child(b, f"{path}.anyOf[{at}]") for at, b in enumerate(branches))
        elif "const" in schema or "enum" in schema:
            self._values(made, schema, path)
        else:
            self._typed(made, schema, path)

    def _child(self, schema: Any, path: str) -> Shape:
        """Make the shape of a part; one reference has one shape, so that a type may contain itself."""
        ref = schema.get("$ref") if isinstance(schema, Mapping) else None
        if isinstance(ref, str) and not (schema.keys() - ANNOTATIONS - {"$ref", "x-aliases"}):
            if ref not in self._known:
                self._known[ref] = made = Shape()
                self._fill(made, schema, path, ())
            return self._known[ref]
        return self.shape(schema, path)

    def _resolved(self, schema: Mapping[str, Any], path: str, seen: tuple[str, ...]) -> Any:
        while "$ref" in schema:
            ref = schema["$ref"]
            if not isinstance(ref, str) or not ref.startswith("#"):
                raise ConfigError(
                    f"the schema has $ref {ref!r:.60} at {path}; only '#/…' inside the schema can be followed"
                )
            if ref in seen:
                raise ConfigError(f"the schema refers to itself without end at {path}: {' → '.join((*seen, ref))}")
            seen = (*seen, ref)
            more = {key: value for key, value in schema.items() if key != "$ref"}
            target = find_ref(self._root, ref, path)
            schema = {**target, **more} if isinstance(target, Mapping) else target
            if not isinstance(schema, Mapping):
                raise ConfigError(f"the schema has {schema!r:.60} at {ref}, where an object was expected")
        return schema

    def _check_keywords(self, schema: Mapping[str, Any], path: str) -> None:
        for keyword in schema:
            known = keyword in STRUCTURE or keyword in LIMITS or keyword in ANNOTATIONS
            if not known and not str(keyword).startswith("x-"):
                raise ConfigError(
                    f"the schema has the keyword {keyword!r} at {path}, which cannot be checked; "
                    "remove it, or use a type that validates itself"
                )
        if "anyOf" in schema and "oneOf" in schema:
            raise ConfigError(f"the schema has both anyOf and oneOf at {path}; nest one in the other")

    def _merged(self, schema: Mapping[str, Any], path: str) -> Mapping[str, Any]:
        merged = {key: value for key, value in schema.items() if key != "allOf"}
        for at, part in enumerate(schema["allOf"]):
            part = self._resolved(part, f"{path}.allOf[{at}]", ())
            self._check_keywords(part, f"{path}.allOf[{at}]")
            for key, value in part.items():
                if key == "properties":
                    merged[key] = {**merged.get(key, {}), **value}
                elif key == "required":
                    merged[key] = [*merged.get(key, ()), *value]
                elif key in ANNOTATIONS or key not in merged:
                    merged.setdefault(key, value)
                elif merged[key] != value:
                    raise ConfigError(f"the schema says two things about {key!r} at {path}.allOf; write one schema")
        return merged if "allOf" not in merged else self._merged(merged, path)

    def _values(self, made: Shape, schema: Mapping[str, Any], path: str) -> None:
        values = schema["enum"] if "enum" in schema else [schema["const"]]
        if not isinstance(values, (list, tuple)) or not values:
            raise ConfigError(f"the schema has no values at {path}.enum")
        if "const" in schema:
            values = [value for value in values if value == schema["const"]] or [schema["const"]]
        made.kind = "enum"
        made.values = tuple(values)
        names = schema.get("x-enum-aliases", {})
        made.aliases = {str(alias): value for value, alias in names.items()} if isinstance(names, Mapping) else {}

    def _typed(self, made: Shape, schema: Mapping[str, Any], path: str) -> None:
        name: Any = schema.get("type")
        if isinstance(name, (list, tuple)):
            made.kind = "union"
            rest = {key: value for key, value in schema.items() if key != "type"}
            made.options = tuple(self._child({**rest, "type": one}, path) for one in name)
            return
        if name is None:
            name = (
                "object"
                if "properties" in schema
                else "array"
                if "items" in schema or "prefixItems" in schema
                else "any"
            )
        elif name not in TYPES:
            raise ConfigError(f"the schema has the type {name!r} at {path}; expected one of {', '.join(sorted(TYPES))}")
        made.kind = name
        made.limits = {key: schema[key] for key in LIMITS if key in schema}
        self._check_pattern(made.limits, path)
        if name == "object":
            self._object(made, schema, path)
        elif name == "array":
            items = schema.get("items", True)
            made.prefix = tuple(
                self._child(part, f"{path}.prefixItems[{at}]") for at, part in enumerate(schema.get("prefixItems", ()))
            )
            made.item = None if items is False else self._child(items, f"{path}.items")

    def _check_pattern(self, limits: Mapping[str, Any], path: str) -> None:
        try:
            if "pattern" in limits:
                re.compile(limits["pattern"])
        except (re.error, TypeError) as error:
            raise ConfigError(f"the schema has a pattern at {path} that cannot be read: {error}") from error

    def _object(self, made: Shape, schema: Mapping[str, Any], path: str) -> None:
        properties = schema.get("properties", {})
        if not isinstance(properties, Mapping):
            raise ConfigError(f"the schema has {properties!r:.60} at {path}.properties, where an object was expected")
        for name, part in properties.items():
            made.fields[name] = self._child(part, f"{path}.{name}")
            for alias in part.get("x-aliases", ()) if isinstance(part, Mapping) else ():
                made.aliases[alias] = name
        made.required = tuple(schema.get("required", ()))
        rest = schema.get("additionalProperties", not (self._closed and properties))
        made.rest = rest if isinstance(rest, bool) else self._child(rest, f"{path}.*")
        if "propertyNames" in schema:
            made.item = self._child(schema["propertyNames"], f"{path}.propertyNames")


def find_ref(root: Any, ref: str, path: str) -> Any:
    """Follow '#/a/b' from the root of a schema.

    Raises: ConfigError when nothing is there.
    """
    found = root
    for step in ref.lstrip("#").split("/")[1:]:
        step = step.replace("~1", "/").replace("~0", "~")
        if isinstance(found, Mapping) and step in found:
            found = found[step]
        elif isinstance(found, (list, tuple)) and step.isdigit() and int(step) < len(found):
            found = found[int(step)]
        else:
            raise ConfigError(f"the schema has $ref {ref!r} at {path}, and nothing is there")
    return found
