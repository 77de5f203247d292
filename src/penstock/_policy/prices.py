"""What tokens cost: a dated table of prices, and exact integer arithmetic over it.

A price is an integer number of yocto-dollars per token (10^-24 $; $1 per million tokens = 10^18), so every price of
the table is exact; a cost is summed in yocto-dollars and rounded once, half to even, to nano-dollars. An unknown price
is None and never 0; a model costs 0 only where that is stated: in the table, in an override, or because its provider is
in the `free` set.

The table, written by `tools/compile_prices.py` from the data of genai-prices, is JSON:

    {"date", "source", "providers": {id: {"fallback": [id, ...], "models": [model, ...]}}}
    model   [id, rule, row or [[when, row], ...], [[tier, when, row], ...], window]     the last active [when, row]
            holds; window: how many tokens the model reads and writes together. What is not known is left out at the end
    rule    "=equals" "^starts" "$ends" "~contains" "/regex"; "=" alone: equals the id; [a, b] or; ["&", a, b] and
    when    null, "2026-08-21" (from 00:00 UTC of that day) or "01:00-04:00" (UTC, each day)
    row     bucket → dollars per million tokens, or [base, above_tokens, price, ...]: all tokens of a call cost the
            price of the last band whose above_tokens the whole prompt exceeds; null: known to be billed otherwise
    buckets i input, r cache read, w cache write, h cache write for 1 h, a audio in, o output, t reasoning, s audio out,
            q dollars per 1,000 requests; x, y the dearest of image, video, citation tokens in and out, for upper bounds

A bucket without a price of its own is billed as the next one of: h → w → i, r → i, a → i, t → o, s → o. Cache writes
for 30 minutes and 12 hours cost what w says: "Prompt cache pricing is the same for both retention policies".

Source: genai-prices, https://github.com/pydantic/genai-prices;
https://learn.microsoft.com/azure/foundry/openai/how-to/prompt-caching (read 2026-11).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator, Mapping
from datetime import date
from decimal import Decimal, InvalidOperation
from typing import Any, Final

import msgspec

from ..errors import ConfigError
from ..types import Usage
from .tariff import PARENT, PLACES_MAX, Rates, Row, Tariff, dearest, dollars

PRICE_IDS: Final[Mapping[str, str]] = {"xai": "x-ai"}  # where a provider's name differs from its id in the table

# Free by default: the server is the user's own machine and bills nobody by the token.
LOCAL_SERVERS: Final = frozenset({"ollama", "vllm", "lmstudio", "llamacpp"})

# What providers call their ordinary service tier, in requests or answers.
# Source: OpenAI, Anthropic and Groq API references, `service_tier` (read 2026-11).
STANDARD_TIERS: Final = frozenset({"default", "standard", "standard_only", "on_demand", "auto"})

_DAY_S: Final = 86_400
_CACHED_MAX: Final = 4096  # resolved (provider, model) pairs; users write a handful, a gateway may see thousands

_OVERRIDES: Final = dict(zip(Rates._fields, PARENT, strict=True))  # what a user's own prices may name


class PriceBand(msgspec.Struct, frozen=True, kw_only=True):
    """Prices in dollars per million tokens for calls whose whole prompt has more than `above_tokens` tokens."""

    above_tokens: int
    input: Decimal | None
    output: Decimal | None


class PriceRow(msgspec.Struct, frozen=True, kw_only=True):
    """The prices of one model, for people: dollars per million tokens, None where unknown.

    `per_request` is dollars per request. `bands` are the dearer prices of long prompts. `tiers` names what else has a
    known price: service tiers and 'batch'. `source` says where the prices come from, or why there is none to pay.
    """

    provider: str
    model: str
    input: Decimal | None
    output: Decimal | None
    cache_read: Decimal | None
    cache_write: Decimal | None
    cache_write_1h: Decimal | None
    reasoning: Decimal | None
    audio_in: Decimal | None
    audio_out: Decimal | None
    per_request: Decimal
    bands: tuple[PriceBand, ...]
    tiers: tuple[str, ...]
    source: str


class _When(msgspec.Struct, frozen=True):
    """When a price holds: from `from_s` (epoch seconds) on, or each day between two seconds of the UTC day."""

    from_s: int
    daily: tuple[int, int] | None

    def holds(self, wall_s: float) -> bool:
        if self.daily is None:
            return wall_s >= self.from_s
        start, end = self.daily
        second = wall_s % _DAY_S
        return start <= second < end if start <= end else second >= start or second < end

    def may_hold(self, wall_s: float) -> bool:
        """Whether the price holds at some time in the day that follows."""
        return self.daily is not None or wall_s + _DAY_S >= self.from_s


_ALWAYS: Final = _When(-(2**63), None)


class _Model:
    """The prices of one model: which row holds when, and what service tiers change.

    `prices` are (when, row): the last that holds counts, and the first always holds. `variants` are (tier, when, row)
    and replace single buckets. Claude models write to the cache only on request, others when they see fit.
    Source: https://platform.claude.com/docs/en/build-with-claude/prompt-caching (read 2026-11).
    """

    __slots__ = ("_tariffs", "id", "plain", "prices", "provider", "source", "variants", "window", "writes_on_request")

    def __init__(
        self,
        provider: str,
        model: str,
        prices: list[tuple[_When, Row]],
        variants: list[tuple[str, _When, Row]],
        source: str,
        window: int | None = None,
    ) -> None:
        self.provider = provider
        self.id = model
        self.window = window
        self.writes_on_request = "claude" in model.lower()
        self.prices = prices
        self.variants = variants
        self.source = source
        self.plain = Tariff(prices[0][1]) if len(prices) == 1 else None
        self._tariffs: dict[tuple[int, ...], Tariff] = {}

    def tariff(self, tier: str | None, wall_s: float) -> Tariff | None:
        """Find the prices at a time in a tier (None: the ordinary one); None when the tier's are unknown."""
        if tier is None and self.plain is not None:
            return self.plain
        last = next(i for i in reversed(range(len(self.prices))) if self.prices[i][0].holds(wall_s))
        return self._with_tier(last, tier, lambda when: when.holds(wall_s))

    def tariffs(self, tier: str | None, wall_s: float) -> list[Tariff]:
        """Find all prices that may hold in the day after `wall_s`, in a tier; empty when they are unknown."""
        whens = [when for when, _ in self.prices]
        first = next(i for i in reversed(range(len(whens))) if whens[i].daily is None and whens[i].holds(wall_s))
        reachable = (i for i in range(first, len(whens)) if whens[i].may_hold(wall_s))
        found = (self._with_tier(i, tier, lambda when: when.may_hold(wall_s)) for i in reachable)
        return [tariff for tariff in found if tariff is not None]

    def _with_tier(self, index: int, tier: str | None, holds: Callable[[_When], bool]) -> Tariff | None:
        chosen = [number for number, (name, when, _) in enumerate(self.variants) if name == tier and holds(when)]
        if tier is not None and not chosen:
            return None
        key = (index, *chosen)
        if key not in self._tariffs:
            row: Row = {}
            for number in chosen:
                row = self.variants[number][2] | row
            self._tariffs[key] = Tariff(self.prices[index][1] | row)
        return self._tariffs[key]


