"""The fast loopback server: precomputed answers over keep-alive connections, in a process of its own.

    POST …/chat/completions   OpenAI's answer, or its stream when the body asks for one
    POST …/messages           the same of Anthropic
    POST /hold/1000/…         the answer, once 1000 such requests wait for one

Prints its port and serves until its standard input ends, so that it never outlives who started it.
"""

import asyncio
import resource
import sys
from typing import Final, cast

from bench import answers

BACKLOG: Final = 2048
"""Connections that may wait to be accepted: more than the 1,000 that arrive at once."""
FILES_MAX: Final = 16_384
BURST_GAP_S: Final = 0.001
"""Between two bursts of a stream: long enough that a fast client sees each of them by itself, like a slow one."""

HEAD_END: Final = b"\r\n\r\n"
LENGTH: Final = b"\r\ncontent-length:"
STREAM_MARKS: Final = (b'"stream":true', b'"stream": true')


class Book:
    """The answers by path, and who waits for the others of a held group."""

    def __init__(self) -> None:
        openai, anthropic = answers.OPENAI_HEADERS, answers.ANTHROPIC_HEADERS
        self.whole = {
            b"completions": answers.whole(openai, answers.openai_reply()),
            b"messages": answers.whole(anthropic, answers.anthropic_reply()),
        }
        self.streams = {
            b"completions": answers.bursts(openai, answers.openai_events()),
            b"messages": answers.bursts(anthropic, answers.anthropic_events()),
        }
        self.held: list[asyncio.Transport] = []

    def hold(self, transport: asyncio.Transport, count: int, answer: bytes) -> None:
        """Keep a request waiting until `count` of them wait, then answer all."""
        self.held.append(transport)
        if len(self.held) >= count:
            waiting, self.held = self.held, []
            for each in waiting:
                each.write(answer)


class Connection(asyncio.Protocol):
    """One keep-alive connection; no pipelining, no chunked request bodies: none of the contestants uses them."""

    transport: asyncio.Transport

    def __init__(self, book: Book) -> None:
        self.book = book
        self.pending = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)

    def connection_lost(self, exc: Exception | None) -> None:
        if self.transport in self.book.held:
            self.book.held.remove(self.transport)

    def data_received(self, data: bytes) -> None:
        self.pending += data
        end = self.pending.find(HEAD_END)
        if end < 0:
            return
        request_head = self.pending[:end]
        start = request_head.lower().find(LENGTH)
        length = int(request_head[start + len(LENGTH) :].split(b"\r\n", 1)[0]) if start >= 0 else 0
        if len(self.pending) < end + len(HEAD_END) + length:
            return
        body, self.pending = self.pending[end + len(HEAD_END) :], b""
        self.answer(request_head.split(b" ", 2)[1], body)

    def answer(self, path: bytes, body: bytes) -> None:
        steps = path.split(b"?", 1)[0].split(b"/")
        whole = self.book.whole.get(steps[-1])
        if whole is None:
            self.transport.write(b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n")
        elif steps[1] == b"hold":
            self.book.hold(self.transport, int(steps[2]), whole)
        elif any(mark in body for mark in STREAM_MARKS):
            self.burst(self.book.streams[steps[-1]], 0)
        else:
            self.transport.write(whole)

    def burst(self, bursts: tuple[bytes, ...], number: int) -> None:
        if self.transport.is_closing():
            return
        self.transport.write(bursts[number])
        if number + 1 < len(bursts):
            asyncio.get_running_loop().call_later(BURST_GAP_S, self.burst, bursts, number + 1)


async def serve() -> None:
    loop, book = asyncio.get_running_loop(), Book()
    server = await loop.create_server(lambda: Connection(book), "127.0.0.1", 0, backlog=BACKLOG)
    print(server.sockets[0].getsockname()[1], flush=True)
    await loop.run_in_executor(None, sys.stdin.read)
    server.close()


def open_many_files() -> None:
    """Allow as many sockets as the machine does, up to a bound of our own."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = FILES_MAX if hard == resource.RLIM_INFINITY else min(FILES_MAX, hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, wanted), hard))


if __name__ == "__main__":
    open_many_files()
    try:
        import uvloop
    except ImportError:
        asyncio.run(serve())
    else:
        uvloop.run(serve())
