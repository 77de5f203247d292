"""Routes: which models are tried, in which order, why, and after which errors."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock import errors
from penstock._policy.routing import Router, fallback_reason, falls_back
from penstock.errors import ConfigError, PenstockError
from penstock.types import Response

FALLS_BACK = {
    "rate_limited",
    "overloaded",
    "server_fault",
    "connection",
    "outcome_unknown",
    "first_token_timeout",
    "idle_timeout",
    "total_timeout",
    "breaker_open",
    "quota_exhausted",
    "authentication",
    "permission",
}


def made(cls: type[PenstockError]) -> PenstockError:
    """An error of any class of the tree."""
    facts: dict[str, Any] = {}
    if issubclass(cls, errors.BudgetExceeded):
        facts = {"scope": "total", "cap_nano": 1, "spent_nano": 1, "held_nano": 0, "needed_nano": 1}
    elif issubclass(cls, errors.BreakerOpen):
        facts = {"lane": "openai:gpt-5"}
    elif issubclass(cls, errors.DeadlineExceeded):
        facts = {"deadline_s": 1.0}
    elif issubclass(cls, errors.StreamInterrupted | errors.TruncatedOutput | errors.ModelRefused):
        facts = {"partial": Response(provider="openai", model="gpt-5")}
    elif issubclass(cls, errors.InputRejected):
        facts = {"index": 0}
    elif issubclass(cls, errors.ExtractionFailed):
        facts = {"text": "", "reasons": (), "responses": ()}
    elif issubclass(cls, errors.CheckFailed):
        facts = {"reasons": (), "responses": ()}
    return cls("it failed", **facts)


def own_errors() -> list[type[PenstockError]]:
    return [cls for cls in errors.all_errors() if cls.__module__.startswith("penstock")]


@pytest.mark.prove(17)
@pytest.mark.parametrize("cls", own_errors(), ids=lambda cls: cls.code)
def test_fallback_is_for_the_providers_faults(cls: type[PenstockError]) -> None:
    """Every class of the tree either falls back with a reason or does not; a new class must be decided here."""
    error = made(cls)
    assert falls_back(error) is (cls.code in FALLS_BACK)
    assert (fallback_reason(error) is not None) is (cls.code in FALLS_BACK)


@pytest.mark.prove(17)
@pytest.mark.parametrize(
    "cls",
    [
        errors.InvalidRequest,
        errors.ContextTooLong,
        errors.NotFound,
        errors.ContentFiltered,
        errors.StreamInterrupted,
        errors.TruncatedOutput,
        errors.BudgetExceeded,
        errors.DeadlineExceeded,
        errors.LimitExceeded,
    ],
)
def test_the_callers_faults_never_fall_back(cls: type[PenstockError]) -> None:
    """A wrong request, an empty budget, a passed deadline and shown output end the call."""
    assert not falls_back(made(cls))


@pytest.mark.parametrize(
    ("cls", "said"),
    [
        (errors.QuotaExhausted, "top it up"),
        (errors.AuthenticationFailed, "replace it"),
        (errors.PermissionDenied, "grant it"),
        (errors.TotalTimeout, "may bill"),
    ],
)
def test_a_fallback_that_needs_attention_says_so(cls: type[PenstockError], said: str) -> None:
    """Account faults of one provider fall back, and the reason tells what to mend; an unknown outcome may be billed."""
    assert said in (fallback_reason(made(cls)) or "")


def test_an_explicit_model_wins() -> None:
    """A model that the call names overrules its tier and the default."""
    router = Router({"simple": "openai:gpt-5-nano"}, default="openai:gpt-5")
    route = router.route("anthropic:claude-haiku-4-5", "simple")
    assert route.candidates == ("anthropic:claude-haiku-4-5",)
    assert route.reason == "model anthropic:claude-haiku-4-5 was asked for, which overrules tier 'simple'; no fallbacks"
    assert router.route("groq:x").reason == "model groq:x was asked for; no fallbacks"


def test_a_tier_wins_over_the_default() -> None:
    """A tier gives its models in order: the first answers, the others are fallbacks."""
    router = Router({"complex": ["a:big", "b:big"], "simple": "a:small"}, default="openai:gpt-5")
    assert router.route(tier="complex").candidates == ("a:big", "b:big")
    assert router.route(tier="complex").reason == "tier 'complex' is a:big; fallbacks: b:big"
    assert router.route(tier="simple").candidates == ("a:small",)
    assert router.route().candidates == ("openai:gpt-5",)
    assert router.route().reason == "openai:gpt-5 is the default; no fallbacks"


def test_a_general_chain_follows_every_model() -> None:
    """One chain of fallbacks serves all, without repeating a model."""
    router = Router({"complex": ["a:big", "b:big"]}, fallbacks=["b:big", "c:big", "c:big"])
    assert router.route("x:y").candidates == ("x:y", "b:big", "c:big")
    assert router.route(tier="complex").candidates == ("a:big", "b:big", "c:big")
    assert router.route("c:big").candidates == ("c:big", "b:big")
    assert router.route("x:y").reason.endswith("fallbacks: b:big, then c:big")


def test_a_chain_for_each_model() -> None:
    """Where fallbacks are given by model, only the first choice's chain is followed."""
    router = Router(fallbacks={"a:x": ["b:x"], "b:x": ["c:x"]})
    assert router.route("a:x").candidates == ("a:x", "b:x")
    assert router.route("z:x").candidates == ("z:x",)


