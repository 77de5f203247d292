"""What a provider's bill and the ledger say of the same days and models, and where they differ."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final, Literal

import msgspec

TOLERANCE: Final = 0.01
"""A difference of up to this share of the bill is what estimated usage may come to."""

CENT_NANO: Final = 10_000_000
"""And one of less than a cent is what a bill rounds away."""

_DATED: Final = re.compile(r"-(\d{8}|\d{4}-\d{2}-\d{2}|latest)$")
_SEPARATORS: Final = re.compile(r"[\s._]+")

Verdict = Literal["equal", "near", "differs", "only on the bill", "only in the ledger", "unpriced"]


class Line(msgspec.Struct, frozen=True, kw_only=True):
    """What a UTC day and model come to: money in nano-dollars (None: not said), and tokens in all (None: not said)."""

    day: str
    model: str
    cost_nano: int | None = None
    tokens: int | None = None
    estimated_nano: int = 0
    unpriced: int = 0


class Difference(msgspec.Struct, frozen=True, kw_only=True):
    """A day and model on both sides. `apart_nano` is the bill less the ledger; `why` says what may explain it."""

    day: str
    model: str
    bill_nano: int | None
    ledger_nano: int | None
    apart_nano: int | None
    bill_tokens: int | None
    ledger_tokens: int | None
    verdict: Verdict
    why: str = ""


def canonical(model: str) -> str:
    """Return one name for a model, however it is written: without provider, date, spaces, dots and capitals."""
    name = model.rsplit(":", 1)[-1].strip().lower()
    name = name.partition(",")[0].strip().removesuffix(" batch")
    return _DATED.sub("", _SEPARATORS.sub("-", name))


def added(lines: Iterable[Line]) -> dict[tuple[str, str], Line]:
    """Add lines of the same day and model up."""
    found: dict[tuple[str, str], Line] = {}
    for line in lines:
        key = (line.day, canonical(line.model))
        had = found.get(key)
        if had is None:
            found[key] = msgspec.structs.replace(line, model=key[1])
        else:
            found[key] = Line(
                day=key[0],
                model=key[1],
                cost_nano=_sum(had.cost_nano, line.cost_nano),
                tokens=_sum(had.tokens, line.tokens),
                estimated_nano=had.estimated_nano + line.estimated_nano,
                unpriced=had.unpriced + line.unpriced,
            )
    return found


def _sum(left: int | None, right: int | None) -> int | None:
    return right if left is None else left if right is None else left + right


def reconcile(bill: Iterable[Line], ledger: Iterable[Line]) -> list[Difference]:
    """Compare a bill with the ledger, day by day and model by model; in the order of days, the largest gap first."""
    theirs, ours = added(bill), added(ledger)
    found = [_compared(key, theirs.get(key), ours.get(key)) for key in theirs.keys() | ours.keys()]
    return sorted(found, key=lambda one: (one.day, -abs(one.apart_nano or 0), one.model))


def _compared(key: tuple[str, str], bill: Line | None, ledger: Line | None) -> Difference:
    billed = None if bill is None else bill.cost_nano
    kept = None if ledger is None else ledger.cost_nano
    apart = None if billed is None and kept is None else (billed or 0) - (kept or 0)
    verdict, why = _judged(bill, ledger, billed, kept)
    return Difference(
        day=key[0],
        model=key[1],
        bill_nano=billed,
        ledger_nano=kept,
        apart_nano=apart,
        bill_tokens=None if bill is None else bill.tokens,
        ledger_tokens=None if ledger is None else ledger.tokens,
        verdict=verdict,
        why=why,
    )


def _judged(bill: Line | None, ledger: Line | None, billed: int | None, kept: int | None) -> tuple[Verdict, str]:
    if ledger is None:
        if billed == 0:
            return "equal", ""
        return "only on the bill", "called without Penstock, or by a process without the ledger"
    if bill is None:
        if not kept:  # what failed costs nothing, and no bill lists it
            return "equal", ""
        return "only in the ledger", "the bill is of another account or period, or not complete yet"
    if billed is None:
        return ("equal", "") if bill.tokens == ledger.tokens else ("differs", "by tokens; the bill names no money")
    apart = abs(billed - (kept or 0))
    if apart == 0:
        return "equal", ""
    if ledger.unpriced:
        return "unpriced", f"{ledger.unpriced} attempts have no known price"
    if apart < CENT_NANO or apart <= TOLERANCE * abs(billed):
        return "near", "within a cent or 1 %"
    if apart <= ledger.estimated_nano:
        return "differs", "no more than what was estimated for cut streams"
    if bill.tokens is not None and bill.tokens == ledger.tokens:
        return "differs", "the tokens are equal: a discount, or another price"
    return "differs", "calls without the ledger, lost records, or what Penstock does not price (tools, storage)"
