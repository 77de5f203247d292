"""Rows for a calibration: every shape that is taken, and what is wrong with others, by line."""

from __future__ import annotations

from pathlib import Path

import pytest

from penstock._io.outcomes import read_outcomes
from penstock._policy.curve import Outcome
from penstock.errors import InputError


def written(tmp_path: Path, text: str | bytes, name: str = "rows.jsonl") -> str:
    """A file."""
    path = tmp_path / name
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return str(path)


def test_qualities_labels_and_costs_are_read(tmp_path: Path) -> None:
    """As numbers, truth or words; without costs a call of the stronger model counts one."""
    found = read_outcomes(
        written(tmp_path, '{"prompt": "a", "weak": 0, "strong": true}\n\n{"prompt": "b", "label": "weak"}\n'
                '{"prompt": "c", "label": "strong"}\n{"prompt": "d", "weak": "7.5", "strong": 9}\n')
    )  # fmt: skip
    assert found.prompts == ["a", "b", "c", "d"]
    assert found.each == [Outcome(0, 1, 0, 1), Outcome(1, 1, 0, 1), Outcome(0, 1, 0, 1), Outcome(7.5, 9, 0, 1)]
    assert not found.priced
    priced = read_outcomes(
        written(tmp_path, "prompt,weak,strong,weak_cost,strong_cost\nx,false,true,0.1,0.9\n", "rows.csv")
    )
    assert priced == (["x"], [Outcome(0.0, 1.0, 0.1, 0.9)], True)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "has no rows; a row needs 'prompt'"),
        ("{", "rows.jsonl:1 is not JSON"),
        ("[1]", "rows.jsonl:1 is JSON but not an object"),
        ('{"weak": 1, "strong": 1}', "rows.jsonl:1 has no text in 'prompt'"),
        ('{"prompt": " ", "weak": 1, "strong": 1}', "no text in 'prompt'"),
        ('{"prompt": "a", "weak": 1}', "rows.jsonl:1: 'strong' is missing"),
        ('{"prompt": "a", "weak": 1, "strong": "good"}', "'strong' is 'good', which is no number"),
        ('{"prompt": "a", "weak": [], "strong": 1}', "which is no number"),
        ('{"prompt": "a", "label": "hard"}', "'label' is 'hard'"),
        ('{"prompt": "a", "label": "weak", "weak_cost": 1}', "in every row, or in none"),
        (
            '{"prompt": "a", "label": "weak"}\n{"prompt": "a", "label": "weak", "weak_cost": 1, "strong_cost": 2}',
            "rows.jsonl:2: give 'weak_cost'",
        ),
        ('{"prompt": "a", "label": "weak", "weak_cost": -1, "strong_cost": 2}', "a cost is below 0"),
        (b"\xff\xfe\x00", "rows.jsonl:1 is UTF-16; save the file as UTF-8"),
    ],
)
def test_what_is_wrong_with_a_row_is_named(tmp_path: Path, text: str | bytes, said: str) -> None:
    """File, line and field."""
    with pytest.raises(InputError) as caught:
        read_outcomes(written(tmp_path, text))
    assert said in caught.value.message


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    """Missing, or a folder."""
    for path in (tmp_path / "none.jsonl", tmp_path):
        with pytest.raises(InputError, match="cannot be read"):
            read_outcomes(str(path))
