"""An extraction: a call whose answer is read as a type, asked again when it does not fit.

plan by lane ─▶ call ─▶ read ─▶ fits: Extracted
                 ▲  │      └─▶ does not: the reasons go back, at most `reasks` times ─▶ helper ─▶ ExtractionFailed
                 │  └─ the provider refuses the schema: the next mode, remembered
                 └───────────────────────────────────────────────┘
Truncation, filters and refusals are no answers: they end it at once.
"""

from __future__ import annotations

from collections.abc import Generator
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import msgspec

from .._text.result import Parsed, Repair
from ..errors import Candidate, ClientClosed, ExtractionFailed, ParseError, PenstockError
from ..types import Message, Request, Response, Text
from .accounting import Order
from .call import behind_cache, call
from .effects import Emit, Flow, Lane
from .extracted import Extracted
from .mode import Plan, Refusals, Wish, plan, refused, shaped
from .reading import Reader, Turn, corrected, inner, misfit, reasons, too_long
from .relay import relayed
from .trail import Trail

if TYPE_CHECKING:
    from .._text.growing import Growing  # loaded with the first stream

HELP: Final = (
    "The user shows you a text in which a value was meant and badly written. Write that value as it should be. Take "
    "everything from the text, and invent nothing."
)


class Ask(msgspec.Struct, frozen=True, kw_only=True):
    """What is wanted and how far to go for it; `helper` are the lanes that may read what nobody else can."""

    wish: Wish
    reader: Reader
    reasks: int
    helper: tuple[Lane, ...]
    refusals: Refusals


