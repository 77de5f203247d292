"""Bills of providers as lines by day and model: their exports (CSV), their admin interfaces (JSON), and a plain table.

    who        file                                     columns or shape that tell it
    OpenAI     costs, CSV of the dashboard              start_time_iso amount_value line_item
    OpenAI     GET /v1/organization/costs               data[].results[].amount.value
    OpenAI     usage, CSV or GET …/usage/completions    num_model_requests input_tokens output_tokens model
    Anthropic  cost, CSV of the console                 usage_date_utc model cost_usd
    Anthropic  usage, CSV of the console                usage_date_utc model_version usage_input_tokens_no_cache …
    Anthropic  GET /v1/organizations/cost_report        data[].results[].amount, in cents
    Anthropic  GET …/usage_report/messages              data[].results[].uncached_input_tokens …
    anybody    date, model, cost                        dollars

Source: OpenAI API reference "Costs", "Completions usage"; Claude API reference "Cost Report", "Messages usage report"
(amounts in cents, as strings); exports of both dashboards, 2026.
"""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any, Final

import msgspec

from ..._policy.reconcile import Line
from ...errors import InputError
from ...types import to_nano

BYTES_MAX: Final = 256 * 1024 * 1024
"""A larger bill is none."""

UNNAMED: Final = "(all models)"
_DATES: Final = ("date", "day", "usage_date_utc", "start_time_iso", "starting_at", "start_time")
_MODELS: Final = ("model", "model_version", "line_item", "description")
_COSTS: Final = ("cost_usd", "amount_value", "cost", "amount_usd", "usd")
_TOKENS: Final = (
    "input_tokens",
    "output_tokens",
    "usage_input_tokens_no_cache",
    "usage_input_tokens_cache_write_5m",
    "usage_input_tokens_cache_write_1h",
    "usage_input_tokens_cache_read",
    "usage_output_tokens",
    "uncached_input_tokens",
    "cache_read_input_tokens",
    "tokens",
)
_MARKS: Final = {
    "openai": ("amount_value", "num_model_requests", "organization.costs.result", "organization.usage."),
    "anthropic": ("usage_date_utc", "uncached_input_tokens", '"starting_at"'),
}
"""Words that only one provider's bills have."""

HOW: Final = "expected a cost or usage export of OpenAI or Anthropic, or the columns date, model, cost (dollars)"


class Bill(msgspec.Struct, frozen=True):
    """The lines of a bill, and whose it is where its shape tells: 'openai', 'anthropic' or None."""

    lines: list[Line]
    provider: str | None


