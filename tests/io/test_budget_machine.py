"""Any order of holds, settlements, crashes and days: both books agree with a tiny model that sums up calls."""

from __future__ import annotations

import os
import shutil
import tempfile
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from penstock._io.stores.budget_sqlite import SharedBook
from penstock._io.stores.owner import Owner
from penstock._policy.budget import Book, Budget, BudgetBook, Elastic, Hold
from penstock.errors import BudgetExceeded

SHARES = (0.5, 1.0)
TOKENS, LEAST = 40, 5
MEMORY = "/dev/shm"  # many short lives of a file, each of which would be forced to the disk at its end
BACK_S = 48 * 3_600.0  # the book in memory knows the last days; that in a file knows all


@dataclass
class Booked:
    """One attempt as the tiny model remembers it."""

    hold: Hold
    worst: int | None
    names: frozenset[str]
    client: int = 0
    state: str = "open"
    spent: int = 0
    possible: int = 0

    def end(self, state: str, actual: int | None) -> None:
        self.state = state
        self.spent = (self.worst or 0) if actual is None else actual
        self.possible = (self.worst or 0) if actual is None else 0


@dataclass
class Model:
    """A budget as a list of calls that is summed up anew for every question."""

    caps: dict[str, int]
    calls: list[Booked] = field(default_factory=list)
    told: set[tuple[str, float]] = field(default_factory=set)

    def of(self, name: str) -> list[Booked]:
        return [call for call in self.calls if name in call.names]

    def spent(self, name: str) -> int:
        return sum(call.spent for call in self.of(name))

    def held(self, name: str) -> int:
        return sum(call.worst or 0 for call in self.of(name) if call.state == "open")

    def possible(self, name: str) -> int:
        return sum(call.possible for call in self.of(name))

    def cap(self, name: str) -> int | None:
        return self.caps.get(name if name.startswith(("total", "tag")) else name.split()[0])

    def unpriced(self) -> int:
        return sum(call.worst is None and call.state == "unpriced" for call in self.calls)

    def fit(self, names: frozenset[str], worst: int | None, elastic: Elastic | None) -> tuple[int | None, int | None]:
        """Say what is held and with how many tokens; a LookupError where nothing fits."""
        caps = {name: cap for name in names if (cap := self.cap(name)) is not None}
        if worst is None:
            if caps:
                raise LookupError
            return None, None
        room = min((cap - self.spent(name) - self.held(name) for name, cap in caps.items()), default=worst)
        if worst <= room or worst == 0:
            return worst, None
        if elastic is not None and any(self.spent(name) + worst > cap for name, cap in caps.items()):
            for tokens in reversed(range(LEAST, TOKENS + 1)):
                lower = elastic.base_nano - (elastic.base_nano - worst) * tokens // TOKENS
                if lower <= room or lower == 0:
                    return lower, tokens
        raise LookupError

    def tell(self, names: frozenset[str]) -> None:
        for name in names:
            cap = self.cap(name)
            self.told |= {(name, share) for share in SHARES if cap and self.spent(name) >= share * cap}


