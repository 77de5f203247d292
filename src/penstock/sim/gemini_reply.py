"""How Gemini's API writes answers, streams, vectors and errors.

Source: google-genai SDK 3.6 types; recorded answers; RetryInfo and QuotaFailure as public issues quote them (2026-12).
"""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any

import msgspec

from penstock.sim import tokens
from penstock.sim.answers import Reply
from penstock.sim.config import Model
from penstock.sim.gemini import EmbedAsk
from penstock.sim.openai_embeddings import vector
from penstock.sim.plan import Reject, Send, SendKind, Usage

_encode = msgspec.json.encode

_STOPS = {
    "stop": "STOP",
    "stop_sequence": "STOP",
    "length": "MAX_TOKENS",
    "tool_calls": "STOP",
    "content_filter": "SAFETY",
    "refusal": "SAFETY",
}
_STATUSES = {
    400: "INVALID_ARGUMENT",
    401: "UNAUTHENTICATED",
    403: "PERMISSION_DENIED",
    404: "NOT_FOUND",
    409: "ABORTED",
    429: "RESOURCE_EXHAUSTED",
    499: "CANCELLED",
    500: "INTERNAL",
    501: "UNIMPLEMENTED",
    503: "UNAVAILABLE",
    504: "DEADLINE_EXCEEDED",
}
_RPC = "type.googleapis.com/google.rpc."


@dataclass(frozen=True, slots=True)
class Writing:
    """What the written form needs beside the answers; `usage` None hides it."""

    model: str
    ident: str
    usage: Usage | None
    show_thoughts: bool = False
    signs: bool = False
    chunk_tokens: int = 3
    framed: bool = True


def error_object(reject: Reject) -> dict[str, Any]:
    """An error; `details` of the refusal are its QuotaFailure and RetryInfo."""
    error: dict[str, Any] = {"code": reject.status, "message": reject.message}
    error["status"] = _STATUSES.get(reject.status, "UNKNOWN")
    details = list((reject.details or {}).values())
    if reject.code == "API_KEY_INVALID":
        details.append({"@type": f"{_RPC}ErrorInfo", "reason": reject.code, "domain": "googleapis.com"})
    return {"error": error | ({"details": details} if details else {})}


def error_body(reject: Reject) -> bytes:
    """The JSON body of an error."""
    return _encode(error_object(reject))


def quota(quota_id: str, wait_s: float | None) -> dict[str, Any]:
    """The details of a 429: which quota, and how long to wait."""
    metric = "generativelanguage.googleapis.com/generate_content_free_tier_requests"
    violation = {"quotaMetric": metric, "quotaId": quota_id}
    found: dict[str, Any] = {"quota": {"@type": f"{_RPC}QuotaFailure", "violations": [violation]}}
    if wait_s is not None:
        found["retry"] = {"@type": f"{_RPC}RetryInfo", "retryDelay": f"{wait_s:.9f}".rstrip("0").rstrip(".") + "s"}
    return found


def usage_object(usage: Usage) -> dict[str, Any]:
    """Usage as Gemini writes it: cached tokens are in the prompt, thoughts are not in the candidates."""
    spoken = usage.output - usage.reasoning
    found: dict[str, Any] = {"promptTokenCount": usage.prompt}
    if spoken:
        found["candidatesTokenCount"] = spoken
    found["totalTokenCount"] = usage.prompt + usage.output
    if usage.cache_read:
        found["cachedContentTokenCount"] = usage.cache_read
    found["promptTokensDetails"] = [{"modality": "TEXT", "tokenCount": usage.prompt}]
    if usage.reasoning:
        found["thoughtsTokenCount"] = usage.reasoning
    return found


def _signature(ident: str, at: int) -> str:
    return base64.b64encode(b"sim:" + blake2b(f"{ident}/{at}".encode(), digest_size=24).digest()).decode()


def _call_part(reply: Reply, at: int, writing: Writing) -> dict[str, Any]:
    call = reply.calls[at]
    function: dict[str, Any] = {"name": call.name, "args": call.value}
    part: dict[str, Any] = {"functionCall": function}
    if writing.signs:
        function["id"] = f"{writing.ident[-8:]}{at}"
        if at == 0:
            part["thoughtSignature"] = _signature(writing.ident, 0)
    return part


def _candidate(parts: list[dict[str, Any]], index: int, stop: str | None) -> dict[str, Any]:
    found: dict[str, Any] = {"content": {"parts": parts, "role": "model"}} if parts else {"content": {"role": "model"}}
    if stop is not None:
        found["finishReason"] = stop
    return found | {"index": index}


