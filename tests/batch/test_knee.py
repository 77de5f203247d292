"""A server that tells no limit and is slower with more calls than it can work on, until it sends them away."""

from __future__ import annotations

import asyncio
import json
import math
from pathlib import Path

import pytest

from penstock import AsyncClient
from penstock._io.http import Target
from penstock._wire.protocol import Outbound
from penstock.batch import Batch, BatchReport
from tests.batch.model import Model, Scenario, asked, cases
from tests.batch.virtual import Answer, VirtualClock, run

KNEE, FULL = 16, 48
STEP_S = 0.2


class Busy(Model):
    """Works on `KNEE` calls at full speed, shares that speed among more, and answers 529 beyond `FULL` of them.

    Between two instants it has half of it.
    """

    halved = (math.inf, math.inf)

    def _strength(self) -> float:
        begin, end = self.halved
        return 0.5 if begin <= self._loop.time() < end else 1.0

    async def send(self, target: Target, outbound: Outbound, until: float, *, stream: bool) -> Answer:
        """Work on it, or refuse it."""
        number, case = self._case(outbound)
        self.calls += 1
        if self.in_flight >= FULL * self._strength():
            self.rejected += 1
            await asyncio.sleep(0.05)
            error = {"error": {"message": "busy", "type": "overloaded_error"}}
            return Answer(529, {}, json.dumps(error).encode())
        self.in_flight += 1
        left_s = case.latency_s
        while left_s > 1e-9:
            speed = min(1.0, KNEE * self._strength() / self.in_flight)
            took_s = min(STEP_S, left_s / speed)
            await asyncio.sleep(took_s)
            left_s -= took_s * speed
        self.in_flight -= 1
        self.answered[number] += 1
        return Answer(200, {}, self._body(case))


def play(folder: Path, seed: int, halved: tuple[float, float], rows: int) -> tuple[BatchReport, Busy, float]:
    """Run a job; also how long it takes at best."""
    scenario = Scenario(name="knee", headers=False, retry_after=False)
    given = cases(scenario, seed, rows)

    async def main(loop: asyncio.AbstractEventLoop) -> tuple[BatchReport, Busy, float]:
        model = Busy(scenario, given, loop)
        model.halved = halved
        clock = VirtualClock(loop, seed)
        async with AsyncClient(transport=model, keys={"openai": "k"}, config=False, env={}, clock=clock) as client:
            asks = [asked(given, number) for number in range(rows)]
            report = await Batch(asks, folder / "out.jsonl", client=client, models=["openai:gpt-4.1-mini"]).run()
        work_s = sum(case.latency_s for case in given) / KNEE
        begin, end = halved
        if work_s <= begin:
            return report, model, work_s
        return report, model, min(begin + 2 * (work_s - begin), work_s + (end - begin) / 2)

    return run(main)


def hold(report: BatchReport, model: Busy, best_s: float) -> None:
    """Every row is answered, few are refused, and the server is kept busy."""
    rows = len(model.rows)
    assert (report.answered, report.failed, report.stopped) == (rows, 0, None)
    assert model.rejected <= 0.06 * rows
    assert report.elapsed_s <= 1.08 * best_s


@pytest.mark.prove(22)
def test_overload_teaches_how_many_calls_a_server_can_work_on(tmp_path: Path) -> None:
    """Without it each row is sent away some times, and some for good."""
    hold(*play(tmp_path, 1, (math.inf, math.inf), 600))


@pytest.mark.slow
@pytest.mark.prove(22)
@pytest.mark.parametrize("seed", [1, 2, 3, 4, 5])
@pytest.mark.parametrize("halved", [(math.inf, math.inf), (60.0, math.inf), (60.0, 120.0)])
def test_a_server_that_loses_half_its_strength_is_asked_less_until_it_has_it_again(
    tmp_path: Path, seed: int, halved: tuple[float, float]
) -> None:
    """At no time is there a storm."""
    hold(*play(tmp_path, seed, halved, 1500))
