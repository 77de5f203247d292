"""The desks of Cohere's and Google's APIs: which requests are theirs, and how each is answered.

They work with the hands of the simulator, which keeps limits, bill and faults for all protocols.
"""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import blake2b
from typing import Any, Final, Protocol

import msgspec

from penstock.sim import caches, cohere, cohere_reply, gemini, gemini_reply
from penstock.sim.answers import Ask, Reply
from penstock.sim.config import MODELS, SimConfig
from penstock.sim.config import Protocol as Name
from penstock.sim.exchange import Plan
from penstock.sim.faults import Fault
from penstock.sim.limits import Dimension, Lane
from penstock.sim.plan import Reject, Send, SimRequest, Usage

_COHERE: Final = ("/v2/chat", "/v2/embed", "/v2/rerank")
SEARCH_UNIT_NANO: Final = 2_000_000
"""What one search unit costs: 2 dollars for a thousand. Source: Cohere's price list (2026-11)."""


class Hands(Protocol):
    """What a desk needs of the simulator."""

    config: SimConfig
    cache: caches.PrefixCache

    def front_fault(self, plan: Plan) -> bool:
        """Answer in the provider's place where a fault does; say whether it did."""
        ...

    def admit(self, plan: Plan, costs: dict[Dimension, int], now: float) -> Lane:
        """Ask the lane for room; raises Reject."""
        ...

    def reply(self, plan: Plan, ask: Ask, index: int) -> Reply:
        """What the model says."""
        ...

    def reported(self, usage: Usage, fault: Fault | None) -> Usage | None:
        """The usage that is told."""
        ...

    def whole(self, plan: Plan, body: bytes, lane: Lane | None, now: float) -> None:
        """Answer with one body."""
        ...

    def streamed(self, plan: Plan, events: list[Send], hidden: int, lane: Lane, now: float) -> None:
        """Answer with events."""
        ...

    def disturb(self, plan: Plan, now: float) -> None:
        """Change the steps as the plan's fault says."""
        ...


def protocol_of(request: SimRequest) -> Name | None:
    """Whose protocol a request is, None where it is neither of these."""
    path = request.path.rstrip("/")
    if path.endswith(_COHERE):
        return "cohere"
    if gemini.PATH.search(path) or "x-goog-api-key" in request.headers:
        return "gemini"
    return None


def read(plan: Plan, body: Mapping[str, Any]) -> None:
    """Note what a request is, for its bill, its log and the faults."""
    asked = body.get("messages") or body.get("contents") or body.get("requests")
    plan.prompt = blake2b(msgspec.json.encode(asked), digest_size=8).hexdigest()
    if plan.protocol == "cohere":
        plan.model = str(body.get("model") or "")
        plan.stream = body.get("stream") is True
        return
    found = gemini.PATH.search(plan.request.path.rstrip("/"))
    plan.model = found["model"] if found else ""
    plan.stream = found is not None and found["method"] == "streamGenerateContent"


def answer(sim: Hands, plan: Plan, body: dict[str, Any], now: float) -> None:
    """Answer a request that was read.

    Raises: Reject.
    """
    if plan.protocol == "gemini":
        _gemini(sim, plan, gemini.camel(body), now)
        return
    name = cohere.model_name(body)
    model = sim.config.model(name, "cohere")
    if model is None:
        raise cohere.no_such_model(name)
    match plan.request.path.rstrip("/").rpartition("/")[2]:
        case "chat":
            _chat(sim, plan, cohere.check_chat(body, name, model), now)
        case "embed":
            _embed(sim, plan, cohere.check_embed(body, name, model, sim.config.embeddings.poison), now)
        case _:
            _rerank(sim, plan, cohere.check_rerank(body, name, model), now)


def _chat(sim: Hands, plan: Plan, chat: cohere.ChatAsk, now: float) -> None:
    if sim.front_fault(plan):
        return
    lane = sim.admit(plan, {"requests": 1}, now)
    reply = sim.reply(plan, chat.ask, 0)
    plan.usage = Usage(chat.prompt_tokens, output=reply.tokens, reasoning=reply.reasoning_tokens)
    writing = cohere_reply.Writing(
        chat, _uuid(plan), sim.reported(plan.usage, plan.fault), sim.config.latency.chunk_tokens
    )
    if chat.ask.stream:
        sim.streamed(plan, cohere_reply.stream(reply, writing), 0, lane, now)
    else:
        sim.whole(plan, cohere_reply.write(reply, writing), lane, now)
    sim.disturb(plan, now)


def _embed(sim: Hands, plan: Plan, asked: cohere.EmbedAsk, now: float) -> None:
    if sim.front_fault(plan):
        return
    lane = sim.admit(plan, {"requests": 1}, now)
    plan.usage = Usage(asked.prompt_tokens)
    body = cohere_reply.write_vectors(asked, _uuid(plan), sim.reported(plan.usage, plan.fault))
    sim.whole(plan, body, lane, now)
    sim.disturb(plan, now)


