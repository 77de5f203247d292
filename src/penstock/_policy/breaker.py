"""The circuit breaker of one lane, or of one credential: closed, open, half open, and back.

           the ratio of failures is reached      the open time is over       every probe succeeded
    closed ────────────────────────────────▶ open ───────────────────▶ half open ───────────────────▶ closed
                                              ▲                            │
                                              └── a probe failed, or its lease ran out

Every state has an epoch; a pass carries the epoch in which it was given, and the result of an old epoch changes
nothing. Half open gives out exactly `probes` permits; each is a lease. A cancelled probe says nothing: its permit comes
back. A lease that runs out is a failure, so no lost probe keeps the lane shut for ever. A clock that goes back shifts
what is still to come with it.
"""

from __future__ import annotations

from collections import deque
from math import isfinite
from typing import Literal

import msgspec

from ..errors import ConfigError, ConnectionFailed, OutcomeUnknown, Overloaded, ServerFault, StreamInterrupted

Outcome = Literal["ok", "failure", "ignored"]
State = Literal["closed", "open", "half_open"]

BUCKETS = 10
LONGEST_WINDOW_S = 1800.0  # and the longest lease, however long the calls
LATENCIES = 64  # the latest ones give the 95th percentile; looked at again every 16
LATENCIES_STEP = 16
INSTANT_S = 1e-6  # who waits exactly as told may be a rounding error early
ALONE_S = 1.0  # a lane without alternative is probed this often instead of refusing everything


