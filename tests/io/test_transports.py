"""Every transport behaves the same: one suite over urllib3, aiohttp and httpx2 in both colours, on real sockets."""

from __future__ import annotations

import asyncio
import base64
import gzip
import math
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from penstock._flow.effects import Expired
from penstock._io.http import Target
from penstock._io.transports.aiohttp_ import AiohttpTransport
from penstock._io.transports.httpx2_ import AsyncHttpx2Transport, Httpx2Transport
from penstock._io.transports.urllib3_ import Urllib3Transport
from penstock._wire.protocol import FileBody, Outbound
from penstock.errors import ConfigError, ConnectionFailed, OutcomeUnknown

from .loopback import Loopback, Peer

KEY = "Bearer sk-canary"
SOON_S = 10.0  # far from what a loaded machine adds, and from the patience of a wait that was not told its end
PING = Outbound(path="/v1/x?a=b", body=b'{"ping":1}', headers={"X-Call": "1"})


class Wire:
    """A transport of either colour, used as if it were sync."""

    def __init__(self, name: str) -> None:
        self._loop = asyncio.new_event_loop() if name in ("aiohttp", "async-httpx2") else None
        self._transport: Any = {
            "urllib3": Urllib3Transport,
            "httpx2": Httpx2Transport,
            "aiohttp": AiohttpTransport,
            "async-httpx2": AsyncHttpx2Transport,
        }[name](connect_s=20.0)

    def send(self, url: str, *, within: float = 30.0, stream: bool = False, outbound: Outbound = PING) -> Any:
        """Send a request, the ping if none is given, and return the exchange."""
        target = Target(url, {"Authorization": KEY, "Content-Type": "application/json"})
        return self._call(self._transport.send, target, outbound, time.monotonic() + within, stream=stream)

    def _call(self, method: Any, *args: Any, **options: Any) -> Any:
        if self._loop is None:
            return method(*args, **options)

        async def call() -> Any:
            return await method(*args, **options)

        return self._loop.run_until_complete(call())

    def read(self, exchange: Any, *, within: float = 30.0, idle_s: float | None = None) -> bytes:
        """Read the next piece."""
        data: bytes = self._call(exchange.read, time.monotonic() + within, idle_s)
        return data

    def read_all(self, exchange: Any, *, within: float = 30.0) -> bytes:
        """Read the whole body."""
        data: bytes = self._call(exchange.read_all, time.monotonic() + within)
        return data

    def finish(self, exchange: Any) -> None:
        """Close an exchange."""

        async def close() -> None:
            exchange.close()
            await asyncio.sleep(0)

        if self._loop is None:
            exchange.close()
        else:
            self._loop.run_until_complete(close())

    def close(self) -> None:
        """Close the transport and its loop."""
        self._call(self._transport.close)
        if self._loop is not None:
            self._loop.run_until_complete(asyncio.sleep(0))
            self._loop.close()


@pytest.fixture(params=["urllib3", "httpx2", "aiohttp", "async-httpx2"])
def wire(request: pytest.FixtureRequest) -> Iterator[Wire]:
    """Each transport in turn."""
    wire = Wire(request.param)
    yield wire
    wire.close()


def test_a_file_goes_out_whole_and_anew_with_each_attempt(wire: Wire, tmp_path: Path) -> None:
    """With its length, between its head and its tail, on a connection that serves another request after it."""
    data = bytes(range(256)) * 4000
    (tmp_path / "rows").write_bytes(data)
    file = FileBody(path=str(tmp_path / "rows"), size=len(data) + 4, head=b"<<", tail=b">>")
    seen: list[bytes] = []

    def handler(peer: Peer) -> None:
        while request := peer.request():
            seen.append(request)
            peer.answer(b"ok")

    with Loopback(handler) as server:
        for outbound in (Outbound(path="/f", body=b"", file=file), Outbound(path="/f", body=b"", file=file), PING):
            exchange = wire.send(server.url, outbound=outbound)
            assert wire.read_all(exchange) == b"ok"
            wire.finish(exchange)
    heads, bodies = zip(*[request.split(b"\r\n\r\n", 1) for request in seen], strict=True)
    assert bodies == (b"<<" + data + b">>", b"<<" + data + b">>", PING.body)
    for head in heads[:2]:
        assert head.lower().count(b"content-length: 1024004") == 1
        assert b"chunked" not in head.lower()


