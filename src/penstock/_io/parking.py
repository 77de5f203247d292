"""Where attempts wait for their turn: one timer per lane, for the head of its queue, and no polling."""

from __future__ import annotations

import contextlib
import threading
import time
from typing import TYPE_CHECKING, Any

from .._flow.effects import Abandoned, Admission, Record, Reserve
from .._policy.budget import Hold
from .._policy.limiter import Ticket
from ..errors import ClientClosed, ConfigError, DeadlineExceeded
from .gate import Gate, LaneState

if TYPE_CHECKING:
    import asyncio  # loaded where it is used: a program of threads shall not pay 15 ms for it


def _too_late(state: LaneState) -> DeadlineExceeded:
    return DeadlineExceeded(f"{state.lane.name}: the deadline passed while waiting for the limit", deadline_s=0.0)


def _closed() -> ClientClosed:
    return ClientClosed("the client was closed while this call waited for its turn; nothing was sent")


class _Turn:
    """Where a task waits: a future of its loop."""

    __slots__ = ("turn",)

    def __init__(self) -> None:
        import asyncio

        self.turn = asyncio.get_running_loop().create_future()

    def come(self) -> None:
        if not self.turn.done():
            self.turn.set_result(None)

    async def sleep(self, seconds: float | None) -> None:
        import asyncio

        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self.turn


class _Bed:
    """Where a thread sleeps; `nudge` wakes it to look at the clock, `come` for good."""

    __slots__ = ("_event", "granted", "thread")

    def __init__(self) -> None:
        self.thread = threading.current_thread()
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

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self._waiting: set[_Turn] = set()

    async def reserve_later(self, effect: Reserve) -> Hold:
        """Hold an attempt's worst case once another process lets go of the file of the budget.

        Raises: BudgetExceeded, BudgetUnavailable.
        """
        import asyncio

        until = self._busy_until(effect)
        hold, looks = None, 0
        while hold is None:
            await asyncio.sleep(self._busy_step_s(until, looks))
            hold = self.reserve(effect)
            looks += 1
        return hold

    async def park(self, record: Record) -> Admission:
        """Wait for the turn of a queued ticket.

        Raises: BreakerOpen, DeadlineExceeded.
        """
        import asyncio

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
                await self._come(ticket.tag)
        except TimeoutError:
            raise _too_late(state) from None
        if self.closed:
            raise _closed()
        return self.admit(record, state)

    async def sleep(self, seconds: float) -> None:
        """Wait, or until the client is closed."""
        if self.closed:
            return
        import asyncio

        turn = _Turn()
        timer = asyncio.get_running_loop().call_later(seconds, turn.come)
        try:
            await self._come(turn)
        finally:
            timer.cancel()

    async def _come(self, turn: _Turn) -> None:
        self._waiting.add(turn)
        try:
            await turn.turn
        finally:
            self._waiting.discard(turn)

    def close(self) -> None:
        """Refuse new attempts and wake all that wait."""
        super().close()
        for turn in tuple(self._waiting):
            loop = turn.turn.get_loop()
            if not loop.is_closed():
                loop.call_soon_threadsafe(turn.come)

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
            now = self.clock.now()
            after_s = 0.0 if state.limiter.is_due(now) else due - now
            state.timer = (self._loop.call_later(after_s, self._rung, state), due)

    def _rung(self, state: LaneState) -> None:
        state.timer = None
        self.advance(state)


class ThreadGate(Gate):
    """The gate of many threads: one parked thread, the leader, watches the clock; the others sleep until woken."""

    place = _Bed

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self._sleeping: set[_Bed] = set()
        self._ended: set[threading.Thread] = set()

    def reserve_later(self, effect: Reserve) -> Hold:
        """Hold an attempt's worst case once another process lets go of the file of the budget.

        Raises: BudgetExceeded, BudgetUnavailable.
        """
        until = self._busy_until(effect)
        hold, looks = None, 0
        while hold is None:
            time.sleep(self._busy_step_s(until, looks))
            hold = self.reserve(effect)
            looks += 1
        return hold

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

    def sleep(self, seconds: float) -> None:
        """Wait, or until the client is closed."""
        bed = _Bed()
        with self._lock:
            self._sleeping.add(bed)
        try:
            if not self.closed:
                bed.sleep(seconds)
        finally:
            with self._lock:
                self._sleeping.discard(bed)

    def close(self) -> None:
        """Refuse new attempts and wake all that wait."""
        super().close()
        with self._lock:
            beds = [*self._sleeping, *[bed for state in self._lanes.values() for bed in state.parked.values()]]
        for bed in beds:
            bed.nudge()

    def interrupt(self, thread: threading.Thread) -> None:
        """End what this thread waits for here, and whatever it would wait for next."""
        self._ended.add(thread)
        with self._lock:
            beds = [bed for state in self._lanes.values() for bed in state.parked.values() if bed.thread is thread]
        for bed in beds:
            bed.nudge()

    def forget(self, thread: threading.Thread) -> None:
        """The thread is over."""
        self._ended.discard(thread)

    def _wait(self, state: LaneState, ticket: Ticket, place: _Bed) -> None:
        while not place.granted or self.closed:
            if self.closed:
                raise _closed()
            if place.thread in self._ended:
                raise Abandoned
            now = self.clock.now()
            if ticket.deadline is not None and now >= ticket.deadline:
                raise _too_late(state)
            if state.timer is None:
                state.timer = ticket
            leads = state.timer is ticket
            due = state.limiter.next_at if leads else None
            if leads and state.limiter.is_due(now):
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
