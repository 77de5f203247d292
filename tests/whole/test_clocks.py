"""The clocks of a call, on the default transports over real sockets, against the clock of the server."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any

import pytest

from penstock import AsyncClient, Client, RetryPolicy, Timeouts
from penstock.errors import FirstTokenTimeout, PenstockError, StreamInterrupted, TotalTimeout

from ..io.loopback import Loopback, Peer

MODEL = "openai:gpt-4o-mini"
EVENT = b'data: {"id": "c", "choices": [{"index": 0, "delta": {"content": "x"}}]}\n\n'
LAST = b'data: {"id": "c", "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}\n\ndata: [DONE]\n\n'
T_S = 1.5
GENEROUS = 60.0

colours = pytest.mark.parametrize("colour", ["sync", "async"])


class Silence:
    """A server that says so much and then nothing; it notes when it fell silent and when its client left."""

    def __init__(self, say: Callable[[Peer], None]) -> None:
        self._say = say
        self.began = self.left = 0.0

    def __call__(self, peer: Peer) -> None:
        peer.request()
        self.began = time.monotonic()
        self._say(peer)
        peer.stall()
        self.left = time.monotonic()

    @property
    def lasted_s(self) -> float:
        """How long the client stayed."""
        return self.left - self.began


def nothing(peer: Peer) -> None:
    """Say nothing at all."""


def a_head(peer: Peer) -> None:
    """Say that an answer begins."""
    peer.start_chunked()


def pings(peer: Peer) -> None:
    """Say that it is still there, and nothing else."""
    peer.start_chunked()
    while not peer.stop.wait(0.1):
        peer.chunk(b": ping\n\n")


def head_by_byte(peer: Peer) -> None:
    """Say the head of an answer a byte at a time."""
    for byte in b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n":
        peer.send(bytes([byte]))
        peer.stop.wait(0.1)


def chunk_by_byte(peer: Peer) -> None:
    """Begin one long chunk, and say a byte of it at a time."""
    peer.start_chunked()
    peer.chunk(EVENT)
    peer.send(b"fff\r\n")
    while not peer.stop.wait(0.1):
        peer.send(b" ")


def slow_talk(peer: Peer) -> None:
    """Talk on and on, a word each tenth of a second, for ever."""
    peer.start_chunked()
    while not peer.stop.wait(0.1):
        peer.chunk(EVENT)


def half_a_body(peer: Peer) -> None:
    """Trickle an answer that never ends."""
    peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")
    while not peer.stop.wait(0.1):
        peer.send(b" ")


def ask(colour: str, url: str, stream: bool, **settings: Any) -> tuple[Any, float]:
    """Make one call and return its answer or error, and how long it took."""
    given: dict[str, Any] = {"base_urls": {"openai": url}, "keys": {"openai": "k"}, "config": False, "env": {}}
    given |= {"retry": RetryPolicy(attempts=1), **settings}
    if colour == "sync":
        with Client(**given) as client:
            began = time.monotonic()
            try:
                told: Any = client.stream("hi", model=MODEL).finish() if stream else client.complete("hi", model=MODEL)
            except PenstockError as error:
                told = error
            return told, time.monotonic() - began
    return asyncio.run(_ask(given, stream))


async def _ask(given: dict[str, Any], stream: bool) -> tuple[Any, float]:
    async with AsyncClient(**given) as client:
        began = time.monotonic()
        call = client.stream("hi", model=MODEL).finish() if stream else client.complete("hi", model=MODEL)
        try:
            told: Any = await call
        except PenstockError as error:
            told = error
        return told, time.monotonic() - began


def clocks(**near: float) -> Timeouts:
    """Return clocks of which only the named are near."""
    return Timeouts(**{"first_token_s": GENEROUS, "idle_s": GENEROUS, "total_s": GENEROUS, **near})


@pytest.mark.slow
@pytest.mark.prove(10)
@colours
@pytest.mark.parametrize("say", [nothing, a_head, pings])
def test_no_output_ends_at_the_first_token_limit(colour: str, say: Any, record_property: Any) -> None:
    """Whether the head came or not."""
    with Loopback(silent := Silence(say)) as server:
        told, took_s = ask(colour, server.url, True, timeouts=clocks(first_token_s=T_S))
    assert isinstance(told, FirstTokenTimeout), repr(told)
    record_property("off", abs(took_s / T_S - 1))
    assert took_s == pytest.approx(T_S, rel=0.05)
    assert silent.lasted_s == pytest.approx(T_S, rel=0.05)


@pytest.mark.slow
@pytest.mark.prove(10)
@colours
def test_silence_inside_a_stream_ends_at_the_idle_limit_exactly(colour: str, record_property: Any) -> None:
    """Counted from the last piece."""

    def say(peer: Peer) -> None:
        peer.start_chunked()
        for _ in range(3):
            peer.stop.wait(0.2)
            peer.chunk(EVENT)
        silent.began = time.monotonic()

    with Loopback(silent := Silence(say)) as server:
        told, _ = ask(colour, server.url, True, timeouts=clocks(idle_s=T_S))
    assert isinstance(told, StreamInterrupted), repr(told)
    assert told.partial.text == "xxx"
    record_property("off", abs(silent.lasted_s / T_S - 1))
    assert silent.lasted_s == pytest.approx(T_S, rel=0.05)


@pytest.mark.slow
@pytest.mark.prove(10)
@colours
@pytest.mark.parametrize("say", [nothing, half_a_body])
def test_a_whole_answer_that_does_not_come_ends_at_the_total_limit(colour: str, say: Any, record_property: Any) -> None:
    """Silence and a trickle alike."""
    with Loopback(Silence(say)) as server:
        told, took_s = ask(colour, server.url, False, timeouts=clocks(total_s=T_S))
    assert isinstance(told, TotalTimeout), repr(told)
    record_property("off", abs(took_s / T_S - 1))
    assert took_s == pytest.approx(T_S, rel=0.05)


@pytest.mark.slow
@pytest.mark.prove(6, 10)
@colours
@pytest.mark.parametrize(
    ("stream", "say"),
    [
        (False, nothing),
        (False, half_a_body),
        (True, nothing),
        (True, a_head),
        (True, slow_talk),
        (True, head_by_byte),
        (True, chunk_by_byte),
    ],
)
def test_a_deadline_is_kept_to_a_fortieth(colour: str, stream: bool, say: Any, record_property: Any) -> None:
    """A deadline of 20 s never takes 20.5, also inside a stream that talks on."""
    deadline_s = 2.0
    with Loopback(Silence(say)) as server:
        told, took_s = ask(colour, server.url, stream, timeouts=clocks(), deadline_s=deadline_s)
    assert "deadline" in str(told)
    assert isinstance(told, StreamInterrupted if say in (slow_talk, chunk_by_byte) else TimeoutError), repr(told)
    record_property("over", took_s / deadline_s - 1)
    assert deadline_s * 0.99 <= took_s <= deadline_s * 1.025


@pytest.mark.slow
@pytest.mark.prove(10)
@colours
def test_a_healthy_stream_outlives_every_clock(colour: str) -> None:
    """It lasts five times as long as each of them, and is whole."""

    def say(peer: Peer) -> None:
        peer.start_chunked()
        for _ in range(30):
            peer.stop.wait(0.05)
            peer.chunk(EVENT)
        peer.chunk(LAST)
        peer.chunk(b"")

    short = Timeouts(first_token_s=0.3, idle_s=0.3, total_s=0.3)
    with Loopback(Silence(say)) as server:
        told, took_s = ask(colour, server.url, True, timeouts=short)
    assert not isinstance(told, PenstockError), repr(told)
    assert told.text == "x" * 30
    assert took_s > 1.5
