"""Prices against the library that their data comes from, and the rules where Penstock knows better."""

import random
import subprocess
import sys
import time
from collections.abc import Iterator
from copy import copy
from datetime import UTC, datetime
from decimal import Decimal, localcontext
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any

import msgspec
import pytest
from genai_prices import Usage as ReferenceUsage
from genai_prices import calc_price
from genai_prices import types as gp
from genai_prices.data_snapshot import get_snapshot
from hypothesis import given
from hypothesis import strategies as st

from penstock._policy.prices import PriceBand, Prices, _dashed_date
from penstock.errors import ConfigError
from penstock.types import Usage, to_nano

TOOL = Path(__file__).parents[2] / "tools" / "compile_prices.py"

SERVED = {
    "openai": "openai",
    "anthropic": "anthropic",
    "azure": "azure",
    "groq": "groq",
    "mistral": "mistral",
    "deepseek": "deepseek",
    "openrouter": "openrouter",
    "together": "together",
    "fireworks": "fireworks",
    "xai": "x-ai",
    "cerebras": "cerebras",
    "perplexity": "perplexity",
}
TIERS = (None, None, None, "batch", "flex", "priority", "fast")
TIMES = tuple(
    int(datetime(*moment, tzinfo=UTC).timestamp())
    for moment in (
        (2025, 1, 1),
        (2026, 3, 12, 23, 59, 59),
        (2026, 8, 21),
        (2026, 10, 13, 1),
        (2026, 11, 20, 3, 59, 59),
        (2026, 11, 20, 12),
        (2027, 6, 1, 9),
    )
)
THRESHOLDS = (32_000, 100_000, 128_000, 199_999, 200_000, 256_000, 272_000, 512_000, 524_288)
OLD = ("input", "cache_read", "cache_write_5m", "cache_write_1h", "output", "reasoning")
BUCKETS = (*OLD, "cache_write_30m", "cache_write_12h", "audio_in", "audio_out")


@cache
def data() -> bytes:
    return resources.files("penstock._policy").joinpath("prices.json").read_bytes()


@cache
def prices() -> Prices:
    return Prices.load(data())


@cache
def small() -> Prices:
    """A table made up for the rules that real data happens not to exercise."""
    row = {"i": 1, "o": 2}
    models = [
        ["both", ["&", "~two", ["^first", "$last"]], row],
        ["half", "=", {"i": 0.0005, "o": 0.0015}],
        ["night", "=", [[None, row], ["22:00-02:00", {"i": 10, "o": 20}]]],
        ["mute", "=", {"i": 1}],
        ["image", "=", {"i": 1, "o": 2, "x": 30, "y": 40, "q": 5}],
        ["next", "=", [[None, row], ["2026-11-21", {"i": 100, "o": 200}], ["2027-01-01", {"i": 900, "o": 900}]]],
        ["unsure", "=", {"i": 1, "o": 2, "a": None}],
    ]
    table = {"date": "2026-11-20", "source": "made up", "providers": {"p": {"fallback": ["q"], "models": models}}}
    table["providers"]["q"] = {"fallback": [], "models": [["lent", "/^lent-[0-9]+$", row, [["batch", None, {"i": 0.5}]]]]}
    return Prices.load(msgspec.json.encode(table))


def texts(clause: Any) -> Iterator[str]:
    """Names that a matching rule is about."""
    match clause:
        case gp.ClauseOr(or_=clauses) | gp.ClauseAnd(and_=clauses):
            for inner in clauses:
                yield from texts(inner)
        case gp.ClauseRegex():
            return
        case _:
            (text,) = vars(clause).values()
            yield text


def names() -> Iterator[tuple[str, str, str, str]]:
    """Every name of every model that we serve, some bent: (our provider, our name, its id there, its name there)."""
    dice = random.Random(1)
    for provider in get_snapshot().providers:
        router, _, host = provider.id.partition("_")
        if router == "huggingface":
            ours = ["huggingface"]
        else:
            ours = [name for name, there in SERVED.items() if there == provider.id]
            if provider.id in {"openai", "anthropic", "deepseek", "x-ai", "moonshotai"}:
                ours.append("azure")
        for name in ours:
            there = SERVED.get(name, provider.id)
            for model in provider.models:
                for text in dict.fromkeys((model.id, *texts(model.match))):
                    for bent in {text, dice.choice((text.upper(), text + "-20260115", text + "-x", "a/" + text))}:
                        yield name, f"{bent}:{host}" if host else bent, there, bent


