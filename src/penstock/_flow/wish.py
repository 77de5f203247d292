"""From what a caller writes to an `Ask`: a type or a schema, and the options of an extraction."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final, cast, get_args

import msgspec

from .._text.result import POLICIES, Policy
from .._text.schema import RESULT, rooted
from .._text.target import Target, Wrapped, target_of
from ..errors import ConfigError
from ..types import JSONSchema
from .effects import Lane
from .extract import Ask
from .extracted import Mode
from .mode import MODES, Refusals, Wish
from .prompt import ExtractOptions, Options
from .reading import Reader

REASKS_MOST: Final = 5
"""A model that was told five times what is wrong does not know better."""

NAME_MOST: Final = 64
"""Source: OpenAI, `response_format.json_schema.name` and `tools[].function.name` (read 2026-11)."""

OWN: Final = frozenset(ExtractOptions.__annotations__) - frozenset(Options.__annotations__)
_TAKEN: Final = {
    "response_format": "the type says what the answer is to be",
    "tools": "the answer is one value; let the model use tools with complete(), and extract from what it says",
    "tool_choice": "the answer is one value",
    "parallel_tool_calls": "the answer is one value",
    "n": "the answer is one value",
    "continuations": "half a value cannot be joined",
}


class Own(msgspec.Struct, frozen=True):
    """The options that only an extraction has."""

    mode: Mode = "auto"
    reasks: int = 1
    policy: Policy = "safe"
    helper: str | None = None


def parted(options: Mapping[str, Any]) -> tuple[Own, Options]:
    """Tell the options of an extraction from those of its calls.

    Raises: ConfigError for one that is wrong, or that an extraction sets itself.
    """
    for name, why in _TAKEN.items():
        if options.get(name) not in (None, ()):
            raise ConfigError(f"parameter {name!r} cannot be given to extract(): {why}")
    own = Own(**{name: value for name, value in options.items() if name in OWN})
    if own.mode not in MODES:
        raise ConfigError(f"parameter 'mode' is {own.mode!r}; expected one of {', '.join(MODES)}")
    if own.policy not in POLICIES:
        raise ConfigError(f"parameter 'policy' is {own.policy!r}; expected one of {', '.join(POLICIES)}")
    reasks: object = own.reasks
    if isinstance(reasks, bool) or not isinstance(reasks, int) or not 0 <= reasks <= REASKS_MOST:
        raise ConfigError(f"parameter 'reasks' is {reasks!r}; expected a whole number from 0 to {REASKS_MOST}")
    if not isinstance(own.helper, str | None):
        raise ConfigError(f"parameter 'helper' is {own.helper!r}; expected a model, e.g. 'provider:model'")
    return own, cast(Options, {name: value for name, value in options.items() if name not in OWN})


def asked(wanted: Any, own: Own, helper: tuple[Lane, ...], refusals: Refusals) -> Ask:
    """Turn a type or a JSON Schema into what is wanted.

    Raises: ConfigError for a type or schema that cannot be expressed, naming the path.
    """
    if isinstance(wanted, JSONSchema):
        wanted, name = wanted.schema, wanted.name
    else:
        name = _name(wanted)
    plain = target_of(wanted)
    if not isinstance(plain.schema, Mapping):
        raise ConfigError("extract() needs a type or a JSON Schema; for any JSON write dict or list")
    schema, wrapped = rooted(plain.schema)
    target: Target = Wrapped(plain, RESULT) if wrapped else plain
    wish = Wish(schema=schema, name=name, mode=own.mode)
    return Ask(
        wish=wish,
        reader=Reader(target=target, plain=plain, policy=own.policy),
        reasks=own.reasks,
        helper=helper,
        refusals=refusals,
    )


def _name(wanted: Any) -> str:
    given: Any = wanted.get("title", "") if isinstance(wanted, Mapping) else getattr(wanted, "__name__", "")
    parts = [part.__name__ for part in get_args(wanted) if isinstance(part, type)]
    if parts:
        given = "_or_".join(parts) if given in ("", "Union") else f"{given}_{'_'.join(parts)}"
    return re.sub(r"[^A-Za-z0-9_-]+", "_", str(given))[:NAME_MOST].strip("_") or "answer"
