"""Where attempts wait for their turn: one timer per lane, for the head of its queue, and no polling."""

from __future__ import annotations

import asyncio
import threading

from .._flow.effects import Admission, Permit
from .._policy.limiter import Ticket
from ..errors import DeadlineExceeded
from .gate import Gate, LaneState


def _too_late(state: LaneState) -> DeadlineExceeded:
    return DeadlineExceeded(f"{state.lane.name}: the deadline passed while waiting for the limit", deadline_s=0.0)


class AsyncGate(Gate):
    """The gate of an event loop: a parked attempt is a future, the clock is watched by `loop.call_later`."""

    _loop: asyncio.AbstractEventLoop

    async def permit(self, effect: Permit) -> Admission:
        """Wait for a turn.

        Raises: LimitExceeded, BreakerOpen, DeadlineExceeded.
        """
        self._loop = asyncio.get_running_loop()
        record = effect.record
        state = self.state(record.lane)
        turn = _Turn()
        admission = self.enter(record, state, turn.come)
        if admission is None:
            self._watch(state)
            since, deadline = record.ticket.asked_at, record.ticket.deadline
            try:
                await turn.wait(None if deadline is None else deadline - since)
            except TimeoutError:
                raise _too_late(state) from None
            admission = self.admit(record, state, since, self.clock.now())
        return admission

    def wake(self, state: LaneState, tickets: list[Ticket]) -> None:
        """Let granted tickets go, and watch the clock for the new head of the queue."""
        for ticket in tickets:
            ticket.tag()
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
        if due is not None and not self._loop.is_closed():
            state.timer = (self._loop.call_later(max(0.0, due - self.clock.now()), self._rung, state), due)

    def _rung(self, state: LaneState) -> None:
        state.timer = None
        self.advance(state)


class _Turn:
    """A future made only when there is something to wait for."""

    __slots__ = ("_future",)

    def __init__(self) -> None:
        self._future: asyncio.Future[None] | None = None

    def come(self) -> None:
        if self._future is not None and not self._future.done():
            self._future.set_result(None)

    async def wait(self, seconds: float | None) -> None:
        self._future = asyncio.get_running_loop().create_future()
        async with asyncio.timeout(seconds):
            await self._future


class ThreadGate(Gate):
    """The gate of many threads: one parked thread, the leader, watches the clock; the others sleep until woken."""

    def permit(self, effect: Permit) -> Admission:
        """Wait for a turn.

        Raises: LimitExceeded, BreakerOpen, DeadlineExceeded.
        """
        record = effect.record
        state, ticket = self.state(record.lane), record.ticket
        place = _Place()
        admission = self.enter(record, state, place.come)
        if admission is None:
            place.lie_down()
            with self._lock:
                state.parked[ticket] = place.nudge
            try:
                self._wait(state, ticket, place)
            finally:
                self._unpark(state, ticket)
            admission = self.admit(record, state, ticket.asked_at, self.clock.now())
        return admission

    def _wait(self, state: LaneState, ticket: Ticket, place: _Place) -> None:
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
            led = state.timer is ticket
            if led:
                state.timer = None
        if led:
            self._nudge_leader(state)

    def wake(self, state: LaneState, tickets: list[Ticket]) -> None:
        """Let granted tickets go, and have the leader look at the clock again."""
        for ticket in tickets:
            ticket.tag()
        self._nudge_leader(state)

    def _nudge_leader(self, state: LaneState) -> None:
        if not state.parked:
            return
        with self._lock:
            nudge = state.parked.get(state.timer) or next(iter(state.parked.values()), None)
        if nudge is not None:
            nudge()


class _Place:
    """Where one thread sleeps."""

    __slots__ = ("_event", "granted")

    def __init__(self) -> None:
        self._event: threading.Event | None = None
        self.granted = False

    def come(self) -> None:
        # Before the event: whoever makes it looks at `granted` once more, so that a turn that came early is not lost.
        self.granted = True
        self.nudge()

    def nudge(self) -> None:
        if self._event is not None:
            self._event.set()

    def lie_down(self) -> None:
        self._event = threading.Event()

    def sleep(self, seconds: float | None) -> None:
        assert self._event is not None
        self._event.wait(seconds)
        self._event.clear()
