"""Many texts, embedded in as few requests as the limits allow; each request is a call like any other.

texts ─▶ distinct ─▶ packs ─▶ workers side by side: next pack ─▶ call ─▶ its vectors, or its halves, or a bad input

Workers share a `Work`. When one meets an error that is not an input's own, none begins another pack; those under way
come home, since they are paid, and the error carries what was answered.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Sequence
from typing import Final

import msgspec

from .._policy.packing import PackLimits, pack
from .._policy.splits import Pack, Splits
from .._text import tokens
from .._wire.embedded import Embedded
from ..embeddings import NOWHERE, BadInput, Embeddings, EmbedRequest, Vectors, place_of
from ..errors import (
    BudgetExceeded,
    CallError,
    ContentFiltered,
    ContextTooLong,
    InputRejected,
    InvalidRequest,
    LimitExceeded,
    NotFound,
    PenstockError,
    RequestTooLarge,
    UnsupportedParameter,
)
from ..types import Response, Usage
from .accounting import Order
from .call import call
from .effects import Flow, Parallel
from .texts import OnBadInput
from .trail import Trail

MARK_TOKENS_MOST: Final = 4
"""What a tokenizer may put around each text by itself: marks of its beginning and its end."""

_OF_THE_REQUEST: Final = (NotFound, UnsupportedParameter)
_OF_AN_INPUT: Final = (InvalidRequest, ContextTooLong, RequestTooLarge, ContentFiltered, LimitExceeded)


class Work:
    """The texts of one `embed`, what is still to be asked of them, and what came of it.

    `workers`: how many packs may be under way at once.
    """

    def __init__(
        self, texts: Sequence[str], asked: EmbedRequest, limits: PackLimits, *, on_bad_input: OnBadInput, workers: int
    ) -> None:
        numbers: dict[str, int] = {}
        self._of_input = array("q", (numbers.setdefault(text, len(numbers)) for text in texts))
        self._texts = list(numbers)
        self._tokens = array("q", map(tokens.estimate, self._texts))
        self._asked = asked
        self._skips = on_bad_input == "skip"
        packing = pack(self._tokens, limits)
        # An estimate may be too high, so what seems too long goes alone, where it harms nobody: the provider decides.
        packs = (*packing.packs, *((number,) for number in packing.oversized))
        self._splits = Splits(packs, self._tokens)
        self.workers = min(workers, len(packs))
        self._places = array("q", [NOWHERE]) * len(self._texts)
        self._blocks: list[array[float]] = []
        self._size = 0
        self._bad: dict[int, CallError | LimitExceeded] = {}
        self._failure: PenstockError | None = None
        self._under_way = 0
        self._sent = 0
        self._served_model: str | None = None

    def next(self) -> tuple[Pack, EmbedRequest, int] | None:
        """Return what a worker asks next, with the number of its request; None when it may end."""
        if self._failure is not None:
            return None
        found = self._splits.next()
        if found is None:
            return None
        self._under_way += 1
        self._sent += 1
        texts = tuple([self._texts[number] for number in found.numbers])
        most = sum(len(text) if text.isascii() else len(text.encode("utf-8", "replace")) for text in texts)
        request = msgspec.structs.replace(
            self._asked,
            texts=texts,
            input_tokens=found.tokens,
            most_tokens=most + MARK_TOKENS_MOST * len(texts),
        )
        return found, request, self._sent

    def answered(self, found: Pack, embedded: Embedded) -> None:
        """Keep the vectors of a pack."""
        self._under_way -= 1
        self._splits.accepted(found)
        self._size = self._size or embedded.size
        self._served_model = self._served_model or embedded.served_model
        for row, number in enumerate(found.numbers):
            self._places[number] = place_of(len(self._blocks), row)
        self._blocks.append(embedded.floats)

    def failed(self, found: Pack, error: PenstockError) -> bool:
        """Take in how a pack failed, and say whether its worker goes on."""
        self._under_way -= 1
        if isinstance(error, BudgetExceeded) and self._under_way:
            self._splits.again(found)  # those under way hold more than they will cost; they go on when that is known
            return False
        if isinstance(error, BudgetExceeded) and len(found) > 1 and error.needed_nano and not error.held_nano:
            self._splits.halve(found)  # a request holds several times what it costs, and a smaller one may fit
            return True
        if not isinstance(error, _OF_AN_INPUT) or isinstance(error, _OF_THE_REQUEST):
            self._fail(error)
            return True
        verdict = self._splits.rejected(found)
        if verdict == "hopeless":
            self._fail(error)
        elif verdict == "bad":
            self._bad[found.numbers[0]] = error
            if not self._skips:
                self._fail(self._named(found.numbers[0], error))
        return True

    def dropped(self) -> None:
        """A pack was cut: nobody waits for it any more."""
        self._under_way -= 1

    def _fail(self, error: PenstockError) -> None:
        if self._failure is None:
            self._failure = error

    def _named(self, number: int, error: PenstockError) -> PenstockError:
        if not isinstance(error, CallError):
            return error
        index = self._of_input.index(number)
        what = f"the text at index {index} cannot be embedded: {error.message}; what was answered is in `embedded`"
        return InputRejected(what, index=index, cause=error)

    def check(self, order: Order, trail: Trail) -> None:
        """Raises: the PenstockError that stopped the work, with what was answered in `embedded`."""
        if self._failure is not None:
            self._failure.embedded = self.so_far(order, trail)
            raise self._failure

    def so_far(self, order: Order, trail: Trail) -> Embeddings:
        """Return the vectors in the order of the texts, beside what they took."""
        lane = order.lanes[0]
        return Embeddings(
            provider=lane.provider.name,
            model=lane.model,
            vectors=Vectors(self._size, self._blocks, map(self._places.__getitem__, self._of_input)),
            usage=sum((each.usage for each in trail.attempts if each.usage is not None), Usage()),
            cost_nano=trail.cost_nano,
            served_model=self._served_model,
            requests=sum(attempt.sent for attempt in trail.attempts),
            attempts=tuple(trail.attempts),
            errors=tuple(self._errors()),
            latency_s=trail.ended - order.started,
            tags=order.tags,
        )

    def _errors(self) -> Iterator[BadInput]:
        if not self._bad:
            return
        for index, number in enumerate(self._of_input):
            error = self._bad.get(number)
            if error is not None:
                status = error.status if isinstance(error, CallError) else None
                yield BadInput(index=index, code=error.code, message=error.message, status=status)


def embed(order: Order, trail: Trail, work: Work) -> Flow[Response]:
    """Embed the texts of `work`, which then has their vectors; what is returned is an answer without words.

    Raises: InputRejected, unless bad inputs are skipped; the PenstockError that stopped it. Both carry `embedded`.
    """
    if work.workers == 1:
        yield from _worker(order, trail, work)
    else:
        yield Parallel(tuple([_worker(order, trail, work) for _ in range(work.workers)]))
    work.check(order, trail)
    lane = order.lanes[0]
    return Response(provider=lane.provider.name, model=lane.model)


def _worker(order: Order, trail: Trail, work: Work) -> Flow[None]:
    """Ask one pack after the other until there is none left."""
    goes_on = True
    while goes_on and (found := work.next()) is not None:
        goes_on = yield from _ask(order, trail, work, *found)


def _ask(order: Order, trail: Trail, work: Work, found: Pack, request: EmbedRequest, number: int) -> Flow[bool]:
    """Make the call for one pack, and say whether to go on."""
    key = order.idempotency_key
    own = msgspec.structs.replace(order, request=request, idempotency_key=f"{key}-{number}" if key else "")
    mine = Trail(own)
    try:
        yield from call(own, mine)
    except PenstockError as error:
        return work.failed(found, error)
    except BaseException:
        work.dropped()
        raise
    else:
        assert mine.last is not None
        assert isinstance(mine.last.reply, Embedded)
        work.answered(found, mine.last.reply)
        return True
    finally:
        trail.attempts += mine.attempts
        trail.ended = max(trail.ended, mine.ended)
