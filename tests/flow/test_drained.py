"""A call that is drained: its attempt under way ends as it may, and no other begins."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from penstock import AsyncClient, RetryPolicy
from penstock._io.http import Target
from penstock._wire.protocol import Outbound
from penstock.testing import AsyncScriptedTransport, Scripted

from .colours import KEYS, openai_error, openai_reply

WAIT_S = 30.0
"""Far less than the backoff."""


class Held(AsyncScriptedTransport):
    """Answers only once it is let go."""

    def __init__(self, *answers: Scripted) -> None:
        super().__init__(answers)
        self.arrived = asyncio.Event()
        self.go = asyncio.Event()

    async def send(self, target: Target, outbound: Outbound, until: float, *, stream: bool) -> Any:
        self.arrived.set()
        await self.go.wait()
        return await super().send(target, outbound, until, stream=stream)


async def drained(*answers: Scripted) -> tuple[Any, Held, AsyncClient, Any]:
    """Drain a call while its first attempt is at the provider; return how it ended."""
    transport = Held(*answers)
    slow = RetryPolicy(base_s=600, cap_s=600)
    client = AsyncClient(transport=transport, keys=KEYS, config=False, env={}, retry=slow)
    run = client._begin("hello", model="openai:gpt-4o-mini")
    task = asyncio.create_task(run.finish())
    await transport.arrived.wait()
    assert run.under_way
    run.drained = True
    transport.go.set()
    async with asyncio.timeout(WAIT_S):
        (ended,) = await asyncio.gather(task, return_exceptions=True)
    return ended, transport, client, run


@pytest.mark.parametrize("status", [429, 503])
def test_a_failed_attempt_of_a_drained_call_is_its_last(status: int) -> None:
    """Whether it would wait for the lane or for a backoff: it ends cancelled, settled and counted."""

    async def main() -> None:
        failed = openai_error(429, **{"retry-after": "0"}) if status == 429 else openai_error(status)
        ended, transport, client, run = await drained(failed, openai_reply("too late"))
        assert isinstance(ended, asyncio.CancelledError)
        assert len(transport.sent) == 1
        assert not run.under_way
        assert [attempt.sent for attempt in run.trail.attempts if attempt.sent] == [True]
        assert client.usage().attempts == 1
        assert all(lane.limiter.in_flight == lane.limiter.queued == 0 for lane in client.lanes())

    asyncio.run(main())


def test_an_answer_to_a_drained_call_is_its_answer() -> None:
    """What is paid comes home."""

    async def main() -> None:
        ended, *_ = await drained(openai_reply("paid"))
        assert ended.text == "paid"

    asyncio.run(main())
