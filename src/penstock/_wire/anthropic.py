"""The wire of Anthropic Messages.

    stop reason     end_turn stop_sequence → stop · max_tokens → length · tool_use → tool_calls · pause_turn → paused ·
                    model_context_window_exceeded → context_length · refusal → refusal · another word → other ·
                    none → unknown
    roles           system messages are hoisted into one system prompt; tool results go into a user turn, first in it;
                    neighbours of one role are merged
    usage           input_tokens exclude cache reads and writes; output_tokens include thinking; in a stream the
                    counts of message_start are overwritten field by field by message_delta
    the end         message_stop; anything else is OutcomeUnknown
    max tokens      demanded by the protocol: without one, 4096 and the thinking budget, at most the model's own limit

Version. Every request of the row `anthropic` goes out as `anthropic-version: 2023-06-01` with `x-api-key`. That version
takes temperature, top_p and top_k, which 2026-10-21 rejects even at their defaults; it is the one that all recorded
traffic was checked against; and one version with one credential header cannot be mixed up. The row
`anthropic-2026-10-21` is the same account under the newer version; what each takes is in anthropic_versions.py. Where a
model is known to reject sampling parameters they are refused under either version.

Source: reference/wire.md sections 0, 4, 6, 7, 12; https://platform.claude.com/docs/en/api/messages (read 2026-11).
"""

from __future__ import annotations

from ..types import Secret
from .anthropic_decode import decode_json
from .anthropic_encode import encode
from .anthropic_stream import Decoder
from .anthropic_versions import FIRST
from .decoder import read_whole
from .protocol import Provider, Reply
from .sniff import looks_like_stream

__all__ = ["auth_headers", "decode", "decoder", "encode"]


def auth_headers(provider: Provider, key: Secret | None) -> dict[str, str]:
    """Return the headers of every request: content type, version, credential, and those of the provider's row."""
    headers = {"content-type": "application/json", "anthropic-version": FIRST}
    return headers | provider.credential(key) | provider.headers


def decode(body: bytes, provider: Provider) -> Reply:
    """Read a whole 2xx answer, also one that came as a stream.

    Raises: CallError when the body is an error after all, or not of the protocol.
    """
    return read_whole(Decoder(provider), body) if looks_like_stream(body) else decode_json(body, provider)


def decoder(provider: Provider) -> Decoder:
    """Return a decoder for one stream."""
    return Decoder(provider)