class _Entry(msgspec.Struct, array_like=True):
    """One model of the table; its prices stay undecoded until somebody asks."""

    id: str
    rule: str | list[Any]
    prices: msgspec.Raw
    variants: msgspec.Raw = msgspec.Raw(b"[]")
    window: int | None = None

    def model(self, provider: str, *, own: bool, source: str) -> _Model:
        """Decode the prices; tiers count only at the provider itself, not at one that resells the model."""
        decoded = msgspec.json.decode(self.prices, type=Row | list[tuple[str | None, Row]])
        prices = decoded if isinstance(decoded, list) else [(None, decoded)]
        variants = msgspec.json.decode(self.variants, type=list[tuple[str, str | None, Row]]) if own else []
        return _Model(
            provider,
            self.id,
            [(_when(when), row) for when, row in prices],
            [(tier, _when(when), row) for tier, when, row in variants],
            source,
            self.window,
        )


class _ProviderEntry(msgspec.Struct):
    fallback: list[str]
    models: list[_Entry]


class _Table(msgspec.Struct):
    date: str
    source: str
    providers: dict[str, msgspec.Raw]


class _Shelf:
    """The models of one provider, in an order that counts: the first whose rule matches is the one."""

    __slots__ = ("_equals", "_others", "fallback", "models")

    def __init__(self, raw: msgspec.Raw) -> None:
        entry = msgspec.json.decode(raw, type=_ProviderEntry)
        self.fallback = entry.fallback
        self.models = entry.models
        self._equals: dict[str, int] = {}
        self._others: list[tuple[int, str | list[Any]]] = []
        for index, model in enumerate(entry.models):
            for rule in _alternatives(model.rule):
                if isinstance(rule, str) and rule.startswith("="):
                    self._equals.setdefault(rule[1:] or model.id.lower(), index)
                else:
                    self._others.append((index, rule))

    def find(self, name: str) -> _Entry | None:
        """Find the model that a lower-case name means."""
        best = self._equals.get(name, len(self.models))
        for index, rule in self._others:
            if index >= best:
                break
            if _matches(rule, name):
                best = index
        return self.models[best] if best < len(self.models) else None


