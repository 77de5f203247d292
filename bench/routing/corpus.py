"""RouteLLM's published outcomes of a weak and a strong model, where they lie beside the checkout; nothing is copied.

Prompts that its authors found in training data are left out, as they do. weak: Mixtral-8x7B; strong: gpt-4-1106.
Source: github.com/lm-sys/RouteLLM, Apache-2.0; prices of its paper, section 5.4.
"""

from __future__ import annotations

import csv
import json
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from penstock._flow.calibration import Outcomes
from penstock._policy.curve import Outcome

CORPUS: Final = Path(__file__).parent.parent.parent.parent / "shared" / "corpora" / "routing" / "routellm"
SETS: Final = ("mmlu", "gsm8k", "mt_bench")
WEAK, STRONG = "mistralai/Mixtral-8x7B-Instruct-v0.1", "gpt-4-1106-preview"
WEAK_USD, STRONG_USD = 0.24, 24.7
"""Per million tokens; all calls count as equally long."""


def load(name: str) -> Outcomes:
    """Read one of `SETS`."""
    bad = {line["eval_prompt"] for line in _lines(CORPUS / name / "contaminated_prompts.jsonl")}
    found = _judged(bad) if name == "mt_bench" else _graded(name, bad)
    prompts, each = [], []
    for prompt, weak, strong in found:
        prompts.append(prompt)
        each.append(Outcome(weak, strong, WEAK_USD, STRONG_USD))
    return Outcomes(prompts, each, priced=True)


def _graded(name: str, bad: set[str]) -> Iterator[tuple[str, float, float]]:
    files = sorted((CORPUS / "mmlu" / "responses").glob("mmlu_*.csv"))
    for path in files if name == "mmlu" else [CORPUS / "gsm8k" / "gsm8k_responses.csv"]:
        with path.open(encoding="utf-8", newline="") as file:
            for row in csv.DictReader(file):
                if row["prompt"] not in bad:
                    yield row["prompt"], float(row[WEAK] == "True"), float(row[STRONG] == "True")


def _judged(bad: set[str]) -> Iterator[tuple[str, float, float]]:
    marks: dict[tuple[int, str], list[float]] = defaultdict(list)
    for line in _lines(CORPUS / "mt_bench" / "judgements.jsonl"):
        if line["score"] >= 0:
            marks[line["question_id"], line["model"]].append(line["score"])
    for line in _lines(CORPUS / "mt_bench" / "question.jsonl"):
        number, turns = line["question_id"], line["turns"]
        weak, strong = marks.get((number, WEAK)), marks.get((number, STRONG))
        if weak and strong and not bad.intersection(turns):
            yield turns[0], sum(weak) / len(weak), sum(strong) / len(strong)


def _lines(path: Path) -> Iterator[dict[str, Any]]:
    with path.open(encoding="utf-8") as file:
        yield from map(json.loads, file)