def _rerank(sim: Hands, plan: Plan, asked: cohere.RerankAsk, now: float) -> None:
    if sim.front_fault(plan):
        return
    lane = sim.admit(plan, {"requests": 1}, now)
    plan.fee_nano = asked.units * SEARCH_UNIT_NANO
    sim.whole(plan, cohere_reply.write_ranking(asked, _uuid(plan)), lane, now)
    sim.disturb(plan, now)


def _uuid(plan: Plan) -> str:
    digits = plan.request_id.removeprefix("req_").rjust(32, "0")
    return "-".join((digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:]))


def _gemini(sim: Hands, plan: Plan, body: dict[str, Any], now: float) -> None:
    found = gemini.PATH.search(plan.request.path.rstrip("/"))
    if found is None or found["method"] not in gemini.METHODS:
        raise Reject(404, f"Method not found: {plan.request.path}")
    name, method = found["model"], found["method"]
    model = sim.config.model(name, "gemini")
    if model is None:
        raise gemini.no_such_model(name, method)
    if method in ("batchEmbedContents", "embedContent"):
        _vectors(sim, plan, gemini.check_embed(body, name, model, sim.config.embeddings.poison, method), method, now)
    elif method == "countTokens":
        inner = body.get("generateContentRequest") or body
        counted = gemini.check(inner, name, model, method)
        if not sim.front_fault(plan):
            sim.whole(plan, gemini_reply.write_count(counted.prompt_tokens), None, now)
            sim.disturb(plan, now)
    else:
        _generate(sim, plan, gemini.check(body, name, model, method), name, now)


def _generate(sim: Hands, plan: Plan, asked: gemini.GenerateAsk, name: str, now: float) -> None:
    if sim.front_fault(plan):
        return
    lane = sim.admit(plan, {"requests": 1, "tokens": asked.prompt_tokens}, now)
    replies = [sim.reply(plan, asked.ask, index) for index in range(asked.ask.n)]
    cached = caches.automatic(sim.cache, f"{plan.credential}/{name}", asked.prompt_text, now, sim.config.cache_ttl_s)
    cached = min(cached, asked.prompt_tokens)
    output, reasoning = sum(reply.tokens for reply in replies), sum(reply.reasoning_tokens for reply in replies)
    plan.usage = Usage(asked.prompt_tokens - cached, cached, 0, 0, output, reasoning)
    writing = gemini_reply.Writing(
        name,
        plan.request_id.removeprefix("req_"),
        sim.reported(plan.usage, plan.fault),
        asked.show_thoughts,
        asked.signs,
        sim.config.latency.chunk_tokens,
        plan.request.query.get("alt") == "sse",
    )
    if asked.ask.stream:
        hidden = 0 if asked.show_thoughts else reasoning
        sim.streamed(plan, gemini_reply.stream(replies, writing), hidden, lane, now)
    else:
        sim.whole(plan, gemini_reply.write(replies, writing), lane, now)
    sim.disturb(plan, now)


def _vectors(sim: Hands, plan: Plan, asked: gemini.EmbedAsk, method: str, now: float) -> None:
    if sim.front_fault(plan):
        return
    lane = sim.admit(plan, {"requests": 1, "tokens": asked.prompt_tokens}, now)
    plan.usage = Usage(asked.prompt_tokens)
    body = gemini_reply.write_vectors(asked, method, sim.reported(plan.usage, plan.fault))
    sim.whole(plan, body, lane, now)
    sim.disturb(plan, now)


def page(config: SimConfig, plan: Plan) -> bytes:
    """The list of models, or one of them.

    Raises: Reject for any other page.
    """
    head, _, name = plan.request.path.rstrip("/").partition("/models")
    if plan.protocol != "gemini" or not head or plan.request.method != "GET":
        raise Reject(405, f"Method {plan.request.method} is not allowed for {plan.request.path}")
    known = {each: model for each, model in {**MODELS, **config.models}.items() if model.protocol == "gemini"}
    name = name.removeprefix("/")
    if name and name not in known:
        raise gemini.no_such_model(name, "generateContent")
    listed = gemini_reply.model_list({name: known[name]} if name else known)
    return msgspec.json.encode(listed["models"][0] if name else listed)


def error_body(protocol: str, reject: Reject, request_id: str) -> bytes:
    """The body of an error, in the words of its protocol."""
    return gemini_reply.error_body(reject) if protocol == "gemini" else cohere_reply.error_body(reject, request_id)


def error_event(protocol: str, reject: Reject) -> bytes:
    """An error in the middle of a stream."""
    return gemini_reply.error_event(reject) if protocol == "gemini" else cohere_reply.error_event(reject)
