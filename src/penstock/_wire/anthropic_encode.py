"""Write a request as an Anthropic Messages body."""

from __future__ import annotations

from typing import Final

from ..types import JSONSchema, Request
from . import capabilities
from .anthropic_messages import Writer, cache_control
from .anthropic_versions import FIRST
from .body import path_of, write
from .protocol import JSON, Outbound, Provider

DEFAULT_MAX_TOKENS: Final = 4096
"""Sent where the caller gave none, since the protocol demands one; less where the model's own limit is lower."""

_SAMPLING: Final = ("temperature", "top_p", "top_k")
_NOT_HERE: Final = (
    "seed",
    "frequency_penalty",
    "presence_penalty",
    "logit_bias",
    "top_logprobs",
    "verbosity",
    "prompt_cache_key",
    "prompt_cache_retention",
    "audio",
    "prediction",
)


def encode(request: Request, provider: Provider, *, stream: bool) -> Outbound:
    """Write the request for `POST /v1/messages`; `extra` is merged last and wins.

    Raises: UnsupportedParameter for what the protocol, the API version or the model is known not to take.
    """
    checked = capabilities.check(request, provider)
    writer = Writer(request, provider)
    _refuse_others(request, provider, writer)
    body: JSON = {
        "model": request.model,
        "max_tokens": default_max_tokens(request) if request.max_tokens is None else request.max_tokens,
        "messages": writer.messages(),
    }
    system = writer.system()
    if system:
        body["system"] = system
    for name in (*_SAMPLING, "service_tier"):
        value = getattr(request, name)
        if value is not None and name not in checked.left_out:
            body[name] = value
    if request.stop:
        body["stop_sequences"] = list(request.stop)
    if request.prompt_cache is not None:
        body["cache_control"] = cache_control(request.prompt_cache)
    user = request.user or (request.metadata or {}).get("user_id")
    if user is not None:
        body["metadata"] = {"user_id": user}
    _tools(body, request)
    _output(body, request, writer)
    _thinking(body, request)
    if stream:
        body["stream"] = True
    body.update(request.extra)
    path = path_of(provider, "/v1/messages", request.model)
    return Outbound(path=path, body=write(body, request, provider), notes=checked.notes)


def default_max_tokens(request: Request) -> int:
    """Return the max_tokens to send where the caller gave none: room for a thinking budget and an answer."""
    budget = request.thinking.budget_tokens or 0 if request.thinking is not None else 0
    known = capabilities.max_output(request.model)
    wanted = DEFAULT_MAX_TOKENS + budget
    return wanted if known is None else min(wanted, known)


def _refuse_others(request: Request, provider: Provider, writer: Writer) -> None:
    for name in _NOT_HERE:
        if getattr(request, name) is not None:
            raise writer.refuse(name, "Anthropic Messages does not have it")
    if request.logprobs:
        raise writer.refuse("logprobs", "Anthropic Messages does not have them")
    if request.store:
        raise writer.refuse("store", "Anthropic Messages stores no answers")
    if request.n is not None and request.n != 1:
        raise writer.refuse("n", "Anthropic Messages gives one answer per request; send the request several times")
    if request.modalities not in {(), ("text",)}:
        raise writer.refuse("modalities", "Anthropic Messages answers in text only")
    if request.metadata is not None and request.metadata.keys() - {"user_id"}:
        raise writer.refuse("metadata", "Anthropic Messages takes only metadata.user_id")
    if not writer.version.sampling:
        for name in _SAMPLING:
            if getattr(request, name) is not None:
                raise writer.refuse(name, f"anthropic-version {writer.version.name} rejects it; {FIRST} takes it")


def _tools(body: JSON, request: Request) -> None:
    tools: list[JSON] = []
    for tool in request.tools:
        if tool.native is not None:
            tools.append(tool.native)
            continue
        written: JSON = {"name": tool.name}
        if tool.description:
            written["description"] = tool.description
        written["input_schema"] = tool.parameters or {"type": "object", "properties": {}}
        if tool.strict is not None:
            written["strict"] = tool.strict
        if tool.cache is not None:
            written["cache_control"] = cache_control(tool.cache)
        tools.append(written)
    if tools:
        body["tools"] = tools
    choice: JSON | None = None
    match request.tool_choice:
        case None:
            pass
        case "auto" | "none" as word:
            choice = {"type": word}
        case "required":
            choice = {"type": "any"}
        case name:
            choice = {"type": "tool", "name": name}
    if request.parallel_tool_calls is not None and tools and request.tool_choice != "none":
        choice = choice or {"type": "auto"}
        choice["disable_parallel_tool_use"] = not request.parallel_tool_calls
    if choice is not None:
        body["tool_choice"] = choice


def _output(body: JSON, request: Request, writer: Writer) -> None:
    output: JSON = {}
    match request.response_format:
        case None | "text":
            pass
        case "json":
            raise writer.refuse("response_format", "Anthropic Messages has no plain JSON mode; give a JSONSchema")
        case JSONSchema(schema=schema):  # its name, description and strictness are OpenAI's; here a schema always binds
            output["format"] = {"type": "json_schema", "schema": schema}
    match request.reasoning_effort:
        case None | "none":
            pass
        case "minimal":
            raise writer.refuse("reasoning_effort", "Anthropic Messages takes none, low, medium, high, xhigh and max")
        case effort:
            output["effort"] = effort
    if output:
        body["output_config"] = output


def _thinking(body: JSON, request: Request) -> None:
    wanted = request.thinking
    if wanted is None:
        if request.reasoning_effort == "none":
            body["thinking"] = {"type": "disabled"}
        return
    thinking: JSON = {"type": wanted.mode}
    if wanted.budget_tokens is not None:
        thinking["budget_tokens"] = wanted.budget_tokens
    if wanted.display is not None:
        thinking["display"] = wanted.display
    body["thinking"] = thinking
