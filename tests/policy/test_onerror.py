"""What may be done about an error, by its class, and what of a policy is refused because it could not help."""

from __future__ import annotations

from typing import Any

import pytest

from penstock import ErrorPolicy, errors
from penstock._policy.onerror import STEPS, USUAL, usual
from penstock._policy.routing import falls_back
from penstock.errors import ConfigError

from .test_routing import made, own_errors


@pytest.mark.parametrize("cls", own_errors(), ids=lambda cls: cls.code)
def test_without_a_rule_an_error_takes_its_usual_steps(cls: type[errors.PenstockError]) -> None:
    """Retry where the same can help, fall back where another lane can, and always fail at last."""
    error = made(cls)
    steps = usual(error)
    assert USUAL.steps(error) == steps
    assert ("retry" in steps) is error.retriable
    assert ("fall_back" in steps) is falls_back(error)
    assert steps[-1] == "fail"
    assert list(steps) == [step for step in STEPS if step in steps]
    assert USUAL.falls_back(error) is falls_back(error)


def test_a_rule_takes_the_place_of_the_usual_steps() -> None:
    """Also for subclasses that have none of their own."""
    policy = ErrorPolicy({"rate_limited": "fall_back", "outcome_unknown": "fail", "idle_timeout": ["retry"]})
    assert policy.steps(made(errors.RateLimited)) == ("fall_back", "fail")
    assert not policy.retries(made(errors.RateLimited))
    assert policy.steps(made(errors.TotalTimeout)) == ("fail",)
    assert policy.steps(made(errors.IdleTimeout)) == ("retry", "fail")
    assert policy.steps(made(errors.Overloaded)) == usual(made(errors.Overloaded))


def test_a_step_may_be_added_where_it_can_help() -> None:
    """Another model may have the larger window, or the cheaper price, or fewer scruples."""
    policy = ErrorPolicy(
        {
            "context_too_long": ["reduce_context", "fall_back"],
            "budget_exceeded": "fall_back",
            "content_filtered": "fall_back",
            "not_found": "fall_back",
        }
    )
    for cls in (errors.ContextTooLong, errors.BudgetExceeded, errors.ContentFiltered, errors.NotFound):
        assert policy.falls_back(made(cls))
    assert policy.reduces(made(errors.ContextTooLong))


@pytest.mark.parametrize(
    ("rules", "said"),
    [
        ({"rate_limit": "fail"}, "no error has the code 'rate_limit'; did you mean 'rate_limited'"),
        ({5: "fail"}, "no error has the code 5"),
        ({"overloaded": "wait"}, "on_error.overloaded is 'wait'; expected one or some of retry, reduce_context"),
        ({"overloaded": []}, "on_error.overloaded is"),
        ({"overloaded": 7}, "on_error.overloaded is 7"),
        ({"not_found": "retry"}, "'retry' cannot help"),
        ({"rate_limited": "reduce_context"}, "'reduce_context' cannot help"),
        ({"stream_interrupted": "fall_back"}, "'fall_back' cannot help"),
        ({"deadline_exceeded": "fall_back"}, "'fall_back' cannot help"),
        ({"config": "fall_back"}, "'fall_back' cannot help"),
        ("retry", "expected a dict"),
    ],
)
def test_a_policy_that_could_not_help_is_refused(rules: Any, said: str) -> None:
    """When it is made, and not when the error comes."""
    with pytest.raises(ConfigError, match=said):
        ErrorPolicy(rules)


def test_policies_compare_by_their_rules() -> None:
    """And show them."""
    one, other = ErrorPolicy({"overloaded": "fail"}), ErrorPolicy({"overloaded": ["fail"]})
    assert one == other
    assert hash(one) == hash(other)
    assert one != USUAL
    assert "overloaded" in repr(one)
