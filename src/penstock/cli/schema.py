"""What answers are to be: a file of JSON Schema, or a type of Python in a file or a module."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec

from ..errors import ConfigError
from .imported import load_name

SCHEMA_HELP = "FILE of JSON Schema, FILE.py:Type or module:Type."


def load_schema(given: str) -> Any:
    """Read `FILE`, `FILE.py:Type` or `module:Type`; a type is a pydantic model, dataclass, TypedDict or Struct.

    Raises: ConfigError saying what cannot be read.
    """
    place, colon, name = given.rpartition(":")
    if colon and not Path(given).exists():
        return _type(place, name, given)
    return _of_file(given)


def enum_fields(wanted: Any) -> tuple[str, ...]:
    """Return the fields of the answer that take one of a few values, whose counts are worth telling."""
    from .._text.schema import rooted
    from .._text.target import target_of

    root, _ = rooted(target_of(wanted).schema)  # type: ignore[arg-type]
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
            f"cannot read the schema {path}: {error.strerror or error}; give a file of JSON Schema, FILE.py:Type or "
            "module:Type"
        ) from error
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ConfigError(f"the schema {path} is not JSON: {error}") from error
    if not isinstance(schema, dict):
        raise ConfigError(f"the schema {path} is no JSON object; expected a JSON Schema")
    return schema


def _type(place: str, name: str, given: str) -> Any:
    found = load_name(place, name, what="the schema's", option="--schema", noun="Type")
    if found is None:
        raise ConfigError(f"{given} is None; expected a type or a JSON Schema")
    return found
