"""Write a request as a Gemini body: generateContent, its stream, and countTokens."""

from __future__ import annotations

from collections.abc import Mapping
from fnmatch import fnmatchcase
from typing import Any, Final
from urllib.parse import quote

from ..types import JSONSchema, Request
from . import capabilities
from .body import write
from .gemini_messages import Writer
from .protocol import JSON, Outbound, Provider

PATH: Final = "/v1beta/{model}:{method}"

LEVELS: Final = ("minimal", "low", "medium", "high", "xhigh")
"""Efforts that models of Gemini 3 and newer know as levels of thinking."""

BUDGETS: Final = {"minimal": 1024, "low": 1024, "medium": 8192, "high": 24_576}
"""Tokens to think for an effort at models of Gemini 2.5.

Source: https://ai.google.dev/gemini-api/docs/openai (read 2026-12).
"""

_NAMES: Final = {
    "max_tokens": "maxOutputTokens",
    "temperature": "temperature",
    "top_p": "topP",
    "top_k": "topK",
    "seed": "seed",
    "n": "candidateCount",
    "frequency_penalty": "frequencyPenalty",
    "presence_penalty": "presencePenalty",
    "logprobs": "responseLogprobs",
    "top_logprobs": "logprobs",
}
_NOT_HERE: Final = (
    "logit_bias",
    "parallel_tool_calls",
    "verbosity",
    "metadata",
    "user",
    "prompt_cache",
    "prompt_cache_key",
    "prompt_cache_retention",
    "prediction",
)


def encode(request: Request, provider: Provider, *, stream: bool) -> Outbound:
    """Write the request for `POST …:generateContent`, or its stream; `extra` is merged last and wins.

    Raises: UnsupportedParameter for what the protocol, the provider or the model is known not to take.
    """
    body = _merged(_body(request, provider), request.extra)
    method = "streamGenerateContent" if stream else "generateContent"
    return Outbound(
        path=path_to(provider, request.model, method, "alt=sse" if stream else ""), body=write(body, request, provider)
    )


def path_to(provider: Provider, model: str, method: str, query: str = "") -> str:
    """Return the path of a method of a model; the row may have a path with {model} and {method} of its own."""
    name = model if model.startswith(("models/", "tunedModels/")) or provider.path else f"models/{model}"
    path = (provider.path or PATH).replace("{model}", quote(name, safe="/")).replace("{method}", method)
    query = "&".join(part for part in (provider.query, query) if part)
    return f"{path}?{query}" if query else path


def body_of(request: Request, provider: Provider) -> JSON:
    """Return a request's whole body, as countTokens wants it within its own."""
    return _merged(_body(request, provider), request.extra)


def _body(request: Request, provider: Provider) -> JSON:
    left_out = capabilities.check(request, provider).left_out
    writer = Writer(request, provider)
    _refuse_others(request, writer)
    body: JSON = {"contents": writer.contents()}
    system = writer.system()
    if system is not None:
        body["systemInstruction"] = system
    _tools(body, request, writer)
    config: JSON = {}
    for name, written in _NAMES.items():
        value = getattr(request, name)
        if value is not None and name not in left_out:
            config[written] = value
    if request.stop:
        config["stopSequences"] = list(request.stop)
    if request.modalities:
        config["responseModalities"] = [name.upper() for name in request.modalities]
    _format(config, request, writer)
    _thinking(config, request, writer)
    if config:
        body["generationConfig"] = config
    if request.service_tier is not None:
        body["serviceTier"] = request.service_tier
    if request.store is not None:
        body["store"] = request.store
    return body


def _refuse_others(request: Request, writer: Writer) -> None:
    for name in _NOT_HERE:
        if getattr(request, name) is not None:
            raise writer.refuse(name, "Gemini does not have it")
    if request.audio is not None:
        raise writer.refuse("audio", "Gemini has generationConfig.speechConfig instead; give it in extra")
    calling = (request.extra.get("toolConfig") or {}) if isinstance(request.extra.get("toolConfig"), Mapping) else {}
    if (calling.get("functionCallingConfig") or {}).get("streamFunctionCallArguments"):
        raise writer.refuse("extra.toolConfig", "Penstock reads function calls whole, not streamFunctionCallArguments")


