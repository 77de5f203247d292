"""Before an attempt: does the prompt fit into the window, and where the caller chose how, is it made to fit?

Nothing is cut unless `truncate` says how, and whatever is cut or nearly too long is told in a `Notice`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

import msgspec

from .._text import tokens
from .._text.truncate import LEAST_TOKENS, MARK_TOKENS, Truncate, shorten
from .._wire import capabilities
from ..embeddings import EmbedRequest
from ..errors import PenstockError
from ..types import Document, Message, Notice, Part, Request, Text, ToolResult
from .accounting import Order
from .effects import Lane
from .trail import Trail

NEAR: Final = 0.9
"""A prompt that takes more of its room is told of: the estimate may be a tenth too low."""

ANSWER_SHARE: Final = 4
ANSWER_TOKENS: Final = 4_096
"""What a cut leaves for the answer where no max_tokens is given, or a quarter of a small window."""

REDUCED_TO: Final = 0.75
TOLD_MARGIN: Final = 0.95
REDUCTIONS_MOST: Final = 3
"""A prompt that the provider finds too long is cut to three quarters, or to a little less than it says; three times."""

OTHER_CHARS: Final = 4_000
"""What a part that is no text may count for, when it is asked whether a prompt could be near its window at all."""

_TOLD: Final = r"(\d[\d,]{2,})\D{1,80}?(?:>|maximum|limit)\D{0,40}(\d[\d,]{2,})"
"""'prompt is too long: 210000 tokens > 200000 maximum' (Anthropic)."""

_TOLD_LIMIT_FIRST: Final = r"maximum context length is (\d[\d,]*)\D{1,120}?(?:resulted in|requested) (\d[\d,]*)"
"""'maximum context length is 128000 tokens. However, your messages resulted in 150000 tokens' (OpenAI)."""


class _Place(msgspec.Struct, frozen=True):
    """A text of a request that may be cut: in which message and part it stands."""

    message: int
    part: int
    text: str


def fitted(order: Order, lane: Lane, trail: Trail) -> Order:
    """Return the order with a prompt that fits the lane, cut where the caller chose how; and note what was done."""
    wish, window = order.truncate, lane.context
    if window is None and (wish is None or wish.to_tokens is None):
        return order
    request = order.asked(lane)
    answer = request.max_tokens or 0
    room = None if window is None else window - answer
    most = min(each for each in (None if wish is None else wish.to_tokens, room) if each is not None)
    if isinstance(request, EmbedRequest) or _chars(request) < NEAR * most:  # no character is more than a token
        return order
    about = _about(order, lane, request)
    if wish is None:
        if room is not None and about > NEAR * room:
            trail.note(_near(lane, about, answer))
        return order
    if window is not None and not answer:
        answer = min(ANSWER_TOKENS, window // ANSWER_SHARE, capabilities.max_output(lane.model) or ANSWER_TOKENS)
        most = min(wish.to_tokens or window, round((window - answer) * NEAR))
    if about <= most:
        return order
    return _cut(order, lane, trail, request, about, most)


def reduced(order: Order, lane: Lane, error: PenstockError, trail: Trail) -> Order | None:
    """Return the order with a shorter prompt after the provider found it too long; None where it is not to be cut."""
    if order.truncate is None or trail.reductions >= REDUCTIONS_MOST or not order.on_error.reduces(error):
        return None
    request = order.asked(lane)
    about = _about(order, lane, request)
    shorter = _cut(order, lane, trail, request, about, round(about * _ratio(error.message)))
    if shorter is order:
        return None
    trail.reductions += 1
    return shorter


def _ratio(message: str) -> float:
    """Return the part of the prompt that may stay, by the provider's figures where it gives some."""
    found, order = re.search(_TOLD, message, re.I), (1, 2)
    if found is None:
        found, order = re.search(_TOLD_LIMIT_FIRST, message, re.I), (2, 1)
    if found is None:
        return REDUCED_TO
    has, may = (int(found[at].replace(",", "")) for at in order)
    return TOLD_MARGIN * may / has if 0 < may < has else REDUCED_TO