def test_a_request_arrives_whole_and_its_answer_is_read_whole(wire: Wire) -> None:
    """Path, query, headers and body go out as given; status, headers and body come back."""
    seen: list[bytes] = []

    def handler(peer: Peer) -> None:
        seen.append(peer.request())
        peer.answer(b'{"pong":1}', "X-Request-Id: r1", status="201 Created")

    with Loopback(handler) as server:
        exchange = wire.send(server.url + "/base")
        assert (exchange.status, exchange.headers["x-request-id"]) == (201, "r1")
        assert wire.read_all(exchange) == b'{"pong":1}'
        wire.finish(exchange)
    head, _, body = seen[0].partition(b"\r\n\r\n")
    assert head.startswith(b"POST /base/v1/x?a=b HTTP/1.1\r\n")
    assert b"authorization: bearer sk-canary" in head.lower()
    assert b"x-call: 1" in head.lower()
    assert body == PING.body


def test_a_connection_is_used_again_after_a_whole_answer(wire: Wire) -> None:
    """Twenty calls in turn open one connection."""

    def handler(peer: Peer) -> None:
        while peer.request():
            peer.answer(b"{}")

    with Loopback(handler) as server:
        for _ in range(20):
            exchange = wire.send(server.url)
            assert wire.read_all(exchange) == b"{}"
            wire.finish(exchange)
        assert server.connections == 1


def test_a_connection_is_dropped_when_an_answer_was_left_unread(wire: Wire) -> None:
    """What is left of one answer never becomes the beginning of another."""

    def handler(peer: Peer) -> None:
        while peer.request():
            peer.start_chunked()
            peer.chunk(b"first")
            peer.stall()

    with Loopback(handler) as server:
        exchange = wire.send(server.url, stream=True)
        assert wire.read(exchange) == b"first"
        wire.finish(exchange)
        again = wire.send(server.url, stream=True)
        assert wire.read(again) == b"first"
        wire.finish(again)
        assert server.connections == 2


def test_a_stream_is_given_as_it_arrives(wire: Wire) -> None:
    """A piece is readable before the next one is sent, and the end is an empty piece."""
    step = [b"one", b"two"]

    def handler(peer: Peer) -> None:
        asked = peer.request()
        assert b"accept-encoding: identity" in asked.lower()
        peer.start_chunked()
        for piece in step:
            peer.chunk(piece)
        peer.chunk(b"")

    with Loopback(handler) as server:
        exchange = wire.send(server.url, stream=True)
        pieces = b""
        while piece := wire.read(exchange):
            pieces += piece
        assert pieces == b"onetwo"
        assert wire.read(exchange) == b""
        wire.finish(exchange)


def test_gzip_is_undone(wire: Wire) -> None:
    """A compressed answer is read as what it says."""

    def handler(peer: Peer) -> None:
        peer.request()
        peer.answer(gzip.compress(b'{"a":1}'), "Content-Encoding: gzip")

    with Loopback(handler) as server:
        exchange = wire.send(server.url)
        assert wire.read_all(exchange) == b'{"a":1}'
        wire.finish(exchange)


def test_a_large_compressed_body_is_read_whole(wire: Wire) -> None:
    """What is left in the decoder when the last byte came is part of the answer."""
    body = b'{"a": "' + b"x" * 3_000_000 + b'"}'

    def handler(peer: Peer) -> None:
        while peer.request():
            peer.answer(gzip.compress(body), "Content-Encoding: gzip")

    with Loopback(handler) as server:
        for _ in range(2):
            exchange = wire.send(server.url)
            assert wire.read_all(exchange) == body
            wire.finish(exchange)


@pytest.mark.prove(25)
def test_a_redirect_is_not_followed(wire: Wire) -> None:
    """The key never goes to an address that a server names."""

    def handler(peer: Peer) -> None:
        peer.request()
        peer.answer(b"", "Location: http://127.0.0.1:1/elsewhere", status="307 Temporary Redirect")

    with Loopback(handler) as server:
        exchange = wire.send(server.url)
        assert exchange.status == 307
        wire.read_all(exchange)
        wire.finish(exchange)