class Prices:
    """The price of every known model. Build it with `Prices.load`; it never changes.

    `date` is that of the table (YYYY-MM-DD): the newest price change it knows. `source` names the data and its version.
    """

    def __init__(
        self, table: _Table, ids: Mapping[str, str], free: frozenset[str], own: Mapping[tuple[str, str], _Model]
    ) -> None:
        self.date = table.date
        self.source = table.source
        self._table = table
        self._ids = ids
        self._free = free
        self._own = own
        self._shelves: dict[str, _Shelf] = {}
        self._models: dict[tuple[str, str], _Model | None] = {}
        self._table_s = _epoch_s(table.date)

    @classmethod
    def load(
        cls, data: bytes, *, ids: Mapping[str, str] | None = None, free: Collection[str] = LOCAL_SERVERS
    ) -> Prices:
        """Read the compiled table, decoding a provider's models when they are first asked for.

        Args:
            data: the bytes of `prices.json`.
            ids: provider name → id in the table, where they differ; on top of `PRICE_IDS`. Empty values are ignored.
            free: providers that bill no tokens, such as a local server; all others need a price to cost anything known.
        """
        known = dict(PRICE_IDS) | {name: price_id for name, price_id in (ids or {}).items() if price_id}
        return cls(msgspec.json.decode(data, type=_Table), known, frozenset(free), {})

    def with_overrides(self, overrides: Mapping[str, Mapping[str, str | int | float | Decimal]]) -> Prices:
        """Return the same prices with the user's own for some models, which win over everything else.

        Args:
            overrides: 'provider:model' → dollars per million tokens of input, output, cache_read, cache_write,
                cache_write_1h, reasoning, audio_in, audio_out; input is required. They are those of the ordinary tier.

        Raises: ConfigError naming the entry that is wrong.
        """
        models = dict(self._own)
        for key, row in overrides.items():
            provider, _, model = key.partition(":")
            if not provider or not model:
                raise ConfigError(f"prices: {key!r} names no model; write it as 'provider:model'")
            entry = _override(key, model, row)
            models[provider, model.lower()] = _Model(provider, model, [(_ALWAYS, entry)], [], "your own price")
        return Prices(self._table, self._ids, self._free, models)

    def cost(
        self,
        provider: str,
        model: str,
        usage: Usage,
        *,
        service_tier: str | None = None,
        batch: bool = False,
        wall_s: float | None = None,
    ) -> int | None:
        """Price a usage in nano-dollars, exactly; None when any part of it has no known price.

        Args:
            provider: our name of the provider, or an id of the table.
            model: the model as it was asked for or served; case does not matter.
            usage: what was used, in disjoint buckets.
            service_tier: the tier that the answer reports, else the one asked for; 'fast' is also Anthropic's speed.
            batch: whether it went through the provider's batch interface.
            wall_s: when it was sent, epoch seconds; None: at 00:00 UTC of the table's date.
        """
        found = self._find(provider, model)
        if found is None:
            return None
        tariff = found.tariff(_tier(service_tier, batch=batch), self._table_s if wall_s is None else wall_s)
        return None if tariff is None else tariff.cost(usage)

    def worst(
        self,
        provider: str,
        model: str,
        prompt_tokens: int,
        output_tokens: int,
        n: int = 1,
        *,
        cache_writes: bool = False,
        service_tier: str | None = None,
        batch: bool = False,
        wall_s: float | None = None,
    ) -> int | None:
        """Bound from above, in nano-dollars, what one attempt can cost; None when no price bounds it.

        Every token costs the dearest price that it can reach: of the bands up to `prompt_tokens`, of text, audio, image
        and reasoning, of cache writes if there are any, and of all prices that hold in the day after `wall_s`. Tools
        that the provider bills by use (web search, code execution) are not in it.

        Args:
            provider: as for `cost`.
            model: as for `cost`.
            prompt_tokens: at most this many tokens are sent.
            output_tokens: at most this many tokens are produced in each of `n` answers, reasoning included.
            n: how many answers are asked for.
            cache_writes: whether the request asks for writes to the cache; who writes unasked is known.
            service_tier: the tier asked for; None is the ordinary one, 'auto' whichever of the known ones is dearest.
            batch: whether it goes through the batch interface; where its discount is unknown, none is assumed.
            wall_s: as for `cost`.
        """
        found = self._find(provider, model)
        if found is None:
            return None
        at_s = self._table_s if wall_s is None else wall_s
        tariffs = found.tariffs(_tier(service_tier, batch=False), at_s)
        if service_tier == "auto":
            tariffs = [*tariffs, *(one for name in ("flex", "priority") for one in found.tariffs(name, at_s))]
        if batch:
            tariffs = found.tariffs("batch", at_s) or tariffs
        writes = cache_writes or not found.writes_on_request
        return dearest(one.worst(prompt_tokens, n * output_tokens, cache_writes=writes) for one in tariffs)

    def find(self, provider: str, model: str, *, wall_s: float | None = None) -> PriceRow | None:
        """Show the ordinary prices of a model at a time (epoch seconds; None: the table's date); None when unknown."""
        found = self._find(provider, model)
        tariff = found and found.tariff(None, self._table_s if wall_s is None else wall_s)
        if not found or not tariff or tariff.rates[0].input is None:
            return None
        shown = {name: dollars(rate) for name, rate in tariff.rates[0]._asdict().items()}
        bands = zip(tariff.above, tariff.rates[1:], strict=True)
        return PriceRow(
            provider=found.provider,
            model=found.id,
            per_request=Decimal(tariff.per_request) / 10**24,
            bands=tuple(
                PriceBand(above_tokens=above, input=dollars(rates.input), output=dollars(rates.output))
                for above, rates in bands
            ),
            tiers=tuple(dict.fromkeys(name for name, _, _ in found.variants)),
            source=found.source,
            **shown,
        )

    def window(self, provider: str, model: str) -> int | None:
        """Return how many tokens a model reads and writes together; None when unknown."""
        found = self._find(provider, model)
        if found is not None and found.window is None and (provider, model.lower()) in self._own:
            found = self._look_up(provider, model.lower())
        return None if found is None else found.window

    def names(self) -> Iterator[tuple[str, str]]:
        """Every model with a price, as (provider, model): first the table's, by its own ids, then the user's."""
        yield from (
            (price_id, model.id) for price_id in self._table.providers for model in self._shelf(price_id).models
        )
        yield from ((provider, model.id) for (provider, _), model in self._own.items())

    def _find(self, provider: str, model: str) -> _Model | None:
        key = (provider, model)
        if key not in self._models:
            if len(self._models) >= _CACHED_MAX:
                self._models.clear()
            self._models[key] = self._own.get((provider, model.lower())) or self._look_up(provider, model.lower())
        return self._models[key]

    def _look_up(self, provider: str, model: str) -> _Model | None:
        if provider in self._free:
            row: Row = {"i": Decimal(0), "o": Decimal(0)}
            return _Model(provider, model, [(_ALWAYS, row)], [], "free: a server of your own bills no tokens")
        price_id = self._ids.get(provider, provider)
        if price_id == "huggingface":
            # The router's name is 'org/model:host'; without a host it picks one, and prices differ between hosts.
            model, _, host = model.partition(":")
            price_id = f"huggingface_{host}"
        if price_id not in self._table.providers:
            return None
        shelf = self._shelf(price_id)
        for name in dict.fromkeys((model, _dashed_date(model))):
            for other, here in ((price_id, shelf), *((other, self._shelf(other)) for other in shelf.fallback)):
                if entry := here.find(name):
                    return entry.model(other, own=here is shelf, source=f"{self.source}, {self.date}")
        return None

    def _shelf(self, price_id: str) -> _Shelf:
        if price_id not in self._shelves:
            self._shelves[price_id] = _Shelf(self._table.providers[price_id])
        return self._shelves[price_id]


