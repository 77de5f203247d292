"""What an agent tells while it works and leaves behind: events, uses of tools, a transcript to go on from, a result.

AgentEvent ── one thing that happened, as it happens
ToolUse    ── one use of a tool, with what it gave
Transcript ── the whole conversation; as JSON it can be kept, and another process goes on with it
AgentResult ─ the answer, why the run ended, and what it took
"""

from __future__ import annotations

from decimal import Decimal
from typing import Any, Final, Literal

import msgspec

from ._text.result import Repair
from .errors import InputError
from .types import Message, Text, ToolCall, ToolResult, Usage, to_usd

Stopped = Literal["answered", "steps", "tokens", "money", "seconds", "loop", "interrupted", "failed"]
EventKind = Literal[
    "step", "reasoning", "text", "tool_call", "tool_result", "correction", "reduced", "repeated", "answer"
]

VERSION: Final = 1


class ToolUse(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One use of a tool: what it was called with, what went back to the model, and how long it took in seconds.

    `is_error`: the words are of a failure, a refusal or a timeout. `ran`: it was begun, so that it may have had an
    effect. `left`: its time was over, and its thread goes on until the function returns or the process ends, which
    does not wait for it. `repairs` is what was mended to read the arguments.
    """

    id: str
    name: str
    arguments: dict[str, Any] = {}
    content: str = ""
    is_error: bool = False
    ran: bool = True
    seconds: float = 0.0
    left: bool = False
    repairs: tuple[Repair, ...] = ()


class AgentEvent(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One thing that an agent did; `step` counts the questions to the model from 1 on.

    kind step: the model is asked. reasoning, text: `text` is the next piece of what the model thinks or says; what it
    says in a step that ends with tool calls is no answer yet. tool_call: `call` is about to be performed. tool_result:
    `used` says what came of it. correction: `text` is what the model was told of its mistake. reduced: `text` says
    what was left out of the conversation to make room. repeated: the stream of this step broke, what was shown of it is
    void, and it is asked again; `text` says what broke it. answer: `text` is the whole answer, `value` the same as the
    type that was wanted; the last event of a run that was answered.
    """

    kind: EventKind
    step: int = 0
    text: str = ""
    call: ToolCall | None = None
    used: ToolUse | None = None
    value: Any = None


class Transcript(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A conversation of an agent, ready to be kept as JSON and to be gone on with.

    `task` is the id under which every step is found in usage and ledger. `messages` are as the model saw them, its
    reasoning with the provider's signatures included. Steps, usage and cost are those of all runs so far; `cost_nano`
    is None when a price is unknown.
    """

    task: str
    messages: tuple[Message, ...]
    steps: int = 0
    usage: Usage = Usage()
    cost_nano: int | None = 0
    version: int = VERSION

    def to_json(self) -> str:
        """Write it as JSON."""
        return msgspec.json.encode(self).decode()

    @classmethod
    def from_json(cls, text: str | bytes) -> Transcript:
        """Read what `to_json` wrote.

        Raises: InputError when it is no transcript, or one of a later version.
        """
        try:
            found = msgspec.json.decode(text, type=cls)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise InputError(f"this is no transcript of an agent: {error}") from None
        if found.version != VERSION:
            raise InputError(f"the transcript has version {found.version}; this Penstock reads version {VERSION}")
        if not found.messages:
            raise InputError("the transcript has no messages; there is nothing to go on with")
        return found

    def unanswered(self) -> tuple[ToolCall, ...]:
        """Return the tool calls of the last turn that have no result: the run was stopped in the middle of them."""
        answered: set[str] = set()
        for message in reversed(self.messages):
            if message.role == "assistant":
                return tuple(part for part in message.parts if isinstance(part, ToolCall) and part.id not in answered)
            results = [part for part in message.parts if isinstance(part, ToolResult)]
            if not results:
                return ()
            answered.update(part.tool_call_id for part in results)
        return ()


class AgentResult(msgspec.Struct, frozen=True, kw_only=True):
    """How a run of an agent ended.

    `answer` is the text of the answer, or the value of the type that was wanted; None when there is none. `stopped`
    says why it ended: 'answered', or the limit that it met (steps, tokens, money, seconds), 'loop' when the model only
    repeated itself, 'interrupted' or 'failed'; `reason` says it in a sentence. `steps`, `usage` and `cost_nano` are
    those of this run, `cost_nano` None when a price is unknown; `transcript` has the totals of all runs.
    `reduced` says what was left out of the conversation to make room, `repeated` which steps were asked again because
    their stream broke (what both cost is counted), `repairs` what was mended to read the answer.
    """

    answer: Any
    text: str
    stopped: Stopped
    reason: str
    transcript: Transcript
    steps: int = 0
    uses: tuple[ToolUse, ...] = ()
    usage: Usage = Usage()
    cost_nano: int | None = 0
    latency_s: float = 0.0
    reduced: tuple[str, ...] = ()
    repeated: tuple[str, ...] = ()
    repairs: tuple[Repair, ...] = ()

    @property
    def answered(self) -> bool:
        """Whether there is an answer."""
        return self.stopped == "answered"

    @property
    def task(self) -> str:
        """The id of the task: the tag `task` of every step."""
        return self.transcript.task

    @property
    def cost(self) -> Decimal | None:
        """Dollars of this run, exact; None when a price is unknown."""
        return None if self.cost_nano is None else to_usd(self.cost_nano)


def said(message: Message) -> str:
    """Return the text of a message."""
    return "".join(part.text for part in message.parts if isinstance(part, Text))