def test_names_are_resolved_everywhere() -> None:
    """Bare names get their provider in tiers, fallbacks (keys too), default and calls, so that duplicates are seen."""

    def resolve(name: str) -> str:
        return name if ":" in name else f"openai:{name}"

    router = Router({"simple": "mini"}, {"mini": ["openai:mini", "big"]}, "nano", resolve=resolve)
    assert router.route(tier="simple").candidates == ("openai:mini", "openai:big")
    assert router.route().candidates == ("openai:nano",)
    assert router.route(" mini ").candidates == ("openai:mini", "openai:big")


def test_a_call_that_names_nothing_is_told_how() -> None:
    """Without model, tier and default there is nothing to guess."""
    with pytest.raises(ConfigError, match="pass model='provider:name' or a tier"):
        Router().route()


def test_a_tier_without_a_model_says_how_to_set_it() -> None:
    """The error shows both places where a tier is set."""
    with pytest.raises(ConfigError, match=r"tiers=\{'expert': 'provider:model'\}.*\[tiers\]"):
        Router({"simple": "a:x"}, default="a:x").route(tier="expert")


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"tiers": {"easy": "a:x"}}, "'easy' is no tier; tiers are simple, moderate, complex, expert"),
        ({"tiers": {"simple": []}}, "tiers.simple names no model"),
        ({"tiers": {"simple": ""}}, "tiers.simple: ''"),
        ({"tiers": {"simple": 5}}, "tiers.simple: 5 is neither"),
        ({"tiers": {"simple": ["a:x", None]}}, "tiers.simple: None"),
        ({"fallbacks": {"a:x": [""]}}, "fallbacks.a:x: ''"),
        ({"fallbacks": 7}, "fallbacks: 7 is neither"),
        ({"default": " "}, "default: ' '"),
    ],
)
def test_wrong_settings_are_named(settings: dict[str, Any], said: str) -> None:
    """One sentence says which setting is wrong."""
    with pytest.raises(ConfigError) as caught:
        Router(**settings)
    assert said in str(caught.value)


def test_wrong_calls_are_named() -> None:
    """An empty model and an unknown tier are the caller's to fix."""
    router = Router({"simple": "a:x"})
    with pytest.raises(ConfigError, match="model: ''"):
        router.route("")
    unknown: Any = "hard"
    with pytest.raises(ConfigError, match="'hard' is no tier"):
        router.route(tier=unknown)


model_names = st.sampled_from(["a:1", "a:2", "b:1", "b:2", "c:1"])
chains = st.lists(model_names, max_size=5)


@pytest.mark.prove(17)
@given(st.lists(model_names, min_size=1, max_size=4), chains | st.dictionaries(model_names, chains), st.booleans())
def test_routes_are_pure_ordered_and_without_duplicates(chosen: list[str], fallbacks: Any, explicit: bool) -> None:
    """The same question gives the same route: first choice first, each model once, and the reason names it."""
    router = Router({"simple": chosen}, fallbacks)
    route = router.route(chosen[0]) if explicit else router.route(tier="simple")
    again = router.route(chosen[0]) if explicit else router.route(tier="simple")
    chain = fallbacks.get(chosen[0], []) if isinstance(fallbacks, dict) else fallbacks
    expected = [chosen[0], *chain] if explicit else [*chosen, *chain]
    assert route == again
    assert list(route.candidates) == list(dict.fromkeys(expected))
    assert chosen[0] in route.reason
