"""Documents ranked by a query: one call whose answer is an order."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final, Required, TypedDict

from .._policy.fairqueue import Priority
from .._text import tokens
from .._wire.cohere_rerank import Reranked
from ..errors import ConfigError, InputError
from ..reranking import Reranking, RerankRequest
from .accounting import Order
from .prompt import check_tags
from .trail import Trail

MARK_TOKENS_MOST: Final = 8
"""What a tokenizer may put around a query and a document by itself: marks of their beginnings and their ends."""


class RerankOptions(TypedDict, total=False):
    """Everything that `rerank` takes beside query and documents; all of it by keyword.

    `model` is 'provider:name'. `top_n` is how many of the best to return, all where it is not given.
    `max_tokens_per_doc` is where a document is cut off (None: where the model cuts it). `deadline_s` bounds the whole
    call, `tags` appear in usage and budgets, `priority` decides who goes first at the limit. `extra` goes into the body
    as it is.
    """

    model: Required[str]
    top_n: int | None
    max_tokens_per_doc: int | None
    deadline_s: float | None
    tags: Mapping[str, str]
    priority: Priority
    extra: Mapping[str, Any]


RERANK_OPTIONS: Final = frozenset(RerankOptions.__annotations__)


def request(query: object, documents: object, options: Mapping[str, Any], model: str) -> RerankRequest:
    """Read a call of `rerank`.

    Raises: ConfigError naming the option; InputError for a query or a document that is no text, or an empty one.
    """
    if not isinstance(query, str) or not query.strip():
        raise InputError(f"the query is {query!r:.60}; expected a text to rank documents by")
    if isinstance(documents, str | bytes | Mapping) or not isinstance(documents, Iterable):
        raise InputError(f"expected a list of documents to rank, got {type(documents).__name__}")
    texts = tuple(documents)
    if not texts:
        raise InputError("there is nothing to rank: the list of documents is empty")
    for index, text in enumerate(texts):
        if not isinstance(text, str) or not text or text.isspace():
            raise InputError(f"the document at index {index} is {text!r:.60}; expected a text that is not empty")
    size = sum(map(tokens.estimate, texts)) + tokens.estimate(query) * len(texts)
    most = sum(len(text.encode("utf-8", "replace")) for text in texts)
    most += (len(query.encode("utf-8", "replace")) + MARK_TOKENS_MOST) * len(texts)
    return RerankRequest(
        model=model,
        messages=(),
        max_tokens=0,
        query=query,
        texts=texts,
        top_n=options.get("top_n"),
        max_tokens_per_doc=options.get("max_tokens_per_doc"),
        input_tokens=size,
        most_tokens=most,
        extra=dict(options.get("extra") or {}),
    )


def check_options(options: Mapping[str, Any]) -> None:
    """Look at the options of `rerank` before anything is sent.

    Raises: ConfigError naming the option.
    """
    for name in options:
        if name not in RERANK_OPTIONS:
            import difflib

            near = difflib.get_close_matches(name, RERANK_OPTIONS, n=1)
            hint = f"did you mean {near[0]!r}?" if near else "a parameter without a name here goes into extra={...}"
            raise ConfigError(f"rerank has no parameter {name!r}; {hint}")
    for name in ("top_n", "max_tokens_per_doc"):
        value = options.get(name)
        if value is not None and (isinstance(value, bool) or not isinstance(value, int) or value < 1):
            raise ConfigError(f"parameter {name!r} is {value!r}; expected a whole number of at least 1")
    model = options.get("model")
    if not isinstance(model, str) or not model.strip():
        raise ConfigError(f"model is {model!r}; name one that ranks, e.g. model='cohere:rerank-v3.5'")
    if options.get("tags") is not None:
        check_tags(options["tags"])
    extra = options.get("extra")
    if extra is not None and not (isinstance(extra, Mapping) and all(isinstance(name, str) for name in extra)):
        raise ConfigError(f"parameter 'extra' is {extra!r}; expected a dict of parameters by their names")
    for name in extra or ():
        if name in RERANK_OPTIONS or name in ("query", "documents"):
            raise ConfigError(f"extra[{name!r}]: give it as {name}=…")


def told(order: Order, trail: Trail) -> Reranking:
    """Return the ranking that a call ended in."""
    assert trail.last is not None
    reply = trail.last.reply
    assert isinstance(reply, Reranked)
    lane = order.lanes[0]
    return Reranking(
        provider=lane.provider.name,
        model=lane.model,
        results=reply.results,
        search_units=reply.search_units,
        cost_nano=trail.cost_nano,
        id=reply.id,
        attempts=tuple(trail.attempts),
        latency_s=trail.ended - order.started,
        tags=order.tags,
    )
