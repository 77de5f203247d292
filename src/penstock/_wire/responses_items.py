"""Write a conversation as the input items of OpenAI Responses."""

from __future__ import annotations

from typing import Any, assert_never

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
from .openai_messages import ANSWER_NOTES, GEMINI_PART, is_of_anthropic, told_error
from .protocol import JSON, Provider
from .responses_decode import ITEM_ID, MESSAGE


class Writer(Conversation):
    """Writes items for one provider; what the protocol cannot say raises UnsupportedParameter.

    Ids of items are sent only where the server kept the items: elsewhere it would look for them and fail.
    """

    def __init__(self, request: Request, provider: Provider) -> None:
        super().__init__(request, provider)
        self._keeps_ids = request.store is not False
        self._custom = {
            part.id
            for message in request.messages
            for part in message.parts
            if isinstance(part, ToolCall) and part.kind == "custom"
        }

    def items(self) -> list[JSON]:
        """Return the whole conversation."""
        written: list[JSON] = []
        for message in self.request.messages:
            written += self._message(message)
        return written

    def _message(self, message: Message) -> list[JSON]:
        if message.name is not None:
            raise self.refuse("messages.name", "Responses has no names of speakers")
        if message.role == "assistant":
            return self._answer(message)
        if isinstance(message.content, str) and message.role != "tool":
            return [{"role": message.role, "content": message.content}]
        results = [self._result(part) for part in message.parts if isinstance(part, ToolResult)]
        rest = [part for part in message.parts if not isinstance(part, ToolResult)]
        if not rest:
            return results
        if message.role == "tool":
            raise self.refuse("messages", "a message of role 'tool' holds ToolResult parts and nothing else")
        return [*results, {"role": message.role, "content": [self._part(part) for part in rest]}]

    def _answer(self, message: Message) -> list[JSON]:
        """Write a turn of the assistant: neighbouring texts are one message, everything else is an item of its own."""
        items: list[JSON] = []
        said: list[JSON] = []
        note: JSON = {}
        for part in message.parts:
            if isinstance(part, Text):
                said.append({"type": "output_text", "text": self._plain(part), "annotations": []})
                continue
            if isinstance(part, Refusal):
                said.append({"type": "refusal", "refusal": part.text})
                continue
            if isinstance(part, Opaque) and part.kind in ANSWER_NOTES and part.kind != MESSAGE:
                continue
            items += self._spoken(said, note)
            said, note = [], part.data if isinstance(part, Opaque) and part.kind == MESSAGE else {}
            if not note:
                items += self._item(part)
        return items + self._spoken(said, note)

    def _spoken(self, said: list[JSON], note: JSON) -> list[JSON]:
        """Write a message of the assistant; without its id it can only be a text, refusals included."""
        if not said:
            return []
        written: JSON
        if self._keeps_ids and "id" in note:
            written = {"type": "message", "id": note["id"], "role": "assistant", "status": "completed", "content": said}
        else:
            texts = [piece.get("text") or piece.get("refusal") or "" for piece in said]
            written = {"role": "assistant", "content": "".join(texts)}
        if "phase" in note:
            written["phase"] = note["phase"]
        return [written]

    def _item(self, part: Part) -> list[JSON]:
        match part:
            case ToolCall():
                return [self._call(part)]
            case Reasoning():
                return self._thought(part)
            case Opaque(kind=kind, data=data):
                if is_of_anthropic(kind) or kind == GEMINI_PART:
                    raise self.refuse(f"messages ({kind})", "that content belongs to another protocol")
                return [data]
            case Audio(transcript=str() as transcript):  # an answer of another model; what it said is all that remains
                return self._spoken([{"type": "output_text", "text": transcript, "annotations": []}], {})
            case _:
                raise self.refuse("messages", f"a {type(part).__name__} part cannot stand in the assistant's turn")

    def _call(self, call: ToolCall) -> JSON:
        extra = dict(call.extra or {})
        item_id = extra.pop(ITEM_ID, None)
        custom = call.kind == "custom"
        written: JSON = {"type": "custom_tool_call" if custom else "function_call", "call_id": call.id}
        if item_id is not None and self._keeps_ids:
            written["id"] = item_id
        written |= {"name": call.name, "input" if custom else "arguments": call.arguments}
        return written | {name: extra[name] for name in ("namespace", "caller") if name in extra}

    def _thought(self, part: Reasoning) -> list[JSON]:
        """Send reasoning back as it came; what is neither kept by the server nor encrypted says nothing to it."""
        items = [item for item in part.details if item.get("type") == "reasoning"]
        return [item for item in items if item.get("encrypted_content") or (self._keeps_ids and item.get("id"))]

    def _result(self, result: ToolResult) -> JSON:
        output: str | list[JSON]
        if isinstance(result.content, str):
            output = told_error(result.content) if result.is_error else result.content
        else:
            output = [self._part(part) for part in result.content]
        self._unmarked(result.cache)
        kind = "custom_tool_call_output" if result.tool_call_id in self._custom else "function_call_output"
        return {"type": kind, "call_id": result.tool_call_id, "output": output}

    def _part(self, part: Part) -> JSON:
        match part:
            case Text():
                return {"type": "input_text", "text": self._plain(part)}
            case Image():
                return self._image(part)
            case Document():
                return self._document(part)
            case Audio():
                raise self.refuse("messages (audio)", "Responses takes no sound")
            case Opaque(kind=kind, data=data):
                if not kind.startswith("input_"):
                    raise self.refuse(f"messages ({kind})", "that content cannot stand in the user's turn")
                return data
            case ToolCall() | Reasoning() | ToolResult() | Refusal():
                raise self.refuse("messages", f"a {type(part).__name__} part cannot stand there")
            case _:
                assert_never(part)

    def _plain(self, part: Text) -> str:
        self._unmarked(part.cache)
        return part.text

    def _unmarked(self, cache: str | None) -> None:
        if cache is not None:
            raise self.refuse("cache", f"provider {self.provider.name!r} caches prompts by itself, without marks")

    def _image(self, image: Image) -> JSON:
        self._unmarked(image.cache)
        url = image.url or f"data:{image.media_type or 'image/png'};base64,{image.data or ''}"
        return {"type": "input_image", "image_url": url, "detail": image.detail or "auto"}

    def _document(self, document: Document) -> JSON:
        self._unmarked(document.cache)
        if document.citations or document.context is not None:
            name = "citations" if document.citations else "context"
            raise self.refuse(f"document.{name}", "Responses has no such field for documents")
        if document.text is not None:
            title = f"{document.title}\n\n" if document.title else ""
            return {"type": "input_text", "text": title + document.text}
        written: dict[str, Any] = {"type": "input_file"}
        if document.file_id is not None:
            return written | {"file_id": document.file_id}
        if document.url is not None:
            return written | {"file_url": document.url}
        media_type = document.media_type or "application/pdf"
        name = document.title or f"document.{media_type.rpartition('/')[2]}"
        return written | {"filename": name, "file_data": f"data:{media_type};base64,{document.data or ''}"}
