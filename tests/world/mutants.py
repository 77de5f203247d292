"""Planted faults: each takes one guard out of the product, and some world must notice. A checker that cannot fail
proves nothing.

    python -m tests.world.mutants              plants all of them, each in a copy of the package, and says who survived
    python -m tests.world.mutants <name> ...   only these
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final, NamedTuple

ROOT: Final = Path(__file__).parent.parent.parent
PACKAGE: Final = ROOT / "src" / "penstock"
PROCESSES: Final = 2
PATIENCE_S: Final = 120


class Mutant(NamedTuple):
    """One replacement in one file. `scenarios` are played in this order until one breaks a rule."""

    name: str
    file: str
    old: str
    new: str
    scenarios: tuple[str, ...]


def _in(file: str, *rows: tuple[str, str, str, str]) -> tuple[Mutant, ...]:
    return tuple(Mutant(name, file, old, new, tuple(scenarios.split())) for name, old, new, scenarios in rows)


MUTANTS: Final[tuple[Mutant, ...]] = (
    *_in(
        "_policy/fairqueue.py",
        ("last in first out", "next(iter(best.returned or best.fresh))", "next(reversed(best.fresh))", "calm pressed"),
    ),
    *_in(
        "_policy/limiter.py",
        ("the calls in flight are never fewer", "self._in_flight -= 1", "pass", "crowd pressed"),
        ("a cancelled ticket stays in the queue", "self._queue.remove(ticket)", "pass", "pressed shared"),
        ("a 429 does not pause", "self.pause(now, now + max(0.0, retry_after_s))", "pass", "throttled"),
        (
            "a shorter pause ends a longer one",
            "return  # an echo of what the probe is about to find out\n        self._not_before = max(self._not_before, until, now)",
            "pass\n        self._not_before = until",
            "throttled impatience",
        ),
        ("the calls in flight are not bounded", "if self._in_flight >= self._cap():", "if False:", "crowd"),
        ("max_tokens is not counted", "return most\n        return tokens", "return tokens\n        return tokens", "tokens"),
        ("a lower limit is not believed", "known.tell(now, seen.limit)", "pass", "turns"),
        ("grants are not booked", "dimension.book(now, amount), amount)", "Slot(now, now, now, 0.0), amount)", "calm"),
    ),
    *_in(
        "_policy/window.py",
        ("no pace", "missing = need - self.level", "missing = 0.0", "calm"),
        ("credit beyond the bucket", "self.level = self.cap\n            if", "pass\n            if", "bunches"),
    ),
    *_in(
        "_policy/breaker.py",
        ("the epoch is not looked at", "if pass_.epoch != self._epoch:", "if False:", "sick"),
        ("probes are not counted", "if self._probed_ok + len(self._leases) >= self.settings.probes:", "if False:", "sick"),
        ("a probe keeps its permit", "self._leases.pop(pass_.probe, None)", "self._leases.get(pass_.probe)", "sick"),
        ("429s are ill health", "isinstance(error, sick) else", "not isinstance(error, AssertionError) else", "throttled"),
        ("it never opens", "if self._failures >= settings.failure_ratio * self._calls:", "if False:", "outage"),
        ("it never shuts", 'if self._state == "closed":\n            return self._pass', "if True:\n            return self._pass", "sick"),
    ),
    *_in(
        "_policy/retry.py",
        ("unknown outcomes are repeated", 'if how == "unknown" and unknowns >= policy.unknown_outcomes:', "if False:", "sick storm"),
        ("attempts are not counted", "if counted >= policy.attempts:", "if False:", "storm sick"),
        ("hopeless requests are repeated", 'if how == "final":', "if False:", "storm"),
        ("the deadline is not looked at", "if deadline is not None and after_s >= deadline - now:", "if False:", "storm pressed"),
        ("the retry budget is not looked at", "if not budget.spend(cost):", "if False:", "outage-unseen"),
        ("the wait that was told is forgotten", "told_s * (1.0 + TOLD_JITTER * u) if told_s is not None", "0.0 if told_s is not None", "storm sick"),
    ),
    *_in(
        "_policy/routing.py",
        ("every fault falls back", '(PermissionDenied, "its', '(PenstockError, "its', "storm"),
    ),
    *_in(
        "_policy/budget.py",
        ("holds are not counted", "account.spent + account.held + needed > account.cap", "account.spent + needed > account.cap", "budget"),
        ("a scope is dropped", "return (self._total, day, month)", "return (self._total,)", "budget"),
        ("unpriced calls pass", "if self.budget.allow_unpriced:", "if True:", "budget"),
        ("what was spent before is dropped", "self._total.spent += nano", "pass", "crash"),
        ("holds are never let go", "account.held -= hold.worst_nano or 0", "pass", "budget"),
    ),
    *_in(
        "_policy/tally.py",
        ("calls are not counted", "self.calls += 1", "pass", "pressed"),
        ("costs are dropped", "self.attempts += 1", "self.attempts += attempt.usage is not None", "storm"),
    ),
    *_in(
        "_wire/headers.py",
        ("retry-after-ms is not read", '("retry-after-ms", "x-ms-retry-after-ms")', "()", "throttled"),
        ("dates are not read", "_rfc3339(text) or _http_date(text)", "_rfc3339(text)", "throttled"),
        ("hints are not read", "hint = _hint(body)", "hint = None", "throttled"),
    ),
    *_in(
        "_flow/exchange.py",
        ("output is forgotten", "record.emitted = True", "pass", "storm cuts"),
        ("the deadline does not bound an exchange", "until = min(deadline, math.inf", "until = min(math.inf, math.inf", "storm pressed"),
        ("silence inside a stream is not noticed", "wait = Read(deadline, order.timeouts.idle_s)", "wait = Read(deadline)", "storm cuts"),
        ("what was sent is not noted", "record.sent = True", "pass", "pressed"),
        ("a cut stream is not booked", "_book(order, record, decoder, assembly, seen(record, decoder.usage, assembly))", "pass", "budget"),
    ),
    *_in(
        "_flow/call.py",
        ("a retry goes on after output", "if trail.emitted or not falls_back(error):", "if False:", "storm"),
        ("attempts are left out of the record", "trail.add(record, settled)", "trail.last = record", "pressed"),
    ),
    *_in(
        "_io/gate.py",
        ("nobody is woken by an answer", "self.wake(state, woken)\n        return Settled", "return Settled", "crowd"),
        ("nobody is woken by the clock", "advance(self.clock.now())\n        self.wake(state, woken)", "advance(self.clock.now())", "calm"),
        ("a cancel in the queue frees nothing", "return limiter.cancel(now, ticket)", "return []", "pressed"),
        ("what was sent is refunded", "elif not record.sent or isinstance(error, ConnectionFailed):", "elif error is not None:", "pressed"),
        ("a 503 does not pause", "limiter.pause(now, now + error.retry_after_s)", "pass", "sick storm"),
        ("unknown outcomes are free", "self.budget.settle(wall, record.hold, None)", "self.budget.release(record.hold)", "unknown-money"),
        ("nothing is released", "self.budget.release(record.hold)", "pass", "budget"),
        ("nothing may be paid", "return record.sent and (", "return False and (", "budget"),
        ("usage is dropped", "if attempt.sent:", "if False:", "pressed"),
        ("money is held without the lock", "with self._lock:\n            return self.budget.reserve", "if True:\n            return self.budget.reserve", "torn-budget"),
        ("turns are asked for without the lock", "with self._lock:\n            answer = state.limiter.ask", "if True:\n            answer = state.limiter.ask", "torn-limit"),
        ("the breaker is not asked again", "raise self._open(state, permit)\n            return Admission(now, now - record", "pass\n            return Admission(now, now - record", "sick pressed"),
    ),
    *_in(
        "_io/parking.py",
        ("a waiting task forgets its deadline", "None if ticket.deadline is None else ticket.deadline - ticket.asked_at", "None", "pressed"),
        ("a waiting thread forgets its deadline", "if ticket.deadline is not None and now >= ticket.deadline:", "if False:", "pressed-threads"),
        ("no timer for the head", "self._watch(state)\n        seconds", "seconds", "sparse"),
        ("a leader that leaves names no other", "if leaderless:", "if False:", "sparse-threads pressed-threads"),
        ("nobody leads", "if state.timer is None:\n                state.timer = ticket", "pass", "sparse-threads calm-threads"),
        ("a thread that was granted is not told", "ticket.tag.come()\n        self._nudge", "pass\n        self._nudge", "calm-threads"),
    ),
    *_in(
        "_io/run.py",
        ("exchanges stay open", "exchange.close()", "pass", "cuts"),
        ("a stream that is left is not settled", "effect = self._flow.throw(Abandoned())", "raise Abandoned", "cuts"),
    ),
    *_in(
        "_io/stream.py",
        ("a stream that is dropped is not settled", "paid.\n        self._run.abandon()", "paid.\n        pass", "cuts"),
    ),
)  # fmt: skip


def plant(mutant: Mutant, folder: Path) -> None:
    """Copy the package into a folder, with the fault in it.

    Raises: ValueError when the place for it is not there, or not the only one.
    """
    source = (PACKAGE / mutant.file).read_text(encoding="utf-8")
    if source.count(mutant.old) != 1:
        raise ValueError(f"mutant {mutant.name!r}: {mutant.old!r} stands {source.count(mutant.old)} times in {mutant.file}")
    shutil.copytree(PACKAGE, folder / "penstock", ignore=shutil.ignore_patterns("__pycache__"))
    (folder / "penstock" / mutant.file).write_text(source.replace(mutant.old, mutant.new), encoding="utf-8")


def is_killed(mutant: Mutant) -> str | None:
    """Plant a mutant and play worlds against it; return the first complaint, None when it survives."""
    with tempfile.TemporaryDirectory() as folder:
        plant(mutant, Path(folder))
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join((folder, str(ROOT)))}
        command = [sys.executable, "-m", "tests.world.attack", *mutant.scenarios]
        try:
            done = subprocess.run(
                command, env=environment, cwd=ROOT, capture_output=True, text=True, timeout=PATIENCE_S, check=False
            )
        except subprocess.TimeoutExpired:
            return "it hangs"
    if done.returncode == 0:
        return None
    return (done.stdout or done.stderr).strip().splitlines()[-1]


def run(mutants: Iterable[Mutant] = MUTANTS) -> dict[str, str | None]:
    """Plant mutants, a few at a time; return what each was killed by."""
    chosen = list(mutants)
    with ThreadPoolExecutor(PROCESSES) as pool:
        return {
            mutant.name: found for mutant, found in zip(chosen, pool.map(is_killed, chosen), strict=True)
        }


def main() -> int:
    """Exit with 1 when a mutant survives."""
    wanted = sys.argv[1:]
    found = run([mutant for mutant in MUTANTS if not wanted or mutant.name in wanted])
    for name, killer in found.items():
        print(f"{'killed  ' if killer else 'SURVIVES'}  {name}: {killer or 'no world notices'}"[:160])
    return int(None in found.values())


if __name__ == "__main__":
    sys.exit(main())
