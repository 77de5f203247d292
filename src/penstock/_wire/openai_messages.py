"""Write a conversation as Chat Completions messages."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final, assert_never

from ..types import (
    Audio,
    Document,
    Image,
    Message,
    Opaque,
    Part,
    Reasoning,
    Refusal,
    Text,
    ToolCall,
    ToolResult,
)
from .conversation import Conversation
from .protocol import JSON

ANSWER_NOTES: Final = frozenset(
    {"annotations", "message", "cohere_citations", "thought_signature", "grounding_metadata"}
)
"""Opaque parts that describe an answer and that no request can carry: they are left out when it is sent back."""

_OF_ANTHROPIC: Final = frozenset({"citations", "container_upload", "fallback", "server_tool_use", "mcp_tool_use"})
_OF_RESPONSES: Final = frozenset(
    {"mcp_list_tools", "mcp_approval_request", "mcp_approval_response", "program", "program_output"}
    | {"tool_search_output", "additional_tools", "item_reference"}
)
_OF_BOTH: Final = frozenset({"compaction"})

GEMINI_PART: Final = "gemini_part"
"""The kind of an opaque part that is one of Gemini's alone."""

_EXTRA_ELSEWHERE: Final = frozenset({"caller", "item_id", "namespace", "thoughtSignature"})
"""What other protocols keep in `ToolCall.extra`."""


