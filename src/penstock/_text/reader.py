"""The tolerant reader: one pass over what a model meant as JSON, with a note of everything that had to be mended.

It knows JSON with comments, trailing and missing commas, any quotes, bare words, Python and JavaScript literals, and
text that was cut off. It never fills in a value; what it leaves out, it notes. Linear in the text, bounded in depth.
"""

from __future__ import annotations

import re
from typing import Any, Final

from . import quoted
from .result import MISSING, Repair, Unreadable, where

MAX_DEPTH: Final = 64
"""Containers within containers; what people ask models for has a dozen."""
MAX_DIGITS: Final = 4_000
"""Digits of a number; Python itself refuses to convert more than 4,300."""

_PLAIN: Final = re.compile(
    r"(-?(?:0|[1-9]\d*+)(?:\.\d++)?(?:[eE][+-]?\d++)?|true|false|null|True|False|None)(?=\s*+(?:[,}\])]|$))"
)
_COMMENT_SIGN: Final = re.compile(r"[/#<]")
_NUMBER: Final = re.compile(r"[+-]?(?:\d++\.?\d*+|\.\d++)(?:[eE][+-]?\d*+)?")
_THOUSANDS: Final = re.compile(r"-?\d{1,3}(?:,\d{3})++(?:\.\d++)?(?=\s*+(?:[}\]]|\n|,\s*+[\"'}\]\w\n]))")
_CALL: Final = re.compile(
    r"([A-Za-z_][\w.]{0,60})\(\s{0,20}(\"(?:[^\"\\\n]|\\.){0,500}\"|'(?:[^'\\\n]|\\.){0,500}'|-?(?:0|[1-9]\d{0,30})(?:\.\d{1,30})?)\s{0,20}\)"
)
_TUPLE: Final = re.compile(r"\(\s*+(?=[\"'\d\[{(\-]|None|True|False|\))")
_BARE_KEY: Final = re.compile(r"([^\s:,{}\[\]\"'][^:,{}\[\]\"'\n=]{0,120}?)\s*+(?::|=>|=(?!=))")
_STRAY: Final = re.compile(r"[^\s,:{}\[\]\"']++")
_RUN: Final = re.compile(r"[^,}\]{\[(\n\"']*+")
_RUN_TUPLE: Final = re.compile(r"[^,)}\]{\[\n\"']*+")
_PARENTHESIS: Final = re.compile(r"\([^()\n]{0,300}\)")
_LITERALS: Final = {
    "true": True, "false": False, "null": None, "True": True, "False": False, "None": None, "undefined": None,
    "TRUE": True, "FALSE": False, "NULL": None, "Null": None,
}  # fmt: skip
_CLOSER: Final = {"{": "}", "[": "]", "(": ")"}