def usages(dice: random.Random) -> Iterator[Usage]:
    """A small usage, one of every bucket, and one about a threshold of prompt length."""
    yield Usage(input=dice.randrange(100_000), output=dice.randrange(10_000))
    yield Usage(**{bucket: dice.randrange(7_000) for bucket in BUCKETS if dice.random() < 0.8})
    cached = dice.randrange(10_000)
    yield Usage(input=dice.choice(THRESHOLDS) - cached + dice.randrange(-1, 2), cache_read=cached, output=777)


def reference_usage(usage: Usage) -> ReferenceUsage:
    return ReferenceUsage(
        input_tokens=usage.prompt,
        cache_read_tokens=usage.cache_read,
        cache_write_tokens=usage.cache_write,
        cache_write_5m_tokens=usage.cache_write_5m,
        cache_write_1h_tokens=usage.cache_write_1h,
        input_audio_tokens=usage.audio_in,
        cache_audio_read_tokens=0,
        input_image_tokens=0,
        cache_image_read_tokens=0,
        input_video_tokens=0,
        output_tokens=usage.completion,
        output_reasoning_tokens=usage.reasoning,
        output_audio_tokens=usage.audio_out,
        output_citation_tokens=0,
    )


def reference(provider: str, name: str, usage: Usage, tier: str | None, wall_s: int) -> tuple[int | None, str]:
    """What the reference library says, with the rules where Penstock differs on purpose; and which rule applied."""
    when = datetime.fromtimestamp(wall_s, UTC)
    try:
        there, model = get_snapshot().find_provider_model(name, None, provider, None)
    except LookupError:
        return None, "no such model"
    context = {} if tier is None else {"processing": tier, "service_tier": tier, "speed": tier}
    if tier is not None:
        own = any(model is one for one in there.models)
        active = [
            one
            for one in (model.price_variants or () if own else ())
            if tier in one.when.values() and (one.constraint is None or one.constraint.active(when))
        ]
        if not active:
            return None, "tier without a price"
    price = model.get_prices(when, context)
    if provider == "openrouter" and model.id.endswith(":free") and not vars(price):
        return 0, "free"
    if (price.input_mtok is None and usage.prompt) or (price.output_mtok is None and usage.completion):
        return None, "tokens without a price"
    if price.input_audio_hours is not None and price.input_audio_mtok is None and usage.audio_in:
        return None, "audio by the hour"
    if "claude" in model.id and price.cache_write_mtok is not None and price.cache_write_1h_mtok is None:
        price = copy(price)
        into = price.input_mtok
        assert into is not None
        vars(price)["cache_write_1h_mtok"] = (
            gp.TieredPrices(base=into.base * 2, tiers=[gp.Tier(tier.start, tier.price * 2) for tier in into.tiers])
            if isinstance(into, gp.TieredPrices)
            else into * 2
        )
        return to_nano(price.calc_price(reference_usage(usage))["total_price"]), "derived"
    found = calc_price(
        reference_usage(usage),
        name,
        provider_id=provider,
        genai_request_timestamp=when,
        price_context=context,
    )
    return to_nano(found.total_price), "priced"


def test_costs_equal_the_reference_to_the_nano_dollar() -> None:
    """Every model that we serve costs what genai-prices says, over buckets, bands, tiers and times."""
    dice = random.Random(2)
    seen: dict[str, int] = {}
    for provider, name, there, name_there in names():
        for usage in usages(dice):
            tier, wall_s = dice.choice(TIERS), dice.choice(TIMES)
            expected, rule = reference(there, name_there, usage, tier, wall_s)
            batch = tier == "batch"
            cost = prices().cost(
                provider, name, usage, service_tier=None if batch else tier, batch=batch, wall_s=wall_s
            )
            assert cost == expected, (provider, name, usage, tier, wall_s, rule)
            seen[rule] = seen.get(rule, 0) + 1
            worst = prices().worst(
                provider,
                name,
                usage.prompt,
                usage.completion,
                cache_writes=True,
                service_tier=None if batch else tier,
                batch=batch,
                wall_s=wall_s,
            )
            assert cost is None or worst is None or cost <= worst, (provider, name, usage, tier, wall_s)
            assert worst is None or worst == 0 or cost is not None or rule == "tier without a price"
    print(sum(seen.values()), "cases:", seen)
    assert sum(seen.values()) > 10_000
    assert seen["priced"] > 8_000
    assert all(seen[rule] for rule in ("derived", "free", "tier without a price", "tokens without a price"))


