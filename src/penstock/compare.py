"""The same question to several models, side by side: their answers, how fast, how many tokens, how much.

with Client() as client:
    for row in compare(client, "Why is the sky blue?", ["openai:gpt-4o-mini", "anthropic:claude-haiku-4-5"]).rows:
        print(row.model, row.first_token_s, row.latency_s, row.cost, row.text)
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from typing import Any, Unpack

import msgspec

from ._flow.prompt import Prompt, StreamOptions
from .client import AsyncClient, Client
from .errors import ConfigError, PenstockError
from .types import Response, Usage, to_usd

__all__ = ["Compared", "Comparison", "compare", "compare_async"]

MODELS_MOST = 64
"""Threads of one comparison."""


class Compared(msgspec.Struct, frozen=True, kw_only=True):
    """What one model did: its `response`, or the `error` that it ended in; times in seconds since its call began."""

    model: str
    response: Response | None = None
    error: PenstockError | None = None

    @property
    def text(self) -> str:
        """What it said; empty where it failed."""
        return "" if self.response is None else self.response.text

    @property
    def first_token_s(self) -> float | None:
        """How long it took to its first output."""
        return None if self.response is None else self.response.first_token_s

    @property
    def latency_s(self) -> float | None:
        """How long it took in all, waits and retries included."""
        return None if self.response is None else self.response.latency_s

    @property
    def usage(self) -> Usage | None:
        """The tokens of the answer."""
        return None if self.response is None else self.response.usage

    @property
    def cost_nano(self) -> int | None:
        """Nano-dollars of all attempts, also those of a call that failed; None when a price is unknown."""
        done = self.response or self.error
        return None if done is None else done.cost_nano

    @property
    def cost(self) -> Decimal | None:
        """Dollars, exact, of all attempts; None when a price is unknown."""
        return None if self.cost_nano is None else to_usd(self.cost_nano)


class Comparison(msgspec.Struct, frozen=True):
    """What all of them did, in the order of the models."""

    rows: tuple[Compared, ...]

    @property
    def answered(self) -> tuple[Compared, ...]:
        """The rows that have an answer."""
        return tuple(row for row in self.rows if row.response is not None)

    @property
    def fastest(self) -> Compared | None:
        """Who was done first."""
        return min(self.answered, key=lambda row: row.latency_s or 0.0, default=None)

    @property
    def cheapest(self) -> Compared | None:
        """Who cost least, of those whose price is known."""
        priced = [(row.cost_nano, at, row) for at, row in enumerate(self.answered) if row.cost_nano is not None]
        return min(priced)[2] if priced else None


def compare(
    client: Client,
    prompt: Prompt,
    models: Sequence[str],
    *,
    on_done: Callable[[Compared], object] | None = None,
    **options: Unpack[StreamOptions],
) -> Comparison:
    """Ask several models the same at the same time, in threads; nobody falls back to another model unless told to.

    `on_done` is told of each row as it ends, in a thread of its own. `options` are those of `stream`. A model that
    fails is a row with its error.

    Raises: ConfigError for a model that is named twice or cannot be asked, before anything is sent.
    """
    chosen = _checked(client, prompt, models, options)
    stop = threading.Event()

    def ask(model: str) -> Compared:
        try:
            with client.stream(prompt, **{**chosen, "model": model}) as stream:
                for _ in stream:
                    if stop.is_set():
                        break
                row = Compared(model=model, response=stream.response)
        except PenstockError as error:
            row = Compared(model=model, error=error)
        if on_done is not None:
            on_done(row)
        return row

    pool = ThreadPoolExecutor(len(models), thread_name_prefix="penstock-compare")
    try:
        return Comparison(tuple(pool.map(ask, models)))
    except BaseException:
        stop.set()  # the others end at their next chunk, or when the client is closed
        raise
    finally:
        pool.shutdown(wait=not stop.is_set(), cancel_futures=True)


async def compare_async(
    client: AsyncClient,
    prompt: Prompt,
    models: Sequence[str],
    *,
    on_done: Callable[[Compared], object] | None = None,
    **options: Unpack[StreamOptions],
) -> Comparison:
    """Ask several models the same at the same time in the running loop, as `compare` does.

    Raises: as `compare`.
    """
    chosen = _checked(client, prompt, models, options)

    async def ask(model: str) -> Compared:
        try:
            async with client.stream(prompt, **{**chosen, "model": model}) as stream:
                row = Compared(model=model, response=await stream.finish())
        except PenstockError as error:
            row = Compared(model=model, error=error)
        if on_done is not None:
            on_done(row)
        return row

    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(ask(model)) for model in models]
    return Comparison(tuple(task.result() for task in tasks))


def _checked(
    client: Client | AsyncClient, prompt: Prompt, models: Sequence[str], options: StreamOptions
) -> dict[str, Any]:
    """Return the options of every call, once each model is known to be one that can be asked."""
    if isinstance(models, str) or not models or len(models) > MODELS_MOST:
        raise ConfigError(f"models is {models!r:.80}; expected 1 to {MODELS_MOST} models as 'provider:name'")
    twice = next((model for at, model in enumerate(models) if model in models[:at]), None)
    if twice is not None:
        raise ConfigError(f"the model {twice!r} is named twice; it would be asked and paid twice")
    if options.get("model") is not None or options.get("tier") is not None:
        raise ConfigError("a comparison asks the models that it is given; leave 'model' and 'tier' out")
    chosen: dict[str, Any] = {"fallbacks": [], **options}
    once = {name: value for name, value in chosen.items() if name != "continuations"}
    for model in models:
        client.preview(prompt, **{**once, "model": model})
    return chosen
