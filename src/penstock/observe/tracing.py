"""OpenTelemetry spans of calls, by the GenAI conventions: one for each call, one below it for each attempt.

A call's spans are made in one go when it has ended, with its own times, below the span that was current where it began,
in threads and tasks alike: so a sampler sees all attributes, and none is set on an open span, which costs much more.
Prompts and answers are in them only on request.
"""

from __future__ import annotations

from typing import Any, Final
from urllib.parse import urlsplit

from .. import __version__
from .._io.extras import extra
from ..events import AttemptEnded, CallEnded, CallStarted, ToolCalled
from ..types import Request, Response, Usage
from . import semconv as words
from .lanes import AnyClient

OPEN_MOST: Final = 100_000
"""Calls under way at once; those beyond them have no spans."""

CALLERS_MOST: Final = 1_000
"""Calls whose tools may still run; a tool of an older one has its span where it runs."""

FINE: Final = ("ok", "cancelled")
"""Outcomes that are no error: whoever leaves a stream early has made none."""


class Tracing:
    """Makes spans of the calls of one or more clients.

        Tracing(client)

    They go to the tracer provider of the program, or to `tracer_provider`. With `content`, spans have prompts, answers
    and the sentences of errors, which may quote them.

    Raises: MissingExtra without opentelemetry-api.
    """

    def __init__(self, *clients: AnyClient, tracer_provider: Any = None, content: bool = False) -> None:
        self._trace = extra("opentelemetry.trace", "otel")
        self._tracer = self._trace.get_tracer(
            "penstock", __version__, tracer_provider=tracer_provider, schema_url=words.SCHEMA_URL
        )
        self._content = content
        self._here = extra("opentelemetry.context", "otel").get_current
        self._open: dict[str, tuple[CallStarted, Any, list[AttemptEnded]]] = {}
        self._callers: dict[str, Any] = {}
        self._servers: dict[str, dict[str, Any]] = {}
        for client in clients:
            self.watch(client)

    def watch(self, client: AnyClient) -> None:
        """Make spans of another client's calls, too."""
        client.on(CallStarted, self._started, name="tracing", inline=True, content=self._content)
        client.on(AttemptEnded, self._attempted, name="tracing", inline=True)
        client.on(CallEnded, self._ended, name="tracing", inline=True, content=self._content)
        client.on(ToolCalled, self._tool, name="tracing", inline=True, content=self._content)

    def _started(self, event: CallStarted) -> None:
        if len(self._open) < OPEN_MOST:
            self._open[event.call_id] = (event, self._here(), [])

    def _attempted(self, event: AttemptEnded) -> None:
        known = self._open.get(event.call_id)
        if known is not None:
            known[2].append(event)

    def _ended(self, event: CallEnded) -> None:
        known = self._open.pop(event.call_id, None)
        if known is None:
            if event.operation != "batch":
                return
            known = (_row_started(event), None, [])
        started, context, attempts = known
        operation = words.OPERATIONS.get(event.operation, "chat")
        provider, _, model = started.model.partition(":")
        attributes = {
            words.OPERATION: operation,
            words.PROVIDER: words.PROVIDERS.get(provider, provider),
            words.REQUEST_MODEL: model,
            **self._server(started.base_url),
            **_asked(started),
            **_told(event),
        }
        if self._content:
            attributes.update(_content(started.request, event.response))
        span = self._begin(f"{operation} {model}", context, attributes, event.outcome, started.at_s)
        if span.is_recording():
            if event.first_token_s is not None:
                began_s = event.at_s - event.latency_s
                span.add_event(words.FIRST_TOKEN, timestamp=_ns(began_s + event.first_token_s))
            below = self._trace.set_span_in_context(span, context)
            for attempt in attempts:
                self._attempt(attempt, below)
            if event.stop_reason == "tool_calls":
                self._remember(event.call_id, below)
        self._end(span, event.outcome, event.message, event.at_s)

    def _attempt(self, event: AttemptEnded, context: Any) -> None:
        attributes: dict[str, Any] = {
            words.NUMBER: event.number,
            words.PROVIDER: words.PROVIDERS.get(event.provider, event.provider),
            words.REQUEST_MODEL: event.model,
            words.WAIT: event.wait_s,
        }
        if event.status is not None:
            attributes[words.STATUS] = event.status
        if event.request_id is not None:
            attributes[words.REQUEST_ID] = event.request_id
        if event.cost_nano is not None:
            attributes[words.COST] = event.cost_nano / 1e9
        if not event.sent:
            attributes[words.SENT] = False
        began_s = event.at_s - event.latency_s
        span = self._begin(f"attempt {event.model}", context, attributes, event.outcome, began_s)
        self._end(span, event.outcome, None, event.at_s)

    def _begin(
        self, name: str, context: Any, attributes: dict[str, Any], outcome: str, at_s: float, kind: Any = None
    ) -> Any:
        if outcome not in FINE:
            attributes[words.ERROR] = outcome
        kind = kind or self._trace.SpanKind.CLIENT
        return self._tracer.start_span(name, context, kind, attributes, start_time=_ns(at_s))

    def _end(self, span: Any, outcome: str, message: str | None, at_s: float) -> None:
        if outcome not in FINE:
            said = message if self._content else None
            span.set_status(self._trace.Status(self._trace.StatusCode.ERROR, said))
        span.end(_ns(at_s))

    def _remember(self, call_id: str, below: Any) -> None:
        """Remember a call whose tools may run next."""
        if len(self._callers) >= CALLERS_MOST:
            self._callers.pop(next(iter(self._callers)), None)
        self._callers[call_id] = below

    def _tool(self, event: ToolCalled) -> None:
        attributes: dict[str, Any] = {
            words.OPERATION: "execute_tool",
            words.TOOL: event.tool,
            words.TOOL_TYPE: "function",
        }
        if self._content and event.arguments is not None:
            attributes[words.TOOL_ARGUMENTS] = event.arguments
        if self._content and event.result is not None:
            attributes[words.TOOL_RESULT] = event.result
        began_s = event.at_s - event.latency_s
        kind = self._trace.SpanKind.INTERNAL
        below = self._callers.get(event.call_id)
        span = self._begin(f"execute_tool {event.tool}", below, attributes, event.outcome, began_s, kind)
        self._end(span, event.outcome, None, event.at_s)

    def _server(self, base_url: str) -> dict[str, Any]:
        found = self._servers.get(base_url)
        if found is None:
            parts = urlsplit(base_url)
            port = parts.port or {"https": 443, "http": 80}.get(parts.scheme)
            found = {words.SERVER: parts.hostname, words.PORT: port} if parts.hostname else {}
            self._servers[base_url] = found
        return found


