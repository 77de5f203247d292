"""What a request may ask of a model, known before anything is paid: refused, or adapted and said; unknown models pass.

What families take is data, in families.py. A provider's row may say `families = false`, and nothing of it holds there.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from fnmatch import fnmatchcase
from typing import Final, Literal

import msgspec

from ..errors import UnsupportedParameter
from ..types import Audio, Document, Image, Part, Request, ToolResult
from .families import FAMILIES, Family
from .protocol import Provider

_NEUTRAL: Final = {"temperature": 1.0, "top_p": 1.0, "frequency_penalty": 0.0, "presence_penalty": 0.0}
"""Values that say what the model does anyway: leaving them out changes nothing, so they are no reason to refuse."""

_OWN_WIRES: Final = frozenset({"openai", "azure"})
"""Providers whose models speak only some of their protocols; a gateway translates."""


class Checked(msgspec.Struct, frozen=True):
    """What is left out of a request because it only repeats the model's default, and the words that say so."""

    left_out: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


_NOTHING: Final = Checked()


_BLIND: Final = (
    *("gpt-3.5*", "gpt-4", "gpt-4-0*", "gpt-4-1106*", "gpt-4-32k*", "o1-mini*", "o1-preview*", "o3-mini*"),
    *("claude-2*", "deepseek-*"),
)
_HEARS: Final = ("gpt-4o-audio*", "gpt-4o-mini-audio*", "gpt-audio*", "gpt-realtime*")


def lacks(model: str, provider: Provider) -> tuple[Literal["image", "audio", "document", "tools"], ...]:
    """Return what a model is known not to take; of an unknown one nothing is known, so it lacks nothing."""
    name = model.rpartition("/")[2]
    known = family(name)
    found: list[Literal["image", "audio", "document", "tools"]] = []
    if any(_is_like(name, pattern) for pattern in _BLIND):
        found += ["image", "document"]
    if known is not None and not any(_is_like(name, pattern) for pattern in _HEARS):
        found.append("audio")
    if "tools" in (*provider.unsupported, *(known.rejects if known else ())):
        found.append("tools")
    return tuple(found)


@functools.lru_cache(maxsize=1024)
def family(model: str) -> Family | None:
    """Return what is known of a model by its provider's own name; a gateway's 'vendor/model' is looked up whole."""
    return next((row for row in FAMILIES if _is_like(model, row.pattern)), None)


def _is_like(model: str, pattern: str) -> bool:
    """Match a pattern; one whose first letters differ is not even compiled."""
    plain = pattern.partition("*")[0].partition("[")[0]
    return model.startswith(plain) and fnmatchcase(model, pattern)


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
    known = family(model.rpartition("/")[2]) if provider.families else None
    return f"models like {known.pattern} cannot be held to a schema" if known and known.schema is False else None


def no_tool(request: Request, provider: Provider) -> str | None:
    """Say why a model cannot be made to call a tool; None where it can, or nobody knows."""
    known = family(request.model.rpartition("/")[2])
    if not provider.families:
        known = None
    if {"tools", "tool_choice"} & {*provider.unsupported} or (known is not None and known.tools is False):
        return f"{provider.name}:{request.model} takes no tools"
    if provider.wire == "anthropic" and request.thinking is not None and request.thinking.mode != "disabled":
        return "a model that is to think cannot be made to call a tool"
    return None


def prefills(request: Request, provider: Provider) -> bool:
    """Say whether the model goes on where a last turn of the assistant stops; it does not while it thinks."""
    known = family(request.model)
    thinks = request.thinking is not None and request.thinking.mode != "disabled"
    return provider.wire == "anthropic" and known is not None and known.prefill and not thinks


def check(request: Request, provider: Provider) -> Checked:
    """Return what is to be left out because it only repeats the model's default.

    Raises: UnsupportedParameter for what the provider's row or the model's family is known not to take.
    """
    for name in provider.unsupported:
        if _given(request, name):
            raise refusal(request, provider, name, f"provider {provider.name!r} does not take it")
    known = family(request.model) if provider.families else None
    if known is None:
        return _NOTHING
    _check_family(request, provider, known)
    if known.effort_none and request.reasoning_effort == "none":
        return _NOTHING
    left_out: list[str] = []
    for name in known.rejects:
        if not _given(request, name):
            continue
        if name in _NEUTRAL and getattr(request, name) == _NEUTRAL[name]:
            left_out.append(name)
            continue
        raise refusal(request, provider, name, f"models like {known.pattern!r} reject it")
    if not left_out:
        return _NOTHING
    why = f"models like {known.pattern!r} reject it, and do as it says anyway"
    return Checked(tuple(left_out), tuple(f"{name}={getattr(request, name)} was left out: {why}" for name in left_out))


def _check_family(request: Request, provider: Provider, known: Family) -> None:
    if known.wires and provider.owner in _OWN_WIRES and provider.wire not in known.wires:
        row = f"{provider.owner}-responses"
        why = f"models like {known.pattern!r} are spoken to over {' or '.join(known.wires)} only: {row}:{request.model}"
        raise refusal(request, provider, "model", why)
    if known.max_output is not None and request.max_tokens is not None and request.max_tokens > known.max_output:
        why = (
            f"models like {known.pattern!r} answer with at most {known.max_output:,} tokens, not {request.max_tokens:,}"
        )
        raise refusal(request, provider, "max_tokens", why)
    if known.tools is False and request.tools:
        raise refusal(request, provider, "tools", f"models like {known.pattern!r} reject them")
    if known.images is False or known.documents is False or known.audio is False:
        for at, message in enumerate(request.messages):
            if not isinstance(message.content, str):
                for part in _shown(message.content):
                    _check_part(request, provider, known, part, f"messages[{at}]")


def _shown(parts: tuple[Part, ...]) -> Iterator[Part]:
    for part in parts:
        if isinstance(part, ToolResult) and not isinstance(part.content, str):
            yield from part.content
        else:
            yield part


def _check_part(request: Request, provider: Provider, known: Family, part: Part, where: str) -> None:
    like = f"models like {known.pattern!r}"
    if isinstance(part, Image) and known.images is False:
        raise refusal(request, provider, f"{where} (image)", f"{like} see no pictures")
    if isinstance(part, Document) and part.text is None and known.documents is False:
        raise refusal(request, provider, f"{where} (document)", f"{like} read text only; give the document's text")
    if isinstance(part, Audio) and known.audio is False and part.id is None:
        raise refusal(request, provider, f"{where} (audio)", f"{like} hear nothing")


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
