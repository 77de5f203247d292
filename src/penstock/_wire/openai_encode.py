"""Write a request as a Chat Completions body."""

from __future__ import annotations

from operator import attrgetter
from typing import Final

from ..types import JSONSchema, Request, Tool
from . import capabilities
from .body import path_of, write
from .openai_messages import Writer
from .protocol import JSON, Outbound, Provider

_SAME_NAME: Final = (
    "temperature",
    "top_p",
    "seed",
    "n",
    "frequency_penalty",
    "presence_penalty",
    "logit_bias",
    "logprobs",
    "top_logprobs",
    "parallel_tool_calls",
    "verbosity",
    "service_tier",
    "metadata",
    "user",
    "prompt_cache_key",
    "prompt_cache_retention",
    "audio",
    "prediction",
    "store",
)
_VALUES: Final = attrgetter(*_SAME_NAME)
_OPTIONS: Final = attrgetter(
    *_SAME_NAME,
    "tool_choice",
    "response_format",
    "reasoning_effort",
    "thinking",
    "top_k",
    "prompt_cache",
    "tools",
    "stop",
    "modalities",
    "extra",
)
_NO_OPTIONS: Final = _OPTIONS(Request(model="", messages=()))
"""What most requests have of these; one look at all of them is cheaper than one at each."""
_CHOICES: Final = frozenset({"auto", "none", "required"})


def encode(request: Request, provider: Provider, *, stream: bool) -> Outbound:
    """Write the request for `POST /chat/completions`; `extra` is merged last and wins.

    Raises: UnsupportedParameter for what the protocol, the provider or the model is known not to take.
    """
    checked = capabilities.check(request, provider)
    writer = Writer(request, provider)
    body: JSON = {"model": request.model, "messages": writer.messages()}
    if request.max_tokens is not None:
        known = capabilities.family(request.model)
        field = "max_completion_tokens" if known and known.reasoning and _openai(provider) else None
        body[field or provider.max_tokens_field] = request.max_tokens
    optional = _OPTIONS(request) != _NO_OPTIONS
    if optional:
        _options(body, request, writer, checked.left_out)
    if stream:
        body["stream"] = True
        if provider.stream_usage:
            body["stream_options"] = {"include_usage": True}
    if optional:
        body.update(request.extra)
    path = path_of(provider, "/chat/completions", request.model)
    return Outbound(path=path, body=write(body, request, provider), notes=checked.notes)


def _options(body: JSON, request: Request, writer: Writer, left_out: tuple[str, ...]) -> None:
    for name, value in zip(_SAME_NAME, _VALUES(request), strict=True):
        if value is not None and name not in left_out:
            body[name] = value
    if request.stop:
        body["stop"] = list(request.stop)
    if request.modalities:
        body["modalities"] = list(request.modalities)
    if request.tools or request.tool_choice is not None:
        _tools(body, request, writer)
    if request.response_format is not None:
        _format(body, request, writer.provider, writer)
    if request.reasoning_effort is not None or request.thinking is not None:
        _thinking(body, request, writer)
    if request.top_k is not None or request.prompt_cache is not None:
        _beyond(body, request, writer)


def _openai(provider: Provider) -> bool:
    return provider.owner in {"openai", "azure"}


def _tools(body: JSON, request: Request, writer: Writer) -> None:
    if request.tools:
        body["tools"] = [_tool(tool, writer) for tool in request.tools]
    choice = request.tool_choice
    if choice is not None:
        kind = "custom" if any(tool.name == choice and tool.native for tool in request.tools) else "function"
        body["tool_choice"] = choice if choice in _CHOICES else {"type": kind, kind: {"name": choice}}


def _tool(tool: Tool, writer: Writer) -> JSON:
    if tool.native is not None:
        return _native(tool.native, writer)
    function: JSON = {"name": tool.name}
    if tool.description:
        function["description"] = tool.description
    function["parameters"] = tool.parameters or {"type": "object", "properties": {}}
    if tool.strict is not None:
        function["strict"] = tool.strict
    written: JSON = {"type": "function", "function": function}
    if tool.cache is not None:
        if not writer.takes("cache_control"):
            raise writer.refuse("tools.cache", "the provider caches prompts by itself, without marks")
        written["cache_control"] = {"type": "ephemeral"} | ({} if tool.cache == "5m" else {"ttl": tool.cache})
    return written


def _native(native: JSON, writer: Writer) -> JSON:
    """Return a provider's own tool; a custom one as Responses writes it is nested."""
    if native.get("type") == "custom" and "custom" not in native:
        inner = {name: value for name, value in native.items() if name != "type"}
        form = inner.get("format")
        if isinstance(form, dict) and form.get("type") == "grammar" and "grammar" not in form:
            grammar = {name: value for name, value in form.items() if name != "type"}
            inner["format"] = {"type": "grammar", "grammar": grammar}
        return {"type": "custom", "custom": inner}
    if native.get("type") != "custom" and _openai(writer.provider):
        why = f"Chat Completions takes functions and custom tools only; {writer.provider.owner}-responses takes it"
        raise writer.refuse(f"tools ({native.get('type')})", why)
    return native


def _format(body: JSON, request: Request, provider: Provider, writer: Writer) -> None:
    match request.response_format:
        case "text":
            body["response_format"] = {"type": "text"}
        case "json":
            body["response_format"] = {"type": "json_object"}
        case JSONSchema() as wanted:
            if not provider.json_schema:
                why = "the provider has JSON mode but takes no schema: use response_format='json'"
                raise writer.refuse("response_format", why)
            schema: JSON = {"name": wanted.name, "schema": wanted.schema}
            if wanted.description is not None:
                schema["description"] = wanted.description
            if wanted.strict is not None:
                schema["strict"] = wanted.strict
            body["response_format"] = {"type": "json_schema", "json_schema": schema}


def _thinking(body: JSON, request: Request, writer: Writer) -> None:
    if request.reasoning_effort is not None:
        body["reasoning_effort"] = request.reasoning_effort
    wanted = request.thinking
    if wanted is None:
        return
    if writer.takes("thinking"):  # DeepSeek and its kin
        if wanted.mode not in {"enabled", "disabled"} or wanted.budget_tokens or wanted.display:
            raise writer.refuse("thinking", "the provider only takes the modes 'enabled' and 'disabled'")
        body["thinking"] = {"type": wanted.mode}
    elif writer.takes("reasoning_body") and wanted.mode != "between_tools":  # OpenRouter
        reasoning: JSON = {"enabled": wanted.mode != "disabled"}
        if wanted.budget_tokens is not None:
            reasoning = {"max_tokens": wanted.budget_tokens}
        if wanted.display is not None:
            reasoning["exclude"] = wanted.display == "omitted"
        body["reasoning"] = reasoning
    else:
        raise writer.refuse("thinking", "Chat Completions has reasoning_effort instead")


def _beyond(body: JSON, request: Request, writer: Writer) -> None:
    """Write the parameters that only some servers of the protocol take."""
    if request.top_k is not None:
        if not writer.takes("top_k"):
            raise writer.refuse("top_k", "Chat Completions does not have it")
        body["top_k"] = request.top_k
    if request.prompt_cache is not None:
        if not writer.takes("cache_control"):
            raise writer.refuse("prompt_cache", "the provider caches prompts by itself; see prompt_cache_retention")
        body["cache_control"] = {"type": "ephemeral"} | (
            {} if request.prompt_cache == "5m" else {"ttl": request.prompt_cache}
        )