@pytest.mark.prove(8, 9)
def test_a_refused_connection_says_that_nothing_was_sent(wire: Wire) -> None:
    """Nobody listens there."""
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    with pytest.raises(ConnectionFailed, match="nothing was sent"):
        wire.send(f"http://127.0.0.1:{port}")


@pytest.mark.prove(8, 9)
def test_a_reset_after_the_request_is_an_unknown_outcome(wire: Wire) -> None:
    """The provider may have worked and billed."""

    def handler(peer: Peer) -> None:
        peer.request()
        peer.reset()

    with Loopback(handler) as server, pytest.raises(OutcomeUnknown, match="may have worked and billed"):
        wire.send(server.url)


@pytest.mark.prove(8, 9)
def test_an_answer_that_is_cut_short_is_an_unknown_outcome(wire: Wire) -> None:
    """Fewer bytes than announced are not an answer."""

    def handler(peer: Peer) -> None:
        peer.request()
        peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{}")

    with Loopback(handler) as server, pytest.raises(OutcomeUnknown):
        wire.read_all(wire.send(server.url))


HEAD = b"HTTP/1.1 200 OK\r\n"
PACKED = gzip.compress(b'{"a": 1}' * 50)
MISCHIEF = {
    "nothing": b"",
    "no HTTP": b"\x15\x03\x01\x00\x02\x02\x16 nonsense\r\n\r\n",
    "HTTP of the future": b"HTTP/9.9 200 OK\r\n\r\n",
    "a word for a status": b"HTTP/1.1 abc OK\r\n\r\n",
    "half a head": HEAD + b"Content-Le",
    "a header without a colon": HEAD + b"nonsense header\r\nContent-Length: 2\r\n\r\n{}",
    "a NUL in a header": HEAD + b"x: a\x00b\r\nContent-Length: 2\r\n\r\n{}",
    "a header of 100 kB": HEAD + b"x: " + b"a" * 100_000 + b"\r\nContent-Length: 2\r\n\r\n{}",
    "500 headers": HEAD + b"x: y\r\n" * 500 + b"Content-Length: 2\r\n\r\n{}",
    "a word for a length": HEAD + b"Content-Length: abc\r\n\r\n{}",
    "two lengths": HEAD + b"Content-Length: 2\r\nContent-Length: 9\r\n\r\n{}",
    "a negative chunk size": HEAD + b"Transfer-Encoding: chunked\r\n\r\n-5\r\n{}\r\n0\r\n\r\n",
    "a chunk larger than any memory": HEAD + b"Transfer-Encoding: chunked\r\n\r\n" + b"f" * 16 + b"\r\n{}\r\n",
    "a cookie in other letters": HEAD + "Set-Cookie: a=☃\r\nContent-Length: 2\r\n\r\n{}".encode(),
    "a word for a chunk size": HEAD + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n{}\r\n0\r\n\r\n",
    "a chunk cut short": HEAD + b"Transfer-Encoding: chunked\r\n\r\nff\r\n{}",
    "no last chunk": HEAD + b"Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n",
    "an unknown transfer encoding": HEAD + b"Transfer-Encoding: bogus\r\nContent-Length: 2\r\n\r\n{}",
    "gzip that is none": HEAD + b"Content-Encoding: gzip\r\nContent-Length: 5\r\n\r\nhello",
    "gzip that is none, in chunks": HEAD
    + b"Content-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
    "gzip cut short": HEAD + b"Content-Encoding: gzip\r\nContent-Length: 20\r\n\r\n" + PACKED[:20],
    "gzip with a wrong sum": HEAD
    + b"Content-Encoding: gzip\r\nContent-Length: %d\r\n\r\n%b" % (len(PACKED), PACKED[:-8] + b"\0" * 8),
    "another protocol": b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n{}",
    "continue without an end": b"HTTP/1.1 100 Continue\r\n\r\n" * 300,
    "a redirect to nowhere": b"HTTP/1.1 302 Found\r\nLocation: http://[::1\r\nContent-Length: 0\r\n\r\n",
}


