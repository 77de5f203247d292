"""What the versions of the Anthropic API take, which a row chooses by its header `anthropic-version`.

    version      sampling parameters   system turns   documents of the assistant   citations on the user's text
    2023-06-01   yes                   no: hoisted    yes                          yes
    2026-10-21   no, not even at       yes            no                           no
                 their defaults

Source: anthropic-python 2.11 `_constants.py` and types; reference/wire.md sections 0 and 4.
"""

from __future__ import annotations

from typing import Final

import msgspec

from .protocol import Provider

FIRST: Final = "2023-06-01"


class Version(msgspec.Struct, frozen=True, kw_only=True):
    """`name` is its date. A later one than all known here is taken for the newest of them."""

    name: str
    sampling: bool
    system_turns: bool
    assistant_documents: bool
    text_citations: bool


VERSIONS: Final = (
    Version(name=FIRST, sampling=True, system_turns=False, assistant_documents=True, text_citations=True),
    Version(name="2026-10-21", sampling=False, system_turns=True, assistant_documents=False, text_citations=False),
)


def version_of(provider: Provider) -> Version:
    """Return the version that a provider's row asks for."""
    asked = provider.headers.get("anthropic-version", FIRST)
    known = next((version for version in reversed(VERSIONS) if version.name <= asked), VERSIONS[0])
    return known if known.name == asked else msgspec.structs.replace(known, name=asked)
