"""What an answer says: the value in it, or why there is none and what to tell the model."""

from __future__ import annotations

from typing import Any, Final

import msgspec

from .._text.coerce import NULL
from .._text.result import MAX_CHARS, Parsed, Policy, Repair
from .._text.schema import RESULT
from .._text.target import Target
from ..errors import Candidate, ContentFiltered, ExtractionFailed, ModelRefused, ParseError, TruncatedOutput
from ..types import Message, Refusal, Response, ToolResult
from .mode import Plan

REASONS_MOST: Final = 2_000
"""Characters of reasons that a second question carries: enough for the first dozen of them."""


def _parse(text: str, target: Target, **how: Any) -> Parsed[Any]:
    from .._text.parse import parse  # 15 ms of patterns, which no question needs before it is answered

    return parse(text, target, **how)


class Reader(msgspec.Struct, frozen=True):
    """Reads answers as a type.

    `target` is what an answer is to be, an object with the key 'result' where the value itself is none; `plain` is the
    value alone. `begun` is the beginning of the answer that the prompt ended with, which some models do not repeat.
    """

    target: Target
    plain: Target
    policy: Policy
    begun: str = ""

    @property
    def wrapped(self) -> bool:
        """Whether the value comes under a key."""
        return self.target is not self.plain

    def read(self, response: Response, plan: Plan) -> Parsed[Any]:
        """Return the value of a whole answer.

        Raises: ParseError where nothing in it fits; TruncatedOutput, ContentFiltered and ModelRefused for what is no
        answer, whatever it says.
        """
        self._check_ended(response)
        if self.begun and plan.mode == "prompted":
            return self._continued(response.text)
        texts = said(response, plan)
        failure: ParseError | None = None
        for text in reversed(texts):
            try:
                parsed = self.read_text(text, native=plan.mode == "native")
            except ParseError as error:
                failure = failure or error
                continue
            notes = parsed.repairs
            if len(texts) > 1:
                words = f"the tool was called {len(texts)} times; took the last call that fits"
                notes = (*notes, Repair("ambiguous", "$", words))
            if plan.mode == "tool" and not response.tool_calls:
                notes = (*notes, Repair("format", "$", "read what the model said instead of calling the tool"))
            return msgspec.structs.replace(parsed, repairs=notes)
        assert failure is not None
        raise failure

    def _continued(self, text: str) -> Parsed[Any]:
        """Read an answer with and without its beginning, and take what needs less mending."""
        try:
            alone = self.read_text(text, native=False)
        except ParseError:
            return self.read_text(self.begun + text, native=False)
        try:
            whole = self.read_text(self.begun + text, native=False)
        except ParseError:
            return alone
        return min(alone, whole, key=lambda parsed: len(parsed.repairs))

    def read_text(self, text: str, *, native: bool = True) -> Parsed[Any]:
        """Return the value of the text of a whole answer; `native` says that a null may stand for what is left out.

        Raises: ParseError.
        """
        try:
            parsed: Parsed[Any] = _parse(text, self.target, policy=self.policy)
        except ParseError:
            if not self.wrapped:
                raise
            bare = self._bare(text)
            if bare is None:
                raise
            parsed = bare
        if not parsed.complete and self.policy != "loose":
            why = Candidate("text", 0, len(text), "$: expected a whole value, and the text ends before it does")
            raise ParseError("the text ends before the value does", candidates=(why,))
        # Where the schema asks for a null in place of what is left out, the null is as it should be.
        repairs = [repair for repair in parsed.repairs if not (repair.kind == NULL and native)]
        if self.wrapped:
            repairs = [msgspec.structs.replace(each, path=inner(each.path)) for each in repairs]
        return msgspec.structs.replace(parsed, repairs=tuple(repairs))

    def _bare(self, text: str) -> Parsed[Any] | None:
        """Read a value that came without the object around it; a string is none, as any prose would be one."""
        try:
            parsed: Parsed[Any] = _parse(text, self.plain, policy=self.policy)
        except ParseError:
            return None
        is_prose = self.plain.shape.kind in ("string", "union") and isinstance(parsed.value, str)
        return None if is_prose and parsed.repairs else parsed

    def beginning(self, text: str) -> Any:
        """Return what could be read of a text that was cut, None where nothing could."""
        try:
            return self.unwrapped(_parse(text, self.target, partial=True).value)
        except ParseError:
            return None

    def unwrapped(self, value: Any) -> Any:
        """Take a partial value out of the object around it."""
        if not self.wrapped:
            return value
        return value.get(RESULT) if isinstance(value, dict) else None

    def _check_ended(self, response: Response) -> None:
        match response.stop_reason:
            case "length" | "context_length" as why:
                cap = next((each.max_tokens for each in reversed(response.attempts) if each.max_tokens), None)
                words = "raise max_tokens" if why == "length" else "shorten the prompt"
                if cap is not None:
                    words += f", or the budget, which left {cap:,} of them"
                raise TruncatedOutput(
                    f"the answer was cut off after {response.usage.completion:,} tokens, before its value was whole; "
                    f"{words}; what came is in `partial` and `value`",
                    partial=response,
                    value=self.beginning(_all_said(response)),
                )
            case "content_filter":
                raise ContentFiltered(
                    "the provider's safety system stopped the answer; change the content",
                    provider=response.provider,
                    model=response.model,
                    usage=response.usage,
                )
        refusal = next((part.text for part in response.content if isinstance(part, Refusal)), None)
        if response.stop_reason == "refusal" or refusal is not None:
            words = refusal or response.text.strip() or "without a word"
            raise ModelRefused(f"the model refused: {words[:200]}; change the question", partial=response)


