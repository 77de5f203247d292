"""The rows of a job: what is asked, one by one."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from hashlib import blake2b
from typing import Any, Final

import msgspec

from .._flow.prompt import Prompt, request
from ..errors import ConfigError, InputError

HALF_A_CHARACTER: Final = "holds half of a character (a lone \\ud800 to \\udfff), which no UTF-8 can carry"


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """One question of a job. `id` tells it from the others and finds its answer again, `line` is where it stands.

    `params` are options of `client.complete`, on top of those of the job. A row with a `model`, or with a `tier` in its
    `params`, goes there and nowhere else. `problem` says why it cannot be asked. `fields` are the columns that it was
    made of.
    """

    id: str | int
    prompt: Prompt = ""
    line: int = 0
    model: str | None = None
    params: dict[str, Any] = {}
    problem: str | None = None
    fields: dict[str, Any] = {}


FORMS_MAX: Final = 256
"""How many forms of rows are remembered at once."""

FORM_MAX_CHARS: Final = 4096
"""Options that are longer when written out are taken to be a row's own, so that what is remembered stays small."""

Form = tuple[str | None, str]
"""What rows share that differ in their prompt alone: their own model, and their options written out."""


def form_of(row: Row) -> Form | None:
    """Return the form of a row whose prompt is one text; None for others, and for one with long options."""
    if type(row.prompt) is not str:
        return None
    written = repr(row.params) if row.params else ""
    return (row.model, written) if len(written) <= FORM_MAX_CHARS else None


def check_row(row: Row) -> None:
    """Look at a row by itself, before anything is paid.

    Raises: InputError, ConfigError naming the field that is wrong.
    """
    if row.problem is not None:
        raise InputError(row.problem)
    model: object = row.model
    if model is not None and (not isinstance(model, str) or not model.strip()):
        raise InputError(f"has a model that is no text but {model!r}; write it as 'provider:model'")
    if isinstance(model, str) and not is_text(model):
        raise InputError(f"has the model {model!r}, which {HALF_A_CHARACTER}")
    params: object = row.params
    if not isinstance(params, Mapping) or not all(isinstance(name, str) for name in params):
        raise InputError(f"has params that are {params!r}; expected options of a call by their names")
    if isinstance(row.prompt, str) and not row.prompt.strip():
        raise InputError("has an empty prompt")
    if row.params.get("model") is not None:
        raise InputError("has a model among its params; it has a place of its own in the row")
    if row.model is not None and row.params.get("tier") is not None:
        raise InputError("has both a model and a tier; give it one of them")
    try:
        request(row.prompt, row.params)
    except TypeError as error:  # a value of a type that no message has at this place
        raise InputError(f"has a prompt that cannot be read: {error}") from error
    _check_call(row.params)


def _check_call(params: Mapping[str, Any]) -> None:
    """Look at the options that are no part of the request; `request` has seen their names and their outer types."""
    within = params.get("deadline_s")
    if within is not None and not (type(within) in (int, float) and 0 < within <= sys.float_info.max):
        raise ConfigError(f"parameter 'deadline_s' is {within!r}; expected a finite number of seconds above 0")
    for model in params.get("fallbacks") or ():
        if not isinstance(model, str) or not model.strip():
            raise ConfigError(f"parameter 'fallbacks' has {model!r}; expected models, e.g. ['provider:model']")


def is_text(text: str) -> bool:
    """Whether a string can be written as UTF-8."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def id_digest(name: str | int) -> int:
    """Return 64 bits that stand for an id; `1` and `"1"` are the same id."""
    return int.from_bytes(blake2b(str(name).encode("utf-8", "surrogatepass"), digest_size=8).digest(), "big") or 1
