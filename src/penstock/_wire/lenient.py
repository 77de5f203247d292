"""Typed reading of JSON that does not quite keep its types: what fits is kept, what does not is left out."""

from __future__ import annotations

import types
from typing import Any, Final, TypeVar, get_args, get_origin

import msgspec

T = TypeVar("T")

BOM: Final = b"\xef\xbb\xbf"
"""Some servers write one before their JSON."""


def count(value: Any) -> int:
    """Read a count that may be an int, a float, digits in a string or missing; anything else and negatives are 0."""
    if type(value) is int:
        return value if value > 0 else 0
    if value is None or isinstance(value, bool):
        return 0
    try:
        number = float(value)
    except (TypeError, ValueError):
        return 0
    return int(number) if 0 <= number < 2**63 else 0


def read(decoder: msgspec.json.Decoder[T], data: bytes | msgspec.Raw, kind: type[T]) -> T:
    """Decode JSON into a struct; fields of the wrong type fall back to their defaults.

    Raises: msgspec.DecodeError when the bytes are not JSON, msgspec.ValidationError when they are no object.
    """
    try:
        return decoder.decode(data)
    except msgspec.ValidationError:
        value = msgspec.json.decode(data)
        if not isinstance(value, dict):
            raise
        mended: T = _struct(value, kind)
        return mended


def _struct(value: dict[str, Any], kind: Any) -> Any:
    fields: dict[str, Any] = {}
    for field in msgspec.structs.fields(kind):
        if field.encode_name in value:
            kept, result = _convert(value[field.encode_name], field.type)
            if kept:
                fields[field.name] = result
    return kind(**fields)


def _convert(value: Any, kind: Any) -> tuple[bool, Any]:
    try:
        return True, msgspec.convert(value, kind)
    except msgspec.ValidationError:
        pass
    options = get_args(kind) if get_origin(kind) is types.UnionType else (kind,)
    for option in options:
        if isinstance(value, dict) and isinstance(option, type) and issubclass(option, msgspec.Struct):
            return True, _struct(value, option)
        if isinstance(value, list) and get_origin(option) is list:
            pairs = [_convert(item, get_args(option)[0]) for item in value]
            return True, [result for kept, result in pairs if kept]
        if option is str and isinstance(value, int | float):
            return True, str(value)
    return False, None
