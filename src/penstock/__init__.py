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
    from ._flow.tools import AgentTool, Toolbox, tool
    from ._io.counting import TokenCount
    from ._io.extract_stream import AsyncExtractStream, ExtractStream
    from ._io.ledger.settings import Ledger
    from ._policy.alerts import BudgetAlert
    from ._policy.breaker import BreakerSettings
    from ._policy.budget import Budget
    from ._policy.cache import Cache
    from ._policy.cascade import Cascade
    from ._policy.choosing import ModelFacts, Routing
    from ._policy.hedge import Hedge
    from ._policy.limiter import Limits
    from ._policy.onerror import ErrorPolicy
    from ._policy.retry import RetryPolicy
    from ._policy.routing import Route
    from ._policy.tally import Totals
    from ._policy.timeouts import Timeouts
    from ._text.complexity import detect_complexity
    from ._text.parse import parse
    from ._text.result import Parsed, Repair
    from ._text.truncate import Truncate
    from .agent.face import Agent, AgentStream, AsyncAgent, AsyncAgentStream
    from .agent.mcp import McpServer
    from .client import AsyncClient, AsyncStream, Client, Stream
    from .embeddings import Embeddings
    from .errors import AgentFailed, CheckFailed, ExtractionFailed, ParseError, PenstockError
    from .reranking import Ranked, Reranking
    from .transcript import AgentEvent, AgentResult, ToolUse, Transcript
    from .types import (
        Attempt,
        Audio,
        Choice,
        Chunk,
        Document,
        Image,
        JSONSchema,
        Message,
        Notice,
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
    "BudgetAlert": "_policy.alerts",
    "Cache": "_policy.cache",
    "Cascade": "_policy.cascade",
    "Routing": "_policy.choosing",
    "ModelFacts": "_policy.choosing",
    "Route": "_policy.routing",
    "ErrorPolicy": "_policy.onerror",
    "Ledger": "_io.ledger.settings",
    "RetryPolicy": "_policy.retry",
    "BreakerSettings": "_policy.breaker",
    "Timeouts": "_policy.timeouts",
    "Totals": "_policy.tally",
    "Extracted": "_flow.extracted",
    "ExtractStream": "_io.extract_stream",
    "AsyncExtractStream": "_io.extract_stream",
    "CheckFailed": "errors",
    "ExtractionFailed": "errors",
    "detect_complexity": "_text.complexity",
    "Truncate": "_text.truncate",
    "parse": "_text.parse",
    "TokenCount": "_io.counting",
    "Parsed": "_text.result",
    "Repair": "_text.result",
    "Embeddings": "embeddings",
    "Agent": "agent.face",
    "AsyncAgent": "agent.face",
    "AgentStream": "agent.face",
    "AsyncAgentStream": "agent.face",
    "AgentEvent": "transcript",
    "AgentResult": "transcript",
    "AgentFailed": "errors",
    "Transcript": "transcript",
    "tool": "_flow.tools",
    "AgentTool": "_flow.tools",
    "Toolbox": "_flow.tools",
    "ToolUse": "transcript",
    "McpServer": "agent.mcp",
    "Ranked": "reranking",
    "Reranking": "reranking",
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
    "Notice": "types",
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
    "Cascade",
    "Routing",
    "ModelFacts",
    "Route",
    "ErrorPolicy",
    "Truncate",
    "Ledger",
    "RetryPolicy",
    "BreakerSettings",
    "Timeouts",
    "Totals",
    "Extracted",
    "ExtractStream",
    "AsyncExtractStream",
    "CheckFailed",
    "ExtractionFailed",
    "detect_complexity",
    "parse",
    "TokenCount",
    "Parsed",
    "Repair",
    "Embeddings",
    "Agent",
    "AsyncAgent",
    "AgentStream",
    "AsyncAgentStream",
    "AgentEvent",
    "AgentResult",
    "AgentFailed",
    "Transcript",
    "tool",
    "AgentTool",
    "Toolbox",
    "ToolUse",
    "McpServer",
    "Ranked",
    "Reranking",
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
    "Notice",
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
