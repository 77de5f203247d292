"""The wire of OpenAI Chat Completions, spoken by OpenAI, Azure, and most other servers.

    stop reason     stop eos "" → stop · length → length · tool_calls function_call → tool_calls ·
                    content_filter → content_filter · stop with a refusal → refusal · error → error ·
                    another word → other · none → unknown. Tool calls win, unless the answer was cut short.
    roles           system user assistant as they are; each ToolResult is a message of role tool
    usage           prompt_tokens include cache reads and writes and audio; completion_tokens include reasoning, except
                    where only the total says otherwise (xAI) or the row does
    tool calls      index, id and name may be missing, repeated or wrong: see openai_choice.py
    the end         [DONE], or the end of the bytes after a finish_reason; anything else is OutcomeUnknown
    max tokens      max_completion_tokens or max_tokens, by the provider's row
    left out        annotations of an answer and reasoning that the server does not take back, when it is sent back

Source: reference/wire.md sections 2, 6, 7, 9, 12; https://platform.openai.com/docs/api-reference/chat (read 2026-11).
"""

from __future__ import annotations

from ..types import Secret
from .decoder import read_whole
from .openai_decode import decode_json
from .openai_encode import encode
from .openai_stream import Decoder
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
