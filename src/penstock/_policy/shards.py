"""How a job becomes batches, what is done next with each, and whether batches are worth their wait.

A shard is the part of a job that becomes one batch. It goes on by what is known of it, so that a run which begins
anew does what the one before would have done next:

    written ─▶ upload ─▶ uploaded ─▶ create ─▶ created ─▶ poll … ─▶ harvest ─▶ harvested
                             ▲          └─ unknown ─▶ look ─▶ created, or create again
                             └─ wait ◀── the queue was full
"""

from __future__ import annotations

from typing import Final, Literal, NamedTuple

import msgspec

from ..errors import ConfigError
from ..types import to_usd

Via = Literal["online", "batch-api", "auto"]
Then = Literal["batch", "online"]
Phase = Literal["written", "uploaded", "creating", "created", "harvested", "dropped"]

OVER: Final[frozenset[Phase]] = frozenset({"harvested", "dropped"})
"""Phases in which nothing is to be done any more."""

SOON_S: Final = 1800.0
"""A deadline nearer than this is no time for a batch: its validation alone may take 15 minutes."""

WORTH_NANO: Final = 10_000_000
"""Saving less than a cent is not worth a wait of up to a day."""


class Pace(msgspec.Struct, frozen=True, kw_only=True):
    """How patiently batches are attended to, in seconds.

    Polls come at growing intervals from `poll_s` to `poll_max_s`, each `poll_growth` times the one before. A batch
    that a create may have made is looked for `looks` times, `look_s` apart, before it is created again. A full queue
    is waited for from `queue_s` to `queue_max_s`. Rows that a batch left unanswered go into another, `rounds` times in
    all per run.

    Raises: ConfigError for what is no number above 0.
    """

    poll_s: float = 1.0
    poll_max_s: float = 60.0
    poll_growth: float = 1.5
    looks: int = 3
    look_s: float = 2.0
    queue_s: float = 15.0
    queue_max_s: float = 600.0
    rounds: int = 3

    def __post_init__(self) -> None:
        for name in self.__struct_fields__:
            value: object = getattr(self, name)
            whole = name in ("looks", "rounds")
            if isinstance(value, bool) or not isinstance(value, int if whole else int | float) or not value > 0:
                raise ConfigError(f"pace {name} is {value!r}; expected a {'whole ' if whole else ''}number above 0")


class Room:
    """How much goes into one batch; what does not fit any more begins the next."""

    __slots__ = ("_bytes", "_bytes_max", "_rows", "_rows_max", "_tokens", "_tokens_max")

    def __init__(self, rows_max: int, bytes_max: int, tokens_max: int | None = None) -> None:
        self._rows_max = rows_max
        self._bytes_max = bytes_max
        self._tokens_max = tokens_max
        self._rows = self._bytes = self._tokens = 0

    def take(self, size: int, tokens: int) -> bool:
        """Make place for a row of so many bytes and prompt tokens; False when it does not fit beside the others."""
        full = (
            self._rows + 1 > self._rows_max
            or self._bytes + size > self._bytes_max
            or (self._tokens_max is not None and self._tokens + tokens > self._tokens_max)
        )
        if full and self._rows:
            return False
        self._rows += 1
        self._bytes += size
        self._tokens += tokens
        return True


class Upload(NamedTuple):
    """Send the rows."""


class Create(NamedTuple):
    """Create the batch, after a wait where the queue was full."""

    after_s: float = 0.0


class Look(NamedTuple):
    """Look whether a create made one."""

    after_s: float = 0.0


class Poll(NamedTuple):
    """Ask how it stands."""

    after_s: float


class Harvest(NamedTuple):
    """Its results can be had."""


class Done(NamedTuple):
    """There is nothing more to do."""


Step = Upload | Create | Look | Poll | Harvest | Done


class Stand(msgspec.Struct, kw_only=True):
    """What is known of a shard: how far it came, and how often something was done since.

    `inline`: its rows go within the create. `creates` that the queue refused, `looks` since a create of unknown
    outcome, `unclear` when there are batches that may be it, `polls` since it was created, `ended`: its batch is.
    """

    phase: Phase
    inline: bool = False
    creates: int = 0
    looks: int = 0
    unclear: bool = False
    polls: int = 0
    ended: bool = False


def next_step(pace: Pace, stand: Stand) -> Step:
    """Say what to do next with a shard."""
    match stand.phase:
        case "written" if not stand.inline:
            return Upload()
        case "written" | "uploaded":
            return Create(_grown(pace.queue_s, 2.0, stand.creates - 1, pace.queue_max_s) if stand.creates else 0.0)
        case "creating" if stand.unclear:
            return Look(_grown(pace.poll_s, pace.poll_growth, stand.looks, pace.poll_max_s))
        case "creating" if stand.looks < pace.looks:
            return Look(pace.look_s if stand.looks else 0.0)
        case "creating":
            return Create()
        case "created" if stand.ended:
            return Harvest()
        case "created":
            return Poll(_grown(pace.poll_s, pace.poll_growth, stand.polls, pace.poll_max_s))
        case _:
            return Done()


def _grown(first_s: float, growth: float, times: int, most_s: float) -> float:
    return float(min(most_s, first_s * growth ** min(times, 64)))


class Choice(NamedTuple):
    """Which way a job goes, and why, in a sentence."""

    via: Literal["online", "batch-api"]
    reason: str


def choose(
    *, deadline_s: float | None, lacking: str | None, rows: int, online_nano: int | None, batch_nano: int | None
) -> Choice:
    """Choose between calls now and a batch at half price.

    `deadline_s` from now; None for no hurry. `lacking` is a provider of the job that has no batch interface. The prices
    are what the rows may cost either way, None where it is not known.
    """
    if lacking is not None:
        return Choice("online", f"{lacking} has no batch interface that Penstock knows")
    if deadline_s is not None and deadline_s < SOON_S:
        return Choice("online", f"the deadline is in {span(deadline_s)}, and a batch may take a day")
    if online_nano is None or batch_nano is None:
        return Choice("online", "what a batch costs is not known here, so that nothing is known to be saved")
    saved_nano = online_nano - batch_nano
    if saved_nano < WORTH_NANO:
        return Choice("online", f"a batch would save ${to_usd(max(0, saved_nano)):f} at most, and may take a day")
    prices = f"about ${to_usd(batch_nano):.2f} instead of ${to_usd(online_nano):.2f} for {rows:,} rows"
    if deadline_s is None:
        return Choice("batch-api", f"{prices}, and there is no deadline")
    return Choice("batch-api", f"{prices}; what is not done in {span(deadline_s)} goes online then")


def span(seconds: float) -> str:
    """Write a duration in the largest unit that suits it."""
    for unit, size in (("d", 86_400), ("h", 3600), ("min", 60)):
        if seconds >= size:
            return f"{seconds / size:.3g} {unit}"
    return f"{seconds:.3g} s"
