"""Logs of any size in flat memory: lines that say the same with other numbers become one pattern with its count.

lines ─▶ digits masked, a piece at a time ─▶ known key: counted, and that is all
└─▶ new key ─▶ ids and times masked ─▶ known pattern, or one whose words are mostly the same ─▶ counted there
A pattern keeps its first and last line as they stood, how bad it is, and the stack trace below its first line. What
is kept has a bound: when there are too many patterns, the least telling half is counted together by level.
"""

from __future__ import annotations

import re
from collections import Counter, deque
from itertools import count
from typing import Final, Literal

import msgspec

Level = Literal["fatal", "error", "warning", "info", "debug"]
LEVELS: Final[tuple[Level, ...]] = ("fatal", "error", "warning", "info", "debug")

LINE_MOST: Final = 16 * 1024
"""Bytes of a line that are looked at; a longer one is cut."""
SHOWN_MOST: Final = 600
"""Bytes of a line that are kept to be shown."""
PATTERNS_MOST: Final = 4_000
KEYS_MOST: Final = 10_000
"""Masked lines that are remembered; in a log with an id on every line none of them comes again."""
ALIKE_SEEN: Final = 8
"""Patterns of the same length and beginning that a new one is compared with, the last used first."""
ALIKE: Final = 0.7
"""Share of words in which two patterns must agree to be one."""
BEFORE: Final = 12
LAST: Final = 40
TRACE_MOST: Final = 25

_DIGITS: Final = bytes(48 if 48 <= byte <= 57 else byte for byte in range(256))
_NUMBERS: Final = rb"(?<!\w)[A-Za-z_]*+0\w*+(?:[-:.,/+](?:[a-fA-F0]++(?!\w)|[A-Za-z_]*+0\w*+))*+"
_STATUS: Final = re.compile(rb"(?i)(?:status|code|http/0\.0\"?)[\"']?[=: ]{1,2}[\"']?(000)(?!\w)")
_SAYS: Final = re.compile(
    rb"(?i)(?<![a-z])(?:(?P<fatal>fatal|critical|crit|emerg|panic|alert)|(?P<error>error|err|severe|fail)|"
    rb"(?P<warning>warning|warn)|(?P<info>info|notice)|(?P<debug>debug|trace|verbose))(?![a-z])"
)
_KLOG: Final = {b"F": "fatal", b"E": "error", b"W": "warning", b"I": "info"}
_WORDS: Final = (
    ("fatal", re.compile(rb"(?i)out of memory|oom.?kill|no space left|kernel panic|data loss|"
                         rb"corrupt|segfault|split.brain")),
    ("error", re.compile(
        rb"(?i)(?<![a-z])(?:errors?|fail(?:ed|ure)|refused|timed? ?out|unreachable|denied|unavailable|killed|crash|"
        rb"aborted|deadlock|reset by peer|broken pipe|back-?off)|exception|traceback|"
        rb"(?:status|code|http/\d\.\d\"?)[\"']?[=: ]{1,2}[\"']?5\d\d")),
    ("warning", re.compile(rb"(?i)slow|retry|degraded|throttl|deprecat|lag\b|evict|unhealthy|high latency")),
)  # fmt: skip
_CONTINUES: Final = (b" ", b"\t", b"Caused by:", b"... ", b"}", b")")
_TIME: Final = re.compile(
    r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(?:[.,]\d{1,9})?(?:Z|[+-]\d\d:?\d\d)?"
    r"|\d{4}/\d\d/\d\d \d\d:\d\d:\d\d|\d\d/[A-Z][a-z]{2}/\d{4}:\d\d:\d\d:\d\d(?: [+-]\d{4})?"
    r"|[A-Z][a-z]{2} [ \d]\d \d\d:\d\d:\d\d|(?<!\d)\d\d:\d\d:\d\d(?:[.,]\d{1,6})?"
)


