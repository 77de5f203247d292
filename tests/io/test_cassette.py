"""Record and replay, in both colours: the same bytes again, no secret, no waiting, and a diff for what is unknown."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import openai
import pytest

from penstock import AsyncClient, Client, RetryPolicy, sdk
from penstock._io.tape import Secrets, body_of, bytes_of, pieces_of
from penstock.errors import CallError, ConfigError, InputError, OutcomeUnknown, StreamInterrupted, UnsupportedParameter
from penstock.sim import SimServer
from penstock.testing import Cassette, Scripted, ScriptedTransport, UnknownRequest, cassette

MODEL = "openai:gpt-4o-mini"
ASK = "What happened? ERROR [db] connection refused"
CANARY = "sk-canary-0123456789abcdef"
ONCE = RetryPolicy(attempts=1, unknown_outcomes=0, rate_limits=0)
NOBODY = "http://127.0.0.1:9"

colours = pytest.mark.parametrize("colour", ["sync", "async"])


def settings(url: str) -> dict[str, Any]:
    names = ("openai", "anthropic")
    base = {"openai": f"{url}/v1", "anthropic": url}
    return {"base_urls": base, "keys": dict.fromkeys(names, CANARY), "config": False, "env": {}, "retry": ONCE}


def during(tape: Cassette, url: str, colour: str, do: Callable[[Any], Any]) -> Any:
    """Do something with a client of a colour whose transport is the cassette's."""
    if colour == "sync":
        with Client(transport=tape.transport(), **settings(url)) as client:
            return do(client)

    async def main() -> Any:
        async with AsyncClient(transport=tape.async_transport(), **settings(url)) as client:
            return await do(client)

    return asyncio.run(main())


def asked(colour: str, **options: Any) -> Callable[[Any], Any]:
    return lambda client: client.complete(ASK, **{"model": MODEL, **options})


def streamed(colour: str, model: str = MODEL) -> Callable[[Any], Any]:
    def sync(client: Client) -> Any:
        with client.stream(ASK, model=model) as stream:
            return list(stream), stream.response

    async def other(client: AsyncClient) -> Any:
        async with client.stream(ASK, model=model) as stream:
            return [chunk async for chunk in stream], stream.response

    return sync if colour == "sync" else other


@colours
@pytest.mark.parametrize("model", [MODEL, "anthropic:claude-haiku-4-5"])
def test_what_was_recorded_is_replayed(sim: SimServer, tmp_path: Path, colour: str, model: str) -> None:
    """Whole and streamed, byte for byte, with nobody there; and also in the other colour."""
    path = tmp_path / "some" / "tape.json"
    with cassette(path) as tape:
        assert tape.recording
        whole = during(tape, sim.url, colour, asked(colour, model=model))
        chunks, response = during(tape, sim.url, colour, streamed(colour, model))
    written = path.read_bytes()
    for again in ("sync", "async"):
        with cassette(path) as tape:
            assert not tape.recording
            found = during(tape, sim.url.replace("127.0.0.1", "localhost"), again, asked(again, model=model))
            assert (found.body, found.usage, found.request_id) == (whole.body, whole.usage, whole.request_id)
            assert tape.unused == 1
            told, second = during(tape, sim.url, again, streamed(again, model))
            assert "".join(chunk.text for chunk in told) == "".join(chunk.text for chunk in chunks)
            assert (second.text, second.usage, second.id) == (response.text, response.usage, response.id)
            assert tape.unused == 0
    assert path.read_bytes() == written
    assert len(sim.log()) == 2


@pytest.mark.prove(25)
def test_no_secret_is_kept(tmp_path: Path) -> None:
    """Not the key in a header, in the address or echoed by an answer, in one piece or two, nor a field called so."""
    path = tmp_path / "tape.json"
    tail = b'data: {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}\n\ndata: [DONE]\n\n'
    first = b'data: {"choices": [{"index": 0, "delta": {"content": "your key sk-can'
    script = ScriptedTransport(
        [
            Scripted(status=401, headers={"x-request-id": "r1", "set-cookie": CANARY}, body=_error(CANARY)),
            Scripted(body=[first, b'ary-0123456789abcdef"}}]}\n\n', tail]),
        ]
    )
    options = settings(f"{NOBODY}/in/{CANARY}")
    with cassette(path) as tape:
        with Client(transport=tape.transport(script), **options) as client, pytest.raises(CallError, match="key"):
            client.complete(ASK, model=MODEL, extra={"tools_auth": {"api_key": "hunter2-hunter2", "token": "t0"}})
        with Client(transport=tape.transport(script), **options) as client, client.stream(ASK, model=MODEL) as stream:
            assert CANARY in stream.finish().text
    text = path.read_text()
    for secret in (CANARY, "hunter2", "sk-can", 't0"', "set-cookie"):
        assert secret not in text
    assert "r1" in text
    other = {"tools_auth": {"api_key": "another", "token": "t1"}}
    with cassette(path, "replay") as tape, Client(transport=tape.transport(), **options) as client:
        ask = partial(client.complete, ASK, model=MODEL, extra=other)
        with pytest.raises(CallError, match="REDACTED"):
            ask()


def _error(key: str) -> bytes:
    return json.dumps({"error": {"message": f"Incorrect API key provided: {key}", "code": "invalid_api_key"}}).encode()


