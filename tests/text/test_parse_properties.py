"""Whatever a JSON value was wrapped in, parsing gives it back, or refuses, or says that it is not whole."""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from penstock import ParseError, parse

KEYS = st.text("abcdefgh_-XYZ é0", min_size=1, max_size=8).filter(str.strip)
TEXTS = st.text(st.characters(exclude_categories=("Cs", "Cc")), max_size=30)
WORDS = st.text("abcdef ghij,.:;{}[]()'\"`/#-_\\\n\t<>!?", max_size=30)
SCALARS = st.none() | st.booleans() | st.integers(-(10**12), 10**12) | st.floats(-1e6, 1e6) | TEXTS | WORDS
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS, inner, max_size=4), max_leaves=12
)
CONTAINERS = st.lists(VALUES, max_size=4) | st.dictionaries(KEYS, VALUES, max_size=5)
FULL = st.lists(VALUES, min_size=1, max_size=4) | st.dictionaries(KEYS, VALUES, min_size=1, max_size=5)
PLAIN = st.text("abcdef ghij", max_size=12)
TAME = st.recursive(
    st.none() | st.booleans() | st.integers(-1000, 1000) | PLAIN,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS, inner, max_size=4),
    max_leaves=12,
)
TAME_CONTAINERS = st.lists(TAME, min_size=1, max_size=4) | st.dictionaries(KEYS, TAME, min_size=1, max_size=5)


def same(got: Any, meant: Any) -> bool:
    """Equality in which true is not 1."""
    return json.dumps(got, sort_keys=True) == json.dumps(meant, sort_keys=True)


