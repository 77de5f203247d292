"""Parked attempts: woken in time, whatever their clock does."""

from __future__ import annotations

import asyncio
import time

import pytest

from penstock import AsyncClient, Client, Limits
from penstock._io.gate import Gate
from penstock.testing import AsyncScriptedTransport, ScriptedTransport

from ..flow.colours import KEYS, openai_reply


class JumpingClock:
    """The machine's time until somebody is parked; from then on the same, put back by an hour."""

    gate: Gate | None = None
    back_s = 0.0

    def now(self) -> float:
        if self.gate is not None and any(state.limiter.next_at is not None for state in self.gate.lanes()):
            self.back_s = 3600.0
        return time.monotonic() - self.back_s

    def wall(self) -> float:
        return 1.7e9

    def chance(self) -> float:
        return 0.5


@pytest.mark.prove(1)
@pytest.mark.parametrize("colour", ["sync", "async"])
def test_a_clock_that_is_put_back_keeps_nobody_parked(colour: str) -> None:
    """The tenth of a second that was left to wait is still one."""
    clock = JumpingClock()
    answers = [openai_reply(), openai_reply(), openai_reply()]
    if colour == "sync":
        sync = Client(
            transport=ScriptedTransport(answers), clock=clock, limits=Limits(rpm=600), keys=KEYS, config=False
        )
        clock.gate = sync._gate
        for _ in answers:
            sync.complete("hi", model="openai:gpt-4o-mini")
    else:

        async def main() -> None:
            transport = AsyncScriptedTransport(answers)
            client = AsyncClient(transport=transport, clock=clock, limits=Limits(rpm=600), keys=KEYS, config=False)
            clock.gate = client._gate
            for _ in answers:
                await asyncio.wait_for(client.complete("hi", model="openai:gpt-4o-mini"), 10)

        asyncio.run(main())
    assert clock.back_s
