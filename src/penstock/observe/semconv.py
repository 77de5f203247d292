"""The words of OpenTelemetry for calls to models: its GenAI semantic conventions, version 0.1.0.

That is their first release of their own; until 1.41.0 they were a part of OpenTelemetry's general conventions, whose
version 1.45.0 they build upon. All of them have the status "development": names may still change, and this page is the
only one that would. What Penstock adds is named `penstock.*`.

Source: github.com/open-telemetry/semantic-conventions-genai, docs/gen-ai/client-inference.md (read 2026-12).
"""

from __future__ import annotations

from typing import Final

GENAI_VERSION: Final = "0.1.0"
SCHEMA_URL: Final = f"https://opentelemetry.io/schemas/gen-ai/{GENAI_VERSION}"

OPERATION: Final = "gen_ai.operation.name"
PROVIDER: Final = "gen_ai.provider.name"
REQUEST_MODEL: Final = "gen_ai.request.model"
STREAM: Final = "gen_ai.request.stream"
OUTPUT_TYPE: Final = "gen_ai.output.type"
SERVER: Final = "server.address"
PORT: Final = "server.port"
RESPONSE_ID: Final = "gen_ai.response.id"
RESPONSE_MODEL: Final = "gen_ai.response.model"
FINISH: Final = "gen_ai.response.finish_reasons"
FIRST_CHUNK: Final = "gen_ai.response.time_to_first_chunk"
TOKENS_IN: Final = "gen_ai.usage.input_tokens"
TOKENS_OUT: Final = "gen_ai.usage.output_tokens"
CACHE_READ: Final = "gen_ai.usage.cache_read.input_tokens"
CACHE_WRITE: Final = "gen_ai.usage.cache_write.input_tokens"
REASONING: Final = "gen_ai.usage.reasoning.output_tokens"
AUDIO_IN: Final = "gen_ai.usage.audio.input_tokens"
AUDIO_OUT: Final = "gen_ai.usage.audio.output_tokens"
ERROR: Final = "error.type"
STATUS: Final = "http.response.status_code"
TOOL: Final = "gen_ai.tool.name"
TOOL_TYPE: Final = "gen_ai.tool.type"

# Content, recorded only on request.
INPUT: Final = "gen_ai.input.messages"
OUTPUT: Final = "gen_ai.output.messages"
SYSTEM: Final = "gen_ai.system_instructions"
TOOL_ARGUMENTS: Final = "gen_ai.tool.call.arguments"
TOOL_RESULT: Final = "gen_ai.tool.call.result"

OPERATIONS: Final = {"embed": "embeddings", "rerank": "rerank", "agent": "invoke_agent"}
"""What an operation is called; all others are 'chat'."""

PROVIDERS: Final = {"azure": "azure.ai.openai", "mistral": "mistral_ai", "xai": "x_ai"}
"""Providers whose well-known value is not the name that they have here."""

PARAMETERS: Final = {
    "max_tokens": "gen_ai.request.max_tokens",
    "temperature": "gen_ai.request.temperature",
    "top_p": "gen_ai.request.top_p",
    "top_k": "gen_ai.request.top_k",
    "seed": "gen_ai.request.seed",
    "n": "gen_ai.request.choice.count",
    "frequency_penalty": "gen_ai.request.frequency_penalty",
    "presence_penalty": "gen_ai.request.presence_penalty",
    "reasoning_effort": "gen_ai.request.reasoning.level",
    "dimensions": "gen_ai.embeddings.dimension.count",
    "output": OUTPUT_TYPE,
}

CALL_ID: Final = "penstock.call.id"
ATTEMPTS: Final = "penstock.call.attempts"
CACHED: Final = "penstock.call.cached"
COST: Final = "penstock.cost_usd"
ESTIMATED: Final = "penstock.usage.estimated"
WAIT: Final = "penstock.limiter.wait_s"
NUMBER: Final = "penstock.attempt.number"
SENT: Final = "penstock.attempt.sent"
REQUEST_ID: Final = "penstock.attempt.request_id"
TAG: Final = "penstock.tag."
FIRST_TOKEN: Final = "penstock.first_token"
"""An event in a span: the first output of a stream."""
