"""The provider's bill: exact integers, nothing forgotten."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.sim import Price, ScenarioError, SimConfig
from penstock.sim.bill import Bill
from penstock.sim.plan import Usage
from penstock.sim.reading import parse_config


def test_prices_are_those_of_the_table() -> None:
    """A million tokens cost what the table says, cache writes and reads by their factors."""
    million = 1_000_000
    mini = SimConfig().price("gpt-4o-mini-2024-07-18")
    assert mini.cost_nano(Usage(input=million, output=million)) == 750_000_000
    assert mini.cost_nano(Usage(cache_read=million)) == 75_000_000
    haiku = SimConfig().price("claude-haiku-4-5-20251001")
    buckets = [Usage(input=million), Usage(cache_read=million), Usage(write_5m=million), Usage(write_1h=million)]
    assert [haiku.cost_nano(usage) for usage in buckets] == [10**9, 10**8, 125 * 10**7, 2 * 10**9]


@given(st.lists(st.builds(Usage, *[st.integers(0, 10**6)] * 4, output=st.integers(0, 10**6)), max_size=8))
def test_costs_add_up_without_rounding_for_whole_prices(usages: list[Usage]) -> None:
    """With prices in whole nano-dollars per token the sum of costs is the cost of the sum."""
    price = Price(input="0.15", output="0.60", cache_read="0.075", write_5m="1.25", write_1h="2")
    total = Usage(*(sum(getattr(u, name) for u in usages) for name in Usage.__slots__))
    assert sum(price.cost_nano(usage) for usage in usages) == price.cost_nano(total)


def test_what_is_not_priced_costs_as_much_as_input() -> None:
    """A price without cache rows bills cached tokens as plain input."""
    assert Price(input="1", output="4").cost_nano(Usage(cache_read=1000, write_1h=1000)) == 2_000_000


@pytest.mark.parametrize("amount", ["-1", "NaN", "inf", "much", "0.0000000001"])
def test_an_impossible_price_is_refused_with_its_place(amount: str) -> None:
    """A negative, endless or too fine price is an error that names the key."""
    with pytest.raises(ScenarioError, match=r"sim\.toml: prices"):
        parse_config(f'[prices."m"]\ninput = "{amount}"\noutput = "1"\n', "sim.toml")


def test_an_empty_bill_is_zero() -> None:
    """Before the first attempt nothing is owed."""
    assert Bill(10).report(attempts=True) == {
        "total_nano": 0,
        "total_usd": "0",
        "attempts": 0,
        "by_model": {},
        "by_credential": {},
        "list": [],
    }
