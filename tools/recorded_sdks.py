"""What the official SDKs report of recorded traffic: one reader per protocol, in a table that names them all.

A protocol that Penstock learns to speak gets a row in `READERS`; one that it does not speak says why in `UNSPOKEN`.
"""

from __future__ import annotations

import array
import collections
import functools
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import anthropic
import jiter
import openai

from penstock import errors

STOPS = {
    "stop": "stop",
    "eos": "stop",
    "length": "length",
    "tool_calls": "tool_calls",
    "function_call": "tool_calls",
    "content_filter": "content_filter",
    "end_turn": "stop",
    "stop_sequence": "stop",
    "max_tokens": "length",
    "tool_use": "tool_calls",
    "pause_turn": "paused",
    "refusal": "refusal",
    None: "unknown",
}


@dataclass
class Seen:
    """What one reader says of one answer; all that must agree."""

    texts: list[str] = field(default_factory=list)
    calls: list[list[tuple[str, str, Any]]] = field(default_factory=list)
    stops: list[str | None] = field(default_factory=list)
    usage: dict[str, int] | None = None
    error: str | None = None
    vectors: list[list[float]] = field(default_factory=list)


class Clients:
    """The official clients, pointed at one replay server, each made when first asked for."""

    def __init__(self, base_url: str) -> None:
        self.base_url = base_url

    @functools.cached_property
    def openai(self) -> openai.OpenAI:
        return openai.OpenAI(base_url=f"{self.base_url}/v1", api_key="x", max_retries=0)

    @functools.cached_property
    def anthropic(self) -> anthropic.Anthropic:
        return anthropic.Anthropic(base_url=self.base_url, api_key="x", max_retries=0)


def arguments(text: str | None) -> Any:
    """Compare arguments by value; where they were cut off, as the Anthropic SDK closes them; free text as it is."""
    try:
        return json.loads(text or "{}")
    except ValueError:
        pass
    try:
        return jiter.from_json((text or "").encode(), partial_mode=True)
    except ValueError:
        return text


def sdk_chat(clients: Clients, item: Any) -> Seen:
    ask: Any = clients.openai.chat.completions.create
    headers = {"x-replay-id": item.id}
    messages = [{"role": "user", "content": "x"}]
    if not item.is_stream:
        reply = ask(model="x", messages=messages, extra_headers=headers)
        if reply.choices is None:
            return Seen(error=str(reply.model_extra))
        seen = Seen(usage=chat_usage(reply.usage))
        for choice in sorted(reply.choices, key=lambda choice: choice.index or 0):
            message = choice.message  # None where Azure filtered the answer
            calls = [sdk_call(call) for call in (message and message.tool_calls) or ()]
            if message and message.function_call:
                calls.append(("", message.function_call.name, arguments(message.function_call.arguments)))
            seen.texts.append(flat(message and message.content))
            seen.calls.append(calls)
            seen.stops.append(expected_stop(choice.finish_reason, calls, message and message.refusal))
        return seen
    return sdk_chat_stream(ask(model="x", messages=messages, extra_headers=headers, stream=True))


def sdk_chat_stream(stream: Any) -> Seen:
    texts: dict[int, str] = collections.defaultdict(str)
    calls: dict[int, dict[Any, list[Any]]] = collections.defaultdict(dict)
    stops: dict[int, Any] = {}
    refusals: dict[int, Any] = {}
    usage = None
    for chunk in stream:
        usage = chat_usage(chunk.usage) or groq_usage(chunk) or usage
        for choice in chunk.choices or ():
            texts[choice.index] += flat(choice.delta.content)
            refusals[choice.index] = refusals.get(choice.index) or choice.delta.refusal
            for position, call in enumerate(choice.delta.tool_calls or ()):
                key = position if call.index is None else call.index
                one = calls[choice.index].setdefault(key, [call.id or "", "", ""])
                one[1] = one[1] or (call.function.name or "")
                one[2] += call.function.arguments or ""
            if choice.finish_reason is not None:
                stops.setdefault(choice.index, choice.finish_reason)
    seen = Seen(usage=usage)
    for index in sorted(texts.keys() | stops.keys()):
        made = [(one[0], one[1], arguments(one[2])) for one in calls[index].values()]
        seen.texts.append(texts[index])
        seen.calls.append(made)
        seen.stops.append(expected_stop(stops.get(index), made, refusals.get(index)))
    return seen


