"""One timer for all long waits: it ends those that are late and touches no other."""

from __future__ import annotations

import asyncio
import time

import pytest

from penstock._flow.effects import Expired
from penstock._io import watchdog
from penstock._io.watchdog import Watchdog


@pytest.fixture(params=["exact", "ticking"], autouse=True)
def both_ways(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every claim holds with a timer of its own and with the common one."""
    if request.param == "ticking":
        monkeypatch.setattr(watchdog, "NEAR_S", 0.0)
        monkeypatch.setattr(watchdog, "TICK_S", 0.02)


def test_a_late_wait_ends_and_the_others_go_on() -> None:
    """Only the wait whose end has passed is ended, and nothing is left behind."""

    async def main() -> None:
        dog = Watchdog()
        now = time.monotonic()

        async def answer(after_s: float) -> str:
            await asyncio.sleep(after_s)
            return "answer"

        late, early = await asyncio.gather(
            dog.wait(answer(5.0), now + 0.1), dog.wait(answer(0.3), now + 5.0), return_exceptions=True
        )
        assert isinstance(late, Expired)
        assert early == "answer"
        assert 0.1 <= time.monotonic() - now < 2.0
        assert not dog._waits
        assert not dog._late

    asyncio.run(main())


def test_a_cancel_from_outside_stays_a_cancel() -> None:
    """The watchdog claims no cancellation that is not its own."""

    async def main() -> None:
        dog = Watchdog()
        task = asyncio.create_task(dog.wait(asyncio.sleep(5.0), time.monotonic() + 3.0))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())


def test_an_end_in_the_past_starts_nothing() -> None:
    """The coroutine is closed unstarted, without a warning."""

    async def main() -> None:
        with pytest.raises(Expired):
            await Watchdog().wait(asyncio.sleep(0), time.monotonic() - 1.0)

    asyncio.run(main())
