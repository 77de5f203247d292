"""A call with a cache in front: a stored answer, somebody else's answer, or the call itself.

Lookup ─▶ stored ──────────────────────────────▶ retold, at no cost
├▶ nobody asks it ─▶ lead: call ─▶ Share ─▶ kept and shared
└▶ somebody does ─▶ Follow ─▶ its chunks, its answer or its error; or the lead, when it was left
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import msgspec

from .._policy.cache import Entry, grade
from .._policy.cachekey import cache_key
from .._policy.flights import AskAgain, Landed, Lead, News, Seat
from .._wire.assembly import chunks_of
from .._wire.protocol import Reply
from ..errors import BudgetExceeded, ConfigError, DeadlineExceeded, PenstockError, StreamInterrupted
from ..types import Chunk, Response, Usage
from .accounting import Order
from .effects import Emit, Flow, Follow, Lane, Lookup, Share
from .relay import relayed
from .shown import Diverged, Shown
from .trail import Trail

Make = Callable[[Order, Trail], Flow[Response]]


def cached(order: Order, trail: Trail, make: Make) -> Flow[Response]:
    """Answer from the cache, from an identical call under way, or make the call and let others have its answer.

    Raises: the PenstockError of the call, or a copy of it where an identical call failed; DeadlineExceeded while it
    follows one; StreamInterrupted where the stream it followed was left and the new answer is another one.
    """
    seat = _seat(order)
    if seat is None:
        return (yield from make(order, trail))
    reader = _Reader(order, trail)
    try:
        news: News | None = yield Lookup(seat)
        while True:
            match news:
                case Lead():
                    return (yield from _lead(order, make(order, trail), seat, reader))
                case Landed():
                    return (yield from reader.land(news))
                case AskAgain():
                    yield Share(seat)
                    news = yield Lookup(seat)
                    continue
                case None:
                    pass
                case told:
                    yield from reader.show(told.chunks, again=told.again)
            news = yield Follow(seat, order.deadline)
    finally:
        yield Share(seat)


def _seat(order: Order) -> Seat | None:
    """Return the place of this question among all others; None where it cannot be written, as the call itself says."""
    assert order.cache is not None
    try:
        key = _key(order, order.lanes[0])
    except PenstockError:
        return None
    # A call that may fall back can be answered by another model, which one that may not has not asked for.
    route = "\n".join(lane.id for lane in order.lanes[1:])
    return Seat(key, key + route.encode(), order.cache, stream=order.stream)


def _key(order: Order, lane: Lane) -> bytes:
    outbound = lane.wire.encode(order.asked(lane), lane.provider, stream=order.stream)
    scope = (lane.provider.name, lane.provider.wire, lane.base_url, outbound.path, lane.model, lane.credential)
    return cache_key(outbound.body, scope, {**lane.provider.headers, **outbound.headers})


def _lead(order: Order, flow: Flow[Response], seat: Seat, reader: _Reader) -> Flow[Response]:
    """Make the call, show its stream to those who follow, and share how it ended, unless that is its own affair."""
    reader.again()
    chunks: list[Chunk] = []

    def show(effect: Emit) -> Flow[float]:
        chunks.extend(effect.chunks)
        yield Share(seat, chunks=effect.chunks)
        shown_at = yield from reader.show(effect.chunks, always=True)
        seat.read_on()
        return shown_at

    try:
        response = yield from (relayed(flow, show) if order.stream else flow)
    except PenstockError as error:
        if reader.diverged:
            reader.correct(error)
        elif not _own(order, error):
            yield Share(seat, error=error)
        raise
    kept = msgspec.structs.replace(response, attempts=(), tags={})
    as_asked = not any(notice.kind == "truncated" for notice in response.notices)
    first_lane = as_asked and (response.provider, response.model) == (
        order.lanes[0].provider.name,
        order.lanes[0].model,
    )
    yield Share(
        seat,
        Entry(kept, grade(response) if first_lane else "never", tuple(chunks) if order.stream else None),
    )
    return response


def _own(order: Order, error: PenstockError) -> bool:
    """Say whether an error comes from this call's own budget or deadline, so that others may fare better."""
    if isinstance(error, BudgetExceeded | DeadlineExceeded | ConfigError):
        return True
    return order.deadline is not None and (isinstance(error, TimeoutError) or "deadline" in (error.gave_up or ""))


class _Reader:
    """Whoever reads this call: what was shown, and when."""

    def __init__(self, order: Order, trail: Trail) -> None:
        self._order = order
        self._trail = trail
        self._shown = Shown()
        self._first_at: float | None = None
        self._last_at = order.started
        self.diverged = False

    def again(self) -> None:
        """The answer begins from its start."""
        self._shown.again()

    def show(self, chunks: Sequence[Chunk], *, again: bool = False, always: bool = False) -> Flow[float]:
        """Show what is new of these chunks (`always`: also when that is nothing) and return when it was shown.

        Raises: StreamInterrupted when the answer is not the one that was begun.
        """
        if again:
            self._shown.again()
        try:
            fresh = self._shown.fresh(chunks)
        except Diverged:
            self.diverged = True
            raise StreamInterrupted(
                "the identical call whose stream this one followed was left, and asked anew the model answers "
                "something else than what was shown; what was shown is in `partial`",
                partial=self._so_far(),
            ) from None
        if fresh or always:
            try:
                self._last_at = yield Emit(fresh)
            except BaseException:
                self._trail.left = self._so_far()
                raise
            self._first_at = self._last_at if self._first_at is None else self._first_at
        return self._last_at

    def correct(self, error: PenstockError) -> None:
        """Put what was shown into an error that has what a second answer said, and what that cost."""
        if isinstance(error, StreamInterrupted):
            error.partial = msgspec.structs.replace(error.partial, choices=self._shown.choices())

    def land(self, landed: Landed) -> Flow[Response]:
        """End with a stored or shared answer, which costs nothing, or with the error of the call that was followed."""
        entry, error = landed.entry, landed.error
        stream = self._order.stream
        if entry is None:
            assert error is not None
            if stream:
                yield from self.show(landed.chunks, again=True)
            raise _copy(error)
        response = entry.response
        if stream:
            chunks = entry.chunks or chunks_of(Reply(choices=response.choices, usage=response.usage))
            yield from self.show(chunks, again=True)
        ended = max(landed.now, self._last_at)
        started = self._order.started
        return msgspec.structs.replace(
            response,
            cached=True,
            cost_nano=0,
            saved_nano=response.cost_nano,
            latency_s=ended - started,
            first_token_s=None if self._first_at is None else self._first_at - started,
            tags=self._order.tags,
        )

    def _so_far(self) -> Response:
        lane = self._order.lanes[0]
        return Response(
            provider=lane.provider.name,
            model=lane.model,
            choices=self._shown.choices(),
            usage=Usage(estimated=True),
            cost_nano=0,
            cached=True,
            tags=self._order.tags,
        )


def _copy(error: PenstockError) -> PenstockError:
    """Return an error of its own for each who followed: one that many threads raise at once grows every traceback."""
    twin = type(error).__new__(type(error), *error.args)
    twin.__dict__.update(error.__dict__, attempts=(), cost_nano=0)
    twin.__cause__ = error
    return twin