def groq_usage(chunk: Any) -> dict[str, int] | None:
    """Groq's older streams report usage in a field that the SDK passes on without a type."""
    extra = (chunk.model_extra or {}).get("x_groq") or {}
    return chat_usage(openai.types.CompletionUsage.model_construct(**extra["usage"])) if "usage" in extra else None


def flat(content: Any) -> str:
    if isinstance(content, list):
        return "".join(part.get("text", "") for part in content if part.get("type") == "text")
    return content or ""


def sdk_call(call: Any) -> tuple[str, str, Any]:
    if call.type == "custom":
        return call.id, call.custom.name, call.custom.input
    return call.id or "", call.function.name, arguments(call.function.arguments)


def expected_stop(raw: str | None, calls: list[Any], refusal: str | None) -> str:
    stop = STOPS.get(raw, "other")
    if calls and stop not in {"length", "content_filter"}:
        return "tool_calls"
    return "refusal" if refusal and stop == "stop" else stop


def chat_usage(usage: Any) -> dict[str, int] | None:
    if usage is None or usage.prompt_tokens is None:
        return None
    into, out = usage.prompt_tokens_details, usage.completion_tokens_details
    return {
        "prompt": usage.prompt_tokens,
        "completion": usage.completion_tokens or 0,
        "cache_read": (into and into.cached_tokens) or 0,
        "reasoning": (out and out.reasoning_tokens) or 0,
        "total": usage.total_tokens or 0,
    }


def sdk_messages(clients: Clients, item: Any) -> Seen:
    ask: Any = clients.anthropic.messages.stream if item.is_stream else clients.anthropic.messages.create
    options = {
        "model": "x",
        "max_tokens": 1,
        "messages": [{"role": "user", "content": "x"}],
        "extra_headers": {"x-replay-id": item.id},
    }
    if item.is_stream:
        with ask(**options) as stream:
            message = stream.get_final_message()
    else:
        message = ask(**options)
    calls = [(part.id, part.name, part.input) for part in message.content if part.type == "tool_use"]
    usage = message.usage
    thinking = getattr(usage, "output_tokens_details", None)
    return Seen(
        texts=["".join(part.text for part in message.content if part.type == "text")],
        calls=[calls],
        stops=[expected_stop(message.stop_reason, calls, None)],
        usage={
            "input": usage.input_tokens,
            "cache_read": usage.cache_read_input_tokens or 0,
            "cache_write": usage.cache_creation_input_tokens or 0,
            "completion": usage.output_tokens,
            "reasoning": (thinking and thinking.thinking_tokens) or 0,
        },
    )


def sdk_responses(clients: Clients, item: Any) -> Seen:
    ask: Any = clients.openai.responses.create
    headers = {"x-replay-id": item.id}
    if not item.is_stream:
        return of_response(ask(model="x", input="x", extra_headers=headers))
    text, failed, last = "", "", None
    for event in ask(model="x", input="x", extra_headers=headers, stream=True):
        match event.type:
            case "response.output_text.delta":
                text += event.delta
            case "response.completed" | "response.incomplete":
                last = event.response
            case "response.failed" | "error":
                failed = str(event)
    if last is None:
        return Seen(error=failed)
    seen = of_response(last)
    if not last.output:  # some servers leave out of the end what they had streamed
        seen.texts = [text]
    elif seen.texts != [text]:
        seen.error = f"the stream said {text!r} and its end {seen.texts!r}"
    return seen


