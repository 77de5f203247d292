"""Requests of other clients on their way through the gate: which lane they belong to, and what they are told.

A request is known by its address: the host says which row of the provider table, the end of the path which protocol.
It goes out byte for byte as it came, with the credential that it brings, and by that credential its lane is told apart.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from hashlib import blake2s
from typing import Any, Final, Generic, Literal, TypeVar
from urllib.parse import parse_qsl, urlsplit

import msgspec

from .._flow.accounting import Order
from .._flow.effects import Lane
from .._flow.prompt import check_tags
from .._policy.cache import use
from .._policy.fairqueue import Priority
from .._policy.limiter import Limiter
from .._wire import foreign, registry
from .._wire.foreign import CHANGES_THE_ANSWER, Asked, ForeignWire, Kind
from .._wire.protocol import Outbound, Provider
from ..errors import (
    AuthenticationFailed,
    BreakerOpen,
    BudgetExceeded,
    BudgetUnavailable,
    CallError,
    ClientClosed,
    ConfigError,
    ConnectionFailed,
    InputError,
    InvalidRequest,
    LimitExceeded,
    NotFound,
    Overloaded,
    PenstockError,
    PermissionDenied,
    QuotaExhausted,
    RateLimited,
    Refused,
    ServerFault,
    UnknownProvider,
)
from ..types import Response
from .base_client import BaseClient
from .http import Target
from .run import Run

ClientT = TypeVar("ClientT", bound=BaseClient[Any, Any])
Others = Literal["pass", "refuse"]

_OF_THE_CONNECTION: Final = frozenset(
    {"host", "content-length", "accept-encoding", "connection", "transfer-encoding", "proxy-authorization"}
)
_OF_THE_CODING: Final = frozenset(
    {"content-length", "content-encoding", "transfer-encoding", "connection", "x-should-retry"}
)
_CREDENTIALS: Final = ("authorization", "x-api-key", "api-key", "x-goog-api-key")
SENDERS_MOST: Final = 64
"""Sets of headers that are remembered: a client sends the same ones again and again."""

MARK: Final = "x-penstock-error"
"""The header with the code of the error, for an SDK whose errors keep nothing of an answer but its headers."""

_STATUS: Final[tuple[tuple[type[Exception], int], ...]] = (
    (BudgetExceeded, 402),
    (QuotaExhausted, 402),
    (LimitExceeded, 413),
    (AuthenticationFailed, 401),
    (PermissionDenied, 403),
    (NotFound, 404),
    (RateLimited, 429),
    (InvalidRequest, 400),
    (ConfigError, 400),
    (InputError, 400),
    (ConnectionFailed, 502),
    (TimeoutError, 504),
    (BreakerOpen, 503),
    (BudgetUnavailable, 503),
    (ClientClosed, 503),
    (Overloaded, 503),
    (ServerFault, 502),
    (CallError, 502),
    (PenstockError, 500),
)


class Told(msgspec.Struct, frozen=True):
    """What the other client is told: an answer, whole or (`body` None) with a body that comes as it is read."""

    status: int
    headers: list[tuple[str, str]]
    body: bytes | None
    error: PenstockError | None = None


class Passing(msgspec.Struct, frozen=True):
    """A request that is a call, ready to be driven."""

    order: Order
    wire: ForeignWire
    targets: dict[tuple[str, str], Target]


class Sender(msgspec.Struct, frozen=True):
    """What the headers of a request say: whose it is, where they go on, and those that change the answer."""

    credential: str
    target: Target
    telling: dict[str, str]


class Passages(Generic[ClientT]):
    """The way of another client's requests through a gate.

    `provider` is the row of requests to an address that no row has. `others` says what becomes of requests that are no
    known call and may cost something. `tags`, `priority` and `deadline_s` hold for all calls.
    """

    def __init__(
        self,
        client: ClientT,
        *,
        provider: str | None = None,
        include_usage: bool = False,
        others: Others | None = None,
        tags: Mapping[str, str] | None = None,
        priority: Priority = "normal",
        deadline_s: float | None = None,
    ) -> None:
        self.client = client
        self._include_usage = include_usage
        self._others = others or ("refuse" if client._capped else "pass")
        if self._others not in ("pass", "refuse"):
            raise ConfigError(f"others is {others!r}; expected 'pass' or 'refuse'")
        check_tags(tags or {})
        self._options: dict[str, Any] = {"tags": tags, "priority": priority}
        if deadline_s is not None:
            self._options["deadline_s"] = deadline_s
        self._row: Provider | None = None
        if provider is not None:
            rows = client.settings.providers
            if provider not in rows:
                raise UnknownProvider(f"no provider is called {provider!r}; known: {', '.join(sorted(rows))}")
            self._row = rows[provider]
        self._lanes: dict[tuple[str, str, str, str], Lane] = {}
        self._rows: dict[tuple[str, str, str], tuple[Provider, str]] = {}
        self._senders: dict[tuple[Any, ...], Sender] = {}

    def passing(self, method: str, url: str, headers: Sequence[tuple[bytes, bytes]], body: bytes) -> Passing | None:
        """Make a call of a request; None where it is none, and goes to the provider beside the gate.

        Raises: PenstockError where it is not to be sent.
        """
        parts = urlsplit(url)
        known = foreign.kind_of(parts.path) if method == "POST" else None
        if known is None:
            if self._others == "refuse" and not foreign.is_free(method, parts.path):
                raise InputError(
                    f"{method} {parts.path} is no call that Penstock knows, so its cost cannot be held by the budget; "
                    "http_client(…, others='pass') lets such requests through uncounted"
                )
            return None
        asked = foreign.read(parts.path, parts.query, body, *known)
        origin = f"{parts.scheme}://{parts.netloc}"
        sender = self._sender(origin, headers, parts.query)
        lane = self._lane(asked, origin, sender.credential)
        outbound = Outbound(
            path=parts.path + (f"?{parts.query}" if parts.query else ""),
            body=self._with_usage(asked, body),
            headers=sender.telling,
        )
        wire = ForeignWire(lane.wire, outbound)
        provider = lane.provider
        if provider.idempotency.lower() in sender.target.headers:  # it brings a key of its own
            provider = msgspec.structs.replace(provider, idempotency="")
        lane = msgspec.structs.replace(lane, wire=wire, provider=provider)
        client: Any = self.client
        request = asked.request(bounded=client._capped)
        cache = None
        if asked.kind == "chat" and not asked.stream:
            cache = use(request, None, configured=client._gate.answers is not None)
        order = client._ordered(request, (lane,), self._options, stream=asked.stream, cache=cache)
        return Passing(order, wire, {lane.door: sender.target})

    def _with_usage(self, asked: Asked, body: bytes) -> bytes:
        """Return the body, with what makes a stream of Chat Completions tell its usage where that was allowed."""
        if (
            not self._include_usage
            or asked.wire != "openai_chat"
            or not asked.stream
            or "stream_options" in asked.fields
        ):
            return body
        return msgspec.json.encode({**asked.fields, "stream_options": {"include_usage": True}})

    @staticmethod
    def _wire(kind: Kind, provider: Provider) -> Any:
        if kind == "embed":
            return registry.embeddings_wire(provider.embeddings)
        return registry.rerank_wire(provider.rerank) if kind == "rerank" else registry.wire(provider.wire)

    def _sender(self, origin: str, headers: Sequence[tuple[bytes, bytes]], query: str) -> Sender:
        """Read the headers of a request, which are the same in all of a client but for the length of the body."""
        key = (origin, query, tuple([each for each in headers if each[0].lower() != b"content-length"]))
        found = self._senders.get(key)
        if found is None:
            if len(self._senders) >= SENDERS_MOST:
                self._senders.clear()
            told = [(name.decode("ascii").lower(), value.decode("latin-1")) for name, value in key[2]]
            own = {name: value for name, value in told if name not in _OF_THE_CONNECTION | CHANGES_THE_ANSWER}
            telling = {name: value for name, value in told if name in CHANGES_THE_ANSWER}
            found = self._senders[key] = Sender(_credential(told, query), Target(origin, own), telling)
        return found

    def _lane(self, asked: Asked, origin: str, credential: str) -> Lane:
        key = (asked.kind + asked.wire, origin, asked.model, credential)
        lane = self._lanes.get(key)
        if lane is None:
            provider, base_url = self._provider(asked.kind, asked.wire, origin)
            client: Any = self.client
            lane = Lane(
                id=f"{provider.owner}:{asked.model}@{base_url}#{credential}",
                provider=provider,
                model=asked.model,
                wire=self._wire(asked.kind, provider),
                base_url=base_url,
                credential=credential,
            )
            Limiter(client._limits_of(lane), counting=provider.counting)  # refuses limits that contradict each other
            self._lanes[key] = client._lanes[lane.id] = lane
        return lane

    def _provider(self, kind: Kind, wire: str, origin: str) -> tuple[Provider, str]:
        found = self._rows.get((kind, wire, origin))
        if found is None:
            found = self._rows[kind, wire, origin] = self._find(kind, wire, origin)
        return found

    def _find(self, kind: Kind, wire: str, origin: str) -> tuple[Provider, str]:
        settings = self.client.settings
        if self._row is not None:
            same = [row for row in settings.providers.values() if row.owner == self._row.owner]
            for row in (self._row, *same):
                if _speaks(row, kind, wire):
                    return row, origin
            raise ConfigError(
                f"provider {self._row.name!r} does not speak {wire} ({kind}), which a request to {origin} asks for"
            )
        for row in settings.providers.values():
            if not _speaks(row, kind, wire):
                continue
            try:
                base_url = settings.base_url(row).value
            except ConfigError:
                continue  # one that is not set up
            there = urlsplit(base_url)
            if f"{there.scheme}://{there.netloc}" == origin:
                return row, base_url
        raise UnknownProvider(
            f"no provider with the protocol {wire} ({kind}) has the address {origin}; name one with "
            "http_client(…, provider='NAME'), give Client(base_urls={'NAME': …}), or add a row [providers.NAME]"
        )


def _speaks(row: Provider, kind: Kind, wire: str) -> bool:
    if kind == "embed":
        return row.embeddings == wire
    return row.rerank == wire if kind == "rerank" else row.wire == wire


def _credential(headers: Sequence[tuple[str, str]], query: str) -> str:
    """Return what tells keys apart and shows none of them; the same as that of Penstock's own calls with that key."""
    found = next((value for name, value in headers if name in _CREDENTIALS), None)
    if found is None:
        found = dict(parse_qsl(query)).get("key")
    if found is None:
        return "none"
    scheme, _, key = found.partition(" ")
    return blake2s((key if scheme.lower() == "bearer" else found).encode(), digest_size=4).hexdigest()


