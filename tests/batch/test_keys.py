"""The keys of questions: rows that differ in their prompt alone have those that they would have one by one."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from penstock import AsyncClient
from penstock.batch import RowFile
from penstock.batch.projection import Sample
from penstock.batch.question import Questions
from tests.flow.colours import KEYS

MODEL = "openai:gpt-4o-mini"
ROWS: tuple[Mapping[str, Any], ...] = (
    {},
    {"temperature": 0},
    {"temperature": False},
    {"max_tokens": 5, "system": "Be brief."},
    {"max_tokens": 5, "system": 'Be "brief".'},
    {"model": "anthropic:claude-haiku-4-5", "max_tokens": 7},
    {"response_format": {"type": "json_object"}},
    {"tier": "simple"},
    {"truncate": "middle"},
    {"system": "long " * 1000},
    {"stop": ["a", "b"], "extra": {"service": "\x00"}},
)
PROMPTS = ('plain "quoted"', "é \u2028 😀 \x00", "ends in \\")
LONG = "x" * 520_000


def keys(file: Path, *, together: bool, **settings: Any) -> list[tuple[str, str | None, bool, bool]]:
    """Tell the keys of a file of rows, read in one go or each as if it were the first."""
    client = AsyncClient(keys=KEYS, config=False, env={}, **settings)

    def questions() -> Questions:
        made = Questions(client, (MODEL,), {"seed": 3}, checked=True)
        made.check_job()
        return made

    shared, found = questions(), []
    for row in RowFile(file):
        task = (shared if together else questions()).task(row)
        found.append((task.key, task.lane, task.shaped, task.wrong is None))
    return found


@pytest.mark.parametrize("settings", [{}, {"truncate": "tail"}, {"tiers": {"simple": [MODEL]}}])
def test_rows_of_one_form_have_the_keys_that_each_has_alone(tmp_path: Path, settings: dict[str, Any]) -> None:
    """Whatever their options are, wrong ones among them, and where the client cuts or routes by the prompt too."""
    file = tmp_path / "in.jsonl"
    rows = [{"prompt": f"{prompt} {n}", **row} for n in range(3) for prompt in PROMPTS for row in ROWS]
    rows += [{"prompt": LONG, **row} for row in (*ROWS[:2], {"truncate": "middle"})]
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))

    together = keys(file, together=True, **settings)

    assert together == keys(file, together=False, **settings)
    sound = [key for key, _, _, is_sound in together if is_sound]
    assert len(set(sound)) > 60


def test_rows_of_one_form_count_what_each_counts_alone(tmp_path: Path) -> None:
    """Towards the sample that a projection is made of, and in their sizes."""
    file = tmp_path / "in.jsonl"
    rows = [{"prompt": f"{prompt} {n}", **row} for n in range(3) for prompt in PROMPTS for row in ROWS[:7]]
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    client = AsyncClient(keys=KEYS, config=False, env={})

    def measured(*, together: bool) -> tuple[object, list[tuple[int, float]]]:
        sample, sizes = Sample(), []

        def questions() -> Questions:
            made = Questions(client, (MODEL,), {}, checked=True)
            made.check_job()
            made.sample, made.sizes = sample, True
            return made

        shared = questions()
        for row in RowFile(file):
            task = (shared if together else questions()).task(row)
            sizes.append((task.counted, task.work))
        return sample.state(), sizes

    assert measured(together=True) == measured(together=False)


def test_a_bad_prompt_is_found_among_rows_of_one_form(tmp_path: Path) -> None:
    """Half of a character or nothing at all, after rows like it that were sound."""
    file = tmp_path / "in.jsonl"
    file.write_text('{"prompt": "a"}\n{"prompt": "b"}\n{"prompt": "c"}\n{"prompt": " "}\n{"prompt": "\\ud800"}\n')

    found = keys(file, together=True)

    assert [is_sound for *_, is_sound in found] == [True, True, True, False, False]
