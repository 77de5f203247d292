"""Write a conversation as Anthropic Messages: system hoisted, roles alternating, tool results first."""

from __future__ import annotations

import re
from typing import Any, Final

import msgspec

from ..errors import InvalidRequest
from ..types import (
    Audio,
    Document,
    Image,
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
from .anthropic_versions import version_of
from .conversation import Conversation
from .openai_messages import ANSWER_NOTES, GEMINI_PART, is_of_responses
from .protocol import JSON, Provider

CITATIONS: Final = "citations"
"""The kind of an `Opaque` part with the citations of the text before it."""

_ELSEWHERE: Final = ANSWER_NOTES | {"logprobs"}
_ID: Final = re.compile(r"[^A-Za-z0-9_-]")


def cache_control(ttl: str) -> JSON:
    """Return the mark that ends a cached prefix; five minutes are what it means without a ttl."""
    return {"type": "ephemeral"} if ttl == "5m" else {"type": "ephemeral", "ttl": ttl}


def tool_id(call_id: str) -> str:
    """Return a tool call's id in Anthropic's alphabet; other providers' ids may have dots and colons."""
    return _ID.sub("_", call_id)


class Writer(Conversation):
    """Writes messages for one provider; what the protocol cannot say raises UnsupportedParameter."""

    def __init__(self, request: Request, provider: Provider) -> None:
        super().__init__(request, provider)
        self.version = version_of(provider)
        first = next((at for at, one in enumerate(request.messages) if one.role != "system"), len(request.messages))
        self._hoisted = request.messages[:first] if self.version.system_turns else request.messages
        """Where the system prompt is looked for: everywhere, unless later system messages may stay in their place."""

    def system(self) -> str | list[JSON]:
        """Return the system messages as one prompt: a string where one plain text is all."""
        blocks: list[JSON] = []
        for message in self._hoisted:
            if message.role == "system":
                for part in message.parts:
                    if not isinstance(part, Text):
                        raise self.refuse("messages (system)", "a system message holds only text")
                    blocks += self._text(part)
        if len(blocks) == 1 and "cache_control" not in blocks[0]:
            text: str = blocks[0]["text"]
            return text
        return blocks

    def messages(self) -> list[JSON]:
        """Return the turns; neighbours of the same role are merged, because roles must alternate."""
        turns: list[JSON] = []
        for message in self.request.messages[len(self._hoisted) if self.version.system_turns else 0 :]:
            if message.role == "system" and not self.version.system_turns:
                continue
            role = message.role if message.role in {"assistant", "system"} else "user"
            blocks = self._blocks(message)
            if not blocks:
                continue
            if turns and turns[-1]["role"] == role:
                turns[-1]["content"] += blocks
            else:
                turns.append({"role": role, "content": blocks})
        for turn in turns:
            blocks = turn["content"]
            blocks.sort(key=lambda block: block.get("type") != "tool_result")  # the API wants the results first
            if len(blocks) == 1 and blocks[0].keys() == {"type", "text"}:
                turn["content"] = blocks[0]["text"]
        return turns

    def _blocks(self, message: Message) -> list[JSON]:
        if message.name is not None:
            raise self.refuse("messages.name", "Anthropic Messages has no names of speakers")
        blocks: list[JSON] = []
        for part in message.parts:
            if isinstance(part, Document) and message.role == "assistant" and not self.version.assistant_documents:
                why = f"anthropic-version {self.version.name} takes no documents in the assistant's turn"
                raise self.refuse("messages (document)", why)
            if isinstance(part, Opaque) and part.kind == CITATIONS:
                if message.role != "assistant" and not self.version.text_citations:
                    why = f"anthropic-version {self.version.name} takes no citations on the user's text"
                    raise self.refuse("messages (citations)", why)
                if blocks and blocks[-1].get("type") == "text":
                    blocks[-1] |= part.data
            else:
                blocks += self._part(part)
        return blocks

    def _part(self, part: Part) -> list[JSON]:
        match part:
            case Text():
                return self._text(part)
            case Refusal(text=text):
                return self._text(Text(text))
            case Image():
                return [self._image(part)]
            case Document():
                return [self._document(part)]
            case ToolCall():
                return [self._call(part)]
            case ToolResult():
                return [self._result(part)]
            case Reasoning():
                return _thought(part)
            case Opaque(kind=kind, data=data):
                if is_of_responses(kind) or kind == GEMINI_PART:
                    raise self.refuse(f"messages ({kind})", "that content belongs to another protocol")
                return [] if kind in _ELSEWHERE else [data]
            case Audio():
                raise self.refuse("messages (audio)", "Anthropic Messages takes no sound")

    def _text(self, part: Text) -> list[JSON]:
        if not part.text:  # the API refuses empty text, and it says nothing
            return []
        return [_cached({"type": "text", "text": part.text}, part.cache)]

    def _image(self, image: Image) -> JSON:
        if image.detail in {"low", "high"}:
            raise self.refuse("image.detail", "Anthropic Messages has no such field")
        return _cached(
            {"type": "image", "source": _source(image.url, image.data, image.media_type, "image/png")}, image.cache
        )

    def _document(self, document: Document) -> JSON:
        source: JSON
        if document.file_id is not None:
            source = {"type": "file", "file_id": document.file_id}
        elif document.text is not None:
            source = {"type": "text", "media_type": "text/plain", "data": document.text}
        else:
            source = _source(document.url, document.data, document.media_type, "application/pdf")
        written: JSON = {"type": "document", "source": source}
        if document.title is not None:
            written["title"] = document.title
        if document.context is not None:
            written["context"] = document.context
        if document.citations:
            written["citations"] = {"enabled": True}
        return _cached(written, document.cache)

    def _call(self, call: ToolCall) -> JSON:
        if call.kind != "function":
            raise self.refuse("messages (custom tool call)", "Anthropic Messages has only tools with JSON input")
        try:
            value: Any = msgspec.json.decode(call.arguments or "{}")
        except msgspec.DecodeError:
            value = None
        if not isinstance(value, dict):
            raise InvalidRequest(
                f"the arguments of tool call {call.id!r} ({call.name}) are no JSON object, and Anthropic Messages "
                "takes nothing else; repair them before sending the conversation back",
                provider=self.provider.name,
                model=self.request.model,
            )
        return {"type": "tool_use", "id": tool_id(call.id), "name": call.name, "input": value} | _caller(call)

    def _result(self, result: ToolResult) -> JSON:
        written: JSON = {"type": "tool_result", "tool_use_id": tool_id(result.tool_call_id)}
        if isinstance(result.content, str):
            written["content"] = result.content
        else:
            written["content"] = [block for part in result.content for block in self._part(part)]
        if result.is_error:
            written["is_error"] = True
        return _cached(written, result.cache)


def _caller(call: ToolCall) -> JSON:
    """Return who made a call; what else `extra` holds is another protocol's."""
    return {name: value for name, value in (call.extra or {}).items() if name == "caller"}


def _cached(written: JSON, cache: str | None) -> JSON:
    if cache is not None:
        written["cache_control"] = cache_control(cache)
    return written


def _source(url: str | None, data: str | None, media_type: str | None, usual: str) -> JSON:
    if data is None:
        return {"type": "url", "url": url or ""}
    return {"type": "base64", "media_type": media_type or usual, "data": data}


def _thought(part: Reasoning) -> list[JSON]:
    """Send thinking back unchanged; without a signature it is another provider's, and the API would refuse it."""
    if part.redacted is not None:
        return [{"type": "redacted_thinking", "data": part.redacted}]
    if part.signature is not None:
        return [{"type": "thinking", "thinking": part.text, "signature": part.signature}]
    return []
