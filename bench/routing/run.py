"""What the router is worth on published outcomes, and what a route costs: `make bench-routing`.

Prints for each set the area that a router recovers (APGR; a coin has 0.5) and what it takes to reach 95 % of the strong
model's quality, beside random, length and an oracle; then what a calibrated model makes of prompts that it had not
learned from, and the time of a route. Writes build/bench-routing.json; exits with 1 when a promise is missed. The
outcomes lie beside the checkout and are not part of it.
"""

from __future__ import annotations

import json
import random
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from bench.routing.corpus import CORPUS, SETS, load

from penstock import Client, Routing
from penstock._flow.calibration import Aim, Outcomes, calibrate
from penstock._policy.curve import Curve, apgr, at_quality, coin, curve, oracle, saving
from penstock._policy.routing import TIERS
from penstock._text.complexity import detect_complexity, difficulty
from penstock._text.lesson import fit, lesson_of

ROOT: Final = Path(__file__).parent.parent.parent
OUT: Final = ROOT / "build" / "bench-routing.json"
LENGTH_APGR: Final = {"mmlu": 0.586, "gsm8k": 0.598, "mt_bench": 0.548}
"""What the length alone recovers, measured once with another program."""
OVERHEAD_US: Final = 100.0
GOOD_ENOUGH: Final = 0.95
SPLITS: Final = (("mmlu", 0.1, 3), ("mmlu", 0.5, 1), ("gsm8k", 0.5, 5))
Scores = Sequence[float]
ROUTERS: Final[dict[str, Callable[[str], float]]] = {
    "difficulty": difficulty,
    "length": len,
    "words": lambda prompt: TIERS.index(detect_complexity(prompt).tier),
}


def described(points: Curve) -> dict[str, float]:
    """The figures of one router: area, share of strong calls for 95 % of their quality, cost saved there."""
    place = at_quality(points, GOOD_ENOUGH * points[-1].quality)
    assert place is not None
    area = apgr(points)
    assert area is not None
    return {"apgr": area, "share": place.share, "saves": saving(points, place)}


def of_set(name: str, found: Outcomes, figures: dict[str, float]) -> None:
    """Print and keep what needs no calibration."""
    outcomes = found.each
    curves = {router: curve([score(each) for each in found.prompts], outcomes) for router, score in ROUTERS.items()}
    curves |= {"random": coin(outcomes), "oracle": oracle(outcomes)}
    print(f"\n{name}: {len(outcomes):,} prompts, weak {curves['random'][0].quality:.4f}, strong "
          f"{curves['random'][-1].quality:.4f}")  # fmt: skip
    for router, points in curves.items():
        said = described(points)
        print(f"  {router:<12} APGR {said['apgr']:.3f}  strong calls for 95 % of the quality {said['share']:6.1%}  "
              f"saves {said['saves']:6.1%}")  # fmt: skip
        figures.update({f"{name}.{router}.{what}": round(value, 4) for what, value in said.items()})


def learned(name: str, found: Outcomes, share: float, seeds: int) -> float:
    """The mean area on prompts that were not learned from, over some splits."""
    lessons = [lesson_of(prompt) for prompt in found.prompts]
    areas = []
    for seed in range(seeds):
        order = list(range(len(lessons)))
        random.Random(seed).shuffle(order)
        cut = int(share * len(order))
        seen, rest = order[:cut], order[cut:]
        fitted = fit([lessons[at] for at in seen], [found.each[at].strong - found.each[at].weak for at in seen])
        area = apgr(curve([fitted.score(lessons[at]) for at in rest], [found.each[at] for at in rest]))
        assert area is not None
        areas.append(area)
    return sum(areas) / len(areas)


def overhead(prompts: list[str], routing: Routing) -> tuple[float, float]:
    """Mean and 99th percentile of the CPU time of a route, in microseconds: what a call with tier 'auto' adds."""
    tiers = {"simple": "openai:gpt-4o-mini", "complex": "openai:gpt-4o"}
    with Client(config=False, env={}, tiers=tiers, routing=routing) as client:  # type: ignore[arg-type]
        spent = []
        for prompt in prompts:
            start = time.process_time_ns()
            client.route(prompt, tier="auto")
            spent.append((time.process_time_ns() - start) / 1000)
    spent.sort()
    return sum(spent) / len(spent), spent[int(len(spent) * 0.99)]


def main() -> int:
    """Measure, print, write."""
    if not CORPUS.is_dir():
        print(f"skipped: the published outcomes are not at {CORPUS}")
        return 0
    figures: dict[str, float] = {}
    sets = {name: load(name) for name in SETS}
    for name, found in sets.items():
        of_set(name, found, figures)
    print("\ncalibrated, on prompts that were not learned from")
    for name, share, seeds in SPLITS:
        area = learned(name, sets[name], share, seeds)
        print(f"  {name:<12} APGR {area:.3f}  learned from {share:.0%} of its prompts")
        figures[f"{name}.calibrated_{share:.0%}.apgr".replace("%", "")] = round(area, 4)
    model, _ = calibrate(sets["gsm8k"], aim=Aim())
    path = OUT.parent / "bench-routing-model.json"
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps({name: getattr(model, name) for name in model.__struct_fields__}))
    sample = random.Random(0).sample(sets["mmlu"].prompts, 2_000) + sets["mt_bench"].prompts
    print("\nCPU time of a route, microseconds")
    for rule, routing in (("words", Routing()), ("calibrated", Routing(calibration=str(path)))):
        mean, worst = overhead(sample, routing)
        print(f"  {rule:<12} mean {mean:.1f}, 99 of 100 within {worst:.1f}")
        figures[f"route.{rule}.mean_us"], figures[f"route.{rule}.p99_us"] = round(mean, 1), round(worst, 1)
    OUT.write_text(json.dumps({"figures": figures}, indent=2) + "\n", encoding="utf-8")
    missed = [name for name, least in LENGTH_APGR.items() if figures[f"{name}.difficulty.apgr"] < least]
    missed += [name for name in figures if name.endswith("mean_us") and figures[name] >= OVERHEAD_US]
    print(
        f"\n{'missed: ' + ', '.join(missed) if missed else 'every promise is kept'}; figures in {OUT.relative_to(ROOT)}"
    )
    return int(bool(missed))


if __name__ == "__main__":
    sys.exit(main())
