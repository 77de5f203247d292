"""How Cohere's v2 API writes answers, streams, vectors, rankings and errors.

Source: cohere SDK 7.3.1 types; recorded answers (2026-12).
"""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

from penstock.sim import tokens
from penstock.sim.answers import Reply
from penstock.sim.cohere import PREAMBLE_TOKENS, ChatAsk, EmbedAsk, RerankAsk
from penstock.sim.openai_embeddings import vector
from penstock.sim.plan import Reject, Send, SendKind, Usage

_encode = msgspec.json.encode

_STOPS = {
    "stop": "COMPLETE",
    "stop_sequence": "STOP_SEQUENCE",
    "length": "MAX_TOKENS",
    "tool_calls": "TOOL_CALL",
    "content_filter": "ERROR",
    "refusal": "COMPLETE",
}


@dataclass(frozen=True, slots=True)
class Writing:
    """What the written form needs beside the answer; `usage` None hides it."""

    chat: ChatAsk
    ident: str
    usage: Usage | None
    chunk_tokens: int = 3


def error_body(reject: Reject, request_id: str) -> bytes:
    """The JSON body of an error."""
    kind = {"error_type": reject.code} if reject.code == "TOO_MANY_TOKENS" else {}
    return _encode({**kind, "id": request_id, "message": reject.message})


def usage_object(usage: Usage) -> dict[str, Any]:
    """Usage as Cohere writes it: what is billed, and what the model saw."""
    counted = {"input_tokens": usage.prompt + PREAMBLE_TOKENS, "output_tokens": usage.output}
    if usage.reasoning:
        counted["reasoning_tokens"] = usage.reasoning
    return {
        "billed_units": {"input_tokens": usage.prompt, "output_tokens": usage.output},
        "tokens": counted,
        "cached_tokens": PREAMBLE_TOKENS,
    }


def _plan(reply: Reply) -> str:
    return f"I will use {' and '.join(dict.fromkeys(call.name for call in reply.calls))}." if reply.calls else ""


def _calls(reply: Reply, writing: Writing) -> list[dict[str, Any]]:
    return [
        {
            "id": f"{call.name}_{writing.ident[-12:]}{at:x}",
            "type": "function",
            "function": {"name": call.name, "arguments": call.arguments},
        }
        for at, call in enumerate(reply.calls)
    ]


def _citations(reply: Reply, writing: Writing) -> list[dict[str, Any]]:
    """One for each document that shares a word with the answer, where it does first."""
    found = []
    for document in writing.chat.documents:
        words = set(re.findall(r"\w{4,}", _encode(document["document"]).decode().lower()))
        hit = next((each for each in re.finditer(r"\w{4,}", reply.text) if each.group().lower() in words), None)
        if hit is not None:
            source = {"type": "document", **document}
            place = {"start": hit.start(), "end": hit.end(), "text": hit.group()}
            found.append({**place, "sources": [source], "content_index": 0, "type": "TEXT_CONTENT"})
    return found


def write(reply: Reply, writing: Writing) -> bytes:
    """The body of a non-streamed answer."""
    message: dict[str, Any] = {"role": "assistant"}
    content: list[dict[str, Any]] = []
    if reply.reasoning:
        content.append({"type": "thinking", "thinking": reply.reasoning})
    if reply.text:
        content.append({"type": "text", "text": reply.text})
    if content:
        message["content"] = content
    if reply.calls:
        message |= {"tool_plan": _plan(reply), "tool_calls": _calls(reply, writing)}
    citations = _citations(reply, writing)
    if citations:
        message["citations"] = citations
    body = {"id": writing.ident, "message": message, "finish_reason": _STOPS[reply.stop]}
    if writing.usage is not None:
        body["usage"] = usage_object(writing.usage)
    return _encode(body)


def event(kind: str, fields: Mapping[str, Any]) -> bytes:
    """One SSE event."""
    return b"event: " + kind.encode() + b"\ndata: " + _encode({"type": kind, **fields}) + b"\n\n"