@pytest.mark.prove(9)
@pytest.mark.parametrize("sent", MISCHIEF.values(), ids=MISCHIEF)
@pytest.mark.parametrize("stream", [False, True])
def test_whatever_comes_over_the_wire_no_exception_of_an_http_library_leaks(
    wire: Wire, sent: bytes, stream: bool
) -> None:
    """It is read as far as it can be, or it is an error of ours that says what the library said."""

    def handler(peer: Peer) -> None:
        peer.request()
        peer.send(sent)

    exchange = error = None
    with Loopback(handler) as server:
        try:
            exchange = wire.send(server.url, stream=stream)
            while wire.read(exchange):
                continue
        except OutcomeUnknown as raised:
            error = raised
        if exchange is not None:
            wire.finish(exchange)
    assert error is None or error.__cause__ is not None


@pytest.mark.prove(10)
def test_silence_before_the_answer_ends_at_the_given_instant(wire: Wire) -> None:
    """A server that accepts and says nothing holds a call no longer than told."""

    def handler(peer: Peer) -> None:
        peer.request()
        peer.stall()

    with Loopback(handler) as server:
        began = time.monotonic()
        with pytest.raises(Expired) as raised:
            wire.send(server.url, within=0.3)
        assert 0.28 <= time.monotonic() - began < SOON_S
        assert not raised.value.idle


@pytest.mark.prove(10)
def test_silence_inside_a_stream_ends_at_the_idle_limit(wire: Wire) -> None:
    """The idle clock runs between two pieces and is told apart from the total."""

    def handler(peer: Peer) -> None:
        peer.request()
        peer.start_chunked()
        peer.chunk(b"x")
        peer.stall()

    with Loopback(handler) as server:
        exchange = wire.send(server.url, stream=True)
        assert wire.read(exchange, idle_s=0.5) == b"x"
        began = time.monotonic()
        with pytest.raises(Expired) as raised:
            wire.read(exchange, within=math.inf, idle_s=0.5)
        assert 0.48 <= time.monotonic() - began < SOON_S
        assert raised.value.idle
        wire.finish(exchange)


@pytest.mark.prove(10)
def test_a_body_that_trickles_ends_at_the_total_limit(wire: Wire) -> None:
    """Slow bytes keep no call alive past its end."""

    def handler(peer: Peer) -> None:
        peer.request()
        peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")
        while not peer.stop.wait(0.02):
            peer.send(b" ")

    with Loopback(handler) as server:
        began = time.monotonic()
        with pytest.raises(Expired):
            wire.read_all(wire.send(server.url, within=0.4), within=0.4)
        assert time.monotonic() - began < SOON_S


@pytest.mark.prove(25)
def test_no_error_of_a_transport_shows_the_key(wire: Wire) -> None:
    """Neither the message nor the repr of error and target has the credential."""
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    with pytest.raises(ConnectionFailed) as raised:
        wire.send(f"http://127.0.0.1:{port}")
    assert "canary" not in str(raised.value) + repr(raised.value)
    assert "canary" not in repr(Target("http://x", {"Authorization": KEY}))


def test_a_compressed_stream_is_undone_as_it_arrives(wire: Wire) -> None:
    """Some proxies compress although they were asked not to."""
    whole = gzip.compress(b"data: one\n\ndata: two\n\n")

    def handler(peer: Peer) -> None:
        peer.request()
        peer.send(
            b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nContent-Encoding: gzip\r\n"
            b"Transfer-Encoding: chunked\r\n\r\n"
        )
        for start in range(0, len(whole), 7):
            peer.chunk(whole[start : start + 7])
        peer.chunk(b"")

    with Loopback(handler) as server:
        exchange = wire.send(server.url, stream=True)
        assert b"".join(iter(lambda: wire.read(exchange), b"")) == b"data: one\n\ndata: two\n\n"
        wire.finish(exchange)