def test_the_table_is_up_to_date_with_the_installed_data() -> None:
    """Compiling the installed genai-prices again gives the very bytes in the package."""
    done = subprocess.run([sys.executable, str(TOOL), "--check"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_table_is_small_dated_and_loads_fast() -> None:
    """The file stays under 300 kB and loads in under 10 ms; a provider is decoded when first asked for."""
    assert len(data()) < 300_000
    taken = []
    for _ in range(5):
        start = time.perf_counter()
        Prices.load(data()).cost("openai", "gpt-4o", Usage(input=1))
        taken.append(time.perf_counter() - start)
    assert min(taken) < 0.010
    assert datetime.fromisoformat(prices().date) >= datetime(2026, 1, 1)
    assert prices().source.startswith("genai-prices ")


def test_importing_prices_imports_no_price_library() -> None:
    """The reference library, half a second of import, stays out of the product."""
    code = "import sys, penstock._policy.prices; sys.exit('genai_prices' in sys.modules or 'pydantic' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize(
    ("provider", "model"),
    [
        ("openai", "no-such-model"),
        ("my-gateway", "gpt-4o"),
        ("huggingface", "meta-llama/Llama-3.3-70B-Instruct"),
        ("huggingface", "meta-llama/Llama-3.3-70B-Instruct:no-such-host"),
        ("p", "nothing"),
    ],
)
def test_an_unknown_price_is_none(provider: str, model: str) -> None:
    """Nothing is guessed: cost, bound and row are None, not 0."""
    known = small() if provider == "p" else prices()
    assert known.cost(provider, model, Usage(input=1)) is None
    assert known.worst(provider, model, 1, 1) is None
    assert known.find(provider, model) is None


def test_a_bucket_without_a_price_makes_the_cost_unknown() -> None:
    """A model priced for input only costs something known until it produces output; hours of audio are unknown."""
    assert small().cost("p", "mute", Usage(input=1_000_000)) == to_nano("1")
    assert small().cost("p", "mute", Usage(input=1, output=1)) is None
    assert small().worst("p", "mute", 10, 0) == 10_000
    assert small().worst("p", "mute", 10, 1) is None
    assert small().cost("p", "unsure", Usage(audio_in=1)) is None
    assert small().worst("p", "unsure", 1, 1) is None


def test_local_servers_are_free_because_they_are_listed() -> None:
    """A server of the user's own costs 0 with a reason; the set is the caller's to choose."""
    row = prices().find("ollama", "Llama3:8b")
    assert row is not None
    assert (row.input, row.output) == (0, 0)
    assert row.source.startswith("free")
    assert prices().cost("ollama", "Llama3:8b", Usage(input=9, output=9, audio_in=9)) == 0
    assert prices().worst("ollama", "Llama3:8b", 1_000, 1_000) == 0
    assert Prices.load(data(), free=()).cost("ollama", "llama3", Usage(input=9)) is None
    assert Prices.load(data(), free={"my-box"}).cost("my-box", "llama3", Usage(input=9)) == 0


def test_a_row_can_name_its_id_in_the_table() -> None:
    """A provider row's own price id is used; an empty one changes nothing."""
    mapped = Prices.load(data(), ids={"eu-gateway": "openai", "openai": ""})
    usage = Usage(input=1_000, output=1_000)
    assert mapped.cost("eu-gateway", "gpt-4o", usage) == mapped.cost("openai", "gpt-4o", usage) == 12_500_000


def test_costs_round_once_half_to_even() -> None:
    """Half a nano-dollar goes to the even neighbour, and parts are not rounded before they are added."""
    cost = small().cost
    assert [cost("p", "half", Usage(input=tokens)) for tokens in (1, 3, 5)] == [0, 2, 2]
    assert cost("p", "half", Usage(input=1, output=1)) == 2
    assert cost("p", "half", Usage(input=1, cache_read=1)) == 1


def test_costs_do_not_depend_on_the_callers_decimal_context() -> None:
    """A program that computes with three digits still gets exact costs."""
    with localcontext(prec=3):
        assert Prices.load(data()).cost("openai", "gpt-4o", Usage(input=1_234_567)) == 3_086_417_500 - 82_500 // 82_500 * 0
