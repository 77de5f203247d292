"""The scenarios: each a world of the simulator, a load, and who takes part.

A limit of minutes is enforced by the second, as OpenAI does, so that a run takes seconds. Peers that only have a limit
per window are told it as the provider states it (per minute), and once more in the shape of the enforcement (per
second), which whoever runs them would have to find out.
"""

from dataclasses import replace
from functools import partial
from typing import Final

from bench.peers import judges
from bench.peers.contest import Entrant, Metric, Scenario
from bench.peers.given import Given

from penstock.sim import Latency, Limits, SimConfig

PER_S: Final = 60
CALLS: Final = 10 * PER_S
TRUE_PER_S: Final = 50
UNIT_TOKENS: Final = 400
LARGE: Final = 150
LARGE_UNITS: Final = 40
PATIENCE_S: Final = 5.0
THINKING: Final = Latency(first_token_s=0.3)

NO_QUEUE: Final = "rejects, has no queue"

WITH_RETRY: Final = Entrant("langchain_with_retry", "langchain", "retrying_twice", "LangChain, with_retry()")
QUEUES: Final = (
    Entrant("aiolimiter", "aiolimiter", "limited", "aiolimiter"),
    Entrant("pyrate_limiter", "pyrate_limiter", "limited", "pyrate-limiter"),
    Entrant("throttled", "throttled", "limited", "throttled-py"),
    Entrant("langchain", "langchain", "limited", "LangChain InMemoryRateLimiter"),
)


def every() -> list[Scenario]:
    """All scenarios in the order of the table."""
    return [
        known_limit(),
        order_kept(),
        wrong_limit(),
        outage("outage_500", "answered 500", '{ kind = "status", status = 500 }', WITH_RETRY),
        outage("outage_reset", "connections cut before an answer", '{ kind = "reset", when = "before_read" }'),
        hopeless(),
        told_to_wait(),
        half_open(),
        budget(),
        identical(),
        stalled(),
        admission(),
    ]


def ours(ability: str, **given: object) -> Entrant:
    """Penstock."""
    return Entrant("penstock", "penstock", ability, "Penstock", given)


def clients(ability: str) -> tuple[Entrant, ...]:
    """Penstock and the libraries that make calls."""
    return (
        ours(ability),
        Entrant("openai", "openai", ability, "openai SDK"),
        Entrant("anthropic", "anthropic", ability, "anthropic SDK"),
        Entrant("langchain", "langchain", ability, "LangChain ChatOpenAI"),
        Entrant("litellm", "litellm", ability, "LiteLLM acompletion"),
        Entrant("litellm_router", "litellm_router", ability, "LiteLLM Router"),
    )


def rule(prompt: str, fault: str) -> str:
    """What the simulator does to requests with that prompt."""
    return f'[[rule]]\nmatch = {{ contains = "{prompt}" }}\nfault = {fault}\n'


def known_limit() -> Scenario:
    per_minute = {"most": 60 * PER_S, "window_s": 60.0}
    paced = (Entrant(f"{each.name}_per_s", each.module, each.ability, f"{each.label}, per second") for each in QUEUES)
    told = tuple(
        Entrant(each.name, each.module, each.ability, f"{each.label}, per minute", per_minute) for each in QUEUES
    )
    return Scenario(
        name="known_limit",
        title=f"Known limit of {60 * PER_S:,} a minute, {CALLS:,} calls at once",
        load="at_once",
        given=Given(calls=CALLS, most=PER_S, patience_s=1.5 * CALLS / PER_S),
        entrants=(
            ours("limited", **per_minute),
            *told,
            *paced,
            Entrant("litellm_router", "litellm_router", "limited", "LiteLLM Router, rpm enforced", per_minute),
        ),
        metrics=(
            Metric("limit_used", "limit used", at_least=0.97),
            Metric("own_429s", "429s caused", at_most=0),
        ),
        judge=partial(judges.limit_used, calls=CALLS, per_s=PER_S),
        sim=SimConfig(limits={"openai": Limits(rpm=60 * PER_S, burst_requests=PER_S)}),
        absent={"openai, anthropic SDK": "no limiter"},
    )


