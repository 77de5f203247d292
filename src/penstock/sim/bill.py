"""The provider's bill: what each attempt cost, in integer nano-dollars."""

from __future__ import annotations

from collections import deque
from decimal import Decimal, InvalidOperation

import msgspec

from penstock.sim.plan import Usage

NANO_PER_USD = 1_000_000_000
_PER_MILLION = 1_000_000


def _nano(dollars: str | int | float) -> int:
    try:
        value = Decimal(str(dollars))
    except InvalidOperation as error:
        raise ValueError(f"{dollars!r} is not an amount of dollars per million tokens") from error
    nano = value * NANO_PER_USD
    if not value.is_finite() or value < 0 or nano != nano.to_integral_value():
        raise ValueError(f"{dollars!r} is not an amount >= 0 in whole nano-dollars per million tokens")
    return int(nano)


class Price(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Dollars per million tokens, as decimal strings; what is not given costs as much as plain input.

    Raises: ValueError for an amount that is negative, not finite or finer than a nano-dollar per million.
    """

    input: str | int | float
    output: str | int | float
    cache_read: str | int | float | None = None
    write_5m: str | int | float | None = None
    write_1h: str | int | float | None = None

    def __post_init__(self) -> None:
        for amount in (self.input, self.output, self.cache_read, self.write_5m, self.write_1h):
            if amount is not None:
                _nano(amount)

    def rates(self) -> tuple[int, int, int, int, int]:
        """Nano-dollars per million tokens of input, cache read, 5 minute write, 1 hour write and output."""
        plain = _nano(self.input)
        read, short, long = (
            plain if amount is None else _nano(amount) for amount in (self.cache_read, self.write_5m, self.write_1h)
        )
        return plain, read, short, long, _nano(self.output)

    def cost_nano(self, usage: Usage) -> int:
        """The cost of that usage in nano-dollars, rounded half up once at the end."""
        return _cost(self.rates(), usage)


def _cost(rates: tuple[int, int, int, int, int], usage: Usage) -> int:
    plain, read, short, long, output = rates
    total = (
        usage.input * plain
        + usage.cache_read * read
        + usage.write_5m * short
        + usage.write_1h * long
        + usage.output * output
    )
    return (total + _PER_MILLION // 2) // _PER_MILLION


class Attempt(msgspec.Struct, frozen=True, kw_only=True):
    """One line of the log and the bill; times are epoch seconds, credential and prompt are hashes.

    Two attempts with the same messages have the same `prompt`. `retry_after_s` is the wait that an error told, counted
    from `arrived`; None when it told none.
    """

    no: int
    request_id: str
    arrived: float
    ended: float
    protocol: str
    path: str
    model: str
    credential: str
    status: int
    fault: str
    stream: bool
    aborted: bool
    input_tokens: int
    cache_read_tokens: int
    cache_write_tokens: int
    output_tokens: int
    billed_nano: int
    prompt: str = ""
    retry_after_s: float | None = None


class Bill:
    """Adds up attempts; totals are exact for ever, single attempts are kept up to `keep`."""

    def __init__(self, keep: int) -> None:
        self.attempts: deque[Attempt] = deque(maxlen=keep)
        self.total_nano = 0
        self.count = 0
        self.by_model: dict[str, dict[str, int]] = {}
        self.by_credential: dict[str, dict[str, int]] = {}
        self._rates: dict[Price, tuple[int, int, int, int, int]] = {}

    def cost_nano(self, price: Price, usage: Usage) -> int:
        """The cost of that usage at that price in nano-dollars."""
        rates = self._rates.get(price)
        if rates is None:
            rates = self._rates[price] = price.rates()
        return _cost(rates, usage)

    def add(self, attempt: Attempt) -> None:
        """Write one attempt into the log and onto the bill."""
        self.attempts.append(attempt)
        self.count += 1
        self.total_nano += attempt.billed_nano
        for table, key in ((self.by_model, attempt.model), (self.by_credential, attempt.credential)):
            row = table.get(key)
            if row is None:
                row = table[key] = dict.fromkeys(
                    (
                        "attempts",
                        "billed",
                        "input_tokens",
                        "cache_read_tokens",
                        "cache_write_tokens",
                        "output_tokens",
                        "billed_nano",
                    ),
                    0,
                )
            row["attempts"] += 1
            if attempt.billed_nano:
                row["billed"] += 1
                row["input_tokens"] += attempt.input_tokens
                row["cache_read_tokens"] += attempt.cache_read_tokens
                row["cache_write_tokens"] += attempt.cache_write_tokens
                row["output_tokens"] += attempt.output_tokens
                row["billed_nano"] += attempt.billed_nano

    def report(self, *, attempts: bool = False) -> dict[str, object]:
        """The bill as plain data; with `attempts` every kept attempt is listed."""
        data: dict[str, object] = {
            "total_nano": self.total_nano,
            "total_usd": str(Decimal(self.total_nano) / NANO_PER_USD),
            "attempts": self.count,
            # Copied in one step first: another thread may bill meanwhile.
            "by_model": {name: dict(row) for name, row in dict(self.by_model).items()},
            "by_credential": {name: dict(row) for name, row in dict(self.by_credential).items()},
        }
        if attempts:
            data["list"] = [msgspec.to_builtins(attempt) for attempt in self.attempts]
        return data
