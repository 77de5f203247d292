"""The wire of OpenAI Responses, also spoken by Azure, xAI and other servers.

    stop reason     completed → stop, tool_calls where a tool is called, refusal where the model refused ·
                    incomplete: max_output_tokens → length, content_filter → content_filter,
                    max_messages steered → paused, another word → other · cancelled → error · none → unknown.
                    failed is no answer but the error inside it; queued and in_progress are refused
    roles           system user assistant as input items; each ToolResult is an item of its own
    usage           input_tokens include cache reads and writes, output_tokens include reasoning
    tool calls      function_call and custom_tool_call, told apart by call_id; functions are not strict unless asked,
                    which here must be said, since the server's default is strict
    reasoning       an item of output becomes Reasoning(text=its summary or text, details=(the item,)) and goes back
                    whole: by its id where the server keeps answers, with its encrypted content under store=False
    own items       web_search_call, code_interpreter_call … become Opaque and go back as they came
    the end         response.completed or response.incomplete; [DONE] says nothing; else OutcomeUnknown
    max tokens      max_output_tokens, reasoning included
    left out        ids of messages and tool calls under store=False, annotations and log probabilities

Stored and stateless. Without `store` the server keeps the answer, and `extra={"previous_response_id": answer.id}` goes
on from it with the new messages alone. Under `store=False` nothing is kept: encrypted reasoning is asked for where the
model is known to reason, and comes back to the server with `answer.message`.

Source: reference/wire.md sections 3, 6, 7, 8; https://platform.openai.com/docs/api-reference/responses (read 2026-11);
openai-python 3.52, types/responses.
"""

from __future__ import annotations

from ..types import Secret
from .decoder import read_whole
from .protocol import Provider, Reply
from .responses_decode import decode_json
from .responses_encode import encode
from .responses_stream import Decoder
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
