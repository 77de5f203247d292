"""The cache: what may be kept of an answer, for whom, for how long, and the store that keeps it in memory."""

from __future__ import annotations

import functools
import math
from collections import OrderedDict
from typing import Final, Literal, Protocol

import msgspec

from ..errors import ConfigError
from ..types import Chunk, Refusal, Request, Response, ToolCall

CacheMode = Literal["off", "read", "write", "refresh", "force"]
Grade = Literal["clean", "forced", "never"]

ENTRY_OVERHEAD_BYTES: Final = 300
"""What a stored answer takes beside its bytes: key, dict slot, tuple and object headers."""


class Cache(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """Keep answers for `ttl_s` seconds, in at most `max_bytes`, and give them again to the same question.

    In memory, or with a `path` in a SQLite file that outlives the program and that several processes may share.

    Raises: ConfigError for a time or a size that is not above 0, or a path that is no string.
    """

    ttl_s: float = 3600.0
    max_bytes: int = 100_000_000
    path: str | None = None

    def __post_init__(self) -> None:
        ttl: object = self.ttl_s
        size: object = self.max_bytes
        path: object = self.path
        if isinstance(ttl, bool) or not isinstance(ttl, int | float) or not math.isfinite(ttl) or ttl <= 0:
            raise ConfigError(f"cache.ttl_s is {ttl!r}; expected a number of seconds above 0")
        if isinstance(size, bool) or not isinstance(size, int) or size < 1:
            raise ConfigError(f"cache.max_bytes is {size!r}; expected a whole number of bytes above 0")
        if path is not None and (not isinstance(path, str) or not path or "\0" in path):
            raise ConfigError(f"cache.path is {path!r}; expected the path of a file as a string, or nothing for memory")


class CacheState(msgspec.Struct, frozen=True):
    """The cache of a client, for people: where it is, what it holds, and why it does not work if it does not."""

    path: str | None
    entries: int
    bytes: int
    flights: int
    trouble: str | None


class Use(msgspec.Struct, frozen=True):
    """What one call may do with the cache. `shares`: identical calls at the same time share one answer."""

    reads: bool = True
    writes: bool = True
    shares: bool = True
    forced: bool = False


USES: Final[dict[CacheMode | None, Use]] = {
    None: Use(),
    "read": Use(writes=False),
    "write": Use(reads=False, shares=False),
    "refresh": Use(reads=False),
    "force": Use(forced=True),
}


def use(request: Request, mode: CacheMode | None, *, configured: bool) -> Use | None:
    """Return what a call may do with the cache, None when it has nothing to do with it.

    An answer is the same again only where nothing is drawn by chance: temperature 0, or a seed. An omitted temperature
    is the provider's own, which is not 0.

    Raises: ConfigError when the cache is asked for where there is none, or for an answer drawn by chance.
    """
    if mode == "off" or (mode is None and not configured):
        return None
    if not configured:
        raise ConfigError(
            f"cache={mode!r} and this client has no cache; make it with Client(cache=Cache()) or a [cache] table in "
            "penstock.toml"
        )
    if mode != "force" and request.temperature != 0 and request.seed is None:
        if mode is None:
            return None
        raise ConfigError(
            f"cache={mode!r} and the answer is drawn by chance; give temperature=0 or a seed, or say cache='force'"
        )
    return USES[mode]


class Entry(msgspec.Struct, frozen=True, omit_defaults=True):
    """A whole answer with what it had cost, and the chunks it came in if it was streamed."""

    response: Response
    grade: Grade = "clean"
    chunks: tuple[Chunk, ...] | None = None


def grade(response: Response) -> Grade:
    """Say whether an answer may be kept: whole ones yes; cut at max_tokens or with tool calls only where forced."""
    if not response.choices:
        return "never"
    reasons = {choice.stop_reason for choice in response.choices}
    parts = [part for choice in response.choices for part in choice.content]
    if reasons - {"stop", "length", "tool_calls"} or any(isinstance(part, Refusal) for part in parts):
        return "never"
    return "clean" if reasons == {"stop"} and not any(isinstance(part, ToolCall) for part in parts) else "forced"


class Store(Protocol):
    """Keeps bytes by key. `wall_s` is the time since 1970, so that processes agree on it.

    `trouble` says why the store does not work, where it does not.
    """

    trouble: str | None

    def get(self, wall_s: float, key: bytes) -> bytes | None:
        """Return what is kept, None when there is nothing or it is too old."""
        ...

    def put(self, wall_s: float, key: bytes, kept: bytes) -> None:
        """Keep it, and let go of others until everything fits."""
        ...

    def size(self) -> tuple[int, int]:
        """Return how many entries there are, and their bytes."""
        ...

    def close(self) -> None:
        """Give back what the system lent."""
        ...


class Memory:
    """The store inside the process: the least recently used goes first.

    An entry from the future is too old as well: the clock was set back, and nobody knows its age.
    """

    trouble: str | None = None

    def __init__(self, settings: Cache) -> None:
        self._ttl_s = settings.ttl_s
        self._max_bytes = settings.max_bytes
        self._kept: OrderedDict[bytes, tuple[float, bytes]] = OrderedDict()
        self._bytes = 0

    def get(self, wall_s: float, key: bytes) -> bytes | None:
        """Return what is kept, None when there is nothing or it is too old."""
        found = self._kept.get(key)
        if found is None:
            return None
        if not 0 <= wall_s - found[0] < self._ttl_s:
            self._drop(key)
            return None
        self._kept.move_to_end(key)
        return found[1]

    def put(self, wall_s: float, key: bytes, kept: bytes) -> None:
        """Keep it, and let go of others until everything fits."""
        if key in self._kept:
            self._drop(key)
        size = len(kept) + ENTRY_OVERHEAD_BYTES
        if size > self._max_bytes:
            return
        self._kept[key] = (wall_s, kept)
        self._bytes += size
        while self._bytes > self._max_bytes:
            self._drop(next(iter(self._kept)))

    def size(self) -> tuple[int, int]:
        """Return how many entries there are, and their bytes."""
        return len(self._kept), self._bytes

    def close(self) -> None:
        """Nothing was lent."""

    def _drop(self, key: bytes) -> None:
        self._bytes -= len(self._kept.pop(key)[1]) + ENTRY_OVERHEAD_BYTES


_encode = msgspec.msgpack.Encoder().encode


@functools.cache
def _decoder() -> msgspec.msgpack.Decoder[Entry]:
    """Made with the first stored answer: it takes 3 ms."""
    return msgspec.msgpack.Decoder(Entry)


def pack(entry: Entry) -> bytes | None:
    """Return an entry as bytes, None where it holds a number that has no place in them."""
    try:
        return _encode(entry)
    except OverflowError:
        return None


def unpack(kept: bytes) -> Entry | None:
    """Return an entry from bytes, None where they are not one."""
    try:
        return _decoder().decode(kept)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None
