"""Requests beside calls, as to files and batches: their effects, and the one way in which they are repeated.

    effect    answer              may raise
    Send      Head                ConnectionFailed OutcomeUnknown Expired
    Read      bytes               OutcomeUnknown Expired
    Sleep     None
    Clock     float (now)
    Judge     Retry or GiveUp
    Put       Head                as Send; to an address of its own, without the lane's key
    Keep      None                OutputError

An errand is settled by no one: it holds no money and takes no turn. What it may do twice it does again as the retry
policy says; what it may not, a create, is made once, and its caller finds out what came of it.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import Any, Final, TypeVar

import msgspec

from .._policy.retry import GiveUp, Retry
from .._wire.classify import classify
from .._wire.protocol import Outbound
from ..errors import CallError, OutcomeUnknown, PenstockError, RateLimited, TotalTimeout
from .effects import Expired, Head, Lane, Read, Send, Sleep

T = TypeVar("T")

ANSWER_S: Final = 60.0
"""Within this time an answer that carries no file has to come."""

FILE_S: Final = 3600.0
"""Within this time a file has to be sent or received, which is 0.6 Mbit/s for the largest."""

IDLE_S: Final = 60.0
"""A download that is silent for longer is broken."""

LIMITED_S: Final = 2.0
"""After a 429 that does not say how long to wait: this long, and twice as long each time."""


class Clock(msgspec.Struct, frozen=True):
    """Ask what time it is, in seconds of the monotonic clock."""


class Judge(msgspec.Struct, frozen=True):
    """Ask the retry policy about the attempt that just failed, the `number`th."""

    error: PenstockError
    number: int


class Put(msgspec.Struct, frozen=True):
    """Send a file to an address that the provider gave, with none of the lane's headers."""

    url: str
    outbound: Outbound
    until: float


class Keep(msgspec.Struct, frozen=True):
    """Keep a piece of a download; the `first` one begins its file anew, with the `last` it is whole."""

    data: bytes = b""
    first: bool = False
    last: bool = False


Asked = Send | Read | Sleep | Clock | Judge | Put | Keep
Errand = Generator[Asked, Any, T]


def asked(lane: Lane, outbound: Outbound) -> Errand[bytes]:
    """Get an answer, as often asked as the retry policy allows.

    Raises: CallError.
    """
    head: Head = yield from again(lambda: head_of(lane, outbound))
    return head.body


def head_of(lane: Lane, outbound: Outbound, *, redirects: bool = False) -> Errand[Head]:
    """Ask once, and return the whole answer; with `redirects` one that leads elsewhere is an answer as well.

    Raises: CallError.
    """
    began = yield Clock()
    until = began + (ANSWER_S if outbound.file is None else FILE_S)
    try:
        head: Head = yield Send(lane, outbound, until, False)
    except Expired as expired:
        raise late(lane, expired.now - began) from None
    if 200 <= head.status < 300 or (redirects and head.status in (302, 303, 307)):
        return head
    raise refused(lane, head, head.body)


def again(make: Callable[[], Errand[Any]]) -> Errand[Any]:
    """Do what may be repeated until it works or the retry policy gives it up; `make` begins it anew.

    Raises: CallError.
    """
    number = 0
    while True:
        number += 1
        try:
            return (yield from make())
        except CallError as error:
            decision: Retry | GiveUp = yield Judge(error, number)
            if isinstance(decision, GiveUp):
                error.gave_up = decision.reason if error.retriable else None
                raise
            limited_s = LIMITED_S * 2.0 ** (number - 1) if isinstance(error, RateLimited) else 0.0
            yield Sleep(max(decision.after_s, limited_s if error.retry_after_s is None else 0.0))


def download(lane: Lane, outbound: Outbound) -> Errand[None]:
    """Receive a file piece by piece, from its beginning again when it breaks.

    Raises: CallError, OutputError.
    """
    yield from again(lambda: _pieces(lane, outbound))


def _pieces(lane: Lane, outbound: Outbound) -> Errand[None]:
    began = yield Clock()
    until = began + FILE_S
    try:
        head: Head = yield Send(lane, outbound, began + ANSWER_S, True)
        if not 200 <= head.status < 300:
            body = yield Read(began + ANSWER_S, whole=True)
            raise refused(lane, head, body)
        yield Keep(first=True)
        while data := (yield Read(until, IDLE_S)):
            yield Keep(data)
        yield Keep(last=True)
    except Expired as expired:
        raise late(lane, expired.now - began) from None


def refused(lane: Lane, head: Head, body: bytes) -> CallError:
    """Say what an answer means that is no success."""
    return classify(head.status, head.headers, body, provider=lane.provider, model=lane.model, wall_s=head.wall_s)


def late(lane: Lane, seconds: float) -> OutcomeUnknown:
    """Say that no answer came in time."""
    return TotalTimeout(f"no whole answer within {seconds:.1f} s", provider=lane.provider.name, model=lane.model)
