"""One HTTP exchange: a request out, and its answer in, whole or as a stream."""

from __future__ import annotations

import math
from typing import NoReturn

import msgspec

from .._wire.assembly import Assembly
from .._wire.classify import classify
from .._wire.protocol import Decoder
from ..errors import CallError, FirstTokenTimeout, IdleTimeout, OutcomeUnknown, StreamInterrupted, TotalTimeout
from ..types import Chunk, Request, Response, Usage
from .accounting import Order, check_window, cost_nano, learn, learn_prompt, seen
from .effects import Emit, Expired, Flow, Head, Read, Record, Send

REQUEST_ID_HEADERS = ("x-request-id", "request-id", "apim-request-id", "x-generation-id", "x-debug-trace-id")
ERROR_BODY_S = 10.0
"""How long to wait for the body of an error whose status already came."""

DRAIN_S = 0.5
"""How long to wait for the connection's own end after the stream said its last word, so that it can be used again."""


def exchange(order: Order, record: Record, request: Request) -> Flow[None]:
    """Send the request and leave the answer in `record.response`.

    Raises: CallError, StreamInterrupted once output was shown.
    """
    lane, clocks = record.lane, order.timeouts
    assert record.admission is not None
    began = record.admission.now
    deadline = math.inf if order.deadline is None else order.deadline
    limit = clocks.first_token_s if order.stream else clocks.total_s
    until = min(deadline, math.inf if limit is None else began + limit)
    check_window(order, record, request)
    outbound = lane.wire.encode(request, lane.provider, stream=order.stream)
    record.notes = outbound.notes
    if lane.provider.idempotency:
        record.idempotency_key = order.idempotency_key
        headers = outbound.headers | {lane.provider.idempotency: order.idempotency_key}
        outbound = msgspec.structs.replace(outbound, headers=headers)
    record.sent = True
    try:
        head = yield Send(lane, outbound, until, order.stream)
        _note(record, head)
        if not 200 <= head.status < 300:
            if order.stream:
                body = yield Read(min(deadline, head.now + ERROR_BODY_S), whole=True)
                record.head = head = msgspec.structs.replace(head, body=body)
            raise classify(
                head.status, head.headers, head.body, provider=lane.provider, model=lane.model, wall_s=head.wall_s
            )
        if order.stream:
            yield from _stream(order, record, head, until, deadline)
        else:
            _whole(order, record, request, head.body)
    except Expired as expired:
        _late(order, record, expired, began)
    except CallError as error:
        error.provider = error.provider or lane.provider.name
        error.model = error.model or lane.model
        error.status = error.status or record.status
        error.request_id = error.request_id or record.request_id
        raise


def _note(record: Record, head: Head) -> None:
    record.status = head.status
    headers = head.headers
    for name in REQUEST_ID_HEADERS:
        record.request_id = headers.get(name)
        if record.request_id is not None:
            break
    record.head = head


def _whole(order: Order, record: Record, request: Request, body: bytes) -> None:
    lane = record.lane
    record.reply = reply = lane.wire.decode(body, lane.provider)
    reply.check_count(request)
    record.usage = reply.usage
    if record.usage is None:
        assembly = Assembly()
        assembly.take(reply.choices)
        record.usage = seen(order, record, None, assembly)
    elif record.ticket.input_tokens and record.usage.prompt:
        learn_prompt(order, record, record.usage)
    record.cost_nano = reply.cost_nano if reply.cost_nano is not None else cost_nano(order, lane, record.usage)
    record.response = Response(
        provider=lane.provider.name,
        model=lane.model,
        choices=reply.choices,
        usage=record.usage,
        served_model=reply.served_model,
        id=reply.id,
        request_id=record.request_id,
        body=body,
    )


def _stream(order: Order, record: Record, head: Head, first_by: float, deadline: float) -> Flow[None]:
    decoder = record.lane.wire.decoder(record.lane.provider)
    assembly = Assembly()
    try:
        yield from _pieces(order, record, decoder, assembly, first_by, deadline)
    except BaseException as error:
        # Also for a cancelled or abandoned stream: what was produced so far is paid, so it must be counted.
        _book(order, record, decoder, assembly, seen(order, record, decoder.usage, assembly))
        if isinstance(error, CallError | Expired) and record.emitted:
            _interrupted(record, error)
        raise
    if decoder.usage is not None:
        learn(order, record, decoder.usage, assembly)
    _book(order, record, decoder, assembly, decoder.usage or seen(order, record, None, assembly))


def _pieces(
    order: Order, record: Record, decoder: Decoder, assembly: Assembly, first_by: float, deadline: float
) -> Flow[None]:
    held_back: list[Chunk] = []
    wait = Read(first_by, order.timeouts.idle_s)
    while True:
        try:
            data: bytes = yield wait
        except (Expired, OutcomeUnknown):
            if not decoder.complete:
                raise
            data = b""
        chunks = decoder.feed(data) if data else decoder.finish()
        if chunks:
            assembly.add(chunks)
            if record.emitted:
                yield Emit(chunks)
            elif assembly.has_output:
                # Nothing is shown before the first output, so that a failure until then can be retried unseen.
                record.emitted = True
                record.first_output_at = yield Emit(held_back + chunks)
                held_back = []
                wait = Read(deadline, order.timeouts.idle_s)
            else:
                held_back += chunks
        if decoder.failure is not None:
            raise decoder.failure
        if decoder.done:
            wait = Read(deadline, DRAIN_S)
        if not data:
            break
    if held_back:
        yield Emit(held_back)


def _book(order: Order, record: Record, decoder: Decoder, assembly: Assembly, usage: Usage) -> None:
    lane = record.lane
    record.usage = usage
    reported = None if usage.estimated else decoder.cost_nano
    record.cost_nano = reported if reported is not None else cost_nano(order, lane, usage)
    record.response = Response(
        provider=lane.provider.name,
        model=lane.model,
        choices=assembly.choices(),
        usage=usage,
        cost_nano=record.cost_nano,
        served_model=decoder.served_model,
        id=decoder.id,
        request_id=record.request_id,
    )


def _interrupted(record: Record, error: Exception) -> NoReturn:
    assert record.response is not None
    if isinstance(error, Expired):
        why = "silence on the connection (timeouts.idle_s)" if error.idle else "the deadline of the call passed"
    else:
        why = getattr(error, "message", str(error))
    raise StreamInterrupted(
        f"the stream broke after output was shown: {why}; what came is in `partial`",
        partial=record.response,
        status=record.status,
        request_id=record.request_id,
    ) from error


def _late(order: Order, record: Record, expired: Expired, began: float) -> NoReturn:
    lane = record.lane
    spent = f"{expired.now - began:.1f} s"
    cls: type[OutcomeUnknown]
    if order.deadline is not None and expired.now >= order.deadline:
        cls, why = TotalTimeout, f"no whole answer before the call's deadline; this attempt had {spent}"
    elif expired.idle:
        cls, why = IdleTimeout, f"silence for {order.timeouts.idle_s} s before any output (timeouts.idle_s)"
    elif order.stream:
        cls, why = FirstTokenTimeout, f"no output within {spent} (timeouts.first_token_s)"
    else:
        cls, why = TotalTimeout, f"no whole answer within {spent} (timeouts.total_s)"
    raise cls(
        f"{why}; the provider may have worked and billed",
        provider=lane.provider.name,
        model=lane.model,
        status=record.status,
        request_id=record.request_id,
    ) from None
