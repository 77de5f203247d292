"""pyrate-limiter's in-memory sliding log, its default, in front of the bare call."""

from bench.peers import bare
from bench.peers.given import Acquire, Call, Given
from pyrate_limiter import limiter_factory

PACKAGE = "pyrate-limiter"


def acquire(most: int, window_s: float) -> Acquire:
    limiter = limiter_factory.create_inmemory_limiter(most, int(1000 * window_s))

    async def wait(units: int) -> None:
        if not await limiter.try_acquire_async("lane", units):
            raise RuntimeError("refused")

    return wait


def limited(given: Given) -> Call:
    return bare.behind(acquire(given.most, given.window_s), given)
