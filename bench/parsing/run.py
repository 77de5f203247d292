"""Score Penstock's parser and its peers on a public collection of messy model output: `make bench-parsing`.

Prints solved, wrong in silence and time per case, and how time grows on hostile text; writes build/bench-parsing.json;
exits with 1 when a promised number is missed. The collection lies beside the checkout and is not part of it.
"""

from __future__ import annotations

import contextlib
import importlib.util
import json
import math
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

ROOT: Final = Path(__file__).parent.parent.parent
CORPUS: Final = ROOT.parent / "shared" / "corpora" / "parsing"
OUT: Final = ROOT / "build" / "bench-parsing.json"
PEERS_VENV: Final = ROOT / ".venv-bench-parsing" / "bin" / "python"
PEERS: Final = ("baml", "json_repair", "instructor", "langchain", "partial_json_parser", "jiter", "stdlib")
LLM_SOURCES: Final = ("baml", "langchain", "instructor", "guardrails", "pydantic-ai", "llama_index")
SIZES: Final = (125_000, 250_000, 500_000, 1_000_000)
MEASURABLE_S: Final = 0.004
"""Shorter times say more of the clock than of growth."""
JUNK_TEXTS: Final = 20_000
PIECE_CHARS: Final = 12
"""What one chunk of a stream carries: about three tokens."""

PROMISED: Final[dict[str, tuple[str, float]]] = {
    "solved": (">=", 0.82),
    "solved_llm": (">=", 0.90),
    "wrong": ("<=", 0.08),
    "mean_us": ("<=", 250.0),
    "strict_ratio": ("<=", 1.5),
    "growth_exponent": ("<=", 1.2),
    "stream_exponent": ("<=", 1.2),
    "escapes": ("<=", 0.0),
}


def scored(name: str, python: Path) -> dict[str, float] | str:
    """Run the collection's own scorer on one contestant: its figures, or why there are none."""
    if not python.exists():
        return f"{python} does not exist"
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "score.json"
        command = [str(python), str(CORPUS / "score.py"), f"bench.parsing.contestants:{name}", "--json", str(out)]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=600, check=False)
        if done.returncode or not out.exists():
            return (done.stderr.strip().splitlines() or ["no figures"])[-1]
        ((_, result),) = json.loads(out.read_text()).items()
    shares, spent = result["share"], result["time"]
    solved, cases = shares["ALL"]
    llm = [
        pair for key, pair in shares.items() if key.startswith("source:") and any(name in key for name in LLM_SOURCES)
    ]
    return {
        "cases": cases,
        "solved": solved / cases,
        "solved_llm": sum(pair[0] for pair in llm) / max(1, sum(pair[1] for pair in llm)),
        "wrong": spent["wrong_value"] / cases,
        "mean_us": spent["mean_us"],
        "p99_us": spent["p99_us"],
    }


def seconds(work: Callable[[], object], repeat: int) -> float:
    """The least CPU time of several runs."""
    least = math.inf
    for _ in range(repeat):
        start = time.process_time()
        work()
        least = min(least, time.process_time() - start)
    return least


