"""The cache key: what makes two questions the same one.

The whole request as it would be sent is hashed, minus a short list of what cannot change the answer. A list of what to
include would be wrong on the day that a provider adds a parameter.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from hashlib import blake2b
from typing import Any, Final

import msgspec

KEY_VERSION: Final = 1
"""Raise it when the canonical form or what is stored changes, so that no older entry is found."""

KEY_BYTES: Final = 20

SAME_ANSWER_FIELDS: Final = frozenset(
    {"stream", "stream_options", "metadata", "user", "prompt_cache_key", "cache_control"}
)
"""Fields of a body that say who asks, how it is delivered or what the provider may reuse, and nothing of the answer."""

SAME_ANSWER_HEADERS: Final = frozenset(
    {
        "idempotency-key",
        "x-request-id",
        "x-client-request-id",
        "x-correlation-id",
        "traceparent",
        "tracestate",
        "baggage",
    }
)

_decode = msgspec.json.Decoder().decode
_encode = msgspec.json.Encoder(order="deterministic").encode


def cache_key(body: bytes, scope: Iterable[str], headers: Mapping[str, str]) -> bytes:
    """Return the key of a request with a JSON body.

    `scope` is everything beside body and headers that tells questions apart: provider, address, path, model, tenant.
    """
    kept = {name.lower(): value for name, value in headers.items() if name.lower() not in SAME_ANSWER_HEADERS}
    told = (KEY_VERSION, tuple(scope), kept, canonical(_decode(body)))
    return blake2b(_encode(told), digest_size=KEY_BYTES).digest()


def canonical(body: Any) -> Any:
    """Return a decoded body without what cannot change the answer; what the caller wrote inside it is never touched."""
    if not isinstance(body, dict):
        return body
    kept = {name: value for name, value in body.items() if name not in SAME_ANSWER_FIELDS}
    if "system" in kept:
        kept["system"] = _blocks(kept["system"])
    if isinstance(kept.get("tools"), list):
        kept["tools"] = [_unmarked(tool) for tool in kept["tools"]]
    if isinstance(kept.get("messages"), list):
        kept["messages"] = [_message(message) for message in kept["messages"]]
    return kept


def _unmarked(block: Any) -> Any:
    if isinstance(block, dict) and "cache_control" in block:
        return {name: value for name, value in block.items() if name != "cache_control"}
    return block


def _message(message: Any) -> Any:
    if not isinstance(message, dict) or "content" not in message:
        return message
    return {**_unmarked(message), "content": _blocks(message["content"])}


def _blocks(content: Any) -> Any:
    """Take the marks off content blocks; a text alone, which a mark has made a block, is a string again."""
    if not isinstance(content, list):
        return content
    blocks = [_unmarked(block) for block in content]
    for at, block in enumerate(blocks):
        if isinstance(block, dict) and block.get("type") == "tool_result" and "content" in block:
            blocks[at] = {**block, "content": _blocks(block["content"])}
    if len(blocks) == 1 and isinstance(blocks[0], dict) and blocks[0].keys() == {"type", "text"}:
        return blocks[0]["text"] if blocks[0]["type"] == "text" else blocks
    return blocks
