"""Run recorded provider traffic through Penstock and through the official SDKs, and compare what they report.

Every interaction of ../shared/corpora/recorded in a protocol of `recorded_sdks.READERS` is read in these ways:

    wire       its bytes go straight to decode() and to a decoder: whole, in pieces of 7 bytes and of 1, and with CRLF
    drivers    a loopback server replays it, and Client and AsyncClient read it over HTTP: whole, 7, 1, and gzipped
    truth      the official SDK of the protocol reads it from the same server

Text, tool calls, stop reason and usage (of embeddings vectors and usage) must agree on every 2xx; every error body must
get its class. Prints the counts, and what is not read and why, and writes them to build/recorded.json; exits with 1 on
any disagreement. Nothing recorded is copied into the project.
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
from typing import Any, NamedTuple

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT / "src"), str(ROOT)]

import msgspec  # noqa: E402
from tools.recorded_sdks import Clients, Seen, arguments, as_floats, unspoken  # noqa: E402

from penstock import errors  # noqa: E402
from penstock._policy.retry import RetryPolicy  # noqa: E402
from penstock._wire import classify, registry  # noqa: E402
from penstock._wire.assembly import Assembly  # noqa: E402
from penstock._wire.cohere_rerank import Reranked  # noqa: E402
from penstock._wire.embedded import Embedded  # noqa: E402
from penstock._wire.protocol import Provider, Wire  # noqa: E402
from penstock.client import AsyncClient, Client  # noqa: E402
from penstock.embeddings import Embeddings  # noqa: E402
from penstock.reranking import Reranking  # noqa: E402
from penstock.types import Choice, Response, Text, ToolCall, Usage  # noqa: E402
from tools import recorded_others, recorded_sdks  # noqa: E402

READERS = {**recorded_sdks.READERS, **recorded_others.READERS}
EXPECTED_ERRORS = recorded_sdks.EXPECTED_ERRORS + recorded_others.EXPECTED_ERRORS

CORPUS = ROOT.parent / "shared" / "corpora" / "recorded"
SIZES = (0, 7, 1)
"""Bytes per piece; 0 is the whole body at once."""
GZIP = -1


@dataclass
class Counts:
    """What the run found, by provider and kind."""

    agreed: collections.Counter[str] = field(default_factory=collections.Counter)
    readings: collections.Counter[str] = field(default_factory=collections.Counter)
    errors: collections.Counter[str] = field(default_factory=collections.Counter)
    excepted: collections.Counter[str] = field(default_factory=collections.Counter)
    unread: collections.Counter[str] = field(default_factory=collections.Counter)
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


def interactions(replay: ModuleType, corpus: Path, only: str, unread: collections.Counter[str]) -> Iterator[Any]:
    for folder in sorted(path for path in corpus.iterdir() if (path / "SOURCE.json").exists() and only in path.name):
        for item in replay.load_dir(folder):
            if item.api == "embeddings" and item.path.startswith("/api/"):
                unread[f"{item.provider} {item.path}: {unspoken('ollama')}"] += 1
            elif item.api == "rerank" and item.path != "/v2/rerank":
                unread[f"{item.provider} {item.path}: only Cohere's v2 is offered"] += 1
            elif item.api in READERS and item.method == "POST":
                yield item
            elif item.api in READERS:
                unread[f"{item.provider} {item.method} {item.api}: it asks for no answer"] += 1
            elif item.api:
                unread[f"{item.provider} {item.api}: {unspoken(item.api)}"] += 1


_TALKS = {
    "openai_embeddings": "openai_chat",
    "cohere_embeddings": "cohere",
    "cohere_rerank": "cohere",
    "gemini_embeddings": "gemini",
}
"""The wire that a row has whose provider is asked by these beside it."""


def wire_of(item: Any) -> Wire:
    """The module that reads an interaction."""
    name, _, kind = READERS[item.api].wire.partition("_")
    if kind == "embeddings":
        return registry.embeddings_wire(name)
    return registry.rerank_wire(name) if kind == "rerank" else registry.wire(READERS[item.api].wire)


def has_words(item: Any) -> bool:
    """Whether the answer is one of a model in words."""
    return READERS[item.api].wire not in _TALKS


def streams(item: Any) -> bool:
    """Whether a stream was asked for; Gemini's may come as a list."""
    return bool(item.is_stream) or item.api == "gemini.stream"


def row_of(item: Any, rows: dict[str, Provider]) -> Provider:
    """The provider's row; one of another wire than the interaction's is asked by that wire."""
    wire: Any = _TALKS.get(READERS[item.api].wire, READERS[item.api].wire)
    known = rows.get(item.provider) or Provider(name=item.provider, wire=wire)
    if known.wire == wire:
        return known
    same = (row for row in rows.values() if row.account == known.name and row.wire == wire)
    return next(same, None) or msgspec.structs.replace(known, wire=wire, path="")


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
    seen = ours(reply.choices, reply.usage)
    if isinstance(reply, Embedded):
        size = reply.size
        seen.vectors = [list(reply.floats[at : at + size]) for at in range(0, len(reply.floats), size)]
    if isinstance(reply, Reranked):
        seen = Seen(vectors=[[ranked.index, ranked.score] for ranked in reply.results])
    return seen


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
    if not has_words(item):
        return
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
    if truth.vectors != got.vectors:
        found.append(f"{len(truth.vectors)} vectors != {len(got.vectors)} others")
    if truth.stops != got.stops:
        found.append(f"stop {truth.stops} != {got.stops}")
    if (truth.usage is None) != (got.usage is None):
        found.append(f"usage {truth.usage} != {got.usage}")
    elif truth.usage is not None and got.usage is not None:
        wrong = {name: (value, got.usage[name]) for name, value in truth.usage.items() if got.usage[name] != value}
        if wrong:
            found.append(f"usage {wrong}")
    return found


