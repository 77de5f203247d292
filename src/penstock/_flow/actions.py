"""A protocol of plain text for models without tool calls: what they are told, and what they mean by what they write.

All three formats are read by the same parser, which does not mind in which of them the model answers.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Any, Final, Literal

import msgspec

from .._text.candidates import after_thinking
from .._text.coerce import Fitter, Misfit
from .._text.lines import pairs
from .._text.parse import parse
from .._text.result import Parsed, Repair
from .._text.target import Target
from ..errors import ParseError
from ..types import ToolCall
from .tools import AgentTool

Format = Literal["json", "xml", "lines"]
FORMATS: Final[tuple[Format, ...]] = ("json", "xml", "lines")

RESULT_MARK: Final = "Result of the tool "
"""How a message begins that carries a result; so that it is found again when room has to be made."""

CALL_ALIASES: Final = ["tool", "tool_name", "function"]
_ARGUMENTS: Final = {"x-aliases": ["args", "action_input", "input", "parameters"]}
_SCHEMA: Final[dict[str, Any]] = {
    "type": "object",
    "properties": {
        "thought": {"type": "string", "x-aliases": ["thoughts", "reasoning"]},
        "action": {"type": "string", "x-aliases": CALL_ALIASES},
        "arguments": _ARGUMENTS,
        "actions": {
            "type": "array",
            "items": {
                "type": "object",
                "properties": {
                    "action": {"type": "string", "x-aliases": [*CALL_ALIASES, "name"]},
                    "arguments": _ARGUMENTS,
                },
                "required": ["action"],
                "additionalProperties": False,
            },
        },
        "answer": {"x-aliases": ["final_answer", "final", "result"]},
    },
    "additionalProperties": False,
}

_MEANT: Final = {"action", "actions", "answer"}

_EXAMPLES: Final[dict[Format, tuple[str, str]]] = {
    "json": (
        '{"thought": "why", "action": "TOOL", "arguments": {"NAME": "VALUE"}}',
        '{"thought": "why", "answer": "THE ANSWER"}',
    ),
    "xml": (
        "<thought>why</thought>\n<action>TOOL</action>\n<arguments><NAME>VALUE</NAME></arguments>",
        "<thought>why</thought>\n<answer>THE ANSWER</answer>",
    ),
    "lines": (
        'thought: why\naction: TOOL\narguments: {"NAME": "VALUE"}',
        "thought: why\nanswer: THE ANSWER",
    ),
}


class Turn(msgspec.Struct, frozen=True):
    """What a model means: calls, or an answer. `thought` is why."""

    thought: str = ""
    calls: tuple[ToolCall, ...] = ()
    answer: Any = None
    has_answer: bool = False
    repairs: tuple[Repair, ...] = ()


class BadAction(Exception):
    """What a model wrote is no action and no answer; the message is for the model."""


@lru_cache(maxsize=1)
def _target() -> Target:
    return Target(_SCHEMA)


def instructions(tools: Iterable[AgentTool], form: Format, answer: str) -> str:
    """Tell a model its tools, and how to write what it wants."""
    act, end = _EXAMPLES[form]
    known = "\n".join(
        f"- {each.name}: {each.spec.description or 'no description'}\n"
        f"  arguments: {msgspec.json.encode(each.spec.parameters).decode()}"
        for each in tools
    )
    return (
        "You solve a task step by step. In each turn you either use one tool or give the answer, and you write nothing "
        f"else.\n\nTools:\n{known or 'none'}\n\nTo use a tool, write exactly this:\n{act}\n\nYou are then told its "
        f"result. When you know the answer, write exactly this:\n{end}{answer}"
    )


def asks_again(why: str, form: Format) -> str:
    """Tell a model what was wrong with what it wrote."""
    act, end = _EXAMPLES[form]
    return f"That could not be read: {why}\nUse a tool like this:\n{act}\nor give the answer like this:\n{end}"


def read_turn(text: str, step: int) -> Turn:
    """Read what a model wrote.

    Raises: BadAction when it is no action and no answer.
    """
    try:
        parsed = parse(text, _target())
    except ParseError as error:
        parsed, why = None, error.message[:400]
    else:
        why = "there is neither an action nor an answer in it"
    if parsed is None or not (parsed.value.keys() & _MEANT):
        parsed = _lines(text)
    if parsed is None:
        raise BadAction(why)
    value: Mapping[str, Any] = parsed.value
    asked = list(value.get("actions") or ())
    if value.get("action"):
        asked.insert(0, {"action": value["action"], "arguments": value.get("arguments")})
    thought = str(value.get("thought") or "")
    if asked:
        calls = tuple(_call(each, f"step{step}_{at}") for at, each in enumerate(asked))
        return Turn(thought, calls, repairs=parsed.repairs)
    if value.get("answer") is None or value["answer"] == "":
        raise BadAction(why)
    if not parsed.complete:
        raise BadAction("the answer ends before it is whole")
    return Turn(thought, (), value["answer"], True, parsed.repairs)


def _lines(text: str) -> Parsed[Any] | None:
    """Read lines of `action: …` with arguments in JSON, which alone would look like all that was meant."""
    shape = _target().shape
    fitter = Fitter(shape)
    try:
        value = fitter.fit(pairs(text[after_thinking(text) :], shape))
    except Misfit:
        return None
    return Parsed(value, tuple(fitter.repairs)) if value.keys() & _MEANT else None


def _call(asked: Mapping[str, Any], call_id: str) -> ToolCall:
    given = asked.get("arguments")
    arguments = given if isinstance(given, str) else msgspec.json.encode({} if given is None else given).decode()
    return ToolCall(id=call_id, name=asked["action"].strip(), arguments=arguments)
