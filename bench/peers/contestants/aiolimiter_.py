"""aiolimiter's AsyncLimiter in front of the bare call."""

from aiolimiter import AsyncLimiter
from bench.peers import bare
from bench.peers.given import Acquire, Call, Given

PACKAGE = "aiolimiter"


def acquire(most: int, window_s: float) -> Acquire:
    wait: Acquire = AsyncLimiter(most, window_s).acquire
    return wait


def limited(given: Given) -> Call:
    return bare.behind(acquire(given.most, given.window_s), given)
