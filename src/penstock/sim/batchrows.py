"""One row of a batch, answered as the endpoint itself would answer it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from penstock.sim import anthropic, anthropic_reply, openai_chat, openai_chat_reply
from penstock.sim.answers import answer
from penstock.sim.bill import Price
from penstock.sim.config import Protocol, SimConfig
from penstock.sim.plan import Reject, Usage

Dialect = Literal["openai", "groq", "together", "mistral", "anthropic"]


@dataclass(frozen=True, slots=True)
class Answered:
    """How a row ended: its status, the body of its answer or error, and what it used."""

    status: int
    body: bytes
    model: str = ""
    usage: Usage = field(default_factory=Usage)


def answer_row(config: SimConfig, protocol: Protocol, body: Mapping[str, Any], ident: str, now: float) -> Answered:
    """Answer a row; what its body is refused for becomes its error."""
    try:
        return (_chat if protocol == "openai" else _message)(config, body, ident, now)
    except Reject as reject:
        return refused(protocol, reject, ident)
    except (AttributeError, TypeError, KeyError, ValueError, RecursionError) as error:
        return refused(protocol, Reject(400, f"The request body could not be understood: {error}"), ident)


def refused(protocol: Protocol, reject: Reject, ident: str) -> Answered:
    """A row that is refused; it costs nothing."""
    if protocol == "openai":
        return Answered(reject.status, openai_chat_reply.error_body(reject, ident))
    return Answered(reject.status, anthropic_reply.error_body(reject, ident))


def batch_cost(dialect: Dialect, model: str, price: Price, usage: Usage) -> int:
    """What the usage costs in a batch, in nano-dollars: half of each price, rounded half up once at the end.

    Together discounts few models: "Models not listed run at standard rates".
    Source: https://docs.together.ai/docs/inference/batch/overview (read 2026-12).
    """
    if dialect == "together" and model != "meta-llama/Llama-3.3-70B-Instruct-Turbo":
        return price.cost_nano(usage)
    plain, read, short, long, output = price.rates()
    whole = (
        usage.input * plain
        + usage.cache_read * read
        + usage.write_5m * short
        + usage.write_1h * long
        + usage.output * output
    )
    return (whole + 1_000_000) // 2_000_000


def _chat(config: SimConfig, body: Mapping[str, Any], ident: str, now: float) -> Answered:
    name = openai_chat.model_name(body)
    model = config.model(name, "openai")
    if model is None:
        raise openai_chat.no_such_model(name)
    chat = openai_chat.check(body, name, model)
    replies = [answer(chat.ask, config.seed, index, config.answer_tokens) for index in range(chat.ask.n)]
    output, reasoning = sum(r.tokens for r in replies), sum(r.reasoning_tokens for r in replies)
    usage = Usage(chat.prompt_tokens, 0, 0, 0, output, reasoning)
    writing = openai_chat_reply.Writing(chat, name, f"chatcmpl-{ident}", int(now), usage)
    written = openai_chat_reply.write(replies, writing)
    return Answered(200, written, name, usage)


def _message(config: SimConfig, body: Mapping[str, Any], ident: str, now: float) -> Answered:
    name = anthropic.model_name(body)
    model = config.model(name, "anthropic")
    if model is None:
        raise anthropic.no_such_model(name)
    if body.get("stream"):
        raise Reject(400, "stream: streaming is not supported for batch requests")
    found = anthropic.check(body, name, model, anthropic.OLD)
    reply = answer(found.ask, config.seed, 0, config.answer_tokens)
    usage = Usage(found.prompt_tokens, 0, 0, 0, reply.tokens, reply.reasoning_tokens)
    writing = anthropic_reply.Writing(name, f"msg_01{ident}", usage, found.show_thinking)
    return Answered(200, anthropic_reply.write(reply, writing), name, usage)
