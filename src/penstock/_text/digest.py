"""What of a log is shown to a model where it is too long to be shown whole: its patterns, what matters first.

Nothing is left out in silence: a digest ends with what it does not show.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import msgspec

from .logs import LEVELS, Figures, Level, Miner, Pattern, time_of
from .tokens import estimate

LAST_SHARE, BEFORE_SHARE = 0.2, 0.1
"""Of the tokens: for the last lines, and for those before the first error."""
REST_TOKENS = 120
"""For the head, the titles and the sentence of what is left out."""

TITLE = (
    "PATTERNS, the worst first. Lines that differ only in numbers, ids and times are one pattern; its first line "
    "stands for all."
)


class Digest(msgspec.Struct, frozen=True):
    """A log as it is shown: `text`, and `left_out`, a sentence that is empty where everything is shown."""

    text: str
    left_out: str
    figures: Figures


def digest(miner: Miner, tokens: int, clean: Callable[[str], str]) -> Digest:
    """Show the patterns of a log in about so many tokens; `clean` is applied before anything is measured."""

    def fitting(lines: list[bytes], room: float) -> list[str]:
        """The newest lines that fit, in their order."""
        kept: list[str] = []
        # Cleaned together: what is secret may go over several lines.
        for shown in reversed(clean(b"\n".join(lines).decode(errors="replace")).splitlines()):
            room -= estimate(shown) + 1
            if room < 0:
                break
            kept.append(shown)
        return kept[::-1]

    figures = miner.figures
    room = max(0, tokens - REST_TOKENS)
    last = fitting(list(miner.last), room * LAST_SHARE)
    first_bad, context = miner.before
    before = fitting(context, room * BEFORE_SHARE)
    room -= sum(estimate(line) + 1 for line in (*last, *before))
    shown, hidden = [], Counter[Level](miner.rest)
    unseen = figures.patterns - len(miner.patterns())
    for pattern in miner.ranked():
        block = _block(pattern, clean)
        cost = estimate(block)
        if cost > room:
            hidden[pattern.level] += pattern.count
            unseen += 1
            continue
        room -= cost
        shown.append(block)
    left_out = _left_out(figures, len(shown), unseen, hidden)
    parts = [_head(figures, miner), TITLE, *shown]
    if before:
        parts += [f"THE {len(before)} LINES BEFORE THE FIRST ERROR (line {first_bad:,})", "\n".join(before)]
    if last:
        parts += [f"THE LAST {len(last)} LINES", "\n".join(last)]
    parts.append(f"LEFT OUT: {left_out}")
    return Digest("\n\n".join(parts), left_out, figures)


def _head(figures: Figures, miner: Miner) -> str:
    ends = [
        found
        for at in (min, max)
        if (each := at(miner.patterns(), key=lambda one: one.first_at if at is min else one.last_at, default=None))
        and (found := time_of((each.first if at is min else each.last).decode(errors="replace")))
    ]
    times = f", from {ends[0]} to {ends[-1]}" if len(ends) == 2 else ""
    levels = ", ".join(f"{figures.levels[level]:,} {level}" for level in LEVELS if level in figures.levels)
    return f"{figures.lines:,} lines, {size(figures.bytes)}{times}. By level: {levels or 'none'}."


def _block(pattern: Pattern, clean: Callable[[str], str]) -> str:
    first, last = (line.decode(errors="replace").rstrip() for line in (pattern.first, pattern.last))
    where = f"line {pattern.first_at:,}"
    if pattern.count > 1:
        times = [found for line in (first, last) if (found := time_of(line))]
        span = f", {times[0]} to {times[1]}" if len(times) == 2 else ""
        where = f"lines {pattern.first_at:,} to {pattern.last_at:,}{span}"
    lines = [first, *(line.decode(errors="replace").rstrip() for line in pattern.trace)]
    return f"[{pattern.level}] {_many(pattern.count, 'time')}, {where}\n{clean(chr(10).join(lines))}"


def _many(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def _left_out(figures: Figures, shown: int, unseen: int, hidden: Counter[Level]) -> str:
    lines = sum(hidden.values())
    many = "1 pattern is shown by its" if shown == 1 else f"{shown:,} patterns are shown by their"
    what = f"of {figures.lines:,} lines {many} first line"
    if unseen:
        levels = ", ".join(f"{hidden[level]:,} {level}" for level in LEVELS if hidden[level])
        what += f"; not shown: {_many(unseen, 'further pattern')} with {_many(lines, 'line')} ({levels})"
    if figures.cut:
        what += f"; cut: {_many(figures.cut, 'very long line')}"
    return what


def size(count: int) -> str:
    """Write a number of bytes for people."""
    for unit, least in (("GB", 10**9), ("MB", 10**6), ("kB", 10**3)):
        if count >= least:
            return f"{count / least:.1f} {unit}"
    return f"{count} bytes"
