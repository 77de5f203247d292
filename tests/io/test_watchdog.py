"""One timer for all long waits: it ends those that are late and touches no other."""

from __future__ import annotations

import asyncio
import time

import pytest

from penstock._flow.effects import Expired
from penstock._io import watchdog
from penstock._io.watchdog import Watchdog


async def answer(dog: Watchdog, after_s: float, within_s: float | None) -> str:
    with dog.watch(within_s):
        await asyncio.sleep(after_s)
        return "answer"


@pytest.fixture(params=["exact", "ticking"], autouse=True)
def both_ways(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every claim holds with a timer of its own and with the common one."""
    if request.param == "ticking":
        monkeypatch.setattr(watchdog, "NEAR_S", 0.0)
        monkeypatch.setattr(watchdog, "TICK_S", 0.02)


def test_a_late_wait_ends_and_the_others_go_on() -> None:
    """Only the wait whose end has passed is ended, and nothing is left behind."""

    async def main() -> None:
        dog = Watchdog(asyncio.get_running_loop())
        now = time.monotonic()
        late, early = await asyncio.gather(answer(dog, 60.0, 0.1), answer(dog, 0.3, 60.0), return_exceptions=True)
        assert isinstance(late, Expired)
        assert early == "answer"
        assert 0.1 <= time.monotonic() - now < 20.0
        assert not dog.watches

    asyncio.run(main())


def test_a_cancel_from_outside_stays_a_cancel() -> None:
    """The watchdog claims no cancellation that is not its own."""

    async def main() -> None:
        dog = Watchdog(asyncio.get_running_loop())
        task = asyncio.create_task(answer(dog, 5.0, 3.0))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())


def test_a_cancel_that_comes_with_the_end_stays_a_cancel() -> None:
    """Who was cancelled wants to stop, not to be told of the time."""

    async def main() -> None:
        dog = Watchdog(asyncio.get_running_loop())
        watch = dog.watch(1.0)

        async def both() -> None:
            with watch:
                asyncio.get_running_loop().call_soon(watch.end)
                asyncio.get_running_loop().call_soon(twice.cancel)
                await asyncio.sleep(5.0)

        twice = asyncio.create_task(both())
        with pytest.raises(asyncio.CancelledError):
            await twice

    asyncio.run(main())


def test_no_end_is_no_watch() -> None:
    """Nothing is counted and nothing ends."""

    async def main() -> None:
        dog = Watchdog(asyncio.get_running_loop())
        assert await answer(dog, 0.0, None) == "answer"
        assert not dog.watches

    asyncio.run(main())
