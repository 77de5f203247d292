"""How OpenAI Responses writes answers, streams and errors in them.

Source: OpenAI API reference and openai-python 3.52 types.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from penstock.sim import tokens
from penstock.sim.answers import Call, Reply, Turn
from penstock.sim.openai_responses import ResponsesAsk
from penstock.sim.plan import Reject, Send, SendKind, Usage
from penstock.sim.response_store import Kept

_encode = msgspec.json.encode

_INCOMPLETE = {"length": "max_output_tokens", "content_filter": "content_filter"}
_DEFAULTS: dict[str, Any] = {
    "instructions": None, "max_output_tokens": None, "max_tool_calls": None, "metadata": {},
    "parallel_tool_calls": True, "previous_response_id": None, "prompt_cache_key": None, "safety_identifier": None,
    "service_tier": "default", "store": True, "temperature": 1.0, "tool_choice": "auto", "tools": [], "top_logprobs": 0,
    "top_p": 1.0, "truncation": "disabled", "user": None,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Writing:
    """What the written form needs beside the answer: ids, time, model echo, and whether usage is hidden."""

    request: ResponsesAsk
    model: str
    ident: str
    created: int
    usage: Usage | None
    chunk_tokens: int = 3
    obfuscation: bool = False

    def item_id(self, kind: str, at: int) -> str:
        """The id of an item of the output."""
        return f"{kind}_{self.ident.removeprefix('resp_')}{at:02x}"


def usage_object(usage: Usage) -> dict[str, Any]:
    """Usage as Responses writes it: cached tokens are part of the input, reasoning of the output."""
    return {
        "input_tokens": usage.prompt,
        "input_tokens_details": {"cached_tokens": usage.cache_read},
        "output_tokens": usage.output,
        "output_tokens_details": {"reasoning_tokens": usage.reasoning},
        "total_tokens": usage.prompt + usage.output,
    }


def output(reply: Reply, writing: Writing) -> list[dict[str, Any]]:
    """The items of an answer."""
    items: list[dict[str, Any]] = []
    if reply.reasoning_tokens:
        items.append(_reasoning(reply, writing))
    status = "incomplete" if reply.stop in _INCOMPLETE else "completed"
    for call in reply.calls:
        items.append(_call(call, writing, len(items), status))
    if not reply.calls and (reply.text or not items or reply.stop == "refusal"):
        content = (
            {"type": "refusal", "refusal": reply.text} if reply.stop == "refusal" else _text(reply.text, reply, writing)
        )
        items.append(
            {
                "id": writing.item_id("msg", len(items)),
                "type": "message",
                "status": status,
                "role": "assistant",
                "content": [content],
            }
        )
    return items


def _reasoning(reply: Reply, writing: Writing) -> dict[str, Any]:
    item: dict[str, Any] = {"id": writing.item_id("rs", 0), "type": "reasoning", "summary": []}
    if writing.request.summary:
        item["summary"] = [{"type": "summary_text", "text": reply.reasoning.strip()}]
    if writing.request.encrypted:
        item["encrypted_content"] = f"gAAAAA{writing.ident[-16:]}"
    return item


def _call(call: Call, writing: Writing, at: int, status: str) -> dict[str, Any]:
    call_id = f"call_{writing.ident[-20:]}{at:02x}"
    if call.name in writing.request.custom:
        said = call.value.get("input", "") if isinstance(call.value, dict) else call.arguments
        head = {"id": writing.item_id("ctc", at), "type": "custom_tool_call", "call_id": call_id, "name": call.name}
        return head | {"input": str(said), "status": status}
    return {
        "id": writing.item_id("fc", at),
        "type": "function_call",
        "call_id": call_id,
        "name": call.name,
        "arguments": call.arguments,
        "status": status,
    }


def _text(text: str, reply: Reply, writing: Writing) -> dict[str, Any]:
    logprobs = _logprobs(reply.pieces) if writing.request.logprobs else []
    return {"type": "output_text", "annotations": [], "logprobs": logprobs, "text": text}


def _logprobs(pieces: Sequence[str]) -> list[dict[str, Any]]:
    return [{"token": p, "logprob": -0.125, "bytes": list(p.encode()), "top_logprobs": []} for p in pieces]


def response(writing: Writing, items: list[dict[str, Any]], status: str, reply: Reply | None) -> dict[str, Any]:
    """The response object; without a reply it has only begun."""
    echo = {name: writing.request.echo.get(name, value) for name, value in _DEFAULTS.items()}
    reason = _INCOMPLETE.get(reply.stop) if reply is not None else None
    reasoning = writing.request.echo.get("reasoning") or {}
    return {
        "id": writing.ident,
        "object": "response",
        "created_at": writing.created,
        "status": status,
        "background": False,
        "completed_at": writing.created if status == "completed" else None,
        "error": None,
        "incomplete_details": {"reason": reason} if reason else None,
        **echo,
        "model": writing.model,
        "output": items,
        "reasoning": {"effort": reasoning.get("effort"), "summary": reasoning.get("summary")},
        "text": {"format": {"type": "text"}, "verbosity": "medium"} | (writing.request.echo.get("text") or {}),
        "usage": usage_object(writing.usage) if reply is not None and writing.usage is not None else None,
    }


def _status(reply: Reply) -> str:
    return "incomplete" if reply.stop in _INCOMPLETE else "completed"


def write(reply: Reply, writing: Writing) -> bytes:
    """The body of a non-streamed answer."""
    return _encode(response(writing, output(reply, writing), _status(reply), reply))


def kept(reply: Reply, writing: Writing) -> Kept:
    """What the server remembers of the answer."""
    items = output(reply, writing)
    calls = {item["call_id"]: item["name"] for item in items if "call_id" in item}
    said = "" if calls else reply.text
    turns = (*writing.request.turns, Turn("assistant", said))
    return Kept(turns, calls, frozenset(item["id"] for item in items))


def stream(reply: Reply, writing: Writing) -> list[Send]:
    """The events of a streamed answer, each with the output tokens it stands for."""
    events: list[Send] = []
    left = reply.tokens - reply.reasoning_tokens

    def put(kind: str, count: int = 0, how: SendKind = "delta", **fields: Any) -> None:
        event = {"type": kind, "sequence_number": len(events), **fields}
        if writing.obfuscation and kind.endswith(".delta"):
            event["obfuscation"] = "x" * (7 + len(events) % 9)
        events.append(Send(f"event: {kind}\n".encode() + b"data: " + _encode(event) + b"\n\n", count, how))

    begun = response(writing, [], "in_progress", None)
    put("response.created", how="open", response=begun)
    put("response.in_progress", how="open", response=begun)
    items = output(reply, writing)
    for at, item in enumerate(items):
        for kind, count, fields in _item_events(item, reply, writing):
            put(kind, min(count, left), output_index=at, **fields)
            left -= min(count, left)
    status = _status(reply)
    whole = response(writing, items, status, reply)
    put(f"response.{status}", max(0, left), "done", response=whole)
    return events


_Event = tuple[str, int, dict[str, Any]]


def _item_events(item: dict[str, Any], reply: Reply, writing: Writing) -> Iterator[_Event]:
    match item["type"]:
        case "message":
            yield "response.output_item.added", 0, {"item": item | {"status": "in_progress", "content": []}}
            yield from _message_events(item, reply, writing)
        case "function_call":
            yield "response.output_item.added", 0, {"item": item | {"status": "in_progress", "arguments": ""}}
            yield from _call_events(item, "function_call_arguments", "arguments", writing)
        case "custom_tool_call":
            yield "response.output_item.added", 0, {"item": item | {"status": "in_progress", "input": ""}}
            yield from _call_events(item, "custom_tool_call_input", "input", writing)
        case _:
            yield "response.output_item.added", 0, {"item": item | {"summary": []}}
            yield from _summary_events(item)
    yield "response.output_item.done", 0, {"item": item}


def _message_events(item: dict[str, Any], reply: Reply, writing: Writing) -> Iterator[_Event]:
    part = item["content"][0]
    refused = part["type"] == "refusal"
    kind, empty = ("refusal", {"refusal": ""}) if refused else ("output_text", {"text": "", "logprobs": []})
    place = {"item_id": item["id"], "content_index": 0}
    yield "response.content_part.added", 0, {**place, "part": part | empty}
    for at in range(0, len(reply.pieces), writing.chunk_tokens):
        pieces = reply.pieces[at : at + writing.chunk_tokens]
        delta: dict[str, Any] = {**place, "delta": "".join(pieces)}
        if not refused:
            delta["logprobs"] = _logprobs(pieces) if writing.request.logprobs else []
        yield f"response.{kind}.delta", len(pieces), delta
    whole = {"refusal": part["refusal"]} if refused else {"text": part["text"], "logprobs": part["logprobs"]}
    yield f"response.{kind}.done", 0, {**place, **whole}
    yield "response.content_part.done", 0, {**place, "part": part}


def _call_events(item: dict[str, Any], kind: str, name: str, writing: Writing) -> Iterator[_Event]:
    pieces = tokens.split(item[name])
    spent = tokens.count(item["name"]) + 4
    for at in range(0, len(pieces), writing.chunk_tokens):
        part = pieces[at : at + writing.chunk_tokens]
        yield f"response.{kind}.delta", len(part) + spent, {"item_id": item["id"], "delta": "".join(part)}
        spent = 0
    named = {} if kind == "custom_tool_call_input" else {"name": item["name"]}
    yield f"response.{kind}.done", spent, {"item_id": item["id"], name: item[name], **named}


def _summary_events(item: dict[str, Any]) -> Iterator[_Event]:
    for at, part in enumerate(item["summary"]):
        place = {"item_id": item["id"], "summary_index": at}
        yield "response.reasoning_summary_part.added", 0, {**place, "part": part | {"text": ""}}
        pieces = tokens.split(part["text"])
        for start in range(0, len(pieces), 8):
            yield "response.reasoning_summary_text.delta", 0, {**place, "delta": "".join(pieces[start : start + 8])}
        yield "response.reasoning_summary_text.done", 0, {**place, "text": part["text"]}
        yield "response.reasoning_summary_part.done", 0, {**place, "part": part}


def failed_event(reject: Reject) -> bytes:
    """An error in the middle of a stream."""
    event = {
        "type": "error",
        "sequence_number": 99,
        "code": reject.code,
        "message": reject.message,
        "param": reject.param,
    }
    return b"event: error\ndata: " + _encode(event) + b"\n\n"
