"""Make a text shorter by a chosen rule, and say what was left out; the mark in the text says it too.

    head        the beginning is kept
    tail        the end is kept
    middle      both ends are kept, and the middle is left out
    relevance   of a log, the lines that tell most: errors and what is around them, rare lines, firsts of their kind

Linear in the length of the text.
"""

from __future__ import annotations

import functools
import math
import re
from collections import Counter
from typing import Final, Literal, get_args

import msgspec

from ..errors import ConfigError
from .tokens import estimate

Strategy = Literal["head", "tail", "middle", "relevance"]
STRATEGIES: Final[tuple[Strategy, ...]] = get_args(Strategy)

MARK_TOKENS: Final = 20
"""What the sentence about what was left out takes."""

LEAST_TOKENS: Final = 16
"""No text is made shorter than this and the mark."""

PIECE_CHARS: Final = 1_024
LINE_BREAK_CHARS: Final = 200
"""A cut moves to the end of a line that is at most this far away."""

_GRAVE: Final = (
    r"\b(?:fatal|panic|critical|crit|emerg|alert|segfault|oom|oomkilled|out of memory|deadlock|corrupt\w*|"
    r"unrecoverable|core dumped|p1)\b"
)
_BAD: Final = (
    r"\b(?:error|err|exception|fail|fails|failed|failure|failing|traceback|refused|denied|unreachable|killed|abort\w*|"
    r"crash\w*|time[d ]?-?out|timeouts?|unavailable|cannot|could not|caused by)\b|error\b|exception\b"
)
_DOUBTFUL: Final = r"\b(?:warn\w*|retry\w*|retries|degraded|slow|backoff|throttl\w*|429|deprecat\w*)\b"
_STATUS: Final = r"(?:status|http/[\d.]+\"?)[ =:\"]*5\d\d\b"
_VARIABLE: Final = r"0x[0-9a-f]+|\b[0-9a-f]{8,}\b|\d+"
KIND_CHARS: Final = 200
AROUND: Final = 2
"""Lines before and after one that says an error, which are part of its story."""


@functools.cache
def _pattern(words: str) -> re.Pattern[str]:
    """Compile a pattern when it is first needed: few programs read a log."""
    return re.compile(words, re.I)


