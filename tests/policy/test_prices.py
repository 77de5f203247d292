"""Prices against the library that their data comes from, and the rules where Penstock knows better."""

import random
import subprocess
import sys
import time
from collections import Counter
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
TIERS = ("batch", "flex", "priority", "fast")
TIMES = tuple(
    int(datetime.fromisoformat(moment).timestamp())
    for moment in (
        "2025-01-01T00:00:00Z",
        "2026-03-12T23:59:59Z",
        "2026-08-21T00:00:00Z",
        "2026-10-13T01:00:00Z",
        "2026-11-20T03:59:59Z",
        "2026-11-20T12:00:00Z",
        "2027-06-01T09:00:00Z",
    )
)
HALVED = {
    "groq": {
        "llama-3.1-8b-instant",
        "llama-3.3-70b-versatile",
        "meta-llama/llama-4-maverick-17b-128e-instruct",
        "meta-llama/llama-4-scout-17b-16e-instruct",
        "meta-llama/llama-guard-4-12b",
    },
    "together": {"meta-llama/Llama-3.3-70B-Instruct-Turbo"},
}
"""Half in a batch, by the pages of their providers; of Together's others "Models not listed run at standard rates"."""
THRESHOLDS = (32_000, 100_000, 128_000, 199_999, 200_000, 256_000, 272_000, 512_000, 524_288)
BUCKETS = tuple(name for name in Usage.__struct_fields__ if name != "estimated")


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
        ["both", ["&", "~two", ["^first", "$last", "=two"]], row],
        ["half", "=", {"i": 0.0005, "o": 0.0015}],
        ["night", "=", [[None, row], ["22:00-02:00", {"i": 10, "o": 20}]]],
        ["day", "=", [[None, row], ["01:00-04:00", {"i": 10, "o": 20}]]],
        ["day-old", "^day", {"i": 7, "o": 7}],
        ["dated", "=dated-2026-01-15", row],
        ["mute", "=", {"i": 1}],
        ["image", "=", {"i": 1, "o": 2, "x": 30, "y": 40, "q": 5}],
        ["next", "=", [[None, row], ["2026-11-21", {"i": 100, "o": 200}], ["2027-01-01", {"i": 900, "o": 900}]]],
        ["unsure", "=", {"i": 1, "o": 2, "a": None}],
    ]
    lent = ["lent", "/^lent-[0-9]+$", row, [["batch", None, {"i": 0.5}]]]
    providers = {"p": {"fallback": ["q"], "models": models}, "q": {"fallback": [], "models": [lent]}}
    return Prices.load(msgspec.json.encode({"date": "2026-11-20", "source": "made up", "providers": providers}))


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


def bent(model: gp.ModelInfo, dice: random.Random) -> Iterator[str]:
    """The names of a model, and others that are near them."""
    for text in dict.fromkeys((model.id, *texts(model.match))):
        yield text
        yield dice.choice((text.upper(), text + "-20260115", text + "-x", "a/" + text))


def names() -> Iterator[tuple[str, str, str, str]]:
    """Every name of every model that we serve: (our provider, our name, its id there, its name there)."""
    dice = random.Random(1)
    for provider in get_snapshot().providers:
        router, _, host = provider.id.partition("_")
        ours = [name for name, there in SERVED.items() if there == provider.id]
        if provider.id in {"openai", "anthropic", "deepseek", "x-ai", "moonshotai"}:
            ours.append("azure")
        if router == "huggingface":
            ours = ["huggingface"]
        for name in (name for model in provider.models for name in bent(model, dice)):
            for our in ours:
                yield our, f"{name}:{host}" if host else name, SERVED.get(our, provider.id), name


