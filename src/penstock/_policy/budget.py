"""Hard caps on money: nothing is sent unless its worst case fits into every budget that covers it.

`reserve` holds the worst case of a call in all scopes or in none; `settle` replaces the hold by what was really spent,
`release` gives it back when nothing was sent. At every instant, in every capped scope, spent + held <= cap, as long as
no call costs more than its own worst case; if one does, `overshoot_nano` says by how much.

    scopes: total (since the book was opened) · UTC day · UTC month · tag "key=value" (since the book was opened)
            and the cap on a single call, which keeps no account

Amounts are integer nano-dollars; dollars appear only in the user's settings and in sentences. Times are epoch seconds.
A book is no lock: its owner calls it from one thread at a time.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, Final

import msgspec

from ..errors import BudgetExceeded, ConfigError
from ..types import to_nano, to_usd

_DAY_S: Final = 86_400
_PERIODS_KEPT: Final = 4  # days (months) whose account is kept, so that a clock set back finds what it had spent


class Budget(msgspec.Struct, frozen=True, kw_only=True):
    """What may be spent, in dollars; None means no cap.

    `total` is for the life of the client, `daily` and `monthly` for UTC days and months, `per_call` for one call,
    `tags` for calls that carry a tag, written "key=value". A call without a known price is refused under any cap,
    unless `allow_unpriced`: then it passes and only its count is kept.

    Raises: ConfigError when an amount is negative, not finite or not a number.
    """

    total: str | Decimal | int | float | None = None
    daily: str | Decimal | int | float | None = None
    monthly: str | Decimal | int | float | None = None
    per_call: str | Decimal | int | float | None = None
    tags: Mapping[str, str | Decimal | int | float] = {}
    allow_unpriced: bool = False

    def __post_init__(self) -> None:
        for name in ("total", "daily", "monthly", "per_call"):
            _cap(name, getattr(self, name))
        tags: object = self.tags
        if not isinstance(tags, Mapping):
            raise ConfigError(
                f"budget: tags = {tags!r} must map 'key=value' to dollars, like {{'team=search': '5.00'}}"
            )
        for tag, amount in tags.items():
            if not re.fullmatch("[^=]+=.+", str(tag)):
                raise ConfigError(f"budget: tag {tag!r} must be written 'key=value', like 'team=search'")
            if _cap(f"tag {tag!r}", amount) is None:
                raise ConfigError(f"budget: tag {tag!r} has no amount; give dollars like '5.00', or leave the tag out")
        if not isinstance(self.allow_unpriced, bool):
            raise ConfigError(f"budget: allow_unpriced = {self.allow_unpriced!r} must be true or false")


class ScopeState(msgspec.Struct, frozen=True, kw_only=True):
    """One budget as it stands, in nano-dollars; `name` is e.g. 'total', 'day 2026-11-20' or 'tag team=search'.

    `possible_nano` is the part of `spent_nano` that may not have been spent: worst cases of calls of unknown outcome.
    """

    name: str
    cap_nano: int | None
    spent_nano: int
    held_nano: int
    possible_nano: int

    @property
    def left_nano(self) -> int | None:
        """What can still be held; None without a cap, never negative."""
        return None if self.cap_nano is None else max(0, self.cap_nano - self.spent_nano - self.held_nano)


class BudgetState(msgspec.Struct, frozen=True, kw_only=True):
    """All budgets as they stand.

    `calls_under_way` counts open holds. `unpriced_calls` counts settled calls of unknown price, whose cost is in no
    figure here. `overshoot_nano` is what calls cost beyond their worst case: the price or the bill was wrong.
    """

    scopes: tuple[ScopeState, ...]
    calls_under_way: int
    unpriced_calls: int
    overshoot_nano: int


class _Account:
    """What one scope has spent and holds, in nano-dollars."""

    __slots__ = ("cap", "held", "name", "possible", "spent")

    def __init__(self, name: str, cap: int | None) -> None:
        self.name = name
        self.cap = cap
        self.spent = 0
        self.held = 0
        self.possible = 0

    def state(self) -> ScopeState:
        return ScopeState(
            name=self.name,
            cap_nano=self.cap,
            spent_nano=self.spent,
            held_nano=self.held,
            possible_nano=self.possible,
        )


class Hold:
    """Money set aside for one call; only the book that made it changes it.

    `worst_nano` is None when the call has no known price. `made_s` is when it was made, and it settles into that day;
    `settled_s` is when it was settled, None before and when it was released.
    """

    __slots__ = ("_accounts", "is_open", "made_s", "settled_s", "worst_nano")

    def __init__(self, accounts: tuple[_Account, ...], worst_nano: int | None, made_s: float) -> None:
        self._accounts = accounts
        self.worst_nano = worst_nano
        self.made_s = made_s
        self.settled_s: float | None = None
        self.is_open = True

    def __repr__(self) -> str:
        return f"Hold(worst_nano={self.worst_nano}, made_s={self.made_s}, is_open={self.is_open})"


class BudgetBook:
    """Who may spend how much, and what was spent. Without a budget nothing is refused, and totals are still counted."""

    def __init__(self, budget: Budget | None = None) -> None:
        self.budget = budget or Budget()
        self._total = _Account("total", _cap("total", self.budget.total))
        self._daily = _cap("daily", self.budget.daily)
        self._monthly = _cap("monthly", self.budget.monthly)
        self._per_call = _cap("per_call", self.budget.per_call)
        self._tags = {tag: _Account(f"tag {tag}", _cap(f"tag {tag!r}", cap)) for tag, cap in self.budget.tags.items()}
        self._days: dict[int, tuple[_Account, _Account]] = {}
        self._months: dict[str, _Account] = {}
        self._open = 0
        self._unpriced = 0
        self._overshoot = 0

    def reserve(self, wall_s: float, worst_nano: int | None, tags: Mapping[str, str] | None = None) -> Hold:
        """Hold the worst case of a call in every scope that covers it, or in none.

        Args:
            wall_s: now, epoch seconds.
            worst_nano: the most that the call can cost, >= 0; None when its price is unknown.
            tags: the tags of the call.

        Raises: BudgetExceeded naming the first scope that has no room; nothing is held then.
        """
        accounts = self._accounts(wall_s, tags)
        if worst_nano is None:
            self._check_unpriced(accounts)
        else:
            if worst_nano < 0:
                raise ValueError(f"worst_nano is {worst_nano}; a worst case cannot be negative (a bug in Penstock)")
            self._check_room(accounts, worst_nano)
        needed = worst_nano or 0
        for account in accounts:
            account.held += needed
        self._open += 1
        return Hold(accounts, worst_nano, wall_s)

    def settle(self, wall_s: float, hold: Hold, actual_nano: int | None) -> None:
        """Replace a hold by what the call cost, in the day and month in which the hold was made.

        Args:
            wall_s: now, epoch seconds.
            hold: what `reserve` gave; settling or releasing it again changes nothing.
            actual_nano: what the call cost, >= 0; None when that is unknown, e.g. no answer came: then the worst case
                counts as spent and is reported as possible.
        """
        if actual_nano is not None and actual_nano < 0:
            raise ValueError(f"actual_nano is {actual_nano}; a cost cannot be negative (a bug in Penstock)")
        if not self._close(hold):
            return
        hold.settled_s = wall_s
        worst = hold.worst_nano
        if actual_nano is None and worst is None:
            self._unpriced += 1
        if actual_nano is not None and worst is not None and actual_nano > worst:
            self._overshoot += actual_nano - worst
        for account in hold._accounts:
            account.spent += (worst or 0) if actual_nano is None else actual_nano
            account.possible += (worst or 0) if actual_nano is None else 0

    def carry(self, nano: int) -> None:
        """Count what an earlier run spent, in nano-dollars, against the total; days and months are not touched."""
        if nano < 0:
            raise ValueError(f"{nano} nano-dollars cannot have been spent")
        self._total.spent += nano

    def release(self, hold: Hold) -> None:
        """Give a hold back whole: nothing was sent. Again changes nothing."""
        self._close(hold)

    def remaining(self, wall_s: float, tags: Mapping[str, str] | None = None) -> int | None:
        """Say what one call with these tags may cost at most now, in nano-dollars; None when nothing caps it."""
        rooms = [a.cap - a.spent - a.held for a in self._accounts(wall_s, tags) if a.cap is not None]
        if self._per_call is not None:
            rooms.append(self._per_call)
        return max(0, min(rooms)) if rooms else None

    def snapshot(self, wall_s: float) -> BudgetState:
        """Show all budgets as they stand, for people and tests."""
        accounts = (self._total, *self._period(wall_s), *self._tags.values())
        return BudgetState(
            scopes=tuple(account.state() for account in accounts),
            calls_under_way=self._open,
            unpriced_calls=self._unpriced,
            overshoot_nano=self._overshoot,
        )

    def _close(self, hold: Hold) -> bool:
        if not hold.is_open:
            return False
        hold.is_open = False
        self._open -= 1
        for account in hold._accounts:
            account.held -= hold.worst_nano or 0
        return True

    def _accounts(self, wall_s: float, tags: Mapping[str, str] | None) -> tuple[_Account, ...]:
        day, month = self._period(wall_s)
        if not tags or not self._tags:
            return (self._total, day, month)
        tagged = (self._tags.get(f"{key}={value}") for key, value in tags.items())
        return (self._total, day, month, *(account for account in tagged if account is not None))

    def _period(self, wall_s: float) -> tuple[_Account, _Account]:
        """Find or open the accounts of a day and its month."""
        day = int(wall_s // _DAY_S)
        if day not in self._days:
            date = datetime.fromtimestamp(day * _DAY_S, UTC)
            month = f"{date:%Y-%m}"
            if month not in self._months:
                self._months[month] = _Account(f"month {month}", self._monthly)
                _keep_newest(self._months)
            self._days[day] = (_Account(f"day {date:%Y-%m-%d}", self._daily), self._months[month])
            _keep_newest(self._days)
        return self._days[day]

    def _check_room(self, accounts: Iterable[_Account], needed: int) -> None:
        if self._per_call is not None and needed > self._per_call:
            raise BudgetExceeded(
                f"This call may cost up to {_dollars(needed)}, and the budget allows {_dollars(self._per_call)} per"
                " call. Lower max_tokens, use a cheaper model, or raise per_call.",
                scope="per_call",
                cap_nano=self._per_call,
                spent_nano=0,
                held_nano=0,
                needed_nano=needed,
            )
        for account in accounts:
            if account.cap is not None and account.spent + account.held + needed > account.cap:
                raise _refusal(account, account.cap, needed)

    def _check_unpriced(self, accounts: Iterable[_Account]) -> None:
        if self.budget.allow_unpriced:
            return
        capped = [(a.name, a.cap, a.spent, a.held) for a in accounts if a.cap is not None]
        if self._per_call is not None:
            capped.insert(0, ("per_call", self._per_call, 0, 0))
        if not capped:
            return
        name, cap, spent, held = capped[0]
        raise BudgetExceeded(
            f"The price of this call is unknown, and the budget {name!r} of {_dollars(cap)} is a hard cap."
            " Give the model a price in the settings (prices), or set allow_unpriced = true.",
            scope=name,
            cap_nano=cap,
            spent_nano=spent,
            held_nano=held,
            needed_nano=None,
        )


def _refusal(account: _Account, cap: int, needed: int) -> BudgetExceeded:
    left = max(0, cap - account.spent - account.held)
    held = f", {_dollars(account.held)} held by calls under way" if account.held else ""
    if needed > cap:
        remedy = "The call alone is larger than the whole budget: lower max_tokens, use a cheaper model, or raise it."
    elif needed <= cap - account.spent:
        remedy = "Wait for calls under way to settle, lower max_tokens, or raise the budget."
    elif account.name.startswith(("day", "month")):
        remedy = f"Wait for the next UTC {account.name.split()[0]}, use a cheaper model, or raise the budget."
    else:
        remedy = "Lower max_tokens, use a cheaper model, or raise the budget."
    return BudgetExceeded(
        f"This call may cost up to {_dollars(needed)}, and {_dollars(left)} of the budget {account.name!r} is left"
        f" ({_dollars(cap)}: {_dollars(account.spent)} spent{held}). {remedy}",
        scope=account.name,
        cap_nano=cap,
        spent_nano=account.spent,
        held_nano=account.held,
        needed_nano=needed,
    )


def _cap(name: str, amount: object) -> int | None:
    """Turn a setting into nano-dollars."""
    if amount is None:
        return None
    if isinstance(amount, str | Decimal | int | float) and not isinstance(amount, bool):
        try:
            nano = to_nano(amount)
        except ValueError:
            nano = -1
        if nano >= 0:
            return nano
    raise ConfigError(f"budget: {name} = {amount!r} is not an amount of dollars; write zero or more, like '5.00'")


def _dollars(nano: int) -> str:
    """Write an amount for people, with at least two and as many decimals as it has."""
    whole, _, cents = f"{to_usd(nano):.9f}".partition(".")
    return f"${whole}.{cents.rstrip('0').ljust(2, '0')}"


def _keep_newest(periods: dict[Any, Any]) -> None:
    """Forget the oldest; holds that are still open keep their own account."""
    while len(periods) > _PERIODS_KEPT:
        del periods[next(iter(periods))]
