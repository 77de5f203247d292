"""Hard caps on money: nothing is sent unless its worst case fits into every budget that covers it.

`reserve` holds the worst case of a call in all scopes or in none; `settle` replaces the hold by what was really spent,
`release` gives it back when nothing was sent. At every instant, in every capped scope, spent + held <= cap, as long as
no call costs more than its own worst case; if one does, `overshoot_nano` says by how much. A hold covers one attempt:
a retry reserves anew, after the attempt before it was settled, at its worst where its outcome is unknown.

    scopes: total (since the book was opened) · UTC day · UTC month · tag "key=value" (since the book was opened)
            client (the life of one client, where a file keeps the total of many)
            and the cap on a single call, which keeps no account

Two books keep the accounts: `BudgetBook` in memory, and one in a file that processes share. What a cap means, what a
refusal says and how an account changes is written here, once, for both.

Amounts are integer nano-dollars; dollars appear only in the user's settings and in sentences. Times are epoch seconds.
A book is no lock: its owner calls it from one thread at a time.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import PurePath
from typing import Any, Final, Protocol

import msgspec

from ..errors import BudgetExceeded, ConfigError
from ..events import Event
from ..types import to_nano, to_usd

_DAY_S: Final = 86_400
_PERIODS_KEPT: Final = 4  # days (months) whose account is kept, so that a clock set back finds what it had spent
_PPM: Final = 1_000_000  # shares of a cap are compared as whole millionths
_ALERTS: Final = (0.5, 0.8, 1.0)


class BudgetAlert(Event, frozen=True, kw_only=True):
    """A budget reached a share of its cap; `scope` is e.g. 'day 2026-11-20', amounts are nano-dollars.

    `spent_nano` is what calls cost so far, possible costs included, `held_nano` what calls under way may cost yet.
    """

    scope: str
    share: float
    cap_nano: int
    spent_nano: int
    held_nano: int


class Budget(msgspec.Struct, frozen=True, kw_only=True):
    """What may be spent, in dollars; None means no cap.

    `total` is for the life of the client, `daily` and `monthly` for UTC days and months, `per_call` for one attempt of
    a call, `tags` for calls that carry a tag, written "key=value". A call without a known price is refused under any
    cap, unless `allow_unpriced`: then it passes and only its count is kept.

    With `file`, what was spent is kept in that file: it outlives the process, all clients of one machine that name the
    file share it, and `total` is for its life. `per_client` then caps what this client alone may spend.

    `on_alert` is called with a `BudgetAlert` when the spending of a scope reaches one of the shares `alerts` of its cap
    (above 0, at most 1; half, 80 % and all of it unless told), at most once for each share of a scope and period.

    Raises: ConfigError when an amount is negative, not finite or not a number, or another field is of the wrong kind.
    """

    total: str | Decimal | int | float | None = None
    daily: str | Decimal | int | float | None = None
    monthly: str | Decimal | int | float | None = None
    per_call: str | Decimal | int | float | None = None
    per_client: str | Decimal | int | float | None = None
    tags: Mapping[str, str | Decimal | int | float] = {}
    allow_unpriced: bool = False
    file: str | PurePath | None = None
    alerts: Sequence[float] | None = None
    on_alert: Callable[[BudgetAlert], object] | None = None

    def __post_init__(self) -> None:
        for name in ("total", "daily", "monthly", "per_call", "per_client"):
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
        file: object = self.file
        if file is not None and (not isinstance(file, str | PurePath) or not str(file) or "\0" in str(file)):
            raise ConfigError(f"budget: file = {file!r} is no path of a file, like 'spend.db'")
        self._check_alerts()

    def _check_alerts(self) -> None:
        alerts: object = self.alerts
        if self.on_alert is not None and not callable(self.on_alert):
            raise ConfigError(f"budget: on_alert = {self.on_alert!r} must be a function, which only Python can give")
        if alerts is None:
            return
        if self.on_alert is None:
            raise ConfigError("budget: alerts would tell nobody; give on_alert as well, a function, in Python")
        if isinstance(alerts, str) or not isinstance(alerts, Sequence) or not all(map(_is_share, alerts)):
            raise ConfigError(f"budget: alerts = {alerts!r} must be shares above 0 and at most 1, like (0.5, 0.8, 1.0)")


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


class Elastic(msgspec.Struct, frozen=True, gc=False):
    """How far a worst case may be lowered: from `tokens` of output down to `least`; `base_nano` is without any."""

    base_nano: int
    tokens: int
    least: int

    def at(self, tokens: int, worst_nano: int) -> int:
        """Bound the worst case with fewer tokens, where it is `worst_nano` with all of them.

        A worst case is the highest of several straight lines, so the line between two of its points is above it.
        """
        return self.base_nano - (self.base_nano - worst_nano) * tokens // self.tokens

    def within(self, room_nano: int, worst_nano: int) -> int:
        """Return the most tokens whose worst case has room; below `least` when there are too few."""
        span = worst_nano - self.base_nano
        return min(self.tokens, (room_nano - self.base_nano) * self.tokens // span) if span else self.tokens


class Account:
    """What one scope has spent and holds, in nano-dollars; `told_ppm` is the highest share that was alerted."""

    __slots__ = ("cap", "held", "name", "possible", "spent", "told_ppm")

    def __init__(
        self, name: str, cap: int | None, *, spent: int = 0, held: int = 0, possible: int = 0, told_ppm: int = 0
    ) -> None:
        self.name = name
        self.cap = cap
        self.spent = spent
        self.held = held
        self.possible = possible
        self.told_ppm = told_ppm

    def settle(self, held: int, spent: int, possible: int) -> None:
        """Replace a hold by what it came to."""
        self.held -= held
        self.spent += spent
        self.possible += possible

    def state(self) -> ScopeState:
        """Show it."""
        return ScopeState(
            name=self.name,
            cap_nano=self.cap,
            spent_nano=self.spent,
            held_nano=self.held,
            possible_nano=self.possible,
        )


class Hold:
    """Money set aside for one attempt; only the book that made it changes it.

    `worst_nano` is None when the call has no known price. `max_tokens` is what the answer was bounded to because the
    rest of the budget was small, None when it was not. `made_s` is when it was made, and it settles into that day;
    `settled_s` is when it was settled, None before and when it was released. It is open once the book has said yes.
    """

    __slots__ = ("accounts", "is_open", "key", "made_s", "max_tokens", "settled_s", "worst_nano")

    def __init__(self) -> None:
        self.accounts: tuple[Account, ...] = ()
        self.key: tuple[int, int] | None = None
        self.worst_nano: int | None = None
        self.max_tokens: int | None = None
        self.made_s = 0.0
        self.settled_s: float | None = None
        self.is_open = False

    def __repr__(self) -> str:
        return f"Hold(worst_nano={self.worst_nano}, made_s={self.made_s}, is_open={self.is_open})"

    def cost(self, actual_nano: int | None) -> tuple[int, int, int]:
        """Return (spent, possible, overshoot) of an attempt that cost so much, or nobody knows what (None)."""
        worst = self.worst_nano
        if actual_nano is None:
            return worst or 0, worst or 0, 0
        return actual_nano, 0, 0 if worst is None else max(0, actual_nano - worst)


class Book(Protocol):
    """Who may spend how much, and what was spent. `due` are alerts that nobody was told yet: take them out and tell."""

    budget: Budget
    due: list[BudgetAlert]

    def reserve(
        self,
        wall_s: float,
        worst_nano: int | None,
        tags: Mapping[str, str] | None = None,
        *,
        elastic: Elastic | None = None,
        hold: Hold | None = None,
    ) -> Hold | None:
        """Hold the worst case of an attempt in every scope that covers it, or in none.

        Args:
            wall_s: now, epoch seconds.
            worst_nano: the most that the attempt can cost, >= 0; None when its price is unknown.
            tags: the tags of the call.
            elastic: how far the worst case may be lowered when the rest is too small for it.
            hold: what to fill, so that its owner has it before the money is set aside, and an interrupt loses none.

        Returns: the hold, open; None when another process keeps the book busy: ask again soon.
        Raises: BudgetExceeded naming the first scope that has no room; nothing is held then. BudgetUnavailable.
        """
        ...

    def settle(self, wall_s: float, hold: Hold, actual_nano: int | None) -> None:
        """Replace a hold by what the attempt cost, in the day and month in which the hold was made. Never fails.

        Args:
            wall_s: now, epoch seconds.
            hold: what `reserve` gave; settling or releasing it again changes nothing.
            actual_nano: what it cost, >= 0; None when that is unknown, e.g. no answer came: then the worst case counts
                as spent and is reported as possible.
        """
        ...

    def release(self, hold: Hold) -> None:
        """Give a hold back whole: nothing was sent. Again changes nothing."""
        ...

    def carry(self, nano: int) -> None:
        """Count what an earlier run spent, in nano-dollars, against the caps of this client's life."""
        ...

    def snapshot(self, wall_s: float) -> BudgetState:
        """Show all budgets as they stand, for people and tests."""
        ...

    def close(self) -> None:
        """Let go of what the book has open; calls under way can still settle."""
        ...


