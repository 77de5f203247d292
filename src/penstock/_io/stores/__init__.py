"""Where state outlives a process, or is shared by several."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from ..._policy.budget import Book, Budget, BudgetBook

BUDGET_FILE: Final = "budget.db"


def default_file(state: Path) -> Path:
    """Return where the budget is kept that `penstock budget set` makes when no other file is named."""
    return state / BUDGET_FILE


def book_of(budget: Budget | None) -> Book:
    """Open the book of a budget: in its file where it names one, else in memory.

    Raises: ConfigError, BudgetUnavailable when the file cannot be used.
    """
    if budget is None or budget.file is None:
        return BudgetBook(budget)
    from .budget_sqlite import SharedBook

    return SharedBook(budget)
