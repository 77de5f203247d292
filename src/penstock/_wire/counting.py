"""The endpoints at which a provider counts the tokens of a prompt, for nothing.

    anthropic   POST /v1/messages/count_tokens   the body of a message, without what says how to answer
    openai      POST /responses/input_tokens     the prompt as items of the Responses API
    gemini      POST …:countTokens               see gemini_count.py

OpenAI counts a prompt written for its Responses API; the same words sent to Chat Completions may be a few tokens more
or less. What is not text is not written for it: such prompts are counted here instead.

Source: openai-python 3.52 resources/responses/input_tokens.py; anthropic-python 2.11 message_count_tokens_params.py.
"""

from __future__ import annotations

from typing import Final

import msgspec

from ..types import Message, Part, Request, Secret, Text, ToolCall, ToolResult, Usage
from . import anthropic as anthropic_wire
from . import anthropic_encode, classify, gemini_count, openai_chat
from . import gemini as gemini_wire
from .body import path_of, write
from .protocol import JSON, Outbound, Provider, Reply

_ANTHROPIC_FIELDS: Final = ("model", "messages", "system", "tools", "tool_choice", "thinking", "output_config")


class Counted(Reply, frozen=True, kw_only=True, gc=False):
    """How many tokens the provider counts."""

    tokens: int


def auth_headers(provider: Provider, key: Secret | None) -> dict[str, str]:
    """Return the headers of the provider's own wire."""
    if provider.count == "anthropic":
        return anthropic_wire.auth_headers(provider, key)
    if provider.count == "gemini":
        return gemini_wire.auth_headers(provider, key)
    return openai_chat.auth_headers(provider, key)


def countable(request: Request, provider: Provider) -> str | None:
    """Say why the provider cannot count this prompt; None where it can."""
    if not provider.count:
        return f"{provider.name} has no endpoint that counts"
    if provider.count != "openai":
        return None
    for message in request.messages:
        for part in message.parts:
            plain = isinstance(part, ToolResult) and isinstance(part.content, str)
            if not plain and not isinstance(part, Text | ToolCall):
                return f"what is not text is not written for the endpoint of {provider.name}"
    return None


def encode(request: Request, provider: Provider, *, stream: bool) -> Outbound:
    """Write the request for the endpoint that counts.

    Raises: UnsupportedParameter for what the protocol cannot say.
    """
    if provider.count == "anthropic":
        whole = anthropic_encode.encode(request, provider, stream=False)
        body: JSON = msgspec.json.decode(whole.body)
        kept: JSON = {name: body[name] for name in _ANTHROPIC_FIELDS if name in body}
        path, mark, query = whole.path.partition("?")
        return Outbound(path=f"{path}/count_tokens{mark}{query}", body=write(kept, request, provider))
    if provider.count == "gemini":
        return gemini_count.encode(request, provider)
    items = [item for message in request.messages for item in _items(message)]
    body = {"model": request.model, "input": items}
    if request.tools:
        body["tools"] = [
            {"type": "function", "name": tool.name, "description": tool.description, "parameters": tool.parameters,
             "strict": bool(tool.strict)}
            for tool in request.tools
        ]  # fmt: skip
    path = path_of(provider, "/responses/input_tokens", request.model, own="/responses/input_tokens")
    return Outbound(path=path, body=write(body, request, provider))


def _items(message: Message) -> list[JSON]:
    if isinstance(message.content, str):
        return [{"role": message.role, "content": message.content}]
    return [_item(message.role, part) for part in message.content]


def _item(role: str, part: Part) -> JSON:
    match part:
        case ToolCall(id=call_id, name=name, arguments=arguments):
            return {"type": "function_call", "call_id": call_id, "name": name, "arguments": arguments}
        case ToolResult(tool_call_id=call_id, content=content):
            return {"type": "function_call_output", "call_id": call_id, "output": content}
        case Text(text=text):
            return {"role": role, "content": text}
    raise AssertionError(part)  # `countable` said no


def decode(body: bytes, provider: Provider) -> Counted:
    """Read how many tokens there are.

    Raises: CallError when the body is an error after all, or not of the protocol.
    """
    if provider.count == "gemini":
        return Counted(choices=(), usage=Usage(), cost_nano=0, tokens=gemini_count.decode(body, provider))
    try:
        tokens = msgspec.json.decode(body)["input_tokens"]
    except (msgspec.DecodeError, UnicodeDecodeError, KeyError, TypeError):
        tokens = None
    if isinstance(tokens, bool) or not isinstance(tokens, int) or tokens < 0:
        raise classify.inside(body, provider) or classify.not_an_answer(body, provider)
    return Counted(choices=(), usage=Usage(), cost_nano=0, tokens=tokens)
