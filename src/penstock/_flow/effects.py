"""What a flow can ask of its driver: twelve effects, and what each is answered with.

A flow yields one of these and is sent the answer, or has an exception thrown into it. It never waits by itself: the
sync and the async driver perform the same effects, so there is one logic in two colours.

    effect    answer            may raise
    Reserve   Hold              BudgetExceeded BudgetUnavailable
    Permit    Admission         LimitExceeded BreakerOpen DeadlineExceeded
    Send      Head              ConnectionFailed OutcomeUnknown Expired
    Read      bytes             OutcomeUnknown Expired
    Emit      float (now)       whatever the reader of the stream throws
    Sleep     None
    SpendRetry int (0 = refused)
    Parallel  tuple[End, ...]   what a flow of it raises that is no PenstockError
    Settle    Settled           never
    Lookup    News or None      ConfigError             only with a cache, as the two below
    Follow    News              DeadlineExceeded
    Share     None              never

A driver throws every BaseException into the flow and never closes it, so that `finally: yield Settle` runs, and Share.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec

from .._policy.breaker import Pass
from .._policy.budget import Elastic, Hold
from .._policy.cache import Entry
from .._policy.limiter import Ticket
from .._policy.retry import GiveUp, Retry
from .._wire.protocol import Outbound, Provider, Reply, Wire
from ..errors import PenstockError
from ..types import Chunk, Response, Usage

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

    @property
    def door(self) -> tuple[str, str]:
        """What tells apart the ways into one lane: rows that share an account may differ in their headers."""
        return self.id, self.provider.name


class Past(msgspec.Struct, frozen=True):
    """What came before an attempt in its call.

    How many attempts, how many of them ended unknown or rate limited or found their lane shut, and what the retry that
    led to this one took from the retry budget. `lanes` that the call may go to; when all were found shut it is as
    `alone` as with one.
    """

    attempts: int = 0
    unknowns: int = 0
    limited: int = 0
    shut: int = 0
    retry_cost: int = 0
    lanes: int = 1

    @property
    def alone(self) -> bool:
        """Whether the call has no other lane to go to."""
        return self.lanes == 1 or self.shut >= self.lanes


class Record(msgspec.Struct, eq=False):
    """What is known of one attempt while it runs; the gate reads it to settle.

    `max_tokens` is what was put into the request because a budget needs a bound and the caller gave none.
    """

    lane: Lane
    past: Past
    ticket: Ticket
    worst_nano: int | None
    elastic: Elastic | None = None
    max_tokens: int | None = None
    hold: Hold | None = None
    admission: Admission | None = None
    sent: bool = False
    idempotency_key: str | None = None
    emitted: bool = False
    status: int | None = None
    head: Head | None = None
    request_id: str | None = None
    first_output_at: float | None = None
    usage: Usage | None = None
    cost_nano: int | None = None
    error: BaseException | None = None
    reply: Reply | None = None
    response: Response | None = None
    notes: tuple[str, ...] = ()


class Reserve(msgspec.Struct, frozen=True):
    """Hold the worst case of an attempt in every budget that it counts against."""

    record: Record
    tags: dict[str, str]


class Permit(msgspec.Struct, frozen=True):
    """Wait for a turn: the breaker must let the lane through and the limiter must have room."""

    record: Record


class Send(msgspec.Struct, frozen=True, gc=False):
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


class SpendRetry(msgspec.Struct, frozen=True):
    """Pay for one more attempt out of the retry budget of a lane; answered with what it cost, 0 when it is empty."""

    lane: Lane


class Parallel(msgspec.Struct, frozen=True):
    """Perform flows side by side, each begun `stagger_s` after the one before.

    It ends when all have ended, one ended with a result that is `enough`, one shows output (an `Emit`, not performed
    yet), or none is under way before the next is due. Flows that have not ended by then are cancelled and settled.
    """

    flows: tuple[Flow[Any], ...]
    stagger_s: float = 0.0
    enough: Callable[[Any], bool] | None = None


class End(msgspec.Struct, eq=False):
    """How far a flow of a `Parallel` came: its result, or itself suspended at the output that it shows."""

    flow: Flow[Any]
    ended: bool = False
    result: Any = None
    emits: Emit | None = None


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
    """The attempt may go: since when, how long it waited for that, and the passes of its lane and its credential."""

    now: float
    wait_s: float
    permit: Pass
    account: Pass


class Head(msgspec.Struct, frozen=True, gc=False):
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


class Abandoned(BaseException):
    """Thrown into a flow whose result nobody waits for any more, so that it settles what was used so far."""


class Expired(Exception):
    """A clock ran out inside a driver; the flow knows which one, and turns it into an error that says so."""

    def __init__(self, now: float, *, idle: bool = False) -> None:
        super().__init__("a clock ran out")
        self.now = now
        self.idle = idle


Effect = Reserve | Permit | Send | Read | Emit | Sleep | SpendRetry | Parallel | Settle | Lookup | Follow | Share
Flow = Generator[Effect, Any, T]
