"""Where state outlives a process, or is shared by several."""

from __future__ import annotations

from ..._policy.budget import Book, Budget, BudgetBook


def book_of(budget: Budget | None) -> Book:
    """Open the book of a budget: in its file where it names one, else in memory.

    Raises: ConfigError, BudgetUnavailable when the file cannot be used.
    """
    if budget is None or budget.file is None:
        return BudgetBook(budget)
    from .budget_sqlite import SharedBook

    return SharedBook(budget)
