"""What single calls and attempts add to the sums of `SUMS`, said in SQL, and the aggregates that it needs."""

from __future__ import annotations

from typing import Final

from ..._policy.rollup import OF_ATTEMPTS, OF_CALLS, SUMS, USAGE
from ..._policy.sketch import Counts, add, bucket, pack


class SketchMerge:
    """SQL aggregate: adds packed counts up."""

    def __init__(self) -> None:
        self._counts: Counts = {}

    def step(self, packed: bytes | None) -> None:
        """Take one in."""
        add(self._counts, packed)

    def finalize(self) -> bytes | None:
        """Return them, packed."""
        return pack(self._counts)


class SketchOf:
    """SQL aggregate: counts durations in µs."""

    def __init__(self) -> None:
        self._counts: Counts = {}

    def step(self, us: int | None) -> None:
        """Take one in."""
        if us is not None:
            at = bucket(us)
            self._counts[at] = self._counts.get(at, 0) + 1

    def finalize(self) -> bytes | None:
        """Return the counts, packed."""
        return pack(self._counts)


_CALLS: Final = {
    "calls": "count(*)",
    "cached": "sum(cached)",
    "saved_nano": "sum(CASE WHEN cached THEN saved_nano END)",
    "batched": "sum(batch)",
    "batch_saved_nano": "sum(CASE WHEN batch THEN full_nano - cost_nano END)",
    "routed": "count(strongest_nano - cost_nano)",
    "route_saved_nano": "sum(strongest_nano - cost_nano)",
    "latency_us": "sum(CASE WHEN NOT batch THEN latency_us END)",
}
_ATTEMPTS: Final = {
    "attempts": "sum(sent)",
    "refused": "sum(NOT sent)",
    "retries": "sum(sent AND number > 1)",
    "cost_nano": "sum(CASE WHEN sent THEN cost_nano END)",
    "unpriced": "sum(sent AND cost_nano IS NULL)",
    "estimated": "sum(sent AND estimated)",
    "estimated_nano": "sum(CASE WHEN sent AND estimated THEN cost_nano END)",
    "wait_us": "sum(CASE WHEN sent THEN wait_us END)",
    **{name: f"sum(CASE WHEN sent THEN {name} END)" for name in USAGE},
}
assert set(_CALLS) == set(OF_CALLS)
assert set(_ATTEMPTS) == {*OF_ATTEMPTS, *USAGE}

RAW_CALLS: Final = ", ".join(
    [*(_CALLS.get(name, "0") for name in SUMS), "sketch(CASE WHEN NOT batch THEN latency_us END)", "sketch(first_us)"]
)
RAW_ATTEMPTS: Final = ", ".join([*(_ATTEMPTS.get(name, "0") for name in SUMS), "NULL", "NULL"])
