"""What every wire module offers, and the values it is given and gives back.

A wire is a module with the functions of `Wire`. It is pure: no clock, no network, no environment. Its caller owns the
connection; a wire only turns a `Request` into an `Outbound` and received bytes into chunks or a `Reply`. Whatever a
provider sends, a wire raises nothing but `CallError`; any other exception from a decoder is our bug.
"""

from __future__ import annotations

from typing import Any, Literal, Protocol

import msgspec

from ..errors import CallError
from ..types import Choice, Chunk, Request, Secret, Usage


class Provider(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """One row of the provider table: everything that differs between servers of one protocol.

    `key_env` and `base_url_env` name environment variables, first found wins; a `local` server needs no key, and how
    many calls it takes is found by trying.
    `account` names the row whose key, limits, prices and lanes this one shares: it is the same provider by another wire
    or path, and a model's lane is one, whichever row it was asked by.
    `models` are shell patterns of bare model names that belong here. `limits` says how headers are read, `counting` by
    which rule the server charges tokens against its limit: 'prompt+max' reserves prompt plus max_tokens at admission
    (OpenAI: the greater of the two), 'input,output' counts input at admission and output as produced (Anthropic).
    `idempotency` names the header in which the server takes a key that is the same over all attempts of a call; what it
    does with it is its own affair. `takes` names what this server takes beyond its protocol ('top_k', 'cache_control',
    'reasoning_content' …), `unsupported` the parameters of the protocol that it refuses. `batch` is the dialect of its
    batch interface, where Penstock knows one, `count` that of its endpoint that counts tokens.
    `system_role` is the role of system messages over Chat Completions: older OpenAI servers want 'developer', templates
    of some open models know 'user' and 'assistant' only.
    `families` says whether what is known of model families holds here; false lets everything through unchecked.
    `embeddings` is the protocol of its embeddings, 'none' where it has none. Of those it has, `embeddings_inputs` may
    go into one request, with `embeddings_tokens` in all and `embeddings_input_tokens` in each (0: no limit is known);
    `embeddings_base64` that it sends vectors as base64 when asked, `embeddings_dimensions` the name of that parameter
    ('' where it takes none).
    `rerank` is the protocol in which it ranks documents, '' where it does not.
    """

    name: str
    wire: Literal["openai_chat", "openai_responses", "anthropic", "cohere", "gemini"]
    account: str = ""
    base_url: str = ""
    base_url_env: tuple[str, ...] = ()
    key_env: tuple[str, ...] = ()
    auth: Literal["bearer", "x-api-key", "api-key", "x-goog-api-key", "none"] = "bearer"
    local: bool = False
    path: str = ""
    query: str = ""
    headers: dict[str, str] = {}
    models: tuple[str, ...] = ()
    aliases: tuple[str, ...] = ()
    limits: Literal[
        "openai", "anthropic", "azure", "groq", "mistral", "openrouter", "xai", "together", "cohere", "none"
    ] = "openai"
    counting: Literal["prompt+max", "input,output"] = "prompt+max"
    max_tokens_field: Literal["max_completion_tokens", "max_tokens"] = "max_tokens"
    system_role: Literal["system", "developer", "user"] = "system"
    stream_usage: bool = True
    reasoning_in_output: bool = True
    cached_in_prompt: bool = True
    json_schema: bool = True
    unsupported: tuple[str, ...] = ()
    takes: tuple[str, ...] = ()
    idempotency: str = ""
    batch: Literal["", "openai", "groq", "together", "mistral", "anthropic"] = ""
    count: Literal["", "openai", "anthropic", "gemini"] = ""
    embeddings: Literal["openai", "cohere", "gemini", "none"] = "openai"
    embeddings_path: str = ""
    embeddings_base64: bool = False
    embeddings_dimensions: str = "dimensions"
    embeddings_inputs: int = 256
    embeddings_tokens: int = 0
    embeddings_input_tokens: int = 0
    rerank: Literal["", "cohere"] = ""
    prices: str = ""
    families: bool = True
    docs: str = ""

    @property
    def owner(self) -> str:
        """The provider whose account this row uses: its own, unless it says otherwise."""
        return self.account or self.name

    def credential(self, key: Secret | None) -> dict[str, str]:
        """Return the header that carries the key; none without a key, or where the server takes none."""
        if key is None or self.auth == "none":
            return {}
        if self.auth == "bearer":
            return {"authorization": f"Bearer {key.reveal()}"}
        return {self.auth: key.reveal()}


class CountRequest(Request, frozen=True, kw_only=True):
    """A prompt that is to be counted and not answered."""


class FileBody(msgspec.Struct, frozen=True, kw_only=True):
    """A body that is read from a file as it is sent: `head`, then the file at `path`, then `tail`; `size` of it all."""

    path: str
    size: int
    head: bytes = b""
    tail: bytes = b""


class Outbound(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What is to be sent: `path` (with query) is appended to the base URL, `headers` come on top of the lane's own.

    A `file` stands in the place of `body`. `notes` say what of the request was adapted to the model.
    """

    path: str
    body: bytes
    method: str = "POST"
    headers: dict[str, str] = {}
    file: FileBody | None = None
    notes: tuple[str, ...] = ()


class Reply(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A whole answer, decoded. `usage` and `cost_nano` are None where the provider reported none."""

    choices: tuple[Choice, ...]
    usage: Usage | None = None
    id: str | None = None
    served_model: str | None = None
    cost_nano: int | None = None

    def check_count(self, request: Request) -> None:
        """Look whether there are as many parts as were asked for, where the protocol promises that.

        Raises: ServerFault.
        """


class Decoder(Protocol):
    """Turns the bytes of one stream into chunks; any split of the same bytes gives the same chunks.

    Chunks that came before an error are given out first: `feed` then returns them and keeps the error in `failure`,
    which the next call raises; a caller that looks at it need not wait for more bytes. `done` says that the end was
    announced ([DONE], message_stop), so nothing more is to be expected; `complete` that all of the answer is there, of
    which at most usage and the end are missing.
    """

    id: str | None
    served_model: str | None
    usage: Usage | None
    cost_nano: int | None
    failure: CallError | None
    done: bool

    @property
    def complete(self) -> bool: ...

    def feed(self, data: bytes) -> list[Chunk]:
        """Take the next bytes and return the chunks that they complete.

        Raises: CallError for an error event inside the stream or bytes that do not follow the protocol.
        """
        ...

    def finish(self) -> list[Chunk]:
        """Say that the bytes ended, and return what was still pending.

        An event that was cut off on the way is dropped, as the standard of event streams says.

        Raises: OutcomeUnknown when the stream ended before its end was announced, and `failure` where there is one.
        """
        ...


class Wire(Protocol):
    """One provider protocol. Modules implement it; `registry.wire(name)` finds them."""

    def auth_headers(self, provider: Provider, key: Secret | None) -> dict[str, str]:
        """Return the headers that every request of a lane carries, the credential among them."""
        ...

    def encode(self, request: Request, provider: Provider, *, stream: bool) -> Outbound:
        """Write the request in the provider's dialect.

        Raises: UnsupportedParameter for anything that the protocol or the model is known not to take.
        """
        ...

    def decode(self, body: bytes, provider: Provider) -> Reply:
        """Read a whole 2xx answer.

        Raises: CallError when the body is an error after all, or not of the protocol.
        """
        ...

    def decoder(self, provider: Provider) -> Decoder:
        """Return a decoder for one stream."""
        ...


JSON = dict[str, Any]
