"""Failing worlds are made small, can be played again, and are kept."""

from __future__ import annotations

from pathlib import Path

import pytest

from . import campaign, mutants
from .campaign import Case, read_line
from .invariants import Violation
from .scenarios import SCENARIOS
from .schedule import Cut, Schedule


def test_a_case_is_written_and_read_back() -> None:
    """With and without cuts; what follows a # is for people."""
    for case in (Case("storm", 3), Case("calm", 4, Cut((1, 5, 9), 0, 2))):
        assert read_line(f"{case.line()}  # no call is lost") == case
    assert Case("calm", 4, Cut((1, 5), 0)).command() == (
        "python -m tests.world --scenario calm --seed 4 --calls 1,5 --faults 0"
    )


def test_a_cut_leaves_the_rest_as_it_was() -> None:
    """The same calls at the same times with the same mishaps."""
    every = Schedule(SCENARIOS["storm"], 5)
    some = Schedule(SCENARIOS["storm"], 5, Cut((3, 8), 1, 0))
    assert some.calls == [every.calls[3], every.calls[8]]
    assert some.happenings == []


def test_the_calls_that_matter_are_found() -> None:
    """Two of a thousand, in few tries."""
    tries = []

    def breaks(numbers: tuple[int, ...]) -> bool:
        tries.append(numbers)
        return {17, 640} <= set(numbers)

    assert campaign.fewer(tuple(range(1000)), breaks) == (17, 640)
    assert len(tries) < 200


def test_a_failing_world_is_kept_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In the file that the tests play again."""
    seeds = tmp_path / "seeds.txt"
    seeds.write_text("# kept\n", encoding="utf-8")
    monkeypatch.setattr(campaign, "SEEDS", seeds)
    case = Case("storm", 3, Cut((1, 2), 0, None))
    for _ in range(2):
        campaign.keep(case, Violation("no call is lost", 1.0, "call 1"))
    assert campaign.kept_seeds() == [case]


def test_every_mutant_fits_in_exactly_one_place() -> None:
    """And there are enough of them, each with a name of its own."""
    known = mutants.table()
    assert all(mutant.planted() for mutant in known)
    assert len({mutant.name for mutant in known}) == len(known) >= 30
    assert all(name in SCENARIOS for mutant in known for name in mutant.scenarios)


def test_a_mutant_without_a_place_fails_loudly() -> None:
    """Code that moved on takes its mutants along, or they say so."""
    lost = mutants.Mutant("lost", "_policy/retry.py", "no such words", "pass", ("calm",))
    with pytest.raises(ValueError, match="stands 0 times"):
        mutants.run([lost])


@pytest.mark.slow
def test_a_change_that_breaks_nothing_survives() -> None:
    """So that killed means something."""
    harmless = mutants.Mutant("harmless", "_policy/retry.py", "BUDGET = 500\n", "BUDGET = 501\n", ("calm-threads",))
    assert mutants.run([harmless]) == {"harmless": None}
