"""What an attempt may cost, and what it did: the arithmetic between tokens, prices and holds."""

from __future__ import annotations

from typing import Final

import msgspec

from .._policy.budget import Elastic, Hold
from .._policy.cache import Use
from .._policy.cascade import Cascade
from .._policy.fairqueue import Priority
from .._policy.limiter import Ticket
from .._policy.onerror import USUAL, ErrorPolicy
from .._policy.prices import Prices
from .._policy.timeouts import Timeouts
from .._text import tokens
from .._text.truncate import Truncate
from .._wire import capabilities
from .._wire.assembly import Assembly
from .._wire.protocol import CountRequest
from ..embeddings import TextsRequest
from ..errors import BudgetExceeded, ContextTooLong
from ..types import Reasoning, Refusal, Request, Text, Tier, ToolCall, Usage, to_usd
from .effects import Lane, Past, Record
from .gauge import Gauges
from .seam import asking_for_the_rest

MAX_TOKENS_UNDER_BUDGET: Final = 8192
"""Injected where a budget is set and the caller gave no max_tokens: without one, the worst case has no bound."""

MAX_TOKENS_LEAST: Final = 256
"""What is injected may be lowered this far when the rest of the budget is small: a shorter answer says little."""


KEPT_ELSEWHERE: Final = frozenset({"previous_response_id", "conversation", "prompt"})
"""Parameters that make the server add text of which nothing is known here."""

LARGEST_WINDOW: Final = 2_000_000
"""Tokens that no known model's context window exceeds."""


SMALLEST_WINDOW: Final = 4096
"""Tokens that every model can read."""

TOO_LONG: Final = 2
"""A prompt this many times longer than the window by our count is too long by any tokenizer's."""


class Ladder(msgspec.Struct, frozen=True):
    """A cascade with the lanes of each of its steps, the call's own first."""

    cascade: Cascade
    steps: tuple[tuple[Lane, ...], ...]


