"""Cohere's v2 API as its server speaks it: what chat, embed and rerank refuse, and how they count.

Source: cohere SDK 7.3.1, v2/client.py and types; error wordings as recorded and as public issues quote them (2026-12).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from penstock.sim import strictness, tokens
from penstock.sim.answers import Ask, Tool, Turn
from penstock.sim.config import Model
from penstock.sim.plan import Reject

_encode = msgspec.json.encode

PREAMBLE_TOKENS = 62
"""What the server puts around every prompt by itself; it is counted and not billed."""
TEXTS_MOST, STOPS_MOST, SEARCH_DOCUMENTS = 96, 5, 100
_CHAT = {
    "model", "messages", "tools", "strict_tools", "documents", "citation_options", "response_format", "safety_mode",
    "max_tokens", "stop_sequences", "temperature", "seed", "frequency_penalty", "presence_penalty", "k", "p",
    "logprobs", "tool_choice", "thinking", "priority", "stream",
}  # fmt: skip
_EMBED = {
    "model", "input_type", "texts", "images", "inputs", "max_tokens", "output_dimension", "embedding_types", "truncate",
    "priority",
}  # fmt: skip
_RERANK = {"model", "query", "documents", "top_n", "max_tokens_per_doc", "priority"}
_INPUT_TYPES = ("search_document", "search_query", "classification", "clustering", "image")
_FORMS = ("float", "int8", "uint8", "binary", "ubinary", "base64")
_IMAGE_TOKENS = 1000
_THINKING = 96


@dataclass(frozen=True, slots=True)
class ChatAsk:
    """A checked request: the neutral question, what is billed of it, and the documents that may be cited."""

    ask: Ask
    prompt_tokens: int
    prompt_text: str
    documents: tuple[Mapping[str, Any], ...]


@dataclass(frozen=True, slots=True)
class EmbedAsk:
    """A checked request for vectors."""

    texts: tuple[str, ...]
    dimensions: int
    whole: int
    forms: tuple[str, ...]
    prompt_tokens: int


@dataclass(frozen=True, slots=True)
class RerankAsk:
    """A checked request for a ranking; `units` are billed."""

    query: str
    documents: tuple[str, ...]
    top_n: int
    units: int


def _bad(message: str) -> Reject:
    return Reject(400, f"invalid request: {message}")


def _known(body: Mapping[str, Any], names: set[str]) -> None:
    unknown = next((key for key in body if key not in names), None)
    if unknown is not None:
        raise Reject(422, f"unknown field: parameter '{unknown}' is not a valid field")


def model_name(body: Mapping[str, Any]) -> str:
    """The model a request asks for.

    Raises: Reject 400 when it names none.
    """
    name = body.get("model")
    if not isinstance(name, str) or not name:
        raise _bad("model is required")
    return name


def no_such_model(name: str) -> Reject:
    """The 404 for a model this server does not have."""
    return Reject(
        404, f"model '{name}' not found, make sure the correct model ID was used and that you have access to it."
    )


def check_chat(body: Mapping[str, Any], name: str, model: Model) -> ChatAsk:
    """Check a request body as the real server does and read the question out of it.

    Raises: Reject with the status and message that Cohere answers.
    """
    if model.dimensions or model.ranks:
        raise _bad(f"model '{name}' is not supported by the chat endpoint")
    _known(body, _CHAT)
    _check_numbers(body)
    turns, sizes = _turns(body.get("messages"))
    tools = _tools(body)
    documents = tuple(_document(at, each) for at, each in enumerate(body.get("documents") or ()))
    schema, json_mode = _format(body, documents)
    prompt = sum(sizes) + sum(tokens.count(_encode(document).decode()) for document in documents)
    prompt += tokens.count(_encode(body["tools"]).decode()) if body.get("tools") else 0
    if prompt + PREAMBLE_TOKENS > model.window:
        raise Reject(
            400,
            f"too many tokens: total number of tokens in the prompt cannot exceed {model.window} - received "
            f"{prompt + PREAMBLE_TOKENS}. Try using a shorter prompt, or enabling prompt truncating.",
            code="TOO_MANY_TOKENS",
        )
    ask = Ask(
        model=name,
        system="\n".join(turn.text for turn in turns if turn.role == "system"),
        turns=turns,
        max_tokens=min(body.get("max_tokens") or model.max_output, model.max_output),
        tools=tools,
        tool_choice={"REQUIRED": "required", "NONE": "none"}.get(body.get("tool_choice") or "", "auto"),
        schema=schema,
        json_mode=json_mode,
        stop=tuple(body.get("stop_sequences") or ()),
        seed=body.get("seed") or 0,
        reasoning_tokens=_thinking(body, model),
        stream=body.get("stream") is True,
    )
    return ChatAsk(ask, prompt, "\n".join(turn.text for turn in turns), documents)


def _check_numbers(body: Mapping[str, Any]) -> None:
    for key, low, high in (
        ("p", 0.01, 0.99), ("k", 0, 500), ("frequency_penalty", 0, 1), ("presence_penalty", 0, 1), ("temperature", 0, 2)
    ):  # fmt: skip
        value = body.get(key)
        if value is not None and (isinstance(value, bool) or not isinstance(value, (int, float))):
            raise _bad(f"{key} must be a number")
        if value is not None and not low <= value <= high:
            raise _bad(f"{key} must be between {low} and {high} inclusive")
    limit = body.get("max_tokens")
    if limit is not None and (type(limit) is not int or limit < 1):
        raise _bad("max_tokens must be at least 1")
    stops = body.get("stop_sequences") or ()
    if len(stops) > STOPS_MOST:
        raise _bad(f"stop_sequences can have at most {STOPS_MOST} elements")
    if body.get("tool_choice") not in (None, "REQUIRED", "NONE"):
        raise _bad("tool_choice must be one of 'REQUIRED', 'NONE'")
    if body.get("tool_choice") == "REQUIRED" and not body.get("tools"):
        raise _bad("tool_choice 'REQUIRED' can only be used when tools are specified")


def _turns(messages: object) -> tuple[tuple[Turn, ...], list[int]]:
    if not isinstance(messages, list) or not messages:
        raise _bad("messages must be a non-empty list")
    turns: list[Turn] = []
    sizes: list[int] = []
    called: dict[str, str] = {}
    for at, message in enumerate(messages):
        role = message.get("role") if isinstance(message, dict) else None
        if role not in ("system", "user", "assistant", "tool"):
            raise _bad(f"invalid role in messages[{at}]: must be one of 'user', 'assistant', 'system', 'tool'")
        text, size = _content(message.get("content"), f"messages[{at}]")
        results: tuple[tuple[str, str], ...] = ()
        if role == "tool":
            ident = message.get("tool_call_id")
            if ident not in called:
                raise _bad(f"messages[{at}]: tool_call_id '{ident}' not found in previous tool calls")
            results = ((called[ident], text),)
        for call in message.get("tool_calls") or ():
            called[call["id"]] = call["function"]["name"]
            msgspec.json.decode(call["function"]["arguments"])
        if role in ("system", "user") and not text and not size:
            raise _bad(f"messages[{at}]: content must not be empty")
        turns.append(Turn(role, "" if results else text, results))
        sizes.append(size + tokens.count(_encode(message.get("tool_calls") or "").decode()))
    if turns[-1].role not in ("user", "tool"):
        raise _bad("the last message must be from a user or a tool")
    return tuple(turns), sizes


def _content(content: object, place: str) -> tuple[str, int]:
    if content is None:
        return "", 0
    if isinstance(content, str):
        return content, tokens.count(content)
    if not isinstance(content, list):
        raise _bad(f"{place}: content must be a string or a list")
    texts, size = [], 0
    for item in content:
        match item.get("type"):
            case "text":
                texts.append(str(item["text"]))
            case "thinking":
                size += tokens.count(str(item["thinking"]))
            case "image_url":
                if not item["image_url"].get("url"):
                    raise _bad(f"{place}: image_url.url is required")
                size += _IMAGE_TOKENS
            case "document":
                texts.append(_encode(item["document"]["data"]).decode())
            case kind:
                raise _bad(f"{place}: invalid content type '{kind}'")
    text = "\n".join(texts)
    return text, size + tokens.count(text)


def _tools(body: Mapping[str, Any]) -> tuple[Tool, ...]:
    tools: list[Tool] = []
    for at, tool in enumerate(body.get("tools") or ()):
        function = tool.get("function") if isinstance(tool, dict) else None
        if not isinstance(function, dict) or not function.get("name"):
            raise _bad(f"tools[{at}]: function name is required")
        schema = function.get("parameters")
        if not isinstance(schema, dict) or schema.get("type") != "object":
            raise _bad(f"tools[{at}]: parameters must be a JSON schema of type object")
        tools.append(Tool(function["name"], schema, str(function.get("description") or "")))
    return tuple(tools)


def _document(at: int, document: object) -> Mapping[str, Any]:
    if isinstance(document, str):
        return {"id": f"doc:{at}", "document": {"id": f"doc:{at}", "text": document}}
    if not isinstance(document, dict) or not isinstance(document.get("data"), dict):
        raise _bad(f"documents[{at}]: data is required")
    ident = document.get("id") or f"doc:{at}"
    return {"id": ident, "document": {"id": ident, **document["data"]}}


def _format(body: Mapping[str, Any], documents: Sequence[object]) -> tuple[Mapping[str, Any] | None, bool]:
    form = body.get("response_format")
    if form is None or form.get("type") == "text":
        return None, False
    if form.get("type") != "json_object":
        raise _bad("response_format.type must be one of 'text', 'json_object'")
    if body.get("tools") or documents:
        raise _bad("response_format is not supported when used in combination with documents or tools")
    schema = form.get("json_schema")
    wrong = None if schema is None else strictness.cohere(schema)
    if wrong is not None:
        raise _bad(f"invalid json schema provided: {wrong}")
    return schema, schema is None


def _thinking(body: Mapping[str, Any], model: Model) -> int:
    wanted = body.get("thinking")
    if wanted is None:
        return _THINKING if model.reasoning else 0
    if not model.reasoning:
        raise _bad("thinking is not supported by this model")
    if wanted.get("type") not in ("enabled", "disabled"):
        raise _bad("thinking.type must be one of 'enabled', 'disabled'")
    budget = wanted.get("token_budget")
    return 0 if wanted["type"] == "disabled" else _THINKING if budget is None else min(budget, _THINKING)


def check_embed(body: Mapping[str, Any], name: str, model: Model, poison: str) -> EmbedAsk:
    """Check a request for vectors.

    Raises: Reject with the status and message that Cohere answers.
    """
    if not model.dimensions:
        raise _bad(f"model '{name}' is not supported by the embed endpoint")
    _known(body, _EMBED)
    if body.get("input_type") not in _INPUT_TYPES:
        raise _bad("valid input_type must be provided with the provided model")
    texts = body.get("texts")
    if not isinstance(texts, list) or not texts or not all(isinstance(text, str) and text for text in texts):
        raise _bad("texts must be a non-empty list of non-empty strings")
    if len(texts) > TEXTS_MOST:
        raise _bad(f"total number of texts must be at most {TEXTS_MOST} - received {len(texts)}")
    if poison and any(poison in text for text in texts):
        raise _bad("texts cannot be embedded")
    counts = [tokens.count(text) for text in texts]
    if body.get("truncate") == "NONE" and max(counts) > model.window:
        raise Reject(
            400, f"too many tokens: size limit exceeded by {max(counts) - model.window} tokens.", code="TOO_MANY_TOKENS"
        )
    forms = tuple(body.get("embedding_types") or ("float",))
    if any(form not in _FORMS for form in forms):
        raise _bad(f"embedding_types must be of {', '.join(_FORMS)}")
    dimensions = body.get("output_dimension") or model.dimensions
    if type(dimensions) is not int or dimensions not in (256, 512, 1024, model.dimensions):
        raise _bad(f"output_dimension {dimensions} is not supported by this model")
    return EmbedAsk(tuple(texts), dimensions, model.dimensions, forms, sum(counts))


def check_rerank(body: Mapping[str, Any], name: str, model: Model) -> RerankAsk:
    """Check a request for a ranking.

    Raises: Reject with the status and message that Cohere answers.
    """
    if not model.ranks:
        raise _bad(f"model '{name}' is not supported by the rerank endpoint")
    _known(body, _RERANK)
    query, documents = body.get("query"), body.get("documents")
    if not isinstance(query, str) or not query:
        raise _bad("query is required")
    if (
        not isinstance(documents, list)
        or not documents
        or not all(isinstance(text, str) and text for text in documents)
    ):
        raise _bad("documents must be a non-empty list of non-empty strings")
    top_n = body.get("top_n", len(documents))
    if type(top_n) is not int or top_n < 1:
        raise _bad("top_n must be at least 1")
    units = -(-len(documents) // SEARCH_DOCUMENTS)
    return RerankAsk(query, tuple(documents), min(top_n, len(documents)), units)