def check_error(item: Any, provider: Provider, truth: Exception, counts: Counts) -> None:
    headers = {name.lower(): value for name, value in item.resp_headers}
    error = classify.classify(
        item.status, headers, item.resp_body, provider=provider, model="x", wall_s=1_780_000_000.0
    )
    allowed = next((ours for theirs, ours in EXPECTED_ERRORS if isinstance(truth, theirs)), ())
    counts.errors[f"{item.provider} {item.status} {type(error).__name__}"] += 1
    if not isinstance(error, allowed):
        counts.wrong.append(f"{item.id}: {type(truth).__name__} got {type(error).__name__}: {error}")


def read_truth(item: Any, clients: Clients) -> Seen | Exception:
    try:
        return READERS[item.api].truth(clients, item)
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


def embeddings_seen(answer: Embeddings) -> Seen:
    usage = {"prompt": answer.usage.prompt} if answer.usage.prompt and not answer.usage.estimated else None
    return Seen(vectors=[as_floats(vector) for vector in answer], usage=usage)


def ranking_seen(answer: Reranking) -> Seen:
    return Seen(vectors=[[ranked.index, ranked.score] for ranked in answer])


def client_options() -> dict[str, Any]:
    return {"config": False, "env": {}, "retry": RetryPolicy(attempts=1, unknown_outcomes=0, rate_limits=0)}


def on_replay(provider: Provider, url: str) -> Provider:
    """The provider's row with the replay server as its address; it asks for no key."""
    base = url + next(reader.base for reader in READERS.values() if reader.wire == provider.wire)
    return msgspec.structs.replace(provider, base_url=base, base_url_env=(), auth="none")


class Asked(NamedTuple):
    """How an interaction is asked for again: in words or not, how many texts, and which of them at most come back."""

    item: Any
    texts: int
    last: int

    @classmethod
    def of(cls, item: Any, truth: Seen | Exception) -> Asked:
        vectors = truth.vectors if isinstance(truth, Seen) else []
        return cls(item, len(vectors) or 1, 1 + max((int(vector[0]) for vector in vectors), default=0))

    @property
    def ranking(self) -> bool:
        return READERS[self.item.api].wire.endswith("_rerank")

    @property
    def embedding(self) -> dict[str, Any]:
        return {"input_type": "search_query"} if self.item.api == "cohere.embed" else {}


def by_client(provider: Provider, url: str, asked: Asked) -> Seen:
    with Client(**client_options()) as client:
        client.settings.providers[provider.name] = on_replay(provider, url)
        model = f"{provider.name}:recorded"
        if asked.ranking:
            documents = [str(number) for number in range(asked.last)]
            return ranking_seen(client.rerank("x", documents, model=model, top_n=asked.texts))
        if not has_words(asked.item):
            return embeddings_seen(
                client.embed([str(number) for number in range(asked.texts)], model=model, **asked.embedding)
            )
        if not streams(asked.item):
            return response_seen(client.complete("x", model=model))
        with client.stream("x", model=model) as answer:
            return response_seen(answer.finish())


async def by_async_client(provider: Provider, url: str, asked: Asked) -> Seen:
    async with AsyncClient(**client_options()) as client:
        client.settings.providers[provider.name] = on_replay(provider, url)
        model = f"{provider.name}:recorded"
        if asked.ranking:
            documents = [str(number) for number in range(asked.last)]
            return ranking_seen(await client.rerank("x", documents, model=model, top_n=asked.texts))
        if not has_words(asked.item):
            return embeddings_seen(
                await client.embed([str(number) for number in range(asked.texts)], model=model, **asked.embedding)
            )
        if not streams(asked.item):
            return response_seen(await client.complete("x", model=model))
        async with client.stream("x", model=model) as answer:
            return response_seen(await answer.finish())


def driver_readings(server: Any, runner: asyncio.Runner, provider: Provider, asked: Asked) -> Iterator[Reading]:
    server.items = [asked.item]
    server.match = "order"
    for size in (*SIZES, GZIP):
        server.chunk, server.gzip = max(size, 0), size == GZIP
        shape = "gzip" if size == GZIP else str(size or "whole")
        yield f"sync driver {shape}", lambda: by_client(provider, server.base_url, asked)
        yield f"async driver {shape}", lambda: runner.run(by_async_client(provider, server.base_url, asked))
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
    loaded = list(interactions(replay, corpus, folder, counts.unread))
    counts.interactions = len(loaded)
    with replay.ReplayServer(loaded) as server, asyncio.Runner() as runner:
        clients = Clients(server.base_url)
        truths = [(item, row_of(item, rows), read_truth(item, clients)) for item in loaded]
        for item, provider, truth in truths:
            check_item(item, provider, truth, counts)
            if drivers and not (isinstance(truth, Exception) and item.status < 400):
                readings = driver_readings(server, runner, provider, Asked.of(item, truth))
                if item.status >= 400:
                    check_driver_error(item, provider, readings, counts)
                elif isinstance(truth, Seen):
                    check(item, truth, readings, counts)


def check_item(item: Any, provider: Provider, truth: Seen | Exception, counts: Counts) -> None:
    kind = f"{item.provider} {item.api}{'/stream' if item.is_stream else ''}"
    wire = wire_of(item)
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
    if item.header("content-encoding"):  # the loader takes the header away with the encoding
        reason = f"recorded in {item.header('content-encoding')}, for which no decoder is installed"
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
        "unread": sum(counts.unread.values()),
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
    for name, number in sorted(counts.unread.items()):
        print(f"not read: {number} x {name}")
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
