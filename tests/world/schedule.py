"""What a world is made of: its scenario, and all that the seed draws from it before anything runs."""

from __future__ import annotations

from contextvars import ContextVar
from dataclasses import dataclass
from random import Random
from typing import Final, Literal, NamedTuple

from penstock import BreakerSettings, Budget, Hedge, Limits

from .mishaps import ALL, MISHAPS, Mishap
from .scheduler import START_S

Colour = Literal["tasks", "threads"]
Priority = Literal["interactive", "normal", "batch"]

PRIORITIES: Final[tuple[Priority, ...]] = ("interactive", "normal", "batch")
OPENAI: Final = "openai:gpt-4o-mini"
ANTHROPIC: Final = "anthropic:claude-haiku-4-5"
UNPRICED: Final = "openai:house-model"
SIBLING: Final = "openai:gpt-4.1-nano"  # another lane of the same account
WORDS: Final = (1, 1, 1, 3, 3, 10, 10, 30, 100, 1000)  # of a prompt: sizes differ by a thousand
STRIKES: Final = 4  # attempts of a call that something is drawn for
OUTAGES: Final = ("500", "503", "overloaded", "stall", "unreachable")

CALL: Final[ContextVar[int]] = ContextVar("CALL")  # whose work a task or thread does


@dataclass(frozen=True, kw_only=True)
class Scenario:
    """A kind of world. Shares are of calls, or of attempts for `faults`; limits are the server's, per minute.

    `told` is what the clients are configured with, as a multiple of the server's limits, None for nothing; `silent`
    servers tell no limits in their headers. `fallbacks` gives calls a second lane. `torn` lets threads change places
    between any two lines of the gate and the policies. Each of the counts `outages`, `turns` (of the limits), `jumps`
    (of the wall clock), `crashes` and `closes` (of a client) happens so often during the run; with `bunches` the
    calls come so many times, all at once. `most_per_call` bounds the attempts per call. With `questions` there are only
    so many different requests, and the clients have a cache. `sibling` is the share of calls that go to another model
    of the same account. With `file_faults` the processes share the budget in a file, and that share of its writes
    fails. A server with a `knee` takes longer for everybody when it has more than so many calls in flight; a turn
    moves the knee. Times differ by their usual `spread`, or so many times as much.
    """

    name: str
    colour: Colour = "tasks"
    torn: bool = False
    calls: int = 1000
    minutes: float = 10.0
    bunches: int = 0
    faults: float = 0.0
    kinds: tuple[str, ...] = ALL
    streams: float = 0.4
    cancels: float = 0.0
    abandons: float = 0.0
    deadlines: float = 0.0
    unbounded: float = 0.0
    unpriced: float = 0.0
    anthropic: float = 0.0
    fallbacks: bool = False
    words: tuple[int, ...] = (10,)
    rpm: int | None = None
    tpm: int | None = None
    concurrency: int | None = None
    told: float | None = 1.0
    silent: bool = False
    budget: Budget | None = None
    processes: int = 1
    outages: int = 0
    outage_s: float = 30.0
    turns: int = 0
    jumps: int = 0
    crashes: int = 0
    closes: int = 0
    questions: int = 0
    hedge: Hedge | None = None
    continuations: int = 0
    outage_kinds: tuple[str, ...] = OUTAGES
    sibling: float = 0.0
    file_faults: float | None = None
    knee: int | None = None
    latency_s: float = 0.5
    spread: float = 1.0
    tokens_per_s: float = 100.0
    chunk_tokens: int = 8
    breaker: BreakerSettings | None = None
    most_per_call: float | None = None

    def limits(self) -> Limits | None:
        """What each client is configured with."""
        if self.knee is not None:
            return Limits(concurrency="auto")
        if self.told is None:
            return None
        share = self.told / self.processes
        rpm, tpm, concurrency = (
            None if limit is None else max(1, int(limit * share)) for limit in (self.rpm, self.tpm, self.concurrency)
        )
        return Limits(rpm=rpm, tpm=tpm, concurrency=concurrency)

    @property
    def peaceful(self) -> bool:
        """Whether nothing is in the way of any call, so that each of them is answered."""
        trouble = self.faults or self.cancels or self.abandons or self.deadlines or self.outages or self.crashes
        return not trouble and self.budget is None and not self.closes

    @property
    def true_limits(self) -> bool:
        """Whether nothing that the server does is a surprise, so that it never has to refuse."""
        return self.told == 1.0 and not self.turns and not self.crashes


class Call(NamedTuple):
    """One call as it was drawn; times are virtual. Calls with the same `question` are the same request."""

    number: int
    question: int
    process: int
    at: float
    model: str
    fallbacks: tuple[str, ...]
    words: int
    stream: bool
    max_tokens: int | None
    deadline_s: float | None
    priority: Priority
    cancel_at: float | None
    leave_after: int | None
    mishaps: tuple[Mishap | None, ...]


class Happening(NamedTuple):
    """Something that happens to the whole world at a time."""

    at: float
    kind: Literal["turn", "jump", "crash", "close"]
    size: float


class Outage(NamedTuple):
    """A time in which every attempt meets the same mishap."""

    since: float
    until: float
    mishap: Mishap


