"""What the simulated model says: a sensible answer that depends only on the seed and the question."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from hashlib import blake2b
from random import Random
from typing import Any, Literal

import msgspec

from penstock.sim import prompts, tokens
from penstock.sim.schemas import Filler

Stop = Literal["stop", "length", "tool_calls", "stop_sequence", "content_filter", "refusal"]


@dataclass(frozen=True, slots=True)
class Tool:
    """A tool the caller offers; `schema` describes its arguments."""

    name: str
    schema: Mapping[str, Any]
    description: str = ""


@dataclass(frozen=True, slots=True)
class Turn:
    """One message: its role, its text, and the tool results it carries as (tool name, text)."""

    role: str
    text: str
    results: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Ask:
    """A question in neutral words, as all protocols understand it.

    `schema` is set for structured answers, `json_mode` for free JSON. `tool_choice` is auto, none, required or a
    tool's name. `reasoning_tokens` is how long the model thinks before it speaks.
    """

    model: str
    system: str
    turns: tuple[Turn, ...]
    max_tokens: int
    tools: tuple[Tool, ...] = ()
    tool_choice: str = "auto"
    parallel: bool = True
    schema: Mapping[str, Any] | None = None
    json_mode: bool = False
    stop: tuple[str, ...] = ()
    n: int = 1
    seed: int = 0
    reasoning_tokens: int = 0
    stream: bool = False

    @property
    def prompt(self) -> str:
        """The last thing the user said."""
        return next((turn.text for turn in reversed(self.turns) if turn.role == "user" and turn.text), "")


@dataclass(frozen=True, slots=True)
class Call:
    """A tool call; `arguments` is JSON text, `value` the same decoded."""

    name: str
    arguments: str
    value: Any


@dataclass(frozen=True, slots=True)
class Reply:
    """What one choice says, already cut to the caller's limits; `tokens` counts everything, reasoning included."""

    text: str
    calls: tuple[Call, ...] = ()
    reasoning: str = ""
    reasoning_tokens: int = 0
    tokens: int = 0
    stop: Stop = "stop"
    stop_sequence: str | None = None
    pieces: tuple[str, ...] = field(default=(), repr=False)


def answer(ask: Ask, seed: int, index: int = 0, length: int = 0) -> Reply:
    """The answer to `ask`: the same for the same seed, question and choice index. `length` fixes free text's tokens."""
    digest = blake2b(f"{seed}/{ask.seed}/{index}/{ask.model}/{ask.prompt}".encode(), digest_size=8).digest()
    rng = Random(int.from_bytes(digest, "big"))
    calls = _calls(ask, rng)
    if calls:
        return _cut(ask, Reply(text="", calls=calls, stop="tool_calls"))
    return _cut(ask, Reply(text=_text(ask, rng, index, length)))


