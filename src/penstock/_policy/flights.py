"""Flights: identical questions under way at the same time are one call, led by one of them and followed by the others.

A leader that gives up hands the lead to one follower, and the others go on waiting. A leader that streams goes at the
pace of its own reader: when that one does not read on, the next follower to look takes the lead.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

from ..errors import PenstockError, StreamInterrupted
from ..types import Chunk
from .cache import Entry, Store, Use, pack, unpack

PATIENCE_S: Final = 1.0
"""How long followers wait for a leader whose reader does not read on: it may be the very thread that waits."""


class Lead(msgspec.Struct, frozen=True):
    """Nobody has the answer: make the call, and tell the others."""


class Told(msgspec.Struct, frozen=True):
    """What the leader's stream showed since the last look; `again`: another leader began the answer anew."""

    chunks: tuple[Chunk, ...]
    again: bool


class Landed(msgspec.Struct, frozen=True):
    """The end of the wait, heard at `now`: the answer, or the leader's error after `chunks`."""

    entry: Entry | None
    error: PenstockError | None = None
    chunks: tuple[Chunk, ...] = ()
    now: float = 0.0


class AskAgain(msgspec.Struct, frozen=True):
    """How it ended is nothing to this follower: begin from the start."""


News = Lead | Told | Landed | AskAgain


class Seat:
    """One call's place in a flight. `key` finds the stored answer, `flight_key` also tells the routes apart."""

    __slots__ = ("flight", "flight_key", "generation", "key", "seen", "stream", "use")

    def __init__(self, key: bytes, flight_key: bytes, use: Use, *, stream: bool) -> None:
        self.key = key
        self.flight_key = flight_key
        self.use = use
        self.stream = stream
        self.flight: Flight | None = None
        self.generation = 0
        self.seen = 0

    def read_on(self) -> None:
        """The reader of a leading stream asked for more."""
        if self.flight is not None and self.flight.leader is self:
            self.flight.shown_at = None


class Flight:
    """One question under way: who leads, who waits where, and what was shown of the answer so far.

    `shown_at` is when the leader's stream was handed to its reader, None while the leader itself is at work.
    """

    __slots__ = ("chunks", "forced", "generation", "landed", "leader", "parked", "shown_at", "writes")

    def __init__(self) -> None:
        self.leader: Seat | None = None
        self.generation = 0
        self.chunks: list[Chunk] = []
        self.shown_at: float | None = None
        self.parked: dict[Seat, Any] = {}
        self.landed: Landed | None = None
        self.writes = False
        self.forced = False

    @property
    def streams(self) -> bool:
        """Whether its leader can be held up by a reader."""
        return self.leader is not None and self.leader.stream


class Flights:
    """The book of flights in front of a store. After each step, `called` has the places of those who should look."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self._called: list[Any] = []
        self._flights: dict[bytes, Flight] = {}

    def __len__(self) -> int:
        return len(self._flights)

    def called(self) -> list[Any]:
        """Return the places of those who should look, once."""
        called, self._called = self._called, []
        return called

    def ask(self, wall_s: float, seat: Seat) -> News | None:
        """Look for a stored answer, else take a seat in the flight of this question; None means to follow it."""
        if seat.use.reads:
            kept = self.store.get(wall_s, seat.key)
            entry = None if kept is None else unpack(kept)
            if entry is not None and (entry.grade == "clean" or seat.use.forced):
                return Landed(entry)
        if not seat.use.shares:
            return Lead()
        flight = self._flights.get(seat.flight_key)
        if flight is None:
            flight = self._flights[seat.flight_key] = Flight()
            flight.leader = seat
        seat.flight, seat.seen, seat.generation = flight, 0, flight.generation
        flight.writes |= seat.use.writes
        flight.forced |= seat.use.forced
        return Lead() if flight.leader is seat else None

    def look(self, now: float, seat: Seat, place: Any) -> News | None:
        """Tell a follower what is new; None means that it is parked at `place` until there is something."""
        flight = seat.flight
        assert flight is not None
        flight.parked.pop(seat, None)
        landed = flight.landed
        if landed is not None:
            return AskAgain() if isinstance(landed.error, StreamInterrupted) and not seat.stream else landed
        stuck = flight.shown_at is not None and not 0 <= now - flight.shown_at < PATIENCE_S
        if flight.leader is None or stuck:
            self._lead(flight, seat)
            return Lead()
        if seat.stream:
            again = seat.generation != flight.generation
            seen = 0 if again else seat.seen
            if len(flight.chunks) > seen:
                seat.generation, seat.seen = flight.generation, len(flight.chunks)
                return Told(tuple(flight.chunks[seen:]), again)
        flight.parked[seat] = place
        return None

    def tell(self, now: float, seat: Seat, chunks: list[Chunk]) -> None:
        """The leader's stream is about to show chunks to its reader: those who stream along may see them too."""
        flight = seat.flight
        if flight is None or flight.leader is not seat:
            return
        flight.chunks += chunks
        flight.shown_at = now
        for parked in [parked for parked in flight.parked if parked.stream]:
            self._called.append(flight.parked.pop(parked))

    def land(self, wall_s: float, seat: Seat, entry: Entry | None, error: PenstockError | None) -> None:
        """The leader has the answer or an error for everybody: keep it if it may be kept, and let all go."""
        flight = seat.flight
        leads = flight is not None and flight.leader is seat
        if entry is not None:
            self._keep(wall_s, seat, entry, flight if leads else None)
        if flight is not None and leads:
            flight.landed = Landed(entry, error, tuple(flight.chunks) if entry is None else ())
            self._forget(seat, flight)
            self._called += flight.parked.values()
            flight.parked.clear()

    def leave(self, seat: Seat) -> None:
        """Leave the seat, whatever happened: the lead passes on, and nobody is left waiting for one who is gone."""
        flight, seat.flight = seat.flight, None
        if flight is None or flight.landed is not None:
            return
        flight.parked.pop(seat, None)
        if flight.leader is seat:
            self._vacate(flight)
        if flight.leader is None:
            heir = next(iter(flight.parked), None)
            if heir is not None:
                self._called.append(flight.parked.pop(heir))
            else:
                self._forget(seat, flight)

    def _keep(self, wall_s: float, seat: Seat, entry: Entry, flight: Flight | None) -> None:
        writes = seat.use.writes or (flight is not None and flight.writes)
        forced = seat.use.forced or (flight is not None and flight.forced)
        if writes and (entry.grade == "clean" or (forced and entry.grade == "forced")):
            kept = pack(entry)
            if kept is not None:
                self.store.put(wall_s, seat.key, kept)

    def _lead(self, flight: Flight, seat: Seat) -> None:
        self._vacate(flight)
        flight.leader, seat.generation = seat, flight.generation
        self._flights.setdefault(seat.flight_key, flight)
        if seat.stream:
            # Those who wait without a clock, because nothing could hold their leader up, need one from now on.
            self._called += flight.parked.values()
            flight.parked.clear()

    @staticmethod
    def _vacate(flight: Flight) -> None:
        flight.leader, flight.shown_at = None, None
        flight.chunks = []
        flight.generation += 1

    def _forget(self, seat: Seat, flight: Flight) -> None:
        if self._flights.get(seat.flight_key) is flight:
            del self._flights[seat.flight_key]
