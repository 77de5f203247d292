"""Candidates: the parts of a text that may be the JSON that was meant, found in one scan.

Each opening bracket outside a part already read is tried, first as strict JSON and then with the tolerant reader, so
that brackets and fences inside strings never end a part. The work is bounded by a multiple of the text.
"""

from __future__ import annotations

import json
import re
from itertools import pairwise
from typing import Any, Final, NamedTuple

from ..errors import Candidate
from . import quoted
from .reader import Reader
from .result import MISSING, Repair, Unreadable

MAX_TRIES: Final = 40
"""Brackets that turned out to be none; what was read is not counted, since it is not read again."""
MAX_WORK: Final = 16
"""Characters read per character of the text."""

_OPENER: Final = re.compile(r"[\[{]")
_FENCE: Final = re.compile(r"^[ \t>]*(`{3,}|~{3,})[ \t]*([\w+.-]{0,30})[^\n`]*$", re.MULTILINE)
_INLINE_FENCE: Final = re.compile(r"```[ \t]*(json[5cl]?)\b", re.IGNORECASE)
_THINK: Final = re.compile(r"\s*<(think|thinking|reasoning)>")
_LIKELY: Final = re.compile(r"\{\s*+[\"}]|\[\s*+[\[{\"\d\]\-tfn]")
_JSON: Final = frozenset({"json", "json5", "jsonc", "jsonl", ""})
_STRUCTURE: Final = re.compile(r"[{\[]\s*+(?:[\"'“{\[]|[\w$]{1,60}\s*+:)")
_ESCAPED: Final = re.compile(r"[^\"'`\\]*+\\\"")
COSTS: Final = {
    "inner_quote": 3, "unended_string": 3, "brackets": 3, "colon": 3, "dropped": 4, "cut": 2, "duplicate": 4, "call": 2,
    "unclosed": 2,
}  # fmt: skip
MOST_COST: Final = 30
_LOSSES: Final = frozenset({"dropped", "cut"})


class Found(NamedTuple):
    """One part that may be the value: what it looks like, where it is, what it says and what was mended."""

    source: str
    start: int
    end: int
    value: Any
    repairs: tuple[Repair, ...]
    cut: bool
    cost: int


class Fences(NamedTuple):
    """Where the fenced blocks of a text begin and end, and their languages."""

    spans: tuple[tuple[int, int, str], ...]

    def label(self, at: int) -> tuple[str, int]:
        """Say in what kind of fence a position lies, and what choosing something there costs."""
        for start, end, language in self.spans:
            if start <= at < end:
                return (f"{language or 'plain'} fence", 0) if language in _JSON else (f"{language} fence", 1)
        return "bare JSON", 1

    def after(self, at: int, end: int) -> int:
        """Return where the fence around a position ends, or the next one begins, or the end of the text."""
        for start, stop, _ in self.spans:
            if at < start:
                return start
            if at < stop:
                return stop
        return end


def after_thinking(text: str) -> int:
    """Return where the answer begins: behind a leading block of reasoning."""
    opening = _THINK.match(text)
    if opening is None:
        return 0
    closing = text.find(f"</{opening[1]}>", opening.end())
    return 0 if closing < 0 else closing + len(opening[1]) + 3


def still_thinking(text: str) -> bool:
    """Whether a leading block of reasoning has no end, so that the answer may not have begun."""
    opening = _THINK.match(text)
    return opening is not None and text.find(f"</{opening[1]}>", opening.end()) < 0


def fences_of(text: str) -> Fences:
    """Find fenced blocks; one that is not closed goes to the end of the text."""
    if "```" not in text and "~~~" not in text:
        return Fences(())
    spans: list[tuple[int, int, str]] = []
    mark, start, language = "", 0, ""
    for found in _FENCE.finditer(text):
        if not mark:
            mark, start, language = found[1], found.end(), found[2].lower()
        elif found[1].startswith(mark) and not found[2]:
            spans.append((start, found.start(), language))
            mark = ""
        elif found[2]:
            spans.append((start, found.start(), language))
            mark, start, language = found[1], found.end(), found[2].lower()
    if mark:
        spans.append((start, len(text), language))
    if not spans:
        spans = [(inline.end(), len(text), "json") for inline in _INLINE_FENCE.finditer(text)][:1]
    return Fences(tuple(spans))


class Scanned(NamedTuple):
    """What may be JSON in a text, in its order, and where something began that was meant as JSON but is unreadable."""

    found: list[Found]
    broken: Candidate | None


