"""How Anthropic Messages writes answers, streams and errors.

Source: Anthropic API reference, anthropic-python 2.11 types.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any

import msgspec

from penstock.sim import tokens
from penstock.sim.answers import Reply
from penstock.sim.config import Model
from penstock.sim.plan import Reject, Send, SendKind, Usage

_encode = msgspec.json.encode

_STOPS = {
    "stop": "end_turn",
    "stop_sequence": "stop_sequence",
    "length": "max_tokens",
    "tool_calls": "tool_use",
    "content_filter": "refusal",
    "refusal": "refusal",
}

_KINDS = {
    400: "invalid_request_error",
    401: "authentication_error",
    402: "billing_error",
    403: "permission_error",
    404: "not_found_error",
    409: "conflict_error",
    413: "request_too_large",
    429: "rate_limit_error",
    504: "timeout_error",
    529: "overloaded_error",
}

_COUNTED_LAST = frozenset(
    {
        "input_tokens",
        "cache_creation_input_tokens",
        "cache_read_input_tokens",
        "output_tokens",
        "output_tokens_details",
    }
)
"""What message_delta repeats of the usage."""


def error_body(reject: Reject, request_id: str) -> bytes:
    """The JSON body of an error; its type follows from the status."""
    error: dict[str, Any] = {"type": kind_of(reject.status), "message": reject.message}
    if reject.details is not None:
        error["details"] = reject.details
    return _encode({"type": "error", "error": error, "request_id": request_id})


def kind_of(status: int) -> str:
    """The error type that belongs to a status."""
    return _KINDS.get(status, "api_error" if status >= 500 else "invalid_request_error")


@dataclass(frozen=True, slots=True)
class Writing:
    """What the written form needs beside the answer; `usage` None hides it."""

    model: str
    ident: str
    usage: Usage | None
    show_thinking: bool = True
    chunk_tokens: int = 3


def usage_object(usage: Usage) -> dict[str, Any]:
    """Usage as Anthropic writes it: the input buckets are disjoint."""
    return {
        "input_tokens": usage.input,
        "cache_creation_input_tokens": usage.write_5m + usage.write_1h,
        "cache_read_input_tokens": usage.cache_read,
        "cache_creation": {"ephemeral_5m_input_tokens": usage.write_5m, "ephemeral_1h_input_tokens": usage.write_1h},
        "output_tokens": usage.output,
        "output_tokens_details": {"thinking_tokens": usage.reasoning},
        "server_tool_use": None,
        "service_tier": "standard",
        "inference_geo": "global",
    }


def _refusal(reply: Reply) -> dict[str, Any] | None:
    if reply.stop not in ("content_filter", "refusal"):
        return None
    return {"type": "refusal", "category": "general_harms", "explanation": "The simulator was told to refuse."}


def _stop(reply: Reply) -> dict[str, Any]:
    return {
        "stop_reason": _STOPS[reply.stop],
        "stop_sequence": reply.stop_sequence,
        "stop_details": _refusal(reply),
    }


def _tool_use(writing: Writing, at: int, name: str, arguments: Any) -> dict[str, Any]:
    return {
        "type": "tool_use",
        "id": f"toolu_{writing.ident.removeprefix('msg_')}{at:x}",
        "name": name,
        "input": arguments,
        "caller": {"type": "direct"},
    }


def _message(writing: Writing, content: list[dict[str, Any]], stop: Mapping[str, Any]) -> dict[str, Any]:
    head = {"id": writing.ident, "type": "message", "role": "assistant", "model": writing.model, "content": content}
    return {**head, **stop, "container": None}


def _signature(ident: str) -> str:
    return f"EqQB{blake2b(ident.encode(), digest_size=24).hexdigest()}"


def write(reply: Reply, writing: Writing) -> bytes:
    """The body of a non-streamed answer."""
    content: list[dict[str, Any]] = []
    if reply.reasoning:
        thinking = reply.reasoning if writing.show_thinking else ""
        content.append({"type": "thinking", "thinking": thinking, "signature": _signature(writing.ident)})
    if reply.text:
        content.append({"type": "text", "text": reply.text, "citations": None})
    for at, call in enumerate(reply.calls):
        content.append(_tool_use(writing, at, call.name, call.value))
    body = _message(writing, content, _stop(reply))
    if writing.usage is not None:
        body["usage"] = usage_object(writing.usage)
    return _encode(body)


def event(kind: str, fields: Mapping[str, Any]) -> bytes:
    """One SSE event."""
    return b"event: " + kind.encode() + b"\ndata: " + _encode({"type": kind, **fields}) + b"\n\n"


class _Writer:
    def __init__(self, chunk_tokens: int) -> None:
        self.events: list[Send] = []
        self.index = 0
        self._chunk = chunk_tokens

    def put(self, kind: str, fields: Mapping[str, Any], count: int = 0, sort: SendKind = "delta") -> None:
        self.events.append(Send(event(kind, fields), count, sort))

    def open(self, block: Mapping[str, Any], count: int = 0) -> None:
        self.put("content_block_start", {"index": self.index, "content_block": block}, count, "open")

    def delta(self, kind: str, field: str, pieces: Sequence[str], *, hidden: bool = False) -> None:
        for at in range(0, len(pieces), self._chunk):
            part = pieces[at : at + self._chunk]
            if hidden:
                self.events.append(Send(b"", len(part), "noise"))
            else:
                self.put(
                    "content_block_delta",
                    {"index": self.index, "delta": {"type": kind, field: "".join(part)}},
                    len(part),
                )

    def close(self) -> None:
        self.put("content_block_stop", {"index": self.index}, 0, "open")
        self.index += 1


def stream(reply: Reply, writing: Writing) -> list[Send]:
    """The events of a streamed answer, each with the output tokens it stands for."""
    out = _Writer(writing.chunk_tokens)
    start = _message(writing, [], dict.fromkeys(_stop(reply)))
    if writing.usage is not None:
        start["usage"] = usage_object(writing.usage) | {"output_tokens": 1, "output_tokens_details": None}
    out.put("message_start", {"message": start}, 0, "open")
    pinged = False
    left = reply.tokens
    if reply.reasoning:
        out.open({"type": "thinking", "thinking": "", "signature": ""})
        out.put("ping", {}, 0, "ping")
        pinged = True
        out.delta("thinking_delta", "thinking", tokens.split(reply.reasoning), hidden=not writing.show_thinking)
        signature = {"type": "signature_delta", "signature": _signature(writing.ident)}
        out.put("content_block_delta", {"index": out.index, "delta": signature}, 0, "open")
        out.close()
        left -= reply.reasoning_tokens
    if reply.text:
        out.open({"type": "text", "text": "", "citations": None})
        if not pinged:
            out.put("ping", {}, 0, "ping")
        out.delta("text_delta", "text", reply.pieces)
        out.close()
        left -= len(reply.pieces)
    for at, call in enumerate(reply.calls):
        cost = tokens.count(call.name) + 4
        out.open(_tool_use(writing, at, call.name, {}), cost)
        pieces = tokens.split(call.arguments) if call.arguments != "{}" else []
        out.put("content_block_delta", {"index": out.index, "delta": {"type": "input_json_delta", "partial_json": ""}})
        out.delta("input_json_delta", "partial_json", pieces)
        out.close()
        left -= cost + len(pieces)
    fields: dict[str, Any] = {"delta": _stop(reply)}
    if writing.usage is not None:
        fields["usage"] = {k: v for k, v in usage_object(writing.usage).items() if k in _COUNTED_LAST}
    out.put("message_delta", fields, max(0, left), "finish")
    out.put("message_stop", {}, 0, "done")
    return out.events


def error_event(reject: Reject, request_id: str) -> bytes:
    """An error in the middle of a stream."""
    return b"event: error\ndata: " + error_body(reject, request_id) + b"\n\n"


def model_object(name: str, model: Model) -> dict[str, Any]:
    """One row of GET /v1/models."""
    return {
        "type": "model",
        "id": name,
        "display_name": name.replace("-", " ").title(),
        "created_at": "2025-10-01T00:00:00Z",
        "lifecycle": "active",
        "max_input_tokens": model.window,
        "max_tokens": model.max_output,
    }


def model_list(models: Mapping[str, Model]) -> dict[str, Any]:
    """GET /v1/models."""
    rows = [model_object(name, model) for name, model in models.items()]
    return {
        "data": rows,
        "has_more": False,
        "first_id": rows[0]["id"] if rows else None,
        "last_id": rows[-1]["id"] if rows else None,
    }
