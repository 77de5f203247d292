"""A cascade: a cheap model first, and a stronger one where its answer is not good enough."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from ..errors import ConfigError

Check = Callable[[Any], object]


class Cascade(msgspec.Struct, frozen=True, omit_defaults=True):
    """Whom to ask when an answer is not good enough: `to` names models or tiers, one after the other.

    An answer is not good enough when it was cut, filtered or refused, when it is not of the wanted format or type, or
    when `check` says so: it is given the answer (of `extract` the value) and returns True, or False, or the reason as a
    string. The check is a function of yours, called between two requests: it must not wait.

    Raises: ConfigError.
    """

    to: str | tuple[str, ...] | list[str]
    check: Check | None = None

    def __post_init__(self) -> None:
        to: object = self.to
        names = [to] if isinstance(to, str) else to
        if not isinstance(names, list | tuple) or not names:
            raise ConfigError(f"a cascade goes to {to!r}; expected a model, a tier, or a list of them")
        for name in names:
            if not isinstance(name, str) or not name.strip():
                raise ConfigError(f"a cascade goes to {name!r}; expected a model like 'provider:name' or a tier")
        if self.check is not None and not callable(self.check):
            raise ConfigError(f"the check of a cascade is {self.check!r}; expected a function of the answer")

    @property
    def names(self) -> tuple[str, ...]:
        """The models or tiers in their order."""
        return (self.to,) if isinstance(self.to, str) else tuple(self.to)

    def fault(self, value: Any) -> str | None:
        """Ask the check; return why the value is not good enough, None where it is.

        Raises: ConfigError when the check returns neither a bool nor a string.
        """
        if self.check is None:
            return None
        said = self.check(value)
        if said is True:
            return None
        if said is False:
            return "it did not pass the check"
        if isinstance(said, str) and said:
            return said
        raise ConfigError(f"the check of a cascade returned {said!r}; expected True, False, or the reason as a string")