def said(response: Response, plan: Plan) -> list[str]:
    """Return the texts of an answer that may have its value: calls of the tool, or the text where there is none."""
    calls = [call.arguments for call in response.tool_calls] if plan.mode == "tool" else []
    return calls or [response.text]


def _all_said(response: Response) -> str:
    calls = response.tool_calls
    return calls[0].arguments if calls else response.text


def inner(path: str) -> str:
    """Write a path as it is in the value alone."""
    return f"${path.removeprefix(f'$.{RESULT}')}" if path.startswith(f"$.{RESULT}") else path


def reasons(error: ParseError) -> tuple[str, ...]:
    """Return what to tell the model of its answer: what does not fit in the largest part that was tried."""
    tried = [one for one in error.candidates if not one.outcome.startswith("fits")]
    if not tried:
        return (f"$: {error.message}",)
    largest = max(tried, key=lambda one: one.end - one.start)
    return tuple(inner(f"$.{reason}" if at else reason) for at, reason in enumerate(largest.outcome.split("; $.")))


class Turn(msgspec.Struct, frozen=True):
    """An answer that does not fit, how it was asked for, and why it does not."""

    response: Response
    plan: Plan
    reasons: tuple[str, ...]

    @property
    def text(self) -> str:
        """What the model said."""
        return said(self.response, self.plan)[-1]


def misfit(turn: Turn, responses: tuple[Response, ...], candidates: tuple[Candidate, ...]) -> ExtractionFailed:
    """Say that the last of some answers does not fit, and why."""
    return ExtractionFailed(
        f"no value of the wanted type is in the answer: {'; '.join(turn.reasons)[:600]}",
        text=turn.text,
        reasons=turn.reasons,
        responses=responses,
        candidates=candidates,
    )


def corrected(turn: Turn, plan: Plan) -> tuple[Message, ...]:
    """Return the turns that tell the model what was wrong, for a lane that is asked by `plan`.

    Where both the answer and the next question are calls of a tool, the reasons are the results of the calls.
    """
    told = "\n".join(f"- {reason}" for reason in turn.reasons)[:REASONS_MOST]
    words = f"That does not fit:\n{told}\nGive the whole answer again, corrected, and nothing else."
    calls = turn.response.tool_calls
    if plan.mode == turn.plan.mode == "tool" and calls and all(_is_object(call.arguments) for call in calls):
        results = tuple(ToolResult(tool_call_id=call.id, content=words, is_error=True) for call in calls)
        return turn.response.message, Message("tool", results)
    if not turn.text.strip():
        return (Message("user", words),)
    return Message("assistant", turn.text), Message("user", words)


def _is_object(text: str) -> bool:
    """Whether some server may take the arguments back: those that read them want an object."""
    try:
        return isinstance(msgspec.json.decode(text), dict)
    except (ValueError, RecursionError):
        return False


def too_long(turn: Turn) -> bool:
    """Whether an answer is longer than any value."""
    return len(turn.text) > MAX_CHARS
