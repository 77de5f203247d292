"""An agent: ask, use the tools that the model wants, tell it what came of them, until it answers or a limit is met.

limits ─▶ Ask ─▶ read ─▶ an answer ─────────────────────────▶ checked against the wanted type ─▶ answered
  ▲        │      ├─▶ calls ─▶ Approve ─▶ Begin, Next, Next … ─┐
  │        │      └─▶ a mistake ─▶ told once, then AgentFailed ─┤
  │        ├─ too long: room is made once                       │
  │        └─ its stream broke: Again, as retries go            │
  └─────────────────────────────────────────────────────────────┘
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, Literal

import msgspec

from .._text.parse import parse
from .._text.result import Repair, plain
from .._text.target import Target
from ..errors import (
    AgentFailed,
    BudgetExceeded,
    ContentFiltered,
    ContextTooLong,
    DeadlineExceeded,
    InputError,
    ModelRefused,
    ParseError,
    PenstockError,
    StreamInterrupted,
    TotalTimeout,
    TruncatedOutput,
)
from ..transcript import AgentEvent, AgentResult, Stopped, ToolUse, Transcript, said
from ..types import Attempt, Document, Image, Message, Refusal, Response, Text, ToolCall, ToolResult, Usage
from .actions import RESULT_MARK, BadAction, Format, Turn, asks_again, instructions, read_turn
from .agent_effects import Again, AgentFlow, Approve, Ask, Begin, Clock, Ended, Next, Show, Use, Value
from .arguments import BadArguments, read_arguments
from .continuation import transient
from .reduction import reduced, with_summary
from .showing import Showing
from .toolresult import shortened
from .tools import AgentTool, Toolbox

Protocol = Literal["native", "json", "xml", "lines"]
Reduce = Literal["drop", "summarise"]

CALLS_MOST: Final = 32
"""Calls of one turn that are performed; more of them are a model that counts instead of thinking."""

AT_ONCE: Final = 8
"""Tools of one turn that are under way at the same time."""

REPEATS: Final = 3
"""So many turns with the same calls and the same results are a loop; two may be a second look."""

SAYS_NOTHING: Final = "You said nothing and used no tool. Use a tool, or give the answer."
INTERRUPTED: Final = (
    "the run was interrupted before the result of this call was known; it may have taken effect, so find out before "
    "you repeat it"
)
SUMMARISE: Final = (
    "These are results of tools from a longer task. Write down, in as few words as you can, every fact, number, name "
    "and error in them that may still matter:\n\n"
)


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """What an agent may do and how far it may go. Limits are of one run; None is no limit.

    `wanted` is the type of the answer, None for text. `approves`: somebody is asked before a tool with side effects is
    used. `reduce` says how room is made in a conversation that is too long, None for never. `corrections` is how often
    in a row the model is told of a mistake. `pictures`: the model can be shown what is no text in a tool's result.
    """

    toolbox: Toolbox
    protocol: Protocol
    wanted: Target | None = None
    max_steps: int = 10
    max_total_tokens: int | None = None
    budget_nano: int | None = None
    max_seconds: float | None = None
    approves: bool = False
    stream: bool = False
    reduce: Reduce | None = "drop"
    corrections: int = 1
    instructs_as_user: bool = False
    pictures: bool = True


class _Stop(Exception):
    """A limit is met: which one, and in a sentence."""

    def __init__(self, stopped: Stopped, reason: str) -> None:
        super().__init__(reason)
        self.stopped: Stopped = stopped


class AgentRun:
    """One run of an agent. `transcript()` is how far it is, at any time; `flow()` performs it."""

    def __init__(self, plan: Plan, begun: Transcript) -> None:
        self._plan = plan
        self._before = begun
        self._messages = list(begun.messages)
        self._told = _told(plan)
        self._steps = 0
        self._usage = Usage()
        self._cost_nano: int | None = 0
        self._uses: list[ToolUse] = []
        self._reduced: list[str] = []
        self._asked_again: list[str] = []
        self._mistakes = 0
        self._last_turn: object = None
        self._repeated = 1
        self._began = self._now = 0.0
        self.result: AgentResult | None = None

    def transcript(self) -> Transcript:
        """Return the conversation so far, with the totals of all runs."""
        before = self._before
        unknown = before.cost_nano is None or self._cost_nano is None
        return msgspec.structs.replace(
            before,
            messages=tuple(self._messages),
            steps=before.steps + self._steps,
            usage=before.usage + self._usage,
            cost_nano=None if unknown else (before.cost_nano or 0) + (self._cost_nano or 0),
        )

    def flow(self) -> AgentFlow[AgentResult]:
        """Work until there is an answer or a limit is met, and leave the result in `result`.

        Raises: AgentFailed for a mistake that the model repeats; the PenstockError that ended it, with `agent` set.
        """
        self._began = self._now = yield Clock()
        try:
            self.result = yield from self._work()
        except _Stop as stop:
            self._now = yield Clock()
            self.result = self.ended(stop.stopped, str(stop))
        except PenstockError as error:
            self._now = yield Clock()
            error.agent = self.result = self.ended("failed", error.message)
            raise
        except BaseException:
            self.result = self.ended("interrupted", "the run was interrupted; its transcript can be gone on with")
            raise
        return self.result

    def ended(
        self, stopped: Stopped, reason: str, answer: Any = None, text: str = "", repairs: tuple[Repair, ...] = ()
    ) -> AgentResult:
        """Return the result of a run that ends here."""
        return AgentResult(
            answer=answer,
            text=text,
            stopped=stopped,
            reason=reason,
            transcript=self.transcript(),
            steps=self._steps,
            uses=tuple(self._uses),
            usage=self._usage,
            cost_nano=self._cost_nano,
            latency_s=self._now - self._began,
            reduced=tuple(self._reduced),
            repeated=tuple(self._asked_again),
            repairs=repairs,
        )

    def _work(self) -> AgentFlow[AgentResult]:
        yield from self._take_up()
        while True:
            yield from self._check_limits()
            self._steps += 1
            yield Show([AgentEvent(kind="step", step=self._steps)])
            response = yield from self._ask()
            turn = self._read(response)
            if isinstance(turn, str):
                yield from self._correct(turn)
                continue
            if turn.has_answer:
                return (yield from self._answer(turn))
            if turn.calls:  # a paused turn has none, and goes on when it is sent back
                yield from self._perform(turn.calls)

    def _take_up(self) -> AgentFlow[None]:
        """Go on where a conversation was left: with what its last turn wanted.

        Raises: InputError when that was an answer.
        """
        last = self._messages[-1]
        open_calls = self._before.unanswered()
        if last.role == "assistant" and not open_calls and self._plan.protocol != "native":
            try:
                open_calls = read_turn(said(last), self._before.steps).calls
            except BadAction as bad:
                self._messages.append(Message("user", asks_again(str(bad), self._plan.protocol)))
                return
        if open_calls:
            yield from self._perform(open_calls, resumed=True)
        elif last.role == "assistant":
            raise InputError("the conversation ended with an answer; resume it with a new task")

    # the limits

    def _check_limits(self) -> AgentFlow[None]:
        plan = self._plan
        self._now = yield Clock()
        if self._steps >= plan.max_steps:
            used = "its only step" if plan.max_steps == 1 else f"its {plan.max_steps} steps"
            raise _Stop("steps", f"it used {used} without an answer; raise max_steps and resume it")
        self._check_spent()

    def _check_spent(self) -> None:
        """Raises: _Stop when tokens, money or time of the run are used up."""
        plan = self._plan
        if plan.max_total_tokens is not None and self._usage.total >= plan.max_total_tokens:
            raise _Stop(
                "tokens",
                f"it used {self._usage.total:,} tokens of the {plan.max_total_tokens:,} that it may (max_total_tokens)",
            )
        if plan.budget_nano is not None and self._cost_nano is None:
            raise _Stop("money", "what a step cost is unknown, so its budget cannot be kept")
        self._left_s()

    def _left_s(self) -> float | None:
        """Return how many seconds are left.

        Raises: _Stop when there are none.
        """
        most = self._plan.max_seconds
        if most is None:
            return None
        left = self._began + most - self._now
        if left <= 0:
            raise _Stop("seconds", f"its time is over: {most:g} s (max_seconds)")
        return left

    def _left_nano(self) -> int | None:
        budget = self._plan.budget_nano
        return None if budget is None else max(0, budget - (self._cost_nano or 0))

    # the questions

    def _ask(self) -> AgentFlow[Response]:
        """Ask the model; when the conversation is too long, make room and ask once more."""
        made_room = False
        broken = 0
        while True:
            try:
                response: Response = yield from self._call()
            except StreamInterrupted as error:
                broken += 1
                yield from self._again(error, broken)
            except ContextTooLong:
                if made_room or self._plan.reduce is None or not (yield from self._make_room()):
                    raise
                made_room = True
            else:
                return response

    def _again(self, error: StreamInterrupted, number: int) -> AgentFlow[None]:
        """Let the question be asked again: nothing of its turn was done, as tools are used when a turn is whole.

        Raises: the error, where that cannot help or the retry policy is against it; _Stop.
        """
        if not transient(error):
            raise error
        self._now = yield Clock()
        self._check_spent()
        error.gave_up = yield Again(error, number)
        if error.gave_up is not None:
            raise error
        why = getattr(error.__cause__, "message", "silence on the connection")
        note = f"the stream broke: what this step said is void, and it is asked again ({why})"
        self._asked_again.append(f"step {self._steps}: {note}")
        yield Show([AgentEvent(kind="repeated", step=self._steps, text=note)])

    def _call(self) -> AgentFlow[Response]:
        show = Showing(self._plan.protocol, self._steps) if self._plan.stream else None
        ask = Ask(
            messages=(*self._told, *self._messages),
            with_tools=self._plan.protocol == "native",
            show=None if show is None else show.events,
            deadline_s=self._left_s(),
            left_nano=self._left_nano(),
        )
        response: Response = yield from self._made(ask)
        if show is None:
            yield Show(Showing(self._plan.protocol, self._steps).whole(response))
        return response

    def _made(self, effect: Ask | Value) -> AgentFlow[Any]:
        """Have a call made, and count what it took, however it ended."""
        try:
            made = yield effect
        except PenstockError as error:
            self.add(error.attempts)
            if isinstance(error, BudgetExceeded) and error.scope == "agent":
                raise _Stop("money", error.message) from None
            if effect.deadline_s is not None and isinstance(error, DeadlineExceeded | TotalTimeout | StreamInterrupted):
                self._now = yield Clock()
                self._left_s()
            raise
        self._count(made.usage, made.cost_nano)
        return made

    def add(self, attempts: Sequence[Attempt]) -> None:
        """Count attempts of a call that did not end well, or was left."""
        for attempt in attempts:
            self._count(attempt.usage or Usage(), attempt.cost_nano)

    def _count(self, usage: Usage, cost_nano: int | None) -> None:
        self._usage += usage
        known = self._cost_nano is not None and cost_nano is not None
        self._cost_nano = (self._cost_nano or 0) + (cost_nano or 0) if known else None

    def _make_room(self) -> AgentFlow[bool]:
        made = reduced(self._messages)
        if made is None:
            return False
        if self._plan.reduce == "summarise" and made.dropped:
            whole = "\n\n".join(made.dropped)
            words = Message("user", SUMMARISE + shortened(whole, max(1000, len(whole) // 2)))
            ask = Ask(messages=(words,), with_tools=False, deadline_s=self._left_s(), left_nano=self._left_nano())
            summary: Response = yield from self._made(ask)
            made = with_summary(made, summary.text)
        self._messages = list(made.messages)
        self._reduced.append(f"step {self._steps}: {made.note}")
        yield Show([AgentEvent(kind="reduced", step=self._steps, text=made.note)])
        return True

    def _read(self, response: Response) -> Turn | str:
        """Return what the model means, or what to tell it of its mistake; its turn becomes part of the conversation.

        Raises: TruncatedOutput, ContentFiltered, ModelRefused for what is no turn.
        """
        _check_ended(response)
        text = response.text
        if self._plan.protocol == "native":
            if response.content:
                self._messages.append(Message("assistant", tuple(map(_sendable, response.content))))
            if response.tool_calls:
                return Turn(calls=response.tool_calls)
            if response.stop_reason == "paused":
                return Turn()
            return Turn(answer=text, has_answer=True) if text.strip() else SAYS_NOTHING
        if text.strip():
            self._messages.append(Message("assistant", text))
        try:
            return read_turn(text, self._before.steps + self._steps)
        except BadAction as bad:
            return asks_again(str(bad), self._plan.protocol)

    def _correct(self, words: str) -> AgentFlow[None]:
        """Tell the model what was wrong.

        Raises: AgentFailed when it was told before.
        """
        self._mistaken(words.splitlines()[0])
        self._messages.append(Message("user", words))
        yield Show([AgentEvent(kind="correction", step=self._steps, text=words)])

    def _mistaken(self, what: str) -> None:
        self._mistakes += 1
        if self._mistakes > self._plan.corrections:
            raise AgentFailed(
                f"the model made {self._mistakes} mistakes in a row and did not mend them when it was told: {what}"
            )

    # the tools

    def _perform(self, calls: Sequence[ToolCall], *, resumed: bool = False) -> AgentFlow[None]:
        """Use the tools of a turn and add their results to the conversation, also when it is cut short.

        Raises: AgentFailed when a call is wrong and the model was told before; _Stop when it repeats itself.
        """
        done: dict[int, tuple[ToolUse, Any]] = {}
        try:
            wrong = yield from self._use(calls, done, resumed=resumed)
        finally:
            self._uses += [done[place][0] for place in sorted(done)]
            self._add_results(calls, done)
        if wrong:
            self._mistaken(wrong)
        else:
            self._mistakes = 0
        turn = [(call.name, call.arguments, done[place][0].content) for place, call in enumerate(calls)]
        self._repeated = self._repeated + 1 if turn == self._last_turn else 1
        self._last_turn = turn
        if self._repeated >= REPEATS and not resumed:
            names = ", ".join(sorted({call.name for call in calls}))
            raise _Stop("loop", f"it used {names} {self._repeated} times with the same arguments and the same result")

    def _use(self, calls: Sequence[ToolCall], done: dict[int, tuple[ToolUse, Any]], *, resumed: bool) -> AgentFlow[str]:
        """Put what came of each call into `done`, and return what was wrong with one of them."""
        wrong = ""
        self._now = yield Clock()
        self._left_s()
        uses: list[Use] = []
        mended: dict[int, tuple[Repair, ...]] = {}
        for place, call in enumerate(calls):
            yield Show([AgentEvent(kind="tool_call", step=self._steps, call=call)])
            tool = self._plan.toolbox.find(call.name)
            try:
                if tool is None:
                    raise BadArguments(self._plan.toolbox.unknown(call.name))
                arguments, mended[place] = read_arguments(call.arguments, tool.target)
            except BadArguments as bad:
                wrong = f"{call.name[:80]}: {bad}"
                yield from self._end(done, call, place, f"{bad}. Correct the call, or do without it.")
                continue
            refused = yield from self._refused(tool, call, arguments, place, resumed)
            if refused is not None:
                yield from self._end(done, call, place, refused, arguments)
                continue
            uses.append(Use(place, tool, arguments, self._timeout_s(tool)))
        if uses:
            arguments_of = {use.place: use.arguments for use in uses}
            yield Begin(tuple(uses), AT_ONCE)
            for _ in uses:
                ended: Ended = yield Next()
                call = calls[ended.place]
                yield from self._end(
                    done, call, ended.place, ended.content, arguments_of[ended.place], ended, mended[ended.place]
                )
        return wrong

    def _refused(
        self, tool: AgentTool, call: ToolCall, arguments: dict[str, Any], place: int, resumed: bool
    ) -> AgentFlow[str | None]:
        """Say to the model why a call is not performed, None where it is."""
        if place >= CALLS_MOST:
            return f"more than {CALLS_MOST} calls in one turn; this one was not performed"
        if not tool.side_effects:
            return None
        if resumed:
            return INTERRUPTED
        if not self._plan.approves:
            return None
        why: str | None = yield Approve(call, tool, arguments)
        return None if why is None else f"this call was not approved and not performed{f': {why}' if why else ''}"

    def _timeout_s(self, tool: AgentTool) -> float | None:
        most = self._plan.max_seconds
        left = None if most is None else max(0.001, self._began + most - self._now)
        bounds = [each for each in (tool.timeout_s, left) if each is not None]
        return min(bounds) if bounds else None

    def _end(
        self,
        done: dict[int, tuple[ToolUse, Any]],
        call: ToolCall,
        place: int,
        content: Any,
        arguments: dict[str, Any] | None = None,
        ended: Ended | None = None,
        repairs: tuple[Repair, ...] = (),
    ) -> AgentFlow[None]:
        """Take in what came of a call, and show it."""
        shown = content if isinstance(content, str) else "\n".join(map(_in_words, content))
        if self._plan.protocol != "native" or not self._plan.pictures:
            content = shown
        use = ToolUse(
            id=call.id,
            name=call.name,
            arguments={} if arguments is None else plain(arguments),
            content=shown,
            is_error=ended is None or ended.is_error,
            ran=ended is not None,
            seconds=0.0 if ended is None else ended.seconds,
            left=ended is not None and ended.left,
            repairs=repairs,
        )
        done[place] = (use, content)
        yield Show([AgentEvent(kind="tool_result", step=self._steps, used=use)])

    def _add_results(self, calls: Sequence[ToolCall], done: dict[int, tuple[ToolUse, Any]]) -> None:
        if not done:
            return
        if self._plan.protocol == "native":
            results = tuple(
                ToolResult(tool_call_id=calls[place].id, content=content, is_error=use.is_error)
                for place, (use, content) in sorted(done.items())
            )
            self._messages.append(Message("tool", results))
            return
        for _, (use, _) in sorted(done.items()):
            mark = " (an error)" if use.is_error else ""
            self._messages.append(Message("user", f"{RESULT_MARK}{use.name}{mark}:\n{use.content}"))

    # the answer

    def _answer(self, turn: Turn) -> AgentFlow[AgentResult]:
        text = turn.answer if isinstance(turn.answer, str) else msgspec.json.encode(turn.answer).decode()
        value: Any = text
        repairs = turn.repairs
        if self._plan.wanted is not None:
            value, more = yield from self._typed(text, self._plan.wanted)
            repairs = (*repairs, *more)
        yield Show([AgentEvent(kind="answer", step=self._steps, text=text, value=value)])
        self._now = yield Clock()
        return self.ended("answered", "it answered", value, text, repairs)

    def _typed(self, text: str, wanted: Target) -> AgentFlow[tuple[Any, tuple[Repair, ...]]]:
        """Read the answer as the wanted type; where it is none, an extraction finds it in what the model said."""
        try:
            parsed = parse(text, wanted)
            if parsed.complete:
                return parsed.value, parsed.repairs
        except ParseError:
            pass
        task = next((said(message) for message in self._messages if message.role == "user"), "")
        words = Message("user", f"The task was:\n{task}\n\nThis was found out:\n{text}")
        self._now = yield Clock()
        extracted = yield from self._made(
            Value(messages=(words,), deadline_s=self._left_s(), left_nano=self._left_nano())
        )
        return extracted.value, extracted.repairs


def _told(plan: Plan) -> tuple[Message, ...]:
    """Return what the model is told before the conversation, which is not a part of it."""
    answer = ""
    if plan.wanted is not None:
        schema = msgspec.json.encode(plan.wanted.schema).decode()
        answer = f"\n\nThe answer itself is JSON and nothing else, an instance of this JSON Schema:\n{schema}"
    if plan.protocol != "native":
        form: Format = plan.protocol
        words = instructions(plan.toolbox, form, answer)
    elif answer:
        words = f"Use the tools until you know the answer, then give it.{answer}"
    else:
        return ()
    return (Message("user" if plan.instructs_as_user else "system", words),)


def _in_words(part: Text | Image | Document) -> str:
    """Write a part of a result where it cannot be shown."""
    return part.text if isinstance(part, Text) else f"[{type(part).__name__.lower()}, which this model is not shown]"


def _sendable(part: Any) -> Any:
    """Return a part of a turn as every provider takes it back: with arguments that are a JSON object."""
    if not isinstance(part, ToolCall) or part.kind != "function":
        return part
    try:
        fits = isinstance(msgspec.json.decode(part.arguments), dict)
    except (ValueError, RecursionError):
        fits = False
    return part if fits else msgspec.structs.replace(part, arguments=_mended(part.arguments))


def _mended(arguments: str) -> str:
    try:
        found = parse(arguments, {"type": "object"}).value
    except ParseError:
        return "{}"
    return msgspec.json.encode(found).decode()


def _check_ended(response: Response) -> None:
    """Raises: TruncatedOutput, ContentFiltered, ModelRefused for a turn that is none."""
    refusal = next((part.text for part in response.content if isinstance(part, Refusal)), None)
    match response.stop_reason:
        case "length" | "context_length":
            raise TruncatedOutput(
                f"the model's turn was cut off after {response.usage.completion:,} tokens; raise max_tokens",
                partial=response,
            )
        case "content_filter":
            raise ContentFiltered(
                "the provider's safety system stopped the agent; change the task",
                provider=response.provider,
                model=response.model,
                usage=response.usage,
            )
    if response.stop_reason == "refusal" or refusal is not None:
        words = refusal or response.text.strip() or "without a word"
        raise ModelRefused(f"the model refused: {words[:200]}; change the task", partial=response)
