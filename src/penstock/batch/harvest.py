"""Results of a batch to rows: each row of a shard has one end, whatever lines came and in which order."""

from __future__ import annotations

from array import array
from collections.abc import Awaitable, Callable, Iterator, Sequence
from typing import Any, Final, NamedTuple

from .._flow.effects import Lane
from .._flow.extracted import Extracted
from .._flow.providerbatch import Desk, prefix
from .._io.shardlog import Download, Shard, ShardRow
from .._policy.prices import Prices
from .._wire.batchfile import Problem, Result, Seen, result_of, unsound
from ..errors import CallError, PenstockError, ServerFault
from ..types import Attempt, Response, Usage


class Ended(NamedTuple):
    """How a row of a shard ended; `executed` None: nobody knows whether it was."""

    row: ShardRow
    end: Response | Extracted[Any] | PenstockError
    executed: bool | None


class Tally(NamedTuple):
    """How the rows of a shard ended, and what they cost in nano-dollars; None when that is not known of all."""

    answered: int = 0
    failed: int = 0
    missing: int = 0
    cost_nano: int | None = 0

    def plus(self, ended: Ended, *, counted: bool = True) -> Tally:
        """Add a row; one whose cost was counted before is not `counted` again."""
        cost = self.cost_nano
        if counted:
            cost = None if cost is None or ended.end.cost_nano is None else cost + ended.end.cost_nano
        if not isinstance(ended.end, PenstockError):
            return self._replace(answered=self.answered + 1, cost_nano=cost)
        if ended.executed:
            return self._replace(failed=self.failed + 1, cost_nano=cost)
        return self._replace(missing=self.missing + 1, cost_nano=cost)


Settle = Callable[[Shard, Iterator[Ended]], Awaitable[Tally]]
"""Takes the rows of a shard as they ended, and writes them down."""

NOT_EXECUTED: Final = "it was not executed and costs nothing; it can be asked again"


class Found(NamedTuple):
    """Where in a download the lines of rows are, by their numbers: the place plus one, 0 for none.

    `rows` have a line; `strange` lines are torn, or of no row of the shard, or the second of one.
    """

    places: array[int]
    rows: int
    strange: int


def read(keep: Download, desk: Desk, tag: str, rows: int) -> Found:
    """Look through the lines of results. Of a row that has several the first one counts.

    Raises: OutputError.
    """
    start = prefix(tag)
    places = array("q", bytes(8 * rows))
    count = strange = 0
    for place, line in keep.lines():
        result = result_of(desk.kind, line, desk.lane.provider, desk.lane.model)
        number = None if result is None else _number(result.custom_id, start, rows)
        if number is None or places[number]:
            strange += 1
        else:
            places[number] = place + 1
            count += 1
    return Found(places, count, strange)


def _number(custom_id: str, start: str, rows: int) -> int | None:
    digits = custom_id.removeprefix(start)
    if not custom_id.startswith(start) or not digits.isascii() or not digits.isdigit() or len(digits) > 9:
        return None
    return int(digits) if int(digits) < rows else None


def join(
    keep: Download, rows: Sequence[ShardRow], found: Found, seen: Seen, desk: Desk, prices: Prices
) -> Iterator[Ended]:
    """Yield the end of each row, in the order of the shard.

    Raises: OutputError.
    """
    lane = desk.lane
    wrong = {problem.line: problem for problem in seen.problems if problem.line is not None}
    took_s = max(0.0, seen.ended_s - seen.created_s) if seen.ended_s is not None and seen.created_s is not None else 0.0
    lines = keep.at(place - 1 if place else None for place in found.places)
    for number, (row, line) in enumerate(zip(rows, lines, strict=True)):
        result = None if line is None else result_of(desk.kind, line, lane.provider, lane.model)
        if result is not None and result.body is not None:
            end = _answer(result, result.body, lane, prices, took_s, seen.created_s)
            yield Ended(row, end, True)
        elif result is not None and result.error is not None:
            yield Ended(row, _failed(result.error, lane, 0), True)
        else:
            yield _missing(row, number, None if result is None else result.why, seen, wrong, lane)


def _answer(
    result: Result, body: bytes, lane: Lane, prices: Prices, took_s: float, wall_s: float | None
) -> Response | PenstockError:
    """Read an answer, and price it as a batch is."""
    try:
        reply = lane.wire.decode(body, lane.provider)
    except CallError as error:
        return _failed(error, lane, None)
    cost = reply.cost_nano
    if cost is None and reply.usage is not None:
        cost = prices.cost(lane.provider.owner, lane.model, reply.usage, batch=True, wall_s=wall_s)
    attempt = Attempt(
        number=1,
        provider=lane.provider.name,
        model=lane.model,
        outcome="ok",
        latency_s=took_s,
        status=200,
        request_id=result.request_id,
        usage=reply.usage,
        cost_nano=cost,
    )
    return Response(
        provider=lane.provider.name,
        model=lane.model,
        choices=reply.choices,
        usage=reply.usage or Usage(),
        cost_nano=cost,
        served_model=reply.served_model,
        id=reply.id,
        request_id=result.request_id,
        latency_s=took_s,
        attempts=(attempt,),
        body=body,
    )


def _failed(error: CallError, lane: Lane, cost_nano: int | None) -> CallError:
    """Give an error what a row's result says of it."""
    error.provider = error.provider or lane.provider.name
    error.model = error.model or lane.model
    error.cost_nano = cost_nano
    attempt = Attempt(
        number=1,
        provider=lane.provider.name,
        model=lane.model,
        outcome=error.code,
        status=error.status,
        request_id=error.request_id,
        cost_nano=cost_nano,
    )
    error.attempts = (attempt,)
    return error


def _missing(row: ShardRow, number: int, why: str | None, seen: Seen, wrong: dict[int, Problem], lane: Lane) -> Ended:
    """Say of a row without a result what is known of it."""
    bad = unsound(wrong, number + 1, lane.provider, lane.model)
    if bad is not None:
        return Ended(row, _failed(bad, lane, 0), True)
    if why is None and seen.state == "completed":
        words = f"batch {seen.id} completed without a result of this row; it may have been paid"
        return Ended(row, _failed(ServerFault(words, provider_code="missing"), lane, None), None)
    if why is None:
        why = f"batch {seen.id} ended as {seen.word}"
        if seen.problems:
            why += f" ({seen.problems[0].message or seen.problems[0].code})"
    error = ServerFault(f"{why}; {NOT_EXECUTED}", provider_code="not_executed")
    return Ended(row, _failed(error, lane, 0), False)
