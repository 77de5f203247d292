"""What may be done about a failed attempt, by the class of its error: retry, reduce the context, fall back, or fail.

The order of the steps is that of a call and not a choice: an attempt is retried at its lane, then its prompt is made
shorter, then the next lane is asked, then the call fails. A policy says which of them a class may take. What would
repeat shown output or help nobody is refused when the policy is made.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Literal, get_args

from .. import errors
from ..errors import ConfigError, PenstockError
from .routing import falls_back

Step = Literal["retry", "reduce_context", "fall_back", "fail"]
STEPS: Final[tuple[Step, ...]] = get_args(Step)

REDUCIBLE: Final = (errors.ContextTooLong, errors.RequestTooLarge, errors.LimitExceeded)
"""What a shorter prompt can help."""

_NEVER_ELSEWHERE: Final = (
    errors.StreamInterrupted,
    errors.TruncatedOutput,
    errors.ModelRefused,
    errors.InputRejected,
    errors.DeadlineExceeded,
    errors.BudgetUnavailable,
)
"""Output that was shown, time that is up, and what is no answer of an attempt: no other lane can help."""


class ErrorPolicy:
    """Which steps an error class may take, by its code, where that is not what the table of errors says.

        ErrorPolicy({"rate_limited": "fall_back", "context_too_long": ["reduce_context", "fall_back"]})

    A rule holds for the subclasses as well, unless they have their own. 'reduce_context' needs `truncate`, which says
    what to leave out. A rule can take steps away from any class; it can add none that could not help.

    Raises: ConfigError.
    """

    __slots__ = ("_rules",)

    def __init__(self, rules: Mapping[str, Step | list[Step] | tuple[Step, ...]] | None = None) -> None:
        given: object = rules or {}
        if not isinstance(given, Mapping):
            raise ConfigError(f"an error policy is {given!r}; expected a dict like {{'rate_limited': 'fall_back'}}")
        classes = {cls.code: cls for cls in errors.all_errors()} if given else {}
        self._rules = {code: _steps(code, said, classes) for code, said in given.items()}

    def steps(self, error: PenstockError) -> tuple[Step, ...]:
        """Return the steps that may be taken for an error, in their order; 'fail' is what is left."""
        for cls in type(error).__mro__:
            if issubclass(cls, PenstockError) and cls.code in self._rules:
                return self._rules[cls.code]
        return usual(error)

    def retries(self, error: PenstockError) -> bool:
        """Whether the retry policy may be asked."""
        return not self._rules or "retry" in self.steps(error)

    def reduces(self, error: PenstockError) -> bool:
        """Whether the prompt may be made shorter."""
        return "reduce_context" in self.steps(error)

    def falls_back(self, error: PenstockError) -> bool:
        """Whether the next lane may be asked."""
        return falls_back(error) if not self._rules else "fall_back" in self.steps(error)

    def __repr__(self) -> str:
        return f"ErrorPolicy({self._rules!r})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ErrorPolicy) and other._rules == self._rules

    def __hash__(self) -> int:
        return hash(tuple(sorted(self._rules.items())))


def usual(error: PenstockError) -> tuple[Step, ...]:
    """Return the steps for an error where no rule says otherwise."""
    found: list[Step] = []
    if error.retriable:
        found.append("retry")
    if isinstance(error, REDUCIBLE):
        found.append("reduce_context")
    if falls_back(error):
        found.append("fall_back")
    return (*found, "fail")


def _steps(code: object, said: object, classes: Mapping[str, type[PenstockError]]) -> tuple[Step, ...]:
    cls = classes.get(str(code))
    if cls is None:
        import difflib

        near = difflib.get_close_matches(str(code), classes, n=1)
        hint = f"did you mean {near[0]!r}?" if near else "codes are in docs/reference/errors.md"
        raise ConfigError(f"on_error: no error has the code {code!r}; {hint}")
    wanted = [said] if isinstance(said, str) else said
    if not isinstance(wanted, list | tuple) or not wanted or not all(step in STEPS for step in wanted):
        raise ConfigError(f"on_error.{code} is {said!r}; expected one or some of {', '.join(STEPS)}")
    if "retry" in wanted and not cls.retriable:
        raise ConfigError(f"on_error.{code}: 'retry' cannot help: the same request fails again")
    if "reduce_context" in wanted and not issubclass(cls, REDUCIBLE):
        raise ConfigError(f"on_error.{code}: 'reduce_context' cannot help: the length is not what is wrong")
    attempted = issubclass(cls, errors.CallError | errors.Refused) and not issubclass(cls, _NEVER_ELSEWHERE)
    if "fall_back" in wanted and not attempted:
        raise ConfigError(f"on_error.{code}: 'fall_back' cannot help: no other model could do better")
    return tuple(step for step in STEPS if step in wanted or step == "fail")


USUAL: Final = ErrorPolicy()
