"""The worlds of the bench: a provider, rows, and who is told what."""

from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random
from typing import Any, Final, Literal

from bench.bulk.field import EVERYBODY, OURS, Contestant

from penstock.sim import Change, Latency, Limits, Model, Scenario, SimConfig

RPM: Final = 1200
PER_S: Final = RPM // 60
FULL_S: Final = 60
QUICK_S: Final = 20
MAX_TOKENS: Final = 32
ANSWER_TOKENS: Final = 8
PROMPT_CHARS: Final = 210
TPM: Final = 10_000_000
"""Far away; a provider tells both limits, and curator takes one that is not told for a low one."""
OPEN: Final = Limits(rpm=1_000_000, tpm=1_000_000_000)
"""Out of reach, and in the headers: without any, curator keeps to 200 requests a minute."""
THINKING: Final = Latency(first_token_s=1.0, first_token_sigma=0.35, rejection_s=0.08)
PATIENCE: Final = 3.0
"""A contestant that needs so many times the least time is stopped."""
START_UP_S: Final = 45.0
ATTEMPT_S: Final = 60.0
HANG_ATTEMPT_S: Final = 10.0
WORDS: Final = (
    "error",
    "timeout",
    "db",
    "retry",
    "pool",
    "lease",
    "shard",
    "queue",
    "broker",
    "socket",
    "quota",
    "cache",
)

PROBED: Final = {"claude-3-5-sonnet-latest": Model(protocol="anthropic")}
"""curator asks this model for the headers of Anthropic's limits, whatever model the rows are for."""

Told = Literal["told", "not told"]


@dataclass(frozen=True)
class Bars:
    """What Penstock promises: the time over T*, 429s as a share of the rows. Violations and lost rows are always 0.

    `of` is the figure that `over_best` bounds.
    """

    over_best: float
    share_429: float
    of: str = "over_best"


@dataclass(frozen=True)
class World:
    """One scenario: `letter` as in its list, what the provider allows and breaks, and the rows.

    `peers` says which contestants beside Penstock can play it.
    """

    letter: str
    title: str
    told: Told
    rows: int
    limits: Limits
    bars: Bars
    seconds: float
    faults: str = ""
    tokens: Callable[[Random], int] | None = None
    anthropic: bool = False
    concurrency: int = 50
    timeout_s: float = ATTEMPT_S
    peers: Callable[[Contestant], bool] = field(default=lambda contestant: True)

    @property
    def name(self) -> str:
        """As it stands in the figures."""
        return f"{self.letter}_{self.told.replace(' ', '_')}"

    @property
    def config(self) -> SimConfig:
        """The provider."""
        return SimConfig(
            seed=1,
            limits={"anthropic" if self.anthropic else "openai": self.limits},
            latency=THINKING,
            answer_tokens=ANSWER_TOKENS,
            models=PROBED,
            scenario=Scenario.parse(self.faults),
        )

    @property
    def patience_s(self) -> float:
        """When a contestant is stopped."""
        return PATIENCE * self.seconds + START_UP_S

    def contestants(self, everybody: tuple[Contestant, ...] = EVERYBODY) -> list[Contestant]:
        """Who plays, Penstock first."""
        return [each for each in everybody if each.name == OURS or self.peers(each)]

    def prompts(self) -> list[str]:
        """The prompts of the rows, each one of its own."""
        return prompts(self.rows, self.tokens)


def prompts(rows: int, tokens: Callable[[Random], int] | None = None) -> list[str]:
    """Prompts of about 210 characters, or of as many tokens as told, at four characters a token."""
    chance = Random(1)
    return [prompt(number, 4 * tokens(chance) if tokens else PROMPT_CHARS, chance) for number in range(rows)]


