"""What the official SDKs of Cohere and Google report of recorded traffic; see `recorded_sdks`."""

from __future__ import annotations

import functools
import json
from typing import Any

import cohere
import cohere.core
from google import genai
from google.genai import types
from tools.recorded_sdks import Clients, Reader, Seen, arguments, as_floats

from penstock import errors


class Answered(Exception):
    """An error status, as these SDKs tell it: one class for all of a kind, so the status makes the difference."""

    status = 0


class BadRequest(Answered):
    """A 400."""


class NotFound(Answered):
    """A 404."""


class Other(Answered):
    """Any other status."""


EXPECTED_ERRORS: tuple[tuple[type[Exception], tuple[type[errors.CallError], ...]], ...] = (
    (BadRequest, (errors.InvalidRequest, errors.ContentFiltered)),
    (NotFound, (errors.NotFound,)),
)

_COHERE_STOPS = {
    "COMPLETE": "stop",
    "STOP_SEQUENCE": "stop",
    "MAX_TOKENS": "length",
    "TOOL_CALL": "tool_calls",
    "ERROR": "error",
    None: "unknown",
}
_GEMINI_STOPS = {"STOP": "stop", "MAX_TOKENS": "length", "SAFETY": "content_filter", None: "unknown"}
_NUMBERS = {
    "finishReason": ["", "STOP", "MAX_TOKENS", "SAFETY", "RECITATION", "OTHER"],
    "modality": ["", "TEXT", "IMAGE"],
}
"""Vertex AI's numbers of enums, which were asked for in some recordings and which the SDK does not read."""


def _told(status: int) -> Answered:
    return {400: BadRequest, 404: NotFound}.get(status, Other)(status)


# -- Cohere


@functools.cache
def _cohere(base_url: str) -> cohere.ClientV2:
    return cohere.ClientV2(api_key="x", base_url=base_url)


def _options(item: Any) -> Any:
    return {"additional_headers": {"x-replay-id": item.id}, "max_retries": 0}


def sdk_cohere_chat(clients: Clients, item: Any) -> Seen:
    client: Any = _cohere(clients.base_url)
    asked: Any = {"model": "x", "messages": [{"role": "user", "content": "x"}], "request_options": _options(item)}
    try:
        return _cohere_stream(client.chat_stream(**asked)) if item.is_stream else _cohere_reply(client.chat(**asked))
    except cohere.core.ApiError as error:
        raise _told(error.status_code or 0) from error


def _cohere_reply(reply: Any) -> Seen:
    message = reply.message
    calls = [(call.id, call.function.name, arguments(call.function.arguments)) for call in message.tool_calls or ()]
    return Seen(
        texts=["".join(item.text for item in message.content or () if item.type == "text")],
        calls=[calls],
        stops=[_COHERE_STOPS[reply.finish_reason]],
        usage=_cohere_usage(reply.usage),
    )


def _cohere_stream(stream: Any) -> Seen:
    text, stop, usage = "", None, None
    calls: dict[int, list[str]] = {}
    for event in stream:
        match event.type:
            case "content-start" | "content-delta":
                text += event.delta.message.content.text or ""
            case "tool-call-start":
                call = event.delta.message.tool_calls
                calls[event.index] = [call.id, call.function.name, call.function.arguments or ""]
            case "tool-call-delta":
                calls[event.index][2] += event.delta.message.tool_calls.function.arguments or ""
            case "message-end":
                stop, usage = event.delta.finish_reason, _cohere_usage(event.delta.usage)
    made = [(call, name, arguments(text)) for call, name, text in calls.values()]
    return Seen(texts=[text], calls=[made], stops=[_COHERE_STOPS[stop]], usage=usage)


def _cohere_usage(usage: Any) -> dict[str, int] | None:
    """What is billed: that is what money is counted by."""
    billed = usage and usage.billed_units
    return billed and {"prompt": int(billed.input_tokens), "completion": int(billed.output_tokens)}


def sdk_cohere_embed(clients: Clients, item: Any) -> Seen:
    reply: Any = _cohere(clients.base_url).embed(
        model="x", input_type="search_query", texts=["x"], request_options=_options(item)
    )
    billed = reply.meta.billed_units.input_tokens
    return Seen(
        vectors=[as_floats(vector) for vector in reply.embeddings.float_ or ()],
        usage={"prompt": int(billed)} if billed else None,
    )


