"""Closing a client ends what is under way: each call is settled and says why it ended."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from penstock import AsyncClient, Budget, Client, Limits, RetryPolicy, Stream, Timeouts
from penstock.errors import ClientClosed, StreamInterrupted
from penstock.sim import SimServer

from ..io.loopback import Loopback, Peer

MODEL = "openai:gpt-4o-mini"
PHASES = ["connecting", "waiting", "streaming", "queued", "sleeping"]
SOON_S = 10.0  # a stall, a wait for the limit and the pause before the next attempt all last longer
STALL = '[[rule]]\nfault = { kind = "stall" }\n'
STALL_LATER = '[[rule]]\nfault = { kind = "stall", when = "mid_stream", after_chunks = 3 }\n'
BROKEN = '[[rule]]\nfault = { kind = "status", status = 500, retry_after = "30" }\n'


@contextlib.contextmanager
def no_answer_to_a_connect() -> Iterator[str]:
    """Give the URL of a listener whose queue is full: who connects there waits."""
    with socket.socket() as listener, contextlib.ExitStack() as stack:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        for _ in range(4):
            filler = stack.enter_context(socket.socket())
            filler.setblocking(False)
            filler.connect_ex(listener.getsockname())
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"


@contextlib.contextmanager
def server(phase: str) -> Iterator[tuple[dict[str, Any], SimServer | None]]:
    """Give the settings of a client whose calls stay in that phase, and the simulator that keeps them there."""
    limits = Limits(rpm=1) if phase == "queued" else None
    more = {"keys": {"openai": "k"}, "config": False, "env": {}, "limits": limits, "budget": Budget(total="1")}
    if phase == "connecting":
        with no_answer_to_a_connect() as url:
            yield {"base_urls": {"openai": url}, **more}, None
        return
    with SimServer() as sim:
        sim.play({"waiting": STALL, "streaming": STALL_LATER, "sleeping": BROKEN}.get(phase, ""))
        yield {"base_urls": {"openai": sim.url + "/v1"}, **more, "retry": RetryPolicy(patience_s=60)}, sim


def is_there(client: Client | AsyncClient, phase: str, sim: SimServer | None) -> bool:
    """Whether the call has come to its phase."""
    limiter = client.lanes()[0].limiter if client.lanes() else None
    if limiter is None or sim is None:
        return limiter is not None and limiter.in_flight == 1
    if phase == "queued":
        return limiter.queued == 1
    if phase == "sleeping":
        return len(sim.log()) == 1 and limiter.in_flight == 0
    return bool(sim.simulator.open)


def assert_settled(client: Client | AsyncClient, phase: str) -> None:
    """Nothing is held, queued or under way; what may have been paid is kept as such."""
    for lane in client.lanes():
        assert (lane.limiter.in_flight, lane.limiter.queued) == (0, 0)
    scope = client.budget().scopes[0]
    assert scope.held_nano == 0
    assert client.budget().calls_under_way == 0
    assert (scope.possible_nano > 0) is (phase in ("waiting", "sleeping"))


@pytest.mark.prove(23)
@pytest.mark.parametrize("phase", PHASES)
def test_closing_from_another_thread_ends_a_blocked_call(phase: str) -> None:
    """Wherever it waits; the thread that closes waits for nobody."""
    ended: list[BaseException] = []
    began = threading.Event()

    def ask(client: Client) -> None:
        try:
            if phase == "streaming":
                with client.stream("hello", model=MODEL, max_tokens=50) as stream:
                    for _ in stream:
                        began.set()
            else:
                if phase == "queued":
                    client.complete("first", model=MODEL, max_tokens=5)
                began.set()
                client.complete("hello", model=MODEL, max_tokens=50)
        except BaseException as error:  # noqa: BLE001 - the test looks at it
            ended.append(error)

    with server(phase) as (settings, sim):
        client = Client(**settings)
        before = set(threading.enumerate())
        thread = threading.Thread(target=ask, args=(client,))
        thread.start()
        assert began.wait(SOON_S)
        while not is_there(client, phase, sim):
            time.sleep(0.005)
        at = time.monotonic()
        client.close()
        closed_s = time.monotonic() - at
        thread.join(SOON_S)
        ended_s = time.monotonic() - at
        assert closed_s < SOON_S
        assert ended_s < SOON_S
        assert set(threading.enumerate()) - before <= {thread}
    (error,) = ended
    assert isinstance(error, ClientClosed), repr(error)
    assert error.attempts
    assert_settled(client, phase)


@pytest.mark.prove(23)
@pytest.mark.parametrize("phase", PHASES[1:])
def test_closing_from_another_task_ends_a_call_that_waits(phase: str) -> None:
    """Wherever it waits, except for a connect, which its own clock ends."""

    async def ask(client: AsyncClient, began: asyncio.Event) -> None:
        if phase == "streaming":
            async with client.stream("hello", model=MODEL, max_tokens=50) as stream:
                async for _ in stream:
                    began.set()
        else:
            if phase == "queued":
                await client.complete("first", model=MODEL, max_tokens=5)
            began.set()
            await client.complete("hello", model=MODEL, max_tokens=50)

    async def main(settings: dict[str, Any], sim: SimServer | None) -> None:
        client = AsyncClient(**settings)
        began = asyncio.Event()
        task = asyncio.create_task(ask(client, began))
        await asyncio.wait_for(began.wait(), SOON_S)
        while not is_there(client, phase, sim):  # noqa: ASYNC110 - no event of this loop tells it
            await asyncio.sleep(0.005)
        at = time.monotonic()
        await client.close()
        with pytest.raises(ClientClosed) as raised:
            await asyncio.wait_for(task, SOON_S)
        assert time.monotonic() - at < SOON_S
        assert raised.value.attempts
        assert asyncio.all_tasks() == {asyncio.current_task()}
        assert_settled(client, phase)

    with server(phase) as (settings, sim):
        asyncio.run(main(settings, sim))


def read_on(stream: Stream, text: list[str]) -> None:
    """Add the pieces that still come."""
    for piece in stream.text:
        text.append(piece)  # noqa: PERF402 - what came before the error counts


def test_a_stream_that_is_closed_under_its_reader_keeps_what_came() -> None:
    """The partial answer is on the stream."""
    with server("streaming") as (settings, _):
        client = Client(**settings)
        stream = client.stream("hello", model=MODEL, max_tokens=50)
        text = [next(stream.text)]
        client.close()
        with pytest.raises(ClientClosed):
            read_on(stream, text)
        assert stream.partial is not None
        assert stream.partial.text == "".join(text)
        assert stream.partial.usage.estimated
        assert_settled(client, "streaming")


def test_a_stream_whose_connection_ends_with_its_answer_obeys_the_idle_clock() -> None:
    """A server that says Connection: close gives no other rights to silence."""
    event = b'data: {"choices": [{"index": 0, "delta": {"content": "x"}}]}\n\n'

    def handler(peer: Peer) -> None:
        peer.request()
        peer.send(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n" + event)
        peer.stall()

    with Loopback(handler) as loopback:
        urls = {"openai": loopback.url}
        clocks = Timeouts(idle_s=0.15)
        with Client(base_urls=urls, keys={"openai": "k"}, config=False, env={}, timeouts=clocks) as client:
            stream = client.stream("hello", model=MODEL)
            assert next(stream.text) == "x"
            at = time.monotonic()
            with pytest.raises(StreamInterrupted, match="idle_s"):
                stream.finish()
            assert time.monotonic() - at < SOON_S
