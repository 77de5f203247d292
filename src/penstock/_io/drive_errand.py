"""The driver of errands: performs what they ask on the running event loop, beside the calls of a client."""

from __future__ import annotations

from typing import TypeVar

import msgspec

from .._flow.effects import Head, Read, Send, Sleep
from .._flow.errands import Asked, Clock, Errand, Judge, Keep, Put
from .._policy.retry import GiveUp, Retry, RetryBudget, decide
from .._wire.protocol import Outbound
from .http import AsyncExchange, AsyncTransport, Target
from .parking import AsyncGate
from .shardlog import Download

T = TypeVar("T")


class Errands:
    """Runs errands to the provider of one lane; they share a purse for retries."""

    def __init__(self, gate: AsyncGate, transport: AsyncTransport, target: Target) -> None:
        self._gate = gate
        self._transport = transport
        self._target = target
        self._purse = RetryBudget()
        # What an errand repeats costs nothing the second time.
        self._policy = msgspec.structs.replace(gate.retry, unknown_outcomes=gate.retry.attempts)

    async def run(self, flow: Errand[T], keep: Download | None = None) -> T:
        """Run an errand to its end; `keep` takes what it downloads.

        Raises: what the errand raises; what the driver meets is thrown into it first.
        """
        errand = _Errand(self, keep)
        answer, raised = None, None
        try:
            while True:
                effect = flow.send(answer) if raised is None else flow.throw(raised)
                try:
                    raised = None
                    answer = await errand.perform(effect)
                except Exception as error:  # noqa: BLE001 - the errand decides
                    answer, raised = None, error
        except StopIteration as stop:
            result: T = stop.value
            return result
        finally:
            errand.close()

    async def send(self, outbound: Outbound, until: float, *, stream: bool, url: str = "") -> AsyncExchange:
        """Send to the lane, or to another address without the lane's headers."""
        target = Target(url, {}) if url else self._target
        if outbound.headers:  # they take the place of the lane's own, such as the type of the content
            target = Target(target.base_url, {**target.headers, **outbound.headers})
            outbound = msgspec.structs.replace(outbound, headers={})
        return await self._transport.send(target, outbound, until, stream=stream)

    def head(self, exchange: AsyncExchange, body: bytes) -> Head:
        """Stamp an answer's head with the time."""
        return self._gate.head(exchange.status, exchange.headers, body)

    def judge(self, effect: Judge) -> Retry | GiveUp:
        """Ask the retry policy."""
        clock = self._gate.clock
        return decide(
            self._policy,
            self._purse,
            error=effect.error,
            number=effect.number,
            unknowns=0,
            emitted=False,
            now=clock.now(),
            deadline=None,
            u=clock.chance(),
        )

    def now(self) -> float:
        """Seconds of the monotonic clock."""
        return self._gate.clock.now()

    async def sleep(self, seconds: float) -> None:
        """Wait, or until the client is closed."""
        await self._gate.sleep(seconds)


class _Errand:
    """One errand under way, with the answer that it reads."""

    def __init__(self, errands: Errands, keep: Download | None) -> None:
        self._errands = errands
        self._keep = keep
        self._open: AsyncExchange | None = None

    async def perform(self, effect: Asked) -> object:
        """Perform one effect and return its answer."""
        match effect:
            case Send() | Put():
                return await self._send(effect)
            case Read(until=until, idle_s=idle_s, whole=whole):
                assert self._open is not None
                return await (self._open.read_all(until) if whole else self._open.read(until, idle_s))
            case Sleep(seconds=seconds):
                await self._errands.sleep(seconds)
                return None
            case Clock():
                return self._errands.now()
            case Judge():
                return self._errands.judge(effect)
            case Keep():
                assert self._keep is not None
                self._keep.take(effect.data, first=effect.first, last=effect.last)
                return None

    async def _send(self, effect: Send | Put) -> Head:
        self.close()
        url, stream = ("", effect.stream) if isinstance(effect, Send) else (effect.url, False)
        self._open = sent = await self._errands.send(effect.outbound, effect.until, stream=stream, url=url)
        return self._errands.head(sent, b"" if stream else await sent.read_all(effect.until))

    def close(self) -> None:
        """Give the connection back."""
        if self._open is not None:
            self._open.close()
            self._open = None