def answered(run: Run[Any, Any], response: Response | None) -> Told:
    """Return what an answer is told as; without a response it is a stream under way, whose body comes as it is read."""
    body = None if response is None else response.body
    last: Any = run._open  # of a stream the answer that is being read, once it has ended the last one
    if last is None and run.trail.last is not None:
        last = run.trail.last.head
    if last is None:
        return Told(200, [("content-type", "application/json"), ("x-penstock-cached", "true")], body)
    return Told(last.status, _headers(last.headers), body)


def failed(error: PenstockError, run: Run[Any, Any] | None) -> Told:
    """Return what an error is told as: the provider's own last answer, or one in its place that says what happened."""
    last = None if run is None else run.trail.last
    head = None if last is None or last.error is not error else last.head
    mark = (MARK, error.code)
    if head is not None and head.status >= 400 and not isinstance(error, Refused):
        return Told(head.status, [*_headers(head.headers), mark], head.body, error)
    status = next(status for cls, status in _STATUS if isinstance(error, cls))
    headers = [("content-type", "application/json"), ("x-should-retry", "false"), mark]
    retry_after_s = getattr(error, "retry_after_s", None)
    if retry_after_s is not None:
        headers.append(("retry-after", f"{retry_after_s:.0f}"))
    message = f"Penstock: {error}"
    said = {"message": message, "type": error.code, "code": status, "status": error.code.upper(), "param": None}
    return Told(status, headers, msgspec.json.encode({"type": "error", "message": message, "error": said}), error)


def _headers(headers: Mapping[str, str]) -> list[tuple[str, str]]:
    kept = [(name, value) for name, value in headers.items() if name.lower() not in _OF_THE_CODING]
    return [*kept, ("x-should-retry", "false")]
