"""Who is told when a budget is being used up: the log, a function, a webhook. None of them can hurt a call."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import msgspec

from .._policy.alerts import BudgetAlert
from .._policy.budget import Budget
from ..types import Secret, to_usd

if TYPE_CHECKING:
    from .webhook import Webhook  # loaded with the first alert

LOG = logging.getLogger("penstock")


class Alerts:
    """Tells of the thresholds of one budget."""

    def __init__(self, budget: Budget) -> None:
        self._on_alert = budget.on_alert
        self._url = budget.webhook
        self._webhook: Webhook | None = None

    def tell(self, due: Iterable[BudgetAlert], wall_s: float) -> None:
        """Tell everybody; the function is called here and now, the webhook by a thread of its own."""
        for alert in due:
            LOG.warning("%s", alert, extra=_fields(alert))
            if self._on_alert is not None:
                try:
                    self._on_alert(alert)
                except Exception:
                    LOG.exception("on_alert of the budget failed")
            if self._url is not None:
                self._post(self._url, alert, wall_s)

    def close(self) -> None:
        """End the thread of the webhook once it posted what waits, and wait for nothing. A later alert begins anew."""
        if self._webhook is not None:
            self._webhook.close(0.0)

    def _post(self, url: str | Secret, alert: BudgetAlert, wall_s: float) -> None:
        if self._webhook is None:
            from .webhook import Webhook

            self._webhook = Webhook(url if isinstance(url, Secret) else Secret(url))
        self._webhook.send(_body(alert, wall_s), str(alert))


def _fields(alert: BudgetAlert) -> dict[str, object]:
    return {
        "kind": "budget_alert",
        "scope": alert.scope,
        "share": alert.share,
        "cap_usd": float(to_usd(alert.cap_nano)),
        "spent_usd": float(to_usd(alert.spent_nano)),
        "held_usd": float(to_usd(alert.held_nano)),
    }


def _body(alert: BudgetAlert, wall_s: float) -> bytes:
    """Write what is posted: amounts as exact decimals in strings, and `text` as chat services show it."""
    return msgspec.json.encode(
        {
            "event": "budget_alert",
            "text": f"penstock: {alert}",
            "scope": alert.scope,
            "share": alert.share,
            "cap_usd": to_usd(alert.cap_nano),
            "spent_usd": to_usd(alert.spent_nano),
            "held_usd": to_usd(alert.held_nano),
            "at": datetime.fromtimestamp(wall_s, UTC),
        }
    )
