"""Write a request as an OpenAI Responses body."""

from __future__ import annotations

from typing import Final

from ..types import JSONSchema, Request, Tool
from . import capabilities
from .body import path_of, write
from .protocol import JSON, Outbound, Provider
from .responses_items import Writer

_SAME_NAME: Final = (
    "temperature",
    "top_p",
    "top_logprobs",
    "parallel_tool_calls",
    "service_tier",
    "metadata",
    "user",
    "prompt_cache_key",
    "prompt_cache_retention",
    "store",
)
_NOT_HERE: Final = (
    "stop",
    "seed",
    "top_k",
    "frequency_penalty",
    "presence_penalty",
    "logit_bias",
    "audio",
    "prediction",
)
_CHOICES: Final = frozenset({"auto", "none", "required"})
ENCRYPTED: Final = "reasoning.encrypted_content"
LOGPROBS: Final = "message.output_text.logprobs"


def encode(request: Request, provider: Provider, *, stream: bool) -> Outbound:
    """Write the request for `POST /responses`; `extra` is merged last and wins.

    Raises: UnsupportedParameter for what the protocol, the provider or the model is known not to take.
    """
    checked = capabilities.check(request, provider)
    writer = Writer(request, provider)
    _refuse_others(request, writer)
    body: JSON = {"model": request.model, "input": writer.items()}
    if request.max_tokens is not None:
        body["max_output_tokens"] = request.max_tokens
    for name in _SAME_NAME:
        value = getattr(request, name)
        if value is not None and name not in checked.left_out:
            body[name] = value
    _tools(body, request, writer)
    _text(body, request)
    _reasoning(body, request, writer)
    include = _include(request)
    if include:
        body["include"] = include
    if stream:
        body["stream"] = True
    body.update(request.extra)
    if include and isinstance(request.extra.get("include"), list):
        body["include"] = [*dict.fromkeys([*include, *request.extra["include"]])]
    path = path_of(provider, "/responses", request.model)
    return Outbound(path=path, body=write(body, request, provider), notes=checked.notes)


def _refuse_others(request: Request, writer: Writer) -> None:
    for name in _NOT_HERE:
        if getattr(request, name) not in (None, ()):
            raise writer.refuse(name, "Responses does not have it")
    if request.n is not None and request.n != 1:
        raise writer.refuse("n", "Responses gives one answer per request; send the request several times")
    if request.modalities not in {(), ("text",)}:
        raise writer.refuse("modalities", "Responses answers in text")
    if request.prompt_cache is not None:
        raise writer.refuse("prompt_cache", "the provider caches prompts by itself; see prompt_cache_retention")
    if request.extra.get("background"):
        raise writer.refuse("background", "Penstock waits for the answer and fetches none later")


def _tools(body: JSON, request: Request, writer: Writer) -> None:
    if request.tools:
        body["tools"] = [_tool(tool, writer) for tool in request.tools]
    choice = request.tool_choice
    if choice in _CHOICES:
        body["tool_choice"] = choice
    elif choice is not None:
        native = next((tool.native for tool in request.tools if tool.name == choice and tool.native), None)
        kind = native.get("type", "function") if native else "function"
        body["tool_choice"] = {"type": kind} | ({"name": choice} if kind in {"function", "custom"} else {})


def _tool(tool: Tool, writer: Writer) -> JSON:
    if tool.cache is not None:
        raise writer.refuse("tools.cache", "the provider caches prompts by itself, without marks")
    if tool.native is not None:
        return _flat(tool.native)
    written: JSON = {"type": "function", "name": tool.name}
    if tool.description:
        written["description"] = tool.description
    written["parameters"] = tool.parameters or {"type": "object", "properties": {}}
    written["strict"] = bool(tool.strict)  # left out, it would be true
    return written


def _flat(native: JSON) -> JSON:
    """Return a provider's own tool; a custom one as Chat Completions writes it is flattened."""
    inner = native.get("custom")
    if native.get("type") != "custom" or not isinstance(inner, dict):
        return native
    form = inner.get("format")
    if isinstance(form, dict) and isinstance(form.get("grammar"), dict):
        inner = inner | {"format": {"type": "grammar", **form["grammar"]}}
    return {"type": "custom", **inner}


def _text(body: JSON, request: Request) -> None:
    text: JSON = {}
    match request.response_format:
        case "text":
            text["format"] = {"type": "text"}
        case "json":
            text["format"] = {"type": "json_object"}
        case JSONSchema() as wanted:
            form: JSON = {"type": "json_schema", "name": wanted.name, "schema": wanted.schema}
            if wanted.description is not None:
                form["description"] = wanted.description
            if wanted.strict is not None:
                form["strict"] = wanted.strict
            text["format"] = form
    if request.verbosity is not None:
        text["verbosity"] = request.verbosity
    if text:
        body["text"] = text


def _reasoning(body: JSON, request: Request, writer: Writer) -> None:
    reasoning: JSON = {}
    if request.reasoning_effort is not None:
        reasoning["effort"] = request.reasoning_effort
    wanted = request.thinking
    if wanted is not None:
        if wanted.mode != "adaptive" or wanted.budget_tokens is not None:
            raise writer.refuse("thinking", "Responses has reasoning_effort instead, 'none' to switch it off")
        if wanted.display == "summarized":
            reasoning["summary"] = "auto"
    if reasoning:
        body["reasoning"] = reasoning


def _include(request: Request) -> list[str]:
    """Return what must be asked for: log probabilities, and reasoning that a server which keeps nothing can be sent."""
    include: list[str] = []
    known = capabilities.family(request.model)
    if request.store is False and known is not None and known.reasoning:
        include.append(ENCRYPTED)
    if request.logprobs or request.top_logprobs is not None:
        include.append(LOGPROBS)
    return include