@pytest.fixture
def proxied(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Put a proxy into the environment, for the transports that are made after it."""

    def use(url: str) -> None:
        for scheme in ("http", "https"):
            monkeypatch.setenv(f"{scheme}_proxy", url)
        monkeypatch.setenv("no_proxy", "")

    return use


@pytest.mark.parametrize("name", ["urllib3", "aiohttp"])
def test_a_proxy_is_asked_for_the_whole_address_and_told_who_asks(name: str, proxied: Any) -> None:
    """Its password stands in the environment and goes to the proxy alone."""
    seen: list[bytes] = []

    def handler(peer: Peer) -> None:
        seen.append(peer.request())
        peer.answer(b"{}")

    with Loopback(handler) as server:
        proxied(server.url.replace("//", "//me:p%40ss@"))
        wire = Wire(name)
        exchange = wire.send("http://provider.invalid/base")
        assert wire.read_all(exchange) == b"{}"
        wire.finish(exchange)
        wire.close()
    assert seen[0].startswith(b"POST http://provider.invalid/base/v1/x?a=b HTTP/1.1\r\n")
    assert b"proxy-authorization: basic " + base64.b64encode(b"me:p@ss").lower() in seen[0].lower()


@pytest.mark.parametrize("name", ["urllib3", "aiohttp"])
def test_a_proxy_that_refuses_the_tunnel_got_neither_key_nor_request(name: str, proxied: Any) -> None:
    """Before TLS is up nothing of the call leaves, and the error says so."""
    seen: list[bytes] = []

    def handler(peer: Peer) -> None:
        seen.append(peer.request())
        peer.answer(b"", status="403 Forbidden")

    with Loopback(handler) as server:
        proxied(server.url.replace("//", "//me:p%40ss@"))
        wire = Wire(name)
        with pytest.raises(ConnectionFailed, match="nothing was sent") as raised:
            wire.send("https://provider.invalid")
        wire.close()
    assert seen[0].startswith(b"CONNECT provider.invalid:443 HTTP/1.")
    assert b"proxy-authorization: basic " + base64.b64encode(b"me:p@ss").lower() in seen[0].lower()
    assert b"canary" not in b"".join(seen)
    assert "p@ss" not in str(raised.value) + repr(raised.value)


@pytest.mark.parametrize("name", ["urllib3", "aiohttp"])
def test_an_address_without_a_proxy_is_asked_directly(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """NO_PROXY has its host."""
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    monkeypatch.setenv("no_proxy", "127.0.0.1")

    def handler(peer: Peer) -> None:
        assert peer.request().startswith(b"POST /v1/x?a=b HTTP/1.1\r\n")
        peer.answer(b"{}")

    with Loopback(handler) as server:
        wire = Wire(name)
        assert wire.read_all(wire.send(server.url)) == b"{}"
        wire.close()


@pytest.mark.prove(25)
def test_a_header_that_would_end_its_line_is_refused_unseen() -> None:
    """It could smuggle a request of its own in, and it may be the key."""
    wire = Wire("aiohttp")
    with pytest.raises(ConfigError, match="nothing was sent") as raised:
        wire._call(
            wire._transport.send, Target("http://127.0.0.1:1", {"X": "a\r\ncanary: 1"}), PING, math.inf, stream=False
        )
    assert "canary" not in str(raised.value)
    wire.close()


@pytest.mark.parametrize("split", range(1, 40))
def test_chunks_that_come_together_are_read_whole_however_they_are_split(split: int) -> None:
    """A burst is one piece; what is only half here is waited for, and the end is the end."""
    sent = b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in (b"one", b"two", b"a" * 17)) + b"0\r\n\r\n"
    go_on = threading.Event()

    def handler(peer: Peer) -> None:
        while peer.request():
            peer.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + sent[:split])
            go_on.wait(0.01)
            peer.send(sent[split:])

    with Loopback(handler) as server:
        wire = Wire("urllib3")
        for _ in range(2):
            exchange = wire.send(server.url, stream=True)
            assert b"".join(iter(lambda exchange=exchange: wire.read(exchange), b"")) == b"onetwo" + b"a" * 17  # type: ignore[misc]
            wire.finish(exchange)
        assert server.connections == 1
        wire.close()


def test_a_chunk_that_is_here_is_not_held_back_for_one_that_is_not() -> None:
    """The next chunk has begun and does not come: what came before it is shown at once, and the silence is timed."""

    def handler(peer: Peer) -> None:
        peer.request()
        peer.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\none\r\n3\r\ntwo\r\n5\r\nth")
        peer.stall()

    with Loopback(handler) as server:
        wire = Wire("urllib3")
        exchange = wire.send(server.url, stream=True)
        shown = b""
        while len(shown) < 6:
            shown += wire.read(exchange, idle_s=2.0)
        assert shown == b"onetwo"
        with pytest.raises(Expired):
            wire.read(exchange, idle_s=0.2)
        wire.finish(exchange)
        wire.close()
