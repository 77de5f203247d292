"""The file of a shared budget, for those who look after it: the caps in it, what was spent, and a new beginning."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Mapping

from ..._policy.budget import Account, ScopeState, period_names
from .budget_sqlite import SharedBook


class BudgetFile(SharedBook):
    """A book that can be changed. Clients that share the file obey what is changed from their next attempt on."""

    def caps(self) -> dict[str, int]:
        """Return the caps in the file, in nano-dollars: by total, daily, monthly and 'tag key=value'.

        Raises: BudgetUnavailable.
        """
        with self._connection(0.0) as db:
            return dict(db.execute("SELECT name, nano FROM cap ORDER BY name"))

    def allow(self, caps: Mapping[str, int | None], patience_s: float) -> None:
        """Set caps by those names; None takes one away, and what is not named stays.

        Raises: BudgetUnavailable, `busy` when another process did not leave within `patience_s`.
        """
        with self._transaction(patience_s) as db:
            for name, nano in caps.items():
                if nano is None:
                    db.execute("DELETE FROM cap WHERE name = ?", (name,))
                else:
                    db.execute("REPLACE INTO cap VALUES (?, ?)", (name, nano))

    def accounts(self) -> tuple[ScopeState, ...]:
        """Return all accounts that were ever kept, past days and months too, without caps.

        Raises: BudgetUnavailable.
        """
        with self._connection(0.0) as db:
            return tuple(account.state() for account in self._every(db))

    def forget(self, scopes: Iterable[str], wall_s: float, patience_s: float) -> tuple[ScopeState, ...]:
        """Count from 0 again, and return what the accounts said before.

        `scopes` are total, daily and monthly (those of now) and 'tag key=value'; none at all means every account, past
        days too. Calls under way keep what they hold, and count once they settle.

        Raises: BudgetUnavailable, as `allow`.
        """
        day, month = period_names(wall_s)
        names = {{"daily": day, "monthly": month}.get(scope, scope) for scope in scopes}
        with self._transaction(patience_s) as db:
            accounts = [account for account in self._every(db) if not names or account.name in names]
            before = tuple(account.state() for account in accounts)
            for account in accounts:
                account.spent = account.possible = account.told_ppm = 0
            self._save(db, accounts)
            # What was counted of these is forgotten, so that it cannot be taken back either.
            db.execute("DELETE FROM hold WHERE lost = 1")
            if not names:
                db.execute("UPDATE sums SET unpriced = 0, overshoot = 0")
        return before

    @staticmethod
    def _every(db: sqlite3.Connection) -> list[Account]:
        rows = db.execute("SELECT name, spent, held, possible FROM account ORDER BY name")
        return [Account(name, None, spent=spent, held=held, possible=possible) for name, spent, held, possible in rows]
