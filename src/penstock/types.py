"""The vocabulary: what goes into a call and what comes out of it.

Every type here is frozen and knows nothing of HTTP, time or policy. A wire module turns `Request` into a provider's
bytes and a provider's bytes into `Chunk` or `Choice`; everything above speaks only these types.

    Message ── content ──▶ Text Image Document Audio ToolCall ToolResult Reasoning Refusal Opaque   (a Part)
    Request ── messages, tools, parameters
    Chunk   ── one normalised piece of a stream
    Response ─ choices, usage, cost, attempts
"""

from __future__ import annotations

from decimal import ROUND_HALF_EVEN, Decimal
from typing import Any, Final, Literal

import msgspec

Role = Literal["system", "user", "assistant", "tool"]
StopReason = Literal[
    "stop",
    "length",
    "context_length",
    "tool_calls",
    "content_filter",
    "refusal",
    "paused",
    "tool_error",
    "error",
    "other",
    "unknown",
]
CacheTTL = Literal["5m", "1h"]
Effort = Literal["none", "minimal", "low", "medium", "high", "xhigh", "max"]
Tier = Literal["simple", "moderate", "complex", "expert"]

NANO_PER_USD: Final = 1_000_000_000


def to_nano(amount: str | int | float | Decimal) -> int:
    """Turn dollars into integer nano-dollars, rounding half to even below one nano-dollar.

    Raises: ValueError when the amount is not a finite number.
    """
    try:
        value = Decimal(str(amount))
    except ArithmeticError:
        raise ValueError(f"{amount!r} is not an amount of dollars; write it like '5.00'") from None
    if not value.is_finite():
        raise ValueError(f"{amount!r} is not a finite amount of dollars")
    return int((value * NANO_PER_USD).to_integral_value(ROUND_HALF_EVEN))


def to_usd(nano: int) -> Decimal:
    """Turn integer nano-dollars into exact dollars."""
    return Decimal(nano).scaleb(-9) if nano else Decimal(0)


class Secret:
    """A credential that shows itself only to `reveal()`: never in a repr, str, format or pickle."""

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    def reveal(self) -> str:
        """Return the credential itself; only a transport's headers may hold it."""
        return self._value

    def __repr__(self) -> str:
        return "Secret('***')"

    __str__ = __repr__

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and other._value == self._value

    def __hash__(self) -> int:
        return hash(("penstock.Secret", self._value))

    def __reduce__(self) -> Any:
        raise TypeError("a Secret cannot be pickled; pass the name of its environment variable instead")