def _ns(seconds: float) -> int:
    return int(seconds * 1e9)


def _row_started(event: CallEnded) -> CallStarted:
    """Return the beginning of a row of a provider's batch, of which nothing was heard before it came back."""
    return CallStarted(
        call_id=event.call_id,
        operation=event.operation,
        model=event.asked,
        tags=event.tags,
        at_s=event.at_s - event.latency_s,
    )


def _content(request: Request | None, response: Response | None) -> dict[str, str]:
    from .content import answered, asked  # loaded with the first prompt that is wanted

    found = {} if request is None else asked(request)
    return found if response is None else found | answered(response)


def _asked(event: CallStarted) -> dict[str, Any]:
    found: dict[str, Any] = {words.CALL_ID: event.call_id}
    if event.stream:
        found[words.STREAM] = True
    for name, value in event.parameters.items():
        if name in words.PARAMETERS and not (name == "n" and value == 1):
            found[words.PARAMETERS[name]] = value
    found.update({words.TAG + name: value for name, value in event.tags.items()})
    return found


def _told(event: CallEnded) -> dict[str, Any]:
    found: dict[str, Any] = {words.ATTEMPTS: event.attempts}
    if event.usage is not None:
        found.update(_used(event.usage))
    if event.cost_nano is not None:
        found[words.COST] = event.cost_nano / 1e9
    if event.cached:
        found[words.CACHED] = True
    if event.wait_s:
        found[words.WAIT] = event.wait_s
    if event.first_token_s is not None:
        found[words.FIRST_CHUNK] = event.first_token_s
    if event.response_id is not None:
        found[words.RESPONSE_ID] = event.response_id
    if event.ok:
        found[words.RESPONSE_MODEL] = event.served_model or event.model
        if event.provider != event.asked.partition(":")[0]:  # a fallback answered
            found[words.PROVIDER] = words.PROVIDERS.get(event.provider, event.provider)
    if event.stop_reason is not None:
        found[words.FINISH] = [event.stop_reason]
    elif event.attempts and event.operation not in ("embed", "rerank"):
        found[words.FINISH] = ["error"]
    return found


def _used(usage: Usage) -> dict[str, Any]:
    """Return the totals of a usage, which include their parts, and the parts that there are."""
    parts = {
        words.CACHE_READ: usage.cache_read,
        words.CACHE_WRITE: usage.cache_write,
        words.REASONING: usage.reasoning,
        words.AUDIO_IN: usage.audio_in,
        words.AUDIO_OUT: usage.audio_out,
    }
    found: dict[str, Any] = {name: tokens for name, tokens in parts.items() if tokens}
    found[words.TOKENS_IN], found[words.TOKENS_OUT] = usage.prompt, usage.completion
    if usage.estimated:
        found[words.ESTIMATED] = True
    return found
