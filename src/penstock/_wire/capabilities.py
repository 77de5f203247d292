"""What model families are known to take, enough to refuse or adapt before anything is paid; unknown models pass.

Source: the providers' model pages and error messages (read 2026-11), reference/wire.md section 12; anthropic SDK 2.11.
"""

from __future__ import annotations

import functools
from fnmatch import fnmatchcase
from typing import Final

import msgspec

from ..errors import UnsupportedParameter
from ..types import Request
from .protocol import Provider

_SAMPLING: Final = ("temperature", "top_p")
_REASONING_REJECTS: Final = (
    *_SAMPLING,
    "frequency_penalty",
    "presence_penalty",
    "logprobs",
    "top_logprobs",
    "logit_bias",
)
_NEUTRAL: Final = {"temperature": 1.0, "top_p": 1.0, "frequency_penalty": 0.0, "presence_penalty": 0.0}
"""Values that say what the model does anyway: leaving them out changes nothing, so they are no reason to refuse."""


class Family(msgspec.Struct, frozen=True, kw_only=True):
    """Models that share their limits.

    `effort_none`: sampling is taken again when reasoning_effort is none. `prefill`: a last turn of the assistant is the
    beginning of the answer.
    """

    pattern: str
    max_output: int | None = None
    context: int | None = None
    reasoning: bool = False
    rejects: tuple[str, ...] = ()
    effort_none: bool = False
    prefill: bool = False


def _reasoner(pattern: str, max_output: int, context: int, *more: str, effort_none: bool = False) -> Family:
    return Family(
        pattern=pattern,
        max_output=max_output,
        context=context,
        reasoning=True,
        rejects=(*_REASONING_REJECTS, *more),
        effort_none=effort_none,
    )


FAMILIES: Final[tuple[Family, ...]] = (
    Family(pattern="gpt-5*-chat*", max_output=16_384, context=128_000),
    _reasoner("gpt-5.[1-9]*", 128_000, 400_000, effort_none=True),
    _reasoner("gpt-5*", 128_000, 400_000, "stop"),
    _reasoner("gpt-[6-9]*", 128_000, 400_000, effort_none=True),
    _reasoner("o1-mini*", 65_536, 128_000, "system", "tools", "stop"),
    _reasoner("o1-preview*", 32_768, 128_000, "system", "tools", "stop"),
    _reasoner("o1*", 100_000, 200_000),
    _reasoner("o3*", 100_000, 200_000, "stop"),
    _reasoner("o4*", 100_000, 200_000, "stop"),
    Family(pattern="gpt-4.1*", max_output=32_768, context=1_047_576),
    Family(pattern="gpt-4o*", max_output=16_384, context=128_000),
    Family(pattern="gpt-4-turbo*", max_output=4_096, context=128_000),
    Family(pattern="gpt-4*", max_output=8_192, context=8_192),
    Family(pattern="gpt-3.5*", max_output=4_096, context=16_385),
    Family(pattern="claude-3-haiku*", max_output=4_096, context=200_000, prefill=True),
    Family(pattern="claude-3-opus*", max_output=4_096, context=200_000, prefill=True),
    Family(pattern="claude-3-5*", max_output=8_192, context=200_000, prefill=True),
    Family(pattern="claude-3-7*", max_output=64_000, context=200_000, prefill=True),
    Family(pattern="claude-opus-4-[01]*", max_output=32_000, context=200_000, prefill=True),
    Family(pattern="claude-opus-4-20*", max_output=32_000, context=200_000, prefill=True),
    Family(pattern="claude-opus-4-5*", max_output=64_000, context=200_000, prefill=True),
    Family(pattern="claude-opus-4-6*", max_output=128_000, context=1_000_000),
    Family(pattern="claude-opus-4-*", max_output=128_000, context=1_000_000, rejects=("temperature", "top_p", "top_k")),
    Family(pattern="claude-sonnet-4-[6-9]*", max_output=64_000, context=200_000),
    Family(pattern="claude-sonnet-4*", max_output=64_000, context=200_000, prefill=True),
    Family(pattern="claude-haiku-4*", max_output=64_000, context=200_000, prefill=True),
    Family(pattern="claude-*-[5-9]*", max_output=64_000, rejects=("temperature", "top_p", "top_k")),
    Family(pattern="command-a-reasoning*", max_output=32_768, context=256_000),
    Family(pattern="command-a*", max_output=8_192, context=256_000),
    Family(pattern="command-r*", max_output=4_096, context=128_000),
    Family(pattern="gemini-2.0*", max_output=8_192, context=1_048_576),
    Family(pattern="gemini-*-image*", max_output=32_768, context=65_536),
    Family(pattern="gemini-2.5*", max_output=65_536, context=1_048_576),
    Family(pattern="gemini-3*", max_output=65_536, context=1_048_576),
    Family(pattern="deepseek-chat", max_output=8_192, context=131_072),
    Family(pattern="deepseek-reasoner", max_output=65_536, context=131_072, reasoning=True),
)


