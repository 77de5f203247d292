"""How a lane is asked for a value: held to the schema, made to call a tool, or told the schema; and why.

    native ── the provider refuses the schema ──▶ tool ── it refuses the tool ──▶ prompted

What a provider refused is remembered, so that it is asked once.
"""

from __future__ import annotations

import functools
import re
from hashlib import blake2b
from typing import Any, Final, get_args

import msgspec

from .._text.result import Lost
from .._text.schema import Profile, Sendable, for_tool, sendable
from .._wire.capabilities import family, no_schema, no_tool
from ..errors import ConfigError, ContextTooLong, InvalidRequest, NotFound, PenstockError, RequestTooLarge
from ..types import Document, JSONSchema, Message, Request, Role, Tool
from .effects import Lane
from .extracted import Mode

MODES: Final[tuple[Mode, ...]] = get_args(Mode)
EVERYTHING: Final = (Lost("$", "*"),)
REMEMBERED_MOST: Final = 1024
"""Refusals kept by a client; the oldest goes first."""

_PROFILES: Final[dict[str, Profile]] = {"anthropic": "anthropic", "cohere": "cohere", "gemini": "gemini"}
_SHAPE_WORDS: Final = (
    r"(?i)schema|response_?format|response_?mime_?type|output_config|output_format|structured.output|json_object|grammar"
    r"|\bstrict\b"
)
_TOOL_WORDS: Final = r"(?i)\btools?\b|tool_choice|function|schema"


class Plan(msgspec.Struct, frozen=True):
    """How one lane is asked. `schema` is as it is sent."""

    mode: Mode
    reason: str
    schema: dict[str, Any]
    lossy: tuple[Lost, ...] = ()


class Wish(msgspec.Struct, frozen=True):
    """What is wanted, as a schema with an object at its root, and how the caller wants it asked for."""

    schema: dict[str, Any]
    name: str
    mode: Mode

    @property
    def digest(self) -> str:
        """What tells schemas apart."""
        return blake2b(_written(self.schema), digest_size=8).hexdigest()


class Refusals:
    """What lanes refused of a schema, for the life of a client."""

    def __init__(self) -> None:
        self._known: dict[tuple[str, str], tuple[Mode, str]] = {}

    def find(self, lane: Lane, wish: Wish) -> tuple[Mode, str] | None:
        """Return the mode that was refused last, and the provider's words."""
        return self._known.get((lane.id, wish.digest))

    def add(self, lane: Lane, wish: Wish, mode: Mode, said: str) -> None:
        """Remember a refusal."""
        if len(self._known) >= REMEMBERED_MOST:
            self._known.pop(next(iter(self._known)), None)
        self._known[lane.id, wish.digest] = (mode, said)


def plan(lane: Lane, request: Request, wish: Wish, refusals: Refusals) -> Plan:
    """Choose how to ask a lane.

    Raises: ConfigError where the caller chose a mode that the lane or the schema cannot have.
    """
    sent = _sent(_written(wish.schema), _profile(lane))
    if wish.mode != "auto":
        return _chosen(lane, request, wish, sent)
    refused = refusals.find(lane, wish)
    why = _no_native(lane, request, sent)
    if refused is not None:
        why = f"{lane.name} refused the {'schema' if refused[0] == 'native' else 'tool'}: {refused[1]}"
    if why is None:
        return Plan("native", f"{lane.name} holds its answers to the schema", sent.schema, sent.lossy)
    not_tool = _no_tool(lane, request)
    if not_tool is None and (refused is None or refused[0] == "native"):
        return Plan("tool", why, for_tool(wish.schema), EVERYTHING)
    return Plan("prompted", why if not_tool is None else f"{why}; {not_tool}", wish.schema, EVERYTHING)