class Caps:
    """The caps of a budget in nano-dollars, and what they say to an attempt."""

    def __init__(self, budget: Budget) -> None:
        self.budget = budget
        self.total = _cap("total", budget.total)
        self.daily = _cap("daily", budget.daily)
        self.monthly = _cap("monthly", budget.monthly)
        self.per_call = _cap("per_call", budget.per_call)
        self.per_client = _cap("per_client", budget.per_client)
        self.tags = {tag: _cap(f"tag {tag!r}", cap) for tag, cap in budget.tags.items()}
        shares = () if budget.on_alert is None else _ALERTS if budget.alerts is None else budget.alerts
        self._shares = tuple(sorted({(round(share * _PPM) or 1, share) for share in shares}))

    def client(self) -> tuple[Account, ...]:
        """Open the account of this client's life, where it has a cap of its own."""
        return () if self.per_client is None else (Account("client", self.per_client),)

    def fit(
        self, accounts: Sequence[Account], worst_nano: int | None, elastic: Elastic | None
    ) -> tuple[int | None, int | None]:
        """Return the worst case to hold, and the max_tokens to which it was lowered (None: it was not).

        It is lowered only when what is spent leaves too little, so that waiting for calls under way would not help.

        Raises: BudgetExceeded.
        """
        if worst_nano is None:
            self._check_unpriced(accounts)
            return None, None
        if worst_nano < 0:
            raise ValueError(f"worst_nano is {worst_nano}; a worst case cannot be negative (a bug in Penstock)")
        if elastic is not None and worst_nano > 0 and self._is_short(accounts, worst_nano):
            rooms = [account.cap - account.spent - account.held for account in accounts if account.cap is not None]
            room = min(rooms if self.per_call is None else (*rooms, self.per_call))
            tokens = max(elastic.least, elastic.within(room, worst_nano))
            worst_nano = elastic.at(tokens, worst_nano)
            self._check_room(accounts, worst_nano, tokens)
            return worst_nano, tokens
        self._check_room(accounts, worst_nano, None)
        return worst_nano, None

    def alerts(self, accounts: Iterable[Account]) -> list[BudgetAlert]:
        """Return the shares that were reached and not told yet, and note them as told."""
        found = []
        for account in accounts if self._shares else ():
            for ppm, share in self._shares:
                cap = account.cap
                if cap and ppm > account.told_ppm and account.spent * _PPM >= ppm * cap:
                    account.told_ppm = ppm
                    found.append(
                        BudgetAlert(
                            scope=account.name,
                            share=share,
                            cap_nano=cap,
                            spent_nano=account.spent,
                            held_nano=account.held,
                        )
                    )
        return found

    def _is_short(self, accounts: Iterable[Account], needed: int) -> bool:
        return (self.per_call is not None and needed > self.per_call) or any(
            account.cap is not None and account.spent + needed > account.cap for account in accounts
        )

    def _check_room(self, accounts: Iterable[Account], needed: int, tokens: int | None) -> None:
        if self.per_call is not None and needed > self.per_call:
            raise BudgetExceeded(
                f"This call may cost up to {_worst(needed, tokens)}, and the budget allows {_dollars(self.per_call)}"
                " per call. Lower max_tokens, use a cheaper model, or raise per_call.",
                scope="per_call",
                cap_nano=self.per_call,
                spent_nano=0,
                held_nano=0,
                needed_nano=needed,
            )
        for account in accounts:
            # What costs nothing passes also where a wrong price let calls spend more than the cap.
            if account.cap is not None and 0 < needed > account.cap - account.spent - account.held:
                raise _refusal(account, account.cap, needed, tokens)

    def _check_unpriced(self, accounts: Iterable[Account]) -> None:
        if self.budget.allow_unpriced:
            return
        capped = [(a.name, a.cap, a.spent, a.held) for a in accounts if a.cap is not None]
        if self.per_call is not None:
            capped.insert(0, ("per_call", self.per_call, 0, 0))
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