class Extraction:
    """One extraction under way. `trail` has the attempts of all its calls, `news` the values that grew since last seen.

    Once it has ended well, `result` is set.
    """

    def __init__(self, ask: Ask, order: Order) -> None:
        self.order = order
        self.trail = Trail(order)
        self.result: Extracted[Any] | None = None
        self.news: list[Any] = []
        last = order.request.messages[-1]
        begun = "".join(part.text for part in last.parts if isinstance(part, Text)) if last.role == "assistant" else ""
        self._ask = msgspec.structs.replace(ask, reader=msgspec.structs.replace(ask.reader, begun=begun))
        self._asked = 0
        self._responses: list[Response] = []
        self._candidates: tuple[Candidate, ...] = ()
        self._growth = _Growth(ask.reader, self.news) if order.stream else None
        # A mode that cannot be had is refused before anything is sent.
        self._plans(order.request, order.lanes)

    def flow(self) -> Flow[Response]:
        """Ask until an answer fits, and leave what it gives in `result`.

        Raises: ExtractionFailed, TruncatedOutput, ContentFiltered, ModelRefused; the PenstockError of the first call.
        """
        request, lanes = self.order.request, self.order.lanes
        turns: list[Turn] = []
        while True:
            try:
                response, asked = yield from self._question(request, lanes, turns)
                parsed = self._read(response, asked)
            except PenstockError as error:
                if not turns or isinstance(error, ClientClosed) or len(self._responses) > len(turns):
                    self._whole(error)
                    raise
                raise self._failed(turns, error.message) from error
            if not isinstance(parsed, Turn):
                return self._done(parsed, asked)
            turns.append(parsed)
            stop = self._stop(turns)
            if stop is not None:
                break
            lanes = lanes[_place(response, lanes) :]  # whoever answered knows what it said
        if not self._ask.helper or too_long(turns[-1]):
            raise self._failed(turns, stop)
        return (yield from self._helped(turns))

    def _question(
        self, request: Request, lanes: tuple[Lane, ...], turns: list[Turn]
    ) -> Generator[Any, Any, tuple[Response, Plan]]:
        """Make one call; where a provider refuses how it is asked, ask it in the next way."""
        while True:
            plans = self._plans(request, lanes)
            order = self._order(request, lanes, turns, plans)
            trail = Trail(order)
            flow = behind_cache(order, trail, call)
            try:
                if self._growth is not None:
                    flow = relayed(flow, self._growth.show)
                response: Response = yield from flow
            except PenstockError as error:
                lane = None if trail.last is None else trail.last.lane
                if lane is None or self._ask.wish.mode != "auto" or not refused(error, plans[lane.id].mode):
                    raise
                words = error.message.rpartition("; ")[0] or error.message  # without what a caller could do about it
                self._ask.refusals.add(lane, self._ask.wish, plans[lane.id].mode, words)
                lanes = lanes[lanes.index(lane) :]
            else:
                self._responses.append(response)
                return response, plans[lanes[_place(response, lanes)].id]
            finally:
                self._take(trail)

    def _plans(self, request: Request, lanes: tuple[Lane, ...]) -> dict[str, Plan]:
        return {lane.id: plan(lane, request, self._ask.wish, self._ask.refusals) for lane in lanes}

    def _order(self, request: Request, lanes: tuple[Lane, ...], turns: list[Turn], plans: dict[str, Plan]) -> Order:
        """Write the order of one call: what each lane is asked, and a key of its own, as the body is another one."""
        by_lane = {}
        for lane in lanes:
            asked = shaped(request, self._ask.wish, plans[lane.id], lane)
            more: list[Message] = [message for turn in turns for message in corrected(turn, plans[lane.id])]
            by_lane[lane.id] = msgspec.structs.replace(asked, messages=(*asked.messages, *more))
        first = self._asked == 0
        self._asked += 1
        key = self.order.idempotency_key
        return msgspec.structs.replace(
            self.order,
            request=by_lane[lanes[0].id],
            by_lane=by_lane,
            lanes=lanes,
            stream=self._growth is not None and not turns,
            idempotency_key=key if first or not key else f"{key}-{self._asked}",
        )

    def _take(self, trail: Trail) -> None:
        """Take in the attempts of a call, however it ended."""
        mine = self.trail.attempts
        for attempt in trail.attempts:
            mine.append(msgspec.structs.replace(attempt, number=len(mine) + 1))
        self.trail.notices += trail.notices
        self.trail.left = trail.partial()
        self.trail.ended = trail.ended

    def _read(self, response: Response, asked: Plan) -> Parsed[Any] | Turn:
        try:
            return self._ask.reader.read(response, asked)
        except ParseError as error:
            self._growth = None  # a second answer is not shown: values only grow
            self._candidates = error.candidates
            return Turn(response, asked, reasons(error))

    def _stop(self, turns: list[Turn]) -> str | None:
        """Say why no further question is asked, None where one is."""
        if too_long(turns[-1]):
            return "the answer is longer than any value"
        if len(turns) > 1 and turns[-1].text == turns[-2].text:
            return "the model gave the same answer twice"
        if len(turns) > self._ask.reasks:
            return f"it was asked {len(turns)} times (reasks={self._ask.reasks})" if self._ask.reasks else "reasks is 0"
        return None

    def _helped(self, turns: list[Turn]) -> Flow[Response]:
        """Have a cheap model read the answer that nobody could."""
        bad = turns[-1]
        told = "\n".join(f"- {reason}" for reason in bad.reasons)
        words = f"The text:\n{bad.text}\n\nWhat did not fit in it:\n{told}"
        request = Request(
            model=self._ask.helper[0].model,
            messages=(Message("system", HELP), Message("user", words)),
            max_tokens=self.order.request.max_tokens,
        )
        try:
            response, asked = yield from self._question(request, self._ask.helper, [])
            parsed = self._ask.reader.read(response, asked)
        except ClientClosed as error:
            self._whole(error)
            raise
        except PenstockError as error:
            raise self._failed(turns, f"the helper could not read it either: {error.message}") from error
        name = f"{response.provider}:{response.model}"
        note = Repair("helper", "$", f"{name} read it out of an answer that did not fit")
        return self._done(msgspec.structs.replace(parsed, repairs=(*parsed.repairs, note)), bad.plan)

    def _done(self, parsed: Parsed[Any], asked: Plan) -> Response:
        responses = self._responses
        self.result = Extracted(
            value=parsed.value,
            repairs=parsed.repairs,
            mode=asked.mode,
            reason=asked.reason,
            lossy=tuple(lost._replace(path=inner(lost.path)) for lost in asked.lossy),
            responses=tuple(responses),
            attempts=tuple(self.trail.attempts),
            cost_nano=self.trail.cost_nano,
            reasked=len(responses) - 1,
        )
        saved = [each.saved_nano for each in responses if each.cached]
        return msgspec.structs.replace(
            responses[-1],
            cached=len(saved) == len(responses),
            saved_nano=None if None in saved or not saved else sum(each for each in saved if each is not None),
        )

    def _failed(self, turns: list[Turn], why: str | None) -> ExtractionFailed:
        error = misfit(turns[-1], tuple(self._responses), self._candidates)
        error.gave_up = why
        self._whole(error)
        return error

    def _whole(self, error: PenstockError) -> None:
        """Give an error the attempts and the cost of all calls."""
        error.attempts = tuple(self.trail.attempts)
        error.cost_nano = self.trail.cost_nano


def _place(response: Response, lanes: tuple[Lane, ...]) -> int:
    """Return which lane answered."""
    answered = (response.provider, response.model)
    return next((at for at, lane in enumerate(lanes) if (lane.provider.name, lane.model) == answered), 0)


class _Growth:
    """Reads an answer while it grows; a value that is new is put into `news` before its chunks are shown."""

    def __init__(self, reader: Reader, news: list[Any]) -> None:
        from .._text.growing import Growing

        self._reader = reader
        self._news = news
        self._fresh = partial(Growing, reader.target)
        self._growing: Growing | None = self._fresh()
        self._call: int | None = None
        self._last: Any = None

    def show(self, effect: Emit) -> Flow[float]:
        """Take in the chunks, and show them."""
        for chunk in effect.chunks:
            if chunk.choice == 0 and chunk.kind in ("text", "tool_call"):
                if chunk.kind == "tool_call" and self._call is None:
                    self._call = chunk.index
                    self._growing = self._fresh()  # what was said before the call is not of the value
                if self._call is None or chunk.index == self._call:
                    self._feed(chunk.text)
        shown_at: float = yield Emit(effect.chunks)
        return shown_at

    def _feed(self, piece: str) -> None:
        if self._growing is None:
            return
        try:
            parsed = self._growing.feed(piece)
        except ParseError:  # too long; the whole of it says so at the end
            self._growing = None
            return
        value = None if parsed is None else self._reader.unwrapped(parsed.value)
        if value is not None and value != self._last:
            self._last = value
            self._news.append(value)