class _Writer:
    def __init__(self, chunk_tokens: int) -> None:
        self.events: list[Send] = []
        self._chunk = chunk_tokens

    def put(self, kind: str, fields: Mapping[str, Any], count: int = 0, sort: SendKind = "open") -> None:
        self.events.append(Send(event(kind, fields), count, sort))

    def pieces(self, kind: str, pieces: list[str], index: int | None, message: Any) -> None:
        """Put text as deltas; `message` writes one piece into the event's message. What has no index is not billed."""
        at = {} if index is None else {"index": index}
        for begin in range(0, len(pieces), self._chunk):
            part = pieces[begin : begin + self._chunk]
            count = 0 if index is None else len(part)
            self.put(kind, {**at, "delta": {"message": message("".join(part))}}, count, "delta")

    def content(self, index: int, kind: str, pieces: list[str]) -> None:
        begun = {"message": {"content": {"type": kind, kind: ""}}}
        self.put("content-start", {"index": index, "delta": begun})
        self.pieces("content-delta", pieces, index, lambda text: {"content": {kind: text}})
        self.put("content-end", {"index": index})


def stream(reply: Reply, writing: Writing) -> list[Send]:
    """The events of a streamed answer, each with the output tokens it stands for."""
    out = _Writer(writing.chunk_tokens)
    empty: dict[str, Any] = {"role": "assistant", "content": [], "tool_plan": "", "tool_calls": [], "citations": []}
    out.put("message-start", {"id": writing.ident, "delta": {"message": empty}})
    left, index = reply.tokens, 0
    if reply.reasoning:
        out.content(index, "thinking", tokens.split(reply.reasoning))
        left, index = left - reply.reasoning_tokens, index + 1
    if reply.text:
        out.content(index, "text", list(reply.pieces))
        left -= len(reply.pieces)
    for at, citation in enumerate(_citations(reply, writing)):
        out.put("citation-start", {"index": at, "delta": {"message": {"citations": citation}}})
        out.put("citation-end", {"index": at})
    out.pieces("tool-plan-delta", tokens.split(_plan(reply)), None, lambda text: {"tool_plan": text})
    for at, call in enumerate(_calls(reply, writing)):
        function = call["function"]
        begun = {"message": {"tool_calls": {**call, "function": {"name": function["name"], "arguments": ""}}}}
        cost = tokens.count(function["name"]) + 4
        out.put("tool-call-start", {"index": at, "delta": begun}, cost)
        pieces = tokens.split(function["arguments"]) if function["arguments"] != "{}" else []
        out.pieces("tool-call-delta", pieces, at, lambda text: {"tool_calls": {"function": {"arguments": text}}})
        out.put("tool-call-end", {"index": at})
        left -= cost + len(pieces)
    end: dict[str, Any] = {"finish_reason": _STOPS[reply.stop]}
    if writing.usage is not None:
        end["usage"] = usage_object(writing.usage)
    out.put("message-end", {"delta": end}, max(0, left), "finish")
    out.events.append(Send(b"data: [DONE]\n\n", 0, "done"))
    return out.events


def error_event(reject: Reject) -> bytes:
    """An error in the middle of a stream."""
    return event("message-end", {"delta": {"finish_reason": "ERROR", "error": reject.message}})


def write_vectors(ask: EmbedAsk, ident: str, usage: Usage | None) -> bytes:
    """The body of an answer with vectors, in each form that was asked for."""
    vectors = [vector(text, ask.whole, ask.dimensions) for text in ask.texts]
    forms: dict[str, Any] = {}
    for form in ask.forms:
        if form == "float":
            forms[form] = [floats.tolist() for floats in vectors]
        elif form == "base64":
            forms[form] = [base64.b64encode(floats.tobytes()).decode() for floats in vectors]
        else:
            forms[form] = [[round(127 * number) for number in floats] for floats in vectors]
    meta: dict[str, Any] = {"api_version": {"version": "2"}}
    if usage is not None:
        meta["billed_units"] = {"input_tokens": usage.prompt}
    body = {"id": ident, "texts": ask.texts, "embeddings": forms, "meta": meta}
    return _encode({**body, "response_type": "embeddings_by_type"})


def write_ranking(ask: RerankAsk, ident: str) -> bytes:
    """The body of a ranking: documents that share words with the query come first."""
    query = vector(ask.query, 256)
    scored = [
        (0.5 + sum(map(float.__mul__, query, vector(text, 256))) / 2, -index)
        for index, text in enumerate(ask.documents)
    ]
    best = sorted(scored, reverse=True)[: ask.top_n]
    results = [{"index": -index, "relevance_score": round(min(1.0, max(0.0, score)), 7)} for score, index in best]
    meta = {"api_version": {"version": "2"}, "billed_units": {"search_units": ask.units}}
    return _encode({"id": ident, "results": results, "meta": meta})
