"""Prompts and answers as the ledger keeps them, where it was asked to."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import msgspec

from ...events import CallEnded
from .inserts import Insert

LONGEST: Final = 100_000
"""Characters that are kept of a prompt or an answer."""

CONTENTS: Final = Insert("REPLACE INTO content (call_id, prompt, answer, message)", "?, ?, ?, ?")


def content_row(
    event: CallEnded, redact: Callable[[str], str] | None
) -> tuple[str, str | None, str | None, str | None] | None:
    """Return what is kept of a call's content; None for nothing.

    A `redact` that fails keeps nothing of what it was given: what it should have taken out must not stay.
    """
    prompt = None
    if event.request is not None:
        prompt = msgspec.json.encode(event.request.messages).decode()
    answer = None
    if event.response is not None:
        answer = msgspec.json.encode([choice.content for choice in event.response.choices]).decode()
    texts = [_kept(text, redact) for text in (prompt, answer, event.message)]
    if not any(texts):
        return None
    return (event.call_id, texts[0], texts[1], texts[2])


def _kept(text: str | None, redact: Callable[[str], str] | None) -> str | None:
    if text is None:
        return None
    if redact is not None:
        try:
            given: object = redact(text)
        except Exception as error:  # noqa: BLE001 - it is the user's
            return f"(not kept: redact raised {type(error).__name__})"
        if not isinstance(given, str):
            return "(not kept: redact gave no text)"
        text = given
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}… ({len(text):,} characters)"