def _cut(order: Order, lane: Lane, trail: Trail, request: Request, about: int, most: int) -> Order:
    """Cut the longest texts of a request until it has about so many tokens."""
    assert order.truncate is not None
    scale = about / max(1, tokens.estimate_request(request))
    over = (about - most) / scale
    messages = list(request.messages)
    chars = lines = 0
    for place in sorted(_places(request), key=lambda each: -len(each.text)):
        if over <= 0:
            break
        has = tokens.estimate(place.text)
        if has <= LEAST_TOKENS + MARK_TOKENS:
            continue
        short = shorten(place.text, max(LEAST_TOKENS + MARK_TOKENS, int(has - over)), order.truncate.strategy)
        messages[place.message] = _with(messages[place.message], place.part, short.text)
        chars += short.chars
        lines += short.lines
        over -= has - tokens.estimate(short.text)
    if not chars:
        return order
    shorter = msgspec.structs.replace(request, messages=tuple(messages))
    trail.note(_truncated(lane, order.truncate, about, _about(order, lane, shorter), chars, lines))
    by_lane = {each.id: order.asked(each) for each in order.lanes} | {lane.id: shorter}
    return msgspec.structs.replace(order, by_lane=by_lane)


def _places(request: Request) -> Iterator[_Place]:
    """Yield the texts that may be cut: what the user and tools said, and documents; never the system's."""
    for at, message in enumerate(request.messages):
        if message.role in ("user", "tool"):
            for number, part in enumerate(message.parts):
                match part:
                    case Text(text=text) | Document(text=str() as text) | ToolResult(content=str() as text):
                        yield _Place(at, number, text)


def _with(message: Message, number: int, text: str) -> Message:
    if isinstance(message.content, str):
        return msgspec.structs.replace(message, content=text)
    parts: list[Part] = list(message.content)
    part = parts[number]
    name = "content" if isinstance(part, ToolResult) else "text"
    parts[number] = msgspec.structs.replace(part, **{name: text})
    return msgspec.structs.replace(message, content=tuple(parts))


def _chars(request: Request) -> int:
    """Return at least as many characters as the request may have tokens."""
    total = OTHER_CHARS * len(request.tools)
    for message in request.messages:
        content = message.content
        if isinstance(content, str):
            total += len(content)
        else:
            total += sum(len(part.text) if isinstance(part, Text) else _weight(part) for part in content)
    return total


def _weight(part: Part) -> int:
    match part:
        case ToolResult(content=str() as text) | Document(text=str() as text):
            return len(text)
        case Document():
            return 100 * OTHER_CHARS
    return OTHER_CHARS


def _about(order: Order, lane: Lane, request: Request) -> int:
    """Return about how many tokens the lane would count."""
    counted = tokens.estimate_request(request)
    gauges = order.gauges.get(lane.id)
    return counted if gauges is None else gauges.prompt.scaled(counted)


def _near(lane: Lane, about: int, answer: int) -> Notice:
    assert lane.context is not None
    room = f"{lane.context:,} tokens" + (f", {answer:,} of them for the answer" if answer else "")
    remedy = "shorten it, choose with `truncate` what to leave out, or ask a model with a larger window"
    return Notice(
        kind="near_window",
        model=lane.name,
        message=f"the prompt has about {about:,} tokens, and {lane.name} has a window of {room}; {remedy}",
        tokens=about,
        window=lane.context,
    )


def _truncated(lane: Lane, wish: Truncate, before: int, after: int, chars: int, lines: int) -> Notice:
    where = f" in {lines:,} lines" if lines else ""
    return Notice(
        kind="truncated",
        model=lane.name,
        message=f"about {before:,} tokens were cut to {after:,} for {lane.name} ({wish.strategy}): {chars:,} characters"
        f"{where} were left out",
        tokens=after,
        window=lane.context,
        left_out_chars=chars,
        left_out_lines=lines,
        strategy=wish.strategy,
    )
