"""From a request to what the router asks: how long it is, what it needs, what it asks, whose turn it continues."""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import blake2b
from typing import Any, Final

from .._policy.choosing import Asked, Judge, ModelFacts, Need
from .._text import tokens
from .._wire import capabilities
from .._wire.protocol import Provider
from ..errors import ConfigError
from ..types import Audio, Document, Image, Request, Text, Tier

CACHE_HOUR_S: Final = 3600.0
_NEEDS: Final[tuple[tuple[type, Need], ...]] = ((Image, "image"), (Audio, "audio"), (Document, "document"))


def asked(request: Request, options: Mapping[str, Any], judge: Judge, warm: str | None) -> Asked:
    """Return what a call asks of the router; options are `tier`, `task` and `region`."""
    tier: Tier | None = None if options.get("tier") == "auto" else options.get("tier")
    return Asked(
        tokens=tokens.estimate_request(request),
        output=request.max_tokens or 0,
        needs=_needs(request),
        region=options.get("region"),
        tier=tier,
        task=None if tier is not None else options.get("task"),
        judge=lambda: judge(question(request)),
        warm=warm,
    )


def question(request: Request) -> str:
    """Return what is asked: the text of the last turn of the user."""
    for message in reversed(request.messages):
        if message.role == "user":
            return "\n".join([part.text for part in message.parts if isinstance(part, Text)])
    return ""


def conversation(request: Request) -> bytes | None:
    """Return what tells a conversation from others: its cache key, or how it began; None for what is no text."""
    if request.prompt_cache_key:
        return b"key:" + request.prompt_cache_key.encode()
    told: list[str] = []
    for message in request.messages:
        told += [part.text if isinstance(part, Text) else repr(part) for part in message.parts]
        told.append(message.role)
        if message.role == "user":
            return blake2b("".join(told).encode("utf-8", "replace"), digest_size=16).digest()
    return None


def facts_of(model: str, provider: Provider, told: Mapping[str, ModelFacts], full_name: str) -> ModelFacts:
    """Return what is known of a model: what was told of it or of its provider, else what everybody knows."""
    given = [told[name] for name in (full_name, provider.name) if name in told]
    context = next((each.context for each in given if each.context is not None), capabilities.context_window(model))
    region = next((each.region for each in given if each.region is not None), None)
    lacks: tuple[Need, ...] = next((each.lacks for each in given if each.lacks), capabilities.lacks(model, provider))
    return ModelFacts(context=context, lacks=lacks, region=region)


def check(options: Mapping[str, Any]) -> None:
    """Raises: ConfigError for a `task` or `region` that is no string."""
    for name in ("task", "region"):
        value = options.get(name)
        if value is not None and (not isinstance(value, str) or not value.strip()):
            raise ConfigError(f"parameter {name!r} is {value!r}; expected a word")


def _needs(request: Request) -> frozenset[Need]:
    found: set[Need] = {"tools"} if request.tools else set()
    for message in request.messages:
        if not isinstance(message.content, str):
            found.update(need for part in message.content for kind, need in _NEEDS if isinstance(part, kind))
    return frozenset(found)
