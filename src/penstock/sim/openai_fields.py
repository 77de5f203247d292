"""What the endpoints of OpenAI check alike: names, types and ranges of fields, and the words for what is wrong.

Source: error wordings as quoted in public issues, 2026-11.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from typing import Any

from penstock.sim.plan import Reject

NUMBER = (int, float)
EFFORT = {"none": 0, "minimal": 16, "low": 64, "medium": 192, "high": 512, "xhigh": 1024, "max": 2048}
"""Tokens that the simulated model thinks, by effort."""


def bad(message: str, param: str | None, code: str | None = "invalid_value") -> Reject:
    """A 400 in OpenAI's shape."""
    return Reject(400, message, param=param, code=code)


def type_name(value: object) -> str:
    """What a JSON value is, as an error says it."""
    names = {
        str: "a string",
        bool: "a boolean",
        int: "an integer",
        float: "a decimal",
        list: "an array",
        dict: "an object",
        type(None): "null",
    }
    return names.get(type(value), "something else")


def check_fields(
    body: Mapping[str, Any],
    types: Mapping[str, tuple[tuple[type, ...], str]],
    unchecked: Collection[str],
    ranges: Mapping[str, tuple[int, int | None]],
    *,
    required: Collection[str],
) -> None:
    """Check the names, types and ranges of a body's fields.

    Raises: Reject 400 in OpenAI's words for the first that is wrong.
    """
    for key, value in body.items():
        known = types.get(key)
        if known is None:
            if key not in unchecked:
                raise bad(f"Unknown parameter: '{key}'.", key, "unknown_parameter")
            continue
        if value is None and key not in required:
            continue
        if not isinstance(value, known[0]) or (isinstance(value, bool) and bool not in known[0]):
            raise bad(
                f"Invalid type for '{key}': expected {known[1]}, but got {type_name(value)} instead.",
                key,
                "invalid_type",
            )
        low, high = ranges.get(key, (None, None))
        if not isinstance(value, NUMBER):
            continue
        if low is not None and value < low:
            raise bad(
                f"Invalid '{key}': {_kind(value)} below minimum value. Expected a value >= {low}, but got "
                f"{value} instead.",
                key,
                f"{_kind(value)}_below_min_value",
            )
        if high is not None and value > high:
            raise bad(
                f"Invalid '{key}': {_kind(value)} above maximum value. Expected a value <= {high}, but got "
                f"{value} instead.",
                key,
                f"{_kind(value)}_above_max_value",
            )


def _kind(value: object) -> str:
    return "integer" if isinstance(value, int) else "decimal"


def check_name(name: str, param: str) -> None:
    """Raises: Reject 400 for a name that a tool or a schema cannot have."""
    if not re.fullmatch(r"[A-Za-z0-9_-]{1,64}", name):
        raise bad(
            f"Invalid '{param}': string does not match pattern. Expected a string that matches the pattern "
            "'^[a-zA-Z0-9_-]+$'.",
            param,
        )