def _tier(service_tier: str | None, *, batch: bool) -> str | None:
    """Name the tier to look for in the table, None for the ordinary one."""
    if batch:
        return "batch"
    return None if service_tier is None or service_tier in STANDARD_TIERS else service_tier


def _epoch_s(day: str) -> int:
    return (date.fromisoformat(day) - date(1970, 1, 1)).days * _DAY_S


def _when(text: str | None) -> _When:
    if text is None:
        return _ALWAYS
    if len(text) == len("2026-08-21"):
        return _When(_epoch_s(text), None)
    start, end = ((int(clock[:2]) * 60 + int(clock[3:])) * 60 for clock in text.split("-"))
    return _When(0, (start, end))


def _alternatives(rule: str | list[Any]) -> list[Any]:
    """Split an 'or' into its parts, however deep."""
    if isinstance(rule, str) or rule[0] == "&":
        return [rule]
    return [part for inner in rule for part in _alternatives(inner)]


def _matches(rule: str | list[Any], name: str) -> bool:
    if isinstance(rule, list):
        if rule[0] == "&":
            return all(_matches(part, name) for part in rule[1:])
        return any(_matches(part, name) for part in rule)
    text = rule[1:]
    match rule[0]:
        case "=":
            return name == text
        case "^":
            return name.startswith(text)
        case "$":
            return name.endswith(text)
        case "~":
            return text in name
    return re.search(text, name) is not None


