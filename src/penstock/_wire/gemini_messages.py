"""Write a conversation as Gemini contents: system hoisted, roles alternating, results by the names of their calls."""

from __future__ import annotations

import mimetypes
from fnmatch import fnmatchcase
from typing import Any, Final
from urllib.parse import urlsplit

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
from .conversation import Conversation
from .openai_messages import ANSWER_NOTES, GEMINI_PART
from .protocol import JSON, Provider

SIGNATURE: Final = "thought_signature"
"""The kind of an `Opaque` part with the signature of the part before it."""
GROUNDING: Final = "grounding_metadata"
"""The kind of an `Opaque` part with what an answer was grounded on; it describes the answer and is not sent back."""
NO_ID: Final = "call_gemini_"
"""How the ids begin that Penstock gives calls without one; the provider never hears of them."""
UNSIGNED: Final = "skip_thought_signature_validator"
"""What stands in place of the signature of a call that another provider's model made.

Source: https://ai.google.dev/gemini-api/docs/thought-signatures
"""

_LEFT_OUT: Final = ANSWER_NOTES | {"citations", "logprobs"}


class Writer(Conversation):
    """Writes contents for one provider; what the protocol cannot say raises UnsupportedParameter."""

    def __init__(self, request: Request, provider: Provider) -> None:
        super().__init__(request, provider)
        self._names: dict[str, str] = {}

    def system(self) -> JSON | None:
        """Return all system messages as one instruction, None where there is none."""
        parts: list[JSON] = []
        for message in self.request.messages:
            if message.role == "system":
                for part in message.parts:
                    if not isinstance(part, Text):
                        raise self.refuse("messages (system)", "a system message holds only text")
                    parts += self._text(part)
        return {"parts": parts} if parts else None

    def contents(self) -> list[JSON]:
        """Return the turns; neighbours of the same role are merged, so that all results of a turn stand together."""
        turns: list[JSON] = []
        for message in self.request.messages:
            if message.role == "system":
                continue
            role = "model" if message.role == "assistant" else "user"
            parts = self._parts(message)
            if not parts:
                continue
            if turns and turns[-1]["role"] == role:
                turns[-1]["parts"] += parts
            else:
                turns.append({"role": role, "parts": parts})
        if fnmatchcase(self.request.model.rpartition("/")[2], "gemini-[3-9]*"):
            for turn in turns:
                _sign(turn)
        return turns

    def _parts(self, message: Message) -> list[JSON]:
        if message.name is not None:
            raise self.refuse("messages.name", "Gemini has no names of speakers")
        written: list[JSON] = []
        thought: str | None = None
        for part in message.parts:
            match part:
                case Reasoning(text=text, signature=None, redacted=None, details=()):
                    thought = text  # a summary goes back only where it is signed
                    continue
                case Opaque(kind=kind, data=data) if kind == SIGNATURE:
                    _signed(written, data, thought)
                case _:
                    written += self._part(part)
            thought = None
        return written

    def _part(self, part: Part) -> list[JSON]:
        match part:
            case Text():
                return self._text(part)
            case Refusal(text=text):
                return [{"text": text}]
            case Image() | Document():
                return [self._medium(part)]
            case Audio():
                return [{"inlineData": {"mimeType": f"audio/{part.format}", "data": part.data}}]
            case ToolCall():
                return [self._call(part)]
            case ToolResult():
                return [self._result(part)]
            case Reasoning():  # another provider's, which only that one can read
                return []
            case Opaque(kind=kind, data=data):
                if kind in _LEFT_OUT:
                    return []
                if kind != GEMINI_PART:
                    raise self.refuse(f"messages ({kind})", "that content belongs to another protocol")
                return [data]

    def _text(self, part: Text) -> list[JSON]:
        self._refuse_marks(part.cache)
        return [{"text": part.text}] if part.text else []

    def _refuse_marks(self, cache: str | None) -> None:
        if cache is not None:
            raise self.refuse("cache", "Gemini has no such marks; a cache of one's own is extra={'cachedContent': …}")

    def _medium(self, part: Image | Document) -> JSON:
        self._refuse_marks(part.cache)
        if isinstance(part, Image):
            if part.detail in {"low", "high"}:
                raise self.refuse("image.detail", "Gemini has generationConfig.mediaResolution in its place")
            usual = "image/png"
        else:
            if part.citations or part.context is not None:
                name = "citations" if part.citations else "context"
                raise self.refuse(f"document.{name}", "Gemini has no such field for documents")
            if part.text is not None:
                return {"text": f"{part.title}\n\n{part.text}" if part.title else part.text}
            usual = "application/pdf"
        if part.data is not None:
            return {"inlineData": {"mimeType": part.media_type or usual, "data": part.data}}
        uri = part.url or (part.file_id if isinstance(part, Document) else None) or ""
        kind = part.media_type or mimetypes.guess_type(urlsplit(uri).path)[0]
        return {"fileData": {"fileUri": uri} | ({"mimeType": kind} if kind else {})}

    def _call(self, call: ToolCall) -> JSON:
        if call.kind != "function":
            raise self.refuse("messages (custom tool call)", "Gemini has only tools with JSON input")
        try:
            value: Any = msgspec.json.decode(call.arguments or "{}")
        except msgspec.DecodeError:
            value = None
        if not isinstance(value, dict):
            raise self._broken(
                f"the arguments of tool call {call.id!r} ({call.name}) are no JSON object, and Gemini takes nothing "
                "else; repair them before sending the conversation back"
            )
        self._names[call.id] = call.name
        written: JSON = {"functionCall": {"name": call.name, "args": value} | _id(call.id)}
        signature = (call.extra or {}).get("thoughtSignature")
        return written | ({"thoughtSignature": signature} if signature else {})

    def _result(self, result: ToolResult) -> JSON:
        self._refuse_marks(result.cache)
        name = self._names.get(result.tool_call_id)
        if name is None:
            raise self._broken(
                f"there is no tool call {result.tool_call_id!r} before its result, and Gemini wants the name of the "
                "function; send the turn that made the call too"
            )
        media: list[JSON] = []
        texts: list[str] = [result.content] if isinstance(result.content, str) else []
        for part in () if isinstance(result.content, str) else result.content:
            if isinstance(part, Text):
                texts.append(part.text)
            else:
                written = self._medium(part)
                if "text" in written:
                    texts.append(written["text"])
                else:
                    media.append(written)
        key = "error" if result.is_error else "output"
        response = {"name": name, "response": {key: _value("".join(texts))}} | _id(result.tool_call_id)
        return {"functionResponse": response | ({"parts": media} if media else {})}

    def _broken(self, what: str) -> InvalidRequest:
        return InvalidRequest(what, provider=self.provider.name, model=self.request.model)


def _id(call_id: str) -> JSON:
    return {"id": call_id} if call_id and not call_id.startswith(NO_ID) else {}


def _value(text: str) -> Any:
    """Return a result as the JSON object or list that it is the text of, so that the model need not read quotes."""
    if text[:1] in ("{", "["):
        try:
            return msgspec.json.decode(text)
        except msgspec.DecodeError:
            return text
    return text


def _signed(written: list[JSON], data: JSON, thought: str | None) -> None:
    """Put a signature on the part that it came with; on an empty text where that is not there any more."""
    if thought is not None:
        written.append({"text": thought, "thought": True, **data})
    elif written and written[-1].keys() == {"text"}:
        written[-1] |= data
    else:
        written.append({"text": "", **data})


def _sign(turn: JSON) -> None:
    """Let the first call of a turn have a signature, as Gemini 3 wants it; calls beside it have none."""
    first: JSON | None = next((part for part in turn["parts"] if "functionCall" in part), None)
    if first is not None:
        first.setdefault("thoughtSignature", UNSIGNED)