class BreakerSettings(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """When to open and for how long.

    Opens when at least `min_calls` ended within `window_s` and `failure_ratio` of them failed, or `slow_ratio` of them
    took longer than `slow_s` (None: no such rule), or if `slow_ratio` of them had their first output later than
    `slow_factor` times its usual 95th percentile (None: no such rule; streams only, since a whole answer takes as long
    as it is). Stays open `open_s`, doubled on each failed probe up to `open_max_s`. A probe that is not heard of for
    `lease_s` failed. Window and lease grow to twice the 95th percentile of the latency.

    Raises: ConfigError when a number is out of its range.
    """

    failure_ratio: float = 0.5
    min_calls: int = 10
    window_s: float = 30.0
    open_s: float = 5.0
    open_max_s: float = 300.0
    probes: int = 1
    lease_s: float = 60.0
    slow_s: float | None = None
    slow_factor: float | None = None
    slow_ratio: float = 0.8

    def __post_init__(self) -> None:
        for name in ("failure_ratio", "slow_ratio"):
            _check(name, getattr(self, name), least=0.0, most=1.0)
        for name in ("window_s", "open_s", "open_max_s", "lease_s"):
            _check(name, getattr(self, name), least=0.0)
        for name, least in (("slow_s", 0.0), ("slow_factor", 1.0)):
            if getattr(self, name) is not None:
                _check(name, getattr(self, name), least=least)
        for name, most in (("min_calls", 1_000_000), ("probes", 5)):
            value: object = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= most:
                raise ConfigError(f"breaker {name} must be a whole number from 1 to {most}; got {value!r}")
        if self.open_max_s < self.open_s:
            raise ConfigError(f"breaker open_max_s must be at least open_s ({self.open_s!r}); got {self.open_max_s!r}")


def _check(name: str, value: object, *, least: float, most: float | None = None) -> None:
    good = not isinstance(value, bool) and isinstance(value, int | float) and isfinite(value) and value > least
    if not good or (most is not None and isinstance(value, int | float) and value > most):
        wanted = f"above {least:g}" + (f" and at most {most:g}" if most is not None else "")
        raise ConfigError(f"breaker {name} must be a number {wanted}; got {value!r}")


class Pass(msgspec.Struct, frozen=True, gc=False):
    """Go ahead; hand it to `settle` with the outcome. `probe` is the number of the lease, 0 for an ordinary call."""

    epoch: int
    probe: int = 0


class Open(msgspec.Struct, frozen=True, gc=False):
    """Do not send; ask again in `retry_after_s`. `reason` says what opened the breaker."""

    retry_after_s: float
    reason: str = ""


class BreakerState(msgspec.Struct, frozen=True, kw_only=True):
    """The breaker as it stands; times are on the caller's clock."""

    state: State
    epoch: int
    calls: int
    failures: int
    slow: int
    window_s: float
    p95_s: float
    opens: int
    open_until: float | None
    probes_out: int
    reason: str


def health(error: BaseException) -> Literal["failure", "ignored"]:
    """Say whether an error tells of a sick lane.

    Faults of the provider and the network do; 429s (pacing), faults of the caller, refusals of our own and cancellation
    do not.
    """
    sick = Overloaded | ServerFault | ConnectionFailed | OutcomeUnknown | StreamInterrupted
    return "failure" if isinstance(error, sick) else "ignored"


class _Bucket:
    __slots__ = ("calls", "failures", "opens", "slow")

    def __init__(self, opens: float) -> None:
        self.opens = opens
        self.calls = 0
        self.failures = 0
        self.slow = 0


class _Latencies:
    """The 95th percentile of the latest latencies."""

    __slots__ = ("_latest", "_new", "p95_s")

    def __init__(self) -> None:
        self._latest: deque[float] = deque(maxlen=LATENCIES)
        self._new = 0
        self.p95_s = 0.0

    @property
    def count(self) -> int:
        return len(self._latest)

    def learn(self, latency_s: float) -> bool:
        """Take one in; whether the percentile was looked at again."""
        self._latest.append(latency_s)
        self._new += 1
        if self._new < LATENCIES_STEP and len(self._latest) >= LATENCIES_STEP:
            return False
        self._new = 0
        ordered = sorted(self._latest)
        self.p95_s = ordered[int(0.95 * (len(ordered) - 1))]
        return True


class Breaker:
    """See the module. The caller holds a lock around every call and gives a monotonic `now` and a fresh uniform `u`.

    While `state` is closed, `current` is the pass that `ask` would give.
    """

    def __init__(self, settings: BreakerSettings | None = None) -> None:
        self.settings = settings or BreakerSettings()
        self.state: State = "closed"
        self.current = Pass(0)
        self._epoch = 0
        self._opens = 0  # in a row, without a success between them
        self._opened_at = 0.0
        self._until = 0.0
        self._reason = ""
        self._leases: dict[int, float] = {}
        self._last_lease = 0
        self._probed_ok = 0
        self._buckets: deque[_Bucket] = deque()
        self._calls = self._failures = self._slow = 0
        self._minds_slow = self.settings.slow_s is not None or self.settings.slow_factor is not None
        self._latencies = _Latencies()
        self._firsts = _Latencies()
        self._window_s = self.settings.window_s

    def ask(self, now: float, u: float, *, alone: bool = False) -> Pass | Open:
        """Give a pass, or say when to ask again. `alone`: the call has no other lane, so one probe a second may go."""
        if self.state == "closed":
            return self.current
        shut = self.peek(now, u, alone=alone)
        if shut is not None:
            return shut
        if self.state == "open":
            self._enter("half_open")
        self._last_lease += 1
        self._leases[self._last_lease] = now + self._lease_s()
        return Pass(self._epoch, self._last_lease)

    def peek(self, now: float, u: float, *, alone: bool = False) -> Open | None:
        """What `ask` would answer, None for a pass; takes no lease."""
        if self.state == "half_open" and self._is_lost(now):
            self._open(now, u, "a probe was not heard of again")
        if self.state == "open":
            if now < self._opened_at:
                self._until, self._opened_at = self._until - self._opened_at + now, now
            until = min(self._until, self._opened_at + ALONE_S) if alone else self._until
            return Open(until - now, self._reason) if until - now > INSTANT_S else None
        if self.state == "closed" or self._probed_ok + len(self._leases) < self.settings.probes:
            return None
        return Open(self._probe_wait_s(now), self._reason)

    def settle(
        self, now: float, pass_: Pass, outcome: Outcome, latency_s: float, u: float, *, first_s: float | None = None
    ) -> None:
        """Report how an admitted call ended; every pass is settled once, a cancelled call as 'ignored'.

        `first_s` is the time to the first output of a stream.
        """
        if pass_.epoch != self._epoch:
            return
        if self.state == "half_open":
            self._settle_probe(now, pass_, outcome, u)
            return
        if outcome == "ignored" or self.state != "closed":
            return
        bucket = self._bucket(now, latency_s)
        bucket.calls += 1
        self._calls += 1
        if outcome == "failure":
            bucket.failures += 1
            self._failures += 1
        settings = self.settings
        slow = self._slow_reason(latency_s, first_s) if self._minds_slow else ""
        if slow:
            bucket.slow += 1
            self._slow += 1
        if self._calls < settings.min_calls:
            return
        if self._failures >= settings.failure_ratio * self._calls:
            self._open(now, u, f"{self._failures} of {self._calls} calls failed")
        elif slow and self._slow >= settings.slow_ratio * self._calls:
            self._open(now, u, f"{self._slow} of {self._calls} calls {slow}")

    def trip(self, now: float, pass_: Pass, reason: str, u: float) -> None:
        """Open at once for a reason that needs no statistics, such as a rejected key; late news changes nothing."""
        if pass_.epoch == self._epoch:
            self._open(now, u, reason)

    @property
    def window_s(self) -> float:
        """The window that counts: as set, or twice the 95th percentile of the latency when calls take longer."""
        return self._window_s

    def snapshot(self, now: float | None = None) -> BreakerState:
        """The state at `now`, or as the last event left it."""
        if now is not None:
            self._forget(now)
        return BreakerState(
            state=self.state,
            epoch=self._epoch,
            calls=self._calls,
            failures=self._failures,
            slow=self._slow,
            window_s=self.window_s,
            p95_s=self._latencies.p95_s,
            opens=self._opens,
            open_until=self._until if self.state == "open" else None,
            probes_out=len(self._leases),
            reason=self._reason,
        )

    def _settle_probe(self, now: float, pass_: Pass, outcome: Outcome, u: float) -> None:
        expires = self._leases.pop(pass_.probe, None)
        if expires is None:
            return
        if outcome == "failure" or (outcome == "ok" and expires <= now):
            self._open(now, u, "a probe failed" if outcome == "failure" else "a probe came back too late")
        elif outcome == "ok":
            self._probed_ok += 1
            if self._probed_ok >= self.settings.probes:
                self._opens = 0
                self._reason = ""
                self._enter("closed")

    def _is_lost(self, now: float) -> bool:
        lease_s = self._lease_s()
        for number, expires in self._leases.items():
            if expires <= now:
                return True
            if expires > now + lease_s:
                self._leases[number] = now + lease_s
        return False

    def _lease_s(self) -> float:
        return max(self.settings.lease_s, min(LONGEST_WINDOW_S, 2 * self._latencies.p95_s))

    def _open(self, now: float, u: float, reason: str) -> None:
        settings = self.settings
        longest_s = min(settings.open_max_s, settings.open_s * 2.0 ** min(self._opens, 30))
        self._opened_at = now
        self._until = now + longest_s * (0.8 + 0.2 * u)  # so that many clients do not probe together
        self._opens += 1
        self._reason = reason
        self._firsts = _Latencies()  # so that a change of what is asked opens it once and not again and again
        self._enter("open")

    def _enter(self, state: State) -> None:
        self.state = state
        self._epoch += 1
        self.current = Pass(self._epoch)
        self._leases.clear()
        self._probed_ok = 0
        self._buckets.clear()
        self._calls = self._failures = self._slow = 0

    def _probe_wait_s(self, now: float) -> float:
        # A probe usually answers long before its lease ends; whoever waits looks again after an open time.
        first = min(self._leases.values(), default=now + self.settings.open_s)
        return max(0.0, min(first - now, self.settings.open_s))

    def _forget(self, now: float) -> None:
        buckets, horizon = self._buckets, now - self.window_s
        while buckets and not horizon < buckets[0].opens <= now:
            gone = buckets.popleft()
            self._calls -= gone.calls
            self._failures -= gone.failures
            self._slow -= gone.slow

    def _bucket(self, now: float, latency_s: float) -> _Bucket:
        if self._latencies.learn(latency_s):
            self._window_s = max(self.settings.window_s, min(LONGEST_WINDOW_S, 2 * self._latencies.p95_s))
        buckets = self._buckets
        if not buckets or not 0 <= now - buckets[-1].opens < self._window_s / BUCKETS:
            self._forget(now)
            buckets.append(_Bucket(now))
        return buckets[-1]

    def _slow_reason(self, latency_s: float, first_s: float | None) -> str:
        settings = self.settings
        if settings.slow_s is not None and latency_s > settings.slow_s:
            return f"took longer than {settings.slow_s:g} s"
        if settings.slow_factor is None or first_s is None:
            return ""
        usual_s = self._firsts.p95_s
        if self._firsts.count >= LATENCIES_STEP and first_s > settings.slow_factor * usual_s:
            return f"had their first output later than {settings.slow_factor:g} times the usual {usual_s:.2f} s"
        self._firsts.learn(first_s)  # only of what is not slow: else the yardstick grows with the trouble
        return ""
