"""Questions of an incident, put together without asking them: what is wanted, the messages, and what they are of."""

from __future__ import annotations

import re
from collections.abc import Sequence
from decimal import Decimal
from typing import Any, Final, Generic, TypeVar

import msgspec

from .._flow.extracted import Extracted
from .._text.redact import KINDS, Redactor
from ..errors import InputError
from ..types import Message
from . import prompts
from .material import Material, Source, read
from .verdicts import Analysis, IncidentPlan, Postmortem, Runbook, Triage

T = TypeVar("T")

TOKENS: Final = 16_000
"""About how much of a log is shown when nobody says otherwise: enough for hundreds of patterns, and a cent or two."""
CLASSIFY_TOKENS: Final = 2_000
ANSWER_TOKENS: Final = {Triage: 400, Analysis: 2_500, IncidentPlan: 3_000, Runbook: 3_500, Postmortem: 3_500}
"""The longest answer of each kind; one that is longer is cut, and an error says so."""


class Question(msgspec.Struct, Generic[T], frozen=True, kw_only=True):
    """A question that is ready to be asked: the type that is wanted, its messages, and its material."""

    wanted: type[T]
    messages: tuple[Message, ...]
    materials: tuple[Material, ...]
    redacted: dict[str, int]

    @property
    def max_tokens(self) -> int:
        """The longest answer."""
        return ANSWER_TOKENS[self.wanted]  # type: ignore[index]


class Report(msgspec.Struct, Generic[T], frozen=True, kw_only=True):
    """The answer to a question of an incident.

    `value` is the checked value. `materials` say what was shown and what was left out, `redacted` how many places of
    each kind were replaced before anything was sent. `unverified` are lines that the model gave as evidence and
    that are not in what it was shown: do not trust what rests on them. `extracted` has repairs, attempts and tokens.
    """

    value: T
    extracted: Extracted[T]
    materials: tuple[Material, ...]
    redacted: dict[str, int]
    unverified: tuple[str, ...] = ()

    @property
    def model(self) -> str:
        """Who answered, as 'provider:model'."""
        return f"{self.extracted.response.provider}:{self.extracted.response.model}"

    @property
    def cost(self) -> Decimal | None:
        """Dollars, exact; None when a price is unknown."""
        return self.extracted.cost


class Clean:
    """How questions are cleaned: a redactor for each question, so that placeholders are numbered from 1."""

    def __init__(self, redact: bool | Sequence[str]) -> None:
        self._kinds: tuple[str, ...] | None = None
        if redact is True:
            self._kinds = KINDS
        elif redact is not False:
            self._kinds = (redact,) if isinstance(redact, str) else tuple(redact)
            Redactor(self._kinds)

    def new(self) -> Redactor | None:
        """Return a redactor, None where nothing is replaced."""
        return None if self._kinds is None else Redactor(self._kinds)


def classify(text: Source, clean: Redactor | None, *, tokens: int = CLASSIFY_TOKENS) -> Question[Triage]:
    """Ask how bad a line, an alert or a message is.

    Raises: InputError.
    """
    material = read(text, name="" if isinstance(text, str) else "the input", tokens=tokens, clean=clean)
    return _question(Triage, prompts.CLASSIFY, [], [material], clean)


def analyze(
    logs: Source | Material,
    clean: Redactor | None,
    *,
    tokens: int = TOKENS,
    question: str = "",
    name: str = "",
    **how: Any,
) -> Question[Analysis]:
    """Ask what logs say.

    Raises: InputError.
    """
    material = logs if isinstance(logs, Material) else read(logs, name=name, tokens=tokens, clean=clean, **how)
    asked = [("What the reader wants to know", question)]
    return _question(Analysis, prompts.ANALYZE, asked, [material], clean)


def incident(
    *,
    service: str,
    symptoms: str,
    duration: str = "",
    impact: str = "",
    context: Source | None = None,
    clean: Redactor | None,
    tokens: int = TOKENS,
) -> Question[IncidentPlan]:
    """Ask how to go about an incident.

    Raises: InputError.
    """
    facts = [("Service", _given("service", service)), ("Symptoms", _given("symptoms", symptoms))]
    facts += [("Since, or for how long", duration or "not told"), ("Impact", impact or "not told")]
    return _question(IncidentPlan, prompts.INCIDENT, facts, _context(context, tokens, clean), clean)


def runbook(
    topic: str, *, service: str = "", context: Source | None = None, clean: Redactor | None, tokens: int = TOKENS
) -> Question[Runbook]:
    """Ask for the runbook of one kind of trouble.

    Raises: InputError.
    """
    facts = [("Trouble", _given("topic", topic)), ("Service", service)]
    return _question(Runbook, prompts.RUNBOOK, facts, _context(context, tokens, clean), clean)


def postmortem(
    notes: Source, *, title: str = "", clean: Redactor | None, tokens: int = TOKENS, name: str = ""
) -> Question[Postmortem]:
    """Ask for the post-mortem of what notes, chats and logs tell.

    Raises: InputError.
    """
    material = read(notes, name=name, tokens=tokens, clean=clean)
    return _question(Postmortem, prompts.POSTMORTEM, [("Title", title)], [material], clean)


def _given(name: str, value: object) -> str:
    if not isinstance(value, str) or not value.strip():
        raise InputError(f"{name} is {value!r}; expected a sentence")
    return value.strip()


def _context(context: Source | None, tokens: int, clean: Redactor | None) -> list[Material]:
    return [] if context is None else [read(context, tokens=tokens, clean=clean)]


def _question(
    wanted: type[T], task: str, facts: list[tuple[str, str]], materials: list[Material], clean: Redactor | None
) -> Question[T]:
    parts = [f"{name}: {value if clean is None else clean(value)}" for name, value in facts if value]
    for material in materials:
        title = f"From {material.name}:\n" if material.name else ""
        parts.append(title + prompts.framed(material.text))
    if not parts:
        raise InputError("there is nothing to ask about")
    return Question(
        wanted=wanted,
        messages=(Message("system", f"{prompts.GROUND}\n{task}"), Message("user", "\n\n".join(parts))),
        materials=tuple(materials),
        redacted={} if clean is None else dict(clean.counts),
    )


def reported(question: Question[T], extracted: Extracted[T]) -> Report[T]:
    """Put an answer beside what it was asked of, and look its evidence up."""
    shown = _bare("\n".join(message.content for message in question.messages[1:] if isinstance(message.content, str)))
    quotes = _quotes(extracted.value)
    return Report(
        value=extracted.value,
        extracted=extracted,
        materials=question.materials,
        redacted=question.redacted,
        unverified=tuple(quote for quote in quotes if _bare(quote.strip(" .…\"'`")) not in shown),
    )


def _bare(text: str) -> str:
    return re.sub(r"\s+", " ", text)


def _quotes(value: Any) -> list[str]:
    """All lines that a value gives as evidence."""
    found = list(getattr(value, "evidence", ()))
    for cause in (*getattr(value, "causes", ()), *getattr(value, "hypotheses", ())):
        found += cause.evidence
    return [quote for quote in found if quote.strip()]
