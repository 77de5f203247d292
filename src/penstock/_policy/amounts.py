"""Amounts of dollars: as people set them, and as sentences say them."""

from __future__ import annotations

from decimal import Decimal

from ..errors import ConfigError
from ..types import to_nano, to_usd


def cap_nano(name: str, amount: object) -> int | None:
    """Turn a setting into nano-dollars; None stays None.

    Raises: ConfigError naming the setting.
    """
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


def dollars(nano: int) -> str:
    """Write an amount for people, with at least two and as many decimals as it has."""
    whole, _, cents = f"{to_usd(nano):.9f}".partition(".")
    return f"${whole}.{cents.rstrip('0').ljust(2, '0')}"