def sdk_cohere_rerank(clients: Clients, item: Any) -> Seen:
    reply: Any = _cohere(clients.base_url).rerank(model="x", query="x", documents=["x"], request_options=_options(item))
    return Seen(vectors=[[result.index, result.relevance_score] for result in reply.results])


# -- Gemini


@functools.cache
def _gemini(base_url: str) -> genai.Client:
    return genai.Client(api_key="x", http_options=types.HttpOptions(base_url=base_url))


def sdk_gemini(clients: Clients, item: Any) -> Seen:
    models: Any = _gemini(clients.base_url).models
    http = types.HttpOptions(headers={"x-replay-id": item.id})
    asked: Any = {"model": "x", "contents": "x", "config": types.GenerateContentConfig(http_options=http)}
    try:
        if item.status < 400 and (_has_numbers(item) or not (item.is_stream or item.api == "gemini.generate")):
            return _gemini_seen(_read_by_hand(item))
        if item.api == "gemini.stream":
            return _gemini_seen(list(models.generate_content_stream(**asked)))
        return _gemini_seen([models.generate_content(**asked)])
    except genai.errors.APIError as error:
        raise _told(error.code) from error


def _has_numbers(item: Any) -> bool:
    return "enum-encoding" in item.url


def _read_by_hand(item: Any) -> list[types.GenerateContentResponse]:
    """Read with the SDK's types what its client does not read: enums as numbers, and a stream as a list."""
    body = _named(json.loads(item.resp_body))
    return [
        types.GenerateContentResponse.model_validate(piece) for piece in (body if isinstance(body, list) else [body])
    ]


def _named(value: Any) -> Any:
    if isinstance(value, list):
        return [_named(each) for each in value]
    if not isinstance(value, dict):
        return value
    named = {}
    for key, each in value.items():
        if isinstance(each, int) and key in _NUMBERS:
            each = _NUMBERS[key][each]
        if key not in ("safetyRatings", "trafficType"):
            named[key] = _named(each)
    return named


def _gemini_seen(pieces: list[Any]) -> Seen:
    text, usage, stop = "", None, None
    calls: list[tuple[str, str, Any]] = []
    for piece in pieces:
        usage = _gemini_usage(piece.usage_metadata) or usage
        for candidate in piece.candidates or ():
            stop = candidate.finish_reason or stop
            for part in (candidate.content and candidate.content.parts) or ():
                text += (part.text or "") if not part.thought else ""
                if part.function_call:
                    call = part.function_call
                    calls.append((call.id or "", call.name, call.args or {}))
    reason = _GEMINI_STOPS[stop and stop.name]
    return Seen(
        texts=[text], calls=[calls], stops=["tool_calls" if calls and reason == "stop" else reason], usage=usage
    )


def _gemini_usage(usage: Any) -> dict[str, int] | None:
    if usage is None or usage.prompt_token_count is None:
        return None
    thoughts = usage.thoughts_token_count or 0
    return {
        "prompt": usage.prompt_token_count + (usage.tool_use_prompt_token_count or 0),
        "completion": (usage.candidates_token_count or 0) + thoughts,
        "cache_read": usage.cached_content_token_count or 0,
        "reasoning": thoughts,
        "total": usage.total_token_count or 0,
    }


def sdk_gemini_embed(clients: Clients, item: Any) -> Seen:
    http = types.HttpOptions(headers={"x-replay-id": item.id})
    reply: Any = _gemini(clients.base_url).models.embed_content(
        model="x", contents=["x"], config=types.EmbedContentConfig(http_options=http)
    )
    return Seen(vectors=[as_floats(each.values) for each in reply.embeddings])


READERS: dict[str, Reader] = {
    "cohere.chat.v2": Reader("cohere", sdk_cohere_chat, ""),
    "cohere.embed": Reader("cohere_embeddings", sdk_cohere_embed, ""),
    "rerank": Reader("cohere_rerank", sdk_cohere_rerank, ""),
    "gemini.generate": Reader("gemini", sdk_gemini, ""),
    "gemini.stream": Reader("gemini", sdk_gemini, ""),
    "gemini.embed": Reader("gemini_embeddings", sdk_gemini_embed, ""),
}
"""By the api of an interaction."""