def order_kept() -> Scenario:
    calls = 2 * LARGE
    return Scenario(
        name="order",
        title=f"{calls} calls queue at {PER_S} units a second, number {LARGE} takes {LARGE_UNITS}",
        load="at_once",
        given=Given(
            calls=calls,
            most=PER_S,
            unit_tokens=UNIT_TOKENS,
            max_tokens=UNIT_TOKENS,
            counted=True,
            large=LARGE,
            large_tokens=LARGE_UNITS * UNIT_TOKENS,
            patience_s=12.0,
        ),
        entrants=(ours("limited"), *QUEUES),
        metrics=(
            Metric("large_lost", "places the large one lost"),
            Metric("places_lost", "most places another lost"),
            Metric("answered", "answered"),
        ),
        judge=partial(judges.order_kept, large=LARGE),
        absent={"LiteLLM": NO_QUEUE, "openai, anthropic SDK": "no limiter"},
    )


def wrong_limit() -> Scenario:
    calls = 8 * TRUE_PER_S
    told = {"most": 120 * TRUE_PER_S, "window_s": 60.0}
    aiolimiter, _, _, langchain = QUEUES
    return Scenario(
        name="wrong_limit",
        title=f"Told twice the limit, or nothing: {calls} calls at once, {TRUE_PER_S} a second are let in",
        load="at_once",
        given=Given(calls=calls, most=2 * TRUE_PER_S, patience_s=20.0),
        entrants=(
            ours("limited", **told),
            Entrant("penstock_untold", "penstock", "retrying", "Penstock, told nothing"),
            Entrant("openai", "openai", "retrying", "openai SDK, has no limit to tell"),
            langchain,
            Entrant("litellm_router", "litellm_router", "limited", "LiteLLM Router, rpm enforced", told),
            aiolimiter,
        ),
        metrics=(
            Metric("share_429", "429s of requests", at_most=0.01),
            Metric("per_answer", "requests per answer"),
            Metric("answered", "calls answered"),
        ),
        judge=judges.rejections,
        sim=SimConfig(limits={"openai": Limits(rpm=60 * TRUE_PER_S, burst_requests=TRUE_PER_S)}),
    )


def outage(name: str, what: str, fault: str, *more: Entrant) -> Scenario:
    few = {"calls": 100}
    return Scenario(
        name=name,
        title=f"Total outage, {what}: 200 calls at once of Penstock, 100 of the others",
        load="at_once",
        given=Given(calls=200, patience_s=25.0),
        entrants=(
            ours("retrying"),
            Entrant("penstock_no_breaker", "penstock", "retrying_blindly", "Penstock, its breaker never opens"),
            *(replace(each, given=few) for each in (*clients("retrying")[1:], *more)),
        ),
        metrics=(Metric("attempts", "requests per call", at_most=1.2),),
        judge=judges.attempts_per_call,
        faults=f"[[rule]]\nfault = {fault}\n",
    )


def hopeless() -> Scenario:
    faults = {
        "quota": '{ kind = "quota" }',
        "malformed": '{ kind = "status", status = 400 }',
        "locked": '{ kind = "key_rejected" }',
    }
    return Scenario(
        name="hopeless",
        title="Calls that cannot succeed, one of each",
        load="one_by_one",
        given=Given(prompts=tuple(faults), patience_s=15.0),
        entrants=(*clients("retrying"), WITH_RETRY),
        metrics=(
            Metric("quota", "quota exhausted (429)"),
            Metric("bad_request", "bad request (400)"),
            Metric("bad_key", "bad key (401)"),
        ),
        judge=judges.attempts_by_fault,
        faults="".join(rule(prompt, fault) for prompt, fault in faults.items()),
    )


def told_to_wait() -> Scenario:
    return Scenario(
        name="deadline",
        title=f"The caller waits 1 s at most (deadline or timeout), given up after {PATIENCE_S:g} s",
        load="one_by_one",
        given=Given(prompts=("silent", "told to wait"), timeout_s=1.0, patience_s=PATIENCE_S),
        entrants=clients("retrying"),
        metrics=(
            Metric("told", "told to come back in 30 s", " s", ceiling=PATIENCE_S),
            Metric("silent", "no answer at all", " s", ceiling=PATIENCE_S),
        ),
        judge=partial(judges.seconds, names=("silent", "told")),
        faults=rule("told to wait", '{ kind = "rate_limit", retry_after = "30" }')
        + rule("silent", '{ kind = "stall", when = "first_byte" }'),
    )


