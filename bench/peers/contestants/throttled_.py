"""throttled-py's token bucket, its default, waiting in front of the bare call."""

from datetime import timedelta

from bench.peers import bare
from bench.peers.given import Acquire, Call, Given
from throttled.asyncio import MemoryStore, Throttled, per_duration

PACKAGE = "throttled-py"
WAIT_S = 3600.0


def acquire(most: int, window_s: float) -> Acquire:
    quota = per_duration(timedelta(seconds=window_s), most)
    throttle = Throttled(key="lane", quota=quota, timeout=WAIT_S, store=MemoryStore())

    async def wait(units: int) -> None:
        if (await throttle.limit(cost=units)).limited:
            raise RuntimeError("refused")

    return wait


def limited(given: Given) -> Call:
    return bare.behind(acquire(given.most, given.window_s), given)
