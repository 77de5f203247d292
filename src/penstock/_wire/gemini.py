"""The wire of Gemini's generateContent, as the Gemini API and Vertex AI speak it.

    stop reason     STOP → stop, tool_calls with function calls · MAX_TOKENS → length · SAFETY RECITATION BLOCKLIST
                    PROHIBITED_CONTENT SPII LANGUAGE MODEL_ARMOR IMAGE_… and a blocked prompt → content_filter ·
                    MALFORMED_FUNCTION_CALL UNEXPECTED_TOOL_CALL TOO_MANY_TOOL_CALLS MISSING_THOUGHT_SIGNATURE →
                    tool_error · OTHER MALFORMED_RESPONSE → error · CONTINUATION → paused · another word → other ·
                    none → unknown. Tool calls win, unless the answer was cut short.
    roles           system messages are hoisted into systemInstruction; user, and model for the assistant; tool results
                    are functionResponse parts of a user turn, by the name of their call; neighbours are merged
    parts           text ↔ Text, with `thought` ↔ Reasoning · inlineData ↔ Image Audio Document · fileData ← their
                    URLs · functionCall ↔ ToolCall · what else there is ↔ Opaque, sent back as it came
    signatures      a function call's in its `extra`, another part's as an Opaque of kind thought_signature behind it;
                    they go back where they were. Gemini 3 refuses calls without one: those of other providers get the
                    mark that Google documents for it
    usage           promptTokenCount includes cached tokens and sound; toolUsePromptTokenCount comes on top of it;
                    thoughtsTokenCount is not in candidatesTokenCount. In a stream the newest count of each kind holds
    thinking        a budget as thinkingBudget (-1 for adaptive, 0 for none), effort as thinkingLevel; Gemini 2.5 has no
                    levels and gets the budgets that Google gives for them
    JSON            responseMimeType, with responseJsonSchema for a schema; tools as parametersJsonSchema
    extra           merged into the body, objects into objects and tools behind tools
    the end         the end of the bytes after a finishReason; anything else is OutcomeUnknown

Source: reference/wire.md sections 6 to 12; google-genai SDK 3.6, types.py and models.py; ai.google.dev/gemini-api/docs
thinking, thought-signatures, openai (effort and budgets), function-calling (read 2026-12).
"""

from __future__ import annotations

from ..types import Secret
from .decoder import read_whole
from .gemini_encode import encode
from .gemini_growth import decode_array, decode_json
from .gemini_stream import Decoder
from .lenient import BOM
from .protocol import Provider, Reply
from .sniff import looks_like_stream

__all__ = ["auth_headers", "decode", "decoder", "encode"]


def auth_headers(provider: Provider, key: Secret | None) -> dict[str, str]:
    """Return the headers of every request: content type, credential, and those of the provider's row."""
    return {"content-type": "application/json"} | provider.credential(key) | provider.headers


def decode(body: bytes, provider: Provider) -> Reply:
    """Read a whole 2xx answer, also one that came as a stream, of events or as a list.

    Raises: CallError when the body is an error after all, or not of the protocol.
    """
    if looks_like_stream(body):
        return read_whole(Decoder(provider), body)
    if body.removeprefix(BOM).lstrip()[:1] == b"[":
        return decode_array(body, provider)
    return decode_json(body, provider)


def decoder(provider: Provider) -> Decoder:
    """Return a decoder for one stream."""
    return Decoder(provider)