def filtered(reply: Reply) -> Reply:
    """The same answer, cut half way by a content filter."""
    pieces = tokens.split(reply.text)
    half = pieces[: len(pieces) // 2]
    return replace(
        reply,
        text="".join(half),
        pieces=tuple(half),
        calls=(),
        stop="content_filter",
        stop_sequence=None,
        tokens=reply.reasoning_tokens + len(half),
    )


def _calls(ask: Ask, rng: Random) -> tuple[Call, ...]:
    if not ask.tools or ask.tool_choice == "none":
        return ()
    forced = ask.tool_choice not in ("auto",)
    if not forced and ask.turns and ask.turns[-1].results:
        return ()
    named = [tool for tool in ask.tools if tool.name == ask.tool_choice]
    chosen = named or [_best(ask)]
    prompt = ask.prompt
    many = ask.parallel and re.search(r"\b(each|both|all|every|parallel|compare)\b", prompt, re.I)
    listed = prompts.targets(prompt) if ask.parallel else []
    if len(listed) >= 2:
        return tuple(_call(tool, prompt, rng, target) for target in listed for tool in chosen)
    if many and not named and len(ask.tools) > 1:
        chosen = list(ask.tools)
    return tuple(_call(tool, _spoken(ask) if forced else prompt, rng, "") for tool in chosen)


def _best(ask: Ask) -> Tool:
    words = set(re.findall(r"[a-z]{3,}", ask.prompt.lower()))

    def score(tool: Tool) -> int:
        mine = set(re.findall(r"[a-z]{3,}", f"{tool.name} {tool.description}".lower().replace("_", " ")))
        return len(words & mine)

    return max(ask.tools, key=score)


def _call(tool: Tool, prompt: str, rng: Random, target: str) -> Call:
    value = Filler(tool.schema, prompt, rng).fill()
    if not isinstance(value, dict):
        value = {}
    if target:
        properties = tool.schema.get("properties") or {}
        required = list(tool.schema.get("required") or properties)
        free = [n for n in required if isinstance(value.get(n), str) and set(properties.get(n, {})) <= _PLAIN]
        if free:
            value[free[0]] = target
    return Call(tool.name, msgspec.json.encode(value).decode(), value)


_PLAIN = {"type", "description", "title", "default"}


def _text(ask: Ask, rng: Random, index: int, length: int) -> str:
    prompt = ask.prompt
    if ask.schema is not None:
        value = Filler(
            ask.schema, f"{_spoken(ask)}\n{_results(ask)}" if ask.turns[-1].results else _spoken(ask), rng
        ).fill()
        return msgspec.json.encode(value).decode()
    told = prompts.schema(ask.system) or next(filter(None, (prompts.schema(turn.text) for turn in ask.turns)), None)
    if told is not None:
        return msgspec.json.encode(Filler(told, _spoken(ask), rng).fill()).decode()
    if ask.json_mode:
        return msgspec.json.encode(_object(ask, prompt, rng)).decode()
    if ask.turns and ask.turns[-1].results:
        return _results(ask)
    exact = re.search(r"(?:reply|respond|answer|say) (?:with )?exactly:? ?[\"'`]?([^\"'`\n]+)", prompt, re.I)
    if exact:
        return exact.group(1).strip()
    options = prompts.classes(prompt) or prompts.classes(ask.system)
    if options:
        return prompts.choose(options, _without_question(prompt, options), rng)
    return _paragraph(prompt, rng, index, length)


def _spoken(ask: Ask) -> str:
    """What the user said, the newest first: a second question may be about the form of the answer alone."""
    said = [turn.text for turn in ask.turns if turn.role == "user" and turn.text and prompts.schema(turn.text) is None]
    return "\n".join(reversed(said))


def _without_question(prompt: str, options: list[str]) -> str:
    # The question names the classes; only the rest of the prompt may decide.
    lines = [line for line in prompt.splitlines() if sum(option in line for option in options) < 2]
    rest = "\n".join(lines)
    if not rest.strip():
        rest = re.sub(r"^[^:?\n]*[:?]", "", prompt)
        for option in options:
            rest = re.sub(rf"(?<![\w-]){re.escape(option)}(?![\w-])\s*(?:,|/|\||or\b)", "", rest)
    return re.sub(r"\berror or not\b\??", "", rest, flags=re.I)


def _results(ask: Ask) -> str:
    parts = [f"{name} says {text.strip()[:300]}" for name, text in ask.turns[-1].results]
    return f"Based on the tool results: {'; '.join(parts)}."


def _object(ask: Ask, prompt: str, rng: Random) -> dict[str, Any]:
    keys = _KEYS.search(prompt)
    names = [n for n in re.findall(r"\w+", keys.group(1)) if n not in ("and", "in", "with")] if keys else []
    schema = {"type": "object", "properties": {n: {"type": "string"} for n in names}}
    filled: dict[str, Any] = Filler(schema, prompt, rng).fill() if names else {}
    if not filled:
        options = prompts.classes(prompt) or ["critical", "high", "medium", "low"]
        filled = {
            "severity": prompts.choose(options, _without_question(prompt, options), rng),
            "service": prompts.subject(prompt),
            "summary": prompts.evidence(prompt),
        }
    return filled


_KEYS = re.compile(r"\b(?:keys|fields|properties)\b[^\n:]*?:?\s*((?:[\"'`]?\w+[\"'`]?(?:, | and |, and )?){1,10})")
_OPENINGS = (
    "{subject} shows a problem: {evidence}.",
    "What stands out for {subject} is this: {evidence}.",
    "The excerpt points at {subject}, where we see: {evidence}.",
)
_CAUSES = (
    "The most likely cause is a change in load or a recent deployment, because nothing earlier looks unusual.",
    "The pattern fits an exhausted resource, such as connections, memory or disk, rather than a network fault.",
    "The likely cause sits one layer below, in a dependency that answers late or not at all.",
    "A configuration change is the first suspect; the timing leaves little room for chance.",
)
_ACTIONS = (
    "First check the saturation graphs of the last hour and compare them with the deployment log.",
    "Roll back the last change if the error rate rose with it, and only then look for the root cause.",
    "Drain the affected instance, keep its logs, and let the load balancer take the rest.",
    "Raise the limit for now and open a ticket for the leak behind it.",
    "Page the owning team if it lasts for more than ten minutes.",
    "Confirm with a single test request before you call it recovered.",
)
_ENDINGS = (
    "No data seems to be lost.",
    "Users may notice slower answers until then.",
    "Write down the timeline while it is fresh.",
    "If it returns, capture a profile before the restart.",
)


def _paragraph(prompt: str, rng: Random, index: int, length: int) -> str:
    if re.search(r"\brunbook\b|\bstep.by.step\b|\bchecklist\b", prompt, re.I):
        return _fit(_runbook(prompt, rng), rng, length)
    facts = {"subject": prompts.subject(prompt), "evidence": prompts.evidence(prompt).rstrip(".")}
    opening = _OPENINGS[(index + rng.randrange(len(_OPENINGS))) % len(_OPENINGS)].format_map(facts)
    sentences = [opening, rng.choice(_CAUSES), *rng.sample(_ACTIONS, rng.randint(1, 3)), rng.choice(_ENDINGS)]
    text = " ".join(sentences)
    return _fit(text[0].upper() + text[1:], rng, length)


def _runbook(prompt: str, rng: Random) -> str:
    found = re.search(r"\b(?:for|about|on)\s+([^.?!\n:]{3,80})", prompt)
    steps = [
        "Confirm the alert with one request and note the time.",
        *rng.sample(_ACTIONS, 3),
        "Tell the incident channel what you changed and what you expect.",
        rng.choice(_ENDINGS),
    ]
    title = f"Runbook: {found.group(1).strip() if found else prompts.subject(prompt)}"
    return "\n".join([title, *(f"{number}. {step}" for number, step in enumerate(steps, 1))])


def _fit(text: str, rng: Random, length: int) -> str:
    if not length:
        return text
    more = [rng.choice(_ACTIONS) for _ in range(length // 8)]
    return "".join(tokens.split(" ".join([text, *more]))[:length])


_THOUGHTS = (
    "The user wants an answer about this text, so I look for the line that matters. ",
    "The strongest signal is what failed first; later lines repeat it. ",
    "I weigh whether users are affected and whether data is at risk. ",
    "A recent change is a better explanation than bad luck. ",
    "Let me check the other reading too; it fits less well. ",
)


def _think(count: int) -> str:
    if count <= 0:
        return ""
    # Cut from one long text: pieces joined from several texts could be cut differently when they are split again.
    text = "".join(_THOUGHTS)
    return "".join(tokens.split(text * (count // 32 + 1))[:count])


def _cut(ask: Ask, reply: Reply) -> Reply:
    budget = ask.max_tokens
    thinking = min(ask.reasoning_tokens, budget)
    reply = replace(reply, reasoning=_think(thinking), reasoning_tokens=thinking, tokens=thinking)
    if thinking == budget and ask.reasoning_tokens >= budget:
        return replace(reply, text="", calls=(), stop="length")
    room = budget - thinking
    if reply.calls:
        return _cut_calls(reply, room)
    text, sequence = reply.text, None
    for candidate in ask.stop:
        at = text.find(candidate)
        if candidate and at >= 0:
            text, sequence = text[:at], candidate
    pieces = tokens.split(text)
    stop: Stop = "stop_sequence" if sequence is not None else "stop"
    if len(pieces) > room:
        pieces, sequence, stop = pieces[:room], None, "length"
        text = "".join(pieces)
    return replace(
        reply, text=text, pieces=tuple(pieces), tokens=thinking + max(1, len(pieces)), stop=stop, stop_sequence=sequence
    )


def _cut_calls(reply: Reply, room: int) -> Reply:
    kept: list[Call] = []
    used = 0
    for call in reply.calls:
        pieces = tokens.split(call.arguments)
        cost = len(pieces) + tokens.count(call.name) + 4
        if used + cost > room:
            rest = pieces[: max(0, room - used - (cost - len(pieces)))]
            if rest or not kept:
                kept.append(Call(call.name, "".join(rest), {}))
            return replace(reply, calls=tuple(kept), tokens=reply.reasoning_tokens + room, stop="length")
        used += cost
        kept.append(call)
    return replace(reply, calls=tuple(kept), tokens=reply.reasoning_tokens + used)
