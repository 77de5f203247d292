"""What the router is worth on published outcomes, where they lie beside the checkout, and what a route costs."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from bench.routing.corpus import CORPUS, SETS, load
from bench.routing.run import LENGTH_APGR, OVERHEAD_US, described, overhead

from penstock import Routing
from penstock._flow.calibration import Aim, calibrate
from penstock._policy.curve import apgr, coin, curve, oracle
from penstock._text.complexity import difficulty

PUBLISHED = pytest.mark.skipif(not CORPUS.is_dir(), reason=f"the published outcomes are not at {CORPUS}")
Record = Callable[[str, object], None]


@PUBLISHED
@pytest.mark.prove(17)
@pytest.mark.parametrize("name", ["gsm8k", "mt_bench", pytest.param("mmlu", marks=pytest.mark.slow)])
def test_the_score_orders_prompts_no_worse_than_their_length(name: str, record_property: Record) -> None:
    """No program fitted it to them, though whoever chose its weights had seen them; a coin recovers half."""
    found = load(name)
    area = apgr(curve([difficulty(prompt) for prompt in found.prompts], found.each))
    by_length = apgr(curve([len(prompt) for prompt in found.prompts], found.each))
    assert area is not None
    assert by_length is not None
    assert by_length == pytest.approx(LENGTH_APGR[name], abs=0.001), "the outcomes are not those of the promise"
    assert area >= by_length
    assert apgr(coin(found.each)) == pytest.approx(0.5)
    assert (apgr(oracle(found.each)) or 0) > area
    record_property(f"{name}_apgr", round(area, 3))
    record_property(f"{name}_apgr_of_length", round(by_length, 3))


@PUBLISHED
@pytest.mark.slow
@pytest.mark.prove(17)
def test_a_calibration_is_worth_more_than_the_score(record_property: Record) -> None:
    """On prompts that it had not learned from; its saving is told beside that of a coin."""
    found = load("gsm8k")
    _, report = calibrate(found, aim=Aim())
    by_name = {each.name: each for each in report.contestants}
    mine, coin_ = by_name["calibrated"], by_name["random"]
    assert mine.apgr is not None
    assert mine.apgr > (by_name["difficulty"].apgr or 1)
    assert mine.saves is not None
    assert coin_.saves is not None
    assert mine.saves > coin_.saves
    record_property("gsm8k_apgr_calibrated", round(mine.apgr, 3))
    record_property("gsm8k_saves", f"{mine.saves:.0%}")
    record_property("gsm8k_saves_of_a_coin", f"{coin_.saves:.0%}")


@pytest.mark.slow
@pytest.mark.prove(17)
def test_a_route_costs_next_to_nothing(record_property: Record) -> None:
    """In CPU time, of prompts as people write them."""
    sentence = "Given that 17 of the 42 pods restarted twice, how many of them, if any, were killed by the kernel? "
    prompts = [f"{number}: {sentence * (number % 12 + 1)}" for number in range(2_000)]
    mean_us, _ = overhead(prompts, Routing())
    assert mean_us < OVERHEAD_US
    record_property("route_us", round(mean_us, 1))


@PUBLISHED
def test_every_set_is_as_it_was_published() -> None:
    """As many prompts as the paper has, less those that its authors took out."""
    assert [len(load(name).prompts) for name in SETS[1:]] == [1_307, 72]
    assert described(coin(load("mt_bench").each))["apgr"] == pytest.approx(0.5)