def prompt(number: int, chars: int, chance: Random) -> str:
    text = f"Row {number}: is this line of a log an error? Answer in one word. "
    return text + " ".join(chance.choices(WORDS, k=max(1, (chars - len(text)) // 6)))[: max(1, chars - len(text))]


def long_tailed(chance: Random) -> int:
    """Tokens of a prompt: the mix of scenario B."""
    return min(20_000, max(20, int(300 * chance.lognormvariate(0, 1.1))))


def can_be_told(contestant: Contestant) -> bool:
    return contestant.rpm


def can_be_told_tokens(contestant: Contestant) -> bool:
    return contestant.tokens


def speaks_anthropic(contestant: Contestant) -> bool:
    return contestant.anthropic and contestant.tokens


LEARNED: Final = Bars(1.05, 0.005)
KNOWN: Final = Bars(1.05, 0.0)
BLIND: Final = Bars(1.08, 0.02)


def every(seconds: int = FULL_S) -> list[World]:
    """All scenarios; each takes about `seconds` at best."""
    rows = PER_S * seconds
    open_: dict[str, Any] = {"rpm": RPM, "burst_requests": PER_S, "tpm": TPM}
    second = Limits(**open_, retry_after="seconds")
    blind: dict[str, Any] = {"headers": False, "retry_after": "none"}
    usual: dict[str, Any] = {"rows": rows, "seconds": seconds}
    return [
        World("A", "20 requests a second, headers", "told", limits=second, bars=KNOWN, peers=can_be_told, **usual),
        World("A", "20 requests a second, headers", "not told", limits=second, bars=LEARNED, **usual),
        *by_tokens(rows, seconds),
        World(
            "C", "as A, no headers, no Retry-After", "not told",
            limits=Limits(**open_, **blind), bars=BLIND, **usual,
        ),
        World(
            "D", "as A, 429s charged to the quota", "not told",
            limits=Limits(**open_, retry_after="seconds", charge_rejections=True, rejection_debt=PER_S),
            bars=LEARNED, **usual,
        ),
        World(
            "E", "as A, half the rate for a third of the time, headers tell the old one", "not told",
            rows=rows - PER_S * seconds // 4, seconds=seconds,
            limits=Limits(
                **open_, retry_after="seconds",
                changes=(Change(after_s=seconds / 4, factor=0.5), Change(after_s=0.75 * seconds, factor=1)),
            ),
            bars=Bars(1.06, 0.02),
        ),
        World(
            "F", "32 calls at once, no headers, no Retry-After", "not told",
            rows=30 * seconds, seconds=seconds, limits=Limits(concurrency=32, **blind), bars=BLIND,
        ),
        *broken(rows, seconds, second),
    ]  # fmt: skip


def by_tokens(rows: int, seconds: int) -> list[World]:
    """B: the tokens bind; they come to the limit of `seconds` beside 200 requests a second."""
    total = sum(max(MAX_TOKENS, -(-len(text) // 4)) for text in prompts(rows, long_tailed))
    per_minute = total * 60 // seconds
    limits = Limits(
        rpm=12_000, burst_requests=200, tpm=per_minute, burst_tokens=per_minute // 10, retry_after="seconds"
    )
    title = "tokens bind, 20 to 20,000 a row, headers"
    usual: dict[str, Any] = {"rows": rows, "limits": limits, "seconds": seconds, "tokens": long_tailed}
    return [
        World("B", title, "told", bars=KNOWN, peers=can_be_told_tokens, **usual),
        World("B", title, "not told", bars=LEARNED, **usual),
    ]


def broken(rows: int, seconds: int, second: Limits) -> list[World]:
    """G to K: what breaks beside the limit, for those who can be told it."""
    usual: dict[str, Any] = {"rows": rows, "seconds": seconds, "limits": second, "peers": can_be_told}
    return [
        World(
            "G", "as A, one answer in 50 is a 500", "told", bars=Bars(1.15, 0.0),
            faults='[[rule]]\nmatch = { share = 0.02 }\nfault = { kind = "status", status = 500 }\n', **usual,
        ),
        World(
            "H", "as A, one call in 200 hangs; an attempt may take 10 s", "told",
            bars=Bars(1.15, 0.0, "over_best_less_2_p99"), timeout_s=HANG_ATTEMPT_S,
            faults='[[rule]]\nmatch = { share = 0.005 }\nfault = { kind = "stall" }\n', **usual,
        ),
        World("I", "as A, headers of every third answer are nonsense", "told", bars=KNOWN, faults=NONSENSE, **usual),
        World(
            "J", "as A, and 429s with Retry-After 0, a date, 8 s", "told", bars=Bars(1.08, 0.0),
            faults=ordered_pauses(rows), **usual,
        ),
        three_limits(rows, seconds),
    ]  # fmt: skip


NONSENSE: Final = """
[[rule]]
match = { every = 6 }
fault = { kind = "headers", set = { x-ratelimit-limit-requests = "banana", x-ratelimit-remaining-requests = "-7", \
x-ratelimit-reset-requests = "yesterday", date = "Thu, 01 Jan 1970 00:00:00 GMT" } }
[[rule]]
match = { every = 3 }
fault = { kind = "headers", set = { x-ratelimit-limit-requests = "0", x-ratelimit-remaining-requests = "0", \
x-ratelimit-reset-requests = "99999h", retry-after = "3600" } }
"""


def ordered_pauses(rows: int) -> str:
    """Four 429s that the limit does not explain, spread over the run."""
    forms = ("0", "date:+3", "8", "0")
    return "".join(
        f"[[rule]]\nmatch = {{ nth = {rows * place // 5} }}\ntimes = 1\n"
        f'fault = {{ kind = "rate_limit", retry_after = "{form}" }}\n'
        for place, form in enumerate(forms, 1)
    )


def three_limits(rows: int, seconds: int) -> World:
    """K: requests, input and output tokens bind together."""
    total = sum(len(text) // 4 for text in prompts(rows, long_tailed))
    return World(
        "K", "requests, input and output tokens limited together", "told", rows=rows, seconds=seconds,
        tokens=long_tailed, anthropic=True, bars=KNOWN, peers=speaks_anthropic,
        limits=Limits(
            rpm=RPM, burst_requests=PER_S, itpm=total * 60 // seconds, otpm=ANSWER_TOKENS * RPM, retry_after="seconds"
        ),
    )  # fmt: skip