def of_response(response: Any) -> Seen:
    if response.error is not None:
        return Seen(error=str(response.error))
    calls: list[tuple[str, str, Any]] = []
    refused = False
    for item in response.output:
        if item.type == "function_call":
            calls.append((item.call_id, item.name, arguments(item.arguments)))
        elif item.type == "custom_tool_call":
            calls.append((item.call_id, item.name, arguments(item.input)))
        elif item.type == "message":
            refused = refused or any(part.type == "refusal" for part in item.content)
    reason = response.incomplete_details and response.incomplete_details.reason
    cut = {"max_output_tokens": "length", "content_filter": "content_filter"}
    spoken = "refusal" if refused and not response.output_text else "stop"
    stop = cut.get(reason, "other") if reason else "tool_calls" if calls else spoken
    usage = response.usage
    return Seen(
        texts=[response.output_text],
        calls=[calls],
        stops=[stop],
        usage=usage
        and {
            "prompt": usage.input_tokens,
            "completion": usage.output_tokens,
            "cache_read": (usage.input_tokens_details and usage.input_tokens_details.cached_tokens) or 0,
            "reasoning": (usage.output_tokens_details and usage.output_tokens_details.reasoning_tokens) or 0,
            "total": usage.total_tokens,
        },
    )


def sdk_embeddings(clients: Clients, item: Any) -> Seen:
    ask: Any = clients.openai.embeddings.create
    reply = ask(model="x", input="x", extra_headers={"x-replay-id": item.id})
    if reply.data is None:
        return Seen(error=str(reply.model_extra))
    prompt = reply.usage and (reply.usage.prompt_tokens or reply.usage.total_tokens)
    vectors = [datum.embedding for datum in sorted(reply.data, key=lambda datum: datum.index or 0)]
    return Seen(vectors=[as_floats(vector) for vector in vectors], usage={"prompt": prompt} if prompt else None)


def as_floats(vector: Any) -> list[float]:
    """Round to the 32 bits that vectors have."""
    return list(array.array("f", vector))


@dataclass(frozen=True)
class Reader:
    """How one protocol is read: by which wire here, behind which base path, and by which official SDK."""

    wire: str
    truth: Callable[[Clients, Any], Seen]
    base: str = "/v1"


READERS: dict[str, Reader] = {
    "chat": Reader("openai_chat", sdk_chat),
    "messages": Reader("anthropic", sdk_messages, ""),
    "responses": Reader("openai_responses", sdk_responses),
    "embeddings": Reader("openai_embeddings", sdk_embeddings),
}
"""By the api of an interaction."""

UNSPOKEN: dict[str, str] = {
    "bedrock": "Bedrock signs requests and frames streams in a way of its own",
    "completions": "the completions of before Chat Completions are not offered",
    "cohere.chat.v1": "Cohere's v1 chat was replaced by v2",
    "ollama": "Ollama is spoken to in the protocol of Chat Completions",
    "gemini.interactions": "Gemini is spoken to by generateContent",
    "batches": "batches are several requests that make sense together only; tests/whole speaks them to the simulator",
    "files": "see batches",
    "models": "the list of a provider's models is not asked for",
}
"""Why an interaction is not read, by its api or the beginning of it."""


def unspoken(api: str) -> str:
    """Say why an api is not read."""
    known = next((why for name, why in UNSPOKEN.items() if api == name or api.startswith(f"{name}.")), None)
    return known or "not offered"


EXPECTED_ERRORS: tuple[tuple[type[Exception], tuple[type[errors.CallError], ...]], ...] = (
    (openai.AuthenticationError, (errors.AuthenticationFailed,)),
    (openai.NotFoundError, (errors.NotFound,)),
    (openai.PermissionDeniedError, (errors.PermissionDenied,)),
    (openai.RateLimitError, (errors.RateLimited, errors.QuotaExhausted, errors.ContextTooLong)),
    (openai.BadRequestError, (errors.InvalidRequest, errors.ContentFiltered, errors.QuotaExhausted)),
    (openai.UnprocessableEntityError, (errors.InvalidRequest,)),
    (openai.InternalServerError, (errors.ServerFault, errors.Overloaded)),
    (anthropic.AuthenticationError, (errors.AuthenticationFailed,)),
    (anthropic.NotFoundError, (errors.NotFound,)),
    (anthropic.BadRequestError, (errors.InvalidRequest, errors.ContentFiltered, errors.QuotaExhausted)),
    (anthropic.RateLimitError, (errors.RateLimited, errors.QuotaExhausted)),
    (anthropic.InternalServerError, (errors.ServerFault, errors.Overloaded)),
)
