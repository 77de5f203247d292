"""What the flow of an agent can ask of its driver. It is one level above the flow of a call: `Ask` is a whole call.

    effect    answer          may raise
    Ask       Response        PenstockError of the call; BudgetExceeded with the scope 'agent'
    Value     Extracted       PenstockError of the extraction; BudgetExceeded as above
    Again     None or words   ClientClosed
    Show      None            whatever the reader of the events throws
    Approve   None or words   whatever the one who is asked throws
    Begin     None
    Next      Ended           what is no failure of a tool: KeyboardInterrupt, a cancellation
    Clock     float (now)

A driver throws every BaseException into the flow. Tools that are under way when the flow ends are cancelled, or, where
they are threads, left alone.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import Any, TypeVar

import msgspec

from ..errors import StreamInterrupted
from ..transcript import AgentEvent
from ..types import Chunk, Message, ToolCall
from .toolresult import Content
from .tools import AgentTool

T = TypeVar("T")


class Ask(msgspec.Struct, frozen=True, kw_only=True):
    """Make one call. `show` turns the chunks of a stream into events; without it the answer comes whole.

    `deadline_s` is what is left of the run's time, `left_nano` what is left of its money; None for no limit.
    """

    messages: tuple[Message, ...]
    with_tools: bool = True
    show: Callable[[list[Chunk]], list[AgentEvent]] | None = None
    deadline_s: float | None = None
    left_nano: int | None = None


class Value(msgspec.Struct, frozen=True, kw_only=True):
    """Make an extraction of the wanted type out of what the model said."""

    messages: tuple[Message, ...]
    deadline_s: float | None = None
    left_nano: int | None = None


class Again(msgspec.Struct, frozen=True):
    """Wait until the last question may be asked again, whose stream broke; answered with None, or with why it may not.

    `number` streams of this step broke, this one included.
    """

    error: StreamInterrupted
    number: int


class Show(msgspec.Struct, frozen=True):
    """Show events to whoever reads them."""

    events: list[AgentEvent]


class Approve(msgspec.Struct, frozen=True):
    """Ask whether a call of a tool with side effects may be performed; answered with None, or with why not."""

    call: ToolCall
    tool: AgentTool
    arguments: dict[str, Any]


class Use(msgspec.Struct, frozen=True):
    """One use of a tool, within so many seconds."""

    place: int
    tool: AgentTool
    arguments: dict[str, Any]
    timeout_s: float | None


class Begin(msgspec.Struct, frozen=True):
    """Begin to use tools side by side, at most so many at once."""

    uses: tuple[Use, ...]
    at_once: int


class Next(msgspec.Struct, frozen=True):
    """Wait until the next of the tools has ended."""


class Ended(msgspec.Struct, frozen=True):
    """One use of a tool has ended: what the model is told, whether that is of a failure, and how long it took.

    `left`: its time is over and its thread, which nobody can end, goes on.
    """

    place: int
    content: Content
    is_error: bool
    seconds: float
    left: bool = False


class Clock(msgspec.Struct, frozen=True):
    """Ask what time it is, in seconds of the monotonic clock."""


AgentEffect = Ask | Value | Again | Show | Approve | Begin | Next | Clock
AgentFlow = Generator[AgentEffect, Any, T]