def half_open() -> Scenario:
    return Scenario(
        name="half_open",
        title="Half open after an outage: 100 calls at once at a breaker",
        load="trip_then_at_once",
        given=Given(calls=100, trips=10, open_s=0.5, patience_s=2.0),
        entrants=(
            ours("guarded"),
            Entrant("purgatory", "purgatory", "guarded", "purgatory"),
            Entrant("aiobreaker", "aiobreaker", "guarded", "aiobreaker"),
            Entrant("hyx", "hyx", "guarded", "hyx"),
            Entrant("pybreaker", "pybreaker", "guarded", "pybreaker, one call at a time by its lock"),
        ),
        metrics=(
            Metric("probes", "probes before an answer", at_most=1, at_least=1),
            Metric("failures", "failures that opened it"),
        ),
        judge=judges.probes,
        sim=SimConfig(latency=THINKING),
        faults=rule("trip", '{ kind = "status", status = 500 }'),
        absent={"openai, anthropic SDK, LangChain": "no breaker", "LiteLLM Router": "has cooldowns, no breaker"},
    )


def budget() -> Scenario:
    cap_usd = 0.01
    few = {"calls": 100}
    return Scenario(
        name="budget",
        title="A hard cap of one cent, calls of a tenth of a cent at once: 1,000 of Penstock, 100 of the others",
        load="at_once",
        given=Given(calls=1_000, cap_usd=cap_usd, max_tokens=100),
        entrants=(
            ours("budgeted"),
            Entrant("litellm", "litellm", "budgeted", "LiteLLM max_budget", few),
            Entrant("litellm_router", "litellm_router", "budgeted", "LiteLLM Router provider_budget_config", few),
        ),
        metrics=(
            Metric("overshoot", "overshoot", "x", at_most=0),
            Metric("bill_over_cap", "bill over cap", "x"),
        ),
        judge=partial(judges.overshoot, cap_usd=cap_usd),
        sim=SimConfig(latency=THINKING, answer_tokens=100),
        absent={"openai, anthropic SDK, LangChain": "no budget"},
    )


def identical() -> Scenario:
    return Scenario(
        name="identical",
        title="100 identical calls at once, with the library's own cache",
        load="at_once_then_again",
        given=Given(calls=100, same=True, max_tokens=1_000),  # a truncated answer may rightly not be kept
        entrants=(
            ours("cached"),
            Entrant("litellm", "litellm", "cached", "LiteLLM Cache(type='local')"),
            Entrant("langchain", "langchain", "cached", "LangChain InMemoryCache"),
        ),
        metrics=(
            Metric("upstream", "requests", at_most=1),
            Metric("answered", "calls answered"),
            Metric("again", "requests of one more, later"),
        ),
        judge=judges.upstream,
        sim=SimConfig(latency=THINKING),
        absent={"openai, anthropic SDK": "no cache"},
    )


def stalled() -> Scenario:
    return Scenario(
        name="stalled",
        title=f"A stream falls silent after two events, the timeout is 1 s, given up after {PATIENCE_S:g} s",
        load="one_by_one",
        given=Given(prompts=("silent",), timeout_s=1.0, max_tokens=50, patience_s=PATIENCE_S),
        entrants=clients("streamed"),
        metrics=(Metric("known", "the caller knows after", " s", ceiling=PATIENCE_S),),
        judge=partial(judges.seconds, names=("known",)),
        faults=rule("silent", '{ kind = "stall", when = "mid_stream", after_chunks = 2 }'),
        sim=SimConfig(answer_tokens=40),
    )


def admission() -> Scenario:
    alone = tuple(Entrant(each.name, each.module, "acquire", each.label) for each in QUEUES)
    return Scenario(
        name="admission",
        title="CPU of admission per call",
        load="admission",
        given=Given(),
        entrants=(ours("limiter"), *alone),
        metrics=(
            Metric("us_1000", "1,000 waiting", " µs", at_most=15),
            Metric("us_10000", "10,000 waiting", " µs"),
            Metric("growth", "growth", "x", at_most=1.5),
            Metric("bytes", "a waiter", " bytes", at_most=1_024),
        ),
        judge=judges.cost,
        alone=True,
        within_s=90.0,
        absent={"LiteLLM": NO_QUEUE},
    )