def _dashed_date(name: str) -> str:
    """Write a date inside a model's name with dashes: 'gpt-5.2-20251211' becomes 'gpt-5.2-2025-12-11'."""
    return re.sub(r"(?<=-)(20\d\d)(\d\d)(\d\d)(?=-|:|$)", _dash, name)


def _dash(found: re.Match[str]) -> str:
    try:
        return date(int(found[1]), int(found[2]), int(found[3])).isoformat()
    except ValueError:
        return found[0]


def _override(key: str, model: str, prices: object) -> Row:
    """Check the user's prices of one model.

    A Claude model's cache writes cost 1.25 times (5 minutes) and twice (1 hour) the input where they are not given.
    Source: https://platform.claude.com/docs/en/build-with-claude/prompt-caching#pricing (read 2026-11).
    """
    if not isinstance(prices, Mapping) or "input" not in prices:
        raise ConfigError(
            f"prices: {key!r} needs at least input, in dollars per million tokens, like {{input = '0.15'}}"
        )
    row: Row = {}
    for name, value in prices.items():
        if name not in _OVERRIDES:
            raise ConfigError(f"prices: {key!r} has {name!r}, which is no price; known are {', '.join(_OVERRIDES)}")
        row[_OVERRIDES[name]] = _amount(f"prices: {key!r} {name}", value)
    if "claude" in model.lower() and isinstance(row["i"], Decimal):
        row.setdefault("w", row["i"] * Decimal("1.25"))
        row.setdefault("h", row["i"] * 2)
    return row


def _amount(what: str, value: object) -> Decimal:
    try:
        amount = Decimal("NaN" if isinstance(value, bool) else str(value))
    except InvalidOperation:
        amount = Decimal("NaN")
    places = amount.as_tuple().exponent
    if isinstance(places, int) and -places <= PLACES_MAX and 0 <= amount <= 1_000_000:
        return amount
    raise ConfigError(f"{what} = {value!r} is not an amount of dollars per million tokens; write it like '0.15'")