def cases(dice: random.Random) -> Iterator[tuple[Usage, str | None]]:
    """Usages and tiers: something of most buckets, prompts about a threshold of length, each tier once."""
    whole = msgspec.convert({bucket: dice.randrange(7_000) for bucket in BUCKETS if dice.random() < 0.8}, Usage)
    yield whole, None
    for threshold in dice.sample(THRESHOLDS, 3):
        cached = dice.randrange(10_000)
        yield Usage(input=threshold - cached + dice.randrange(-1, 2), cache_read=cached, output=777), None
    yield Usage(input=dice.randrange(100_000), output=dice.randrange(10_000)), None
    text = msgspec.structs.replace(whole, audio_in=0, audio_out=0)
    for tier in TIERS:
        yield text, tier


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
    if tier == "batch" and model in there.models:
        halved = model.id in HALVED.get(provider, ())
        if halved or provider == "together":
            ordinary, _ = reference(provider, name, usage, None, wall_s)
            return ordinary if ordinary is None or not halved else ordinary // 2, "a batch by its provider's page"
    if tier is not None:
        own = any(model is one for one in there.models)
        active = [
            one
            for one in (model.price_variants or () if own else ())
            if one.when.items() <= context.items() and (one.constraint is None or one.constraint.active(when))
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


@pytest.mark.prove(14)
def test_costs_equal_the_reference_to_the_nano_dollar() -> None:
    """Every model that we serve costs what genai-prices says, over buckets, bands, tiers and times; bounds hold."""
    dice = random.Random(2)
    seen: Counter[str] = Counter()
    for provider, name, there, name_there in names():
        for usage, tier in cases(dice):
            wall_s = dice.choice(TIMES)
            expected, rule = reference(there, name_there, usage, tier, wall_s)
            batch = tier == "batch"
            asked = None if batch else tier
            cost = prices().cost(provider, name, usage, service_tier=asked, batch=batch, wall_s=wall_s)
            worst = prices().worst(
                provider,
                name,
                usage.prompt,
                usage.completion,
                cache_writes=True,
                service_tier=asked,
                batch=batch,
                wall_s=wall_s,
            )
            what = (provider, name, usage, tier, wall_s, rule)
            assert cost == expected, what
            assert cost is None or worst is None or cost <= worst, what
            seen[rule] += 1
            if rule == "no such model":
                assert worst is None, what
                break
    print(seen.total(), "cases:", dict(seen))
    assert seen["priced"] > 10_000
    assert all(seen[rule] for rule in ("derived", "free", "audio by the hour", "tokens without a price"))


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
    assert prices().date >= "2026-01-01"
    assert prices().source.startswith("genai-prices ")


def test_importing_prices_imports_no_price_library() -> None:
    """The reference library, half a second of import, stays out of the product."""
    code = "import sys, penstock._policy.prices; sys.exit('genai_prices' in sys.modules or 'pydantic' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.prove(14)
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
    assert (row.input, row.output) == (Decimal(0), Decimal(0))
    assert row.source.startswith("free")
    assert prices().cost("ollama", "Llama3:8b", Usage(input=9, output=9, audio_in=9)) == 0
    assert prices().worst("ollama", "Llama3:8b", 1_000, 1_000) == 0
    assert Prices.load(data(), free=()).cost("ollama", "llama3", Usage(input=9)) is None
    assert Prices.load(data(), free={"my-box"}).cost("my-box", "llama3", Usage(input=9)) == 0


def test_every_model_with_a_price_is_named() -> None:
    """Those of the table and the user's own, each found by the name that it is listed with."""
    own = Prices.load(data()).with_overrides({"eu:Mine": {"input": 1}})
    listed = list(own.names())
    assert {("openai", "gpt-4o"), ("anthropic", "claude-haiku-4-5"), ("eu", "Mine")} <= set(listed)
    assert len(listed) > 500
    assert own.find(*listed[-1]) is not None


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
        assert Prices.load(data()).cost("openai", "gpt-4o", Usage(input=1_234_567)) == 3_086_417_500


def test_matching_rules_combine() -> None:
    """'and' needs all of its rules, 'or' one of them, and the first matching model wins; case does not matter."""
    find = small().find
    assert find("p", "First-two") is not None
    assert find("p", "two-LAST") is not None
    assert find("p", "first") is None
    assert find("p", "two") is not None
    assert find("p", "two-first") is None


def test_the_first_matching_model_wins() -> None:
    """A model that is listed first is not displaced by a looser one behind; a compact date finds the dashed name."""
    for name, known_as in (("day", "day"), ("day-1", "day-old"), ("DATED-20260115", "dated")):
        row = small().find("p", name)
        assert row is not None
        assert row.model == known_as


def test_a_reseller_has_the_price_of_the_maker_but_not_its_tiers() -> None:
    """Where a provider lists another as its fallback, that one's ordinary price holds and its discounts are unknown."""
    usage = Usage(input=1_000_000)
    assert small().cost("p", "lent-7", usage) == small().cost("q", "lent-7", usage) == to_nano("1")
    assert small().cost("q", "lent-7", usage, batch=True) == to_nano("0.5")
    assert small().cost("p", "lent-7", usage, batch=True) is None
    assert prices().cost("azure", "gpt-4o", usage) == prices().cost("openai", "gpt-4o", usage)


@pytest.mark.parametrize("tier", ["default", "standard", "standard_only", "on_demand", "auto", None])
def test_the_ordinary_tier_has_many_names(tier: str | None) -> None:
    """What providers call their ordinary tier costs the ordinary price."""
    usage = Usage(input=1_000)
    assert prices().cost("openai", "gpt-5", usage, service_tier=tier) == 1_250_000


def test_an_unknown_tier_has_an_unknown_price() -> None:
    """A surcharge that the data does not know is None, never the ordinary price."""
    usage = Usage(input=1_000)
    assert prices().cost("openai", "gpt-5", usage, service_tier="scale") is None
    assert prices().worst("openai", "gpt-5", 1_000, 10, service_tier="scale") is None
    assert prices().cost("anthropic", "claude-haiku-4-5", usage, service_tier="priority") is None


def test_batch_is_named_either_way() -> None:
    """`batch=True` and Anthropic's reported tier 'batch' are the same discount."""
    now_s = TIMES[-2]
    usage = Usage(input=1_000)
    assert prices().cost("anthropic", "claude-haiku-4-5", usage, batch=True, wall_s=now_s) == 500_000
    assert prices().cost("anthropic", "claude-haiku-4-5", usage, service_tier="batch", wall_s=now_s) == 500_000


def test_prices_follow_the_clock() -> None:
    """A price of the night holds across midnight UTC; without a time, the table's date counts."""
    day_s = TIMES[-2] - TIMES[-2] % 86_400
    usage = Usage(input=1_000_000)
    dollars = {
        hour: small().cost("p", "night", usage, wall_s=day_s + hour * 3_600) for hour in (0, 1.999, 2, 21.999, 22, 23)
    }
    assert {hour: (cost or 0) // 10**9 for hour, cost in dollars.items()} == {
        0: 10, 1.999: 10, 2: 1, 21.999: 1, 22: 10, 23: 10,
    }  # fmt: skip
    hours = {hour: small().cost("p", "day", usage, wall_s=day_s + hour * 3_600) for hour in (0.999, 1, 3.999, 4)}
    assert {hour: (cost or 0) // 10**9 for hour, cost in hours.items()} == {0.999: 1, 1: 10, 3.999: 10, 4: 1}
    assert small().cost("p", "night", usage) == to_nano("10")
    assert small().cost("p", "next", usage) == to_nano("1")


def test_a_bound_covers_prices_that_begin_within_a_day() -> None:
    """A hold made before a price change or a dear hour is large enough for a call that is billed after it."""
    day_s = TIMES[-2] - TIMES[-2] % 86_400
    worst = small().worst
    assert worst("p", "night", 1_000_000, 0, wall_s=day_s + 12 * 3_600) == to_nano("10")
    assert worst("p", "next", 1_000_000, 0, wall_s=day_s - 1) == to_nano("1")
    assert worst("p", "next", 1_000_000, 0, wall_s=day_s) == to_nano("100")
    assert worst("p", "next", 1_000_000, 0, wall_s=day_s + 86_400) == to_nano("100")
    assert worst("p", "next", 1_000_000, 0) == to_nano("100")


def test_a_bound_takes_the_dearest_kind_of_token() -> None:
    """Images, audio, reasoning, a price per request and every one of n answers are in it."""
    assert small().worst("p", "image", 1_000_000, 1_000_000, 3) == to_nano("30") + 3 * to_nano("40") + to_nano("0.005")
    assert small().cost("p", "image", Usage()) == to_nano("0.005")
    assert small().worst("p", "half", 1, 0) == 1


def test_a_bound_takes_the_dearest_band_that_the_prompt_can_reach() -> None:
    """A prompt just over the threshold is billed whole at the dearer price; one at the threshold is not."""
    now_s = TIMES[-2]
    worst = prices().worst
    assert worst("google", "gemini-2.5-pro", 200_000, 0, wall_s=now_s) == 200_000 * 1_250
    assert worst("google", "gemini-2.5-pro", 200_001, 0, wall_s=now_s) == 200_001 * 2_500


def test_a_bound_includes_cache_writes_that_may_happen() -> None:
    """Claude writes to the cache on request, at up to twice the input price; GPT-5.6 writes unasked, at 1.25 times."""
    now_s = TIMES[-2]
    worst = prices().worst
    assert worst("anthropic", "claude-haiku-4-5", 1_000, 0, wall_s=now_s) == 1_000_000
    assert worst("anthropic", "claude-haiku-4-5", 1_000, 0, cache_writes=True, wall_s=now_s) == 2_000_000
    assert worst("openai", "gpt-5.6-sol", 1_000, 0, wall_s=now_s) == 5_000_000


def test_a_bound_for_tier_auto_is_the_dearest_tier() -> None:
    """When the provider chooses the tier, the hold is enough for any known one; a known batch price is a bound."""
    now_s = TIMES[-2]
    worst = prices().worst
    assert worst("openai", "gpt-5", 1_000, 0, wall_s=now_s) == 1_250_000
    assert worst("openai", "gpt-5", 1_000, 0, service_tier="priority", wall_s=now_s) == 2_500_000
    assert worst("openai", "gpt-5", 1_000, 0, service_tier="auto", wall_s=now_s) == 2_500_000
    assert worst("openai", "gpt-5", 1_000, 0, batch=True, wall_s=now_s) == 625_000


def test_one_hour_writes_of_claude_cost_twice_the_input_everywhere() -> None:
    """OpenRouter's rows lack the price of one-hour cache writes; Anthropic's documented rule fills it in."""
    usage = Usage(cache_write_1h=1_000)
    row = prices().find("openrouter", "anthropic/claude-opus-4.5")
    assert row is not None
    assert row.input is not None
    assert row.cache_write_1h == 2 * row.input
    assert prices().cost("openrouter", "anthropic/claude-opus-4.5", usage) == to_nano(row.input * 2 / 1_000)


def test_a_row_shows_prices_for_people() -> None:
    """Dollars per million tokens, bands of long prompts, known tiers and where they come from."""
    row = prices().find("xai", "grok-4.3", wall_s=TIMES[-2])
    assert row is not None
    assert (row.provider, row.input, row.output) == ("x-ai", Decimal("1.25"), Decimal("2.5"))
    assert str(row.input) == "1.25"
    assert row.bands == (PriceBand(above_tokens=199_999, input=Decimal("2.5"), output=Decimal(5)),)
    assert row.tiers == ("batch",)
    assert prices().date in row.source
    image = small().find("p", "image")
    assert image is not None
    assert image.per_request == Decimal("0.005")


def test_the_users_own_prices_win() -> None:
    """An override replaces the table and the free set, for one provider and model, in any case; tiers are unknown."""
    own = prices().with_overrides(
        {"openai:GPT-5": {"input": "0.15", "output": 0.6, "reasoning": 1}, "ollama:big": {"input": Decimal("0.01")}}
    )
    usage = Usage(input=1_000_000, output=1_000_000, reasoning=1_000_000)
    assert own.cost("openai", "gpt-5", usage) == to_nano("1.75")
    assert own.cost("openai", "gpt-5", usage, batch=True) is None
    assert own.cost("ollama", "big", Usage(input=1_000_000)) == to_nano("0.01")
    assert own.cost("ollama", "small", usage) == 0
    assert prices().cost("openai", "gpt-5", usage) == to_nano("21.25")
    row = own.find("openai", "gpt-5")
    assert row is not None
    assert row.source == "your own price"
    again = own.with_overrides({"my:model": {"input": 1}})
    assert again.cost("openai", "gpt-5", usage) == to_nano("1.75")


def test_an_override_of_claude_knows_its_cache_writes() -> None:
    """Given the input price alone, 5-minute writes cost 1.25 times and 1-hour writes twice as much."""
    own = prices().with_overrides({"anthropic:claude-next": {"input": 4, "output": 20}})
    assert own.cost("anthropic", "claude-next", Usage(cache_write_5m=1_000_000)) == to_nano("5")
    assert own.cost("anthropic", "claude-next", Usage(cache_write_1h=1_000_000)) == to_nano("8")


@pytest.mark.parametrize(
    ("key", "row", "said"),
    [
        ("gpt-4o", {"input": 1}, "provider:model"),
        (":gpt-4o", {"input": 1}, "provider:model"),
        ("openai:", {"input": 1}, "provider:model"),
        ("openai:x", {"output": 1}, "needs at least input"),
        ("openai:x", "0.15", "needs at least input"),
        ("openai:x", {"input": 1, "imput": 2}, "'imput'"),
        ("openai:x", {"input": -1}, "input = -1"),
        ("openai:x", {"input": "cheap"}, "'cheap'"),
        ("openai:x", {"input": float("nan")}, "nan"),
        ("openai:x", {"input": float("inf")}, "inf"),
        ("openai:x", {"input": True}, "True"),
        ("openai:x", {"input": None}, "None"),
        ("openai:x", {"input": "1e7"}, "1e7"),
        ("openai:x", {"input": "1e-19"}, "1e-19"),
    ],
)
def test_a_wrong_override_is_named(key: str, row: Any, said: str) -> None:
    """One sentence says which entry is wrong and how it is written."""
    with pytest.raises(ConfigError, match="prices: ") as caught:
        prices().with_overrides({key: row})
    assert said in str(caught.value)


def test_compact_dates_in_names_are_understood() -> None:
    """A name with 20260115 finds the model with 2026-01-15; what is no date stays as it is."""
    assert _dashed_date("gpt-5.2-20251211") == "gpt-5.2-2025-12-11"
    assert _dashed_date("a-20251211:free") == "a-2025-12-11:free"
    assert _dashed_date("a-20251341") == "a-20251341"
    assert _dashed_date("a20251211") == "a20251211"


def test_names_that_were_looked_up_do_not_pile_up() -> None:
    """Ten thousand different names leave a bounded memory of them."""
    known = Prices.load(data())
    for number in range(10_000):
        known.cost("openai", f"x-{number}", Usage(input=1))
    assert len(known._models) <= 4_096


@given(
    st.sampled_from(["gpt-5", "gpt-5.6-sol", "gpt-4o-audio-preview", "o3", "gpt-4.1"]),
    st.builds(Usage, **{bucket: st.integers(0, 300_000) for bucket in BUCKETS}),
    st.integers(0, 1_000_000),
    st.integers(0, 1_000_000),
    st.integers(1_700_000_000, 1_850_000_000),
    st.sampled_from([None, "flex", "priority", "fast"]),
)
def test_a_bound_bounds(model: str, usage: Usage, more_in: int, more_out: int, wall_s: int, tier: str | None) -> None:
    """No usage within the announced tokens costs more than `worst`, up to a day later."""
    bound = prices().worst(
        "openai", model, usage.prompt + more_in, usage.completion + more_out, service_tier=tier, wall_s=wall_s
    )
    for delay_s in (0, 86_399):
        cost = prices().cost("openai", model, usage, service_tier=tier, wall_s=wall_s + delay_s)
        assert (cost is None and tier) or bound is None or (cost is not None and cost <= bound)
