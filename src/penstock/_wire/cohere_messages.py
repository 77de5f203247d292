"""Write a conversation as Cohere Chat v2 messages, its documents apart from them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

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
from .conversation import Conversation
from .openai_messages import ANSWER_NOTES, told_error
from .protocol import JSON, Provider

CITATIONS: Final = "cohere_citations"
"""The kind of an `Opaque` part with the citations of an answer."""

PLAN: Final[dict[str, Any]] = {"type": "tool_plan"}
"""Marks, in the details of a `Reasoning`, what the model planned to do with its tools."""

_LEFT_OUT: Final = ANSWER_NOTES | {"citations", "logprobs"}


class Writer(Conversation):
    """Writes messages for one provider; what the protocol cannot say raises UnsupportedParameter.

    `documents` fill as the messages are written.
    """

    def __init__(self, request: Request, provider: Provider) -> None:
        super().__init__(request, provider)
        self.documents: list[JSON] = []

    def messages(self) -> list[JSON]:
        """Return the messages; those that say nothing are left out."""
        written: list[JSON] = []
        for message in self.request.messages:
            written += self._message(message)
        return written

    def _message(self, message: Message) -> list[JSON]:
        if message.name is not None:
            raise self.refuse("messages.name", "Cohere Chat has no names of speakers")
        written = [self._result(part) for part in message.parts if isinstance(part, ToolResult)]
        rest = [part for part in message.parts if not isinstance(part, ToolResult)]
        if message.role == "tool":
            if rest:
                raise self.refuse("messages", "a message of role 'tool' holds ToolResult parts and nothing else")
            return written
        if message.role == "assistant":
            return [*written, *self._assistant(rest)]
        content = self._content(rest, message.role)
        return [*written, {"role": message.role, "content": content}] if content else written

    def _content(self, parts: Iterable[Part], role: str) -> str | list[JSON]:
        items: list[JSON] = []
        for part in parts:
            match part:
                case Text(text=text, cache=cache):
                    self._refuse_marks(cache)
                    if text:
                        items.append({"type": "text", "text": text})
                case Refusal(text=text):
                    items.append({"type": "text", "text": text})
                case Image() if role == "user":
                    items.append(self._image(part))
                case Document() if role == "user":
                    self._document(part)
                case Opaque(kind=kind) if kind in _LEFT_OUT:
                    pass
                case Opaque(kind=kind):
                    raise self.refuse(f"messages ({kind})", "that content belongs to another protocol")
                case Audio():
                    raise self.refuse("messages (audio)", "Cohere Chat takes no sound")
                case _:
                    raise self.refuse("messages", f"a {type(part).__name__} part cannot stand in a {role} message")
        return items[0]["text"] if len(items) == 1 and items[0]["type"] == "text" else items

    def _refuse_marks(self, cache: str | None) -> None:
        if cache is not None:
            raise self.refuse("cache", f"provider {self.provider.name!r} caches prompts by itself, without marks")

    def _image(self, image: Image) -> JSON:
        self._refuse_marks(image.cache)
        picture: JSON = {"url": image.url or f"data:{image.media_type or 'image/png'};base64,{image.data or ''}"}
        if image.detail is not None:
            picture["detail"] = image.detail
        return {"type": "image_url", "image_url": picture}

    def _document(self, document: Document) -> None:
        self._refuse_marks(document.cache)
        if document.text is None:
            raise self.refuse("messages (document)", "Cohere Chat takes documents as text only; give Document(text=…)")
        data: JSON = {"text": document.text}
        if document.title is not None:
            data["title"] = document.title
        if document.context is not None:
            data["context"] = document.context
        self.documents.append({"id": f"doc-{len(self.documents)}", "data": data})

    def _result(self, result: ToolResult) -> JSON:
        self._refuse_marks(result.cache)
        content: str | list[JSON] = ""
        if isinstance(result.content, str):
            content = told_error(result.content) if result.is_error else result.content
        else:
            failed: list[JSON] = [{"type": "text", "text": "Error:"}] if result.is_error else []
            content = [*failed, *map(self._answered, result.content)]
        return {"role": "tool", "tool_call_id": result.tool_call_id, "content": content}

    def _answered(self, part: Text | Image | Document) -> JSON:
        match part:
            case Text(text=text):
                return {"type": "text", "text": text}
            case Document(text=str() as text, title=title):
                return {"type": "document", "document": {"data": {"text": text} | ({"title": title} if title else {})}}
            case _:
                raise self.refuse("messages (tool result)", "Cohere Chat takes only text as a tool's result")

    def _assistant(self, parts: Iterable[Part]) -> list[JSON]:
        written: JSON = {"role": "assistant"}
        thoughts: list[JSON] = []
        rest: list[Part] = []
        for part in parts:
            match part:
                case ToolCall():
                    written.setdefault("tool_calls", []).append(self._call(part))
                case Reasoning() if PLAN in part.details:
                    written["tool_plan"] = written.get("tool_plan", "") + part.text
                case Reasoning(text=text, signature=None, redacted=None, details=()):
                    thoughts.append({"type": "thinking", "thinking": text})
                case Reasoning():  # another provider's, which only that one can read
                    pass
                case Opaque(kind=kind, data=data) if kind == CITATIONS:
                    written |= data
                case _:
                    rest.append(part)
        content = self._content(rest, "assistant")
        if thoughts:
            content = [*thoughts, *([{"type": "text", "text": content}] if isinstance(content, str) else content)]
        if content:
            written["content"] = content
        return [written] if content or "tool_calls" in written else []

    def _call(self, call: ToolCall) -> JSON:
        if call.kind != "function":
            raise self.refuse("messages (custom tool call)", "Cohere Chat has only tools with JSON input")
        function = {"name": call.name, "arguments": call.arguments or "{}"}
        return {"id": call.id, "type": "function", "function": function}
