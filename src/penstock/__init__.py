"""Penstock: the gate between a program and the LLM providers it pays for.

    from penstock import Client

    with Client() as client:
        answer = client.complete("Error or not? ERROR [db] refused", model="anthropic:claude-haiku-4-5")
        print(answer.text, answer.cost)

Names are loaded when first used, so that importing the package costs next to nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ._flow.extracted import Extracted
    from ._io.extract_stream import AsyncExtractStream, ExtractStream
    from ._io.ledger.settings import Ledger
    from ._policy.breaker import BreakerSettings
    from ._policy.budget import Budget, BudgetAlert
    from ._policy.cache import Cache
    from ._policy.hedge import Hedge
    from ._policy.limiter import Limits
    from ._policy.retry import RetryPolicy
    from ._policy.tally import Totals
    from ._policy.timeouts import Timeouts
    from ._text.parse import parse
    from ._text.result import Parsed, Repair
    from .client import AsyncClient, AsyncStream, Client, Stream
    from .embeddings import Embeddings
    from .errors import ExtractionFailed, ParseError, PenstockError
    from .types import (
        Attempt,
        Audio,
        Choice,
        Chunk,
        Document,
        Image,
        JSONSchema,
        Message,
        Opaque,
        Reasoning,
        Refusal,
        Request,
        Response,
        Seam,
        Text,
        Thinking,
        Tool,
        ToolCall,
        ToolResult,
        Usage,
    )

__version__ = "0.1.0"

_HOMES = {
    "Client": "client",
    "AsyncClient": "client",
    "Stream": "client",
    "AsyncStream": "client",
    "Hedge": "_policy.hedge",
    "Limits": "_policy.limiter",
    "Budget": "_policy.budget",
    "BudgetAlert": "_policy.budget",
    "Cache": "_policy.cache",
    "Ledger": "_io.ledger.settings",
    "RetryPolicy": "_policy.retry",
    "BreakerSettings": "_policy.breaker",
    "Timeouts": "_policy.timeouts",
    "Totals": "_policy.tally",
    "Extracted": "_flow.extracted",
    "ExtractStream": "_io.extract_stream",
    "AsyncExtractStream": "_io.extract_stream",
    "ExtractionFailed": "errors",
    "parse": "_text.parse",
    "Parsed": "_text.result",
    "Repair": "_text.result",
    "Embeddings": "embeddings",
    "ParseError": "errors",
    "PenstockError": "errors",
    "Attempt": "types",
    "Audio": "types",
    "Choice": "types",
    "Chunk": "types",
    "Document": "types",
    "Image": "types",
    "JSONSchema": "types",
    "Message": "types",
    "Opaque": "types",
    "Reasoning": "types",
    "Refusal": "types",
    "Request": "types",
    "Response": "types",
    "Seam": "types",
    "Text": "types",
    "Thinking": "types",
    "Tool": "types",
    "ToolCall": "types",
    "ToolResult": "types",
    "Usage": "types",
}

__all__ = [  # noqa: RUF022
    "Client",
    "AsyncClient",
    "Stream",
    "AsyncStream",
    "Hedge",
    "Limits",
    "Budget",
    "BudgetAlert",
    "Cache",
    "Ledger",
    "RetryPolicy",
    "BreakerSettings",
    "Timeouts",
    "Totals",
    "Extracted",
    "ExtractStream",
    "AsyncExtractStream",
    "ExtractionFailed",
    "parse",
    "Parsed",
    "Repair",
    "Embeddings",
    "ParseError",
    "PenstockError",
    "Attempt",
    "Audio",
    "Choice",
    "Chunk",
    "Document",
    "Image",
    "JSONSchema",
    "Message",
    "Opaque",
    "Reasoning",
    "Refusal",
    "Request",
    "Response",
    "Seam",
    "Text",
    "Thinking",
    "Tool",
    "ToolCall",
    "ToolResult",
    "Usage",
    "__version__",
]


def __getattr__(name: str) -> object:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module 'penstock' has no attribute {name!r}")
    from importlib import import_module

    value = getattr(import_module(f".{home}", __name__), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
