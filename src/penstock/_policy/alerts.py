"""When the owner of a budget is told that it is being used up, and what: shares of each scope's cap.

A scope is told of each share once in its period. Who is told (a function, the log, a webhook) is the gate's affair.
"""

from __future__ import annotations

import ipaddress
import math
from collections.abc import Mapping, Sequence
from typing import Final
from urllib.parse import urlsplit

from ..errors import ConfigError
from ..events import Event
from ..types import Secret
from .amounts import dollars

PPM: Final = 1_000_000  # shares of a cap are compared as whole millionths
USUAL: Final = (0.5, 0.8, 1.0)

SCOPES: Final = {"total": "total", "day": "daily", "month": "monthly", "client": "per_client"}
"""The field of a budget that caps an account, by the first word of the account's name; a tag is written as it is."""

_SHARES: Final = "shares above 0 and at most 1, like (0.5, 0.8, 1.0)"


class BudgetAlert(Event, frozen=True, kw_only=True):
    """A budget reached a share of its cap; `scope` is e.g. 'day 2026-11-20', amounts are nano-dollars.

    `spent_nano` is what calls cost so far, possible costs included, `held_nano` what calls under way may cost yet.
    """

    scope: str
    share: float
    cap_nano: int
    spent_nano: int
    held_nano: int

    def __str__(self) -> str:
        held = f", {dollars(self.held_nano)} held by calls under way" if self.held_nano else ""
        return (
            f"budget {self.scope!r} reached {self.share:.0%}: {dollars(self.spent_nano)} of {dollars(self.cap_nano)}"
            f" spent{held}"
        )


class Thresholds:
    """The shares at which each scope is told, as (millionths, share), lowest first."""

    def __init__(self, alerts: Sequence[float] | Mapping[str, Sequence[float]]) -> None:
        by_scope = alerts if isinstance(alerts, Mapping) else {}
        self._by_scope = {scope: _marks(shares) for scope, shares in by_scope.items()}
        self._every = () if isinstance(alerts, Mapping) else _marks(alerts)

    def __bool__(self) -> bool:
        return bool(self._every or self._by_scope)

    def of(self, account: str) -> tuple[tuple[int, float], ...]:
        """Return those of an account by its name, such as 'day 2026-11-20' or 'tag team=search'."""
        if not self._by_scope:
            return self._every
        kind, _, rest = account.partition(" ")
        return self._by_scope.get(SCOPES.get(kind, rest), ())


def _marks(shares: Sequence[float]) -> tuple[tuple[int, float], ...]:
    return tuple(sorted({(round(share * PPM) or 1, share) for share in shares}))


def check_alerts(alerts: object, tags: Mapping[str, object] | None) -> None:
    """Refuse thresholds that are none, and scopes that the budget does not cap; None: a file caps any tag.

    Raises: ConfigError.
    """
    if not isinstance(alerts, Mapping):
        _check_shares("alerts", alerts)
        return
    fields = tuple(SCOPES.values())
    for scope, shares in alerts.items():
        if scope not in fields and ("=" not in str(scope) if tags is None else scope not in tags):
            raise ConfigError(
                f"budget: alerts has no scope {scope!r}; expected {', '.join(fields)} or one of the tags, like"
                " {'daily': (0.5, 0.9)}"
            )
        _check_shares(f"alerts[{scope!r}]", shares)


def _check_shares(name: str, shares: object) -> None:
    if isinstance(shares, str) or not isinstance(shares, Sequence) or not all(map(_is_share, shares)):
        raise ConfigError(f"budget: {name} = {shares!r} must be {_SHARES}")


def _is_share(share: object) -> bool:
    return isinstance(share, int | float) and not isinstance(share, bool) and math.isfinite(share) and 0 < share <= 1


def webhook_of(url: object) -> Secret | None:
    """Read the address to which alerts are posted. It may hold a secret, so no message shows it.

    Raises: ConfigError for anything but https, or http to this machine.
    """
    if url is None:
        return None
    text = url.reveal() if isinstance(url, Secret) else url
    wrong = _wrong_address(text) if isinstance(text, str) else "is no string"
    if wrong:
        raise ConfigError(f"budget: webhook {wrong}; expected an https address like https://hooks.example.com/…")
    assert isinstance(text, str)
    return Secret(text)


def _wrong_address(url: str) -> str | None:
    if not url.isascii() or not url.isprintable() or " " in url:
        return "has characters that no URL has"
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        return "has no valid host or port"
    if parts.scheme not in ("https", "http") or not host or port == 0:
        return "is no http(s) address"
    if parts.username is not None or parts.password is not None:
        return "holds a user name or password, which would travel in a header of its own"
    if parts.scheme == "http" and not _is_here(host):
        return "is plain http, which anybody on the way can read"
    return None


def _is_here(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
