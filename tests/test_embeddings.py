"""Vectors: packed, aligned, and read as numbers, slices or a numpy array."""

from __future__ import annotations

import builtins
import importlib
import sys
from array import array
from decimal import Decimal
from typing import Any

import pytest

from penstock import Embeddings
from penstock.embeddings import NOWHERE, Vectors, place_of


def vectors() -> Vectors:
    """Four inputs: the third is skipped, the last repeats the first."""
    blocks = [array("f", [1, 2]), array("f", [3, 4, 5, 6])]
    return Vectors(2, blocks, [place_of(1, 1), place_of(0, 0), NOWHERE, place_of(1, 1)])


def test_vectors_are_a_sequence_in_the_order_of_the_inputs() -> None:
    """By number, by slice and one after the other; a skipped input has none."""
    found = vectors()
    assert [vector.tolist() for vector in found] == [[5, 6], [1, 2], [], [5, 6]]
    assert found[-1].tolist() == [5, 6]
    assert [vector.tolist() for vector in found[1:3]] == [[1, 2], []]
    assert len(found) == 4
    assert [found.has(index) for index in range(4)] == [True, True, False, True]
    with pytest.raises(IndexError):
        found[4]


def test_a_vector_that_is_changed_changes_no_other() -> None:
    """What is given out is a copy."""
    found = vectors()
    found[0][0] = 99
    assert found[0].tolist() == found[3].tolist() == [5, 6]


def test_vectors_are_equal_by_their_numbers() -> None:
    """However they are kept."""
    assert vectors() == vectors()
    same = Vectors(2, [array("f", [5, 6, 1, 2])], [place_of(0, 0), place_of(0, 1), NOWHERE, place_of(0, 0)])
    assert same == vectors()
    assert Vectors(2, [array("f", [1, 2])], [place_of(0, 0)]) != Vectors(2, [array("f", [1, 3])], [place_of(0, 0)])


def test_a_number_takes_four_bytes() -> None:
    """And eight more go to each input for its place; a list of lists would take 32 a number."""
    size, count = 1536, 200
    block = array("f", bytes(4 * size * count))
    found = Vectors(size, [block], (place_of(0, row) for row in range(count)))
    assert found.nbytes == 4 * size * count
    assert sys.getsizeof(found._places) < 10 * count


def test_numpy_gets_a_row_per_input() -> None:
    """Rows of skipped inputs are NaN."""
    numpy = pytest.importorskip("numpy")
    rows = vectors().numpy()
    assert rows.dtype == numpy.float32
    assert rows[[0, 1, 3]].tolist() == [[5, 6], [1, 2], [5, 6]]
    assert numpy.isnan(rows[2]).all()
    assert Vectors().numpy().shape == (0, 0)


def test_without_numpy_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is an extra."""

    def missing(name: str, *rest: Any) -> Any:
        if name == "numpy":
            raise ImportError(name)
        return builtins.__import__(name, *rest)

    monkeypatch.setattr(importlib, "import_module", missing)
    with pytest.raises(ImportError, match=r"penstock\[numpy\]"):
        vectors().numpy()


def test_embeddings_are_a_sequence_of_their_vectors() -> None:
    """With their cost in dollars, exact; None when it is unknown."""
    found = Embeddings(provider="openai", model="m", vectors=vectors(), cost_nano=1_500)
    assert len(found) == 4
    assert found[1].tolist() == [1, 2]
    assert [len(vector) for vector in found] == [2, 2, 0, 2]
    assert found.dimensions == 2
    assert found.cost == Decimal("0.0000015")
    assert Embeddings(provider="openai", model="m", vectors=Vectors()).cost is None
