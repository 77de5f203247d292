"""Which model answers a call, and which others may, in which order and why.

A route is a pure function of the call and the settings. Fallback is for the provider's faults: the same request may
well succeed elsewhere. It is never for the caller's: a request that one provider refuses as wrong is wrong, and after
output was shown nothing may be repeated.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final, TypeGuard, get_args

import msgspec

from ..errors import (
    AuthenticationFailed,
    BreakerOpen,
    ConfigError,
    ConnectionFailed,
    OutcomeUnknown,
    Overloaded,
    PenstockError,
    PermissionDenied,
    QuotaExhausted,
    RateLimited,
    ServerFault,
)
from ..types import Tier

TIERS: Final[tuple[Tier, ...]] = get_args(Tier)

# The account faults are the caller's to mend, but each concerns one provider only: another one can still answer. The
# attempt that failed stays in the log of the call, with its own error code, so that it is seen.
FALLBACK_REASONS: Final[tuple[tuple[type[PenstockError], str], ...]] = (
    (RateLimited, "it is rate limited"),
    (Overloaded, "it is overloaded"),
    (ServerFault, "its server failed"),
    (ConnectionFailed, "it cannot be reached"),
    (OutcomeUnknown, "it did not answer, and may bill the attempt all the same"),
    (BreakerOpen, "its breaker is open"),
    (QuotaExhausted, "its account is out of money: top it up"),
    (AuthenticationFailed, "its key is not accepted: replace it"),
    (PermissionDenied, "its key may not do this: grant it"),
)


class Route(msgspec.Struct, frozen=True, omit_defaults=True):
    """The models to try, first to last, each 'provider:model', and why these.

    Where the router chose: the `tier`, the difficulty `score` of the prompt from 0 to 1, about how many `tokens` it
    has, the models that were `left_out` with why, and whether the first holds the conversation in its prompt cache
    (`warm`).
    """

    candidates: tuple[str, ...]
    reason: str
    tier: Tier | None = None
    score: float | None = None
    tokens: int | None = None
    left_out: tuple[tuple[str, str], ...] = ()
    warm: bool = False


class Router:
    """Turns what a call asks for into a route.

    `tiers` maps a tier to a model, or to several of which the later ones are fallbacks. `fallbacks` is one chain for
    every model, or a chain for each first choice. `default` is for calls that name neither model nor tier. `resolve`
    gives a model its full name, 'provider:model', and may raise; all names pass through it.

    Raises: ConfigError for a tier that does not exist or names no model.
    """

    def __init__(
        self,
        tiers: Mapping[Tier, str | Sequence[str]] | None = None,
        fallbacks: Mapping[str, Sequence[str]] | Sequence[str] = (),
        default: str | None = None,
        *,
        resolve: Callable[[str], str] = str,
    ) -> None:
        self._resolve = resolve
        self._tiers: dict[Tier, tuple[str, ...]] = {}
        for tier, models in (tiers or {}).items():
            if tier not in TIERS:
                raise ConfigError(f"tiers: {tier!r} is no tier; tiers are {', '.join(TIERS)}")
            self._tiers[tier] = self._chain(f"tiers.{tier}", models)
            if not self._tiers[tier]:
                raise ConfigError(f"tiers.{tier} names no model; give one like 'anthropic:claude-haiku-4-5'")
        self._by_model: dict[str, tuple[str, ...]] = {}
        self._general: tuple[str, ...] = ()
        if isinstance(fallbacks, Mapping):
            for model, models in fallbacks.items():
                (name,) = self._chain("fallbacks", model)
                self._by_model[name] = self._chain(f"fallbacks.{model}", models)
        else:
            self._general = self._chain("fallbacks", fallbacks)
        self._default = None if default is None else self._chain("default", default)[0]

    def route(self, model: str | None = None, tier: Tier | None = None) -> Route:
        """Choose the models for a call; an explicit model wins over a tier, a tier over the default.

        Raises: ConfigError when nothing names a model, or the tier is unknown or has none.
        """
        if model is not None:
            (first,) = chosen = self._chain("model", model)
            why = f"model {first} was asked for" + (f", which overrules tier {tier!r}" if tier else "")
        elif tier is not None:
            chosen = self.of_tier(tier)
            why = f"tier {tier!r} is {chosen[0]}"
        elif self._default is not None:
            chosen = (self._default,)
            why = f"{self._default} is the default"
        else:
            raise ConfigError("No model: pass model='provider:name' or a tier, or set a default model in the settings.")
        candidates = _unique((*chosen, *self.after(chosen[0])))
        fallbacks = ", then ".join(candidates[1:])
        told = f"{why}; fallbacks: {fallbacks}" if fallbacks else f"{why}; no fallbacks"
        return Route(candidates, told, tier=tier if model is None else None)

    def after(self, model: str) -> tuple[str, ...]:
        """Return the fallbacks of a first choice."""
        return self._by_model.get(model, self._general)

    def tiers(self) -> Mapping[Tier, tuple[str, ...]]:
        """Return the tiers that have a model, with their models."""
        return self._tiers

    def tier_of(self, model: str) -> Tier | None:
        """Return the highest tier that a model is of."""
        return next((tier for tier in reversed(TIERS) if model in self._tiers.get(tier, ())), None)

    def strongest(self) -> str:
        """Return the model of the highest tier that has one.

        Raises: ConfigError when no tier has one.
        """
        return self.of_tier(next((tier for tier in reversed(TIERS) if tier in self._tiers), TIERS[-1]))[0]

    def table(self) -> tuple[object, ...]:
        """Return all that decides a route, for comparing."""
        return (self._tiers, self._by_model, self._general, self._default)

    def of_tier(self, tier: Tier) -> tuple[str, ...]:
        """Return the models of a tier.

        Raises: ConfigError for one that does not exist or has none.
        """
        if tier not in TIERS:
            raise ConfigError(f"{tier!r} is no tier; tiers are {', '.join(TIERS)}")
        if tier not in self._tiers:
            raise ConfigError(
                f"Tier {tier!r} has no model: set one with tiers={{{tier!r}: 'provider:model'}} or, in penstock.toml,"
                f" under [tiers] with {tier} = 'provider:model'."
            )
        return self._tiers[tier]

    def _chain(self, place: str, models: object) -> tuple[str, ...]:
        """Check a setting that names one model or several, and resolve the names."""
        names = [models] if isinstance(models, str) else models
        if not isinstance(names, Sequence):
            raise ConfigError(f"{place}: {models!r} is neither a model nor a list of models")
        for name in names:
            if not isinstance(name, str) or not name.strip():
                raise ConfigError(f"{place}: {name!r} is not the name of a model; write it as 'provider:model'")
        return _unique(self._resolve(name.strip()) for name in names)


def is_tier(name: str) -> TypeGuard[Tier]:
    """Whether a name is that of a tier."""
    return name in TIERS


def fallback_reason(error: PenstockError) -> str | None:
    """Say why the next candidate of a route may be tried after an error; None when it may not.

    It is asked when retries at the same candidate are used up. The words complete "<provider:model> was left because".
    """
    for kind, reason in FALLBACK_REASONS:
        if isinstance(error, kind):
            return reason
    return None


def falls_back(error: PenstockError) -> bool:
    """Whether the next candidate of a route may be tried after an error."""
    return fallback_reason(error) is not None


def _unique(names: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(names))
