"""What a flow can ask of its driver: ten effects, and what each is answered with.

A flow yields one of these and is sent the answer, or has an exception thrown into it. It never waits by itself: the
sync and the async driver perform the same effects, so there is one logic in two colours.

    effect    answer            may raise
    Reserve   Hold              BudgetExceeded
    Permit    Admission         LimitExceeded BreakerOpen DeadlineExceeded
    Send      Head              ConnectionFailed OutcomeUnknown Expired
    Read      bytes             OutcomeUnknown Expired
    Emit      float (now)       whatever the reader of the stream throws
    Sleep     None
    Settle    Settled           never
    Lookup    News or None      ConfigError             only with a cache, as the two below
    Follow    News              DeadlineExceeded
    Share     None              never

A driver throws every BaseException into the flow and never closes it, so that `finally: yield Settle` runs, and Share.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec

from .._policy.breaker import Pass
from .._policy.budget import Hold
from .._policy.cache import Entry
from .._policy.limiter import Ticket
from .._policy.retry import GiveUp, Retry
from .._wire.protocol import Outbound, Provider, Wire
from ..errors import PenstockError
from ..types import Chunk, LimitSeen, Response, Usage

if TYPE_CHECKING:
    from .._policy.flights import Seat  # loaded with the first cache

T = TypeVar("T")


class Lane(msgspec.Struct, frozen=True, kw_only=True):
    """What shares one fate: provider, base URL, credential and model. `id` tells lanes apart and shows no secret."""

    id: str
    provider: Provider
    model: str
    wire: Wire
    base_url: str
    credential: str

    @property
    def name(self) -> str:
        """The model as users write it: provider:model."""
        return f"{self.provider.name}:{self.model}"


class Past(msgspec.Struct, frozen=True):
    """What came before an attempt in its call.

    How many attempts, how many of them ended unknown or rate limited, and what the retry that led to this one took from
    the retry budget. `alone`: the call has no other lane to go to.
    """

    attempts: int = 0
    unknowns: int = 0
    limited: int = 0
    retry_cost: int = 0
    alone: bool = True


class Record(msgspec.Struct, eq=False):
    """What is known of one attempt while it runs; the gate reads it to settle."""

    lane: Lane
    past: Past
    ticket: Ticket
    worst_nano: int | None
    hold: Hold | None = None
    admission: Admission | None = None
    sent: bool = False
    emitted: bool = False
    status: int | None = None
    request_id: str | None = None
    limits_seen: tuple[LimitSeen, ...] = ()
    first_output_at: float | None = None
    usage: Usage | None = None
    cost_nano: int | None = None
    error: BaseException | None = None
    response: Response | None = None


class Reserve(msgspec.Struct, frozen=True):
    """Hold the worst case of an attempt in every budget that it counts against."""

    record: Record
    tags: dict[str, str]


class Permit(msgspec.Struct, frozen=True):
    """Wait for a turn: the breaker must let the lane through and the limiter must have room."""

    record: Record


class Send(msgspec.Struct, frozen=True):
    """Send the request and wait for the answer until `until`: for the head of a stream, else for all of it."""

    lane: Lane
    outbound: Outbound
    until: float
    stream: bool


class Read(msgspec.Struct, frozen=True):
    """Wait for the next bytes of the answer, or for all of them (`whole`); b"" means that it ended."""

    until: float
    idle_s: float | None = None
    whole: bool = False


class Emit(msgspec.Struct, frozen=True):
    """Show chunks to whoever reads the stream; answered with the instant at which they were shown."""

    chunks: list[Chunk]


class Sleep(msgspec.Struct, frozen=True):
    """Wait."""

    seconds: float


class Settle(msgspec.Struct, frozen=True):
    """An attempt is over, however it ended: book what it used and free what it held."""

    record: Record
    deadline: float | None


class Lookup(msgspec.Struct, frozen=True):
    """Look for a stored answer, else take a seat among those who ask the same; None: follow the one who leads."""

    seat: Seat


class Follow(msgspec.Struct, frozen=True):
    """Wait until the leader has news, or until the deadline."""

    seat: Seat
    deadline: float | None


class Share(msgspec.Struct, frozen=True):
    """Tell those who follow: `chunks` as they are shown, or the end, an answer or an error; nothing means to leave."""

    seat: Seat
    entry: Entry | None = None
    error: PenstockError | None = None
    chunks: list[Chunk] | None = None


class Admission(msgspec.Struct, frozen=True):
    """The attempt may go: since when, how long it waited for that, and the breaker's pass."""

    now: float
    wait_s: float
    permit: Pass


class Head(msgspec.Struct, frozen=True):
    """Status and headers (asked for in lower case) of an answer, when they came, and the body if it came whole."""

    status: int
    headers: Mapping[str, str]
    now: float
    wall_s: float
    body: bytes = b""


class Settled(msgspec.Struct, frozen=True):
    """When the attempt was settled, and what the retry policy says when it failed."""

    now: float
    decision: Retry | GiveUp | None


class Expired(Exception):
    """A clock ran out inside a driver; the flow knows which one, and turns it into an error that says so."""

    def __init__(self, now: float, *, idle: bool = False) -> None:
        super().__init__("a clock ran out")
        self.now = now
        self.idle = idle


Effect = Reserve | Permit | Send | Read | Emit | Sleep | Settle | Lookup | Follow | Share
Flow = Generator[Effect, Any, T]