@colours
def test_an_unknown_request_shows_what_differs(sim: SimServer, tmp_path: Path, colour: str) -> None:
    """From the nearest that was recorded, line by line; and how to record it."""
    path = tmp_path / "tape.json"
    with cassette(path) as tape:
        during(tape, sim.url, colour, asked(colour, temperature=0.0, max_tokens=50))
        during(tape, sim.url, colour, streamed(colour))
    with cassette(path) as tape, pytest.raises(UnknownRequest) as caught:
        during(tape, sim.url, colour, asked(colour, temperature=0.0, max_tokens=60))
    message = str(caught.value)
    assert '-  "max_completion_tokens": 50,' in message
    assert '+  "max_completion_tokens": 60,' in message
    assert "recorded, exchange 1" in message
    assert "mode='record'" in message
    assert CANARY not in message


def test_equal_requests_are_answered_in_their_order(tmp_path: Path) -> None:
    """And one more than was recorded is none of them."""
    path = tmp_path / "tape.json"
    reply = '{"choices": [{"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "%s"}}]}'
    script = ScriptedTransport([Scripted(body=(reply % word).encode()) for word in ("first", "second")])

    def ask(tape: Cassette, around: Any, times: int) -> list[str]:
        with Client(transport=tape.transport(around), **settings(NOBODY)) as client:
            return [client.complete(ASK, model=MODEL).text for _ in range(times)]

    with cassette(path) as tape:
        assert ask(tape, script, 2) == ["first", "second"]
    with cassette(path) as tape:
        assert ask(tape, None, 2) == ["first", "second"]
        with pytest.raises(UnknownRequest, match="2 answer"):
            ask(tape, None, 1)


@colours
def test_what_broke_breaks_again(sim: SimServer, tmp_path: Path, colour: str) -> None:
    """A stream that was cut, and an answer that never came: the same error after the same text."""
    path = tmp_path / "tape.json"
    texts = []
    for again in (False, True):
        with cassette(path) as tape:
            assert tape.recording is not again
            sim.play('[[rule]]\nfault = { kind = "reset", when = "mid_stream", after_chunks = 3 }\n')
            with pytest.raises(StreamInterrupted) as caught:
                during(tape, sim.url, colour, streamed(colour))
            texts.append(caught.value.partial.text)
            sim.play('[[rule]]\nfault = { kind = "reset", when = "after_body" }\n')
            with pytest.raises(OutcomeUnknown):
                during(tape, sim.url, colour, asked(colour))
    assert texts[0] == texts[1] != ""


def test_an_sdk_behind_the_gate_is_recorded_with_it(sim: SimServer, tmp_path: Path) -> None:
    """Its requests pass the same transport."""
    path = tmp_path / "tape.json"
    said = []
    for _ in range(2):
        with cassette(path) as tape, Client(transport=tape.transport(), **settings(sim.url)) as gate:
            ai = openai.OpenAI(api_key=CANARY, base_url=f"{sim.url}/v1", http_client=sdk.http_client(gate))
            messages: list[Any] = [{"role": "user", "content": ASK}]
            said.append(ai.chat.completions.create(model="gpt-4o-mini", messages=messages))
    assert said[0] == said[1]
    assert len(sim.log()) == 1
    assert CANARY not in path.read_text()


def test_modes_and_files_are_checked(sim: SimServer, tmp_path: Path) -> None:
    """Each mistake by its name; an error that leaves the block leaves the file as it was."""
    path = tmp_path / "tape.json"
    with pytest.raises(ConfigError, match="expected one of auto, record, replay"):
        cassette(path, "rewind")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="there is no cassette"):
        cassette(path, "replay")
    for text in ("{", "[]", '{"penstock_cassette": 9}', '{"penstock_cassette": 1, "exchanges": [{}]}'):
        path.write_text(text)
        with pytest.raises(InputError, match=r"tape\.json"):
            cassette(path)
    with pytest.raises(UnsupportedParameter), cassette(path, "record") as tape:
        during(
            tape, sim.url, "sync", lambda client: (asked("sync")(client), client.complete(ASK, model=MODEL, top_k=1))
        )
    assert path.read_text() == text
    with cassette(path, "record") as tape:
        during(tape, sim.url, "sync", asked("sync"))
    assert [each.name for each in tmp_path.iterdir()] == ["tape.json"]
    assert len(json.loads(path.read_text())["exchanges"]) == 1


@pytest.mark.parametrize(
    "body",
    [
        b'{"a":1,"b":["\xc3\xa4"]}',
        b'{"a": 1, "b": ["\xc3\xa4"]}',
        b'{"a": "\\u00e4"}',
        b'{\n  "a": 1\n}',
        b'{"a":1.50,"a":2}',
        b"<html>\r\n",
        b"\xff\xfe",
        b"",
    ],
)
def test_a_body_comes_back_byte_for_byte(body: bytes) -> None:
    """However it was written; as a piece of a stream as well."""
    secrets = Secrets({}, "")
    through: Any = json.loads(json.dumps([body_of(body, secrets), pieces_of([body, b"more"], secrets)]))
    assert b"".join(bytes_of(through[0])) == body
    assert bytes_of(through[1]) == [body, b"more"]


def test_the_fixture_replays_beside_the_test(penstock_cassette: Cassette) -> None:
    """A cassette that was committed with this test: no server is there."""
    with Client(transport=penstock_cassette.transport(), **settings(NOBODY)) as client:
        answer = client.complete(ASK, model=MODEL)
    assert not penstock_cassette.recording
    assert "ERROR [db] connection refused" in answer.text
    assert answer.usage.total == 78
