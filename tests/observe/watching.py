"""A client of each colour that is watched from its first call on."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterable
from typing import Any

from penstock import AsyncClient, Client
from penstock.errors import PenstockError
from penstock.testing import AsyncScriptedTransport, Scripted, ScriptedTransport
from tests.flow.colours import KEYS, QUICK

MODEL = "openai:gpt-4o-mini"


def watched(
    colour: str,
    answers: Iterable[Scripted],
    watch: Callable[[Any], Any],
    *,
    calls: int = 1,
    stream: bool = False,
    client: dict[str, Any] | None = None,
    **options: Any,
) -> Any:
    """Make calls in a colour, whatever error they end in, and return what `watch` made of the client."""
    settings: dict[str, Any] = {"keys": KEYS, "config": False, "env": {}, "retry": QUICK, **(client or {})}
    options.setdefault("model", MODEL)
    if colour == "async":
        return asyncio.run(_async(settings, answers, watch, calls, stream, options))
    with Client(transport=ScriptedTransport(answers), **settings) as sync:
        found = watch(sync)
        for _ in range(calls):
            with contextlib.suppress(PenstockError):
                if stream:
                    list(sync.stream("hi", **options))
                else:
                    sync.complete("hi", **options)
        return found


async def _async(
    settings: dict[str, Any],
    answers: Iterable[Scripted],
    watch: Callable[[Any], Any],
    calls: int,
    stream: bool,
    options: dict[str, Any],
) -> Any:
    async with AsyncClient(transport=AsyncScriptedTransport(answers), **settings) as client:
        found = watch(client)
        for _ in range(calls):
            with contextlib.suppress(PenstockError):
                if stream:
                    [chunk async for chunk in client.stream("hi", **options)]
                else:
                    await client.complete("hi", **options)
        return found