def _tools(body: JSON, request: Request, writer: Writer) -> None:
    declared: list[JSON] = []
    for tool in request.tools:
        if tool.cache is not None:
            raise writer.refuse("tools.cache", "Gemini caches prompts by itself, without marks")
        if tool.native is not None:
            body.setdefault("tools", []).append(tool.native)
            continue
        written: JSON = {"name": tool.name}
        if tool.description:
            written["description"] = tool.description
        if tool.parameters.get("properties"):  # a function without parameters has no schema here
            written["parametersJsonSchema"] = tool.parameters
        declared.append(written)
    if declared:
        body.setdefault("tools", []).append({"functionDeclarations": declared})
    strict = any(tool.strict for tool in request.tools)
    match request.tool_choice:
        case None:
            config: JSON = {"mode": "VALIDATED"} if strict else {}
        case "auto":
            config = {"mode": "VALIDATED" if strict else "AUTO"}
        case "none":
            config = {"mode": "NONE"}
        case "required":
            config = {"mode": "ANY"}
        case name:
            config = {"mode": "ANY", "allowedFunctionNames": [name]}
    if config:
        body["toolConfig"] = {"functionCallingConfig": config}


def _format(config: JSON, request: Request, writer: Writer) -> None:
    wanted = request.response_format
    if wanted in (None, "text"):
        return
    if request.tools and _is(request, "gemini-1*", "gemini-2*"):
        raise writer.refuse("response_format", "models before Gemini 3 hold no answer to JSON that may call tools")
    config["responseMimeType"] = "application/json"
    if isinstance(wanted, JSONSchema):  # its name, description and strictness are OpenAI's; here a schema always binds
        config["responseJsonSchema"] = wanted.schema


def _thinking(config: JSON, request: Request, writer: Writer) -> None:
    thinking: JSON = {}
    wanted, effort = request.thinking, request.reasoning_effort
    if wanted is not None:
        if effort is not None:
            raise writer.refuse("reasoning_effort", "Gemini takes a budget or a level of thinking, not both")
        if wanted.mode == "between_tools":
            raise writer.refuse("thinking", "Gemini only takes the modes 'adaptive', 'enabled' and 'disabled'")
        if wanted.mode == "disabled":
            thinking["thinkingBudget"] = 0
        else:
            thinking["thinkingBudget"] = -1 if wanted.budget_tokens is None else wanted.budget_tokens
            thinking["includeThoughts"] = wanted.display != "omitted"
    elif effort == "none":
        thinking["thinkingBudget"] = 0
    elif effort is not None and _is(request, "gemini-2*", "gemini-1*"):
        if effort not in BUDGETS:
            raise writer.refuse("reasoning_effort", f"such models take none and {', '.join(BUDGETS)}, or a budget")
        thinking["thinkingBudget"] = BUDGETS[effort]
    elif effort is not None:
        if effort not in LEVELS:
            raise writer.refuse("reasoning_effort", f"Gemini takes none and {', '.join(LEVELS)}")
        thinking["thinkingLevel"] = effort.upper()
    if thinking:
        config["thinkingConfig"] = thinking


def _is(request: Request, *patterns: str) -> bool:
    return any(fnmatchcase(request.model.rpartition("/")[2], pattern) for pattern in patterns)


def _merged(body: JSON, extra: Mapping[str, Any]) -> JSON:
    """Lay what has no name here over a body: objects into objects, tools behind tools, anything else in its place."""
    made = dict(body)
    for key, value in extra.items():
        known = made.get(key)
        if isinstance(known, dict) and isinstance(value, Mapping):
            made[key] = _merged(known, value)
        elif key == "tools" and isinstance(known, list) and isinstance(value, list | tuple):
            made[key] = [*known, *value]
        else:
            made[key] = value
    return made
