"""The sync driver: performs a flow's effects, blocking the calling thread."""

from __future__ import annotations

import threading
from typing import Any

from .._flow.effects import (
    Emit,
    End,
    Follow,
    Head,
    Lookup,
    Parallel,
    Permit,
    Read,
    Reserve,
    Send,
    Settle,
    Share,
    Sleep,
    SpendRetry,
)
from ..types import Chunk, Response
from .http import SyncTransport
from .parking import ThreadGate
from .run import Run


class SyncRun(Run[ThreadGate, SyncTransport]):
    """One call under way in this thread."""

    def step(self) -> list[Chunk] | None:
        """Perform effects until the flow shows chunks; None means that it ended and `response` is set.

        Raises: PenstockError; KeyboardInterrupt and the like after the attempt was settled.
        """
        flow, gate = self._flow, self._gate
        answer, raised = self._answer, None
        try:
            while True:
                effect = flow.send(answer) if raised is None else flow.throw(raised)
                if isinstance(effect, Emit):
                    self._answer = gate.clock.now()
                    return effect.chunks
                try:
                    raised = None
                    if isinstance(effect, Read):
                        answer = self._read(effect)
                    elif isinstance(effect, Settle):
                        answer = self._settle(effect)
                    elif isinstance(effect, Permit):
                        answer = gate.enter(effect.record) or gate.park(effect.record)
                    elif isinstance(effect, Send):
                        answer = self._send(effect)
                    elif isinstance(effect, Reserve):
                        answer = gate.reserve(effect) or gate.reserve_later(effect)
                    else:
                        answer = self._wait(effect)
                except BaseException as error:  # noqa: BLE001 - the flow decides, and settles whatever it was
                    answer, raised = None, self._meant(error)
        except StopIteration as stop:
            self._end(stop.value)
            return None
        except BaseException as error:
            self._failed(error)
            raise

    def _read(self, effect: Read) -> bytes:
        exchange: Any = self._open
        data: bytes = exchange.read_all(effect.until) if effect.whole else exchange.read(effect.until, effect.idle_s)
        return data

    def _send(self, effect: Send) -> Head:
        target = self._targets[effect.lane.door]
        self._open = sent = self._transport.send(target, effect.outbound, effect.until, stream=effect.stream)
        body = b"" if effect.stream else sent.read_all(effect.until)
        return self._gate.head(sent.status, sent.headers, body)

    def _wait(self, effect: Sleep | SpendRetry | Parallel | Lookup | Follow | Share) -> Any:
        if isinstance(effect, Sleep):
            self._gate.sleep(effect.seconds)
            return None
        if isinstance(effect, SpendRetry):
            return self._gate.spend_retry(effect.lane)
        if isinstance(effect, Parallel):
            return self._race(effect)
        return self._follow(effect) if isinstance(effect, Follow) else self._consult(effect)

    def _race(self, effect: Parallel) -> tuple[End, ...]:
        from .race import OneAtATime, Race  # loaded with the first hedge or group of requests

        transport: Any = self._transport
        race = Race(effect, self._gate, transport.lines)
        lock = threading.Lock()
        runs = [self.branch(OneAtATime(flow, lock)) for flow in effect.flows]
        try:
            for run in runs:
                race.begin(run)
                if race.is_over(effect.stagger_s if run is not runs[-1] else None):
                    break
            shown = race.end()
        except BaseException:
            race.stop()
            for run in runs:
                run.abandon()
            raise
        return self._ends(shown)

    def _follow(self, effect: Follow) -> Any:
        answers = self._gate.answers
        assert answers is not None
        news, place, seconds = answers.look(effect)
        while news is None:
            place.sleep(seconds)
            news, place, seconds = answers.look(effect)
        return news

    def finish(self) -> Response:
        """Run to the end and return the answer."""
        while self.step() is not None:
            pass
        assert self.response is not None
        return self.response
