"""Helpers around a stream: callbacks for what comes, a writer of whole words, and how long it took.

with Client() as client, TerminalWriter() as out:
    answer = process(client.stream("Explain an OOM kill.", model="openai:gpt-4o-mini"), on_text=out.write)
print(timing(answer))
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import Final, Self, TextIO, TypedDict, Unpack

import msgspec

from .client import AsyncStream, Stream
from .types import Chunk, Response, ToolCall

__all__ = ["Callbacks", "TerminalWriter", "Timing", "process", "process_async", "timing"]


TELLING_S: Final = 0.01
"""An answer that came within a shorter time came at once, and tells no speed."""


class Callbacks(TypedDict, total=False):
    """What is called while a stream is read; all of them are plain functions, also beside an AsyncStream.

    `on_first_token` gets the seconds from when reading began to the first output, `on_text` and `on_reasoning` pieces
    of text of the first choice, `on_chunk` every chunk, `on_tool_call` each whole call once the stream has ended,
    `on_end` the whole answer, `on_error` what broke it before that is raised.
    """

    on_first_token: Callable[[float], object]
    on_text: Callable[[str], object]
    on_reasoning: Callable[[str], object]
    on_chunk: Callable[[Chunk], object]
    on_tool_call: Callable[[ToolCall], object]
    on_end: Callable[[Response], object]
    on_error: Callable[[BaseException], object]


class _Processor:
    """Calls back for chunks."""

    def __init__(self, callbacks: Callbacks) -> None:
        unknown = sorted(callbacks.keys() - Callbacks.__annotations__.keys())
        if unknown:
            raise TypeError(f"{unknown[0]!r} is no callback; expected {', '.join(Callbacks.__annotations__)}")
        self._call = callbacks
        self._began = time.monotonic()
        self._first = True

    def see(self, chunk: Chunk) -> None:
        call = self._call
        if self._first and chunk.kind not in ("usage", "stop"):
            self._first = False
            if "on_first_token" in call:
                call["on_first_token"](time.monotonic() - self._began)
        if "on_chunk" in call:
            call["on_chunk"](chunk)
        if chunk.choice == 0:
            if chunk.kind == "text" and "on_text" in call:
                call["on_text"](chunk.text)
            elif chunk.kind == "reasoning" and "on_reasoning" in call:
                call["on_reasoning"](chunk.text)

    def end(self, response: Response) -> Response:
        if "on_tool_call" in self._call:
            for each in response.tool_calls:
                self._call["on_tool_call"](each)
        if "on_end" in self._call:
            self._call["on_end"](response)
        return response

    def broke(self, error: BaseException) -> None:
        if "on_error" in self._call:
            self._call["on_error"](error)


def process(stream: Stream, **callbacks: Unpack[Callbacks]) -> Response:
    """Read a stream to its end, call back for what comes, and return the whole answer.

    When a callback raises, the stream is left and what was used is settled.

    Raises: PenstockError as the stream does, after `on_error`; whatever a callback raises.
    """
    processor = _Processor(callbacks)
    with stream:
        try:
            for chunk in stream:
                processor.see(chunk)
        except BaseException as error:
            processor.broke(error)
            raise
        return processor.end(stream.response)


async def process_async(stream: AsyncStream, **callbacks: Unpack[Callbacks]) -> Response:
    """Read a stream to its end in the running loop, as `process` does.

    Raises: as `process`.
    """
    processor = _Processor(callbacks)
    async with stream:
        try:
            async for chunk in stream:
                processor.see(chunk)
        except BaseException as error:
            processor.broke(error)
            raise
        return processor.end(stream.response)


class TerminalWriter:
    """Writes text as it comes, a whole word at a time, so that no word jumps to the next line while it is read.

    With a `width` in columns words that do not fit begin a new line, after `indent`. Use it in a `with` block, or call
    `end`: the last word is written then, and an end of line where there is none.
    """

    def __init__(self, out: TextIO | None = None, *, width: int | None = None, indent: str = "") -> None:
        self._out = out or sys.stdout
        self._width = width
        self._indent = indent
        self._word = ""
        self._column = 0
        self._wrote = False

    def write(self, text: str) -> None:
        """Take in a piece; what is no whole word yet is kept."""
        self._word += text
        cut = max(self._word.rfind(" "), self._word.rfind("\n"), self._word.rfind("\t")) + 1
        if cut:
            ready, self._word = self._word[:cut], self._word[cut:]
            self._put(ready)
            self._out.flush()

    def end(self) -> None:
        """Write what is left, and end the line."""
        if self._word:
            self._put(self._word)
            self._word = ""
        if self._wrote and self._column:
            self._out.write("\n")
            self._column = 0
        self._out.flush()

    def _put(self, text: str) -> None:
        self._wrote = True
        if self._width is None:
            self._out.write(text)
            self._column = len(text) - text.rfind("\n") - 1 + (self._column if "\n" not in text else 0)
            return
        for line in text.splitlines(keepends=True):
            for word in line.split(" "):
                self._put_word(word, self._width)
            self._out.flush()

    def _put_word(self, word: str, width: int) -> None:
        # Each word but the last of a line had a blank behind it; it is written before the next word.
        bare = word.rstrip("\n")
        if bare:
            if self._column == 0:
                self._out.write(self._indent)
                self._column = len(self._indent)
            elif self._column + 1 + len(bare) > width:
                self._out.write(f"\n{self._indent}")
                self._column = len(self._indent)
            else:
                self._out.write(" ")
                self._column += 1
            self._out.write(bare)
            self._column += len(bare)
        if word.endswith("\n"):
            self._out.write("\n" * (len(word) - len(bare)))
            self._column = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.end()


class Timing(msgspec.Struct, frozen=True, kw_only=True):
    """How long an answer took, in seconds: to its first output (None unless it was streamed) and in all.

    `tokens` are those of the answer; `estimated` says that the provider did not report them.
    """

    first_token_s: float | None
    total_s: float
    tokens: int
    estimated: bool = False

    @property
    def tokens_per_s(self) -> float | None:
        """How fast it came once it came; None where that cannot be told."""
        taken_s = self.total_s - (self.first_token_s or self.total_s)
        return (self.tokens - 1) / taken_s if taken_s >= TELLING_S and self.tokens > 1 else None

    def __str__(self) -> str:
        parts = [] if self.first_token_s is None else [f"first token {self.first_token_s:.2f} s"]
        parts.append(f"{self.total_s:.2f} s in all")
        if self.tokens_per_s is not None:
            parts.append(f"{'about ' if self.estimated else ''}{self.tokens_per_s:,.0f} tokens/s")
        return ", ".join(parts)


def timing(response: Response) -> Timing:
    """Return how long an answer took."""
    return Timing(
        first_token_s=response.first_token_s,
        total_s=response.latency_s,
        tokens=response.usage.completion,
        estimated=response.usage.estimated,
    )
