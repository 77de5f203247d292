"""What a call waits for after a race that nobody won."""

from __future__ import annotations

import contextlib

from penstock import AsyncClient, Hedge
from penstock._flow.call import call
from penstock._flow.effects import Admission, End, Parallel, Permit, Settled, Sleep
from penstock._flow.trail import Trail
from penstock._policy.breaker import Pass
from penstock._policy.retry import GiveUp, Retry
from penstock.errors import PenstockError, ServerFault

from .colours import KEYS


def test_the_wait_for_a_retry_counts_from_when_the_attempt_failed() -> None:
    """Both failed, the hedge three seconds later: of a wait of five seconds two are left."""
    client = AsyncClient(keys=KEYS, config=False, env={}, hedge=Hedge(after_s=1.0))
    order = client._order("hi", {"model": "openai:gpt-4o-mini"}, stream=False)
    trail = Trail(order)
    flow = call(order, trail)
    assert isinstance(next(flow), Permit)
    raced = flow.send(Admission(0.0, 0.0, Pass(0), Pass(0)))
    assert isinstance(raced, Parallel)
    failed = [(ServerFault("late"), Retry(5.0), 1.0), (ServerFault("later"), GiveUp("no"), 4.0)]
    trail.ended = 4.0
    waits = flow.send(tuple(End(each, True, result) for each, result in zip(raced.flows, failed, strict=True)))
    assert waits == Sleep(2.0)
    next(raced.flows[0])
    with contextlib.suppress(StopIteration):
        raced.flows[0].throw(PenstockError("over"))
        raced.flows[0].send(Settled(4.0, None))