class Writer(Conversation):
    """Writes messages for one provider; what the protocol cannot say raises UnsupportedParameter."""

    def messages(self) -> list[JSON]:
        """Return all messages of the request; tool results become messages of their own."""
        written: list[JSON] = []
        for message in self.request.messages:
            written += self._message(message)
        return written

    def takes(self, name: str) -> bool:
        """Whether the provider's row says that it takes something beyond the protocol."""
        return name in self.provider.takes

    def _message(self, message: Message) -> list[JSON]:
        role = self.provider.system_role if message.role == "system" else message.role
        if isinstance(message.content, str) and role != "tool" and message.name is None:
            return [{"role": role, "content": message.content}]
        parts = message.parts
        written = [self._result(part) for part in parts if isinstance(part, ToolResult)]
        rest = tuple(part for part in parts if not isinstance(part, ToolResult))
        if not rest and written:
            return written
        if message.role == "tool":
            raise self.refuse("messages", "a message of role 'tool' holds ToolResult parts and nothing else")
        if isinstance(message.content, str):
            one: JSON = {"role": role, "content": message.content}
        elif message.role == "assistant":
            one = self._assistant(rest)
        else:
            one = {"role": role, "content": self._content(rest)}
        if message.name is not None:
            one["name"] = message.name
        return [*written, one]

    def _content(self, parts: Iterable[Part]) -> str | list[JSON]:
        parts = tuple(parts)
        if len(parts) == 1 and isinstance(parts[0], Text) and parts[0].cache is None:
            return parts[0].text
        return [self._part(part) for part in parts]

    def _part(self, part: Part) -> JSON:
        match part:
            case Text(text=text, cache=cache):
                return self._cached({"type": "text", "text": text}, cache)
            case Image():
                return self._image(part)
            case Audio():
                return {"type": "input_audio", "input_audio": {"data": part.data, "format": part.format}}
            case Document():
                return self._document(part)
            case Refusal(text=text):
                return {"type": "refusal", "refusal": text}
            case Opaque():
                return self._opaque(part)
            case ToolCall() | Reasoning() | ToolResult():
                raise self.refuse("messages", f"a {type(part).__name__} part cannot stand there")
            case _:
                assert_never(part)

    def _cached(self, written: JSON, cache: str | None) -> JSON:
        if cache is not None:
            if not self.takes("cache_control"):
                raise self.refuse("cache", f"provider {self.provider.name!r} caches prompts by itself, without marks")
            written["cache_control"] = {"type": "ephemeral"} if cache == "5m" else {"type": "ephemeral", "ttl": cache}
        return written

    def _image(self, image: Image) -> JSON:
        url = image.url or f"data:{image.media_type or 'image/png'};base64,{image.data or ''}"
        picture: JSON = {"url": url}
        if image.detail is not None:
            picture["detail"] = image.detail
        return self._cached({"type": "image_url", "image_url": picture}, image.cache)

    def _document(self, document: Document) -> JSON:
        if document.citations or document.context is not None:
            name = "citations" if document.citations else "context"
            raise self.refuse(f"document.{name}", "Chat Completions has no such field for documents")
        if document.text is not None:
            title = f"{document.title}\n\n" if document.title else ""
            return self._cached({"type": "text", "text": title + document.text}, document.cache)
        if document.file_id is not None:
            return self._cached({"type": "file", "file": {"file_id": document.file_id}}, document.cache)
        media_type = document.media_type or "application/pdf"
        if document.data is not None:
            data = f"data:{media_type};base64,{document.data}"
        elif document.url is not None and self.takes("file_url"):
            data = document.url
        else:
            raise self.refuse("document.url", "Chat Completions takes files as data or file_id only")
        name = document.title or f"document.{media_type.rpartition('/')[2]}"
        return self._cached({"type": "file", "file": {"filename": name, "file_data": data}}, document.cache)

    def _opaque(self, part: Opaque) -> JSON:
        if (
            part.kind in _OF_BOTH
            or part.kind == GEMINI_PART
            or is_of_anthropic(part.kind)
            or is_of_responses(part.kind)
        ):
            raise self.refuse(f"messages ({part.kind})", "that content belongs to another protocol")
        return part.data

    def _result(self, result: ToolResult) -> JSON:
        content: str | list[JSON]
        if isinstance(result.content, str):
            content = result.content
        elif all(isinstance(part, Text) for part in result.content) or self.takes("tool_images"):
            content = self._content(result.content)
        else:
            raise self.refuse("messages (tool result)", "Chat Completions takes only text as a tool's result")
        if result.is_error and isinstance(content, str):
            content = told_error(content)
        written: JSON = {"role": "tool", "tool_call_id": result.tool_call_id, "content": content}
        return self._cached(written, result.cache)

    def _assistant(self, parts: Iterable[Part]) -> JSON:
        written: JSON = {"role": "assistant"}
        content: list[Part] = []
        calls: list[JSON] = []
        for part in parts:
            match part:
                case ToolCall():
                    calls.append(_call(part))
                case Reasoning():
                    self._thought(part, written)
                case Audio(id=str() as audio_id):
                    written["audio"] = {"id": audio_id}
                case Opaque(kind=kind) if kind in ANSWER_NOTES:
                    pass
                case _:
                    content.append(part)
        if all(isinstance(part, Text) and part.cache is None for part in content):
            text = "".join(part.text for part in content if isinstance(part, Text))
            if text or not (calls or "audio" in written):
                written["content"] = text
            else:
                written["content"] = None
        elif len(content) == 1 and isinstance(content[0], Refusal):
            written["content"] = None
            written["refusal"] = content[0].text
        else:
            written["content"] = [self._part(part) for part in content]
        if calls:
            written["tool_calls"] = calls
        return written

    def _thought(self, part: Reasoning, written: JSON) -> None:
        """Send reasoning back where the server takes it; elsewhere it is left out, or no dialogue could go on."""
        details = [detail for detail in part.details if detail.get("type") != "reasoning"]  # that one is of Responses
        if details and self.takes("reasoning_details"):
            written["reasoning_details"] = [*written.get("reasoning_details", ()), *details]
        elif part.text:
            for name in ("reasoning_content", "reasoning"):
                if self.takes(name):
                    written[name] = written.get(name, "") + part.text


def _call(call: ToolCall) -> JSON:
    body: Any = {"name": call.name, "arguments": call.arguments}
    if call.kind == "custom":
        body = {"name": call.name, "input": call.arguments}
    written: JSON = {"id": call.id, "type": call.kind, call.kind: body}
    extra = {name: value for name, value in (call.extra or {}).items() if name not in _EXTRA_ELSEWHERE}
    if extra:
        written["extra_content"] = extra
    return written


def is_of_anthropic(kind: str) -> bool:
    """Whether an opaque part is a content block of Anthropic Messages alone."""
    return kind in _OF_ANTHROPIC or kind.endswith("_tool_result")


def is_of_responses(kind: str) -> bool:
    """Whether an opaque part is an item of OpenAI Responses alone."""
    return kind in _OF_RESPONSES or kind.endswith(("_call", "_call_output"))


def told_error(content: str) -> str:
    """Say in words that a tool failed, where the protocol has no flag for it."""
    return content if content.lower().startswith("error") else f"Error: {content}"
