"""How long an attempt of a run may take where the user set no timeouts: far longer than nearly all answers took."""

from __future__ import annotations

from typing import Final

import msgspec

from .._policy.hedge import Hedge, Latencies
from .._policy.timeouts import Timeouts
from ..client import AsyncClient
from ..types import Attempt

PERCENT: Final = 99.5
TIMES: Final = 5.0
"""An attempt is given up after so many times what nearly all answers took: it was perhaps paid, so it is given time."""

LEAST_S: Final = 60.0
LEARNED_EVERY: Final = 50
"""Answers between two looks at the percentile."""


class Patience:
    """The timeouts of each model of a job, as its answers teach them."""

    def __init__(self, client: AsyncClient) -> None:
        self._client = client
        self._given = client._timeouts
        self._learns = client._timeouts == Timeouts()
        self._took_s = 0.0
        self._count = 0
        self._seen: dict[str, Latencies] = {}
        self._answers: dict[str, int] = {}
        self._timeouts: dict[str, Timeouts] = {}

    def see(self, model: str, attempts: tuple[Attempt, ...]) -> None:
        """Note how long the answer of a model took."""
        if not attempts or attempts[-1].latency_s <= 0:
            return
        self._took_s += attempts[-1].latency_s
        self._count += 1
        if not self._learns:
            return
        seen = self._seen.get(model)
        if seen is None:
            seen = self._seen[model] = Latencies()
        seen.add(attempts[-1].latency_s)
        self._answers[model] = answers = self._answers.get(model, 0) + 1
        if answers % LEARNED_EVERY == 0 and (slow_s := seen.percentile(PERCENT)) is not None:
            most_s = min(self._given.total_s or LEAST_S, max(LEAST_S, TIMES * slow_s))
            self._timeouts[model] = msgspec.structs.replace(self._given, total_s=most_s)

    @property
    def mean_s(self) -> float:
        """How long an answer took on the average, 0 before the first one."""
        return self._took_s / self._count if self._count else 0.0

    def timeouts(self, model: str) -> Timeouts | None:
        """Return what was learned, None for the client's own."""
        return self._timeouts.get(model)

    def keep(self, model: str, hedge: Hedge) -> None:
        """Have the client remember how long answers take, from now on, where a hedge needs it later."""
        if hedge.after_percentile is not None:
            self._client._gate.patience(self._client._lane(model), hedge.after_percentile, False)
