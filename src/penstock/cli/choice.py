"""Which model a command uses when none is named, and what to tell somebody who has no key yet."""

from __future__ import annotations

import difflib
import re
from collections.abc import Sequence
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final

import click

from .._wire.registry import resolve
from ..errors import ConfigError, MissingKey
from ..types import to_nano

if TYPE_CHECKING:
    from .._io.settings import Settings
    from .._policy.budget import Budget

DEFAULTS: Final = {
    "anthropic": "claude-haiku-4-5",
    "openai": "gpt-4o-mini",
    "groq": "llama-3.3-70b-versatile",
    "mistral": "mistral-small-latest",
    "deepseek": "deepseek-chat",
}
"""A cheap, quick model of each of the common providers, in the order in which their keys are looked for."""

NO_KEY: Final = (
    "no model to ask: no API key is set. Set one and ask again, as in\n"
    "  export OPENAI_API_KEY=...      or ANTHROPIC_API_KEY=..., or a line in .env\n"
    "or try it without a key: run `penstock sim` in another terminal and paste the two lines that it prints here."
)


def default_model(settings: Settings) -> str:
    """Return the model of the settings, else a cheap one of the first provider that has a key.

    Raises: MissingKey saying how to set one, or how to do without.
    """
    if settings.file.model:
        return settings.file.model
    for name, model in DEFAULTS.items():
        provider = settings.providers.get(name)
        if provider is not None and has_key(settings, name):
            return f"{name}:{model}"
    for name in settings.providers:
        if has_key(settings, name) and not settings.providers[name].local:
            raise ConfigError(f"say which model of {name} to ask: -m {name}:MODEL")
    raise MissingKey(NO_KEY)


def weighed(models: Sequence[str]) -> dict[str, float]:
    """Read models with their weights: 'a=3' has three times the calls of 'b'.

    Raises: ConfigError for a weight that is none, and for a model that is named twice.
    """
    found: dict[str, float] = {}
    for model in models:
        name, mark, weight = model.rpartition("=")
        if not mark:
            name, weight = model, "1"
        if not (_PLAIN.fullmatch(weight) and 0 < float(weight) < DOLLARS_MAX):
            raise ConfigError(f"-m {model} has the weight {weight!r}; expected a number above 0, as in -m {name}=3")
        if name in found:
            raise ConfigError(f"-m {name} is named twice; give it a weight instead, as in -m {name}=2")
        found[name] = float(weight)
    return found


def has_key(settings: Settings, name: str) -> bool:
    """Whether a provider's key is set, or it needs none."""
    try:
        settings.key(settings.providers[name])
    except MissingKey:
        return False
    return True


NEAR: Final = 0.8
"""How alike two names of models are when one is likely a misspelling of the other."""

_PLAIN: Final = re.compile(r"-?(?:\d+(?:\.\d*)?|\.\d+)", re.ASCII)
"""A decimal number as people write it: no exponent, no digits of other scripts, no underscores."""

DOLLARS_MAX: Final = 10**12
"""More than anybody spends, and few enough digits to compute with."""


class Calls(click.ParamType["int | str"]):
    """A number of calls at once, or 'auto'."""

    name = "calls"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int | str:
        """Read it, or say what is wrong with it."""
        text = str(value).strip()
        if text == "auto":
            return text
        if not (text.isascii() and text.isdigit() and 0 < int(text) < 10**9):
            self.fail(f"{value!r} is neither 'auto' nor a whole number of at least 1.", param, ctx)
        return int(text)


class Dollars(click.ParamType[Decimal]):
    """An amount above 0, with or without its sign."""

    name = "dollars"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Decimal:
        """Read it, or say what is wrong with it."""
        text = str(value).strip().removeprefix("$")
        amount = Decimal(text) if _PLAIN.fullmatch(text) else Decimal(0)
        if not 0 < amount <= DOLLARS_MAX or to_nano(amount) == 0:
            self.fail(f"{value!r} is no amount of dollars above 0; write it like 0.50", param, ctx)
        return amount


class Number(click.ParamType[float]):
    """A finite number; above 0, or at least 0, or at most something, where told."""

    name = "float"

    def __init__(self, *, positive: bool = False, least: float = float("-inf"), most: float = float("inf")) -> None:
        self._positive = positive
        self._least = least
        self._most = most

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Read it, or say what is wrong with it."""
        text = str(value).strip()
        number = float(text) if _PLAIN.fullmatch(text) else float("nan")
        fits = self._least <= number <= self._most and abs(number) < float("inf")
        if not fits or (self._positive and number <= 0):
            self.fail(f"{value!r} is no finite number{self._range()}", param, ctx)
        return number

    def _range(self) -> str:
        if self._positive:
            return " above 0"
        if self._most < float("inf"):
            return f" from {self._least:,g} to {self._most:,.0f}"
        return f" of at least {self._least:g}" if self._least > float("-inf") else ""


def budget_of(dollars: Decimal | None) -> Budget | None:
    """Turn the option --budget into a cap on the whole command; all other caps of the settings hold beside it.

    Where a file keeps the total of many commands, that one holds as well.
    """
    if dollars is None:
        return None
    import msgspec

    from .._io.settings import load
    from .._policy.budget import Budget

    budget = load().budget or Budget()
    return msgspec.structs.replace(budget, **{"per_client" if budget.file else "total": dollars})


def meant(settings: Settings, model: str) -> str:
    """Say which known model was probably meant by one that its provider does not know; empty when none is near."""
    provider, name = resolve(model, settings.providers)
    shelf = provider.prices or provider.owner
    known = [found for owner, found in settings.prices.names() if owner == shelf and found != name]
    near = difflib.get_close_matches(name, known, n=1, cutoff=NEAR)
    return f"did you mean {provider.name}:{near[0]}?" if near else ""
