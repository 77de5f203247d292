"""Quoted strings as models write them: where one ends when its quotes are not escaped, and what it says.

A quote ends a string when what follows fits the place of the string: a colon after a key, a bracket, the end, or a
comma and the next key after a value. Every look ahead is bounded, so that the work is linear in the text.
"""

from __future__ import annotations

import re
from typing import Final, Literal, NamedTuple

Place = Literal["key", "object", "array", "tuple", "top"]

OPENERS: Final = "\"'`“”„‘’´"
_FAMILY: Final = {'"': '"', "'": "'", "`": "`"} | dict.fromkeys("“”„", '“”"') | dict.fromkeys("‘’´", "‘’´'")
_NEXT: Final = {
    opener: re.compile(rf"[^{family}\\]*+(?:\\.[^{family}\\]*+)*+[{family}]", re.DOTALL)
    for opener, family in _FAMILY.items()
}
_SPACE: Final = re.compile(r"[\s\u200b\ufeff\u180e]*+")
COMMENT: Final = re.compile(r"//[^\n]*+|/\*(?:[^*]|\*(?!/))*+(?:\*/|\Z)|\#[^\n]*+|<!--(?:[^-]|-(?!->))*+(?:-->|\Z)")
_SHORT_COMMENT: Final = re.compile(r"//[^\n]{0,200}(?=\n)|/\*[^*]{0,200}\*/|\#[^\n]{0,200}(?=\n)")
_QUOTED_KEY: Final = r"[\"“”']{1,2}(?:[^\"“”\n\\]|\\.){0,200}[\"“”']{1,2}\s{0,20}:"
_CUT_KEY: Final = re.compile(r"\"[^\"\n]{0,200}\"?\s*+\Z")
KEY_AHEAD: Final = re.compile(
    rf"\s{{0,200}}(?:\w{{1,40}}\s{{1,20}})?(?:{_QUOTED_KEY}|`?[^\s:,{{}}\[\]\"'\n][^:,{{}}\[\]\"'\n]{{0,80}}:(?!//))"
)
STRICT_KEY_AHEAD: Final = re.compile(rf"\s{{0,200}}{_QUOTED_KEY}")
_ITEM_AHEAD: Final = re.compile(r"\s*+(?:[\"'“‘`{\[\]\d\-/.]|true\b|false\b|null\b|None\b|True\b|False\b|$)")
_VALUE_AHEAD: Final = re.compile(r"[\"'“‘`{\[\d\-]|true\b|false\b|null\b|None\b|True\b|False\b")
_STRING_ITEM: Final = re.compile(r"[\"'](?:[^\"'\n\\]|\\.){0,200}[\"']\s{0,20}(?:[,\]}\"'\d]|$)")
_AFTER_BRACKET: Final = re.compile(r"[}\]]\s*+(?:[,;}\]{\[\"'`/]|$)|[}\]][ \t]*\n")
_TAIL: Final = re.compile(r"\s*+(?:`{3,}\s*+)?$")
_ESCAPE: Final = re.compile(
    r"\\(u[0-9a-fA-F]{4}(?:\\u[0-9a-fA-F]{4})?|x[0-9a-fA-F]{2}|U00(?:0[0-9a-fA-F]|10)[0-9a-fA-F]{4}|.|$)", re.DOTALL
)
_BACK: Final = 200
_HALF_ESCAPE: Final = re.compile(r"(?<!\\)((?:\\\\)*+)\\(?:u[0-9a-fA-F]{0,3})?\Z")
_SIMPLE: Final = {
    "n": "\n",
    "t": "\t",
    "r": "\r",
    "b": "\b",
    "f": "\f",
    "\\": "\\",
    "/": "/",
    "'": "'",
    '"': '"',
    "`": "`",
}


class Quoted(NamedTuple):
    """A string that was read: its value, where reading goes on, and what had to be mended (kinds of repairs)."""

    value: str
    end: int
    repairs: tuple[str, ...]
    cut: bool


def skip(text: str, at: int) -> int:
    """Return the first position that is neither blank nor comment."""
    while True:
        at = _SPACE.match(text, at).end()  # type: ignore[union-attr]
        if text[at : at + 1] not in ("/", "#", "<"):
            return at
        comment = COMMENT.match(text, at)
        if comment is None:
            return at
        at = comment.end()


def peek(text: str, at: int) -> int:
    """Look where skip would lead, past short comments only, so that looking ahead from every quote stays linear."""
    while True:
        at = _SPACE.match(text, at).end()  # type: ignore[union-attr]
        if text[at : at + 1] not in ("/", "#", "<"):
            return at
        comment = _SHORT_COMMENT.match(text, at)
        if comment is None:
            return at
        at = comment.end()


