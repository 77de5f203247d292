"""How many tokens a text or a request may have, without any tokenizer: a likely number, and one that is never too low.

`estimate` follows what byte-level BPE vocabularies of 100,000 and more entries do to prose, code and scripts without
spaces. `bound` rests on one fact: such a tokenizer never makes more tokens than the text has UTF-8 bytes.
"""

from __future__ import annotations

import math
import re
from typing import Any, Final

import msgspec

from ..types import (
    Audio,
    Document,
    Image,
    JSONSchema,
    Message,
    Opaque,
    Part,
    Reasoning,
    Refusal,
    Request,
    Text,
    ToolCall,
    ToolResult,
)

MESSAGE_TOKENS: Final = 4
"""What a chat format adds per message (OpenAI documents 3 to 4, plus 3 for the answer's head)."""
MESSAGE_TOKENS_MOST: Final = 16
TOOL_TOKENS: Final = 12
TOOL_TOKENS_MOST: Final = 64
TOOLS_TOKENS: Final = 350
"""The hidden prompt that makes a model use tools: Anthropic documents 313 to 346, others less."""
TOOLS_TOKENS_MOST: Final = 1024
REQUEST_TOKENS_MOST: Final = 256
"""Dates, role marks and instructions that a provider puts in by itself."""

IMAGE_TOKENS: Final = 1_000
IMAGE_TOKENS_MOST: Final = 50_000
"""OpenAI's dearest documented case: a 2048 x 2048 picture at high detail in gpt-4o-mini costs about 37,000 tokens."""
PAGE_TOKENS: Final = 3_000
"""A PDF page as text and picture: Anthropic documents 1,500 to 3,000 and the picture."""
PAGE_BYTES: Final = 3_000
"""No readable PDF has less per page, on the average of a file; so bytes bound the pages."""
DOCUMENT_TOKENS_UNSEEN: Final = 100 * 5_000
"""A document by URL or file id: at most 100 pages (Anthropic's limit), each as dear as text and picture can be."""
AUDIO_BYTES_PER_TOKEN: Final = 200
"""OpenAI counts 10 tokens a second; 2,000 bytes a second is the thinnest speech coding in use."""

WORD_BYTES: Final = 4.6
"""Letters and blanks per token, in English prose and in the words of code."""
SIGN_TOKENS: Final = 0.7
"""Tokens per sign: many come in pairs such as `):` or `==`."""
_DIGITS: Final = b"0123456789"
_WORDS: Final = bytes(range(65, 91)) + bytes(range(97, 123)) + b" \t\r\n"
_WIDE: Final = re.compile(r"[\u0e00-\u0eff\u1100-\u11ff\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af\uf900-\ufaff]")


def estimate(text: str) -> int:
    """Return about how many tokens the text is, within a third for prose, code and logs; linear and quick.

    Letters and blanks run together to words, digits go by threes, signs alone or in pairs, and of scripts without
    blanks nearly every character is a token. Counting bytes of each kind takes a microsecond where a pattern takes ten.
    """
    if text.isascii():
        raw = text.encode()
        rest = raw.translate(None, _WORDS)
        signs = len(rest.translate(None, _DIGITS))
        total = (len(raw) - len(rest)) / WORD_BYTES + (len(rest) - signs) / 3 + signs * SIGN_TOKENS
        return max(1, round(total)) if raw else 0
    wide = len(_WIDE.findall(text))
    plain = text.encode("ascii", "ignore").decode()
    return estimate(plain) + math.ceil(wide * 0.9 + (len(text) - len(plain) - wide) * 0.5)


def estimate_request(request: Request) -> int:
    """Return about how many prompt tokens the request is: messages, tools, schema, pictures and overhead."""
    total = 3.0
    for message in request.messages:
        total += MESSAGE_TOKENS
        total += estimate(message.content) if isinstance(message.content, str) else _parts(message)
    if request.tools:
        total += TOOLS_TOKENS
        for tool in request.tools:
            total += TOOL_TOKENS + estimate(tool.name) + estimate(tool.description) + estimate(_json(tool.parameters))
    if isinstance(request.response_format, JSONSchema):
        total += estimate(_json(request.response_format.schema))
    return round(total)


def _parts(message: Message) -> float:
    return sum(_part(part) for part in message.parts)