def _chosen(lane: Lane, request: Request, wish: Wish, sent: Sendable) -> Plan:
    reason = "as asked"
    if wish.mode == "native":
        why = _no_native(lane, request, sent)
        if why is not None:
            raise ConfigError(
                f"mode='native' cannot be had of {lane.name}: {why}; let mode be 'auto', or change the type"
            )
        return Plan("native", reason, sent.schema, sent.lossy)
    if wish.mode == "tool":
        why = _no_tool(lane, request)
        if why is not None:
            raise ConfigError(f"mode='tool' cannot be had of {lane.name}: {why}; let mode be 'auto'")
        return Plan("tool", reason, for_tool(wish.schema), EVERYTHING)
    return Plan("prompted", reason, wish.schema, EVERYTHING)


def _written(schema: dict[str, Any]) -> bytes:
    return msgspec.json.encode(schema)


@functools.lru_cache(maxsize=256)
def _sent(written: bytes, profile: Profile) -> Sendable:
    return sendable(msgspec.json.decode(written), profile)


def _profile(lane: Lane) -> Profile:
    return _PROFILES.get(lane.provider.wire, "openai")


def _no_native(lane: Lane, request: Request, sent: Sendable) -> str | None:
    why = no_schema(lane.model, lane.provider)
    if why is not None:
        return why
    if not sent.strict:
        more = f" and {len(sent.reasons) - 1} more" if len(sent.reasons) > 1 else ""
        return f"{lane.provider.name} cannot be held to the schema: {sent.reasons[0]}{more}"
    if lane.provider.wire == "anthropic" and any(_cites(message) for message in request.messages):
        return "citations and a schema exclude each other"
    if lane.provider.wire == "cohere" and any(_reads(message) for message in request.messages):
        return "documents and a schema exclude each other"
    return "the prompt ends with the beginning of the answer" if _is_begun(request) else None


def _no_tool(lane: Lane, request: Request) -> str | None:
    why = no_tool(msgspec.structs.replace(request, model=lane.model), lane.provider)
    return why or ("the prompt ends with the beginning of the answer" if _is_begun(request) else None)


def _cites(message: Message) -> bool:
    return any(isinstance(part, Document) and part.citations for part in message.parts)


def _reads(message: Message) -> bool:
    return any(isinstance(part, Document) for part in message.parts)


def _is_begun(request: Request) -> bool:
    return request.messages[-1].role == "assistant"


def refused(error: PenstockError, mode: Mode) -> bool:
    """Whether a provider refused how it was asked, and not what."""
    if not isinstance(error, InvalidRequest) or isinstance(error, ContextTooLong | RequestTooLarge | NotFound):
        return False
    words = _SHAPE_WORDS if mode == "native" else _TOOL_WORDS
    return mode != "prompted" and re.search(words, f"{error.param or ''} {error.message}") is not None


def shaped(request: Request, wish: Wish, chosen: Plan, lane: Lane) -> Request:
    """Return the request as this lane is asked it."""
    if chosen.mode == "native":
        return msgspec.structs.replace(request, response_format=JSONSchema(schema=chosen.schema, name=wish.name))
    if chosen.mode == "tool":
        tool = Tool(name=wish.name, description="Give the answer by calling this tool, once.", parameters=chosen.schema)
        return msgspec.structs.replace(request, tools=(tool,), tool_choice=wish.name)
    told = msgspec.structs.replace(request, messages=_told(request, wish, lane))
    provider = lane.provider
    if provider.json_schema or provider.wire != "openai_chat" or "response_format" in provider.unsupported:
        return told
    return msgspec.structs.replace(told, response_format="json")  # what such providers have instead


def _told(request: Request, wish: Wish, lane: Lane) -> tuple[Message, ...]:
    words = (
        "Answer with one JSON object and nothing else: no fence, no explanation. It is an instance of this "
        "JSON Schema:\n"
        f"{_written(wish.schema).decode()}"
    )
    heads = [message for message in request.messages if message.role == "system"]
    rest = [message for message in request.messages if message.role != "system"]
    known = family(lane.model.rpartition("/")[2])
    role: Role = "user" if known is not None and "system" in known.rejects else "system"
    return (*heads, Message(role, words), *rest)
