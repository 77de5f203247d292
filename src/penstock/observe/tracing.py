"""OpenTelemetry spans of calls, by the GenAI conventions: one for each call, one below it for each attempt.

The spans are made of events that are heard where they happen, so a call's span is a child of the span that is current
there, in threads and tasks alike, and has the call's own times. Prompts and answers are in it only on request.
"""

from __future__ import annotations

from typing import Any, Final
from urllib.parse import urlsplit

from .. import __version__
from .._io.extras import extra
from ..events import AttemptEnded, CallEnded, CallStarted, ToolCalled
from ..types import Usage
from . import semconv as words
from .lanes import AnyClient

OPEN_MOST: Final = 100_000
"""Spans that are open at once; calls beyond them have none."""


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
        self._open: dict[str, tuple[Any, Any]] = {}
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
        if len(self._open) >= OPEN_MOST:
            return
        provider, _, model = event.model.partition(":")
        operation = words.OPERATIONS.get(event.operation, "chat")
        attributes = {
            words.OPERATION: operation,
            words.PROVIDER: words.PROVIDERS.get(provider, provider),
            words.REQUEST_MODEL: model,
            **self._server(event.base_url),
        }
        span = self._tracer.start_span(
            f"{operation} {model}", kind=self._trace.SpanKind.CLIENT, attributes=attributes, start_time=_ns(event.at_s)
        )
        if span.is_recording():
            span.set_attributes(_asked(event))
            if event.request is not None and self._content:
                from .content import asked

                span.set_attributes(asked(event.request))
        self._open[event.call_id] = (span, self._trace.set_span_in_context(span))

    def _attempted(self, event: AttemptEnded) -> None:
        known = self._open.get(event.call_id)
        if known is None or not known[0].is_recording():
            return
        trace = self._trace
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
        began = _ns(event.at_s - event.latency_s)
        span = self._tracer.start_span(
            f"attempt {event.model}", known[1], trace.SpanKind.CLIENT, attributes=attributes, start_time=began
        )
        self._close(span, event.outcome, None, event.at_s)

    def _ended(self, event: CallEnded) -> None:
        known = self._open.pop(event.call_id, None)
        if known is None:
            if event.operation != "batch":
                return
            known = self._row(event)
        span = known[0]
        if span.is_recording():
            span.set_attributes(_told(event))
            if event.first_token_s is not None:
                began_s = event.at_s - event.latency_s
                span.add_event(words.FIRST_TOKEN, timestamp=_ns(began_s + event.first_token_s))
            if event.response is not None and self._content:
                from .content import answered

                span.set_attributes(answered(event.response))
        self._close(span, event.outcome, event.message, event.at_s)

    def _row(self, event: CallEnded) -> tuple[Any, Any]:
        """Begin the span of a row of a provider's batch, of which nothing was heard before it came back."""
        self._started(
            CallStarted(
                call_id=event.call_id,
                operation=event.operation,
                model=event.asked,
                tags=event.tags,
                at_s=event.at_s - event.latency_s,
            )
        )
        return self._open.pop(event.call_id, (self._trace.INVALID_SPAN, None))

    def _tool(self, event: ToolCalled) -> None:
        known = self._open.get(event.call_id)
        attributes: dict[str, Any] = {
            words.OPERATION: "execute_tool",
            words.TOOL: event.tool,
            words.TOOL_TYPE: "function",
        }
        if self._content and event.arguments is not None:
            attributes[words.TOOL_ARGUMENTS] = event.arguments
        if self._content and event.result is not None:
            attributes[words.TOOL_RESULT] = event.result
        span = self._tracer.start_span(
            f"execute_tool {event.tool}",
            None if known is None else known[1],
            self._trace.SpanKind.INTERNAL,
            attributes=attributes,
            start_time=_ns(event.at_s - event.latency_s),
        )
        self._close(span, event.outcome, None, event.at_s)

    def _close(self, span: Any, outcome: str, message: str | None, at_s: float) -> None:
        # Whoever leaves a stream early has made no error.
        if outcome not in ("ok", "cancelled"):
            span.set_attribute(words.ERROR, outcome)
            said = message if self._content else None
            span.set_status(self._trace.Status(self._trace.StatusCode.ERROR, said))
        span.end(_ns(at_s))

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
