"""Where attempts wait for their turn: one timer per lane, for the head of its queue, and no polling."""

from __future__ import annotations

import asyncio
import contextlib
import threading

from .._flow.effects import Admission, Record
from .._policy.limiter import Ticket
from ..errors import ConfigError, DeadlineExceeded
from .gate import Gate, LaneState


def _too_late(state: LaneState) -> DeadlineExceeded:
    return DeadlineExceeded(f"{state.lane.name}: the deadline passed while waiting for the limit", deadline_s=0.0)


class _Turn:
    """Where a task waits: a future of its loop."""

    __slots__ = ("turn",)

    def __init__(self) -> None:
        self.turn = asyncio.get_running_loop().create_future()

    def come(self) -> None:
        if not self.turn.done():
            self.turn.set_result(None)

    async def sleep(self, seconds: float | None) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self.turn


class _Bed:
    """Where a thread sleeps; `nudge` wakes it to look at the clock, `come` for good."""

    __slots__ = ("_event", "granted")

    def __init__(self) -> None:
        self._event = threading.Event()
        self.granted = False

    def come(self) -> None:
        self.granted = True
        self._event.set()

    def nudge(self) -> None:
        self._event.set()

    def sleep(self, seconds: float | None) -> None:
        self._event.wait(seconds)
        self._event.clear()


class AsyncGate(Gate):
    """The gate of an event loop: a parked attempt is a future, the clock is watched by `loop.call_later`."""

    place = _Turn
    _loop: asyncio.AbstractEventLoop | None = None

    async def park(self, record: Record) -> Admission:
        """Wait for the turn of a queued ticket.

        Raises: BreakerOpen, DeadlineExceeded.
        """
        state, ticket = self.state(record.lane), record.ticket
        loop = asyncio.get_running_loop()
        if self._loop is not None and self._loop is not loop and self._loop.is_running():
            raise ConfigError(
                "an AsyncClient serves one event loop at a time, and another one is using it; make one each"
            )
        self._loop = loop
        self._watch(state)
        seconds = None if ticket.deadline is None else ticket.deadline - ticket.asked_at
        try:
            async with asyncio.timeout(seconds):
                await ticket.tag.turn
        except TimeoutError:
            raise _too_late(state) from None
        return self.admit(record, state)

    def wake(self, state: LaneState, tickets: list[Ticket]) -> None:
        """Let granted tickets go, and watch the clock for the new head of the queue."""
        for ticket in tickets:
            ticket.tag.come()
        if state.timer is not None or state.limiter.next_at is not None:
            self._watch(state)

    def _watch(self, state: LaneState) -> None:
        due = state.limiter.next_at
        timer = state.timer
        if timer is not None:
            if due is not None and timer[1] == due:
                return
            timer[0].cancel()
            state.timer = None
        if due is not None and self._loop is not None and not self._loop.is_closed():
            state.timer = (self._loop.call_later(max(0.0, due - self.clock.now()), self._rung, state), due)

    def _rung(self, state: LaneState) -> None:
        state.timer = None
        self.advance(state)


class ThreadGate(Gate):
    """The gate of many threads: one parked thread, the leader, watches the clock; the others sleep until woken."""

    place = _Bed

    def park(self, record: Record) -> Admission:
        """Wait for the turn of a queued ticket.

        Raises: BreakerOpen, DeadlineExceeded.
        """
        state, ticket = self.state(record.lane), record.ticket
        with self._lock:
            state.parked[ticket] = ticket.tag
        try:
            self._wait(state, ticket, ticket.tag)
        finally:
            self._unpark(state, ticket)
        return self.admit(record, state)

    def _wait(self, state: LaneState, ticket: Ticket, place: _Bed) -> None:
        while not place.granted:
            now = self.clock.now()
            if ticket.deadline is not None and now >= ticket.deadline:
                raise _too_late(state)
            if state.timer is None:
                state.timer = ticket
            due = state.limiter.next_at if state.timer is ticket else None
            if due is not None and now >= due:
                self.advance(state)
                continue
            ends = [end for end in (due, ticket.deadline) if end is not None]
            place.sleep(min(ends) - now if ends else None)

    def _unpark(self, state: LaneState, ticket: Ticket) -> None:
        with self._lock:
            state.parked.pop(ticket, None)
            if state.timer is ticket:
                state.timer = None
            leaderless = state.timer is None
        if leaderless:
            # Also when this thread never led: the nudge of a leader that left may have met one that was leaving too.
            self._nudge_leader(state)

    def wake(self, state: LaneState, tickets: list[Ticket]) -> None:
        """Let granted tickets go, and have the leader look at the clock again."""
        for ticket in tickets:
            ticket.tag.come()
        self._nudge_leader(state)

    def _nudge_leader(self, state: LaneState) -> None:
        if not state.parked:
            return
        with self._lock:
            place = state.parked.get(state.timer) or next(iter(state.parked.values()), None)
        if place is not None:
            place.nudge()