def _part(part: Part) -> float:
    match part:
        case Text(text=text) | Reasoning(text=text) | Refusal(text=text):
            return estimate(text)
        case Image(detail=detail):
            return 85 if detail == "low" else IMAGE_TOKENS
        case Document(text=str() as text, title=title, context=context):
            return estimate(text) + estimate(title or "") + estimate(context or "")
        case Document(data=str() as data):
            return max(1, len(data) * 3 // 4 // 50_000) * PAGE_TOKENS
        case Document():
            return 10 * PAGE_TOKENS
        case Audio(data=data, transcript=transcript):
            return len(data) * 3 // 4 // 1_600 + estimate(transcript or "")
        case ToolCall(name=name, arguments=arguments):
            return 8 + estimate(name) + estimate(arguments)
        case ToolResult(content=str() as content):
            return 4 + estimate(content)
        case ToolResult(content=tuple() as content):
            return 4 + sum(_part(inner) for inner in content)
        case Opaque(data=data):
            return estimate(_json(data))
    return 0


def bound(request: Request) -> int:
    """Return a number of prompt tokens that the request cannot exceed; budgets hold this much.

    Text counts its UTF-8 bytes, pictures, pages and sound the dearest documented case. It is an upper bound for
    byte-level BPE tokenizers as long as the provider adds no more by itself than the constants above say.
    """
    total = REQUEST_TOKENS_MOST
    for message in request.messages:
        total += MESSAGE_TOKENS_MOST + _bytes(message.name or "")
        total += sum(_most(part) for part in message.parts)
    if request.tools:
        total += TOOLS_TOKENS_MOST
        for tool in request.tools:
            # A schema is rewritten for the model, so its words may come twice as long as its JSON.
            total += (
                TOOL_TOKENS_MOST + _bytes(tool.name) + _bytes(tool.description) + 2 * _bytes(_json(tool.parameters))
            )
            total += 2 * _bytes(_json(tool.native)) if tool.native else 0
    if isinstance(request.response_format, JSONSchema):
        wanted = request.response_format
        total += TOOL_TOKENS_MOST + 2 * _bytes(_json(wanted.schema)) + _bytes(wanted.description or "")
    if request.extra:
        total += 2 * _bytes(_json(request.extra))
    if request.prediction:
        total += _bytes(_json(request.prediction))
    return total


def _most(part: Part) -> int:
    match part:
        case Text(text=text) | Refusal(text=text):
            return _bytes(text)
        case Reasoning(text=text, signature=signature, redacted=redacted, details=details):
            return _bytes(text) + _bytes(signature or "") + _bytes(redacted or "") + _bytes(_json(details))
        case Image():
            return IMAGE_TOKENS_MOST
        case Document(text=str() as text, title=title, context=context):
            return MESSAGE_TOKENS_MOST + _bytes(text) + _bytes(title or "") + _bytes(context or "")
        case Document(data=str() as data, title=title, context=context):
            size = len(data) * 3 // 4
            pages = -(-size // PAGE_BYTES)
            # Text files count by their bytes, pages by the dearest page; the larger of the two is safe for either.
            return max(size, pages * PAGE_TOKENS) + _bytes(title or "") + _bytes(context or "")
        case Document():
            return DOCUMENT_TOKENS_UNSEEN
        case Audio(data=data, transcript=transcript):
            return len(data) // AUDIO_BYTES_PER_TOKEN + _bytes(transcript or "") + MESSAGE_TOKENS_MOST
        case ToolCall(id=call_id, name=name, arguments=arguments, extra=extra):
            more = _bytes(_json(extra)) if extra else 0
            return TOOL_TOKENS_MOST + _bytes(call_id) + _bytes(name) + 2 * _bytes(arguments) + more
        case ToolResult(tool_call_id=call_id, content=str() as content):
            return MESSAGE_TOKENS_MOST + _bytes(call_id) + _bytes(content)
        case ToolResult(tool_call_id=call_id, content=tuple() as content):
            return MESSAGE_TOKENS_MOST + _bytes(call_id) + sum(_most(inner) for inner in content)
        case Opaque(data=data):
            return _bytes(_json(data))
    return 0


def _bytes(text: str) -> int:
    return len(text) if text.isascii() else len(text.encode("utf-8", "replace"))


def _json(value: Any) -> str:
    try:
        return msgspec.json.encode(value).decode()
    except (TypeError, ValueError):
        return repr(value)