_NO_SCHEMA: Final = (
    *("gpt-4", "gpt-4-*", "gpt-4o-2024-05-13", "chatgpt-4o*", "gpt-3.5*", "o1-mini*", "o1-preview*"),
    *("claude-2*", "claude-3*", "claude-opus-4-0*", "claude-opus-4-20*", "claude-sonnet-4-0*", "claude-sonnet-4-20*"),
)
"""Models from before their providers held answers to a schema."""


@functools.lru_cache(maxsize=1024)
def family(model: str) -> Family | None:
    """Return what is known of a model by its provider's own name; a gateway's 'vendor/model' is looked up whole."""
    return next((row for row in FAMILIES if fnmatchcase(model, row.pattern)), None)


def max_output(model: str) -> int | None:
    """Return the most tokens that the model can answer with, None when unknown; a vendor prefix is ignored."""
    known = family(model.rpartition("/")[2])
    return known.max_output if known else None


def context_window(model: str) -> int | None:
    """Return how many tokens prompt and answer may have together, None when unknown; a vendor prefix is ignored."""
    known = family(model.rpartition("/")[2])
    return known.context if known else None


def no_schema(model: str, provider: Provider) -> str | None:
    """Say why a model cannot be held to a JSON Schema; None where it can, or nobody knows."""
    if not provider.json_schema or "response_format" in provider.unsupported:
        return f"{provider.name} takes no schema"
    known = next((pattern for pattern in _NO_SCHEMA if fnmatchcase(model.rpartition("/")[2], pattern)), None)
    return f"models like {known} cannot be held to a schema" if known else None


def no_tool(request: Request, provider: Provider) -> str | None:
    """Say why a model cannot be made to call a tool; None where it can, or nobody knows."""
    known = family(request.model.rpartition("/")[2])
    if {"tools", "tool_choice"} & {*provider.unsupported, *(known.rejects if known else ())}:
        return f"{provider.name}:{request.model} takes no tools"
    if provider.wire == "anthropic" and request.thinking is not None and request.thinking.mode != "disabled":
        return "a model that is to think cannot be made to call a tool"
    return None


def prefills(request: Request, provider: Provider) -> bool:
    """Say whether the model goes on where a last turn of the assistant stops; it does not while it thinks."""
    known = family(request.model)
    thinks = request.thinking is not None and request.thinking.mode != "disabled"
    return provider.wire == "anthropic" and known is not None and known.prefill and not thinks


def check(request: Request, provider: Provider) -> tuple[str, ...]:
    """Return the parameters to leave out because they only repeat the model's default.

    Raises: UnsupportedParameter for one that the provider's row or the model's family is known to reject.
    """
    for name in provider.unsupported:
        if _given(request, name):
            raise refusal(request, provider, name, f"provider {provider.name!r} does not take it")
    known = family(request.model)
    if known is None or (known.effort_none and request.reasoning_effort == "none"):
        return ()
    neutral: list[str] = []
    for name in known.rejects:
        if not _given(request, name):
            continue
        if name in _NEUTRAL and getattr(request, name) == _NEUTRAL[name]:
            neutral.append(name)
            continue
        raise refusal(request, provider, name, f"models like {known.pattern!r} reject it")
    return tuple(neutral)


def refusal(request: Request, provider: Provider, name: str, why: str) -> UnsupportedParameter:
    """Return the error for a parameter that cannot be sent; nothing was sent and nothing paid."""
    return UnsupportedParameter(
        f"parameter {name!r} cannot be sent: {why}; leave it out or choose another model",
        provider=provider.name,
        model=request.model,
        param=name,
    )


def _given(request: Request, name: str) -> bool:
    if name == "system":
        return any(message.role == "system" for message in request.messages)
    value = getattr(request, name, None)
    return name in request.extra or not (value is None or value is False or value == () or value == {})
