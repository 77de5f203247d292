"""What can be set on a simulator, and the models it knows by heart."""

from __future__ import annotations

import re
from decimal import Decimal
from itertools import pairwise
from typing import Annotated, Literal, get_args

import msgspec

from penstock.sim.batch_settings import BatchSettings
from penstock.sim.bill import Price
from penstock.sim.faults import Scenario

Protocol = Literal["openai", "anthropic", "cohere", "gemini"]
_Positive = Annotated[int, msgspec.Meta(ge=1)]
_Count = Annotated[int, msgspec.Meta(ge=0)]
_Seconds = Annotated[float, msgspec.Meta(ge=0, le=86_400)]
_Sigma = Annotated[float, msgspec.Meta(ge=0, le=10)]
_Speed = Annotated[float, msgspec.Meta(ge=0, le=1_000_000)]
_Factor = Annotated[float, msgspec.Meta(gt=0, le=1000)]


class Change(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """From `after_s` seconds after the lane's first request on, its rates are `factor` times the configured limits.

    Bursts stay as they are. Unless it is `announced`, the headers go on telling the limits that held before.
    """

    after_s: _Seconds
    factor: _Factor
    announced: bool = False


class Limits(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Limits of one lane (credential and model); None means that dimension is not limited.

    `rpm` requests, `tpm` tokens (OpenAI; of input: Gemini), `itpm` and `otpm` input and output tokens (Anthropic), all
    per minute;
    `concurrency` calls in flight. Each bucket refills continuously at limit/60 per second and holds
    `burst_requests` or `burst_tokens`, by default a tenth of its limit and at least 1.
    `charge_rejections` makes failed requests count, as OpenAI's do; a bucket that is empty then goes down to at most
    `rejection_debt` below zero. `headers` False tells no limits; `retry_after` is what a 429 of these limits says of
    the time to wait: `both` the seconds and the milliseconds, `seconds` (whole, at least 1), `date` the HTTP date of
    those, or `none`. `changes` are in the order of their times.

    Raises: ValueError for changes that are not.
    """

    rpm: _Positive | None = None
    tpm: _Positive | None = None
    itpm: _Positive | None = None
    otpm: _Positive | None = None
    concurrency: _Positive | None = None
    burst_requests: _Positive | None = None
    burst_tokens: _Positive | None = None
    charge_rejections: bool = False
    rejection_debt: Annotated[int, msgspec.Meta(ge=0)] = 0
    headers: bool = True
    retry_after: Literal["both", "seconds", "date", "none"] = "both"
    changes: tuple[Change, ...] = ()

    def __post_init__(self) -> None:
        if any(after.after_s <= before.after_s for before, after in pairwise(self.changes)):
            raise ValueError("changes: each needs a later after_s than the one before it")


class Latency(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How long the model thinks and how fast it speaks.

    `first_token_s` is the median of a lognormal with `first_token_sigma`; `tokens_per_s` is the median speed with
    `speed_sigma`, 0 for no delay. `chunk_tokens` is how many tokens one streamed event carries. `rejection_s` is how
    long a 429 of the limits takes.
    """

    first_token_s: _Seconds = 0.0
    first_token_sigma: _Sigma = 0.0
    tokens_per_s: _Speed = 0.0
    speed_sigma: _Sigma = 0.0
    chunk_tokens: _Positive = 3
    rejection_s: _Seconds = 0.0


class Model(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One model: who serves it, its context window and longest answer in tokens, and its habits.

    `dimensions` is the length of its vectors: above 0 it embeds texts, and does nothing else. One that `ranks` puts
    documents in order, and does nothing else.
    """

    protocol: Protocol
    window: _Positive = 128_000
    max_output: _Positive = 16_384
    reasoning: bool = False
    prefill: bool = True
    dimensions: _Count = 0
    ranks: bool = False


class Embedding(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a request for vectors may hold: texts, tokens in all and of each; a text with `poison` in it is refused."""

    inputs: _Positive = 2048
    tokens: _Positive = 300_000
    input_tokens: _Positive = 8192
    poison: str = ""


class SimConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Everything a simulator is told before it starts; the defaults give an instant, unlimited, faultless one.

    `limits` is keyed by `openai`, `anthropic`, `cohere`, `gemini` or `protocol:model`, the more exact key wins.
    `accept_keys` empty means
    any key but those that start with `bad` or `revoked`. `models` and `prices` add to the built-in ones (a price is
    dollars per million tokens). `answer_tokens` fixes the length of free-text answers, 0 for natural ones.
    `any_model` accepts unknown names. `max_body_bytes` is where 413 begins. `embeddings` bounds requests for vectors.
    `log_entries` is how many attempts the log and the bill keep one by one (totals stay exact). `batches` are the batch
    interfaces.
    """

    seed: int = 0
    limits: dict[str, Limits] = {}
    latency: Latency = Latency()
    models: dict[str, Model] = {}
    prices: dict[str, Price] = {}
    default_price: Price = Price(input="1", output="4")
    accept_keys: tuple[str, ...] = ()
    any_model: bool = False
    answer_tokens: _Count = 0
    embeddings: Embedding = Embedding()
    obfuscation: bool = False
    cache_min_tokens: _Positive = 1024
    cache_ttl_s: _Seconds = 300.0
    max_body_bytes: _Positive = 32 * 1024 * 1024
    log_entries: _Positive = 200_000
    scenario: Scenario = Scenario()
    batches: BatchSettings = BatchSettings()

    def __post_init__(self) -> None:
        for key, limits in self.limits.items():
            protocol = key.partition(":")[0]
            if protocol not in get_args(Protocol):
                known = ", ".join(get_args(Protocol))
                raise ValueError(f"limits: {key!r} is neither of {known} nor one of them with :model")
            if protocol != "anthropic" and (limits.itpm is not None or limits.otpm is not None):
                raise ValueError(f"limits.{key}: itpm and otpm are Anthropic's, OpenAI and Gemini count tpm")
            if protocol in ("anthropic", "cohere") and limits.tpm is not None:
                raise ValueError(
                    f"limits.{key}: tpm is OpenAI's and Gemini's; Anthropic counts itpm and otpm, Cohere none"
                )

    def model(self, name: str, protocol: Protocol) -> Model | None:
        """The model of that name (dated snapshots included), or None when this protocol does not serve it."""
        for candidate in (name, _DATED.sub("", name)):
            found = self.models.get(candidate) or MODELS.get(candidate)
            if found is not None and found.protocol == protocol:
                return found
        return Model(protocol=protocol) if self.any_model else None

    def limit(self, protocol: Protocol, model: str) -> Limits:
        """The limits of a lane of that model."""
        for key in (f"{protocol}:{model}", f"{protocol}:{_DATED.sub('', model)}", protocol):
            if key in self.limits:
                return self.limits[key]
        return _NO_LIMITS

    def price(self, model: str) -> Price:
        """What that model costs."""
        for candidate in (model, _DATED.sub("", model)):
            found = self.prices.get(candidate) or PRICES.get(candidate)
            if found is not None:
                return found
        return self.default_price


_DATED = re.compile(r"-(\d{4}-\d{2}-\d{2}|\d{8})$")
_NO_LIMITS = Limits()


def _openai(window: int, max_output: int, *, reasoning: bool = False) -> Model:
    return Model(protocol="openai", window=window, max_output=max_output, reasoning=reasoning)


def _claude(max_output: int, *, window: int = 200_000, prefill: bool = True) -> Model:
    return Model(protocol="anthropic", window=window, max_output=max_output, prefill=prefill)


def _vectors(dimensions: int) -> Model:
    return Model(protocol="openai", window=8_192, dimensions=dimensions)


def _other(protocol: Protocol, window: int, max_output: int, *, reasoning: bool = False) -> Model:
    return Model(protocol=protocol, window=window, max_output=max_output, reasoning=reasoning, prefill=False)


MODELS: dict[str, Model] = {
    "gpt-4o": _openai(128_000, 16_384),
    "gpt-4o-mini": _openai(128_000, 16_384),
    "gpt-4.1": _openai(1_047_576, 32_768),
    "gpt-4.1-mini": _openai(1_047_576, 32_768),
    "gpt-4.1-nano": _openai(1_047_576, 32_768),
    "gpt-4": _openai(8_192, 8_192),
    "gpt-3.5-turbo": _openai(16_385, 4_096),
    "gpt-5": _openai(400_000, 128_000, reasoning=True),
    "gpt-5-mini": _openai(400_000, 128_000, reasoning=True),
    "gpt-5-nano": _openai(400_000, 128_000, reasoning=True),
    "gpt-5.4-mini": _openai(400_000, 128_000, reasoning=True),
    "gpt-5.4-nano": _openai(400_000, 128_000, reasoning=True),
    "gpt-5.6-luna": _openai(1_050_000, 128_000, reasoning=True),
    "gpt-6-luna": _openai(1_050_000, 128_000, reasoning=True),
    "gpt-6-sol": _openai(1_050_000, 128_000, reasoning=True),
    "gpt-6.1-sol": _openai(1_050_000, 128_000, reasoning=True),
    "gpt-6.1-terra": _openai(1_050_000, 128_000, reasoning=True),
    "o3": _openai(200_000, 100_000, reasoning=True),
    "o3-mini": _openai(200_000, 100_000, reasoning=True),
    "o4-mini": _openai(200_000, 100_000, reasoning=True),
    "text-embedding-3-small": _vectors(1536),
    "text-embedding-3-large": _vectors(3072),
    "text-embedding-ada-002": _vectors(1536),
    "mistral-embed": _vectors(1024),
    "llama-3.3-70b-versatile": _openai(131_072, 32_768),
    "openai/gpt-oss-20b": _openai(131_072, 65_536, reasoning=True),
    "meta-llama/Llama-3.3-70B-Instruct-Turbo": _openai(131_072, 131_072),
    "Qwen/Qwen3.5-9B": _openai(262_144, 262_144),
    "mistral-small-latest": _openai(131_072, 16_384),
    "deepseek-chat": _openai(131_072, 8_192),
    "claude-haiku-4-5": _claude(64_000),
    "claude-sonnet-4-5": _claude(64_000),
    "claude-sonnet-4-6": _claude(64_000, window=1_000_000, prefill=False),
    "claude-opus-4-1": _claude(32_000),
    "claude-opus-4-5": _claude(64_000),
    "claude-opus-4-6": _claude(128_000, window=1_000_000, prefill=False),
    "claude-opus-4-7": _claude(128_000, window=1_000_000, prefill=False),
    "claude-opus-4-8": _claude(128_000, window=1_000_000, prefill=False),
    "claude-sonnet-5": _claude(128_000, window=1_000_000, prefill=False),
    "claude-opus-5": _claude(128_000, window=1_000_000, prefill=False),
    "claude-haiku-5-5": _claude(128_000, window=1_000_000, prefill=False),
    "claude-sonnet-5-5": _claude(128_000, window=1_000_000, prefill=False),
    "claude-opus-5-5": _claude(128_000, window=1_000_000, prefill=False),
    "claude-3-5-haiku-latest": _claude(8_192),
    "command-a-03-2025": _other("cohere", 256_000, 8_192),
    "command-r7b-12-2024": _other("cohere", 128_000, 4_096),
    "command-a-reasoning-08-2025": _other("cohere", 256_000, 32_768, reasoning=True),
    "embed-v4.0": Model(protocol="cohere", window=128_000, dimensions=1536),
    "embed-multilingual-v3.0": Model(protocol="cohere", window=512, dimensions=1024),
    "rerank-v3.5": Model(protocol="cohere", window=4_096, ranks=True),
    "gemini-2.0-flash": _other("gemini", 1_048_576, 8_192),
    "gemini-2.5-flash": _other("gemini", 1_048_576, 65_536, reasoning=True),
    "gemini-2.5-pro": _other("gemini", 1_048_576, 65_536, reasoning=True),
    "gemini-3-flash-preview": _other("gemini", 1_048_576, 65_536, reasoning=True),
    "gemini-embedding-001": Model(protocol="gemini", window=2_048, dimensions=3072),
}


def _claude_price(input_usd: str, output_usd: str, cache_read_usd: str | None = None) -> Price:
    base = Decimal(input_usd)
    return Price(
        input=input_usd,
        output=output_usd,
        cache_read=cache_read_usd or str(base / 10),
        write_5m=str(base * Decimal("1.25")),
        write_1h=str(base * 2),
    )


PRICES: dict[str, Price] = {
    "gpt-4o": Price(input="2.50", output="10", cache_read="1.25"),
    "gpt-4o-mini": Price(input="0.15", output="0.60", cache_read="0.075"),
    "gpt-4.1": Price(input="2", output="8", cache_read="0.50"),
    "gpt-4.1-mini": Price(input="0.40", output="1.60", cache_read="0.10"),
    "gpt-4.1-nano": Price(input="0.10", output="0.40", cache_read="0.025"),
    "gpt-4": Price(input="30", output="60"),
    "gpt-3.5-turbo": Price(input="0.50", output="1.50"),
    "gpt-5": Price(input="1.25", output="10", cache_read="0.125"),
    "gpt-5-mini": Price(input="0.25", output="2", cache_read="0.025"),
    "gpt-5-nano": Price(input="0.05", output="0.40", cache_read="0.005"),
    "gpt-5.4-mini": Price(input="0.75", output="4.50", cache_read="0.075"),
    "gpt-5.4-nano": Price(input="0.20", output="1.25", cache_read="0.02"),
    "gpt-5.6-luna": Price(input="0.20", output="1.20", cache_read="0.02"),
    "gpt-6-luna": Price(input="0.10", output="0.50", cache_read="0.01"),
    "gpt-6-sol": Price(input="2", output="10", cache_read="0.20"),
    "gpt-6.1-sol": Price(input="2", output="10", cache_read="0.10"),
    "gpt-6.1-terra": Price(input="1", output="5", cache_read="0.05"),
    "o3": Price(input="2", output="8", cache_read="0.50"),
    "o3-mini": Price(input="1.10", output="4.40", cache_read="0.55"),
    "o4-mini": Price(input="1.10", output="4.40", cache_read="0.275"),
    "text-embedding-3-small": Price(input="0.02", output="0"),
    "text-embedding-3-large": Price(input="0.13", output="0"),
    "text-embedding-ada-002": Price(input="0.10", output="0"),
    "mistral-embed": Price(input="0.10", output="0"),
    "llama-3.3-70b-versatile": Price(input="0.59", output="0.79"),
    "openai/gpt-oss-20b": Price(input="0.075", output="0.30", cache_read="0.0375"),
    "meta-llama/Llama-3.3-70B-Instruct-Turbo": Price(input="0.88", output="0.88"),
    "Qwen/Qwen3.5-9B": Price(input="0.17", output="0.25"),
    "mistral-small-latest": Price(input="0.15", output="0.60", cache_read="0.015"),
    "deepseek-chat": Price(input="0.28", output="0.42", cache_read="0.028"),
    "claude-haiku-4-5": _claude_price("1", "5"),
    "claude-sonnet-4-5": _claude_price("3", "15"),
    "claude-sonnet-4-6": _claude_price("3", "15"),
    "claude-opus-4-1": _claude_price("15", "75"),
    "claude-opus-4-5": _claude_price("5", "25"),
    "claude-opus-4-6": _claude_price("5", "25"),
    "claude-opus-4-7": _claude_price("5", "25"),
    "claude-opus-4-8": _claude_price("5", "25"),
    "claude-sonnet-5": _claude_price("2", "10"),
    "claude-opus-5": _claude_price("5", "25"),
    "claude-haiku-5-5": _claude_price("0.10", "0.50"),
    "claude-sonnet-5-5": _claude_price("2", "10", "0.10"),
    "claude-opus-5-5": _claude_price("4", "20", "0.20"),
    "claude-3-5-haiku-latest": _claude_price("0.80", "4"),
    "command-a-03-2025": Price(input="2.50", output="10"),
    "command-r7b-12-2024": Price(input="0.0375", output="0.15"),
    "command-a-reasoning-08-2025": Price(input="2.50", output="10"),
    "embed-v4.0": Price(input="0.12", output="0"),
    "embed-multilingual-v3.0": Price(input="0.10", output="0"),
    "gemini-2.0-flash": Price(input="0.10", output="0.40", cache_read="0.025"),
    "gemini-2.5-flash": Price(input="0.30", output="2.50", cache_read="0.03"),
    "gemini-2.5-pro": Price(input="1.25", output="10", cache_read="0.125"),
    "gemini-3-flash-preview": Price(input="0.50", output="3", cache_read="0.05"),
    "gemini-embedding-001": Price(input="0.15", output="0"),
}