def dumps(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


STRICT: dict[str, Callable[[Any], str]] = {
    "alone": dumps,
    "indented": lambda value: json.dumps(value, indent=2),
    "in a fence": lambda value: f"```json\n{dumps(value)}\n```",
    "in a plain fence": lambda value: f"Here:\n\n```\n{json.dumps(value, indent=1)}\n```\nDone.",
    "in prose": lambda value: f"Sure! The answer is:\n{dumps(value)}\nIs that what you wanted?",
    "after thinking": lambda value: f"<think>Maybe {{}} or [1].</think>\n{dumps(value)}",
}


@pytest.mark.prove(20)
@pytest.mark.parametrize("wrap", STRICT.values(), ids=STRICT.keys())
@given(value=CONTAINERS)
@settings(max_examples=60, deadline=None)
def test_json_comes_back_whole_from_any_wrapping(wrap: Callable[[Any], str], value: Any) -> None:
    """What stands in the text as strict JSON is never touched."""
    parsed = parse(wrap(value))
    assert same(parsed.value, value)
    assert parsed.complete


def python(value: Any) -> str:
    return repr(value)


def commas(value: Any) -> str:
    """JSON with a comma after every last item."""
    if isinstance(value, dict):
        return "{" + "".join(f"{dumps(key)}: {commas(item)}, " for key, item in value.items()) + "}"
    if isinstance(value, list):
        return "[" + "".join(f"{commas(item)}, " for item in value) + "]"
    return dumps(value)


def bare_keys(value: Any) -> str:
    """JavaScript: keys without quotes where they are words."""
    if isinstance(value, dict):
        pairs = (
            f"{key if re.fullmatch('[a-zA-Z_]+', key) else dumps(key)}: {bare_keys(item)}"
            for key, item in value.items()
        )
        return "{" + ", ".join(pairs) + "}"
    return "[" + ", ".join(map(bare_keys, value)) + "]" if isinstance(value, list) else dumps(value)


def commented(value: Any) -> str:
    return "// the answer\n" + json.dumps(value, indent=2).replace(",\n", ", // and\n") + " /* done */"


MESSY: dict[str, Callable[[Any], str]] = {
    "as Python": python,
    "with trailing commas": commas,
    "with bare keys": bare_keys,
    "with comments": commented,
    "as Python in a fence": lambda value: f"```python\n{python(value)}\n```",
    "escaped": lambda value: dumps(value).replace("\\", "\\\\").replace('"', '\\"'),
}


@pytest.mark.prove(20)
@pytest.mark.parametrize("wrap", MESSY.values(), ids=MESSY.keys())
@given(value=TAME_CONTAINERS)
@settings(max_examples=60, deadline=None)
def test_other_notations_come_back_whole(wrap: Callable[[Any], str], value: Any) -> None:
    """Values of plain words survive every notation, with a repair where it was not JSON."""
    parsed = parse(wrap(value))
    assert same(parsed.value, value)
    assert parsed.complete


@pytest.mark.prove(20)
@pytest.mark.parametrize("wrap", [python, commas, bare_keys], ids=["python", "commas", "bare keys"])
@given(value=FULL)
@settings(max_examples=100, deadline=None)
def test_any_notation_of_any_value_is_right_or_refused(wrap: Callable[[Any], str], value: Any) -> None:
    """Also where strings are full of quotes, brackets and commas: properly quoted text is never misread."""
    try:
        parsed = parse(wrap(value))
    except ParseError:
        return
    assert same(parsed.value, value), (wrap(value), parsed)


def begins(part: Any, whole: Any, cut: bool = True) -> bool:
    """Whether a value can be the beginning of another: containers lack their ends, the last string its end."""
    if isinstance(part, dict):
        if not isinstance(whole, dict) or list(whole)[: len(part)] != list(part):
            return False
        last = next(reversed(part), None)
        return all(begins(part[key], whole[key], cut and key == last) for key in part) and (
            cut or len(part) == len(whole)
        )
    if isinstance(part, list):
        if not isinstance(whole, list) or len(part) > len(whole):
            return False
        ends = [cut and at == len(part) - 1 for at in range(len(part))]
        return all(map(begins, part, whole, ends)) and (cut or len(part) == len(whole))
    if isinstance(part, str) and cut:
        return isinstance(whole, str) and whole.startswith(part.removesuffix("\ufffd"))
    return same(part, whole)


@pytest.mark.prove(20)
@given(value=CONTAINERS, data=st.data())
@settings(max_examples=300, deadline=None)
def test_the_beginning_of_a_stream_gives_the_beginning_of_its_value(value: Any, data: st.DataObject) -> None:
    """Never a cut number or word, never a value that the whole text does not have."""
    text = dumps(value)
    cut = data.draw(st.integers(1, len(text)))
    try:
        parsed = parse(text[:cut], partial=True)
    except ParseError:
        return
    assert begins(parsed.value, value), (text[:cut], parsed)
    assert parsed.complete == (cut == len(text))


@pytest.mark.prove(20)
@given(value=FULL, data=st.data())
@settings(max_examples=300, deadline=None)
def test_a_text_that_was_cut_off_never_passes_for_whole(value: Any, data: st.DataObject) -> None:
    """`complete` is false, or it is refused."""
    text = dumps(value)
    cut = data.draw(st.integers(1, len(text) - 1))
    try:
        parsed = parse(text[:cut])
    except ParseError:
        return
    assert not parsed.complete, (text[:cut], parsed)


@pytest.mark.prove(20)
@given(st.binary(max_size=300))
@settings(max_examples=300, deadline=None)
def test_bytes_of_any_kind_raise_nothing_undeclared(data: bytes) -> None:
    """A value or a ParseError."""
    for policy in ("strict", "safe", "loose"):
        with contextlib.suppress(ParseError):
            parse(data, policy=policy)


@pytest.mark.prove(20)
@given(text=st.text("{}[]()\"'`,:;\\/#*<>-_ \n\tabctruefalsenull019.eE+…“”‘’", max_size=120), partial=st.booleans())
@example(text="[r\n:1]", partial=False)  # a key that is none: read again and again
@settings(max_examples=500, deadline=None)
def test_marks_in_any_order_raise_nothing_undeclared(text: str, partial: bool) -> None:
    """The characters that mean something to the reader, in every order, with and without a schema."""
    schema = {
        "type": "object",
        "properties": {"a": {"type": "integer"}, "b": {"type": "array", "items": {"type": "string"}}},
    }
    for wanted in (None, schema, list[str], int | str):
        with contextlib.suppress(ParseError):
            parse(text, wanted, partial=partial)


@pytest.mark.prove(20)
@given(value=FULL)
@settings(max_examples=100, deadline=None)
def test_no_repair_means_the_text_was_json(value: Any) -> None:
    """And JSON as it stands has no repair."""
    assert parse(dumps(value)).repairs == ()
    assert parse(commas(value)).repairs


AROUND: dict[str, Callable[[str], str]] = {
    "alone": lambda text: text,
    "in a fence": lambda text: f"```json\n{text}\n```",
    "in prose": lambda text: f"Sure, here you are:\n\n{text}\n\nAnything else?",
    "in a fence in prose": lambda text: f"The answer:\n\n```\n{text}\n```\n\nI hope this helps.",
    "after thinking": lambda text: f"<think>Should it be {{}}?</think>\n{text}",
}


@pytest.mark.prove(20)
@pytest.mark.parametrize("around", AROUND.values(), ids=AROUND.keys())
@given(value=TAME_CONTAINERS, notation=st.sampled_from([dumps, python, commas, bare_keys]), data=st.data())
@settings(max_examples=60, deadline=None)
def test_any_notation_in_any_wrapping_cut_anywhere_is_never_wrong(
    around: Callable[[str], str], notation: Callable[[Any], str], value: Any, data: st.DataObject
) -> None:
    """Whole, it comes back or is refused; cut, it is refused or said to be cut, and what is read is its beginning."""
    text = around(notation(value))
    with contextlib.suppress(ParseError):
        whole = parse(text)
        assert same(whole.value, value), (text, whole)
    cut = text[: data.draw(st.integers(1, len(text)))]
    try:
        parsed = parse(cut)
    except ParseError:
        return
    if parsed.complete:
        # Nothing of the value is missing: what was cut off stood after it.
        assert same(parsed.value, value), (cut, parsed)
        return
    if notation is python:
        return  # which quote is the end of a string is seen by what follows, and that is cut off
    with contextlib.suppress(ParseError):
        beginning = parse(cut, partial=True).value
        assert begins(beginning, value), (cut, beginning)
