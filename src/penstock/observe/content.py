"""Prompts and answers as the GenAI conventions write them: JSON of messages with parts."""

from __future__ import annotations

from typing import Any

import msgspec

from ..types import (
    Audio,
    Document,
    Image,
    Message,
    Part,
    Reasoning,
    Refusal,
    Request,
    Response,
    Text,
    ToolCall,
    ToolResult,
)
from . import semconv as words


def asked(request: Request) -> dict[str, str]:
    """Return the attributes of what was asked."""
    messages: list[dict[str, Any]] = [{"role": each.role, "parts": _parts(each)} for each in request.messages]
    found = {words.INPUT: [each for each in messages if each["role"] != "system"]}
    system = [part for each in messages if each["role"] == "system" for part in each["parts"]]
    if system:
        found[words.SYSTEM] = system
    return {name: msgspec.json.encode(value).decode() for name, value in found.items()}


def answered(response: Response) -> dict[str, str]:
    """Return the attributes of what was answered."""
    messages = [
        {"role": "assistant", "parts": list(map(_part, choice.content)), "finish_reason": choice.stop_reason}
        for choice in response.choices
    ]
    return {words.OUTPUT: msgspec.json.encode(messages).decode()}


def _parts(message: Message) -> list[dict[str, Any]]:
    return list(map(_part, message.parts))


def _part(part: Part) -> dict[str, Any]:
    match part:
        case Text(text=text) | Refusal(text=text):
            return {"type": "text", "content": text}
        case Reasoning(text=text):
            return {"type": "reasoning", "content": text}
        case ToolCall():
            return {"type": "tool_call", "id": part.id, "name": part.name, "arguments": part.arguments}
        case ToolResult(content=content):
            told: Any = content if isinstance(content, str) else list(map(_part, content))
            return {"type": "tool_call_response", "id": part.tool_call_id, "response": told}
        case Image(url=url) | Document(url=url) if url is not None:
            modality = "image" if isinstance(part, Image) else "document"
            return {"type": "uri", "modality": modality, "uri": url}
        case Image() | Document() | Audio():
            return {"type": type(part).__name__.lower()}  # what it is, not its bytes
        case _:
            return {"type": part.kind}
