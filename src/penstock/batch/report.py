"""A run as it stands or ended, and the sums behind it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from decimal import Decimal
from typing import Any

import msgspec

from .._io.journal import Mended
from .._policy.schedule import LaneCount, Planner, StopReason
from ..errors import PenstockError
from ..types import Attempt, Usage, to_usd


class BatchReport(msgspec.Struct, frozen=True, kw_only=True):
    """A run as it stands or ended.

    `rows` of the input: `before` were answered by earlier runs, `answered` and `failed` in this one, `kept` failed in
    earlier ones and are not to be asked again, `left` have no result; `in_batches` of them are in batches at providers,
    which go on without this run. `attempts` are those that went out, `retries` those beyond the first of their row.
    `copied` of the answered and failed got the result of a row that asks the same.
    `cost_nano` sums the attempts of this run whose cost is known, `unpriced`
    counts those whose cost is not, and `cost_before_nano` is what the journal records of earlier calls for the same
    questions. `cut` are calls that were under way when the run was cancelled: they went out, may have been paid, and
    are in `attempts` and `unpriced` as well. `stopped` says why it ended early, `cause` is the error behind it.
    `failures` counts error codes.
    """

    rows: int = 0
    before: int = 0
    answered: int = 0
    failed: int = 0
    kept: int = 0
    copied: int = 0
    in_flight: int = 0
    in_batches: int = 0
    attempts: int = 0
    retries: int = 0
    rate_limited: int = 0
    usage: Usage = Usage()
    cost_nano: int = 0
    unpriced: int = 0
    cut: int = 0
    cost_before_nano: int = 0
    elapsed_s: float = 0.0
    failures: dict[str, int] = {}
    lanes: tuple[LaneCount, ...] = ()
    mended: Mended = Mended(0, 0)
    unwritten: int = 0
    stopped: StopReason | None = None
    cause: PenstockError | None = None

    @property
    def left(self) -> int:
        """Rows without a result."""
        return max(0, self.rows - self.before - self.answered - self.failed - self.kept)

    @property
    def done(self) -> int:
        """Rows with a result, an answer or an error."""
        return self.rows - self.left

    @property
    def cost(self) -> Decimal:
        """Dollars of the attempts of this run with a known price; look at `unpriced` before trusting it as a total."""
        return to_usd(self.cost_nano)

    @property
    def cost_before(self) -> Decimal:
        """Dollars that the output records of earlier runs, for the questions of this job."""
        return to_usd(self.cost_before_nano)

    def figures(self) -> dict[str, Any]:
        """Return the figures for machines."""
        return {
            "rows": self.rows,
            "answered": self.answered,
            "failed": self.failed,
            "before": self.before,
            "kept": self.kept,
            "copied": self.copied,
            "left": self.left,
            "in_flight": self.in_flight,
            "in_batches": self.in_batches,
            "attempts": self.attempts,
            "retries": self.retries,
            "rate_limited": self.rate_limited,
            "tokens": {"prompt": self.usage.prompt, "completion": self.usage.completion},
            "cost": self.cost,
            "cost_before": self.cost_before,
            "unpriced": self.unpriced,
            "cut": self.cut,
            "elapsed_s": round(self.elapsed_s, 3),
            "failures": {code: number for code, number in self.failures.items() if number},
            "models": {lane.model: lane.answered for lane in self.lanes},
            "stopped": self.stopped,
            "error": None if self.cause is None else {"code": self.cause.code, "message": str(self.cause)},
        }


class Counts:
    """The running sums of one run."""

    def __init__(self) -> None:
        self.before = 0
        self.answered = 0
        self.failed = 0
        self.attempts = 0
        self.retries = 0
        self.rate_limited = 0
        self.usage = Usage()
        self.cost_nano = 0
        self.unpriced = 0
        self.cut = 0
        self.cost_before_nano = 0
        self.kept = 0
        self.copied = 0
        self.may_mend = 0
        self.failures: Counter[str] = Counter()

    def row(self, code: str | None, *, retriable: bool = False) -> None:
        """A row has its result; another try may mend one that is `retriable`."""
        self.may_mend += retriable
        if code is None:
            self.answered += 1
        else:
            self.failed += 1
            self.failures[code] += 1

    def take_back(self, code: str) -> None:
        """A failed row has a newer result."""
        self.failed -= 1
        self.failures -= Counter({code: 1})

    def spend(self, attempts: Sequence[Attempt], *, again: bool) -> bool:
        """Count what a call of a row sent and used; say whether the row was sent now, or before (`again`)."""
        sent = 0
        for attempt in attempts:
            if not attempt.sent:
                continue
            sent += 1
            self.rate_limited += attempt.outcome == "rate_limited"
            if attempt.usage is not None:
                self.usage = self.usage + attempt.usage
            if attempt.cost_nano is None:
                self.unpriced += 1
            else:
                self.cost_nano += attempt.cost_nano
        self.attempts += sent
        self.retries += sent - (sent > 0 and not again)
        return again or sent > 0

    def spend_cut(self, attempts: Sequence[Attempt], *, again: bool) -> None:
        """Count what a call sent and used that was cut; of what went out last nobody told what became of it."""
        self.spend(attempts, again=again)
        self.cut += sum(attempt.sent and attempt.outcome == "cancelled" for attempt in attempts)

    def report(self, planner: Planner, *, rows: int, elapsed_s: float, mended: Mended, unwritten: int) -> BatchReport:
        """Tell the run as it stands, with what its planner knows."""
        return BatchReport(
            rows=rows,
            before=self.before,
            answered=self.answered,
            failed=self.failed,
            kept=self.kept,
            copied=self.copied,
            in_flight=planner.in_flight,
            attempts=self.attempts,
            retries=self.retries,
            rate_limited=self.rate_limited,
            usage=self.usage,
            cost_nano=self.cost_nano,
            unpriced=self.unpriced,
            cut=self.cut,
            cost_before_nano=self.cost_before_nano,
            elapsed_s=elapsed_s,
            failures=dict(self.failures),
            lanes=planner.lanes,
            mended=mended,
            unwritten=unwritten,
            stopped=planner.reason,
            cause=planner.cause,
        )
