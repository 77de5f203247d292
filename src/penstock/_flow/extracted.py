"""What an extraction gives: a value of the wanted type, what was mended to get it, and what it cost."""

from __future__ import annotations

from decimal import Decimal
from typing import Generic, Literal, TypeVar

import msgspec

from .._text.result import Lost, Repair
from ..types import Attempt, Response, Usage, to_usd

T = TypeVar("T")
Mode = Literal["auto", "native", "tool", "prompted"]


class Extracted(msgspec.Struct, Generic[T], frozen=True, kw_only=True):
    """A value of the wanted type.

    `repairs` is empty exactly when the answer was JSON that fits as it stood. `mode` is how the model was asked: held
    to the schema by its provider ('native'), made to call a tool ('tool'), or told the schema ('prompted'); `reason`
    says why. `lossy` is what the provider does not enforce and only the check here does; ('$', '*') is everything.
    `responses` are all answers, the one with the value last; `reasked` is how many questions were asked beyond the
    first, `escalated` why the values of cheaper models of a cascade were not taken. `attempts`, `usage` and `cost` are
    those of all questions, `cost` None when a price is unknown.
    """

    value: T
    repairs: tuple[Repair, ...] = ()
    mode: Mode = "native"
    reason: str = ""
    lossy: tuple[Lost, ...] = ()
    responses: tuple[Response, ...] = ()
    attempts: tuple[Attempt, ...] = ()
    cost_nano: int | None = None
    reasked: int = 0
    escalated: tuple[str, ...] = ()

    @property
    def response(self) -> Response:
        """The answer that has the value."""
        return self.responses[-1]

    @property
    def text(self) -> str:
        """What the model wrote that the value was read from: its text, or the arguments of its tool."""
        calls = self.response.tool_calls if self.mode == "tool" else ()
        return calls[-1].arguments if calls else self.response.text

    @property
    def cost(self) -> Decimal | None:
        """Dollars, exact, of all questions; None when a price is unknown."""
        return None if self.cost_nano is None else to_usd(self.cost_nano)

    @property
    def usage(self) -> Usage:
        """The tokens of all answers."""
        return sum((each.usage for each in self.responses[1:]), self.responses[0].usage)
