"""The table of digests against a plain dict."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from penstock._io.index import Index

digests = st.integers(1, 2**64 - 1) | st.integers(1, 50)
numbers = st.integers(0, 2**64 - 1)


@given(st.lists(st.tuples(digests, numbers, numbers)))
def test_it_agrees_with_a_dict(entries: list[tuple[int, int, int]]) -> None:
    """The newest numbers of a digest count, the one before is told, and nothing else is found."""
    index = Index()
    model: dict[int, tuple[int, int]] = {}
    for digest, first, second in entries:
        before = model.get(digest)
        assert index.put(digest, first, second) == (None if before is None else before[1])
        model[digest] = (first, second)
    assert len(index) == len(model)
    assert {digest: (first, second) for digest, first, second in index.items()} == model
    assert all(index.find(digest) == pair for digest, pair in model.items())
    assert index.find(2**63 + 12345) == model.get(2**63 + 12345)


def test_it_grows() -> None:
    """Entries survive several doublings, also those that share their low bits."""
    index = Index()
    for number in range(1, 5000):
        index.put(number << 10, number, number * 2)
    assert len(index) == 4999
    assert all(index.find(number << 10) == (number, number * 2) for number in range(1, 5000))
