"""Which model answers a prompt that names none: a tier by what is asked, and in it the models that can take the call.

named tier ─┐
task ───────┼▶ tier ─▶ raised by size ─▶ its models ─▶ those that can take it ─▶ warm prompt cache first ─▶ Route
score/words ┘            (tokens)            └ none can: the next tier up

Every step is arithmetic on facts that the caller brings, so the same question gives the same route, and each step
leaves its words in the reason.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Final, Literal, get_args

import msgspec

from ..errors import ConfigError
from ..types import Tier
from .routing import TIERS, Route, Router

Need = Literal["image", "audio", "document", "tools"]
Rule = Literal["words", "score"]
NEEDS: Final[tuple[Need, ...]] = get_args(Need)


class ModelFacts(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """What the router must know of a model: its window in tokens, what it cannot take, and where it runs.

    `context` None: nobody knows, so no call is too long. `region` is a word of yours, such as 'eu'.

    Raises: ConfigError.
    """

    context: int | None = None
    lacks: tuple[Need, ...] = ()
    region: str | None = None

    def __post_init__(self) -> None:
        context: object = self.context
        if context is not None and (isinstance(context, bool) or not isinstance(context, int) or context < 1):
            raise ConfigError(f"the context of a model is {context!r}; expected a number of tokens of at least 1")
        lacks: object = self.lacks
        known = isinstance(lacks, list | tuple) and all(each in NEEDS for each in lacks)
        if not known:
            raise ConfigError(f"what a model lacks is {lacks!r}; expected a list of some of {', '.join(NEEDS)}")


class Routing(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """How `tier="auto"` chooses.

    `rule` 'words' goes by the words and the length of the prompt, 'score' by its difficulty from 0 to 1: below the
    first of `thresholds` it is simple, from the last on expert. `calibration` is a file of `penstock route calibrate`,
    which then decides. `tasks` fixes the tier of a named task; `sizes` is the least prompt, in tokens, that goes to a
    tier at least. `models` says what is not known of models or providers by itself. A conversation stays with its model
    for `sticky_s` seconds, while the provider's prompt cache is warm; 0 for never.

    Raises: ConfigError.
    """

    rule: Rule = "words"
    thresholds: tuple[float, float, float] = (0.25, 0.5, 0.75)
    calibration: str | None = None
    tasks: dict[str, Tier] = {}
    sizes: dict[Tier, int] = {}
    models: dict[str, ModelFacts] = {}
    sticky_s: float = 300.0

    def __post_init__(self) -> None:
        if self.rule not in get_args(Rule):
            raise ConfigError(f"routing.rule is {self.rule!r}; expected one of {', '.join(get_args(Rule))}")
        marks: Any = self.thresholds
        numbers = isinstance(marks, list | tuple) and all(type(mark) in (int, float) for mark in marks)
        if not numbers or len(marks) != 3 or not 0 <= marks[0] <= marks[1] <= marks[2] <= 1:
            raise ConfigError(f"routing.thresholds is {marks!r}; expected three rising numbers from 0 to 1")
        for what, tiers in (("tasks", self.tasks.values()), ("sizes", self.sizes)):
            for tier in tiers:
                if tier not in TIERS:
                    raise ConfigError(f"routing.{what}: {tier!r} is no tier; tiers are {', '.join(TIERS)}")
        for tier, tokens in self.sizes.items():
            if type(tokens) is not int or tokens < 1:
                raise ConfigError(f"routing.sizes.{tier} is {tokens!r}; expected a number of tokens of at least 1")
        for name, facts in self.models.items():
            if not isinstance(facts, ModelFacts):
                raise ConfigError(f"routing.models[{name!r}] is {facts!r}; expected a ModelFacts")
        seconds: object = self.sticky_s
        if isinstance(seconds, bool) or not isinstance(seconds, int | float) or not 0 <= seconds < math.inf:
            raise ConfigError(f"routing.sticky_s is {seconds!r}; expected a number of seconds of at least 0")


class Judged(msgspec.Struct, frozen=True):
    """What was made of a prompt: its tier, why, and its difficulty from 0 to 1 where a score decided."""

    tier: Tier
    reason: str
    score: float | None = None


Judge = Callable[[str], Judged]
"""What chooses a tier for the text of a prompt."""


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """What a call asks of a model: `tokens` of prompt (estimated) and `output`, what it needs, and where it may run.

    `judge` is asked for a tier where nothing else names one. `warm` is the model that holds the prompt in its cache.
    """

    tokens: int
    output: int = 0
    needs: frozenset[Need] = frozenset()
    region: str | None = None
    tier: Tier | None = None
    task: str | None = None
    judge: Callable[[], Judged]
    warm: str | None = None


class Pick(msgspec.Struct, frozen=True):
    """The models of a tier for a call, and why these: all of a route that the words of its prompt do not decide.

    A call that differs in nothing but its length gets the same, unless it takes more than `room` tokens.
    """

    tier: Tier
    candidates: tuple[str, ...]
    reason: str
    left_out: tuple[tuple[str, str], ...]
    warm: bool
    room: float


Picks = dict[tuple[Tier, bool, frozenset[Need], str | None, str | None], Pick]


def choose(
    router: Router, routing: Routing, asked: Asked, facts: Callable[[str], ModelFacts], picks: Picks | None = None
) -> Route:
    """Return the route of a call that names no model; `facts` tells what is known of one.

    `picks` are those of earlier calls with the same router and facts, to be used again and added to.

    Raises: ConfigError for a tier or task that does not exist, or when no model of any tier can take the call.
    """
    judged = _judged(routing, asked)
    if asked.tier is None and routing.sizes:
        judged = _sized(routing, asked, judged)
    picks = {} if picks is None else picks  # most calls of a program are alike
    alike = judged.tier, asked.tier is None, asked.needs, asked.region, asked.warm
    takes = asked.tokens + asked.output
    pick = picks.get(alike)
    if pick is None or takes > pick.room:
        pick = _pick(router, judged.tier, asked, facts)
        if takes <= pick.room:
            picks[alike] = pick
    return Route(
        pick.candidates,
        f"{judged.reason}; {pick.reason}",
        tier=pick.tier,
        score=judged.score,
        tokens=asked.tokens,
        left_out=pick.left_out,
        warm=pick.warm,
    )


def _pick(router: Router, wanted: Tier, asked: Asked, facts: Callable[[str], ModelFacts]) -> Pick:
    """Return the models for a call that wants a tier.

    Raises: ConfigError when no model of any tier can take it.
    """
    left_out: dict[str, str] = {}
    for tier in _in_turn(router, wanted, explicit=asked.tier is not None):
        fitting = _fitting(router.of_tier(tier), asked, facts, left_out)
        if fitting:
            break
    else:
        raise ConfigError(
            f"no model of tier {wanted!r} or above can take this call: "
            + ("; ".join(f"{model} {why}" for model, why in left_out.items()) or "no tier has a model")
        )
    words = []
    if tier != wanted:
        words.append(f"{_why_not(router, wanted)}, so tier {tier!r} takes it")
    warm = _warm(router, asked, tier, facts)
    if warm is not None and warm != fitting[0]:
        words.append(f"{warm} holds this conversation in its prompt cache")
    chosen = fitting if warm is None else (warm, *fitting)
    candidates = tuple(dict.fromkeys((*chosen, *_fitting(router.after(chosen[0]), asked, facts, left_out))))
    words.append(f"{candidates[0]} of tier {router.tier_of(candidates[0]) or tier!r} answers")
    later = ", then ".join(candidates[1:])
    words.append(f"fallbacks: {later}" if later else "no fallbacks")
    windows = [facts(model).context for model in (*candidates, *left_out, asked.warm or candidates[0])]
    return Pick(
        tier,
        candidates,
        "; ".join(words),
        tuple(left_out.items()),
        warm is not None,
        room=min((each for each in windows if each is not None), default=math.inf),
    )


def named(route: Route, asked: Asked, facts: Callable[[str], ModelFacts]) -> Route:
    """Hold a route that the call named itself to its region; its first model is obeyed in all else.

    Raises: ConfigError when the model does not run there.
    """
    if asked.region is None:
        return route
    left_out = dict(route.left_out)
    only = Asked(tokens=0, region=asked.region, judge=asked.judge)
    kept = _fitting(route.candidates, only, facts, left_out)
    if route.candidates[0] in left_out:
        first = route.candidates[0]
        raise ConfigError(
            f"{first} {left_out[first]}; name another model, or say where it runs with "
            f"Routing(models={{{first!r}: ModelFacts(region={asked.region!r})}})"
        )
    return msgspec.structs.replace(route, candidates=kept, left_out=tuple(left_out.items()))


def _judged(routing: Routing, asked: Asked) -> Judged:
    if asked.tier is not None:
        if asked.tier not in TIERS:
            raise ConfigError(f"{asked.tier!r} is no tier; tiers are {', '.join(TIERS)}")
        return Judged(asked.tier, f"tier {asked.tier!r} was asked for")
    if asked.task is not None:
        if asked.task not in routing.tasks:
            known = ", ".join(routing.tasks) or "none"
            raise ConfigError(
                f"there is no task {asked.task!r} (known: {known}); name its tier with Routing(tasks={{{asked.task!r}: "
                "'simple'}) or under [routing.tasks] in penstock.toml"
            )
        return Judged(routing.tasks[asked.task], f"task {asked.task!r} is {routing.tasks[asked.task]}")
    return asked.judge()


def _sized(routing: Routing, asked: Asked, judged: Judged) -> Judged:
    """Raise the tier of a prompt that is long."""
    for tier in reversed(TIERS):
        least = routing.sizes.get(tier)
        if least is not None and asked.tokens >= least and TIERS.index(tier) > TIERS.index(judged.tier):
            reason = f"{judged.reason}; about {asked.tokens:,} tokens are {tier} from {least:,} on"
            return msgspec.structs.replace(judged, tier=tier, reason=reason)
    return judged


def _in_turn(router: Router, tier: Tier, *, explicit: bool) -> list[Tier]:
    """Return the tiers to look at: the one wanted and those above it; where none of these has a model, those below."""
    if explicit:
        router.of_tier(tier)  # which says how to give it a model
    at = TIERS.index(tier)
    have = router.tiers()
    above = [each for each in TIERS[at:] if each in have]
    return above or [each for each in reversed(TIERS[:at]) if each in have]


def _why_not(router: Router, tier: Tier) -> str:
    return f"no model of tier {tier!r} can" if tier in router.tiers() else f"tier {tier!r} has no model"


def _fitting(
    models: tuple[str, ...], asked: Asked, facts: Callable[[str], ModelFacts], left_out: dict[str, str]
) -> tuple[str, ...]:
    """Return the models that can take the call, and note why the others cannot."""
    kept = []
    for model in models:
        why = _obstacle(asked, facts(model))
        if why is None:
            kept.append(model)
        else:
            left_out[model] = why
    return tuple(kept)


def _obstacle(asked: Asked, facts: ModelFacts) -> str | None:
    if asked.region is not None and facts.region != asked.region:
        where = "nobody said where it runs" if facts.region is None else f"it runs in {facts.region!r}"
        return f"is not known to run in {asked.region!r}: {where}"
    for need in facts.lacks:
        if need in asked.needs:
            return f"takes no {need if need == 'tools' else f'{need}s' if need != 'audio' else need}"
    if facts.context is not None and asked.tokens + asked.output > facts.context:
        return f"has a window of {facts.context:,} tokens, and this takes about {asked.tokens + asked.output:,}"
    return None


def _warm(router: Router, asked: Asked, tier: Tier, facts: Callable[[str], ModelFacts]) -> str | None:
    """Return the model whose prompt cache is warm, unless a higher tier is needed now or it cannot take the call."""
    if asked.warm is None or _obstacle(asked, facts(asked.warm)) is not None:
        return None
    held = router.tier_of(asked.warm)
    return asked.warm if held is not None and TIERS.index(held) >= TIERS.index(tier) else None