def _body(candidates: list[dict[str, Any]], writing: Writing, usage: Usage | None) -> dict[str, Any]:
    body: dict[str, Any] = {"candidates": candidates}
    if usage is not None:
        body["usageMetadata"] = usage_object(usage)
    return body | {"modelVersion": writing.model, "responseId": writing.ident}


def write(replies: Sequence[Reply], writing: Writing) -> bytes:
    """The body of a non-streamed answer."""
    candidates = []
    for index, reply in enumerate(replies):
        parts: list[dict[str, Any]] = []
        if reply.reasoning and writing.show_thoughts:
            parts.append({"text": reply.reasoning, "thought": True})
        if reply.text:
            signed = {"thoughtSignature": _signature(writing.ident, index)} if writing.signs and reply.reasoning else {}
            parts.append({"text": reply.text, **signed})
        parts += [_call_part(reply, at, writing) for at in range(len(reply.calls))]
        candidates.append(_candidate(parts, index, _STOPS[reply.stop]))
    return _encode(_body(candidates, writing, writing.usage))


class _Writer:
    def __init__(self, writing: Writing) -> None:
        self.events: list[Send] = []
        self._writing = writing

    def put(self, part: dict[str, Any] | None, index: int, count: int, stop: str | None = None) -> None:
        usage = self._writing.usage
        told = None if usage is None else usage if stop else Usage(usage.input, usage.cache_read)
        body = _body([_candidate([] if part is None else [part], index, stop)], self._writing, told)
        kind: SendKind = "finish" if stop else "delta"
        self.events.append(Send(self._framed(body), count, kind))

    def _framed(self, body: dict[str, Any]) -> bytes:
        if self._writing.framed:
            return b"data: " + _encode(body) + b"\r\n\r\n"
        return (b"," if self.events else b"[") + _encode(body) + b"\r\n"

    def text(self, text: str, index: int, **more: bool) -> int:
        pieces = tokens.split(text)
        for at in range(0, len(pieces), self._writing.chunk_tokens):
            part = pieces[at : at + self._writing.chunk_tokens]
            self.put({"text": "".join(part), **more}, index, len(part))
        return len(pieces)


def stream(replies: Sequence[Reply], writing: Writing) -> list[Send]:
    """The chunks of a streamed answer, as events or as one list, each with the output tokens it stands for."""
    out = _Writer(writing)
    for index, reply in enumerate(replies):
        left = reply.tokens
        if reply.reasoning and writing.show_thoughts:
            left -= out.text(reply.reasoning, index, thought=True)
        elif reply.reasoning:
            left -= reply.reasoning_tokens
        left -= out.text(reply.text, index)
        for at, call in enumerate(reply.calls):
            count = tokens.count(call.name) + 4 + (len(tokens.split(call.arguments)) if call.arguments != "{}" else 0)
            out.put(_call_part(reply, at, writing), index, count)
            left -= count
        signed = {"text": "", "thoughtSignature": _signature(writing.ident, index)}
        signs = writing.signs and reply.reasoning and reply.text
        out.put(signed if signs else {"text": ""}, index, max(0, left), _STOPS[reply.stop])
    if not writing.framed:
        out.events.append(Send(b"]", 0, "done"))
    return out.events


def error_event(reject: Reject) -> bytes:
    """An error in the middle of a stream."""
    return b"data: " + error_body(reject) + b"\r\n\r\n"


def write_vectors(ask: EmbedAsk, method: str, usage: Usage | None) -> bytes:
    """The body of an answer with vectors."""
    vectors = [{"values": vector(text, ask.whole, ask.dimensions).tolist()} for text in ask.texts]
    body: dict[str, Any] = {"embeddings": vectors} if method == "batchEmbedContents" else {"embedding": vectors[0]}
    if usage is not None:
        body["usageMetadata"] = {"promptTokenCount": usage.prompt, "totalTokenCount": usage.prompt}
    return _encode(body)


def write_count(total: int) -> bytes:
    """The body of a countTokens answer."""
    return _encode({"totalTokens": total, "promptTokensDetails": [{"modality": "TEXT", "tokenCount": total}]})


def model_list(models: Mapping[str, Model]) -> dict[str, Any]:
    """GET /v1beta/models."""
    rows = [
        {
            "name": f"models/{name}",
            "displayName": name.replace("-", " ").title(),
            "inputTokenLimit": model.window,
            "outputTokenLimit": model.max_output,
            "supportedGenerationMethods": ["embedContent"] if model.dimensions else ["generateContent", "countTokens"],
        }
        for name, model in models.items()
    ]
    return {"models": rows}
