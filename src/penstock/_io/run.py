"""One call under way: what both drivers share. Nothing here waits."""

from __future__ import annotations

from typing import Any, Generic, Protocol, TypeVar

from .._flow.accounting import Order
from .._flow.call import call
from .._flow.effects import Settle, Settled
from .._flow.trail import Trail
from ..types import Response
from .gate import Gate
from .http import Target

GateT = TypeVar("GateT", bound=Gate)
TransportT = TypeVar("TransportT")


class Closable(Protocol):
    """An exchange, seen from where it only has to be closed."""

    def close(self) -> None:
        """Give the connection back or drop it; never waits."""
        ...


class Abandoned(BaseException):
    """Thrown into a flow whose stream nobody reads any more, so that it settles what was used so far."""


class Run(Generic[GateT, TransportT]):
    """A flow with the gate and the transport that serve it. Once `ended`, `response` has the answer if there is one.

    `under_way`: an attempt of it is at the provider.
    """

    under_way = False

    def __init__(self, order: Order, gate: GateT, transport: TransportT, targets: dict[str, Target]) -> None:
        self.trail = Trail(order)
        self.ended = False
        self.response: Response | None = None
        self._order = order
        self._flow = call(order, self.trail)
        self._gate = gate
        self._transport = transport
        self._targets = targets
        self._open: Closable | None = None
        self._answer: Any = None

    @property
    def partial(self) -> Response | None:
        """What came so far of an answer that did not end well."""
        return self.trail.partial()

    def abandon(self) -> None:
        """Stop here: settle what was used so far and drop the connection. A flow that failed by itself has settled."""
        if self.ended:
            return
        try:
            effect = self._flow.throw(Abandoned())
            while True:
                effect = self._flow.send(self._settle(effect) if isinstance(effect, Settle) else None)
        except (Abandoned, StopIteration):
            pass
        self._end(None)

    def _settle(self, effect: Settle) -> Settled:
        exchange, self._open = self._open, None
        self.under_way = False
        if exchange is not None:
            exchange.close()
        return self._gate.settle(effect)

    def _end(self, response: Response | None) -> None:
        self.ended = True
        self.response = response
        self._gate.finished(self._order, tuple(self.trail.attempts), ok=response is not None)
