"""One call under way: what both drivers share. Nothing here waits."""

from __future__ import annotations

import copy
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any, Generic, Protocol, Self, TypeVar

from .._flow.accounting import Order
from .._flow.call import behind_cache, call
from .._flow.continuation import continued
from .._flow.effects import Abandoned, Effect, Emit, End, Flow, Lookup, Settle, Settled, Share
from .._flow.trail import Trail
from ..embeddings import EmbedRequest, TextsRequest
from ..errors import ClientClosed
from ..events import Operation
from ..types import Chunk, Response
from .gate import CLOSED, Gate
from .http import Target
from .loglines import attempts_logged, calls_logged

if TYPE_CHECKING:
    from .._flow.cascade import ExtractCascade
    from .._flow.extract import Extraction  # loaded with the first extraction
    from .._flow.extracted import Extracted
    from .hub import Hub  # loaded with the first subscriber

GateT = TypeVar("GateT", bound=Gate)
TransportT = TypeVar("TransportT")


class Closable(Protocol):
    """An exchange, seen from where it only has to be closed."""

    def close(self) -> None:
        """Give the connection back or drop it; never waits."""
        ...


class Run(Generic[GateT, TransportT]):
    """A flow with the gate and the transport that serve it. Once `ended`, `response` has the answer if there is one.

    `under_way`: an attempt of it is at the provider.
    """

    under_way = False

    stopped = False
    error: BaseException | None = None
    call_id = ""
    operation: Operation = "complete"
    _beside = False

    def __init__(
        self,
        order: Order,
        gate: GateT,
        transport: TransportT,
        targets: dict[tuple[str, str], Target],
        make: Callable[[Order, Trail], Flow[Response]] | None = None,
        extraction: Extraction | ExtractCascade | None = None,
    ) -> None:
        self.extraction = extraction
        self.trail = Trail(order) if extraction is None else extraction.trail
        self.ended = False
        self.response: Response | None = None
        self._order = order
        self._flow = _flow(order, self.trail, make) if extraction is None else extraction.flow()
        self._gate = gate
        self._transport = transport
        self._targets = targets
        self._open: Closable | None = None
        self._answer: Any = None
        self._logged = calls_logged()
        if gate.hub is not None or self._logged:
            self._introduce(gate.hub or gate.listen())

    @property
    def partial(self) -> Response | None:
        """What came so far of an answer that did not end well."""
        return self.trail.partial()

    @property
    def extracted(self) -> Extracted[Any]:
        """What an extraction gave, once it ended well."""
        assert self.extraction is not None
        assert self.extraction.result is not None
        return self.extraction.result

    def abandon(self) -> None:
        """Stop here: settle what was used so far and drop the connection. A flow that failed by itself has settled."""
        if self.ended:
            return
        try:
            effect = self._flow.throw(Abandoned())
            while True:
                effect = self._flow.send(self._last(effect))
        except (Abandoned, StopIteration):
            pass
        self._end(None)

    def _last(self, effect: Effect) -> Any:
        """Perform what a flow still asks on its way out; nothing that waits."""
        if isinstance(effect, Settle):
            return self._settle(effect)
        return self._consult(effect) if isinstance(effect, Share) else None

    def _consult(self, effect: Lookup | Share) -> Any:
        answers = self._gate.answers
        assert answers is not None
        if isinstance(effect, Share):
            answers.share(effect)
            return None
        if self._gate.closed:
            raise ClientClosed(CLOSED)
        return answers.lookup(effect)

    def branch(self, flow: Any) -> Self:
        """Return a run of a flow (anything with `send` and `throw`) that this one performs side by side with others."""
        twin = copy.copy(self)
        twin._flow, twin._open, twin._answer, twin._beside = flow, None, None, True
        return twin

    def _ends(self, branches: list[tuple[Self, list[Chunk] | None]]) -> tuple[End, ...]:
        """Return how far branches came. The first that shows output goes on in this run; another is too late."""
        ends = []
        for branch, shown in branches:
            end = End(branch._flow)
            if shown is not None and self._open is None:
                end.emits, self._open = Emit(shown), branch._open
            else:
                branch.abandon()
                end.ended, end.result = True, branch.response
            ends.append(end)
        return tuple(ends)

    def _meant(self, error: BaseException) -> BaseException:
        """Return what an error of an effect means where somebody else ended the wait."""
        if self.stopped:
            return Abandoned()
        return self._gate.cut_off(error) if self._gate.closed else error

    def _settle(self, effect: Settle) -> Settled:
        exchange, self._open = self._open, None
        self.under_way = False
        if exchange is not None:
            exchange.close()
        settled = self._gate.settle(effect)
        hub = self._gate.hub
        if hub is not None:
            if not self.call_id:
                self._introduce(hub)
            logged = self._logged and attempts_logged()
            if hub.hears_attempts or logged:
                hub.attempt(self._order, self.call_id, self.operation, effect.record, settled, logged)
        return settled

    def _introduce(self, hub: Hub) -> None:
        order = self._order
        self.call_id = hub.call_id()
        if self.extraction is not None:
            self.operation = "extract"
        elif order.stream:
            self.operation = "stream"
        elif isinstance(order.request, TextsRequest):
            self.operation = "embed" if isinstance(order.request, EmbedRequest) else "rerank"
        if hub.hears_starts:
            hub.started(order, self.call_id, self.operation)

    def _failed(self, error: BaseException) -> None:
        """End with an error, also an interrupt between two effects, which no flow would see."""
        if self._gate.hub is not None:
            self.error = error
        self.abandon()
        self.error = None  # whose traceback has this run

    def _end(self, response: Response | None) -> None:
        self.ended = True
        self.response = response
        if self._beside:
            return
        if self.trail.notices:
            self._gate.notify(self.trail.notices)
        self._gate.finished(self._order, tuple(self.trail.attempts), ok=response is not None)
        if response is not None and response.cached:
            self._gate.saved(self._order, response)
        hub = self._gate.hub
        if hub is not None:
            if not self.call_id:
                self._introduce(hub)
            if hub.hears_ends or self._logged:
                hub.ended(self._order, self.call_id, self.operation, self.trail, response, self.error, self._logged)


def _flow(order: Order, trail: Trail, make: Callable[[Order, Trail], Flow[Response]] | None) -> Flow[Response]:
    if order.ladder is not None:
        from .._flow.cascade import cascaded  # loaded with the first cascade

        return cascaded(order, trail, partial(_flow, make=make))
    make = make or (continued if order.continuations else call)
    return behind_cache(order, trail, make)
