"""What a client says of itself: the state of its lanes, and what a call would be."""

from __future__ import annotations

import msgspec

from .._policy.breaker import BreakerState
from .._policy.limiter import LimiterState
from ..types import Notice, Request


class TokenGauge(msgspec.Struct, frozen=True):
    """How the provider's own counts of prompts differ from our estimates, as it reported them so far.

    `ratio` is tokens reported for one estimated, by which estimates are corrected; `error` how far off the corrected
    ones were of late, as a part of what was reported. None until some hundred tokens were compared.
    """

    ratio: float | None = None
    error: float | None = None


class LaneStatus(msgspec.Struct, frozen=True):
    """The state of one lane, for people: 'provider:model', its limiter and its breaker.

    `account` is the breaker that it shares with all lanes of its credential. `tokens` is how well its prompts are
    estimated.
    """

    name: str
    limiter: LimiterState
    breaker: BreakerState
    account: BreakerState
    tokens: TokenGauge = TokenGauge()


class Preview(msgspec.Struct, frozen=True):
    """What a call would be: its request, and the lanes that it would ask in turn as (provider:model, base URL).

    `notices`: the prompt would be cut for the first lane, or is nearly too long for it. `window`: how many tokens the
    model of that lane reads and writes together, by the settings or by what is known of it; None where nobody knows.
    """

    request: Request
    lanes: tuple[tuple[str, str], ...]
    notices: tuple[Notice, ...] = ()
    window: int | None = None