class Reader:
    """Reads one value from `at` on; afterwards `at` is behind it and `cut` says whether the text ended too early."""

    __slots__ = ("_end", "_open", "_partial", "_path", "at", "cut", "repairs", "text")

    def __init__(self, text: str, at: int = 0, *, end: int = -1, partial: bool = False) -> None:
        self.text = text
        self.at = at
        self.cut = False
        self.repairs: list[Repair] = []
        self._end = end if end >= 0 else len(text.rstrip())  # of what is not blank
        self._partial = partial
        self._open: list[str] = []
        self._path: list[str | int] = []

    def read(self) -> Any:
        """Return the value, or MISSING where there is none.

        Raises: Unreadable when the text is too deep or says nothing that can be told.
        """
        return self._value("top")

    def _note(self, kind: str, note: str, *path: str | int) -> None:
        self.repairs.append(Repair(kind, where((*self._path, *path)), note))

    def _skip(self) -> str:
        """Go to the next mark and return it; '' at the end and at a closing fence."""
        before = self.at
        self.at = quoted.skip(self.text, before)
        mark = self.text[self.at : self.at + 1]
        if mark == "`" and self.text.startswith("```", self.at):
            return ""
        if self.at - before > 1 and _COMMENT_SIGN.search(self.text, before, self.at):
            self._note("comment", "left out a comment")
        return mark

    def _value(self, place: quoted.Place) -> Any:
        text = self.text
        plain = _PLAIN.match(text, self.at) if place != "top" else None
        if (
            plain is not None
            and plain.end() < len(text)
            and not (place == "object" and text[plain.end()] == "," and _THOUSANDS.match(text, self.at))
        ):
            self.at = plain.end()
            return self._scalar(plain[1])
        mark = text[self.at : self.at + 1]
        if mark == "{":
            return self._object()
        if mark == "[":
            return self._array("]")
        if mark == "(" and _TUPLE.match(text, self.at):
            self._note("python", "read a tuple as a list")
            return self._array(")")
        if mark and mark in quoted.OPENERS:
            return self._string(place)
        return self._bare(place)

    def _string(self, place: quoted.Place) -> Any:
        text = self.text
        got = quoted.read(text, self.at, place, len(self._open), "".join(_CLOSER[o] for o in reversed(self._open)))
        self.at = got.end
        value = got.value
        if got.cut:
            self.cut = True
            if place == "key":
                self._note("cut", "left out a key that was cut off")
                return MISSING
        for kind in got.repairs:
            self._note(kind, _NOTES[kind])
        joint = quoted.peek(text, self.at)
        if place != "key" and text[joint : joint + 1] == "+":
            then = quoted.peek(text, joint + 1)
            if text[then : then + 1] in ('"', "'"):
                self.at = then
                more = self._string(place)
                self._note("joined", "joined strings that were added with +")
                return value + more
        return value

    # containers

    def _push(self, bracket: str) -> None:
        if len(self._open) >= MAX_DEPTH:
            raise Unreadable(f"it is nested deeper than {MAX_DEPTH} levels")
        self._open.append(bracket)
        self.at += 1

    def _object(self) -> Any:
        self._push("{")
        found: dict[str, Any] = {}
        while True:
            mark = self._separator()
            if mark == "}":
                self.at += 1
                break
            if not mark:
                self._unclosed()
                break
            if mark == "]":
                self._mismatch()
                break
            if not found and mark in "{" and self._is_doubled():
                return self._inner()
            key = self._key(first=not found)
            if key is _SET:
                self._note("python", "read a set as a list")
                self._open[-1] = "{"
                return self._items("}")
            if key is MISSING:
                continue
            self._pair(found, key)
        self._open.pop()
        return found

    def _is_doubled(self) -> bool:
        then = quoted.peek(self.text, self.at + 1)
        return self.text[then : then + 1] in ('"', "'", "}") or _BARE_KEY.match(self.text, then) is not None

    def _inner(self) -> Any:
        """Read {{…}}: what a template left behind."""
        inner = self._object()
        if self._skip() == "}":
            self.at += 1
        self._open.pop()
        self._note("brackets", "took doubled braces as one")
        return inner

    def _separator(self) -> str:
        """Skip blanks, commas and ellipses between members, and return the next mark."""
        commas = 0
        while True:
            mark = self._skip()
            if mark == ",":
                commas += 1
                self.at += 1
            elif mark == ";" or (mark in "." and mark and self.text.startswith("...", self.at)) or mark == "…":
                self.at += 3 if mark == "." else 1
                self._note("dropped", "left out an ellipsis" if mark != ";" else "took ; as a comma")
            else:
                break
        if commas > 1 or (commas and mark in "}])"):
            self._note("comma", "left out a comma")
        return mark

    def _key(self, *, first: bool) -> Any:
        text, start = self.text, self.at
        if text[start] in quoted.OPENERS:
            key = self._string("key")
            if key is MISSING:
                return MISSING
            mark = self._skip()
            if mark in (":", "="):
                self.at += 2 if text.startswith("=>", self.at) else 1
            elif mark in (",", "}") and first:
                self.at = start
                return _SET
            elif mark in (",", "}", "]", ""):
                self._note("dropped", f"left out the key {key!r}, which has no value")
                self.cut = self.cut or not mark
                return MISSING
            else:
                self._note("colon", f"added the colon after {key!r}")
            return key
        bare = _BARE_KEY.match(text, start)
        if bare is not None:
            self.at = bare.end()
            key = bare[1].strip("`* \t")
            self._note("quotes", f"added the quotes of the key {key!r}")
            return key
        return self._keyless(first=first)

    def _keyless(self, *, first: bool) -> Any:
        """Deal with something in an object that is no key: a stray word, or the first item of a Python set."""
        text, start = self.text, self.at
        stray = _STRAY.match(text, start)
        if stray is None:
            raise Unreadable(f"there is {text[start : start + 20]!r} where a key was expected")
        then = quoted.peek(text, stray.end())
        mark = text[then : then + 1]
        if first and mark in (",", "}"):
            return _SET
        self.at = stray.end()
        if not mark:
            self.cut = True
            self._note("cut", "left out a key that was cut off")
        elif mark in quoted.OPENERS and _KEY_ENDS.match(text, then) is None:
            key = stray[0].rstrip(":")
            self._note("colon", f"added the colon after {key!r}")
            return key
        else:
            self._note("dropped", f"left out {stray[0]!r}, which is neither key nor value")
        return MISSING

    def _pair(self, found: dict[str, Any], key: str) -> None:
        mark = self._value_mark()
        if mark in ("", ",", "}", "]"):
            self.cut = self.cut or not mark
            self._note("dropped", f"left out the key {key!r}, which has no value")
            return
        self._path.append(key)
        value = self._value("object")
        self._path.pop()
        if value is MISSING:
            self._note("cut" if self.cut else "dropped", f"left out the key {key!r}, which has no whole value")
            return
        if key in found and found[key] != value:
            self._note("duplicate", f"the key {key!r} is there twice; took the later value", key)
        found[key] = value

    def _value_mark(self) -> str:
        """Like _skip, but a fence here opens a value."""
        mark = self._skip()
        if not mark and self.text.startswith("```", self.at) and self.text.find("\n```", self.at + 3) >= 0:
            line = self.text.find("\n", self.at)
            closing = self.text.find("\n```", line)
            then = quoted.peek(self.text, closing + 4)
            return "`" if self.text[then : then + 1] in (",", "}") else ""
        return mark

    def _array(self, closer: str) -> Any:
        self._push("[" if closer == "]" else "(")
        return self._items(closer)

    def _items(self, closer: str) -> list[Any]:
        found: list[Any] = []
        while True:
            mark = self._separator()
            if mark == closer:
                self.at += 1
                break
            if not mark:
                self._unclosed()
                break
            if mark in "}])":
                if self._is_typo(mark):
                    self.at += 1
                    self._note("brackets", f"took {mark} as {closer}")
                    break
                if self._is_stray(mark):
                    self.at += 1
                    self._note("brackets", f"left out a {mark}")
                    continue
                self._mismatch()
                break
            self._item(found)
        self._open.pop()
        return found

    def _item(self, found: list[Any]) -> None:
        start = self.at
        self._path.append(len(found))
        value = self._value("tuple" if self._open[-1] == "(" else "array")
        self._path.pop()
        if isinstance(value, str) and self._skip() == ":":
            self.at = start
            self._open.append("{")
            value = self._pairs()
            self._open.pop()
            self._note("brackets", "added the braces of an object", len(found))
        if self.at == start:
            raise Unreadable(f"there is {self.text[start : start + 20]!r} where a value was expected")
        if value is not MISSING:
            found.append(value)

    def _pairs(self) -> dict[str, Any]:
        """Read pairs that stand in a list without braces."""
        found: dict[str, Any] = {}
        while (mark := self._separator()) not in ("", "]", "}", ")"):
            if mark not in quoted.OPENERS:
                break
            key = self._key(first=False)
            if key is not MISSING:
                self._pair(found, key)
        if mark == "}":
            self.at += 1
        return found

    def _is_typo(self, mark: str) -> bool:
        """Say whether a wrong bracket closes this list: when what follows goes on in the object around it."""
        text = self.text
        then = quoted.peek(text, self.at + 1)
        if mark != "}":
            return True
        if "{" in self._open:
            return text[then : then + 1] == "," and quoted.STRICT_KEY_AHEAD.match(text, then + 1) is not None
        return text[then : then + 1] != ","

    def _is_stray(self, mark: str) -> bool:
        return mark == "}" and "{" not in self._open

    def _mismatch(self) -> None:
        """Close a container at the bracket of another; the bracket stays where something around waits for it."""
        mark = self.text[self.at]
        outer = self._open[:-1]
        if mark == "]" and "[" not in outer:
            self.at += 1
        self._note("brackets", f"took {mark} for {_CLOSER[self._open[-1]]}" if outer == [] else "added a bracket")

    def _unclosed(self) -> None:
        if self.at >= len(self.text):
            self.cut = True
        self._note("unclosed", f"added the missing {_CLOSER[self._open[-1]]}")

    # what has no quotes

    def _bare(self, place: quoted.Place) -> Any:
        text, start = self.text, self.at
        call = _CALL.match(text, start)
        if call is not None:
            self._note("call", f"took the argument of {call[1]}(…) as the value")
            self.at = call.end()
            argument = call[2]
            return quoted.unescape(argument[1:-1])[0] if argument[0] in "\"'" else _number(argument)
        amount = _THOUSANDS.match(text, start) if place == "object" else None
        if amount is not None:
            self.at = amount.end()
            self._note("number", "left out the commas of a number")
            return _number(amount[0].replace(",", ""))
        stop = self._bare_end(place)
        token = text[start:stop].strip()
        self.at = stop
        if text.startswith("```", start) or not token:
            return MISSING
        if token[-1] in "\"'" and token.count(token[-1]) % 2:
            token = token[:-1].rstrip()
        touching = stop >= self._end
        if touching and self._open:
            self.cut = True
            if self._partial:
                return MISSING
            self._note("cut", "the value touches the end of the text and may be cut off")
        return self._scalar(token)

    def _bare_end(self, place: quoted.Place) -> int:
        text, at, inner = self.text, self.at, 0
        regex = text.startswith("/", at)
        run = _RUN_TUPLE if place == "tuple" else _RUN
        while True:
            at = run.match(text, at).end()  # type: ignore[union-attr]
            mark = text[at : at + 1]
            if not mark or mark == ")":
                return at
            if mark == "(":
                closed = _PARENTHESIS.match(text, at)
                at = closed.end() if closed is not None else at + 1
                continue
            if mark in "{[":
                inner += 1
            elif mark in "}]":
                if not inner and not (regex and text[at - 1] != "/"):
                    return at
                inner = max(0, inner - 1)
            elif not inner and self._ends_bare(mark, at, place):
                return at
            at += 1

    def _ends_bare(self, mark: str, at: int, place: quoted.Place) -> bool:
        text = self.text
        if mark == ",":
            then = quoted.peek(text, at + 1)
            return (
                place != "object" or text[then : then + 1] in ("", "}", "]") or bool(quoted.KEY_AHEAD.match(text, then))
            )
        if mark == "\n":
            then = quoted.peek(text, at + 1)
            return (
                place != "object" or text[then : then + 1] in ("", "}", "`") or bool(quoted.KEY_AHEAD.match(text, then))
            )
        return place == "object" and quoted.STRICT_KEY_AHEAD.match(text, at) is not None

    def _scalar(self, token: str) -> Any:
        if token in _LITERALS:
            if token not in ("true", "false", "null"):
                self._note("literal", f"read {token} as JSON")
            return _LITERALS[token]
        number = _NUMBER.fullmatch(token)
        if number is not None:
            value = _number(token)
            if isinstance(value, str) or not _PLAIN.fullmatch(token):
                self._note("quotes" if isinstance(value, str) else "number", f"read {token[:40]} as {value!r:.40}")
            return value
        self._note("quotes", "added the quotes of a value")
        return token


_SET: Final = object()
_KEY_ENDS: Final = quoted.STRICT_KEY_AHEAD
_NOTES: Final = {
    "quotes": "took other quotes as JSON's",
    "inner_quote": "kept quotes inside a string that were not escaped",
    "unended_string": "ended a string that had no closing quote",
    "escape": "kept an escape that JSON does not know",
    "line_break": "kept a line break inside a string",
}


def _number(token: str) -> int | float | str:
    """Convert a number; what is none after all (0789, an exponent too large) stays a string."""
    if len(token) > MAX_DIGITS:
        raise Unreadable(f"a number has {len(token):,} digits, more than {MAX_DIGITS:,}")
    digits = token.lstrip("+-")
    if digits[0] == "0" and digits[1:2].isdigit():
        return token
    if digits.isdigit():
        return int(token)
    value = float(token.rstrip("eE+-") or "0")
    return token if value in (float("inf"), float("-inf")) else value