class _Struct(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """A value made of values: it is in no cycle, so the collector need not look at it."""


class Text(msgspec.Struct, frozen=True, omit_defaults=True, tag_field="type", tag="text"):
    """Plain text; `cache` marks the end of a prefix that the provider should keep for that long."""

    text: str
    cache: CacheTTL | None = None


class Image(_Struct, frozen=True, kw_only=True, tag_field="type", tag="image"):
    """A picture by `url`, or by base64 `data` with its `media_type` (e.g. image/png)."""

    url: str | None = None
    data: str | None = None
    media_type: str | None = None
    detail: Literal["auto", "low", "high"] | None = None
    cache: CacheTTL | None = None


class Document(_Struct, frozen=True, kw_only=True, tag_field="type", tag="document"):
    """A file for the model to read: `url`, base64 `data` with `media_type`, plain `text`, or a provider's `file_id`."""

    url: str | None = None
    data: str | None = None
    media_type: str | None = None
    text: str | None = None
    file_id: str | None = None
    title: str | None = None
    context: str | None = None
    citations: bool = False
    cache: CacheTTL | None = None


class Audio(_Struct, frozen=True, kw_only=True, tag_field="type", tag="audio"):
    """Sound as base64 `data` in `format` (wav, mp3 …); `id` and `transcript` are set on a model's own answers."""

    data: str = ""
    format: str = "wav"
    id: str | None = None
    transcript: str | None = None


class ToolCall(_Struct, frozen=True, kw_only=True, tag_field="type", tag="tool_call"):
    """The model asks for a tool: `arguments` is the JSON text as the model wrote it, '{}' when it wrote none."""

    id: str
    name: str
    arguments: str = "{}"
    kind: Literal["function", "custom"] = "function"
    extra: dict[str, Any] | None = None

    @property
    def input(self) -> Any:
        """The arguments as a Python value.

        Raises: ValueError when the model wrote something that is not JSON.
        """
        return msgspec.json.decode(self.arguments)


class ToolResult(_Struct, frozen=True, kw_only=True, tag_field="type", tag="tool_result"):
    """What a tool answered to the call with id `tool_call_id`."""

    tool_call_id: str
    content: str | tuple[Text | Image | Document, ...] = ""
    is_error: bool = False
    cache: CacheTTL | None = None


class Reasoning(_Struct, frozen=True, kw_only=True, tag_field="type", tag="reasoning"):
    """What the model thought: `text` as shown, and what must go back unchanged (`signature`, `redacted`, `details`)."""

    text: str = ""
    signature: str | None = None
    redacted: str | None = None
    details: tuple[dict[str, Any], ...] = ()


class Refusal(msgspec.Struct, frozen=True, tag_field="type", tag="refusal"):
    """The model's own words of refusal."""

    text: str


class Opaque(_Struct, frozen=True, kw_only=True, tag_field="type", tag="opaque"):
    """A content block that only its provider understands, kept whole so that it can be sent back."""

    kind: str
    data: dict[str, Any]


Part = Text | Image | Document | Audio | ToolCall | ToolResult | Reasoning | Refusal | Opaque


class Message(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """One turn of a conversation."""

    role: Role
    content: str | tuple[Part, ...]
    name: str | None = None

    @property
    def parts(self) -> tuple[Part, ...]:
        """The content as parts, also where it was given as a string."""
        return (Text(self.content),) if isinstance(self.content, str) else self.content


class Tool(_Struct, frozen=True, kw_only=True):
    """A function that the model may call; `parameters` is a JSON Schema of type object.

    `native` is a tool of the provider's own, sent as it is, as {'type': 'web_search'} or a custom tool with a grammar:
    what it does and costs beside tokens is the provider's affair. Of the other fields only `name` counts then.
    """

    name: str
    description: str = ""
    parameters: dict[str, Any] = {}
    strict: bool | None = None
    cache: CacheTTL | None = None
    native: dict[str, Any] | None = None


class JSONSchema(_Struct, frozen=True, kw_only=True):
    """A response format: the answer must be an instance of `schema` (name: 1-64 of A-Z a-z 0-9 _ -)."""

    schema: dict[str, Any]
    name: str = "answer"
    description: str | None = None
    strict: bool | None = True


class Thinking(_Struct, frozen=True, kw_only=True):
    """How the model may think before it answers; `budget_tokens` (>= 1024, < max_tokens) goes with mode 'enabled'.

    Source: Anthropic Messages API, `thinking` (read 2026-11).
    """

    mode: Literal["adaptive", "enabled", "disabled", "between_tools"] = "adaptive"
    budget_tokens: int | None = None
    display: Literal["summarized", "omitted"] | None = None


class Request(_Struct, frozen=True, kw_only=True):
    """One question to one model, in no provider's dialect; a wire refuses what its protocol cannot say.

    `model` is the provider's own name of it. `tool_choice` is auto, none, required or the name of a tool.
    `extra` is merged into the body as it is, for parameters that have no name here.
    """

    model: str
    messages: tuple[Message, ...]
    max_tokens: int | None = None
    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    stop: tuple[str, ...] = ()
    seed: int | None = None
    n: int | None = None
    frequency_penalty: float | None = None
    presence_penalty: float | None = None
    logit_bias: dict[str, float] | None = None
    logprobs: bool | None = None
    top_logprobs: int | None = None
    tools: tuple[Tool, ...] = ()
    tool_choice: str | None = None
    parallel_tool_calls: bool | None = None
    response_format: Literal["text", "json"] | JSONSchema | None = None
    reasoning_effort: Effort | None = None
    thinking: Thinking | None = None
    verbosity: Literal["low", "medium", "high"] | None = None
    service_tier: str | None = None
    metadata: dict[str, str] | None = None
    user: str | None = None
    prompt_cache: CacheTTL | None = None
    prompt_cache_key: str | None = None
    prompt_cache_retention: Literal["in_memory", "24h"] | None = None
    modalities: tuple[str, ...] = ()
    audio: dict[str, Any] | None = None
    prediction: dict[str, Any] | None = None
    store: bool | None = None
    extra: dict[str, Any] = {}


class Usage(_Struct, frozen=True, kw_only=True):
    """Tokens in disjoint buckets: no token is in two of them, and together they are the provider's total.

    `estimated` says that the provider did not report them (a cut stream) and Penstock counted what it saw.
    """

    input: int = 0
    cache_read: int = 0
    cache_write_5m: int = 0
    cache_write_30m: int = 0
    cache_write_1h: int = 0
    cache_write_12h: int = 0
    output: int = 0
    reasoning: int = 0
    audio_in: int = 0
    audio_out: int = 0
    estimated: bool = False

    @property
    def cache_write(self) -> int:
        """Tokens written to the provider's prompt cache, over all lifetimes."""
        return self.cache_write_5m + self.cache_write_30m + self.cache_write_1h + self.cache_write_12h

    @property
    def prompt(self) -> int:
        """All tokens sent: input, cache reads, cache writes and audio in."""
        writes = self.cache_write_5m + self.cache_write_30m + self.cache_write_1h + self.cache_write_12h
        return self.input + self.cache_read + writes + self.audio_in

    @property
    def completion(self) -> int:
        """All tokens produced: output, reasoning and audio out."""
        return self.output + self.reasoning + self.audio_out

    @property
    def total(self) -> int:
        """Every token of the exchange."""
        return self.prompt + self.completion

    def __add__(self, other: Usage) -> Usage:
        return Usage(
            input=self.input + other.input,
            cache_read=self.cache_read + other.cache_read,
            cache_write_5m=self.cache_write_5m + other.cache_write_5m,
            cache_write_30m=self.cache_write_30m + other.cache_write_30m,
            cache_write_1h=self.cache_write_1h + other.cache_write_1h,
            cache_write_12h=self.cache_write_12h + other.cache_write_12h,
            output=self.output + other.output,
            reasoning=self.reasoning + other.reasoning,
            audio_in=self.audio_in + other.audio_in,
            audio_out=self.audio_out + other.audio_out,
            estimated=self.estimated or other.estimated,
        )


ChunkKind = Literal["text", "reasoning", "refusal", "tool_call", "part", "usage", "stop", "seam"]


class Chunk(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """One normalised piece of a stream.

    kind text, reasoning, refusal: `text` is the next piece of it. tool_call: `text` is the next piece of the JSON
    arguments of the call at `index`, with `id` and `name` on its first piece. part: `part` is a whole content part.
    usage: `usage` is the newest total (the last one counts). stop: `stop_reason` of choice `choice`. seam: what comes
    now is from another attempt, since the stream broke here and was continued; `text` is what it repeated and was taken
    out.
    `index` tells content parts of one choice apart and never goes back; `choice` is 0 unless n > 1 was asked for.
    """

    kind: ChunkKind
    text: str = ""
    index: int = 0
    choice: int = 0
    id: str | None = None
    name: str | None = None
    part: Part | None = None
    usage: Usage | None = None
    stop_reason: StopReason | None = None
    raw_stop_reason: str | None = None


class LimitSeen(_Struct, frozen=True, kw_only=True):
    """What a provider's headers said of one of its limits: at most `limit` per `period_s`, `remaining` left now.

    `reset_s` is the time until the limit is whole again, >= 0, where nothing is left of it; None otherwise, or where
    the provider does not say or cannot be believed.
    """

    dimension: Literal["requests", "tokens", "input_tokens", "output_tokens"]
    limit: int | None = None
    remaining: int | None = None
    reset_s: float | None = None
    period_s: float = 60.0


class Choice(_Struct, frozen=True, kw_only=True):
    """One answer of the model; `raw_stop_reason` is the provider's own word."""

    content: tuple[Part, ...] = ()
    stop_reason: StopReason = "unknown"
    raw_stop_reason: str | None = None
    logprobs: Any = None


class Attempt(_Struct, frozen=True, kw_only=True):
    """One HTTP exchange made for a call: where it went, when (seconds after the call began), and how it ended.

    `outcome` is 'ok' or the code of an error class. `sent` is False where Penstock itself refused it. `cost_nano` is
    None where the price or what was billed is unknown. `wait_s` is the time that the gate held the attempt back.
    `idempotency_key` went out with it where the provider takes one: advice that it may follow, no promise that an
    attempt is billed once.
    `max_tokens` is what a budget put into the request, which had none: less than usual where little was left.
    """

    number: int
    provider: str
    model: str
    outcome: str
    sent: bool = True
    started_s: float = 0.0
    wait_s: float = 0.0
    latency_s: float = 0.0
    status: int | None = None
    request_id: str | None = None
    idempotency_key: str | None = None
    retry_after_s: float | None = None
    usage: Usage | None = None
    cost_nano: int | None = None
    max_tokens: int | None = None


class Seam(msgspec.Struct, frozen=True, omit_defaults=True):
    """Where a continued answer was joined: from character `offset` of its text on, another attempt speaks.

    `removed` is what that attempt repeated of the text before, and was taken out.
    """

    offset: int
    removed: str = ""


class Notice(_Struct, frozen=True, kw_only=True):
    """What a caller should know of a call that went on all the same, once per call; `message` says it in a sentence.

    kind near_window: the prompt has about `tokens` of the `window` of `model`, and may be found too long.
    kind truncated: the prompt was cut to about `tokens` by the `strategy` that the caller chose, and so many characters
    and lines were left out.
    kind adapted: something of the request was left out that `model` does not take and that only repeats its default.
    """

    kind: Literal["near_window", "truncated", "adapted"]
    message: str
    model: str
    tokens: int | None = None
    window: int | None = None
    left_out_chars: int = 0
    left_out_lines: int = 0
    strategy: str | None = None


class Response(_Struct, frozen=True, kw_only=True):
    """The answer to one call, with what it took.

    `cost_nano` counts every attempt of the call, None when a price is unknown; `cost` is the same in dollars.
    `usage` is that of the attempt that answered, or of all that `seams` join. Times are in seconds: `latency_s` from
    the call's start to its end, `first_token_s` to the first output (streams only). `body` is the provider's reply as
    received (None for streams). `cached`: a stored answer, or that of an identical call at the same time; it cost
    nothing, `saved_nano` is what it had cost, and `usage` what it had used. `notices`: the prompt was cut or nearly too
    long, or the request was adapted to the model before it was sent. `escalated`: why the answers of
    cheaper models of a cascade were not taken.
    """

    provider: str
    model: str
    choices: tuple[Choice, ...] = ()
    usage: Usage = Usage()
    cost_nano: int | None = None
    served_model: str | None = None
    id: str | None = None
    request_id: str | None = None
    latency_s: float = 0.0
    first_token_s: float | None = None
    attempts: tuple[Attempt, ...] = ()
    tags: dict[str, str] = {}
    seams: tuple[Seam, ...] = ()
    body: bytes | None = None
    cached: bool = False
    saved_nano: int | None = None
    notices: tuple[Notice, ...] = ()
    escalated: tuple[str, ...] = ()

    @property
    def content(self) -> tuple[Part, ...]:
        """The parts of the first choice."""
        return self.choices[0].content if self.choices else ()

    @property
    def text(self) -> str:
        """The text of the first choice, without reasoning and tool calls."""
        content = self.content
        if len(content) == 1 and isinstance(content[0], Text):
            return content[0].text
        return "".join(part.text for part in self.content if isinstance(part, Text))

    @property
    def reasoning(self) -> str:
        """What the model showed of its thinking."""
        return "".join(part.text for part in self.content if isinstance(part, Reasoning))

    @property
    def tool_calls(self) -> tuple[ToolCall, ...]:
        """The tools that the model asked for, in its order."""
        return tuple(part for part in self.content if isinstance(part, ToolCall))

    @property
    def stop_reason(self) -> StopReason:
        """Why the first choice ended, in the normalised words."""
        return self.choices[0].stop_reason if self.choices else "unknown"

    @property
    def cost(self) -> Decimal | None:
        """Dollars, exact; None when the price of the model is unknown, never 0 for want of a price."""
        return None if self.cost_nano is None else to_usd(self.cost_nano)

    @property
    def raw(self) -> Any:
        """The provider's reply as a Python value; None for a stream."""
        return None if self.body is None else msgspec.json.decode(self.body)

    @property
    def message(self) -> Message:
        """The answer as the assistant's turn, ready to be appended to a conversation."""
        return Message("assistant", self.content)