def read_bill(path: str | os.PathLike[str]) -> Bill:
    """Read a bill, CSV or JSON.

    Raises: InputError saying file, line and column.
    """
    file = Path(path)
    try:
        if file.stat().st_size > BYTES_MAX:
            raise InputError(f"{file} is larger than any bill ({BYTES_MAX >> 20} MB); {HOW}")
        text = file.read_text("utf-8-sig")
    except OSError as error:
        raise InputError(f"{file} cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise InputError(f"{file} is no UTF-8 text; {HOW}") from error
    is_json = text.lstrip()[:1] in ("[", "{")
    lines = list(_of_json(text, str(file)) if is_json else _of_csv(text, str(file)))
    if not lines:
        raise InputError(f"{file} has no line with money or tokens; {HOW}")
    head = text if is_json else text.partition("\n")[0]
    provider = next((name for name, marks in _MARKS.items() if any(mark in head for mark in marks)), None)
    return Bill(lines, provider)


def _of_csv(text: str, name: str) -> Iterator[Line]:
    reader = csv.DictReader(io.StringIO(text), strict=True)
    columns = [column.strip().lower() for column in reader.fieldnames or []]
    reader.fieldnames = columns
    if not any(column in columns for column in _DATES) or not any(column in columns for column in (*_COSTS, *_TOKENS)):
        raise InputError(f"{name}: its columns are {', '.join(columns[:12]) or 'none'}; {HOW}")
    try:
        for row in reader:
            line = _line(row, f"{name}, line {reader.line_num}")
            if line is not None:
                yield line
    except csv.Error as error:
        raise InputError(f"{name}, line {reader.line_num}: {error}") from error


def _of_json(text: str, name: str) -> Iterator[Line]:
    try:
        tree = msgspec.json.decode(text)
    except (msgspec.DecodeError, RecursionError) as error:
        raise InputError(f"{name} is no JSON: {error}") from error
    pages = tree if isinstance(tree, list) else [tree]
    number = 0
    for page in pages:
        if not isinstance(page, dict):
            raise InputError(f"{name}: entry {number + 1} is a {type(page).__name__}; {HOW}")
        for bucket in page["data"] if isinstance(page.get("data"), list) else [page]:
            number += 1
            if not isinstance(bucket, dict):
                raise InputError(f"{name}: entry {number} is a {type(bucket).__name__}; {HOW}")
            yield from _of_bucket(bucket, f"{name}: entry {number}")


def _of_bucket(bucket: dict[str, Any], where: str) -> Iterator[Line]:
    """Read a stretch of time with its results, or one row."""
    results = bucket.get("results", [bucket])
    if not isinstance(results, list):
        raise InputError(f"{where}: results is a {type(results).__name__}; expected a list")
    for result in results:
        if not isinstance(result, dict):
            raise InputError(f"{where}: a result is a {type(result).__name__}; expected an object")
        row = {**{name: bucket[name] for name in _DATES if name in bucket}, **result}
        amount = row.pop("amount", None)
        if isinstance(amount, dict):  # OpenAI: dollars
            row["amount_value"], row["amount_currency"] = amount.get("value"), amount.get("currency")
        elif amount is not None:  # Anthropic: cents
            row["cost_usd"] = _decimal(amount, "amount", where) / 100
        writes = row.pop("cache_creation", None)
        if isinstance(writes, dict):
            row["tokens"] = sum(int(count or 0) for count in writes.values())
        line = _line(row, where)
        if line is not None:
            yield line


def _line(row: Mapping[str, Any], where: str) -> Line | None:
    """Read one row; None where it has neither money nor tokens, as the empty days of an export."""
    currency = str(row.get("amount_currency") or row.get("currency") or "usd").lower()
    if currency != "usd":
        raise InputError(f"{where}: the currency is {currency!r}; only dollars can be compared")
    cost = next((row[name] for name in _COSTS if row.get(name) not in (None, "")), None)
    counts = [row[name] for name in _TOKENS if row.get(name) not in (None, "")]
    if cost is None and not counts:
        return None
    model = next((str(row[name]) for name in _MODELS if row.get(name) not in (None, "")), UNNAMED)
    return Line(
        day=_day(next((row[name] for name in _DATES if row.get(name) not in (None, "")), None), where),
        model=model,
        cost_nano=None if cost is None else to_nano(_decimal(cost, "cost", where)),
        tokens=int(sum(_decimal(count, "tokens", where) for count in counts)) if counts else None,
    )


def _decimal(value: Any, what: str, where: str) -> Decimal:
    text = str(value).strip().removeprefix("$").replace(",", "")
    try:
        found = Decimal(text)
    except InvalidOperation:
        found = Decimal("NaN")
    if not found.is_finite() or isinstance(value, bool) or abs(found) > 10**12:
        raise InputError(f"{where}: {what} is {value!r}; expected a number")
    return found


def _day(value: Any, where: str) -> str:
    text = str(value).strip()
    try:
        if isinstance(value, int | float) or text.replace(".", "", 1).isdigit():
            return datetime.fromtimestamp(float(text), UTC).date().isoformat()
        at = datetime.fromisoformat(text)
    except (ValueError, OverflowError, OSError):
        raise InputError(f"{where}: the date is {value!r}; expected one like 2026-11-20") from None
    return (at.astimezone(UTC) if at.tzinfo else at).date().isoformat()
