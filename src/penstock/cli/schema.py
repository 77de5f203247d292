"""The schema that answers must follow: a file of JSON Schema, or a type of Python in a file or a module."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from pathlib import Path
from typing import Any

import msgspec

from .. import JSONSchema
from ..errors import ConfigError

_NAME_MAX = 64


def load_schema(given: str) -> JSONSchema:
    """Read `FILE.json`, `FILE.py:Type` or `module:Type`; a type is a pydantic model, dataclass, TypedDict or Struct.

    Raises: ConfigError saying what cannot be read or sent.
    """
    place, colon, name = given.rpartition(":")
    if colon and name.isidentifier():
        cls = _type(place, name)
        schema = _closed(_of_type(cls, given))
        return JSONSchema(schema=schema, name=_plain(name), strict=True)
    schema = _of_file(given)
    return JSONSchema(schema=schema, name=_plain(Path(given).stem), strict=_is_closed(schema))


def enum_fields(schema: JSONSchema) -> tuple[str, ...]:
    """Return the fields of the answer that take one of a few values, whose counts are worth telling."""
    root = schema.schema
    found = [name for name, field in root.get("properties", {}).items() if _is_enum(field, root)]
    return tuple(found)


def _is_enum(field: Any, root: dict[str, Any]) -> bool:
    if not isinstance(field, dict):
        return False
    wrapped = field.get("allOf")
    ref = field.get("$ref") or (wrapped[0].get("$ref") if isinstance(wrapped, list) and wrapped else None)
    if isinstance(ref, str):
        field = root.get("$defs", {}).get(ref.rpartition("/")[2], {})
    return "enum" in field or field.get("type") == "boolean"


def _of_file(path: str) -> dict[str, Any]:
    try:
        schema = msgspec.json.decode(Path(path).read_bytes())
    except OSError as error:
        raise ConfigError(
            f"cannot read the schema {path}: {error.strerror or error}; give a file of JSON Schema, or FILE.py:Type"
        ) from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"the schema {path} is not JSON: {error}") from error
    return _checked(schema, path)


def _checked(schema: object, where: str) -> dict[str, Any]:
    """Look whether any provider takes the schema.

    Raises: ConfigError: they want an object at the root, with properties.
    """
    if not isinstance(schema, dict):
        raise ConfigError(f"the schema {where} is {type(schema).__name__}; expected an object of JSON Schema")
    if schema.get("type") != "object" or not isinstance(schema.get("properties"), dict) or not schema["properties"]:
        raise ConfigError(
            f"the schema {where} has no object with properties at its root, and no provider takes another; wrap it in "
            '{"type": "object", "properties": {…}}'
        )
    return schema


def _type(place: str, name: str) -> Any:
    try:
        module = _file_module(place) if place.endswith(".py") else importlib.import_module(place)
    except Exception as error:
        raise ConfigError(f"cannot load the schema's {place}: {type(error).__name__}: {error}") from error
    try:
        return getattr(module, name)
    except AttributeError:
        raise ConfigError(f"{place} has no {name}; --schema {place}:TYPE names a type in it") from None


def _file_module(path: str) -> Any:
    spec = importlib.util.spec_from_file_location(Path(path).stem, path)
    if spec is None or spec.loader is None:
        raise ImportError("it is no file of Python")
    module = importlib.util.module_from_spec(spec)
    sys.modules.setdefault(spec.name, module)  # where dataclasses look their annotations up
    spec.loader.exec_module(module)
    return module


def _of_type(cls: Any, where: str) -> dict[str, Any]:
    try:
        schema = cls.model_json_schema() if hasattr(cls, "model_json_schema") else msgspec.json.schema(cls)
    except Exception as error:
        raise ConfigError(f"the type {where} has no JSON Schema: {error}") from error
    ref = schema.get("$ref")
    if isinstance(ref, str):
        inner = schema["$defs"].pop(ref.rpartition("/")[2])
        schema = {**inner, "$defs": schema["$defs"]} if schema["$defs"] else inner
    return _checked(schema, where)


def _closed(node: Any) -> Any:
    """Close every object and ask for all of its fields, as strict modes want it; a default is for us to fill in."""
    if isinstance(node, list):
        return [_closed(each) for each in node]
    if not isinstance(node, dict):
        return node
    found = {name: _closed(each) for name, each in node.items()}
    if node.get("type") == "object" and isinstance(node.get("properties"), dict):
        found["additionalProperties"] = False
        found["required"] = list(node["properties"])
        found["properties"] = {
            name: {key: value for key, value in field.items() if key != "default"} if isinstance(field, dict) else field
            for name, field in found["properties"].items()
        }
    return found


def _is_closed(node: Any) -> bool:
    """Whether strict modes take a schema as it is."""
    if isinstance(node, list):
        return all(map(_is_closed, node))
    if not isinstance(node, dict):
        return True
    if node.get("type") == "object":
        fields = set(node.get("properties", {}))
        if node.get("additionalProperties") is not False or set(node.get("required", ())) != fields:
            return False
    return all(map(_is_closed, node.values()))


def _plain(name: str) -> str:
    return "".join(letter if letter.isascii() and letter.isalnum() else "_" for letter in name)[:_NAME_MAX] or "answer"
