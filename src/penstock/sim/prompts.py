"""Reading a prompt: how bad is it, which classes does it offer, what is it about."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from functools import lru_cache
from random import Random
from typing import Any

_SEVERE = re.compile(
    r"\b(oom\w*|out of memory|outage|data loss|corrupt\w*|panic\w*|fatal|critical|sev-?1|down for all|breach\w*|"
    r"all users|split.brain|disk full|no space left|crashloop\w*|unreachable|kernel|lost writes?)\b",
    re.I,
)
_ERROR = re.compile(
    r"\b(error\w*|fail\w*|exception|refused|timed? ?out|timeouts?|5\d\d|denied|unavailable|aborted|killed|crash\w*|"
    r"reset by peer|broken pipe|rejected|expired|deadlock\w*|invalid)\b",
    re.I,
)
_FINE = re.compile(
    r"\b(no action|planned maintenance|all healthy|succeeded|0 (?:fail\w*|errors?|rejected)|no (?:errors|failures))\b",
    re.I,
)
_WARNING = re.compile(
    r"\b(warn\w*|slow\w*|degraded|retry\w*|retries|latency|lag\w*|throttl\w*|high|elevated|deprecat\w*|[789]\d ?%)",
    re.I,
)

_RANKS: dict[str, int] = {}
for _rank, _words in enumerate(
    (
        "p0 p1 sev0 sev1 critical fatal emergency blocker urgent page",
        "p2 sev2 high error major serious severe",
        "p3 sev3 medium moderate warning warn minor elevated",
        "p4 p5 sev4 sev5 low info informational none normal ok debug trivial healthy ignore noise",
    )
):
    _RANKS.update(dict.fromkeys(_words.split(), _rank))

_TAGS = re.compile(r"\b((?:P|SEV-?|S)[0-5])\b(?!\s*=)")
_CHOICE = re.compile(
    r"(?:one of(?: the following)?(?: [a-z]+){0,2}|classes|categories|labels|options|choose (?:from|between)|"
    r"answer(?: only)? with|reply(?: only)? with|classify\b[^.:\n]{0,60}?\b(?:as|into))(?: exactly)?"
    r"\s*:?\s*(?:(?:exactly )?one of(?: the following)?:?\s*)?([^.\n?:]{3,200})",
    re.I,
)
_BRACKETED = re.compile(r"\(([A-Za-z][\w -]{0,20}(?:[/|] ?[A-Za-z][\w -]{0,20})+)\)")
_ASKED = re.compile(r":\s*([A-Za-z][\w -]{1,20}(?:, [A-Za-z][\w -]{1,20})*,? or [A-Za-z][\w -]{1,20})\?")
_OR = re.compile(r"\b([A-Za-z][\w-]{1,20}(?:, [A-Za-z][\w-]{1,20})*,? or [A-Za-z][\w-]{1,20})\b")
_SERVICE = re.compile(
    r"\[(?!(?:error|fatal|warning|warn|info|debug)\])([a-z][\w./-]{1,30})\]|\bservice[=: ]+([a-z][\w-]{2,30})", re.I
)
_HYPHENATED = re.compile(r"\b([a-z]{2,}-[a-z][a-z\d-]*)\b")
_INSTRUCTION = re.compile(r"^(?=[A-Z][a-z]+ )[A-Za-z ,'-]{0,100}[:?]\s+(?=\S)")
_LEVEL = re.compile(r"\b(?:FATAL|CRITICAL|PANIC|ERROR)\b")
_LISTED = re.compile(
    r"\b(?:each of|both|in|for|of|between|compare)\s+(?:these[^:\n]*:|the following[^:\n]*:)?\s*"
    r"((?:[\w./-]+(?: [A-Z][\w-]+)?(?:, (?:and )?| and )){1,9}[\w./-]+(?: [A-Z][\w-]+)?)"
)


@lru_cache(maxsize=4096)
def severity(text: str) -> int:
    """0 severe, 1 error, 2 warning, 3 harmless."""
    if _SEVERE.search(text):
        return 0
    if _FINE.search(text):
        return 3
    if _ERROR.search(text):
        return 1
    return 2 if _WARNING.search(text) else 3


def classes(prompt: str) -> list[str]:
    """The classes a prompt asks to choose from, in its order; empty when it asks for none."""
    lowered = prompt.lower()
    if re.search(r"\berror or not\b", lowered):
        return ["Error", "Not an error"]
    tags = list(dict.fromkeys(_TAGS.findall(prompt)))
    if len(tags) >= 2:
        return tags
    if re.search(r"\byes or no\b|\byes/no\b", lowered):
        return ["yes", "no"]
    if re.search(r"\btrue or false\b|\btrue/false\b", lowered):
        return ["true", "false"]
    choosing = re.search(r"\bclassif|\bcategor|\bseverity|\blabel|\bone of|\bpick", lowered)
    for pattern in (_CHOICE, _BRACKETED, _ASKED, _OR) if choosing else (_CHOICE, _ASKED):
        for found in pattern.finditer(prompt):
            items = [item.strip(" \t\"'`()[]{}*") for item in re.split(r",|/|\||;|\bor\b|\band\b", found.group(1))]
            items = list(dict.fromkeys(item for item in items if item))
            if 2 <= len(items) <= 12 and all(len(item.split()) <= 3 for item in items):
                return items
    return []


def choose(options: Sequence[str], text: str, rng: Random) -> str:
    """The option that suits the text: by severity when they are severities, else one it mentions, else by lot."""
    level = severity(text)
    if [o.lower() for o in options] in (["error", "not an error"], ["yes", "no"], ["true", "false"]):
        return options[0] if level <= 1 else options[1]
    ranks = [_RANKS.get(re.sub(r"\W", "", option.lower())) for option in options]
    ranked = [rank for rank in ranks if rank is not None]
    if len(ranked) == len(options) > 1:
        worst_first = [option for _, option in sorted(zip(ranked, options, strict=True), key=lambda pair: pair)]
        return worst_first[min(len(worst_first) - 1, level * len(worst_first) // 4)]
    mentioned = [o for o in options if re.search(rf"\b{re.escape(o)}\b", text, re.I)]
    if mentioned:
        return mentioned[0]
    stems = [o for o in options if any(len(w) > 3 and w[:4].lower() in text.lower() for w in re.split(r"\W|_", o))]
    return stems[0] if stems else rng.choice(list(options))


def subject(text: str) -> str:
    """The service the text speaks of, or `the service`."""
    found = _SERVICE.search(text)
    if found:
        return found.group(1) or found.group(2)
    named = _HYPHENATED.search(text)
    return named.group(1) if named else "the service"


def _material(text: str) -> str:
    """What stands between the marks of the material, all of the text where there are none."""
    begin, end = text.find("<material>\n"), text.rfind("\n</material>")
    return text[begin + len("<material>\n") : end] if 0 <= begin < end else text


def evidence(text: str, nth: int = 0) -> str:
    """The line of the text that best shows what is wrong, or the nth best, at most 120 characters."""
    text = _material(text)
    # A first line like "Summarise this: ERROR …" is half question; only what follows is evidence.
    lines = [_INSTRUCTION.sub("", line.strip()) for line in text.splitlines() if line.strip()]
    if not lines:
        return "no log line was given"
    found: dict[str, None] = {}
    for pattern in (_SEVERE, _LEVEL, _ERROR, _WARNING):
        found |= dict.fromkeys(line for line in reversed(lines) if pattern.search(line))
        if len(found) > nth:
            break
    told = list(found) or [lines[-1]]
    return told[min(nth, len(told) - 1)][:120]


def targets(prompt: str) -> list[str]:
    """What a prompt lists to be treated one by one (`each of a, b and c`), empty when it lists nothing."""
    found = _LISTED.search(prompt)
    if not found:
        return []
    items = [item.strip() for item in re.split(r",(?: and)?| and ", found.group(1))]
    return [item for item in items if item]


def schema(text: str) -> dict[str, Any] | None:
    """The JSON Schema that a prompt shows after saying that it is one, None where it shows none."""
    said = re.search(r"\bschema\b", text, re.I)
    at = text.find("{", said.end()) if said else -1
    if at < 0:
        return None
    try:
        found, _ = json.JSONDecoder().raw_decode(text, at)
    except (ValueError, RecursionError):
        return None
    keys = {"type", "properties", "anyOf", "oneOf", "$ref", "enum", "const"}
    return found if isinstance(found, dict) and keys & found.keys() else None
