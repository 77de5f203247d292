"""What the writers of a conversation have in common, whatever the protocol."""

from __future__ import annotations

from ..types import Request
from .capabilities import refusal
from .protocol import Provider


class Conversation:
    """The conversation of a request, to be written for a provider."""

    def __init__(self, request: Request, provider: Provider) -> None:
        self.request = request
        self.provider = provider

    def refuse(self, name: str, why: str) -> Exception:
        """Return the error for something that cannot be said."""
        return refusal(self.request, self.provider, name, why)
