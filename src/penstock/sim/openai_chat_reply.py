"""How OpenAI Chat Completions writes answers, streams and errors.

Source: OpenAI API reference and openai-python 3.52 types.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from penstock.sim import tokens
from penstock.sim.answers import Reply
from penstock.sim.openai_chat import ChatAsk
from penstock.sim.plan import Reject, Send, SendKind, Usage

_encode = msgspec.json.encode

_AZURE_CODES = {
    "model_not_found": "DeploymentNotFound",
    "invalid_api_key": "401",
    "rate_limit_exceeded": "RateLimitReached",
}
_FINISH = {
    "stop": "stop",
    "stop_sequence": "stop",
    "length": "length",
    "tool_calls": "tool_calls",
    "content_filter": "content_filter",
    "refusal": "stop",
}


def error_body(reject: Reject, request_id: str, *, azure: bool = False) -> bytes:
    """The JSON body of an error."""
    if azure:
        code = _AZURE_CODES.get(reject.code or "", reject.code or str(reject.status))
        inner = {"innererror": dict(reject.details)} if reject.details else {}
        return _encode(
            {
                "error": {
                    "code": code,
                    "message": reject.message,
                    "param": reject.param,
                    "type": None,
                    "status": reject.status,
                    **inner,
                }
            }
        )
    return _encode(
        {"error": {"message": reject.message, "type": reject.kind, "param": reject.param, "code": reject.code}}
    )


@dataclass(frozen=True, slots=True)
class Writing:
    """What the written form needs beside the answer: ids, time, model echo, and whether to obfuscate or hide usage."""

    request: ChatAsk
    model: str
    ident: str
    created: int
    usage: Usage | None
    chunk_tokens: int = 3
    obfuscation: bool = False
    azure: bool = False


def usage_object(usage: Usage) -> dict[str, Any]:
    """Usage as OpenAI writes it: cached tokens are part of the prompt, reasoning of the completion."""
    return {
        "prompt_tokens": usage.prompt,
        "completion_tokens": usage.output,
        "total_tokens": usage.prompt + usage.output,
        "prompt_tokens_details": {"cached_tokens": usage.cache_read, "audio_tokens": 0},
        "completion_tokens_details": {
            "reasoning_tokens": usage.reasoning,
            "audio_tokens": 0,
            "accepted_prediction_tokens": 0,
            "rejected_prediction_tokens": 0,
        },
    }


def _finish(reply: Reply, request: ChatAsk) -> str:
    # A forced function ends with `stop` although it is a tool call (recorded behaviour).
    if reply.stop == "tool_calls" and request.forced_function:
        return "stop"
    return _FINISH[reply.stop]


def _logprobs(pieces: Sequence[str]) -> dict[str, Any]:
    return {
        "content": [{"token": p, "logprob": -0.125, "bytes": list(p.encode()), "top_logprobs": []} for p in pieces],
        "refusal": None,
    }


def _call_id(ident: str, choice: int, at: int) -> str:
    return f"call_{ident[-20:]}{choice:x}{at:x}"


def write(replies: Sequence[Reply], writing: Writing) -> bytes:
    """The body of a non-streamed answer."""
    choices = []
    for index, reply in enumerate(replies):
        message: dict[str, Any] = {
            "role": "assistant",
            "content": None if (reply.calls and not reply.text) or reply.stop == "refusal" else reply.text,
            "refusal": reply.text if reply.stop == "refusal" else None,
            "annotations": [],
        }
        if reply.calls:
            message["tool_calls"] = [
                {
                    "id": _call_id(writing.ident, index, at),
                    "type": "function",
                    "function": {"name": call.name, "arguments": call.arguments},
                }
                for at, call in enumerate(reply.calls)
            ]
        choice: dict[str, Any] = {
            "index": index,
            "message": message,
            "logprobs": _logprobs(reply.pieces) if writing.request.logprobs else None,
            "finish_reason": _finish(reply, writing.request),
        }
        if writing.azure:
            choice["content_filter_results"] = {}
        choices.append(choice)
    body: dict[str, Any] = {
        "id": writing.ident,
        "object": "chat.completion",
        "created": writing.created,
        "model": writing.model,
        "choices": choices,
    }
    if writing.usage is not None:
        body["usage"] = usage_object(writing.usage)
    return _encode(body | {"service_tier": "default", "system_fingerprint": "fp_penstocksim"})


def stream(replies: Sequence[Reply], writing: Writing) -> list[Send]:
    """The events of a streamed answer, each with the output tokens it stands for."""
    base: dict[str, Any] = {
        "id": writing.ident,
        "object": "chat.completion.chunk",
        "created": writing.created,
        "model": writing.model,
        "service_tier": "default",
        "system_fingerprint": "fp_penstocksim",
    }
    include = writing.request.include_usage
    events: list[Send] = []

    def put(
        index: int,
        delta: dict[str, Any],
        count: int,
        kind: SendKind,
        finish: str | None = None,
        pieces: Sequence[str] = (),
    ) -> None:
        chunk = base | {
            "choices": [
                {
                    "index": index,
                    "delta": delta,
                    "logprobs": _logprobs(pieces) if writing.request.logprobs and pieces else None,
                    "finish_reason": finish,
                }
            ]
        }
        if include:
            chunk["usage"] = None
        if writing.obfuscation:
            chunk["obfuscation"] = "x" * (7 + len(events) % 9)
        events.append(Send(b"data: " + _encode(chunk) + b"\n\n", count, kind))

    if writing.azure:
        first = base | {"id": "", "model": "", "created": 0, "choices": [], "prompt_filter_results": []}
        events.append(Send(b"data: " + _encode(first) + b"\n\n", 0, "open"))
    for index, reply in enumerate(replies):
        left = reply.tokens - reply.reasoning_tokens
        opening: dict[str, Any] = {"role": "assistant", "content": None if reply.calls else "", "refusal": None}
        put(index, opening, 0, "open")
        if reply.calls:
            left -= _stream_calls(reply, writing, index, put)
        said = "refusal" if reply.stop == "refusal" else "content"
        for at in range(0, len(reply.pieces), writing.chunk_tokens):
            part = reply.pieces[at : at + writing.chunk_tokens]
            put(index, {said: "".join(part)}, len(part), "delta", pieces=part)
            left -= len(part)
        put(index, {}, max(0, left), "finish", _finish(reply, writing.request))
    if include and writing.usage is not None:
        last = base | {"choices": [], "usage": usage_object(writing.usage)}
        events.append(Send(b"data: " + _encode(last) + b"\n\n", 0, "usage"))
    events.append(Send(b"data: [DONE]\n\n", 0, "done"))
    return events


def _stream_calls(reply: Reply, writing: Writing, index: int, put: Any) -> int:
    spent = 0
    for at, call in enumerate(reply.calls):
        ident = _call_id(writing.ident, index, at)
        opening = {"index": at, "id": ident, "type": "function", "function": {"name": call.name, "arguments": ""}}
        put(index, {"tool_calls": [opening]}, tokens.count(call.name) + 4, "delta")
        spent += tokens.count(call.name) + 4
        pieces = tokens.split(call.arguments)
        for start in range(0, len(pieces), writing.chunk_tokens):
            part = pieces[start : start + writing.chunk_tokens]
            put(index, {"tool_calls": [{"index": at, "function": {"arguments": "".join(part)}}]}, len(part), "delta")
            spent += len(part)
    return spent


def error_event(reject: Reject) -> bytes:
    """An error in the middle of a stream."""
    return b"data: " + error_body(reject, "") + b"\n\n"


def model_object(name: str) -> dict[str, Any]:
    """One row of GET /v1/models."""
    return {"id": name, "object": "model", "created": 1_715_367_049, "owned_by": "penstock-sim"}


def model_list(names: Sequence[str]) -> dict[str, Any]:
    """GET /v1/models."""
    return {"object": "list", "data": [model_object(name) for name in names]}
