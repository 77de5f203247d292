"""Typed reading of JSON that does not keep its types."""

from typing import Any

import msgspec
import pytest

from penstock._wire.lenient import count, read


class Inner(msgspec.Struct):
    a: int | None = None
    b: str | None = None


class Outer(msgspec.Struct):
    one: Inner | None = None
    many: list[Inner] | None = None
    names: list[str] | None = None
    word: str = ""
    other: Any = None


DECODER = msgspec.json.Decoder(Outer)


@pytest.mark.parametrize(
    ("value", "number"),
    [(7, 7), (7.0, 7), ("7", 7), ("7.9", 7), (-1, 0), (None, 0), (True, 0), ("x", 0), ([], 0), (float("nan"), 0),
     (float("inf"), 0), (1e300, 0), (2**70, 2**70), ("-3", 0)],
)  # fmt: skip
def test_counts_are_read_as_they_can_be(value: object, number: int) -> None:
    """Never negative, never an exception."""
    assert count(value) == number


def test_what_fits_is_kept_and_the_rest_left_out() -> None:
    """At every depth."""
    text = (
        b'{"one": {"a": "x", "b": "y"}, "many": [{"a": 1}, 5, {"b": 2}], "names": ["a", [], 3], "word": 4, "other": {}}'
    )
    assert read(DECODER, text, Outer) == Outer(
        one=Inner(b="y"), many=[Inner(a=1), Inner(b="2")], names=["a", "3"], word="4", other={}
    )


def test_what_fits_at_once_is_read_at_once() -> None:
    """The usual case."""
    assert read(DECODER, b'{"word": "w", "unknown": 1}', Outer) == Outer(word="w")


@pytest.mark.parametrize("text", [b"[1]", b"3", b"{broken", b""])
def test_what_is_no_object_raises(text: bytes) -> None:
    """The caller says what that means."""
    with pytest.raises(msgspec.DecodeError):
        read(DECODER, text, Outer)
