"""Virtual time, tasks and fibers: everything waits only as long as told, and what waits for nothing is found."""

from __future__ import annotations

import asyncio

import pytest

from .scheduler import START_S, FiberLock, Fibers, FiberThreading, Stuck, TaskLoop


def test_time_passes_only_when_nobody_can_go_on() -> None:
    """An hour of sleep takes none."""
    loop = TaskLoop(1)
    seen = []

    async def sleeper(seconds: float) -> None:
        await asyncio.sleep(seconds)
        seen.append(round(loop.now - START_S, 3))

    for seconds in (3600.0, 1.0, 60.0):
        loop.start(sleeper(seconds))
    loop.run()
    assert seen == [1.0, 60.0, 3600.0]


def test_the_seed_decides_the_order() -> None:
    """Of tasks that are ready together: every order comes up, and the same one for the same seed."""

    def order(seed: int) -> str:
        loop, seen = TaskLoop(seed), []

        async def note(name: str) -> None:
            seen.append(name)

        for name in "abc":
            loop.start(note(name))
        loop.run()
        return "".join(seen)

    orders = [order(seed) for seed in range(60)]
    assert orders == [order(seed) for seed in range(60)]
    assert len(set(orders)) == 6


def test_a_loop_that_never_waits_is_found() -> None:
    """A timer of no time, again and again: the clock stands still."""
    loop = TaskLoop(1)

    async def spin() -> None:
        while True:  # noqa: ASYNC110 - it is what must not happen
            await asyncio.sleep(0)

    loop.start(spin())
    with pytest.raises(Stuck, match="clock stood"):
        loop.run()


def test_an_interrupt_reaches_a_fiber_where_it_waits() -> None:
    """As Ctrl-C does; the others go on."""
    fibers, seen = Fibers(1), []

    def sleeper(name: str) -> None:
        try:
            fibers.sleep(10)
            seen.append(name)
        except KeyboardInterrupt:
            seen.append(f"{name} at {fibers.now - START_S:.0f}")

    running = fibers.start(lambda: sleeper("a"))
    fibers.start(lambda: sleeper("b"))
    fibers.at(START_S + 4, running.cancel)
    fibers.run()
    assert seen == ["a at 4", "b"]


@pytest.mark.parametrize("locked", [True, False])
def test_a_lock_keeps_fibers_apart_and_nothing_else_does(locked: bool) -> None:
    """A sum that is read, and written after somebody else had a turn, is short without the lock."""
    totals = set()
    for seed in range(20):
        fibers = Fibers(seed)
        lock, total = FiberLock(fibers), [0]

        def add(fibers: Fibers = fibers, lock: FiberLock = lock, total: list[int] = total) -> None:
            if locked:
                lock.acquire()
            before = total[0]
            fibers.switch()
            total[0] = before + 1
            if locked:
                lock.release()

        for _ in range(5):
            fibers.start(add)
        fibers.run()
        totals.add(total[0])
    assert (totals == {5}) is locked


def test_an_event_is_waited_for_and_no_longer_than_told() -> None:
    """One fiber is woken at once, the other looks at the clock."""
    fibers, seen = Fibers(1), []
    event = FiberThreading(fibers).Event()
    other = FiberThreading(fibers).Event()

    def first() -> None:
        seen.append((event.wait(5), round(fibers.now - START_S)))

    def second() -> None:
        seen.append((other.wait(3), round(fibers.now - START_S)))

    fibers.start(first)
    fibers.start(second)
    fibers.at(START_S + 2, event.set)
    fibers.run()
    assert seen == [(True, 2), (False, 3)]


def test_fibers_that_wait_for_nothing_are_let_go_of() -> None:
    """The world ends, and no thread stays behind."""
    fibers, seen = Fibers(1), []
    event = FiberThreading(fibers).Event()

    def forgotten() -> None:
        try:
            event.wait()
        finally:
            seen.append("let go")

    fibers.start(forgotten)
    fibers.run()
    assert seen == ["let go"]
