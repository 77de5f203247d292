"""The wire of Cohere Chat v2.

    stop reason     COMPLETE STOP_SEQUENCE → stop · MAX_TOKENS → length · TOOL_CALL → tool_calls ·
                    ERROR TIMEOUT → error · another word → other · none → unknown. Tool calls win, unless the answer
                    was cut short.
    roles           system user assistant tool as they are; each ToolResult is a message of role tool
    documents       `Document`s with text go into the request's `documents`, where the model can cite them
    thinking        a content item of type thinking ↔ Reasoning; the plan before tool calls (`tool_plan`) is a Reasoning
                    too, marked in its details, and goes back as the plan
    citations       one Opaque part of kind cohere_citations after the content; sent back with the message
    usage           what is billed (`billed_units`), as prices are for that; `tokens`, which count Cohere's own
                    preamble, where nothing is said of the bill. `tokens.reasoning_tokens` are part of the output.
                    `cached_tokens` count the preamble and lower no price that is known, so no bucket tells them
    tool choice     required and none only; a tool by its name where it is the only one
    the end         message-end; [DONE] may follow. Anything else is OutcomeUnknown

Source: reference/wire.md sections 5 to 9; cohere SDK 7.3.1, v2/client.py and types (read 2026-12).
"""

from __future__ import annotations

from ..types import Secret
from .cohere_decode import decode_json
from .cohere_encode import encode
from .cohere_stream import Decoder
from .decoder import read_whole
from .protocol import Provider, Reply
from .sniff import looks_like_stream

__all__ = ["auth_headers", "decode", "decoder", "encode"]


def auth_headers(provider: Provider, key: Secret | None) -> dict[str, str]:
    """Return the headers of every request: content type, credential, and those of the provider's row."""
    return {"content-type": "application/json"} | provider.credential(key) | provider.headers


def decode(body: bytes, provider: Provider) -> Reply:
    """Read a whole 2xx answer, also one that came as a stream.

    Raises: CallError when the body is an error after all, or not of the protocol.
    """
    return read_whole(Decoder(provider), body) if looks_like_stream(body) else decode_json(body, provider)


def decoder(provider: Provider) -> Decoder:
    """Return a decoder for one stream."""
    return Decoder(provider)