class BudgetBook:
    """The book of one client, in memory. Without a budget nothing is refused, and totals are still counted."""

    def __init__(self, budget: Budget | None = None) -> None:
        self.budget = budget or Budget()
        self.due: list[BudgetAlert] = []
        self._caps = Caps(self.budget)
        self._life = (Account("total", self._caps.total), *self._caps.client())
        self._tags = {tag: Account(f"tag {tag}", cap) for tag, cap in self._caps.tags.items()}
        self._days: dict[int, tuple[Account, Account]] = {}
        self._months: dict[str, Account] = {}
        self._open = 0
        self._unpriced = 0
        self._overshoot = 0

    def reserve(
        self,
        wall_s: float,
        worst_nano: int | None,
        tags: Mapping[str, str] | None = None,
        *,
        elastic: Elastic | None = None,
        hold: Hold | None = None,
    ) -> Hold:
        """Hold the worst case of an attempt in every scope that covers it, or in none; see `Book`."""
        accounts = self._accounts(wall_s, tags)
        hold = hold or Hold()
        hold.worst_nano, hold.max_tokens = self._caps.fit(accounts, worst_nano, elastic)
        hold.made_s = wall_s
        hold.accounts = accounts
        needed = hold.worst_nano or 0
        for account in accounts:
            account.held += needed
        self._open += 1
        hold.is_open = True
        return hold

    def settle(self, wall_s: float, hold: Hold, actual_nano: int | None) -> None:
        """Replace a hold by what the attempt cost; see `Book`."""
        check_cost(actual_nano)
        if not hold.is_open:
            return
        spent, possible, overshoot = hold.cost(actual_nano)
        self._close(hold, spent, possible)
        hold.settled_s = wall_s
        self._unpriced += actual_nano is None and hold.worst_nano is None
        self._overshoot += overshoot
        self.due += self._caps.alerts(hold.accounts)

    def carry(self, nano: int) -> None:
        """Count what an earlier run spent, in nano-dollars, against the total; days and months are not touched."""
        check_carried(nano)
        for account in self._life:
            account.spent += nano
        self.due += self._caps.alerts(self._life)

    def release(self, hold: Hold) -> None:
        """Give a hold back whole: nothing was sent. Again changes nothing."""
        if hold.is_open:
            self._close(hold, 0, 0)

    def remaining(self, wall_s: float, tags: Mapping[str, str] | None = None) -> int | None:
        """Say what one call with these tags may cost at most now, in nano-dollars; None when nothing caps it."""
        rooms = [a.cap - a.spent - a.held for a in self._accounts(wall_s, tags) if a.cap is not None]
        if self._caps.per_call is not None:
            rooms.append(self._caps.per_call)
        return max(0, min(rooms)) if rooms else None

    def snapshot(self, wall_s: float) -> BudgetState:
        """Show all budgets as they stand, for people and tests."""
        accounts = (*self._life, *self._period(wall_s), *self._tags.values())
        return BudgetState(
            scopes=tuple(account.state() for account in accounts),
            calls_under_way=self._open,
            unpriced_calls=self._unpriced,
            overshoot_nano=self._overshoot,
        )

    def close(self) -> None:
        """Nothing is open but memory."""

    def _close(self, hold: Hold, spent: int, possible: int) -> None:
        hold.is_open = False
        self._open -= 1
        for account in hold.accounts:
            account.settle(hold.worst_nano or 0, spent, possible)

    def _accounts(self, wall_s: float, tags: Mapping[str, str] | None) -> tuple[Account, ...]:
        period = self._period(wall_s)
        if not tags or not self._tags:
            return self._life + period
        tagged = (self._tags.get(f"{key}={value}") for key, value in tags.items())
        return (*self._life, *period, *(account for account in tagged if account is not None))

    def _period(self, wall_s: float) -> tuple[Account, Account]:
        """Find or open the accounts of a day and its month."""
        day = int(wall_s // _DAY_S)
        if day not in self._days:
            day_name, month = period_names(wall_s)
            if month not in self._months:
                self._months[month] = Account(month, self._caps.monthly)
                _keep_newest(self._months, month)
            self._days[day] = (Account(day_name, self._caps.daily), self._months[month])
            _keep_newest(self._days, day)
        return self._days[day]


def period_names(wall_s: float) -> tuple[str, str]:
    """Name the scopes of the UTC day and month of an instant."""
    date = datetime.fromtimestamp(wall_s // _DAY_S * _DAY_S, UTC)
    return f"day {date:%Y-%m-%d}", f"month {date:%Y-%m}"


def check_cost(actual_nano: int | None) -> None:
    """Refuse a cost below nothing."""
    if actual_nano is not None and actual_nano < 0:
        raise ValueError(f"actual_nano is {actual_nano}; a cost cannot be negative (a bug in Penstock)")


def check_carried(nano: int) -> None:
    """Refuse an earlier spending below nothing."""
    if nano < 0:
        raise ValueError(f"{nano} nano-dollars cannot have been spent")


def _refusal(account: Account, cap: int, needed: int, tokens: int | None) -> BudgetExceeded:
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
        f"This call may cost up to {_worst(needed, tokens)}, and {_dollars(left)} of the budget {account.name!r}"
        f" is left ({_dollars(cap)}: {_dollars(account.spent)} spent{held}). {remedy}",
        scope=account.name,
        cap_nano=cap,
        spent_nano=account.spent,
        held_nano=account.held,
        needed_nano=needed,
    )


def _worst(needed: int, tokens: int | None) -> str:
    return _dollars(needed) if tokens is None else f"{_dollars(needed)} even with max_tokens={tokens}"


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


def _is_share(share: object) -> bool:
    return isinstance(share, int | float) and not isinstance(share, bool) and math.isfinite(share) and 0 < share <= 1


def _dollars(nano: int) -> str:
    """Write an amount for people, with at least two and as many decimals as it has."""
    whole, _, cents = f"{to_usd(nano):.9f}".partition(".")
    return f"${whole}.{cents.rstrip('0').ljust(2, '0')}"


def _keep_newest(periods: dict[Any, Any], current: Any) -> None:
    """Forget the oldest that is not current; holds that are still open keep their own account."""
    while len(periods) > _PERIODS_KEPT:
        del periods[min(period for period in periods if period != current)]