class Pattern:
    """Lines that say the same: how many, how bad, the first and the last of them with their numbers from 1."""

    __slots__ = ("count", "first", "first_at", "last", "last_at", "level", "trace", "words")

    def __init__(self, words: list[bytes], line: bytes, at: int, level: Level, trace: list[bytes]) -> None:
        self.words = words
        self.level = level
        self.count = 0
        self.first = self.last = line
        self.first_at = self.last_at = at
        self.trace = trace

    @property
    def continues(self) -> bool:
        """Whether it is no message of its own but goes on with the one before, as the lines of a stack trace."""
        return self.first.startswith(_CONTINUES)


class Figures(msgspec.Struct, frozen=True):
    """What a log has: lines, bytes, lines by level, patterns, and lines that were cut."""

    lines: int
    bytes: int
    levels: dict[Level, int]
    patterns: int
    cut: int


class Miner:
    """Takes a log in pieces of bytes, and knows its patterns. `end` must be called after the last piece."""

    def __init__(self) -> None:
        self.lines = self.bytes = self.cut = 0
        self.last: deque[bytes] = deque(maxlen=LAST)
        self.before: tuple[int, list[bytes]] = (0, [])
        self.rest: Counter[Level] = Counter()
        self._rest = b""
        self._skips = False
        self._keys: dict[bytes, Pattern] = {}
        self._status: dict[bytes, int] = {}
        self._patterns: dict[bytes, Pattern] = {}
        self._alike: dict[tuple[int, bytes, Level], list[Pattern]] = {}
        self._dropped = 0

    def feed(self, piece: bytes) -> None:
        """Take in a piece; it may end anywhere."""
        self.bytes += len(piece)
        if self._skips:
            _, found, piece = piece.partition(b"\n")
            if not found:
                return
            self._skips = False
        whole, found, rest = (self._rest + piece).rpartition(b"\n")
        if len(rest) > LINE_MOST:
            whole = whole + found + rest[:LINE_MOST] if found else rest[:LINE_MOST]
            found, rest, self._skips = b"\n", b"", True
            self.cut += 1
        self._rest = rest
        if found:
            self._take(whole.split(b"\n"))

    def end(self) -> None:
        """Take in what follows the last end of a line."""
        if self._rest:
            self._take([self._rest])
            self._rest = b""

    def _take(self, lines: list[bytes]) -> None:
        if max(map(len, lines)) > LINE_MOST:
            self.cut += sum(len(line) > LINE_MOST for line in lines)
            lines = [line[:LINE_MOST] for line in lines]
        keys = self._told_apart(lines, b"\n".join(lines).translate(_DIGITS).split(b"\n"))
        # Three passes that run in C find how often each key is there, and its first and last line.
        counts = Counter(keys)
        last = dict(zip(keys, count(), strict=False))
        first = dict(zip(reversed(keys), count(len(keys) - 1, -1), strict=False))
        for key, times in counts.items():
            if not key.strip():
                continue
            at = first[key]
            pattern = self._keys.get(key) or self._place(key, lines, at)
            pattern.count += times
            pattern.last, pattern.last_at = lines[last[key]][:SHOWN_MOST], self.lines + last[key] + 1
            if self.lines + at + 1 < pattern.first_at:
                pattern.first, pattern.first_at = lines[at][:SHOWN_MOST], self.lines + at + 1
        self.lines += len(lines)
        self.last.extend(line[:SHOWN_MOST] for line in lines[-LAST:])
        if len(self._patterns) > PATTERNS_MOST:
            self._drop()

    def _told_apart(self, lines: list[bytes], keys: list[bytes]) -> list[bytes]:
        """Give keys of lines with a status back its digits: a 200 is no 503."""
        status, new = self._status, False
        if len(status) > KEYS_MOST:
            status.clear()
        for key in dict.fromkeys(keys):
            if key not in status:
                found = _STATUS.search(key)
                status[key] = found.start(1) if found else -1
            new = new or status[key] >= 0
        if not new:
            return keys
        return [
            key if (at := status[key]) < 0 else key[:at] + b"\x01" + line[at : at + 3] + key[at + 3 :]
            for key, line in zip(keys, lines, strict=True)
        ]

    def _place(self, key: bytes, lines: list[bytes], at: int) -> Pattern:
        """Find or make the pattern of a key that was not met."""
        template = re.sub(_NUMBERS, b"#", key)
        pattern = self._patterns.get(template)
        if pattern is None:
            pattern = self._like(template, lines, at)
            self._patterns[template] = pattern
        if len(self._keys) >= KEYS_MOST:
            self._keys.clear()
        self._keys[key] = pattern
        return pattern

    def _like(self, template: bytes, lines: list[bytes], at: int) -> Pattern:
        line = lines[at]
        level = level_of(line)
        words = template.split()
        group = self._alike.setdefault((len(words), words[0] if words else b"", level), [])
        for place, known in enumerate(group[:ALIKE_SEEN]):
            same = sum(map(bytes.__eq__, words, known.words))
            if same >= ALIKE * len(words):
                group.insert(0, group.pop(place))
                return known
        bad = level in ("fatal", "error")
        trace = _trace(lines, at) if bad else []
        made = Pattern(words, line[:SHOWN_MOST], self.lines + at + 1, level, trace)
        group.insert(0, made)
        if bad and not self.before[1] and not made.continues:
            self.before = (self.lines + at + 1, [each[:SHOWN_MOST] for each in lines[max(0, at - BEFORE) : at]])
        return made

    def _drop(self) -> None:
        """Count the least telling half of the patterns together."""
        ranked = sorted(self.patterns(), key=_rank)
        kept = {id(pattern) for pattern in ranked[: PATTERNS_MOST // 2]}
        for pattern in ranked[PATTERNS_MOST // 2 :]:
            self.rest[pattern.level] += pattern.count
        self._dropped += len(ranked) - len(kept)
        self._keys.clear()
        self._patterns = {key: pattern for key, pattern in self._patterns.items() if id(pattern) in kept}
        groups = {key: [each for each in group if id(each) in kept] for key, group in self._alike.items()}
        self._alike = {key: group for key, group in groups.items() if group}
        if len(self._patterns) > PATTERNS_MOST // 2:
            # Many templates lead to one pattern: the templates go, the pattern is found again by its words.
            self._patterns = {}

    def patterns(self) -> list[Pattern]:
        """Return all patterns, in no order."""
        return [pattern for group in self._alike.values() for pattern in group]

    def ranked(self) -> list[Pattern]:
        """Return the patterns, what matters first: by level, rare ones before frequent ones of the same level."""
        return sorted(self.patterns(), key=_rank)

    @property
    def figures(self) -> Figures:
        """What the log has so far."""
        levels: Counter[Level] = Counter(self.rest)
        for pattern in self.patterns():
            levels[pattern.level] += pattern.count
        found = {level: levels[level] for level in LEVELS if levels[level]}
        return Figures(self.lines, self.bytes, found, len(self.patterns()) + self._dropped, self.cut)


def _rank(pattern: Pattern) -> tuple[bool, int, int, int]:
    bad = LEVELS.index(pattern.level)
    # Of errors the frequent ones matter, of what is no error the rare ones.
    return pattern.continues, bad, -pattern.count if bad <= 1 else pattern.count, pattern.first_at


def _trace(lines: list[bytes], at: int) -> list[bytes]:
    found = []
    for line in lines[at + 1 : at + 1 + TRACE_MOST]:
        if not line.startswith(_CONTINUES):
            break
        found.append(line[:SHOWN_MOST])
    return found


def level_of(line: bytes) -> Level:
    """Say how bad a line is: by the level that it names, else by its words."""
    head = line[:SHOWN_MOST]
    if head[1:5].isdigit() and head[:1] in _KLOG:
        return _KLOG[head[:1]]  # type: ignore[return-value]
    found = _SAYS.search(head)
    if found and found.lastgroup:
        return found.lastgroup  # type: ignore[return-value]
    return next((level for level, words in _WORDS if words.search(head)), "info")  # type: ignore[misc]


def time_of(line: str) -> str:
    """Return the time that a line begins with, as it stands there; empty where it has none."""
    found = _TIME.search(line[:120])
    return found[0] if found else ""