class Cut(NamedTuple):
    """What of a schedule is played: these calls, the first so many faults and happenings; None for all."""

    calls: tuple[int, ...] | None = None
    faults: int | None = None
    happenings: int | None = None


class Schedule:
    """Everything that the seed draws, whatever is cut away afterwards, and the faults as they are dealt out."""

    def __init__(self, scenario: Scenario, seed: int, cut: Cut | None = None) -> None:
        cut = cut or Cut()
        self.scenario = scenario
        self.seed = seed
        self.dealt = 0
        self._left = 10**9 if cut.faults is None else cut.faults
        self.lets_fail = self._left > 0
        self.span_s = scenario.minutes * 60
        dice = Random(f"{scenario.name}/{seed}")
        self.outages = self._outages(dice)
        self.happenings = self._happenings(dice)[: cut.happenings]
        drawn = [self._call(number, Random(dice.getrandbits(64))) for number in range(scenario.calls)]
        self.calls = drawn if cut.calls is None else [drawn[number] for number in cut.calls]
        self._by_number = {call.number: call for call in self.calls}
        self._attempts: dict[int, int] = {}
        self._travel = Random(dice.getrandbits(64))

    def _outages(self, dice: Random) -> list[Outage]:
        found = []
        for _ in range(self.scenario.outages):
            since = START_S + dice.random() * self.span_s
            mishap = MISHAPS[dice.choice(self.scenario.outage_kinds)][0]
            found.append(Outage(since, since + self.scenario.outage_s * (0.5 + dice.random()), mishap))
        return found

    def _happenings(self, dice: Random) -> list[Happening]:
        scenario = self.scenario
        found = []
        for turn in range(scenario.turns):
            at = START_S + self.span_s * (turn + dice.random()) / scenario.turns
            found.append(Happening(at, "turn", 0.5 if turn % 2 == 0 else 2.0))
        for _ in range(scenario.jumps):
            at = START_S + self.span_s * dice.random()
            found.append(Happening(at, "jump", dice.choice((-86_400.0, -3_600.0, -5.0, 5.0, 3_600.0, 86_400.0))))
        for _ in range(scenario.crashes):
            at = START_S + self.span_s * dice.random()
            found.append(Happening(at, "crash", float(dice.randrange(scenario.processes))))
        for number in range(scenario.closes):
            at = START_S + self.span_s * (0.2 + 0.8 * dice.random())
            found.append(Happening(at, "close", float(number)))
        return sorted(found)

    def _call(self, number: int, dice: Random) -> Call:
        scenario = self.scenario
        share = dice.random()
        at = START_S + (int(share * scenario.bunches) / scenario.bunches if scenario.bunches else share) * self.span_s
        model = ANTHROPIC if dice.random() < scenario.anthropic else OPENAI
        model = UNPRICED if dice.random() < scenario.unpriced else model
        stream = dice.random() < scenario.streams
        cancelled, left = dice.random() < scenario.cancels, dice.random() < scenario.abandons
        kinds = scenario.kinds
        strikes = [dice.random() < scenario.faults for _ in range(STRIKES)]
        call = Call(
            number=number,
            question=number,
            process=dice.randrange(scenario.processes),
            at=at,
            model=model,
            fallbacks=(ANTHROPIC if model == OPENAI else OPENAI,) if scenario.fallbacks and number % 2 else (),
            words=dice.choice(scenario.words),
            stream=stream,
            max_tokens=None if dice.random() < scenario.unbounded else dice.choice((8, 40, 40, 200)),
            deadline_s=dice.choice((0.5, 5.0, 20.0, 60.0)) if dice.random() < scenario.deadlines else None,
            priority=dice.choice(PRIORITIES),
            cancel_at=at + dice.choice((0.0, 0.02, 1.0, 30.0)) * dice.random() if cancelled else None,
            leave_after=dice.randrange(5) if stream and left else None,
            mishaps=tuple(dice.choice(MISHAPS[dice.choice(kinds)]) if struck else None for struck in strikes),
        )
        if scenario.sibling and dice.random() < scenario.sibling:
            call = call._replace(model=SIBLING)
        return self._asked(call, dice.randrange(scenario.questions)) if scenario.questions else call

    def _asked(self, call: Call, question: int) -> Call:
        """Make a call one of those that ask the same."""
        dice = Random(f"{self.scenario.name}/{self.seed}/{question}")
        words, max_tokens = dice.choice(self.scenario.words), dice.choice((8, 200, 200, 1000))
        return call._replace(question=question, words=words, max_tokens=max_tokens, model=OPENAI)

    # --- dealing it out ------------------------------------------------------------------------------------------

    def mishap(self, number: int, now: float) -> Mishap | None:
        """What happens to the next attempt of a call; asked once per attempt, when the client opens a connection."""
        at = self._attempts[number] = self._attempts.get(number, -1) + 1
        if self._left <= 0:
            return None
        found = next((outage.mishap for outage in self.outages if outage.since <= now < outage.until), None)
        if found is None and at < STRIKES and number in self._by_number:
            found = self._by_number[number].mishaps[at]
        if found is not None:
            self._left -= 1
            self.dealt += 1
        return found

    def travel_s(self) -> float:
        """How long a request is on its way."""
        return 0.001 + 0.05 * self._travel.random()
