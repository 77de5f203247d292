"""Anthropic Messages as its server speaks it: what it refuses and how it counts.

Source: Anthropic API reference, anthropic-python 2.11 types; versions 2023-06-01 and 2026-10-21.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any

import msgspec

from penstock.sim import strictness, tokens
from penstock.sim.answers import Ask, Tool, Turn
from penstock.sim.caches import Mark
from penstock.sim.config import Model
from penstock.sim.plan import Reject

_encode = msgspec.json.encode

OLD, NEW = "2023-06-01", "2026-10-21"
_SAMPLING = ("temperature", "top_p", "top_k")
_KNOWN = {
    "model", "max_tokens", "messages", "system", "tools", "tool_choice", "stop_sequences", "stream", "metadata",
    "thinking", "output_config", "cache_control", "service_tier", "speed", "inference_geo", "container", "diagnostics",
    "user_profile_id", "workspace_id", "context_management", "mcp_servers",
}  # fmt: skip
_TYPES: dict[str, tuple[tuple[type, ...], str]] = {
    "model": ((str,), "string"),
    "max_tokens": ((int,), "integer"),
    "messages": ((list,), "list"),
    "system": ((str, list), "string"),
    "tools": ((list,), "list"),
    "tool_choice": ((dict,), "dictionary"),
    "stop_sequences": ((list,), "list"),
    "stream": ((bool,), "boolean"),
    "metadata": ((dict,), "dictionary"),
    "thinking": ((dict,), "dictionary"),
    "output_config": ((dict,), "dictionary"),
    "temperature": ((int, float), "number"),
    "top_p": ((int, float), "number"),
    "top_k": ((int,), "integer"),
}
_THINKING = {"low": 32, "medium": 96, "high": 192, "xhigh": 384, "max": 768}
_IMAGE_TOKENS = 1600
_OVERHEAD = 7


@dataclass(frozen=True, slots=True)
class MessagesAsk:
    """A checked request: the neutral question, its size, its cache breakpoints, and how thinking is shown."""

    ask: Ask
    prompt_tokens: int
    marks: tuple[Mark, ...]
    show_thinking: bool


def _bad(place: str, message: str) -> Reject:
    return Reject(400, f"{place}: {message}" if place else message)


def check_version(headers: Mapping[str, str]) -> str:
    """The API version of a request.

    Raises: Reject 400 when it is missing or unknown.
    """
    version = headers.get("anthropic-version")
    if not version:
        raise _bad("anthropic-version", "header is required")
    if version not in (OLD, NEW):
        raise _bad("anthropic-version", f'"{version}" is not a valid version')
    return version


def model_name(body: Mapping[str, Any]) -> str:
    """The model a request asks for.

    Raises: Reject 400 when it names none.
    """
    name = body.get("model")
    if name is None:
        raise _bad("model", "Field required")
    if not isinstance(name, str):
        raise _bad("model", "Input should be a valid string")
    if not name:
        raise _bad("model", "String should have at least 1 character")
    return name


def no_such_model(name: str) -> Reject:
    """The 404 for a model this server does not have."""
    return Reject(404, f"model: {name}")


def check(body: Mapping[str, Any], name: str, model: Model, version: str, *, counting: bool = False) -> MessagesAsk:
    """Check a request body as the real server does and read the question out of it.

    Raises: Reject with the status and message that Anthropic answers.
    """
    _check_fields(body, version, counting=counting)
    turns, blocks = _read(body, version)
    if turns[-1].role == "assistant" and not model.prefill:
        raise _bad(
            "", "This model does not support assistant message prefill. The conversation must end with a user message."
        )
    tools, choice, parallel = _tools(body)
    schema = _schema(body)
    max_tokens = 1 if counting else body["max_tokens"]
    if max_tokens > model.max_output:
        raise _bad(
            "max_tokens",
            f"{max_tokens} > {model.max_output}, which is the maximum allowed number of output tokens for {name}",
        )
    budget, shown = _thinking(body, max_tokens, choice, counting=counting)
    total = _OVERHEAD + sum(size for _, size, _ in blocks)
    if schema is not None:
        total += tokens.count(_encode(schema).decode())
    if total > model.window and not counting:
        raise _bad("", f"prompt is too long: {total} tokens > {model.window} maximum")
    ask = Ask(
        model=name,
        system="\n".join([_plain(body.get("system")), *(t.text for t in turns if t.role == "system")]),
        turns=turns,
        max_tokens=max_tokens,
        tools=tools,
        tool_choice=choice,
        parallel=parallel,
        schema=schema,
        stop=tuple(body.get("stop_sequences") or ()),
        reasoning_tokens=budget,
        stream=body.get("stream") is True,
    )
    return MessagesAsk(ask, total, _marks(name, blocks), shown)


def _check_fields(body: Mapping[str, Any], version: str, *, counting: bool) -> None:
    for key, value in body.items():
        if key in _SAMPLING and version == NEW:
            raise _bad(key, f"this parameter is not supported in API version {NEW}; remove it from the request")
        if key not in _KNOWN and key not in _SAMPLING:
            raise _bad(key, "Extra inputs are not permitted")
        known = _TYPES.get(key)
        if (
            known is not None
            and value is not None
            and (not isinstance(value, known[0]) or (isinstance(value, bool) and bool not in known[0]))
        ):
            raise _bad(key, f"Input should be a valid {known[1]}")
    if not counting and body.get("max_tokens") is None:
        raise _bad("max_tokens", "Field required")
    if not counting and body["max_tokens"] < 1:
        raise _bad("max_tokens", "Input should be greater than or equal to 1")
    for key, top in (("temperature", 1), ("top_p", 1)):
        value = body.get(key)
        if value is not None and not 0 <= value <= top:
            raise _bad(key, f"range: 0..{top}")
    if body.get("messages") is None:
        raise _bad("messages", "Field required")
    if not body["messages"]:
        raise _bad("messages", "at least one message is required")
    for at, sequence in enumerate(body.get("stop_sequences") or ()):
        if not isinstance(sequence, str) or not sequence.strip():
            raise _bad(f"stop_sequences.{at}", "each stop sequence must contain non-whitespace")


def _plain(content: object) -> str:
    if isinstance(content, str):
        return content
    if not isinstance(content, list):
        return ""
    return "\n".join(str(part.get("text", "")) for part in content if isinstance(part, dict))


_Block = tuple[bytes, int, int]


def _ttl(block: object, place: str) -> int:
    control = block.get("cache_control") if isinstance(block, dict) else None
    if control is None:
        return 0
    if not isinstance(control, dict) or control.get("type") != "ephemeral":
        raise _bad(f"{place}.cache_control", "Input tag should be 'ephemeral'")
    ttl = control.get("ttl") or "5m"
    if ttl not in ("5m", "1h"):
        raise _bad(f"{place}.cache_control.ephemeral.ttl", "Input should be '5m' or '1h'")
    return 300 if ttl == "5m" else 3600


def _block(block: Mapping[str, Any], place: str) -> _Block:
    kind = block.get("type")
    if kind in ("image", "document"):
        size = _IMAGE_TOKENS if kind == "image" else tokens.count(str((block.get("source") or {}).get("data", "")))
    elif kind == "text":
        size = tokens.count(str(block.get("text", "")))
    else:
        counted = {k: v for k, v in block.items() if k not in ("cache_control", "signature")}
        size = tokens.count(_encode(counted).decode())
    bare = {k: v for k, v in block.items() if k != "cache_control"} if "cache_control" in block else block
    return _encode(bare), size, _ttl(block, place)


def _read(body: Mapping[str, Any], version: str) -> tuple[tuple[Turn, ...], list[_Block]]:
    blocks: list[_Block] = [_block(tool, f"tools.{at}") for at, tool in enumerate(body.get("tools") or ())]
    system = body.get("system")
    if isinstance(system, str):
        system = [{"type": "text", "text": system}] if system else []
    blocks += [_block(part, f"system.{at}") for at, part in enumerate(system or ())]
    turns: list[Turn] = []
    open_calls: dict[str, str] = {}
    for at, message in enumerate(body["messages"]):
        place = f"messages.{at}"
        role = message.get("role") if isinstance(message, dict) else None
        if role == "system" and version == OLD:
            raise _bad(
                "messages",
                'Unexpected role "system". The Messages API accepts a top-level `system` parameter, '
                'not "system" as an input message role.',
            )
        if role not in ("user", "assistant", "system"):
            raise _bad(f"{place}.role", "Input should be 'user' or 'assistant'")
        content = message.get("content")
        if isinstance(content, str):
            content = [{"type": "text", "text": content}]
        if not isinstance(content, list):
            raise _bad(f"{place}.content", "Field required" if content is None else "Input should be a valid list")
        last = at == len(body["messages"]) - 1
        if version == NEW:
            _check_new_rules(role, content, place)
        turns.append(_turn(role, content, place, open_calls, last=last))
        blocks += [_block(part, f"{place}.content.{i}") for i, part in enumerate(content)]
    top = _ttl(body, "")
    if top and blocks:
        blocks[-1] = (blocks[-1][0], blocks[-1][1], blocks[-1][2] or top)
    if sum(1 for *_, ttl in blocks if ttl) > 4:
        found = sum(1 for *_, ttl in blocks if ttl)
        raise _bad("", f"A maximum of 4 blocks with cache_control may be provided. Found {found}.")
    return tuple(turns), blocks


def _check_new_rules(role: str, content: Sequence[Any], place: str) -> None:
    for at, block in enumerate(content):
        if not isinstance(block, dict):
            continue
        if role == "assistant" and block.get("type") == "document":
            raise _bad(f"{place}.content.{at}", "`document` blocks are not permitted in assistant messages")
        if role == "user" and block.get("type") == "text" and block.get("citations"):
            raise _bad(f"{place}.content.{at}.citations", "citations are not permitted on user text blocks")


def _turn(role: str, content: Sequence[Any], place: str, open_calls: dict[str, str], *, last: bool) -> Turn:
    texts: list[str] = []
    results: list[tuple[str, str]] = []
    called: dict[str, str] = {}
    for at, block in enumerate(content):
        kind = block.get("type") if isinstance(block, dict) else None
        if kind is None:
            raise _bad(f"{place}.content.{at}.type", "Field required")
        if kind == "text":
            if not block.get("text"):
                raise _bad("messages", "text content blocks must be non-empty")
            texts.append(str(block["text"]))
        elif kind == "tool_use" and role == "assistant":
            called[str(block.get("id"))] = str(block.get("name"))
        elif kind == "tool_result":
            ident = str(block.get("tool_use_id"))
            if ident not in open_calls:
                raise _bad(
                    f"{place}.content.{at}",
                    "unexpected `tool_use_id` found in `tool_result` blocks: "
                    f"{ident}. Each `tool_result` block must have a corresponding `tool_use` block in the "
                    "previous message.",
                )
            results.append((open_calls.pop(ident), _plain(block.get("content"))))
        elif kind == "thinking" and not block.get("signature"):
            raise _bad(f"{place}.content.{at}.thinking.signature", "Field required")
        elif kind not in (
            "image",
            "document",
            "thinking",
            "redacted_thinking",
            "tool_use",
            "search_result",
            "server_tool_use",
            "web_search_tool_result",
            "container_upload",
        ):
            raise _bad(
                f"{place}.content.{at}",
                f"Input tag '{kind}' found using 'type' does not match any of the "
                "expected tags: 'document', 'image', 'text', 'thinking', 'tool_result', 'tool_use'",
            )
    if open_calls:
        raise _bad(
            place,
            "`tool_use` ids were found without `tool_result` blocks immediately after: "
            f"{', '.join(open_calls)}. Each `tool_use` block must have a corresponding `tool_result` block in "
            "the next message.",
        )
    if called and last:
        raise _bad(
            place, f"`tool_use` ids were found without `tool_result` blocks immediately after: {', '.join(called)}."
        )
    open_calls.update(called)
    if role == "assistant" and last and texts and texts[-1] != texts[-1].rstrip():
        raise _bad("messages", "final assistant content cannot end with trailing whitespace")
    return Turn(role, "\n".join(texts), tuple(results))


def _marks(name: str, blocks: Sequence[_Block]) -> tuple[Mark, ...]:
    if not any(ttl for *_, ttl in blocks):
        return ()
    digest = blake2b(name.encode(), digest_size=16)
    total = _OVERHEAD
    marks: list[Mark] = []
    for data, size, ttl in blocks:
        digest.update(data)
        total += size
        marks.append(Mark(digest.digest(), total, ttl))
    return tuple(marks)


def _tools(body: Mapping[str, Any]) -> tuple[tuple[Tool, ...], str, bool]:
    tools: list[Tool] = []
    for at, tool in enumerate(body.get("tools") or ()):
        name = tool.get("name") if isinstance(tool, dict) else None
        if not isinstance(name, str) or not re.fullmatch(r"[a-zA-Z0-9_-]{1,128}", name):
            raise _bad(
                f"tools.{at}.custom.name",
                "String should match pattern '^[a-zA-Z0-9_-]{1,128}$'" if name else "Field required",
            )
        if tool.get("type") in (None, "custom"):
            schema = tool.get("input_schema")
            if not isinstance(schema, dict):
                raise _bad(f"tools.{at}.custom.input_schema", "Field required")
            if schema.get("type") != "object":
                raise _bad(f"tools.{at}.custom.input_schema.type", "Input should be 'object'")
            wrong = strictness.anthropic(schema) if tool.get("strict") else None
            if wrong is not None:
                raise _bad(f"tools.{at}.custom.input_schema", wrong)
            tools.append(Tool(name, schema, str(tool.get("description") or "")))
    choice = body.get("tool_choice") or {"type": "auto"}
    kind = choice.get("type")
    if kind not in ("auto", "any", "tool", "none"):
        raise _bad(
            "tool_choice",
            f"Input tag '{kind}' found using 'type' does not match any of the expected tags: "
            "'any', 'auto', 'none', 'tool'",
        )
    if body.get("tool_choice") and not body.get("tools") and kind != "none":
        raise _bad("tool_choice", "tool_choice may only be specified while providing tools")
    if kind == "tool" and choice.get("name") not in [tool.name for tool in tools]:
        raise _bad("", f"Tool '{choice.get('name')}' not found in provided tools")
    names = {"auto": "auto", "any": "required", "none": "none", "tool": str(choice.get("name"))}
    return tuple(tools), names[kind], choice.get("disable_parallel_tool_use") is not True


def _schema(body: Mapping[str, Any]) -> Mapping[str, Any] | None:
    config = body.get("output_config") or {}
    effort = config.get("effort")
    if effort is not None and effort not in _THINKING:
        raise _bad("output_config.effort", "Input should be 'low', 'medium', 'high', 'xhigh' or 'max'")
    form = config.get("format")
    if form is None:
        return None
    if form.get("type") != "json_schema":
        raise _bad("output_config.format.type", "Input should be 'json_schema'")
    schema = form.get("schema")
    if not isinstance(schema, dict):
        raise _bad("output_config.format.schema", "Field required")
    wrong = strictness.anthropic(schema)
    if wrong is not None:
        raise _bad("output_config.format.schema", wrong)
    return schema


def _thinking(body: Mapping[str, Any], max_tokens: int, choice: str, *, counting: bool) -> tuple[int, bool]:
    config = body.get("thinking") or {"type": "disabled"}
    kind = config.get("type")
    shown = config.get("display") != "omitted"
    effort = _THINKING[(body.get("output_config") or {}).get("effort") or "medium"]
    if kind in ("disabled", "between_tools"):
        return 0, shown
    if kind == "adaptive":
        return effort // 2, shown
    if kind != "enabled":
        raise _bad(
            "thinking",
            f"Input tag '{kind}' found using 'type' does not match any of the expected tags: "
            "'adaptive', 'between_tools', 'disabled', 'enabled'",
        )
    budget = config.get("budget_tokens")
    if not isinstance(budget, int):
        raise _bad("thinking.enabled.budget_tokens", "Field required")
    if budget < 1024:
        raise _bad("thinking.enabled.budget_tokens", "Input should be greater than or equal to 1024")
    if not counting and budget >= max_tokens:
        raise _bad("", "`max_tokens` must be greater than `thinking.budget_tokens`.")
    if body.get("temperature") not in (None, 1):
        raise _bad("", "`temperature` may only be set to 1 when thinking is enabled.")
    if choice not in ("auto", "none"):
        raise _bad("", "Thinking may not be enabled when tool_choice forces tool use.")
    return min(budget, effort), shown