class Truncate(msgspec.Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """How a prompt that is too long is made shorter: by which `strategy`, and to how many tokens at most.

    Without `to_tokens` it is cut to what the model's window leaves for it.

    Raises: ConfigError.
    """

    strategy: Strategy = "middle"
    to_tokens: int | None = None

    def __post_init__(self) -> None:
        if self.strategy not in STRATEGIES:
            raise ConfigError(f"truncate is {self.strategy!r}; expected one of {', '.join(STRATEGIES)}")
        most: object = self.to_tokens
        if most is not None and (isinstance(most, bool) or not isinstance(most, int) or most < 1):
            raise ConfigError(f"truncate.to_tokens is {most!r}; expected a whole number of at least 1")


class Shortened(msgspec.Struct, frozen=True):
    """A text that was made shorter, and what of it was left out."""

    text: str
    chars: int
    lines: int


def shorten(text: str, to_tokens: int, strategy: Strategy) -> Shortened:
    """Cut a text to about so many tokens, the mark included; one that fits is returned as it is."""
    if estimate(text) <= to_tokens:
        return Shortened(text, 0, 0)
    room = max(LEAST_TOKENS, to_tokens - MARK_TOKENS)
    if strategy == "relevance" and text.count("\n") > 2:
        return _relevant(text, room)
    if strategy == "tail":
        first, last = 0, len(text) - _fits(text, room, from_end=True)
    elif strategy == "head":
        first, last = _fits(text, room), len(text)
    else:
        first, last = _fits(text, room // 2), len(text) - _fits(text, room - room // 2, from_end=True)
    first, last = _line_end(text, first), _line_start(text, last)
    if first >= last:
        return Shortened(text, 0, 0)
    gone = text[first:last]
    lines = gone.count("\n") + (not gone.endswith("\n")) if "\n" in gone else 0
    mark = f"[… {len(gone):,} characters{f' in {lines:,} lines' if lines else ''} were left out here …]"
    before = f"{text[:first]}\n" if first and not text[:first].endswith("\n") else text[:first]
    after = f"\n{text[last:]}" if last < len(text) else ""
    return Shortened(f"{before}{mark}{after}", len(gone), lines)


def _fits(text: str, tokens: int, *, from_end: bool = False) -> int:
    """Return how many characters from the beginning (or end) of a text have about so many tokens."""
    taken, room, size = 0, float(tokens), PIECE_CHARS
    while room > 0 and taken < len(text):
        piece = text[-taken - size : len(text) - taken] if from_end else text[taken : taken + size]
        cost = estimate(piece)
        if cost <= room:
            taken += len(piece)
            room -= cost
        elif size == 1:
            break
        else:
            size //= 2
    return taken


def _line_end(text: str, at: int) -> int:
    """Move a cut back behind the line break before it, if that is near."""
    found = text.rfind("\n", max(0, at - LINE_BREAK_CHARS), at)
    return found + 1 if found > 0 and at < len(text) else at


def _line_start(text: str, at: int) -> int:
    """Move a cut on to the beginning of the next line, if that is near."""
    if at in (0, len(text)) or text[at - 1] == "\n":
        return at
    found = text.find("\n", at, at + LINE_BREAK_CHARS)
    return found + 1 if found >= 0 and found + 1 < len(text) else at


def _relevant(text: str, room: int) -> Shortened:
    lines = text.split("\n")
    longest = max(LEAST_TOKENS, room // 4)
    shown = [line if len(line) <= longest else shorten(line, longest, "middle").text for line in lines]
    costs = [estimate(line) + 1 for line in shown]
    order = sorted(range(len(lines)), key=_worth(lines).__getitem__, reverse=True)
    kept: set[int] = set()
    left = room
    for at in order:
        # A line that stands alone needs a mark before it as well.
        cost = costs[at] + (0 if at - 1 in kept or at + 1 in kept else MARK_TOKENS // 2)
        if cost <= left:
            kept.add(at)
            left -= cost
        elif left < LEAST_TOKENS:
            break
    written: list[str] = []
    gone = chars = 0
    for at, line in enumerate(shown):
        if at in kept:
            if gone:
                written.append(_gap(gone))
            written.append(line)
            gone = 0
        else:
            gone += 1
            chars += len(lines[at]) + 1
    if gone:
        written.append(_gap(gone))
    cut = sum(len(lines[at]) - len(shown[at]) for at in kept if len(shown[at]) < len(lines[at]))
    return Shortened("\n".join(written), chars + cut, len(lines) - len(kept))


def _gap(lines: int) -> str:
    return f"[… {lines:,} {'line' if lines == 1 else 'lines'} left out …]"


def _worth(lines: list[str]) -> list[float]:
    """Return how much each line of a log tells."""
    kinds = [_pattern(_VARIABLE).sub("#", line[:KIND_CHARS]) for line in lines]
    numbers = Counter(kinds)
    graves = {kind: _grave(kind) for kind in numbers}
    seen: Counter[str] = Counter()
    worth = []
    total = len(lines)
    for at, (line, kind) in enumerate(zip(lines, kinds, strict=True)):
        grave = graves[kind] or (5.0 if _pattern(_STATUS).search(line[:KIND_CHARS]) else 0.0)
        seen[kind] += 1
        rare = 2.0 * math.log1p(total / numbers[kind]) / math.log1p(total)
        again = math.log(seen[kind]) if seen[kind] < numbers[kind] else 0.0  # the first of a kind, and its last
        worth.append((grave + rare - again + 0.5 * at / total) if line.strip() else -10.0)
    story = list(worth)
    for at, own in enumerate(worth):
        if own >= 5.0:
            for near in range(max(0, at - AROUND), min(total, at + AROUND + 1)):
                story[near] = max(story[near], own - 3.0 - 0.1 * abs(near - at))
            follower = at + 1
            while follower < total and lines[follower][:1] in (" ", "\t") and follower - at < 12:
                story[follower] = max(story[follower], own - 1.0 - 0.1 * (follower - at))
                follower += 1
    return story


def _grave(words: str) -> float:
    """Return how bad the words of a line are."""
    if _pattern(_GRAVE).search(words):
        return 6.0
    return 5.0 if _pattern(_BAD).search(words) else 2.5 if _pattern(_DOUBTFUL).search(words) else 0.0
