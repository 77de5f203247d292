"""Run recorded provider traffic through Penstock and through the official SDKs, and compare what they report.

Every OpenAI chat and Anthropic messages interaction of ../shared/corpora/recorded is read in these ways:

    wire       its bytes go straight to decode() and to a decoder: whole, in pieces of 7 bytes and of 1, and with CRLF
    drivers    a loopback server replays it, and Client and AsyncClient read it over HTTP: whole, 7, 1, and gzipped
    truth      the official `openai` or `anthropic` SDK reads it from the same server

Text, tool calls, stop reason and usage must agree on every 2xx; every error body must get its class. Prints the counts
and writes them to build/recorded.json; exits with 1 on any disagreement. Nothing recorded is copied into the project.
"""

from __future__ import annotations

import argparse
import asyncio
import collections
import importlib.util
import json
import sys
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "src"))

import anthropic  # noqa: E402
import jiter  # noqa: E402
import msgspec  # noqa: E402
import openai  # noqa: E402

from penstock import errors  # noqa: E402
from penstock._policy.retry import RetryPolicy  # noqa: E402
from penstock._wire import classify, registry  # noqa: E402
from penstock._wire.assembly import Assembly  # noqa: E402
from penstock._wire.protocol import Provider, Wire  # noqa: E402
from penstock.client import AsyncClient, Client  # noqa: E402
from penstock.types import Choice, Response, Text, ToolCall, Usage  # noqa: E402

CORPUS = ROOT.parent / "shared" / "corpora" / "recorded"
SIZES = (0, 7, 1)
"""Bytes per piece; 0 is the whole body at once."""
GZIP = -1


STOPS = {
    "stop": "stop",
    "eos": "stop",
    "length": "length",
    "tool_calls": "tool_calls",
    "function_call": "tool_calls",
    "content_filter": "content_filter",
    "end_turn": "stop",
    "stop_sequence": "stop",
    "max_tokens": "length",
    "tool_use": "tool_calls",
    "pause_turn": "paused",
    "refusal": "refusal",
    None: "unknown",
}


@dataclass
class Seen:
    """What one reader says of one answer; all that must agree."""

    texts: list[str] = field(default_factory=list)
    calls: list[list[tuple[str, str, Any]]] = field(default_factory=list)
    stops: list[str | None] = field(default_factory=list)
    usage: dict[str, int] | None = None
    error: str | None = None


@dataclass
class Counts:
    """What the run found, by provider and kind."""

    agreed: collections.Counter[str] = field(default_factory=collections.Counter)
    readings: collections.Counter[str] = field(default_factory=collections.Counter)
    errors: collections.Counter[str] = field(default_factory=collections.Counter)
    excepted: collections.Counter[str] = field(default_factory=collections.Counter)
    wrong: list[str] = field(default_factory=list)
    interactions: int = 0


Reading = tuple[str, Callable[[], Seen]]


