"""How the router chooses: tier, size, obstacles, warm caches; each step in the reason."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock._policy.choosing import NEEDS, Asked, Judged, ModelFacts, Picks, Routing, choose, named
from penstock._policy.routing import TIERS, Router
from penstock._policy.warmth import LEAST_TOKENS, MOST_CONVERSATIONS, Warmth
from penstock.errors import ConfigError
from penstock.types import Tier, Usage

ROUTER = Router({"simple": ["a:small", "b:small"], "complex": "a:big", "expert": "b:huge"}, fallbacks=["c:spare"])
FACTS = {
    "a:small": ModelFacts(context=1_000, lacks=("image",), region="us"),
    "b:small": ModelFacts(context=4_000, region="eu"),
    "a:big": ModelFacts(context=100_000, lacks=("tools",), region="us"),
    "b:huge": ModelFacts(region="eu"),
}


def facts(model: str) -> ModelFacts:
    """What is known here."""
    return FACTS.get(model, ModelFacts())


def asked(tier: Tier = "simple", **more: Any) -> Asked:
    """A call whose prompt is judged to be of a tier."""
    return Asked(**{"tokens": 10, "judge": lambda: Judged(tier, f"it looks {tier}"), **more})


def route(tier: Tier = "simple", *, routing: Routing | None = None, **more: Any) -> Any:
    """The route of such a call."""
    return choose(ROUTER, routing or Routing(), asked(tier, **more), facts)


@pytest.mark.prove(17)
def test_the_tier_of_the_prompt_chooses_and_says_why() -> None:
    """Its models first, the general fallbacks after them."""
    found = route()
    assert found.candidates == ("a:small", "b:small", "c:spare")
    assert (found.tier, found.tokens, found.left_out) == ("simple", 10, ())
    assert found.reason == ("it looks simple; a:small of tier 'simple' answers; fallbacks: b:small, then c:spare")


def test_a_tier_without_a_model_is_taken_by_the_next() -> None:
    """The next above, and where there is none the next below."""
    found = route("moderate")
    assert found.candidates[0] == "a:big"
    assert "tier 'moderate' has no model, so tier 'complex' takes it" in found.reason
    below = choose(Router({"simple": "a:small"}), Routing(), asked("expert"), facts)
    assert below.candidates == ("a:small",)
    assert "tier 'expert' has no model, so tier 'simple' takes it" in below.reason


@pytest.mark.prove(17)
@pytest.mark.parametrize(
    ("more", "first", "left_out", "said"),
    [
        ({"tokens": 3_000}, "b:small", ("a:small",), "has a window of 1,000 tokens, and this takes about 3,000"),
        ({"tokens": 900, "output": 200}, "b:small", ("a:small",), "takes about 1,100"),
        ({"tokens": 9_000}, "a:big", ("a:small", "b:small"), "window of 4,000"),
        ({"needs": frozenset({"image"})}, "b:small", ("a:small",), "takes no images"),
        ({"region": "eu"}, "b:small", ("a:small", "c:spare"), "is not known to run in 'eu': it runs in 'us'"),
        ({"tokens": 9_000, "needs": frozenset({"tools"})}, "b:huge", ("a:small", "b:small", "a:big"), "takes no tools"),
    ],
)
def test_a_model_that_cannot_take_the_call_is_left_out(
    more: dict[str, Any], first: str, left_out: tuple[str, ...], said: str
) -> None:
    """By window, modality, tools and region; then the next of its tier, then the next tier."""
    found = route(**more)
    assert found.candidates[0] == first
    assert tuple(model for model, _ in found.left_out) == left_out
    assert said in " ".join(why for _, why in found.left_out)


def test_a_call_that_nobody_can_take_says_why_of_each() -> None:
    """No model is asked in vain."""
    with pytest.raises(ConfigError, match=r"no model of tier 'expert' or above.*b:huge is not known to run in 'us'"):
        route("expert", region="us")
    with pytest.raises(ConfigError, match="no tier has a model"):
        choose(Router(), Routing(), asked(), facts)


def test_a_named_tier_or_task_overrules_the_prompt() -> None:
    """The judge is not asked."""

    def judge() -> Judged:
        raise AssertionError("it was asked")

    assert route(tier="complex").candidates[0] == "a:big"
    assert choose(ROUTER, Routing(), Asked(tokens=1, tier="expert", judge=judge), facts).tier == "expert"
    tasks = Routing(tasks={"summary": "complex"})
    found = choose(ROUTER, tasks, Asked(tokens=1, task="summary", judge=judge), facts)
    assert found.candidates[0] == "a:big"
    assert found.reason.startswith("task 'summary' is complex")
    with pytest.raises(ConfigError, match=r"no task 'sumary' \(known: summary\)"):
        choose(ROUTER, tasks, Asked(tokens=1, task="sumary", judge=judge), facts)


def test_a_long_prompt_is_raised_to_a_tier() -> None:
    """By its tokens; a tier that was named is obeyed."""
    sizes = Routing(sizes={"complex": 500, "expert": 50_000})
    assert route(routing=sizes, tokens=499).tier == "simple"
    found = route(routing=sizes, tokens=500)
    assert found.tier == "complex"
    assert "about 500 tokens are complex from 500 on" in found.reason
    assert route(routing=sizes, tokens=60_000).tier == "expert"
    assert route("expert", routing=sizes, tokens=500).tier == "expert"
    named_tier = choose(ROUTER, sizes, Asked(tokens=600, tier="simple", judge=asked().judge), facts)
    assert named_tier.tier == "simple"


def test_a_conversation_stays_with_the_model_whose_cache_is_warm() -> None:
    """Also with a stronger one; not where a stronger one is needed, nor where it cannot take the call."""
    found = route(warm="a:big")
    assert (found.candidates[:2], found.warm) == (("a:big", "a:small"), True)
    assert "a:big holds this conversation in its prompt cache" in found.reason
    assert route("complex", warm="a:small").candidates[0] == "a:big"
    assert route(warm="a:big", needs=frozenset({"tools"})).candidates[0] == "a:small"
    assert route(warm="x:gone").candidates[0] == "a:small"
    same = route(warm="a:small")
    assert same.warm
    assert "prompt cache" not in same.reason


def test_a_named_model_is_held_to_its_region() -> None:
    """And so are its fallbacks; in all else it is obeyed."""
    own = ROUTER.route("b:small")
    assert named(own, asked(region=None), facts) == own
    held = named(own, asked(region="eu"), facts)
    assert held.candidates == ("b:small",)
    assert held.left_out[0][0] == "c:spare"
    with pytest.raises(ConfigError, match=r"a:big is not known to run in 'eu': it runs in 'us'; name another"):
        named(ROUTER.route("a:big"), asked(region="eu"), facts)


@pytest.mark.prove(17)
@given(
    st.sampled_from(TIERS),
    st.integers(0, 200_000),
    st.sets(st.sampled_from(NEEDS)),
    st.sampled_from([None, "eu", "us"]),
    st.sampled_from([None, "a:small", "a:big", "b:huge"]),
)
def test_a_route_is_pure_and_no_model_of_it_cannot_take_the_call(
    tier: Tier, tokens: int, needs: set[Any], region: str | None, warm: str | None
) -> None:
    """The same question gives the same route; each candidate is there once and fits; the reason names the first."""
    more: dict[str, Any] = {"tokens": tokens, "needs": frozenset(needs), "region": region, "warm": warm}
    try:
        found = route(tier, **more)
    except ConfigError:
        return
    assert found == route(tier, **more)
    assert len(set(found.candidates)) == len(found.candidates)
    assert found.candidates[0] in found.reason
    for model in found.candidates:
        known = facts(model)
        assert known.context is None or tokens <= known.context
        assert not needs & set(known.lacks)
        assert region is None or known.region == region


CALLS = st.builds(
    lambda tier, named, **more: asked(tier, **more) if not named else Asked(tier=tier, judge=asked().judge, **more),
    tier=st.sampled_from(TIERS),
    named=st.booleans(),
    tokens=st.sampled_from([0, 900, 1_000, 1_001, 3_999, 4_001, 100_001]),
    output=st.sampled_from([0, 1, 200]),
    needs=st.frozensets(st.sampled_from(NEEDS)),
    region=st.sampled_from([None, "eu", "us"]),
    warm=st.sampled_from([None, "a:small", "a:big", "b:huge", "x:gone"]),
)


@given(st.lists(CALLS, min_size=2, max_size=12))
def test_what_earlier_calls_found_changes_no_route(calls: list[Asked]) -> None:
    """Whatever came before: the same route, or the same refusal."""

    def outcome(call: Asked, picks: Picks | None = None) -> object:
        try:
            return choose(ROUTER, Routing(), call, facts, picks)
        except ConfigError as error:
            return error.message

    picks: Picks = {}
    assert [outcome(call, picks) for call in calls * 2] == [outcome(call) for call in calls * 2]


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"rule": "magic"}, "routing.rule is 'magic'"),
        ({"thresholds": (0.5, 0.4, 0.9)}, "three rising numbers"),
        ({"thresholds": (0.5,)}, "three rising numbers"),
        ({"thresholds": (0.1, 0.2, 7)}, "three rising numbers"),
        ({"tasks": {"x": "hard"}}, "routing.tasks: 'hard' is no tier"),
        ({"sizes": {"hard": 5}}, "routing.sizes: 'hard' is no tier"),
        ({"sizes": {"expert": 0}}, "routing.sizes.expert is 0"),
        ({"models": {"a:b": {"context": 5}}}, "expected a ModelFacts"),
        ({"sticky_s": -1}, "routing.sticky_s is -1"),
        ({"sticky_s": float("nan")}, "routing.sticky_s is nan"),
    ],
)
def test_wrong_settings_are_named(settings: dict[str, Any], said: str) -> None:
    """One sentence says which and what was expected."""
    with pytest.raises(ConfigError, match=said):
        Routing(**settings)


@pytest.mark.parametrize(
    ("settings", "said"),
    [({"context": 0}, "context of a model is 0"), ({"lacks": ("smell",)}, "smell"), ({"lacks": "image"}, "'image'")],
)
def test_wrong_facts_are_named(settings: dict[str, Any], said: str) -> None:
    """Of a model."""
    with pytest.raises(ConfigError, match=said):
        ModelFacts(**settings)


LONG = Usage(input=LEAST_TOKENS)


def test_warmth_lasts_as_long_as_the_cache() -> None:
    """And is renewed by each answer."""
    warmth = Warmth()
    warmth.noticed(0.0, b"c", "a:x", LONG, 300.0)
    assert warmth.model(299.9, b"c") == "a:x"
    assert warmth.model(300.0, b"c") is None
    warmth.noticed(0.0, b"c", "a:x", LONG, 300.0)
    warmth.noticed(200.0, b"c", "a:y", LONG, 300.0)
    assert warmth.model(499.0, b"c") == "a:y"
    assert warmth.model(0.0, b"other") is None


def test_a_short_prompt_is_in_no_cache() -> None:
    """Unless the provider reports that it was, and then the newest answer counts."""
    warmth = Warmth()
    warmth.noticed(0.0, b"c", "a:x", Usage(input=LEAST_TOKENS - 1), 300.0)
    assert warmth.model(1.0, b"c") is None
    warmth.noticed(0.0, b"c", "a:x", Usage(input=5, cache_read=5), 300.0)
    assert warmth.model(1.0, b"c") == "a:x"


def test_what_is_remembered_is_bounded() -> None:
    """Those used longest ago are forgotten."""
    warmth = Warmth()
    for at in range(MOST_CONVERSATIONS + 1):
        warmth.noticed(0.0, str(at).encode(), "a:x", LONG, 300.0)
    assert warmth.model(1.0, b"0") is None
    assert warmth.model(1.0, b"1") == "a:x"