def mark_at(text: str, at: int) -> str:
    """Return the next mark, '' at the end."""
    at = peek(text, at)
    return text[at : at + 1]


def read(text: str, at: int, place: Place, depth: int, closers: str) -> Quoted:
    """Read the string whose opening quote is at `at`; `closers` are the brackets that the open containers wait for."""
    opener = text[at]
    kinds = () if opener == '"' else ("quotes",)
    if opener in "\"'`" and text.startswith(opener * 3, at):
        block = _block(text, at, opener * 3)
        if block is not None:
            return block
    start = at + 1
    if (
        opener in "\"'"
        and text.startswith(opener, start)
        and not _closes(text, start, place, depth, nested=0, first=start)
    ):
        doubled = _doubled(text, at, opener, place, depth)
        if doubled is not None:
            return doubled
    return _scan(text, start, opener, place, depth, closers, kinds)


def _scan(text: str, start: int, opener: str, place: Place, depth: int, closers: str, kinds: tuple[str, ...]) -> Quoted:
    after, nested, previous, first, last = start, 0, -1, -1, -1
    pattern = _NEXT[opener]
    while True:
        found = pattern.match(text, after)
        if found is None:
            return _unended(text, start, place, closers, first, last, kinds)
        after = found.end()
        stop = after - 1
        if _closes(text, stop, place, depth, nested, start):
            value, broken = unescape(text[start:stop], opener)
            more = ("inner_quote",) if nested else ()
            return Quoted(value, after, (*kinds, *more, *broken), cut=False)
        early = _ended_before(text, start, previous, stop, place)
        if early is not None:
            value, broken = unescape(text[start:early].rstrip(), opener)
            return Quoted(value, early, (*kinds, "unended_string", *broken), cut=False)
        first = stop if first < 0 else first
        last = previous = stop
        nested += 1


def _closes(text: str, stop: int, place: Place, depth: int, nested: int, first: int) -> bool:
    """Say whether the quote at `stop` can be the end of the string."""
    at = peek(text, stop + 1)
    mark = text[at : at + 1]
    if not mark or text.startswith("```", at):
        return True
    if mark == "+" and mark_at(text, at + 1) in ('"', "'"):
        return place != "key"
    if place == "key":
        return mark in ":=,}" or (not nested and _VALUE_AHEAD.match(text, at) is not None and stop > first)
    if place == "top":
        return mark == "," and peek(text, at + 1) == len(text)
    if mark in "}]":
        return depth <= 1 or _AFTER_BRACKET.match(text, at) is not None
    lined = "\n" in text[stop + 1 : at]
    if mark == ")" and place == "tuple":
        return True
    if place in ("array", "tuple"):
        if mark == ",":
            return _ITEM_AHEAD.match(text, at + 1) is not None or nested % 2 == 0
        if mark in "\"'":
            return lined or (not nested and at > stop + 1 and _STRING_ITEM.match(text, at) is not None)
        if mark == ":":
            return not nested
        return not nested and _ITEM_AHEAD.match(text, at) is not None
    if mark == ",":
        then = peek(text, at + 1)
        if text[then : then + 1] in ("}", "]", "", ",") or KEY_AHEAD.match(text, then) is not None:
            return True
        return not nested and _CUT_KEY.match(text, then) is not None
    if lined or mark in '"“':
        return KEY_AHEAD.match(text, at) is not None
    return nested % 2 == 0 and STRICT_KEY_AHEAD.match(text, at) is not None


def _ended_before(text: str, start: int, previous: int, stop: int, place: Place) -> int | None:
    """Find where a string without a closing quote ended, when the quote at `stop` closes the key after it."""
    if place == "key":
        head = text[max(start, stop - _BACK) : stop].rstrip()
        return max(start, stop - _BACK) + len(head) - 1 if head.endswith(":") and len(head) > 1 else None
    if place != "object" or previous < start or mark_at(text, stop + 1) != ":":
        return None
    begin = max(start, previous - _BACK)
    head = text[begin:previous].rstrip()
    if head.endswith(","):
        return begin + len(head) - 1
    return begin + len(head) if "\n" in text[begin + len(head) : previous] else None


