"""A cascade: the cheap model's answer, or where it is not good enough the next model's; all of it is paid and counted.

step's lanes ─▶ call or extraction ─▶ good enough ─▶ done, with the reasons of those before
     ▲                   └─▶ not: cut, refused, of the wrong shape, or the check says so
     └───────────── next step ◀──────┘
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import msgspec

from .._text.parse import parse
from ..errors import CheckFailed, ContentFiltered, ModelRefused, ParseError, PenstockError, TruncatedOutput
from ..types import JSONSchema, Request, Response
from .accounting import Order
from .effects import Flow, Lane
from .extract import Ask, Extraction
from .extracted import Extracted
from .trail import Trail

Make = Callable[[Order, Trail], Flow[Response]]

_CUT: Final = {
    "length": "it was cut at max_tokens",
    "context_length": "it was cut at the end of the window",
    "content_filter": "it was filtered",
    "refusal": "the model refused",
    "error": "it ended in an error",
}
_NO_VALUE: Final = (ParseError, TruncatedOutput, ModelRefused, ContentFiltered)


def cascaded(order: Order, trail: Trail, make: Make) -> Flow[Response]:
    """Make a call with each step's lanes in turn, until an answer is good enough.

    Raises: CheckFailed when none is, with all of them; the PenstockError of a step that no other could mend.
    """
    ladder = order.ladder
    assert ladder is not None
    story = _Story(trail)
    for number, lanes in enumerate(ladder.steps):
        own = _step(order, lanes, number)
        mine = Trail(own)
        try:
            response: Response = yield from make(own, mine)
        except PenstockError as error:
            story.take(mine)
            if number + 1 == len(ladder.steps) or mine.emitted or not order.on_error.falls_back(error):
                raise story.whole(error) from error.__cause__
            story.reasons.append(f"{lanes[0].name}: {error.message}")
            continue
        except BaseException:
            story.take(mine)
            raise
        story.take(mine)
        story.responses.append(response)
        why = _fault(response, order.request) or ladder.cascade.fault(response)
        if why is None:
            return story.answer(response)
        story.reasons.append(f"{response.provider}:{response.model}: {why}")
    raise story.whole(story.failed())


def _step(order: Order, lanes: tuple[Lane, ...], number: int) -> Order:
    key = order.idempotency_key
    key = f"{key}-step{number + 1}" if number and key else key
    request = msgspec.structs.replace(order.request, model=lanes[0].model)
    return msgspec.structs.replace(order, request=request, lanes=lanes, idempotency_key=key, ladder=None)


def _fault(response: Response, request: Request) -> str | None:
    """Say what is wrong with an answer by itself; None where nothing is."""
    if response.stop_reason in _CUT:
        return _CUT[response.stop_reason]
    form = request.response_format
    if form in (None, "text") or response.tool_calls:
        return None
    try:
        if isinstance(form, JSONSchema):
            parse(response.text, form.schema, policy="strict")
        else:
            msgspec.json.decode(response.text)
    except (ParseError, msgspec.DecodeError) as error:
        return f"it is not of the wanted format: {error}"
    return None


class _Story:
    """What happened so far in all steps; it goes into the trail of the whole call."""

    def __init__(self, trail: Trail) -> None:
        self._trail = trail
        self.responses: list[Response] = []
        self.reasons: list[str] = []

    def take(self, mine: Trail) -> None:
        """Take in the attempts of a step, however it ended."""
        kept = self._trail.attempts
        for attempt in mine.attempts:
            kept.append(msgspec.structs.replace(attempt, number=len(kept) + 1))
        self._trail.notices += mine.notices
        self._trail.left = mine.partial()
        self._trail.ended = max(self._trail.ended, mine.ended)

    def answer(self, response: Response) -> Response:
        """Return the answer that was good enough, with what all steps took."""
        saved = [each.saved_nano for each in self.responses if each.cached]
        known = [each for each in saved if each is not None]
        return msgspec.structs.replace(
            response,
            attempts=tuple(self._trail.attempts),
            cost_nano=self._trail.cost_nano,
            notices=tuple(self._trail.notices),
            escalated=tuple(self.reasons),
            cached=response.cached and not self._trail.attempts,
            saved_nano=sum(known) if known and len(known) == len(saved) else None,
        )

    def failed(self) -> CheckFailed:
        """Return the error of a cascade whose last answer is not good enough either."""
        return CheckFailed(
            f"no answer of the cascade was good enough: {'; '.join(self.reasons)[:600]}",
            responses=tuple(self.responses),
            reasons=tuple(self.reasons),
        )

    def whole(self, error: PenstockError) -> PenstockError:
        """Give an error the attempts and the cost of all steps."""
        error.attempts = tuple(self._trail.attempts)
        error.cost_nano = self._trail.cost_nano
        return error


class ExtractCascade:
    """An extraction by each step in turn, until a value fits and passes the check; it looks like an `Extraction`."""

    def __init__(self, ask: Ask, order: Order) -> None:
        self.order = order
        self.trail = Trail(order)
        self.result: Extracted[Any] | None = None
        self.news: list[Any] = []
        self._ask = ask
        assert order.ladder is not None
        self._ladder = order.ladder
        # A mode that cannot be had is refused before anything is sent.
        self._steps = [Extraction(ask, _step(order, lanes, at)) for at, lanes in enumerate(self._ladder.steps)]

    def flow(self) -> Flow[Response]:
        """Extract with one step after the other, and leave what it gives in `result`.

        Raises: CheckFailed; the error of the last step, as `extract`.
        """
        story = _Story(self.trail)
        for number, step in enumerate(self._steps):
            name = step.order.lanes[0].name
            try:
                response: Response = yield from step.flow()
            except PenstockError as error:
                story.take(step.trail)
                story.responses += getattr(error, "responses", ())
                mendable = isinstance(error, _NO_VALUE) or self.order.on_error.falls_back(error)
                if number + 1 == len(self._steps) or not mendable:
                    raise story.whole(error) from error.__cause__
                story.reasons.append(f"{name}: {error.message}")
                continue
            except BaseException:
                story.take(step.trail)
                raise
            story.take(step.trail)
            found = step.result
            assert found is not None
            story.responses += found.responses
            why = self._ladder.cascade.fault(found.value)
            if why is None:
                self.result = msgspec.structs.replace(
                    found,
                    responses=tuple(story.responses),
                    attempts=tuple(self.trail.attempts),
                    cost_nano=self.trail.cost_nano,
                    escalated=tuple(story.reasons),
                )
                return story.answer(response)
            story.reasons.append(f"{name}: {why}")
        raise story.whole(story.failed())
