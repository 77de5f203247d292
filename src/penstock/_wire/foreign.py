"""Requests that somebody else wrote in a provider's dialect: read as far as the gate must know them, and sent as is.

path ends in                                  what it is       wire
/chat/completions                             chat             openai_chat
/responses                                    chat             openai_responses
/v1/messages                                  chat             anthropic
/v2/chat · /v2/embed · /v2/rerank             chat · … · …     cohere
:generateContent · :streamGenerateContent     chat             gemini
:embedContent · :batchEmbedContents           embed            gemini
/embeddings                                   embed            openai
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, Literal

import msgspec

from .._text import tokens
from ..embeddings import EmbedRequest, TextsRequest
from ..errors import CallError, InputError
from ..types import Chunk, Request, Secret, Usage
from . import capabilities
from .protocol import Decoder, Outbound, Provider, Reply, Wire

Kind = Literal["chat", "embed", "rerank"]

_ENDINGS: Final[tuple[tuple[str, Kind, str], ...]] = (
    ("/chat/completions", "chat", "openai_chat"),
    ("/responses", "chat", "openai_responses"),
    ("/v1/messages", "chat", "anthropic"),
    ("/v2/chat", "chat", "cohere"),
    ("/v2/embed", "embed", "cohere"),
    ("/v2/rerank", "rerank", "cohere"),
    (":generateContent", "chat", "gemini"),
    (":streamGenerateContent", "chat", "gemini"),
    (":embedContent", "embed", "gemini"),
    (":batchEmbedContents", "embed", "gemini"),
    ("/embeddings", "embed", "openai"),
)
_FREE: Final = ("/files", "/uploads", "/models", "/count_tokens", "/tokenize", "/detokenize", ":countTokens", "/cancel")
"""Paths beside calls that no provider charges for: what contains one of these costs nothing, like whatever is read."""

_MEDIA_KEYS: Final = {"image_url", "input_audio", "inlineData", "inline_data", "fileData", "file_data", "file_id"}
_MEDIA_TYPES: Final = {"image", "image_url", "input_image", "document", "input_file", "file", "input_audio", "video"}
_UNSAID: Final = ("type", "role", "model")
_KEPT_ELSEWHERE: Final = ("previous_response_id", "conversation", "prompt", "cachedContent")
_LARGEST_WINDOW: Final = 2_000_000
_HIDDEN_TOKENS: Final = 1_280
"""What a provider puts in by itself at most: dates, marks and the prompt that makes a model use tools."""

CHANGES_THE_ANSWER: Final = frozenset({"anthropic-beta", "anthropic-version", "openai-beta"})
"""Headers of a client that change what is answered; all others say who asks, and how."""


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """What a request says that the gate must know; `max_tokens` is None where it names none."""

    kind: Kind
    wire: str
    model: str
    stream: bool
    fields: dict[str, Any]
    max_tokens: int | None = None
    marks_cache: bool = False

    def request(self, *, bounded: bool) -> TextsRequest:
        """Return the request as the gate counts it, without its words; `bounded` says that a budget needs its bound.

        Raises: InputError where nothing bounds what it may cost.
        """
        made = EmbedRequest if self.kind == "embed" else TextsRequest
        about, most = _sizes(self.fields)
        most += _HIDDEN_TOKENS
        if any(self.fields.get(name) for name in _KEPT_ELSEWHERE):
            most += capabilities.context_window(self.model) or _LARGEST_WINDOW
        max_tokens = self.max_tokens if self.kind == "chat" else 0
        if bounded and max_tokens is None:
            max_tokens = capabilities.max_output(self.model)
            if max_tokens is None:
                raise InputError(
                    f"the request to {self.model} names no max_tokens and its output limit is not known, so the budget "
                    "cannot hold what it may cost; give it a max_tokens"
                )
        config = self.fields.get("generationConfig")
        knobs = config if self.wire == "gemini" and isinstance(config, dict) else self.fields
        temperature, seed, tier = knobs.get("temperature"), knobs.get("seed"), self.fields.get("service_tier")
        count = knobs.get("candidateCount" if self.wire == "gemini" else "n")
        return made(
            model=self.model,
            messages=(),
            max_tokens=max_tokens,
            temperature=temperature if isinstance(temperature, int | float) else None,
            seed=seed if isinstance(seed, int) else None,
            n=count if isinstance(count, int) else None,
            service_tier=tier if isinstance(tier, str) else None,
            prompt_cache="5m" if self.marks_cache else None,
            input_tokens=about,
            most_tokens=most,
        )


def kind_of(path: str) -> tuple[Kind, str] | None:
    """Return what a path asks for and in which protocol, None where that is no call that Penstock knows."""
    for ending, kind, wire in _ENDINGS:
        if path.endswith(ending):
            return kind, wire
    return None


def is_free(method: str, path: str) -> bool:
    """Whether a request that is no call is known to cost nothing."""
    return method in ("GET", "HEAD", "DELETE", "OPTIONS") or any(part in path for part in _FREE)


def read(path: str, query: str, body: bytes, kind: Kind, wire: str) -> Asked:
    """Read of a request what the gate must know.

    Raises: InputError for a body that is no JSON object, or that names no model.
    """
    try:
        fields = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise InputError(f"the body of {path} is not JSON: {error}") from None
    if not isinstance(fields, dict):
        raise InputError(f"the body of {path} is {type(fields).__name__}; expected a JSON object")
    model = _model(path, fields, wire)
    if model is None:
        raise InputError(f"the body of {path} names no model; give it one as 'model'")
    stream = path.endswith(":streamGenerateContent") if wire == "gemini" else bool(fields.get("stream"))
    if wire == "gemini" and stream and "alt=sse" not in query:
        raise InputError(f"{path} streams as one JSON array, which cannot be accounted as it comes; ask with alt=sse")
    return Asked(
        kind=kind,
        wire=wire,
        model=model,
        stream=stream,
        fields=fields,
        max_tokens=_max_tokens(fields),
        marks_cache=b'"cache_control"' in body,
    )


def _model(path: str, fields: Mapping[str, Any], wire: str) -> str | None:
    if wire == "gemini":
        return path.rpartition("/models/")[2].partition(":")[0] or None
    _, found, rest = path.partition("/deployments/")
    if found:
        return rest.partition("/")[0]
    model = fields.get("model")
    return model if isinstance(model, str) and model else None


def _max_tokens(fields: Mapping[str, Any]) -> int | None:
    config = fields.get("generationConfig")
    places = (
        *(fields.get(name) for name in ("max_completion_tokens", "max_output_tokens", "max_tokens")),
        config.get("maxOutputTokens") if isinstance(config, dict) else None,
    )
    return next((each for each in places if isinstance(each, int) and not isinstance(each, bool) and each >= 0), None)


def _sizes(value: Any, name: str = "") -> tuple[int, int]:
    """Return about how many tokens a part of a body has, and a number that it cannot exceed: all that is written there.

    A picture or a file counts as one, whatever its bytes say.
    """
    if isinstance(value, str):
        size = len(value) if value.isascii() else len(value.encode("utf-8", "replace"))
        return 0 if name in _UNSAID else tokens.estimate(value), size + tokens.MESSAGE_TOKENS_MOST
    if isinstance(value, list):
        parts = [_sizes(each) for each in value]
        return sum(about for about, _ in parts), sum(most for _, most in parts) + tokens.MESSAGE_TOKENS_MOST
    if not isinstance(value, dict):
        return 0, tokens.MESSAGE_TOKENS_MOST
    kind = value.get("type")
    if (isinstance(kind, str) and kind in _MEDIA_TYPES) or not _MEDIA_KEYS.isdisjoint(value):
        is_picture = kind in ("image", "image_url", "input_image") or "image_url" in value
        return tokens.IMAGE_TOKENS, tokens.IMAGE_TOKENS_MOST if is_picture else tokens.DOCUMENT_TOKENS_UNSEEN
    parts = [_sizes(each, key) for key, each in value.items()]
    written = sum(len(key.encode("utf-8", "replace")) for key in value)
    return sum(about for about, _ in parts), sum(most for _, most in parts) + written + tokens.MESSAGE_TOKENS_MOST


class ForeignWire:
    """The wire of one request that somebody else wrote: it goes out as it is, and its answer is read beside.

    The bytes of a stream are for whoever asked: `take` gives out those that came since, once they mean something.
    """

    def __init__(self, wire: Wire, outbound: Outbound) -> None:
        self._wire = wire
        self._outbound = outbound
        self._decoder: _Beside | None = None

    def auth_headers(self, provider: Provider, key: Secret | None) -> dict[str, str]:
        """Return nothing: the client has its own key."""
        return {}

    def encode(self, request: Request, provider: Provider, *, stream: bool) -> Outbound:
        """Return the request as it was written."""
        return self._outbound

    def decode(self, body: bytes, provider: Provider) -> Reply:
        """Read a whole 2xx answer; of one that is not an answer of the protocol the client is the judge.

        Raises: CallError when the body is an error after all.
        """
        try:
            reply = self._wire.decode(body, provider)
        except CallError:
            if not _is_told_otherwise(body):
                raise
            return Reply(choices=())
        return Reply(
            choices=reply.choices,
            usage=reply.usage,
            id=reply.id,
            served_model=reply.served_model,
            cost_nano=reply.cost_nano,
        )

    def decoder(self, provider: Provider) -> Decoder:
        """Return a decoder that keeps the bytes."""
        self._decoder = _Beside(self._wire.decoder(provider))
        return self._decoder

    @property
    def done(self) -> bool:
        """Whether the end of the stream was announced: whoever reads it may leave now."""
        return self._decoder is not None and self._decoder.done

    def take(self) -> bytes:
        """Return the bytes that came since, of the newest attempt."""
        decoder = self._decoder
        if decoder is None or not decoder.held:
            return b""
        held, decoder.held = decoder.held, []
        return held[0] if len(held) == 1 else b"".join(held)


def _is_told_otherwise(body: bytes) -> bool:
    """Whether a body is a JSON object and no error: an answer of a kind that the wire does not know."""
    try:
        fields = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return False
    return isinstance(fields, dict) and not fields.get("error") and fields.get("type") != "error"


class _Beside:
    """A decoder that keeps the bytes it is fed."""

    id: str | None = None
    served_model: str | None = None
    usage: Usage | None = None
    cost_nano: int | None = None
    failure: CallError | None = None
    done = False

    def __init__(self, decoder: Decoder) -> None:
        self._decoder = decoder
        self.held: list[bytes] = []

    @property
    def complete(self) -> bool:
        return self._decoder.complete

    def feed(self, data: bytes) -> list[Chunk]:
        self.held.append(data)
        try:
            return self._decoder.feed(data)
        finally:
            self._look()

    def finish(self) -> list[Chunk]:
        try:
            return self._decoder.finish()
        finally:
            self._look()

    def _look(self) -> None:
        inner = self._decoder
        self.id, self.served_model, self.usage = inner.id, inner.served_model, inner.usage
        self.cost_nano, self.failure, self.done = inner.cost_nano, inner.failure, inner.done