def growth() -> dict[str, float]:
    """The exponent with which time grows on each hostile pattern, over the sizes that take long enough to measure."""
    from penstock import ParseError, parse

    spec = importlib.util.spec_from_file_location("adversarial", CORPUS / "adversarial.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    found: dict[str, float] = {}
    for name, pattern in module.PAT.items():
        points: list[tuple[int, float]] = []
        for size in SIZES:
            text = pattern(size)

            def attempt(text: str = text) -> None:
                with contextlib.suppress(ParseError):
                    parse(text)

            points.append((size, seconds(attempt, 3)))
        usable = [point for point in points if point[1] >= MEASURABLE_S]
        if len(usable) > 1:
            (small, little), (large, much) = usable[0], usable[-1]
            found[name] = math.log(much / little) / math.log(large / small)
        else:
            found[name] = 0.0
        print(f"  {name:28s} {points[-1][1] * 1000:8.1f} ms for 1 MB, exponent {found[name]:.2f}")
    return found


def streamed() -> tuple[float, float]:
    """How time grows when a value is read while it comes, a few characters at a time, and the seconds for 1 MB."""
    from penstock._text.growing import Growing

    item = '{"name": "turbine blade", "count": 3, "tags": ["steel", "large"]}, '
    spent = []
    for size in (SIZES[0], SIZES[-1]):
        text = ('{"items": [' + item * (size // len(item) + 1))[:size]

        def grow(text: str = text) -> None:
            growing = Growing(dict)
            for at in range(0, len(text), PIECE_CHARS):
                growing.feed(text[at : at + PIECE_CHARS])

        spent.append(seconds(grow, 1))
    return math.log(spent[1] / spent[0]) / math.log(SIZES[-1] / SIZES[0]), spent[1]


def strict_ratio() -> float:
    """CPU of parse on valid JSON for a pydantic model, over pydantic_core.from_json and validation."""
    import pydantic
    import pydantic_core

    from penstock import parse

    class Item(pydantic.BaseModel):
        name: str
        price: float
        tags: list[str]
        count: int

    class Order(pydantic.BaseModel):
        id: int
        customer: str
        items: list[Item]

    item = {"name": "turbine blade", "price": 12.5, "tags": ["steel", "large"], "count": 3}
    text = json.dumps({"id": 7, "customer": "hydro works", "items": [item] * 30})

    def bare() -> None:
        for _ in range(200):
            Order.model_validate(pydantic_core.from_json(text))

    def ours() -> None:
        for _ in range(200):
            parse(text, Order)

    ours()
    return min(seconds(ours, 1) / seconds(bare, 1) for _ in range(15))


def escapes() -> int:
    """How many texts, random or cut and mixed from the collection, raised anything but what is declared."""
    from penstock import ParseError, parse

    dice = random.Random(20)
    texts = [json.loads(line)["input"] for line in (CORPUS / "cases.jsonl").open(encoding="utf-8")]
    failures = 0
    for turn in range(JUNK_TEXTS):
        one, two = dice.choice(texts), dice.choice(texts)
        data: Any = dice.randbytes(dice.randrange(200))
        if turn % 4:
            data = one[dice.randrange(len(one) + 1) :][:2000] + two[: dice.randrange(len(two) + 1)][:2000]
        try:
            parse(data, dice.choice((None, dict, list[str], int)), partial=turn % 3 == 0)
        except ParseError:
            pass
        except Exception as error:  # noqa: BLE001 - it is what is looked for
            failures += 1
            print(f"  escaped: {type(error).__name__} on {data!r:.200}")
    return failures


def missed(figures: dict[str, float]) -> list[str]:
    """Say which promised numbers are missed."""
    return [
        f"{name} is {figures[name]:.3g}, promised {sign} {bound:g}"
        for name, (sign, bound) in PROMISED.items()
        if not (figures[name] >= bound if sign == ">=" else figures[name] <= bound)
    ]


def main() -> int:
    """Measure everything."""
    if not (CORPUS / "cases.jsonl").exists():
        print(f"skipped: the collection of cases is not at {CORPUS}")
        return 0
    figures: dict[str, float] = {}
    print(f"{'':22s} solved  of LLM   wrong     mean      p99")
    for name in ("penstock", *PEERS):
        row = scored(name, Path(sys.executable) if name == "penstock" else PEERS_VENV)
        if isinstance(row, str):
            if name == "penstock":
                raise SystemExit(row)
            print(f"{name:22s} not measured: {row}")
            continue
        print(
            f"{name:22s} {row['solved']:6.1%}  {row['solved_llm']:6.1%}  {row['wrong']:6.1%}  "
            f"{row['mean_us']:5.0f} us  {row['p99_us']:5.0f} us"
        )
        figures |= {key if name == "penstock" else f"{name}_{key}": value for key, value in row.items()}
    print("hostile text:")
    exponents = growth()
    figures |= {f"growth_{name}": value for name, value in exponents.items()}
    figures["growth_exponent"] = max(exponents.values())
    figures["stream_exponent"], figures["stream_1mb_s"] = streamed()
    print(
        f"1 MB as it comes, {PIECE_CHARS} characters at a time: {figures['stream_1mb_s']:.1f} s of CPU, exponent "
        f"{figures['stream_exponent']:.2f}"
    )
    figures["strict_ratio"] = strict_ratio()
    figures["escapes"] = escapes()
    print(f"valid JSON: {figures['strict_ratio']:.2f}x of from_json and validation; escapes: {figures['escapes']:.0f}")
    OUT.parent.mkdir(exist_ok=True)
    OUT.write_text(json.dumps({"figures": figures}, indent=2) + "\n")
    for sentence in missed(figures):
        print(f"MISSED: {sentence}")
    return 1 if missed(figures) else 0


if __name__ == "__main__":
    raise SystemExit(main())
