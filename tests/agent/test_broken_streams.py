"""A step whose stream broke after something was shown is asked again, as the retry policy allows."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from penstock import ErrorPolicy, RetryPolicy
from penstock.errors import StreamInterrupted
from penstock.sim import SimServer
from tests.agent.scripts import COLOURS, MODELS, billed, calls, run, says

ANSWER = "The disk of db1 is full to 95 %: delete the old logs, then look for what writes them."
AT_ONCE = RetryPolicy(base_s=0.0)
TASK = "How full is the disk of db1?"


def breaks(**match: Any) -> dict[str, Any]:
    """A stream that breaks after some words."""
    return {"match": {"stream": True, **match}, "fault": {"kind": "reset", "when": "mid_stream", "after_chunks": 4}}


def play(sim: SimServer, breaking: list[dict[str, Any]], *turns: dict[str, Any]) -> None:
    """Have streams break, and the others say these turns."""
    sim.reset()
    rules = [*breaking, *({"times": 1, "fault": {"kind": "say", **turn}} for turn in turns)]
    sim.play(msgspec.json.encode({"rule": rules}).decode())


@pytest.mark.parametrize("colour", COLOURS)
@pytest.mark.parametrize("model", MODELS)
def test_a_step_whose_stream_broke_is_asked_again(sim: SimServer, model: str, colour: str) -> None:
    """The reader is told that what it saw is void; nothing of it is in the transcript, and both costs are counted."""
    play(sim, [breaks(nth=2)], calls(("disk_usage", {"host": "db1"})), says(ANSWER))
    outcome = run(sim, colour, TASK, model=model, stream=True, client={"retry": AT_ONCE}, max_steps=2)
    assert outcome.ended.answer == ANSWER
    assert outcome.ended.steps == 2
    kinds = outcome.kinds()
    again = kinds.index("repeated")
    assert kinds[again - 1 :] == ["text", "repeated", "text", "answer"]
    told = next(event for event in outcome.events if event.kind == "repeated")
    assert told.step == 2
    assert "void" in told.text
    assert len(outcome.ended.repeated) == 1
    assert [message.role for message in outcome.ended.transcript.messages] == ["user", "assistant", "tool", "assistant"]
    assert outcome.totals.attempts == 3
    assert outcome.ended.cost_nano == outcome.totals.cost_nano
    assert outcome.ended.usage == outcome.totals.usage
    assert billed(sim) > 0


@pytest.mark.parametrize("colour", COLOURS)
@pytest.mark.parametrize(
    ("retry", "on_error", "attempts"),
    [
        (RetryPolicy(base_s=0.0), None, 2),
        (RetryPolicy(base_s=0.0, unknown_outcomes=3, attempts=4), None, 4),
        (RetryPolicy(base_s=0.0, unknown_outcomes=0), None, 1),
        (RetryPolicy(attempts=1), None, 1),
        (RetryPolicy(base_s=0.0), ErrorPolicy({"outcome_unknown": "fail"}), 1),
    ],
    ids=["default", "patient", "nothing paid twice", "retries are off", "by the error policy"],
)
def test_a_stream_that_breaks_again_and_again_is_bounded(
    sim: SimServer, retry: RetryPolicy, on_error: ErrorPolicy | None, attempts: int, colour: str
) -> None:
    """By attempts, by what may be paid twice, and by the error policy; the error says why, and has what was done."""
    play(sim, [breaks()])
    outcome = run(sim, colour, TASK, stream=True, client={"retry": retry}, on_error=on_error)
    assert isinstance(outcome.error, StreamInterrupted)
    assert outcome.error.gave_up
    assert outcome.totals.attempts == attempts
    assert outcome.ended.stopped == "failed"
    assert len(outcome.ended.repeated) == attempts - 1
    assert outcome.ended.cost_nano == outcome.totals.cost_nano


@pytest.mark.parametrize("colour", COLOURS)
def test_a_broken_stream_is_not_asked_again_beyond_the_budget(sim: SimServer, colour: str) -> None:
    """What it cost counts, so that the run ends with its reason and no second bill."""
    play(sim, [breaks()])
    outcome = run(sim, colour, TASK, stream=True, client={"retry": AT_ONCE}, max_total_tokens=5)
    assert (outcome.ended.stopped, outcome.ended.answer) == ("tokens", None)
    assert outcome.totals.attempts == 1


@pytest.mark.parametrize("colour", COLOURS)
def test_time_that_is_over_in_a_stream_ends_the_run_with_its_reason(sim: SimServer, colour: str) -> None:
    """Though the stream was cut: it is a limit that was met, and no failure."""
    sim.reset()
    sim.play('[[rule]]\nfault = { kind = "stall", when = "mid_stream", after_chunks = 4 }')
    outcome = run(sim, colour, TASK, stream=True, max_seconds=0.2)
    assert outcome.error is None
    assert outcome.ended.stopped == "seconds"