class Machine(RuleBasedStateMachine):
    """What both books have in common."""

    def __init__(self) -> None:
        super().__init__()
        self.books: list[Any] = []

    def book(self, budget: Budget) -> Book:
        raise NotImplementedError

    @initialize(
        total=st.none() | st.integers(0, 300),
        day=st.none() | st.integers(0, 100),
        month=st.none() | st.integers(0, 200),
        tag=st.none() | st.integers(0, 60),
        client=st.none() | st.integers(0, 90),
    )
    def open(self, **caps: int | None) -> None:
        nano = {name: Decimal(cap).scaleb(-9) for name, cap in caps.items() if cap is not None}
        self.budget = Budget(
            total=nano.get("total"),
            daily=nano.get("day"),
            monthly=nano.get("month"),
            per_client=nano.get("client"),
            tags={"team=search": nano["tag"]} if "tag" in nano else {},
            alerts=SHARES,
            on_alert=print,
        )
        named = {"tag team=search" if name == "tag" else name: cap for name, cap in caps.items()}
        self.model = Model({name: cap for name, cap in named.items() if cap is not None})
        self.told: list[tuple[str, float]] = []
        self.now = self.latest = datetime(2026, 11, 29, 20, tzinfo=UTC).timestamp()
        self.books = [self.book(self.budget)]

    def names(self, team: str | None, client: int) -> frozenset[str]:
        now = datetime.fromtimestamp(self.now, UTC)
        names = {"total", f"day {now:%Y-%m-%d}", f"month {now:%Y-%m}"}
        if team == "search" and "tag team=search" in self.model.caps:
            names.add("tag team=search")
        return frozenset(names | {f"client {client}"} if "client" in self.model.caps else names)

    @rule(
        data=st.data(),
        worst=st.integers(0, 70) | st.none(),
        silent=st.none() | st.integers(0, 70),
        team=st.sampled_from([None, "search", "ads"]),
    )
    def reserve(self, data: st.DataObject, worst: int | None, silent: int | None, team: str | None) -> None:
        client = data.draw(st.sampled_from([at for at, book in enumerate(self.books) if book is not None]))
        tags = None if team is None else {"team": team, "other": "tag"}
        names = self.names(team, client)
        fits = silent is not None and worst is not None and silent <= worst
        elastic = Elastic(silent, TOKENS, LEAST) if fits and silent is not None else None
        try:
            wanted, tokens = self.model.fit(names, worst, elastic)
        except LookupError:
            with pytest.raises(BudgetExceeded):
                self.books[client].reserve(self.now, worst, tags, elastic=elastic)
            return
        hold = self.books[client].reserve(self.now, worst, tags, elastic=elastic)
        assert (hold.worst_nano, hold.max_tokens) == (wanted, tokens)
        self.model.calls.append(Booked(hold, wanted, names, client))

    def settles(self, call: Booked) -> Any:
        return self.books[call.client]

    def all_books(self) -> list[Any]:
        return self.books

    @precondition(lambda self: self.model.calls)
    @rule(data=st.data())
    def settle(self, data: st.DataObject) -> None:
        call = data.draw(st.sampled_from(self.model.calls))
        actual = data.draw(st.none() | st.integers(0, call.worst or 0))
        was_open = call.hold.is_open
        self.settles(call).settle(self.now, call.hold, actual)
        if was_open:
            call.end("unpriced" if actual is None else "settled", actual)
            self.model.tell(call.names)

    @precondition(lambda self: self.model.calls)
    @rule(data=st.data())
    def release(self, data: st.DataObject) -> None:
        call = data.draw(st.sampled_from(self.model.calls))
        was_open = call.hold.is_open
        self.settles(call).release(call.hold)
        if was_open:
            call.end("released", 0)
            self.model.tell(call.names)

    @rule(data=st.data(), nano=st.integers(0, 20))
    def carry(self, data: st.DataObject, nano: int) -> None:
        client = data.draw(st.sampled_from([at for at, book in enumerate(self.books) if book is not None]))
        self.books[client].carry(nano)
        names = frozenset({"total", f"client {client}"} & self.carried(client))
        self.model.calls.append(Booked(Hold(), 0, names, client, "carried", nano))
        self.model.tell(names)

    def carried(self, client: int) -> set[str]:
        return {"total", f"client {client}"}

    @rule(hours=st.integers(-30, 30))
    def wait(self, hours: int) -> None:
        self.now = max(self.now + hours * 3_600, self.latest - BACK_S)
        self.latest = max(self.latest, self.now)

    @invariant()
    def caps_hold_and_sums_agree(self) -> None:
        for client, book in enumerate(self.books):
            if book is None:
                continue
            state = book.snapshot(self.now)
            assert state.overshoot_nano == 0
            assert state.calls_under_way == sum(call.state == "open" for call in self.model.calls)
            assert state.unpriced_calls == self.model.unpriced()
            for scope in state.scopes:
                name = f"client {client}" if scope.name == "client" else scope.name
                assert scope.cap_nano == self.model.cap(name)
                assert scope.spent_nano == self.model.spent(name)
                assert scope.held_nano == self.model.held(name)
                assert scope.possible_nano == self.model.possible(name)
                carried = sum(call.spent for call in self.model.of(name) if call.state == "carried")
                assert scope.cap_nano is None or scope.spent_nano + scope.held_nano - carried <= scope.cap_nano
        if hasattr(self, "model"):
            for book in self.all_books():
                self.told += [(alert.scope, alert.share) for alert in book.due if alert.scope != "client"]
                book.due.clear()
            assert sorted(self.told) == sorted(one for one in self.model.told if not one[0].startswith("client"))


class MemoryMachine(Machine):
    """The book of one client."""

    def book(self, budget: Budget) -> Book:
        return BudgetBook(budget)


class SharedMachine(Machine):
    """Several clients on one file, some of which crash, and some of the crashed come back to settle."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp(dir=MEMORY if os.path.isdir(MEMORY) else None))
        self.dead: set[int] = set()
        self.ghosts: dict[int, SharedBook] = {}
        self.born = 0

    def book(self, budget: Budget) -> SharedBook:
        from msgspec.structs import replace

        self.born += 1
        process = Owner(self.born, "", "", "")
        return SharedBook(
            replace(budget, file=self.folder / "spend.db"),
            process=lambda: process,
            is_dead=lambda owner: owner.pid in self.dead,
        )

    def carried(self, client: int) -> set[str]:
        return {f"client {client}"}

    def settles(self, call: Booked) -> Any:
        return self.books[call.client] or self.ghosts[call.client]

    def all_books(self) -> list[Any]:
        return [book for book in (*self.books, *self.ghosts.values()) if book is not None]

    @precondition(lambda self: len(self.books) < 4)
    @rule()
    def join(self) -> None:
        self.books.append(self.book(self.budget))

    @precondition(lambda self: len(self.books) < 6)
    @rule(data=st.data())
    def crash(self, data: st.DataObject) -> None:
        client = data.draw(st.sampled_from([at for at, book in enumerate(self.books) if book is not None]))
        self.ghosts[client], self.books[client] = self.books[client], None
        self.ghosts[client]._disconnect()
        self.dead.add(client + 1)
        self.join()
        for call in self.model.calls:
            if call.client == client and call.state == "open":
                call.end("unpriced", None)

    @rule(data=st.data())
    def reopen(self, data: st.DataObject) -> None:
        data.draw(st.sampled_from([book for book in self.books if book is not None])).close()

    def teardown(self) -> None:
        for book in self.all_books():
            book.close()
        shutil.rmtree(self.folder)


def test_the_book_in_memory_agrees_with_the_model() -> None:
    """Caps hold at every step, sums agree, alerts come once."""
    run_state_machine_as_test(MemoryMachine, settings=settings(max_examples=60, stateful_step_count=30, deadline=None))


@pytest.mark.prove(15)
def test_the_book_in_a_file_agrees_with_the_model() -> None:
    """Also with several clients, of which some crash and come back, under a clock that goes back and forth."""
    run_state_machine_as_test(SharedMachine, settings=settings(max_examples=20, stateful_step_count=25, deadline=None))


@pytest.mark.slow
@pytest.mark.prove(15)
def test_the_book_in_a_file_agrees_with_the_model_for_long() -> None:
    """The same, with many more lives."""
    run_state_machine_as_test(SharedMachine, settings=settings(max_examples=120, stateful_step_count=50, deadline=None))