class Order(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One call as the client ordered it.

    `started` and `deadline` are instants of the monotonic clock, `wall_s` is the time at which prices are looked up.
    `gauges`: by lane, what was learned of its token counts. `cache` is None where the call has nothing to do with one.
    `hedge_after_s`: how long an attempt may show no output before a second is made beside it, None for never.
    `continuations`: how often a broken stream may be continued. `received`: the text that came before it broke.
    `batch`: it goes through the provider's batch interface, at its price.
    `by_lane`: what each lane is asked where that differs, by its id.
    `tier`, `reason`: how the route was chosen, where a tier was asked for; `strongest`: the lane of the highest one.
    `ladder`: whom to ask when the answer is not good enough. `truncate`: how a prompt that is too long is cut, None for
    never. `on_error`: what may be done about an error.
    `opening`: the request as the router saw it, for whose conversation it remembers the model that answers for
    `sticky_s`; None where it does not.
    """

    request: Request
    lanes: tuple[Lane, ...]
    stream: bool
    timeouts: Timeouts
    prices: Prices
    capped: bool
    priority: Priority
    tags: dict[str, str]
    started: float
    wall_s: float
    deadline: float | None
    idempotency_key: str = ""
    cache: Use | None = None
    continuations: int = 0
    received: str = ""
    hedge_after_s: float | None = None
    gauges: dict[str, Gauges] = {}
    batch: bool = False
    by_lane: dict[str, Request] | None = None
    tier: Tier | None = None
    reason: str | None = None
    strongest: Lane | None = None
    ladder: Ladder | None = None
    truncate: Truncate | None = None
    on_error: ErrorPolicy = USUAL
    opening: Request | None = None
    sticky_s: float = 0.0

    def asked(self, lane: Lane) -> Request:
        """Return what a lane is asked."""
        request = self.request if self.by_lane is None else self.by_lane[lane.id]
        return request if request.model == lane.model else msgspec.structs.replace(request, model=lane.model)


def prepare(order: Order, lane: Lane, past: Past) -> tuple[Request, Record]:
    """Return the request for this lane and the record of the attempt, with what it may use at worst."""
    request = order.asked(lane)
    if order.received:
        request = asking_for_the_rest(request, lane.provider, order.received)
    chosen = None
    if order.capped and request.max_tokens is None and not isinstance(request, CountRequest):
        chosen = _chosen_max_tokens(request)
        request = msgspec.structs.replace(request, max_tokens=chosen)
    ticket = Ticket(
        input_tokens=_about(request),
        output_tokens=request.max_tokens,
        priority=order.priority,
        deadline=order.deadline,
        returned=past.limited > 0,
    )
    if isinstance(request, CountRequest):
        return request, Record(lane, past, ticket, 0)
    if not order.capped:
        return request, Record(lane, past, ticket, None)
    prompt_tokens = request.most_tokens if isinstance(request, TextsRequest) else _most_prompt_tokens(request)
    worst = _worst_nano(order, lane, request, prompt_tokens, request.max_tokens or 0)
    elastic = None
    if chosen is not None and worst is not None:
        silent = _worst_nano(order, lane, request, prompt_tokens, 0)
        assert silent is not None  # as with output
        elastic = Elastic(silent, chosen, min(chosen, MAX_TOKENS_LEAST + _thinking_tokens(request)))
    return request, Record(lane, past, ticket, worst, elastic, max_tokens=chosen)


def _most_prompt_tokens(request: Request) -> int:
    """Return what the prompt cannot exceed; of a conversation that the server keeps, all that the model can read."""
    bound = tokens.bound(request)
    if request.extra.keys() & KEPT_ELSEWHERE:
        bound += capabilities.context_window(request.model) or LARGEST_WINDOW
    return bound


def check_window(order: Order, record: Record, request: Request) -> None:
    """Look whether a prompt can fit at all, before it is sent: our count must be far off for it to be wrong about that.

    Raises: ContextTooLong.
    """
    about = record.ticket.input_tokens
    if about <= SMALLEST_WINDOW or isinstance(request, TextsRequest):
        return
    provider, model = record.lane.provider, record.lane.model
    if not provider.families:
        return
    window = max(capabilities.context_window(model) or 0, order.prices.window(provider.owner, model) or 0)
    if window and about > TOO_LONG * window:
        raise ContextTooLong(
            f"the prompt has about {about:,} tokens, and {record.lane.name} reads at most {window:,}: it was not sent; "
            "shorten it or choose a model with a larger context window",
            provider=provider.name,
            model=model,
            param="messages",
        )


def _about(request: Request) -> int:
    if isinstance(request, CountRequest):
        return 0
    return request.input_tokens if isinstance(request, TextsRequest) else tokens.estimate_request(request)


def lowered(request: Request, record: Record, hold: Hold) -> Request:
    """Return the request with the max_tokens that the rest of the budget can pay, and note it in the record."""
    record.worst_nano = hold.worst_nano
    record.max_tokens = record.ticket.output_tokens = hold.max_tokens
    return msgspec.structs.replace(request, max_tokens=hold.max_tokens)


def _thinking_tokens(request: Request) -> int:
    return request.thinking.budget_tokens or 0 if request.thinking is not None else 0


def _chosen_max_tokens(request: Request) -> int:
    """Choose a max_tokens where the caller gave none: room to think and to answer, and what the model can at most."""
    wanted = MAX_TOKENS_UNDER_BUDGET + _thinking_tokens(request)
    known = capabilities.max_output(request.model)
    return wanted if known is None else min(wanted, known)


def _worst_nano(order: Order, lane: Lane, request: Request, prompt_tokens: int, output_tokens: int) -> int | None:
    """Return the most that one attempt can cost in nano-dollars, None when the model has no known price."""
    return order.prices.worst(
        lane.provider.owner,
        lane.model,
        prompt_tokens,
        output_tokens,
        n=request.n or 1,
        cache_writes=_marks_cache(request),
        service_tier=request.service_tier,
        batch=order.batch,
        wall_s=order.wall_s,
    )


def _marks_cache(request: Request) -> bool:
    if request.prompt_cache is not None or any(tool.cache for tool in request.tools):
        return True
    return any(getattr(part, "cache", None) for message in request.messages for part in message.parts)


def cost_nano(order: Order, lane: Lane, usage: Usage) -> int | None:
    """Return what the usage costs in nano-dollars, None when the model has no known price."""
    return order.prices.cost(
        lane.provider.owner, lane.model, usage, service_tier=order.request.service_tier, wall_s=order.wall_s
    )


def learn_prompt(order: Order, record: Record, reported: Usage) -> None:
    """Compare our count of a prompt with what the provider reported; the next one is estimated by that."""
    gauges = order.gauges.get(record.lane.id)
    if gauges is None:
        gauges = order.gauges.setdefault(record.lane.id, Gauges())
    gauges.prompt.learn(reported.prompt, record.ticket.input_tokens)


def learn(order: Order, record: Record, reported: Usage, assembly: Assembly) -> None:
    """Compare our count with what the provider reported of a whole stream; the next cut one is estimated by that."""
    learn_prompt(order, record, reported)
    gauges = order.gauges[record.lane.id]
    gauges.text.learn(reported.output, _counted(assembly))


def seen(order: Order, record: Record, reported: Usage | None, assembly: Assembly) -> Usage:
    """Estimate the usage of a cut stream from what came: the provider's own figures where it gave some."""
    gauges = order.gauges.get(record.lane.id) or Gauges()
    output = gauges.text.scaled(_counted(assembly))
    if reported is None:
        return Usage(input=gauges.prompt.scaled(record.ticket.input_tokens), output=output, estimated=True)
    if reported.completion >= output:
        return msgspec.structs.replace(reported, estimated=True)
    return msgspec.structs.replace(reported, output=output - reported.reasoning - reported.audio_out, estimated=True)


def _counted(assembly: Assembly) -> int:
    return sum(tokens.estimate(_written(part)) for choice in assembly.choices() for part in choice.content)


def _written(part: object) -> str:
    match part:
        case Text(text=text) | Reasoning(text=text) | Refusal(text=text):
            return text
        case ToolCall(name=name, arguments=arguments):
            return name + arguments
    return ""


def affordable(order: Order, left_nano: int) -> int | None:
    """Return the max_tokens with which one attempt at any lane costs at most what is left; None: none needs be set.

    Raises: BudgetExceeded with the scope 'agent' when nothing fits, or a price is unknown.
    """
    fits: int | None = None
    for lane in order.lanes:
        request = order.asked(lane)
        prompt_tokens = tokens.bound(request)
        wanted = request.max_tokens or _chosen_max_tokens(request)
        worst = _worst_nano(order, lane, request, prompt_tokens, wanted)
        silent = _worst_nano(order, lane, request, prompt_tokens, 0)
        if worst is None or silent is None:
            raise _unaffordable(f"the price of {lane.name} is unknown, so its budget cannot be kept", left_nano, None)
        if worst > left_nano:
            least = request.max_tokens or min(wanted, MAX_TOKENS_LEAST + _thinking_tokens(request))
            wanted = Elastic(silent, wanted, least).within(left_nano, worst)
            if silent > left_nano or wanted < least or request.max_tokens is not None:
                words = f"its budget has ${to_usd(left_nano):f} left and one more step at {lane.name} can cost more"
                raise _unaffordable(words, left_nano, worst)
        if request.max_tokens is None:
            fits = wanted if fits is None else min(fits, wanted)
    return fits


def _unaffordable(words: str, left_nano: int, needed_nano: int | None) -> BudgetExceeded:
    return BudgetExceeded(words, scope="agent", cap_nano=left_nano, spent_nano=0, held_nano=0, needed_nano=needed_nano)