def scan(text: str, start: int, fences: Fences, *, partial: bool) -> Scanned:
    """Find what may be JSON in a text.

    Where an object or list is unreadable, what stands inside or after it is no candidate: a piece is not the whole.
    """
    found: list[Found] = []
    broken: Candidate | None = None
    work = MAX_WORK * (len(text) + 64)
    tries, at, end, strict = MAX_TRIES, start, len(text.rstrip()), MAX_TRIES
    while (opener := _OPENER.search(text, at)) is not None:
        at = opener.start()
        if not tries or work < 0:
            broken = broken or Candidate("text", at, len(text), "too many brackets lead nowhere")
            break
        label, rank = fences.label(at)
        got = None
        if strict and _LIKELY.match(text, at):
            got, spent = _strict(text, at, label, rank)
            work -= spent
            strict -= got is None  # an error of the standard library counts the lines before it: not too often
        if got is None:
            reader = Reader(text, at, end=end, partial=partial)
            got, spent, reason = _tolerant(reader, label, rank, partial=partial)
            work -= spent
            if got is None and _STRUCTURE.match(text, at):
                broken = Candidate(label, at, len(text), reason)
                at = fences.after(at, len(text))
                tries -= 1
                continue
        if got is not None:
            found.append(got)
        if got is not None and _is_plausible(got):
            at = got.end
        else:
            at += 1
            tries -= 1
    return Scanned(found, broken)


def _is_plausible(found: Found) -> bool:
    """Say whether the brackets inside belong to this part: prose in braces that never close is none."""
    return not found.cut or not isinstance(found.value, dict) or bool(found.value)


def _refuse(word: str) -> Any:
    raise ValueError(f"{word} is no JSON")


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a key is there twice")
    return found


def _finite(digits: str) -> float:
    value = float(digits)
    return value if value - value == 0 else _refuse(digits)


_DECODER: Final = json.JSONDecoder(object_pairs_hook=_once, parse_constant=_refuse, parse_float=_finite)


def _strict(text: str, at: int, label: str, rank: int) -> tuple[Found | None, int]:
    try:
        value, end = _DECODER.raw_decode(text, at)
    except json.JSONDecodeError as error:
        return None, max(0, error.pos - at)
    except (ValueError, RecursionError):
        return None, 64
    return Found(label, at, end, value, (), False, rank), end - at


def _tolerant(reader: Reader, label: str, rank: int, *, partial: bool) -> tuple[Found | None, int, str]:
    text, at = reader.text, reader.at
    try:
        value = reader.read()
    except (Unreadable, RecursionError) as error:
        return None, max(64, reader.at - at), str(error)
    if value is MISSING:
        return None, max(64, reader.at - at), "there is no value"
    if not value and not partial and any(repair.kind in _LOSSES for repair in reader.repairs):
        return None, max(64, reader.at - at), "nothing in it is whole"
    cost = rank + sum(COSTS.get(repair.kind, 1) for repair in reader.repairs[:MOST_COST])
    if isinstance(value, list) and text[at] == "{":
        cost += 5
    found = Found(label, at, reader.at, value, tuple(reader.repairs), reader.cut, min(cost, MOST_COST))
    return found, reader.at - at, ""


def sequence(text: str, found: list[Found]) -> Found | None:
    """Take values that follow each other with nothing but blanks, commas and comments between them as one list."""
    if len(found) < 2 or not alone(text, 0, found[0].start) or not alone(text, found[-1].end, len(text)):
        return None
    if not all(alone(text, one.end, two.start) for one, two in pairwise(found)):
        return None
    return _together(found, "values one after another", 2)


def everything(found: list[Found]) -> Found | None:
    """Take all values of a text as one list."""
    return _together(found, "all values", 1) if len(found) > 1 else None


def _together(found: list[Found], source: str, cost: int) -> Found:
    repairs = tuple(
        Repair(repair.kind, f"$[{at}]{repair.path[1:]}", repair.note)
        for at, one in enumerate(found)
        for repair in one.repairs
    )
    note = Repair("joined", "$", f"made a list of {len(found)} values")
    most = max(one.cost for one in found)
    return Found(
        source,
        found[0].start,
        found[-1].end,
        [one.value for one in found],
        (*repairs, note),
        found[-1].cut,
        most + cost,
    )


def alone(text: str, start: int, end: int) -> bool:
    """Say whether there are only blanks, commas, comments and fence marks from start to end."""
    at = start
    while at < end:
        at = quoted.skip(text, at)
        if at >= end or text[at] not in ",;`":
            break
        at += 1
    return at >= end


def is_escaped(text: str, at: int) -> bool:
    """Say whether the JSON that begins here has its quotes escaped."""
    return _ESCAPED.match(text, at) is not None


def unescaped(text: str) -> str:
    r"""Undo one level of escapes, where the whole JSON was escaped: {\"a\": 1}."""
    return re.sub(r'\\(["\\/])|\\\Z', r"\1", text)
