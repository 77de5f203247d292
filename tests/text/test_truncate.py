"""Texts are made shorter by a chosen rule, within a bound, and say what is missing."""

from __future__ import annotations

import re
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock import Truncate
from penstock._text.tokens import estimate
from penstock._text.truncate import LEAST_TOKENS, MARK_TOKENS, STRATEGIES, Shortened, shorten
from penstock.errors import ConfigError

LINES = [f"2026-11-20 10:00:{at % 60:02} INFO request {at} served in {at % 37} ms" for at in range(2_000)]


def log(**special: str) -> str:
    """A long log with lines of its own at places such as line_777."""
    lines = list(LINES)
    for place, line in special.items():
        lines[int(place.removeprefix("line_"))] = line
    return "\n".join(lines)


def test_the_beginning_the_end_or_both_are_kept() -> None:
    """And the mark says how much is missing, in characters and lines."""
    text = log()
    head, tail, middle = (shorten(text, 200, strategy) for strategy in ("head", "tail", "middle"))
    assert head.text.startswith(LINES[0])
    assert head.text.endswith("were left out here …]")
    assert tail.text.endswith(LINES[-1])
    assert tail.text.startswith("[… ")
    assert middle.text.startswith(LINES[0])
    assert middle.text.endswith(LINES[-1])
    for short in (head, tail, middle):
        assert f"[… {short.chars:,} characters in {short.lines:,} lines were left out here …]" in short.text
        kept = [line for line in short.text.split("\n") if not line.startswith("[…")]
        assert set(kept) <= set(LINES), "a line was cut in two though its end was near"
        assert len(kept) + short.lines == len(LINES)


def test_relevance_keeps_the_errors_and_what_stands_around_them() -> None:
    """A stack trace stays with its error; rare lines and both ends come before the thousandth of a kind."""
    text = log(
        line_777="2026-11-20 10:12:57 ERROR [db] connection refused",
        line_778="Traceback (most recent call last):",
        line_779='  File "app.py", line 3, in connect',
        line_1500="2026-11-20 10:25:00 FATAL out of memory",
        line_1700="2026-11-20 10:28:20 INFO configuration reloaded by deploy",
    )
    short = shorten(text, 400, "relevance")
    for said in ("connection refused", "Traceback", "in connect", "FATAL", "configuration reloaded", "request 0 "):
        assert said in short.text, said
    shown = [line for line in short.text.split("\n") if not line.startswith("[…")]
    gaps = sum(int(found.replace(",", "")) for found in re.findall(r"\[… ([\d,]+) lines? left out …\]", short.text))
    assert gaps == short.lines == len(LINES) - len(shown)
    places = [text.index(line) for line in shown]
    assert places == sorted(places), "lines stay in their order"


def test_relevance_of_one_endless_line_is_its_middle_cut_out() -> None:
    """There are no lines to choose from."""
    short = shorten("x" * 100_000, 100, "relevance")
    assert estimate(short.text) <= 100
    assert "characters were left out here" in short.text


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_a_text_that_fits_is_untouched(strategy: Any) -> None:
    """To the last character."""
    text = "\n".join(LINES[:5])
    assert shorten(text, estimate(text), strategy) == Shortened(text, 0, 0)


@given(st.text(max_size=3_000), st.integers(1, 400), st.sampled_from(STRATEGIES))
def test_what_is_left_is_within_the_bound(text: str, tokens: int, strategy: Any) -> None:
    """Give or take a mark; and what was left out is told whenever something was."""
    short = shorten(text, tokens, strategy)
    if short.chars:
        # Pieces are counted one by one, and each rounds up.
        assert estimate(short.text) <= max(tokens, LEAST_TOKENS + MARK_TOKENS) * 1.3 + 2 * MARK_TOKENS
        assert "left out" in short.text
    else:
        assert estimate(text) <= tokens or short.text == text


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_time_grows_with_the_text_and_no_faster(strategy: Any) -> None:
    """Also where everything looks like an error, or nothing has an end."""
    for unit in ("error error error\n", "a" * 50, " \n", "e" * 30 + "\n"):
        spent = []
        for times in (1_000, 8_000):
            text = unit * times
            start = time.process_time()
            shorten(text, 500, strategy)
            spent.append(max(time.process_time() - start, 0.002))
        assert spent[1] < 30 * spent[0], unit


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"strategy": "random"}, "truncate is 'random'; expected one of head, tail, middle, relevance"),
        ({"to_tokens": 0}, "truncate.to_tokens is 0"),
        ({"to_tokens": True}, "truncate.to_tokens is True"),
    ],
)
def test_wrong_settings_are_named(settings: dict[str, Any], said: str) -> None:
    """One sentence."""
    with pytest.raises(ConfigError, match=said):
        Truncate(**settings)