def load_replay(corpus: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location("replay", corpus / "replay.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["replay"] = module
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        spec.loader.exec_module(module)
    return module


def interactions(replay: ModuleType, corpus: Path, only: str) -> Iterator[Any]:
    for folder in sorted(path for path in corpus.iterdir() if (path / "SOURCE.json").exists() and only in path.name):
        for item in replay.load_dir(folder):
            if item.method == "POST" and item.api in {"chat", "messages"}:
                yield item


def row_of(item: Any, rows: dict[str, Provider]) -> Provider:
    known = rows.get(item.provider)
    if known is not None:
        return known
    return Provider(name=item.provider, wire="anthropic" if item.api == "messages" else "openai_chat")


# -- the truth: official SDKs


def arguments(text: str | None) -> Any:
    """Compare arguments by value; where they were cut off, as the Anthropic SDK closes them."""
    try:
        return json.loads(text or "{}")
    except ValueError:
        return jiter.from_json((text or "").encode(), partial_mode=True)


def sdk_chat(client: openai.OpenAI, item: Any) -> Seen:
    ask: Any = client.chat.completions.create
    headers = {"x-replay-id": item.id}
    messages = [{"role": "user", "content": "x"}]
    if not item.is_stream:
        reply = ask(model="x", messages=messages, extra_headers=headers)
        if reply.choices is None:
            return Seen(error=str(reply.model_extra))
        seen = Seen(usage=chat_usage(reply.usage))
        for choice in sorted(reply.choices, key=lambda choice: choice.index or 0):
            message = choice.message  # None where Azure filtered the answer
            calls = [sdk_call(call) for call in (message and message.tool_calls) or ()]
            if message and message.function_call:
                calls.append(("", message.function_call.name, arguments(message.function_call.arguments)))
            seen.texts.append(flat(message and message.content))
            seen.calls.append(calls)
            seen.stops.append(expected_stop(choice.finish_reason, calls, message and message.refusal))
        return seen
    return sdk_chat_stream(ask(model="x", messages=messages, extra_headers=headers, stream=True))


def sdk_chat_stream(stream: Any) -> Seen:
    texts: dict[int, str] = collections.defaultdict(str)
    calls: dict[int, dict[Any, list[Any]]] = collections.defaultdict(dict)
    stops: dict[int, Any] = {}
    refusals: dict[int, Any] = {}
    usage = None
    for chunk in stream:
        usage = chat_usage(chunk.usage) or groq_usage(chunk) or usage
        for choice in chunk.choices or ():
            texts[choice.index] += flat(choice.delta.content)
            refusals[choice.index] = refusals.get(choice.index) or choice.delta.refusal
            for position, call in enumerate(choice.delta.tool_calls or ()):
                key = position if call.index is None else call.index
                one = calls[choice.index].setdefault(key, [call.id or "", "", ""])
                one[1] = one[1] or (call.function.name or "")
                one[2] += call.function.arguments or ""
            if choice.finish_reason is not None:
                stops.setdefault(choice.index, choice.finish_reason)
    seen = Seen(usage=usage)
    for index in sorted(texts.keys() | stops.keys()):
        made = [(one[0], one[1], arguments(one[2])) for one in calls[index].values()]
        seen.texts.append(texts[index])
        seen.calls.append(made)
        seen.stops.append(expected_stop(stops.get(index), made, refusals.get(index)))
    return seen


def groq_usage(chunk: Any) -> dict[str, int] | None:
    """Groq's older streams report usage in a field that the SDK passes on without a type."""
    extra = (chunk.model_extra or {}).get("x_groq") or {}
    return chat_usage(openai.types.CompletionUsage.model_construct(**extra["usage"])) if "usage" in extra else None


def flat(content: Any) -> str:
    if isinstance(content, list):
        return "".join(part.get("text", "") for part in content if part.get("type") == "text")
    return content or ""


def sdk_call(call: Any) -> tuple[str, str, Any]:
    if call.type == "custom":
        return call.id, call.custom.name, call.custom.input
    return call.id or "", call.function.name, arguments(call.function.arguments)


def expected_stop(raw: str | None, calls: list[Any], refusal: str | None) -> str:
    stop = STOPS.get(raw, "other")
    if calls and stop not in {"length", "content_filter"}:
        return "tool_calls"
    return "refusal" if refusal and stop == "stop" else stop


def chat_usage(usage: Any) -> dict[str, int] | None:
    if usage is None or usage.prompt_tokens is None:
        return None
    into, out = usage.prompt_tokens_details, usage.completion_tokens_details
    return {
        "prompt": usage.prompt_tokens,
        "completion": usage.completion_tokens or 0,
        "cache_read": (into and into.cached_tokens) or 0,
        "reasoning": (out and out.reasoning_tokens) or 0,
        "total": usage.total_tokens or 0,
    }


def sdk_messages(client: anthropic.Anthropic, item: Any) -> Seen:
    ask: Any = client.messages.stream if item.is_stream else client.messages.create
    options = {
        "model": "x",
        "max_tokens": 1,
        "messages": [{"role": "user", "content": "x"}],
        "extra_headers": {"x-replay-id": item.id},
    }
    if item.is_stream:
        with ask(**options) as stream:
            message = stream.get_final_message()
    else:
        message = ask(**options)
    calls = [(part.id, part.name, part.input) for part in message.content if part.type == "tool_use"]
    usage = message.usage
    thinking = getattr(usage, "output_tokens_details", None)
    return Seen(
        texts=["".join(part.text for part in message.content if part.type == "text")],
        calls=[calls],
        stops=[expected_stop(message.stop_reason, calls, None)],
        usage={
            "input": usage.input_tokens,
            "cache_read": usage.cache_read_input_tokens or 0,
            "cache_write": usage.cache_creation_input_tokens or 0,
            "completion": usage.output_tokens,
            "reasoning": (thinking and thinking.thinking_tokens) or 0,
        },
    )


# -- our readings


def ours(choices: tuple[Choice, ...], usage: Usage | None) -> Seen:
    seen = Seen()
    for choice in choices:
        seen.texts.append("".join(part.text for part in choice.content if isinstance(part, Text)))
        seen.calls.append(
            [(part.id, part.name, arguments(part.arguments)) for part in choice.content if isinstance(part, ToolCall)]
        )
        seen.stops.append(choice.stop_reason)
    if usage is not None:
        seen.usage = {
            "prompt": usage.prompt,
            "input": usage.input,
            "completion": usage.completion,
            "cache_read": usage.cache_read,
            "cache_write": usage.cache_write,
            "reasoning": usage.reasoning,
            "total": usage.total,
        }
    return seen


def by_decode(wire: Wire, provider: Provider, body: bytes) -> Seen:
    reply = wire.decode(body, provider)
    return ours(reply.choices, reply.usage)


def by_decoder(wire: Wire, provider: Provider, body: bytes, size: int) -> Seen:
    decoder = wire.decoder(provider)
    assembly = Assembly()
    for start in range(0, len(body), size or len(body) or 1):
        assembly.add(decoder.feed(body[start : start + (size or len(body))]))
    assembly.add(decoder.finish())
    return ours(assembly.choices(), decoder.usage)


def wire_readings(wire: Wire, provider: Provider, item: Any) -> Iterator[Reading]:
    body = item.resp_body
    yield "wire decode", lambda: by_decode(wire, provider, body)
    for size in SIZES:
        yield f"wire decoder {size or 'whole'}", partial(by_decoder, wire, provider, body, size)
    if item.is_stream:
        crlf = body.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")
        yield "wire decoder crlf 7", lambda: by_decoder(wire, provider, crlf, 7)


# -- comparison


def differences(truth: Seen, got: Seen) -> list[str]:
    found = []
    if truth.texts != got.texts:
        found.append(f"text {truth.texts!r:.200} != {got.texts!r:.200}")
    if [len(calls) for calls in truth.calls] != [len(calls) for calls in got.calls]:
        found.append(f"tool calls {truth.calls!r:.300} != {got.calls!r:.300}")
    for theirs, mine in zip(truth.calls, got.calls, strict=False):
        for one, other in zip(theirs, mine, strict=False):
            if one[1:] != other[1:] or (one[0] and one[0] != other[0]):
                found.append(f"tool call {one!r} != {other!r}")
    if truth.stops != got.stops:
        found.append(f"stop {truth.stops} != {got.stops}")
    if (truth.usage is None) != (got.usage is None):
        found.append(f"usage {truth.usage} != {got.usage}")
    elif truth.usage is not None and got.usage is not None:
        wrong = {name: (value, got.usage[name]) for name, value in truth.usage.items() if got.usage[name] != value}
        if wrong:
            found.append(f"usage {wrong}")
    return found


EXPECTED_ERRORS: tuple[tuple[type[Exception], tuple[type[errors.CallError], ...]], ...] = (
    (openai.AuthenticationError, (errors.AuthenticationFailed,)),
    (openai.NotFoundError, (errors.NotFound,)),
    (openai.PermissionDeniedError, (errors.PermissionDenied,)),
    (openai.RateLimitError, (errors.RateLimited, errors.QuotaExhausted, errors.ContextTooLong)),
    (openai.BadRequestError, (errors.InvalidRequest, errors.ContentFiltered, errors.QuotaExhausted)),
    (openai.UnprocessableEntityError, (errors.InvalidRequest,)),
    (openai.InternalServerError, (errors.ServerFault, errors.Overloaded)),
    (anthropic.AuthenticationError, (errors.AuthenticationFailed,)),
    (anthropic.NotFoundError, (errors.NotFound,)),
    (anthropic.BadRequestError, (errors.InvalidRequest, errors.ContentFiltered, errors.QuotaExhausted)),
    (anthropic.RateLimitError, (errors.RateLimited, errors.QuotaExhausted)),
    (anthropic.InternalServerError, (errors.ServerFault, errors.Overloaded)),
)


def check_error(item: Any, provider: Provider, truth: Exception, counts: Counts) -> None:
    headers = {name.lower(): value for name, value in item.resp_headers}
    error = classify.classify(
        item.status, headers, item.resp_body, provider=provider, model="x", wall_s=1_780_000_000.0
    )
    allowed = next((ours for theirs, ours in EXPECTED_ERRORS if isinstance(truth, theirs)), ())
    counts.errors[f"{item.provider} {item.status} {type(error).__name__}"] += 1
    if not isinstance(error, allowed):
        counts.wrong.append(f"{item.id}: {type(truth).__name__} got {type(error).__name__}: {error}")


def read_truth(item: Any, chat: openai.OpenAI, messages: anthropic.Anthropic) -> Seen | Exception:
    try:
        return sdk_chat(chat, item) if item.api == "chat" else sdk_messages(messages, item)
    except Exception as error:  # noqa: BLE001  the SDK's own word, whatever it is
        return error


def check(item: Any, truth: Seen, readings: Iterator[Reading], counts: Counts) -> bool:
    agreed = True
    for name, reading in readings:
        try:
            found = differences(truth, reading())
        except errors.CallError as error:
            found = [] if truth.error else [f"{type(error).__name__}: {error}"]
            if truth.error:
                counts.errors[f"{item.provider} 200 {type(error).__name__}"] += name == "wire decode"
        except Exception as error:  # noqa: BLE001  an exception is a disagreement like another
            found = [f"{type(error).__name__}: {error}"]
        counts.readings[name] += 1
        if found:
            agreed = False
            counts.wrong.append(f"{item.provider} {item.id} ({name}): {'; '.join(found)}")
    return agreed


# -- the drivers


def response_seen(response: Response) -> Seen:
    return ours(response.choices, None if response.usage.estimated else response.usage)


def client_options() -> dict[str, Any]:
    return {"config": False, "env": {}, "retry": RetryPolicy(attempts=1, unknown_outcomes=0, rate_limits=0)}


def on_replay(provider: Provider, url: str) -> Provider:
    """The provider's row with the replay server as its address; it asks for no key."""
    base = f"{url}/v1" if provider.wire == "openai_chat" else url
    return msgspec.structs.replace(provider, base_url=base, base_url_env=(), auth="none")


def by_client(provider: Provider, url: str, stream: bool) -> Seen:
    with Client(**client_options()) as client:
        client.settings.providers[provider.name] = on_replay(provider, url)
        model = f"{provider.name}:recorded"
        if not stream:
            return response_seen(client.complete("x", model=model))
        with client.stream("x", model=model) as answer:
            return response_seen(answer.finish())


async def by_async_client(provider: Provider, url: str, stream: bool) -> Seen:
    async with AsyncClient(**client_options()) as client:
        client.settings.providers[provider.name] = on_replay(provider, url)
        model = f"{provider.name}:recorded"
        if not stream:
            return response_seen(await client.complete("x", model=model))
        async with client.stream("x", model=model) as answer:
            return response_seen(await answer.finish())


def driver_readings(server: Any, runner: asyncio.Runner, item: Any, provider: Provider) -> Iterator[Reading]:
    server.items = [item]
    server.match = "order"
    for size in (*SIZES, GZIP):
        server.chunk, server.gzip = max(size, 0), size == GZIP
        shape = "gzip" if size == GZIP else str(size or "whole")
        yield f"sync driver {shape}", lambda: by_client(provider, server.base_url, item.is_stream)
        yield (
            f"async driver {shape}",
            lambda: runner.run(by_async_client(provider, server.base_url, item.is_stream)),
        )
    server.chunk, server.gzip = 0, False


def check_driver_error(item: Any, provider: Provider, readings: Iterator[Reading], counts: Counts) -> None:
    headers = {name.lower(): value for name, value in item.resp_headers}
    expected = classify.classify(item.status, headers, item.resp_body, provider=provider, model="x", wall_s=0.0)
    for name, reading in readings:
        counts.readings[name] += 1
        try:
            reading()
            got: type[Exception] | None = None
        except Exception as error:  # noqa: BLE001  an unexpected class is reported below
            got = type(error)
        if got is not type(expected):
            counts.wrong.append(f"{item.id} ({name}): {type(expected).__name__} became {got and got.__name__}")


# -- the run


def run(replay: ModuleType, corpus: Path, counts: Counts, *, drivers: bool, folder: str) -> None:
    text = (ROOT / "src/penstock/_wire/providers.toml").read_text("utf-8")
    rows = registry.parse(text, "providers.toml")
    loaded = list(interactions(replay, corpus, folder))
    counts.interactions = len(loaded)
    with replay.ReplayServer(loaded) as server, asyncio.Runner() as runner:
        chat = openai.OpenAI(base_url=f"{server.base_url}/v1", api_key="x", max_retries=0)
        messages = anthropic.Anthropic(base_url=server.base_url, api_key="x", max_retries=0)
        truths = [(item, row_of(item, rows), read_truth(item, chat, messages)) for item in loaded]
        for item, provider, truth in truths:
            check_item(item, provider, truth, counts)
            if drivers and not (isinstance(truth, Exception) and item.status < 400):
                readings = driver_readings(server, runner, item, provider)
                if item.status >= 400:
                    check_driver_error(item, provider, readings, counts)
                elif isinstance(truth, Seen):
                    check(item, truth, readings, counts)


def check_item(item: Any, provider: Provider, truth: Seen | Exception, counts: Counts) -> None:
    kind = f"{item.provider} {item.api}{'/stream' if item.is_stream else ''}"
    wire = registry.wire(provider.wire)
    if item.status >= 400:
        if isinstance(truth, Exception):
            check_error(item, provider, truth, counts)
        else:
            counts.wrong.append(f"{item.id}: the SDK took a {item.status} for an answer")
    elif isinstance(truth, Exception):
        check_unreadable(item, provider, wire, truth, counts)
    else:
        counts.agreed[kind] += check(item, truth, wire_readings(wire, provider, item), counts)


def check_unreadable(item: Any, provider: Provider, wire: Wire, truth: Exception, counts: Counts) -> None:
    """Where not even the SDK could read a 2xx, it must be for a known reason, and ours must be a CallError."""
    reason = "recorded with an empty body" if not item.resp_body.strip() else ""
    counts.excepted[f"{item.provider}: {reason or repr(truth)}"] += 1
    try:
        wire.decode(item.resp_body, provider)
        got = "an answer"
    except errors.CallError:
        got = ""
    if got or not reason:
        counts.wrong.append(f"{item.id}: the SDK says {truth!r}, ours is {got or 'a CallError'}")


def figures(counts: Counts) -> dict[str, int]:
    agreed = {f"agreed.{kind.replace(' ', '.')}": number for kind, number in sorted(counts.agreed.items())}
    return {
        "interactions": counts.interactions,
        "agreed": sum(counts.agreed.values()),
        "errors_classified": sum(counts.errors.values()),
        "excepted": sum(counts.excepted.values()),
        "readings": sum(counts.readings.values()),
        "disagreements": len(counts.wrong),
        **agreed,
    }


def report(counts: Counts) -> dict[str, int]:
    print("2xx interactions that agree with the official SDK, by provider")
    for kind, number in sorted(counts.agreed.items()):
        print(f"  {number:5}  {kind}")
    print("readings compared")
    for name, number in sorted(counts.readings.items()):
        print(f"  {number:5}  {name}")
    print("error bodies, also inside a 200, and their classes")
    for name, number in sorted(counts.errors.items()):
        print(f"  {number:5}  {name}")
    for name, number in sorted(counts.excepted.items()):
        print(f"excepted: {number} x {name}")
    for line in counts.wrong:
        print(f"DISAGREES: {line[:600]}")
    print(f"{len(counts.wrong)} disagreements")
    return figures(counts)


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--corpus", type=Path, default=CORPUS)
    parser.add_argument("--wire-only", action="store_true", help="leave out the drivers")
    parser.add_argument("--folder", default="", help="only folders of the corpus whose name contains this")
    parser.add_argument("--out", type=Path, default=ROOT / "build" / "recorded.json")
    options = parser.parse_args(argv)
    if not (options.corpus / "replay.py").exists():
        print(f"skipped: no recorded traffic at {options.corpus}")
        return 0
    warnings.simplefilter("ignore")  # what the SDKs warn about in old recordings
    counts = Counts()
    replay = load_replay(options.corpus)
    run(replay, options.corpus, counts, drivers=not options.wire_only, folder=options.folder)
    options.out.parent.mkdir(exist_ok=True)
    options.out.write_text(json.dumps({"figures": report(counts)}, indent=2) + "\n", "utf-8")
    return 1 if counts.wrong or not counts.agreed else 0


if __name__ == "__main__":
    sys.exit(main())