def _unended(
    text: str, start: int, place: Place, closers: str, first: int, last: int, kinds: tuple[str, ...]
) -> Quoted:
    """Take a string that no quote ends: up to brackets that close what is open, or to the end of a cut text."""
    opener = text[start - 1]
    if last >= 0 and place != "top":
        rest = text[last + 1 :].strip("`; \t\r\n}]")
        if not rest:
            value, broken = unescape(text[start:last], opener)
            return Quoted(value, last + 1, (*kinds, "inner_quote", *broken), cut=False)
        if first == last:
            value, broken = unescape(text[start:first], opener)
            return Quoted(value, first + 1, (*kinds, *broken), cut=False)
    end = len(text)
    stop = _TAIL.search(text, max(start, end - 200)).start() if text.endswith(("`", "`\n")) else end  # type: ignore[union-attr]
    mark = stop
    for closer in reversed(closers):
        blank = len(text[start:mark].rstrip())
        if text[start + blank - 1 : start + blank] != closer or blank == 0:
            break
        mark = start + blank - 1
    # Brackets at the end belong to the containers only when they close all of them; else they may be text.
    if (
        closers
        and mark < stop
        and len(text[mark:stop].split())
        and sum(c in "}]" for c in text[mark:stop]) == len(closers)
    ):
        value, broken = unescape(text[start:mark].rstrip(), opener)
        return Quoted(value, mark, (*kinds, "unended_string", *broken), cut=True)
    value, broken = unescape(_HALF_ESCAPE.sub(r"\1", text[start:stop]), opener)
    return Quoted(value, stop, (*kinds, "unended_string", *broken), cut=True)


def _doubled(text: str, at: int, opener: str, place: Place, depth: int) -> Quoted | None:
    """Read ""text"", as CSV writes it, or ""text" with one quote too many."""
    start = at + 2
    found = _NEXT[opener].match(text, start)
    if found is None:
        return None
    stop = found.end() - 1
    if text.startswith(opener, stop + 1) and _closes(text, stop + 1, place, depth, 0, start):
        value, broken = unescape(text[start:stop], opener)
        return Quoted(value, stop + 2, ("quotes", *broken), cut=False)
    if _closes(text, stop, place, depth, 0, start):
        value, broken = unescape(text[start:stop], opener)
        return Quoted(value, stop + 1, ("quotes", *broken), cut=False)
    return None


def _block(text: str, at: int, fence: str) -> Quoted | None:
    """Read a triple-quoted string or a fenced block that stands where a value is expected."""
    start = at + 3
    if fence == "```":
        line = text.find("\n", start)
        if line < 0 or line - start > 100:
            return None
        stop = text.find("\n```", line)
        if stop < 0:
            return None
        return Quoted(dedented(text[line + 1 : stop]), skip(text, stop + 1) + 3, ("quotes",), cut=False)
    stop = text.find(fence, start)
    if stop < 0:
        return None
    body = text[start:stop]
    while text.startswith(fence[0], stop + 3):  # a quote that ends the text stands before the three
        body += fence[0]
        stop += 1
    if not body:
        return None
    return Quoted(dedented(body) if body.startswith("\n") else body, stop + 3, ("quotes",), cut=False)


def dedented(body: str) -> str:
    """Drop the indentation that all lines share, and the blank lines at both ends."""
    lines = body.strip("\n").rstrip().split("\n")
    margin = min((len(line) - len(line.lstrip()) for line in lines if line.strip()), default=0)
    return "\n".join(line[margin:] for line in lines)


def unescape(body: str, opener: str = '"') -> tuple[str, tuple[str, ...]]:
    r"""Resolve escapes; an unknown one such as \s stays as it is, with a repair."""
    if "\\" not in body:
        return body, (("line_break",) if opener == '"' and "\n" in body else ())
    broken: list[str] = []

    def resolve(found: re.Match[str]) -> str:
        mark = found[1]
        if mark in _SIMPLE:
            return _SIMPLE[mark]
        if mark == "\n" or not mark:
            broken.append("escape")
            return ""
        if mark[0] == "U" and len(mark) > 1:
            code = int(mark[1:], 16)
            return found[0] if 0xD800 <= code < 0xE000 else chr(code)
        if mark[0] in "ux" and len(mark) > 1:
            return _point(found[0], broken)
        broken.append("escape")
        return found[0]

    return _ESCAPE.sub(resolve, body), tuple(broken[:1])


def _point(escape: str, broken: list[str]) -> str:
    codes = [int(code, 16) for code in re.split(r"\\[ux]", escape)[1:]]
    if len(codes) == 2 and 0xD800 <= codes[0] < 0xDC00 <= codes[1] < 0xE000:
        return chr(0x10000 + ((codes[0] - 0xD800) << 10) + (codes[1] - 0xDC00))
    halves = [
        escape[at : at + 6] if 0xD800 <= code < 0xE000 else chr(code) for at, code in zip((0, 6), codes, strict=False)
    ]
    if any(len(half) > 1 for half in halves):
        broken.append("escape")
    return "".join(halves)
