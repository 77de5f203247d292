"""The answers of one client: its store and its flights behind one lock, and who waits for whom."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from typing import Any

import msgspec

from .._flow.effects import Follow, Lookup, Share
from .._policy.cache import Cache, CacheState, Memory, Store
from .._policy.flights import PATIENCE_S, Flights, Landed, News
from ..errors import DeadlineExceeded
from .clock import Clock


class Answers:
    """Asks the policy and never waits itself; a file is given a few milliseconds."""

    def __init__(self, settings: Cache, clock: Clock, place: Callable[[], Any]) -> None:
        self._settings = settings
        self._clock = clock
        self._place = place
        self._start(_store(settings))

    def _start(self, store: Store) -> None:
        # Reentrant, because a stream that is dropped unread leaves its flight from wherever the collector found it.
        self._lock = threading.RLock()
        self._flights = Flights(store)
        self._process = os.getpid()

    def lookup(self, effect: Lookup) -> News | None:
        """Look for an answer, or take a seat."""
        with self._here():
            return self._heard(self._flights.ask(self._clock.wall(), effect.seat))

    def look(self, effect: Follow) -> tuple[News | None, Any, float | None]:
        """Tell a follower what is new; None: sleep at this place until called, but at most so long, and look again.

        Raises: DeadlineExceeded.
        """
        seat, now = effect.seat, self._clock.now()
        place = self._place()
        with self._here():
            news = self._heard(self._flights.look(now, seat, place))
            patient = seat.flight is not None and not seat.flight.streams
            woken = self._flights.called()
        _call(woken)
        if news is not None:
            return news, place, None
        if effect.deadline is not None and now >= effect.deadline:
            raise DeadlineExceeded(
                "the deadline passed while waiting for the answer to an identical call", deadline_s=0.0
            )
        ends = [] if patient else [PATIENCE_S]
        if effect.deadline is not None:
            ends.append(effect.deadline - now)
        return None, place, min(ends, default=None)

    def share(self, effect: Share) -> None:
        """Pass on what a leader has, or let somebody leave. Never raises."""
        seat = effect.seat
        with self._here():
            if effect.chunks is not None:
                self._flights.tell(self._clock.now(), seat, effect.chunks)
            elif effect.entry is not None or effect.error is not None:
                self._flights.land(self._clock.wall(), seat, effect.entry, effect.error)
            else:
                self._flights.leave(seat)
            woken = self._flights.called()
        _call(woken)

    def snapshot(self) -> CacheState:
        """Return what is held."""
        with self._here():
            store = self._flights.store
            entries, size = store.size()
            return CacheState(self._settings.path, entries, size, len(self._flights), store.trouble)

    def close(self) -> None:
        """Close the file, if there is one."""
        with self._here():
            self._flights.store.close()

    def _heard(self, news: News | None) -> News | None:
        return msgspec.structs.replace(news, now=self._clock.now()) if isinstance(news, Landed) else news

    def _here(self) -> threading.RLock:
        """Return the lock of this process."""
        if os.getpid() != self._process:
            # In a forked child nobody flies what flew in the parent, and the lock may be held by a thread left behind.
            self._start(self._flights.store)
        return self._lock


def _call(places: list[Any]) -> None:
    for place in places:
        place.come()


def _store(settings: Cache) -> Store:
    if settings.path is None:
        return Memory(settings)
    from .stores.cache_sqlite import SqliteStore

    return SqliteStore(settings.path, settings)
