"""Compile the installed genai-prices data into the compact, dated table that the package carries.

    python tools/compile_prices.py            write src/penstock/_policy/prices.json
    python tools/compile_prices.py --check    exit 1 when the file does not match the installed genai-prices

The form of the file is described in `penstock/_policy/prices.py`, its only reader. The output is deterministic: same
genai-prices and same date, same bytes. genai-prices carries no date of its own, so the date is that of the newest price
change in it that is not in the future; while its version stays the same, the date of the file stays too.

What batches cost at Groq and Together is said by their own pages where genai-prices says nothing; see `batch_prices`.

Source: genai-prices (MIT), https://github.com/pydantic/genai-prices.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Iterator
from datetime import UTC, date, datetime, time
from decimal import Decimal
from pathlib import Path
from typing import Any

import genai_prices
from genai_prices import types as gp
from genai_prices.data import providers as PROVIDERS  # noqa: N812 - a constant in all but name

TARGET = Path(__file__).parent.parent / "src" / "penstock" / "_policy" / "prices.json"

# genai-prices' key → the file's. What is billed by neither token nor request (hours, pages, searches) has no bucket in
# `Usage`; `x` and `y` are read only for upper bounds.
BUCKETS = {
    "input_mtok": "i",
    "cache_read_mtok": "r",
    "cache_write_mtok": "w",
    "cache_write_5m_mtok": "w",
    "cache_write_1h_mtok": "h",
    "input_audio_mtok": "a",
    "output_mtok": "o",
    "output_reasoning_mtok": "t",
    "output_audio_mtok": "s",
    "requests_kcount": "q",
}
OTHER_INPUT = ("input_image_mtok", "input_video_mtok")
OTHER_OUTPUT = ("output_image_mtok", "output_video_mtok", "output_citation_mtok")
PER_AUDIO_HOUR = ("input_audio_hours", "audio_hours")
TIER_KEYS = ("processing", "service_tier", "speed")
PLACES_MAX = 18

# Chat models that these providers discount by half in a batch. Source: https://console.groq.com/docs/batch ("50% cost
# discount" for those listed) and https://docs.together.ai/docs/inference/batch/overview (both read 2026-12).
HALF_IN_BATCHES = {
    "groq": {
        "openai/gpt-oss-20b",
        "openai/gpt-oss-120b",
        "meta-llama/llama-4-maverick-17b-128e-instruct",
        "meta-llama/llama-4-scout-17b-16e-instruct",
        "llama-3.3-70b-versatile",
        "llama-3.1-8b-instant",
        "meta-llama/llama-guard-4-12b",
    },
    "together": {"meta-llama/Llama-3.3-70B-Instruct-Turbo"},
}

Row = dict[str, Any]


def number(value: Decimal) -> Decimal:
    """Check that the reader can hold a price exactly."""
    exponent = value.as_tuple().exponent
    if not isinstance(exponent, int) or -exponent > PLACES_MAX or value < 0:
        raise SystemExit(f"price {value} has more than {PLACES_MAX} decimal places or is no price; widen the reader")
    return value


def bands(value: Decimal | gp.TieredPrices) -> Any:
    """Write a price: a number, or [base, above_tokens, price, ...]."""
    if isinstance(value, gp.TieredPrices):
        return [number(value.base), *(x for tier in value.tiers for x in (tier.start, number(tier.price)))]
    return number(value)


def dearest(prices: dict[str, Any], keys: tuple[str, ...]) -> Decimal | None:
    """Find the highest price of several, over all their tiers."""
    found: list[Decimal] = []
    for key in keys:
        match prices.get(key):
            case gp.TieredPrices(base=base, tiers=tiers):
                found += [base, *(tier.price for tier in tiers)]
            case Decimal() as price:
                found.append(price)
    return max(found, default=None)


def double(value: Decimal | gp.TieredPrices) -> Decimal | gp.TieredPrices:
    """Twice a price, in every tier."""
    if isinstance(value, gp.TieredPrices):
        return gp.TieredPrices(base=value.base * 2, tiers=[gp.Tier(tier.start, tier.price * 2) for tier in value.tiers])
    return value * 2


def row(price: gp.ModelPrice, *, model: str, provider: str, whole: bool = True) -> Row:
    """Turn one set of prices into the file's form.

    A Claude model without a price for one-hour cache writes gets twice its input price.
    Source: https://platform.claude.com/docs/en/build-with-claude/prompt-caching#pricing (read 2026-11).
    OpenRouter's ":free" models have an empty set of prices in the data: they cost 0.
    Source: https://openrouter.ai/docs/faq (read 2026-11).
    """
    prices = {key: value for key, value in vars(price).items() if value is not None and not key.startswith("_")}
    if not prices and whole and provider == "openrouter" and model.endswith(":free"):
        return {"i": 0, "o": 0}
    if "claude" in model and "input_mtok" in prices and "cache_write_mtok" in prices:
        prices.setdefault("cache_write_1h_mtok", double(prices["input_mtok"]))
    out: Row = {short: bands(prices[key]) for key, short in BUCKETS.items() if key in prices}
    if "i" in out and "a" not in out and any(key in prices for key in PER_AUDIO_HOUR):
        out["a"] = None
    for short, keys in (("x", OTHER_INPUT), ("y", OTHER_OUTPUT)):
        highest = dearest(prices, keys)
        if highest is not None:
            out[short] = number(highest)
    return out


def batch_prices(provider: str, model: str, prices: Any) -> Row | None:
    """Say which of a model's prices are others in a batch; None where no page says what a batch of it costs.

    Groq: "The batch discount does not stack with prompt caching. All batch tokens are billed at the 50% batch rate."
    Together: "Models not listed run at standard rates", so nothing of them changes.
    Source: as for `HALF_IN_BATCHES`.
    """
    if model in HALF_IN_BATCHES.get(provider, ()):
        return {bucket: prices["i" if bucket == "r" else bucket] / 2 for bucket in prices}
    return {} if provider == "together" else None


def condition(constraint: gp.StartDateConstraint | gp.TimeOfDateConstraint | None) -> str | None:
    """Write when a price holds: from a UTC date, or between two UTC times of each day."""
    match constraint:
        case None:
            return None
        case gp.StartDateConstraint(start_date=start):
            return start.isoformat()
        case gp.TimeOfDateConstraint(start_time=start, end_time=end):
            return f"{utc(start):%H:%M}-{utc(end):%H:%M}"


def utc(value: time) -> time:
    """Check that a time of day is given in UTC and in whole minutes."""
    if value.tzinfo not in (None, UTC) or value.second or value.microsecond:
        raise SystemExit(f"{value} is not a whole minute in UTC; widen the reader")
    return value


def rule(clause: Any) -> Any:
    """Write a matching rule: an operator and its text, a list for 'or', a list that opens with '&' for 'and'."""
    match clause:
        case gp.ClauseEquals(equals=text):
            return "=" + text.lower()
        case gp.ClauseStartsWith(starts_with=text):
            return "^" + text.lower()
        case gp.ClauseEndsWith(ends_with=text):
            return "$" + text.lower()
        case gp.ClauseContains(contains=text):
            return "~" + text.lower()
        case gp.ClauseRegex(regex=text):
            re.compile(text)
            return "/" + text
        case gp.ClauseOr(or_=clauses):
            rules = [rule(inner) for inner in clauses]
            return rules[0] if len(rules) == 1 else rules
        case gp.ClauseAnd(and_=clauses):
            return ["&", *(rule(inner) for inner in clauses)]
    raise SystemExit(f"unknown matching rule {clause!r}")


def model_entry(model: gp.ModelInfo, provider: str) -> list[Any]:
    """Write a model: [id, rule, row or [[condition, row], ...], [[tier, condition, row], ...], context window].

    The rule "=" alone means: equal to the id. The last parts are left out where there are none.
    """
    conditional = model.prices if isinstance(model.prices, list) else [gp.ConditionalPrice(prices=model.prices)]
    prices: Any = [
        [condition(one.constraint), row(one.prices, model=model.id, provider=provider)] for one in conditional
    ]
    if len(prices) == 1 and prices[0][0] is None:
        prices = prices[0][1]
    if conditional[0].constraint is not None:
        raise SystemExit(f"{provider} {model.id}: the first price does not always hold; widen the reader")
    match = rule(model.match)
    match = "=" if match == f"={model.id.lower()}" else match
    variants = []
    for variant in model.price_variants or ():
        [(key, value)] = variant.when.items()
        if key in TIER_KEYS and value != "default":
            cheaper = row(variant.prices, model=model.id, provider=provider, whole=False)
            variants.append([value, condition(variant.constraint), cheaper])
    if all(tier != "batch" for tier, _, _ in variants):
        in_batch = batch_prices(provider, model.id, prices)
        variants += [] if in_batch is None else [["batch", None, in_batch]]
    if model.context_window is not None:
        return [model.id, match, prices, variants, model.context_window]
    return [model.id, match, prices, variants] if variants else [model.id, match, prices]


def start_dates() -> Iterator[date]:
    """Every date from which some price holds."""
    for provider in PROVIDERS:
        for model in provider.models:
            for one in (*(model.prices if isinstance(model.prices, list) else ()), *(model.price_variants or ())):
                if isinstance(one.constraint, gp.StartDateConstraint):
                    yield one.constraint.start_date


def compiled(as_of: str) -> bytes:
    """Write the whole table, one model per line."""
    lines = [f'{{"date":"{as_of}","source":"genai-prices {genai_prices.__version__}","providers":{{']
    for provider in PROVIDERS:
        lines.append(
            f"{dump(provider.id)}:{{" + f'"fallback":{dump(provider.fallback_model_providers or [])},"models":['
        )
        lines += [dump(model_entry(model, provider.id)) + "," for model in provider.models]
        lines[-1] = lines[-1].removesuffix(",")
        lines.append("]},")
    lines[-1] = "]}"
    lines.append("}}")
    return ("\n".join(lines) + "\n").encode()


def dump(value: Any) -> str:
    """Write JSON without spaces, a Decimal as a number with all its digits."""
    match value:
        case dict():
            return "{" + ",".join(f"{dump(key)}:{dump(inner)}" for key, inner in value.items()) + "}"
        case list():
            return "[" + ",".join(map(dump, value)) + "]"
        case Decimal():
            return f"{value.normalize():f}"
    return json.dumps(value, ensure_ascii=False)


def kept_date(today: date) -> str:
    """Choose the date of the table: the file's own while genai-prices is unchanged."""
    if TARGET.exists():
        head = json.loads(TARGET.read_bytes())
        if head["source"] == f"genai-prices {genai_prices.__version__}":
            return str(head["date"])
    return max(start for start in start_dates() if start <= today).isoformat()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 when the file is not up to date")
    parser.add_argument("--date", type=date.fromisoformat, help="date of the table, YYYY-MM-DD")
    arguments = parser.parse_args()
    data = compiled(arguments.date.isoformat() if arguments.date else kept_date(datetime.now(UTC).date()))
    models = sum(len(provider.models) for provider in PROVIDERS)
    what = (
        f"{len(data):,} bytes, {len(PROVIDERS)} providers, {models:,} models, genai-prices {genai_prices.__version__}"
    )
    if arguments.check:
        current = TARGET.exists() and TARGET.read_bytes() == data
        print(
            f"{TARGET.name}: up to date ({what})" if current else f"{TARGET.name} is not up to date: run {sys.argv[0]}"
        )
        return 0 if current else 1
    TARGET.write_bytes(data)
    print(f"{TARGET}: {what}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
