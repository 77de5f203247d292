"""The order of a call, written once.

route's lanes ─▶ fit ─▶ Reserve ─▶ Permit ─▶ Send, Read, Emit ─▶ Settle ─▶ done
                 ▲         ▲      └ a late one is hedged: Parallel   │
                 │         └──────── Sleep ◀── retry policy ◀──── failed
                 └─ a shorter prompt, where the caller chose how ◀───┘

A lane whose breaker is open is passed over; a call that finds all of its lanes shut sleeps until the first is probed.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from .._policy.retry import Retry
from ..errors import BreakerOpen, PenstockError, RateLimited
from ..types import Response
from .accounting import Order, lowered, prepare
from .effects import Abandoned, Flow, Lane, Past, Permit, Reserve, Settle, Sleep
from .exchange import exchange
from .fitting import fitted, reduced
from .hedge import Verdict, hedged
from .trail import Trail


def call(order: Order, trail: Trail) -> Flow[Response]:
    """Make one call: ask the lanes of its route in turn until one answers; `trail` has the story, however it ends.

    Raises: the PenstockError of the last lane asked, carrying the attempts of all.
    """
    while True:
        first: PenstockError | None = None
        error: PenstockError | None = None
        shut = 0
        soonest: float | None = None
        for lane in order.lanes:
            error, decision, at = yield from _ask(order, lane, trail)
            if error is None:
                return trail.answer()
            first = first or error
            if isinstance(error, BreakerOpen):
                shut += 1
                if isinstance(decision, Retry):
                    look = at + decision.after_s
                    soonest = look if soonest is None else min(soonest, look)
            if trail.emitted or not order.on_error.falls_back(error):
                break
        if shut < len(order.lanes) or soonest is None:
            assert error is not None
            raise trail.surface(error, first)
        if soonest > trail.ended:
            yield Sleep(soonest - trail.ended)


def behind_cache(order: Order, trail: Trail, make: Callable[[Order, Trail], Flow[Response]]) -> Flow[Response]:
    """Make a call, or take what the cache has of it where there is one."""
    if order.cache is None:
        return make(order, trail)
    from .cached import cached  # loaded with the first cache

    return cached(order, trail, make)


def _ask(order: Order, lane: Lane, trail: Trail) -> Flow[Verdict]:
    """Ask one lane until it answers or is given up."""
    order = fitted(order, lane, trail)
    after_s = order.hedge_after_s
    while True:
        attempt = _attempt(order, lane, trail, trail.past())
        if after_s is not None and not trail.hedged:
            attempt = _hedged(order, lane, trail, attempt, after_s)
        error, decision, at = yield from attempt
        shorter = None if error is None else reduced(order, lane, error, trail)
        if shorter is not None:
            order = shorter
            continue
        if error is None or not isinstance(decision, Retry) or isinstance(error, BreakerOpen):
            return error, decision, at
        left_s = decision.after_s - (trail.ended - at)  # a hedge may have ended since
        if left_s > 0 and not isinstance(error, RateLimited):
            yield Sleep(left_s)  # a 429 pauses the whole lane instead, and Permit waits for that


def _hedged(order: Order, lane: Lane, trail: Trail, attempt: Flow[Verdict], after_s: float) -> Flow[Verdict]:
    """Make one attempt, and if it is late another beside it: at the next lane of the route, or at the last again."""
    beside = order.lanes[min(order.lanes.index(lane) + 1, len(order.lanes) - 1)]
    second = partial(_attempt, order, beside, trail, second=True)
    return hedged(attempt, second, beside, after_s, trail, same_lane=beside is lane)


def _attempt(order: Order, lane: Lane, trail: Trail, past: Past, *, second: bool = False) -> Flow[Verdict]:
    """Make one exchange with the provider and settle it, whatever happens to it; the `second` is a hedge."""
    failed: PenstockError | None = None
    request, record = prepare(order, lane, past)
    try:
        if order.capped:
            hold = record.hold = yield Reserve(record, order.tags)
            if hold.max_tokens is not None:
                request = lowered(request, record, hold)
        record.admission = yield Permit(record)
        if second and trail.decided:
            raise Abandoned  # the attempt beside this one was the last word, while it waited for its turn
        yield from exchange(order, record, request)
    except PenstockError as error:
        failed = record.error = error
    except BaseException as error:
        record.error = error
        raise
    finally:
        settled = yield Settle(record, order.deadline, order.on_error)
        trail.add(record, settled)
    return failed, settled.decision, settled.now
