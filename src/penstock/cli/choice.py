"""Which model a command uses when none is named, and what to tell somebody who has no key yet."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Final

from ..errors import ConfigError, MissingKey

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


def has_key(settings: Settings, name: str) -> bool:
    """Whether a provider's key is set, or it needs none."""
    try:
        settings.key(settings.providers[name])
    except MissingKey:
        return False
    return True


def budget_of(dollars: str | None) -> Budget | None:
    """Turn the option --budget into a cap on the whole command.

    Raises: ConfigError when it is no amount above 0.
    """
    if dollars is None:
        return None
    from .._policy.budget import Budget

    budget = Budget(total=dollars.strip().removeprefix("$"))
    if Decimal(str(budget.total)) == 0:
        raise ConfigError("--budget is 0 dollars, so nothing could be sent; give an amount such as 0.50")
    return budget
