"""How many tokens a prompt has: asked of the provider, counted with its tokenizer, or estimated."""

from __future__ import annotations

from typing import Final, Literal, get_args

import msgspec

from .._flow.accounting import Order
from .._flow.gauge import Gauges
from .._flow.trail import Trail
from .._text import tokens
from .._wire import registry
from .._wire.counting import Counted, countable
from .._wire.protocol import CountRequest
from ..errors import ConfigError, NotFound
from ..types import Request
from .tokenizer import counter

Source = Literal["auto", "provider", "local"]

BESIDE: Final = "/count"
"""What the id of a lane ends in that only counts."""


class TokenCount(msgspec.Struct, frozen=True, kw_only=True):
    """How many prompt tokens a request has for `model`, and who said so.

    `source` is 'provider' (exact, as it would bill them), 'tiktoken' (its tokenizer, with an estimate of what a chat
    adds), or 'estimate'; `why` says why it is not the provider. `error` is how far off such estimates were of late at
    this model, as a part of what it reported; None where that is unknown, 0 for the provider's own count.
    """

    tokens: int
    model: str
    source: Literal["provider", "tiktoken", "estimate"]
    error: float | None = None
    why: str | None = None


class Counting:
    """A question of how many tokens a prompt has: `here` is its answer where nobody is to be asked, else `order` asks.

    Raises: ConfigError for a source that does not exist, or a provider that must be asked and cannot.
    """

    def __init__(self, order: Order, gauges: Gauges | None, source: object) -> None:
        if source not in get_args(Source):
            raise ConfigError(f"parameter 'source' is {source!r}; expected one of {', '.join(get_args(Source))}")
        self._request = order.request
        self._gauges = gauges
        self._source = source
        self._lane = order.lanes[0]
        self.here: TokenCount | None = None
        why = "nothing was to be sent" if source == "local" else countable(order.request, self._lane.provider)
        if why is not None and source == "provider":
            raise ConfigError(
                f"{self._lane.name} cannot be asked how many tokens a prompt has: {why}; say source='auto'"
            )
        if why is not None:
            self.here = self._counted(why)
        self.order = _counting(order)

    def told(self, trail: Trail) -> TokenCount:
        """Return what the provider said."""
        assert trail.last is not None
        assert isinstance(trail.last.reply, Counted)
        return TokenCount(tokens=trail.last.reply.tokens, model=self._lane.name, source="provider", error=0.0)

    def instead(self, error: NotFound) -> TokenCount:
        """Return our own count where the server has no such endpoint, as many that speak a protocol have none.

        Raises: the error where no other answer was wanted.
        """
        if self._source == "provider":
            raise error
        return self._counted(f"{self._lane.base_url} cannot be asked: {error.message}")

    def _counted(self, why: str) -> TokenCount:
        lane, request = self._lane, self._request
        count = counter(lane.model) if lane.provider.name in ("openai", "azure") else None
        if count is not None:
            guess = tokens.estimate_request(request, count)
            return TokenCount(tokens=guess, model=lane.name, source="tiktoken", why=why)
        guess = tokens.estimate_request(request)
        if self._gauges is None:
            return TokenCount(tokens=guess, model=lane.name, source="estimate", why=why)
        prompt = self._gauges.prompt
        return TokenCount(tokens=prompt.scaled(guess), model=lane.name, source="estimate", error=prompt.error, why=why)


def _counting(order: Order) -> Order:
    """Turn the order of a call into one that only counts its prompt, at a lane of its own: it has other limits."""
    lane = order.lanes[0]
    own = msgspec.structs.replace(lane, id=f"{lane.id}{BESIDE}", wire=registry.counting_wire(), context=None)
    fields = {name: getattr(order.request, name) for name in Request.__struct_fields__}
    return msgspec.structs.replace(
        order, request=CountRequest(**fields), lanes=(own,), cache=None, ladder=None, truncate=None, hedge_after_s=None
    )
