"""From a request to what the router asks: how long it is, what it needs, how hard it looks, whose turn it continues."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from hashlib import blake2b
from typing import TYPE_CHECKING, Any, Final

from .._policy.choosing import Asked, Judged, ModelFacts, Need, Routing
from .._policy.routing import TIERS
from .._text import tokens
from .._wire import capabilities
from .._wire.protocol import Provider
from ..errors import ConfigError
from ..types import Audio, Document, Image, Message, Request, Text, Tier

if TYPE_CHECKING:
    from .._text.learned import Learned  # loaded with the first calibration

CACHE_HOUR_S: Final = 3600.0
_NEEDS: Final[tuple[tuple[type, Need], ...]] = ((Image, "image"), (Audio, "audio"), (Document, "document"))


def asked(
    request: Request,
    options: Mapping[str, Any],
    routing: Routing,
    learned: Learned | None,
    warm: Callable[[bytes], str | None],
) -> Asked:
    """Return what a call asks of the router; options are `tier`, `task` and `region`.

    Raises: ConfigError for an option of the wrong type.
    """
    tier: Tier | None = None if options.get("tier") == "auto" else options.get("tier")
    key = conversation(request) if routing.sticky_s else None
    return Asked(
        tokens=tokens.estimate_request(request),
        output=request.max_tokens or 0,
        needs=_needs(request),
        region=options.get("region"),
        tier=tier,
        task=None if tier is not None else options.get("task"),
        judge=lambda: judge(_question(request), routing, learned),
        warm=None if key is None else warm(key),
    )


def judged_text(message: Message, routing: Routing) -> Judged:
    """Choose a tier for one message where there is nothing else to go by."""
    return judge(_question(Request(model="", messages=(message,))), routing, None)


def judge(text: str, routing: Routing, learned: Learned | None) -> Judged:
    """Choose a tier for the text of a prompt, by the rule of the settings."""
    if learned is not None:
        score = learned.score(text)
        tier = learned.strong_tier if score >= learned.threshold else learned.weak_tier
        side = "not below" if tier == learned.strong_tier else "below"
        return Judged(tier, f"its score of {score:.3f} is {side} the calibrated {learned.threshold:.3f}", score)
    from .._text.complexity import detect_complexity, difficulty  # loaded with the first prompt that is judged

    if routing.rule == "words":
        found = detect_complexity(text)
        return Judged(found.tier, f"{found.reason}, which is {found.tier}")
    score = difficulty(text)
    tier = TIERS[sum(score >= mark for mark in routing.thresholds)]
    return Judged(tier, f"its difficulty is {score:.3f}, which is {tier}", score)


def conversation(request: Request) -> bytes | None:
    """Return what tells a conversation from others: its cache key, or how it began; None for what is no text."""
    if request.prompt_cache_key:
        return b"key:" + request.prompt_cache_key.encode()
    digest = blake2b(digest_size=16)
    for message in request.messages:
        for part in message.parts:
            digest.update(part.text.encode("utf-8", "replace") if isinstance(part, Text) else repr(part).encode())
        digest.update(message.role.encode())
        if message.role == "user":
            return digest.digest()
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


def _question(request: Request) -> str:
    """Return what is asked: the text of the last turn of the user."""
    last: Message | None = next((each for each in reversed(request.messages) if each.role == "user"), None)
    if last is None:
        return ""
    if isinstance(last.content, str):
        return last.content
    return "\n".join(part.text for part in last.parts if isinstance(part, Text))
