"""A value that grows with its text, read seldom enough to be linear."""

from __future__ import annotations

import json

import pytest

from penstock import ParseError, parse
from penstock._text import growing
from penstock._text.growing import Growing

VALUE = {"items": [{"name": f"turbine {at}", "count": at} for at in range(200)]}


def test_values_grow_and_never_shrink() -> None:
    """Each is the beginning of the next, and the last is the whole."""
    text = json.dumps(VALUE)
    stream = Growing(dict)
    seen = [parsed.value for at in range(0, len(text), 7) if (parsed := stream.feed(text[at : at + 7])) is not None]
    counts = [len(value.get("items", ())) for value in seen]
    assert counts == sorted(counts)
    assert counts[-1] > 150
    assert stream.finish().value == VALUE


def test_all_readings_together_cost_a_multiple_of_the_text(monkeypatch: pytest.MonkeyPatch) -> None:
    """Character by character, at most ten times the length is read."""
    read: list[int] = []

    def counted(text: str, *arguments: object, **options: object) -> object:
        read.append(len(text))
        return parse(text, *arguments, **options)  # type: ignore[call-overload]

    monkeypatch.setattr(growing, "parse", counted)
    text = json.dumps(VALUE)
    stream = Growing()
    for mark in text:
        stream.feed(mark)
    assert sum(read) < 10 * len(text)


def test_prose_before_the_value_gives_nothing() -> None:
    """None until there is a value."""
    stream = Growing()
    assert stream.feed("Let me think about this for a while. ") is None
    with pytest.raises(ParseError):
        stream.finish()


def test_an_endless_stream_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """At the length that no answer has."""
    monkeypatch.setattr(growing, "MAX_CHARS", 10)
    with pytest.raises(ParseError, match="more than 10"):
        Growing().feed("x" * 11)
