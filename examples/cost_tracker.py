"""Who spends what: costs by team and by model, a call when half of the budget is gone, and no dollar above it.

Run `penstock sim` first.
"""

import sys

from penstock import Budget, BudgetAlert, Client, PenstockError
from penstock.errors import BudgetExceeded


def warn(alert: BudgetAlert) -> None:
    print(f"  ! {alert.share:.0%} of {alert.scope} is spent or held: {alert.spent_nano / 1e9:.6f} of "
          f"{alert.cap_nano / 1e9:.6f} dollars")  # fmt: skip


def main() -> None:
    budget = Budget(total="0.002", tags={"team=search": "0.0005"}, on_alert=warn)
    with Client(budget=budget) as client:
        for number in range(12):
            team = "search" if number % 2 else "payments"
            try:
                client.complete(
                    f"Summarise incident {number} for the board: the database was down.",
                    model="openai:gpt-4o-mini" if number % 3 else "anthropic:claude-haiku-4-5",
                    tags={"team": team},
                    max_tokens=120,
                )
            except BudgetExceeded as error:
                print(f"  refused for {team}: {error.scope} is used up")
        used = client.usage()
    print(f"{used.calls} calls, ${used.cost}")
    for name, totals in (*used.by_model.items(), *used.by_tag.items()):
        print(f"  {name:28} {totals.calls:3} calls  {totals.usage.total:6,} tokens  ${totals.cost}")


if __name__ == "__main__":
    try:
        main()
    except PenstockError as error:
        sys.exit(f"{error}")
