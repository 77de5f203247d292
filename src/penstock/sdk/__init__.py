"""Official SDKs behind the gate: their own clients, with Penstock as the transport under them.

    gate = penstock.Client(budget=penstock.Budget(daily="5.00"))
    client = openai.OpenAI(http_client=penstock.sdk.http_client(gate))

What the SDK sends goes out byte for byte, with the SDK's own key, once budget, limits and breaker let it. The gate
retries and the SDK does not: an answer that the gate gave up says so (`x-should-retry: false`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .._io.passage import Others, Passages
from .._policy.fairqueue import Priority
from ..client import AsyncClient, Client
from ..errors import ConfigError, PenstockError
from .transports import Library, classes, load

__all__ = ["error_of", "http_client", "transport"]


def http_client(gate: Client | AsyncClient, library: Library = "httpx2", **options: Any) -> Any:
    """Return an HTTP client for an official SDK that goes through the gate: sync for a Client, async for the other.

    `library` is the one that the SDK is built on: 'httpx2' (openai, anthropic, mistralai, google-genai) or 'httpx'
    (cohere, groq). `options` are those of `transport`. Closing it leaves the gate open.

    Raises: ConfigError; MissingExtra without the library.
    """
    made = transport(gate, library, **options)
    lib = load(library)
    if isinstance(gate, Client):
        return lib.Client(transport=made, follow_redirects=True)
    return lib.AsyncClient(transport=made, follow_redirects=True)


def transport(
    gate: Client | AsyncClient,
    library: Library = "httpx2",
    *,
    provider: str | None = None,
    include_usage: bool = False,
    others: Others | None = None,
    tags: Mapping[str, str] | None = None,
    priority: Priority = "normal",
    deadline_s: float | None = None,
) -> Any:
    """Return the transport alone, for an HTTP client of your own.

    `provider` is the row of the provider table that requests to an address belong to which no row has.
    `include_usage` lets Penstock add `stream_options` to streams of Chat Completions that have none, so that the
    provider tells their usage; else it is estimated, and flagged so. `others` says what becomes of requests that are no
    known call and may cost something: 'pass' lets them through uncounted, 'refuse' does not; without a budget they
    pass, with one they do not. `tags`, `priority` and `deadline_s` are those of every call through it.

    Raises: ConfigError; MissingExtra without the library.
    """
    if not isinstance(gate, Client | AsyncClient):
        raise ConfigError(f"the gate is {gate!r}; expected a penstock.Client or a penstock.AsyncClient")
    if library not in ("httpx2", "httpx"):
        raise ConfigError(f"library is {library!r}; expected 'httpx2' or 'httpx'")
    sync, other = classes(library)
    passages: Passages[Any] = Passages(
        gate,
        provider=provider,
        include_usage=include_usage,
        others=others,
        tags=tags,
        priority=priority,
        deadline_s=deadline_s,
    )
    return sync(passages) if isinstance(gate, Client) else other(passages)


def error_of(error: BaseException) -> PenstockError | None:
    """Return Penstock's own error behind one that an SDK raised, with its attempts and costs; None where there is none.

    It is found in the answer that the SDK's error carries, or among its causes. Errors of Cohere's SDK carry no answer:
    their `headers['x-penstock-error']` has the code, and their `body` the message.
    """
    seen: BaseException | None = error
    while seen is not None:
        if isinstance(seen, PenstockError):
            return seen
        response = getattr(seen, "response", None)
        if response is None:
            response = getattr(seen, "raw_response", None)
        found = getattr(response, "extensions", {}).get("penstock_error")
        if isinstance(found, PenstockError):
            return found
        seen = seen.__cause__ or seen.__context__
    return None
