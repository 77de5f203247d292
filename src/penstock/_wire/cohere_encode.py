"""Write a request as a Cohere Chat v2 body."""

from __future__ import annotations

from typing import Final

from ..types import JSONSchema, Request
from . import capabilities
from .body import path_of, write
from .cohere_messages import Writer
from .protocol import JSON, Outbound, Provider

STOPS_MOST: Final = 5
"""Stop sequences that one request may have."""

_NAMES: Final = {
    "max_tokens": "max_tokens",
    "temperature": "temperature",
    "top_p": "p",
    "top_k": "k",
    "seed": "seed",
    "frequency_penalty": "frequency_penalty",
    "presence_penalty": "presence_penalty",
    "logprobs": "logprobs",
}
_NOT_HERE: Final = (
    "logit_bias",
    "top_logprobs",
    "parallel_tool_calls",
    "verbosity",
    "service_tier",
    "metadata",
    "user",
    "prompt_cache",
    "prompt_cache_key",
    "prompt_cache_retention",
    "audio",
    "prediction",
)


def encode(request: Request, provider: Provider, *, stream: bool) -> Outbound:
    """Write the request for `POST /v2/chat`; `extra` is merged last and wins.

    Raises: UnsupportedParameter for what the protocol, the provider or the model is known not to take.
    """
    left_out = capabilities.check(request, provider).left_out
    writer = Writer(request, provider)
    _refuse_others(request, writer)
    body: JSON = {"model": request.model, "messages": writer.messages()}
    for name, written in _NAMES.items():
        value = getattr(request, name)
        if value is not None and name not in left_out:
            body[written] = value
    if request.stop:
        if len(request.stop) > STOPS_MOST:
            raise writer.refuse("stop", f"Cohere Chat takes at most {STOPS_MOST} of them, not {len(request.stop)}")
        body["stop_sequences"] = list(request.stop)
    if writer.documents:
        body["documents"] = writer.documents
    _tools(body, request, writer)
    _format(body, request, writer)
    _thinking(body, request, writer)
    if stream:
        body["stream"] = True
    body.update(request.extra)
    return Outbound(path=path_of(provider, "/v2/chat", request.model), body=write(body, request, provider))


def _refuse_others(request: Request, writer: Writer) -> None:
    for name in _NOT_HERE:
        if getattr(request, name) is not None:
            raise writer.refuse(name, "Cohere Chat does not have it")
    if request.store:
        raise writer.refuse("store", "Cohere Chat stores no answers")
    if request.n is not None and request.n != 1:
        raise writer.refuse("n", "Cohere Chat gives one answer per request; send the request several times")
    if request.modalities not in {(), ("text",)}:
        raise writer.refuse("modalities", "Cohere Chat answers in text only")


def _tools(body: JSON, request: Request, writer: Writer) -> None:
    for tool in request.tools:
        if tool.cache is not None:
            raise writer.refuse("tools.cache", "the provider caches prompts by itself, without marks")
        if tool.native is not None:
            raise writer.refuse("tools", f"Cohere Chat has only functions as tools, and {tool.name!r} is none")
        function: JSON = {"name": tool.name, "parameters": tool.parameters or {"type": "object", "properties": {}}}
        if tool.description:
            function["description"] = tool.description
        body.setdefault("tools", []).append({"type": "function", "function": function})
    strict = {tool.strict for tool in request.tools if tool.strict is not None}
    if len(strict) > 1:
        raise writer.refuse("tools.strict", "Cohere Chat is strict about all tools or about none")
    if strict:
        body["strict_tools"] = strict.pop()
    match request.tool_choice:
        case None | "auto":
            pass
        case "none" | "required" as word:
            body["tool_choice"] = word.upper()
        case name:
            if [tool.name for tool in request.tools] != [name]:
                raise writer.refuse("tool_choice", f"Cohere Chat can force {name!r} only where it is the only tool")
            body["tool_choice"] = "REQUIRED"


def _format(body: JSON, request: Request, writer: Writer) -> None:
    wanted = request.response_format
    if wanted in (None, "text"):
        return
    other = "tools" if request.tools else "documents" if writer.documents else ""
    if other:
        raise writer.refuse("response_format", f"Cohere Chat holds no answer to JSON that may use {other}")
    body["response_format"] = {"type": "json_object"}
    if isinstance(wanted, JSONSchema):  # its name, description and strictness are OpenAI's; here a schema always binds
        body["response_format"]["json_schema"] = wanted.schema


def _thinking(body: JSON, request: Request, writer: Writer) -> None:
    wanted = request.thinking
    if request.reasoning_effort not in (None, "none"):
        raise writer.refuse("reasoning_effort", "Cohere Chat has thinking={'budget_tokens': …} instead")
    if wanted is None:
        if request.reasoning_effort == "none":
            body["thinking"] = {"type": "disabled"}
        return
    if wanted.mode not in {"enabled", "disabled"} or wanted.display is not None:
        raise writer.refuse("thinking", "Cohere Chat only takes the modes 'enabled' and 'disabled', and a budget")
    body["thinking"] = {"type": wanted.mode}
    if wanted.budget_tokens is not None:
        body["thinking"]["token_budget"] = wanted.budget_tokens
