"""Server-sent events: bytes in any split, events out.

The parser follows the WHATWG grammar (CRLF, LF or CR line ends, BOM, comments, `data:` with or without a space, data
over several lines), with one addition: an event that the server did not end with a blank line is given out at the end
of the bytes. `id` and `retry` are ignored, since nobody reconnects to an LLM stream.

Source: https://html.spec.whatwg.org/multipage/server-sent-events.html#event-stream-interpretation (read 2026-11).
"""

from __future__ import annotations

from typing import Final

import msgspec

MAX_EVENT_BYTES: Final = 32 * 1024 * 1024
"""No event may be larger: the largest honest ones carry base64 images or audio of some 20 MB."""

_BOM: Final = b"\xef\xbb\xbf"


class Event(msgspec.Struct, frozen=True, gc=False):
    """One event: its name ('' where the server gave none) and its data, still bytes, for a JSON decoder."""

    event: str
    data: bytes


class Parser:
    """Turns the bytes of a stream into events; any split of the same bytes gives the same events.

    `open` says whether bytes came that belong to no event yet, so that an end of the stream now cuts something off.
    """

    __slots__ = ("_at_start", "_data", "_held", "_held_bytes", "_name", "_size")

    def __init__(self) -> None:
        self._held: list[bytes] = []  # pieces of a line whose end has not come
        self._held_bytes = 0
        self._data: list[bytes] = []
        self._size = 0
        self._name = ""
        self._at_start = True

    @property
    def open(self) -> bool:
        """Whether an event has begun and not ended."""
        return bool(self._held or self._data)

    def feed(self, data: bytes) -> list[Event]:
        """Take the next bytes and return the events that they complete.

        Raises: ValueError when an event grows beyond MAX_EVENT_BYTES.
        """
        if b"\n" not in data and b"\r" not in data and not self._ends_in_cr():
            self._hold(data)
            return []
        if self._held:
            self._held.append(data)
            data = b"".join(self._held)
            self._held = []
            self._held_bytes = 0
        if self._at_start:
            self._at_start = False
            if data.startswith(_BOM):
                data = data[3:]
        if b"\r" in data:
            if data.endswith(b"\r"):  # its \n may be in the next bytes
                cut = max(data.rfind(b"\n"), data.rfind(b"\r", 0, -1)) + 1
                self._hold(data[cut:])
                data = data[:cut]
            data = data.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        lines = data.split(b"\n")
        rest = lines.pop()
        events: list[Event] = []
        for line in lines:
            self._take(line, events)
        if rest:
            self._hold(rest)
        return events

    def finish(self) -> list[Event]:
        """Say that the bytes ended, and return the last event where its blank line is missing."""
        rest = b"".join(self._held)
        self._held = []
        self._held_bytes = 0
        if self._at_start and rest.startswith(_BOM):
            rest = rest[3:]
        events: list[Event] = []
        if rest:
            self._take(rest.rstrip(b"\r"), events)
        self._take(b"", events)
        return events

    def _ends_in_cr(self) -> bool:
        return bool(self._held) and self._held[-1].endswith(b"\r")

    def _hold(self, piece: bytes) -> None:
        if piece:
            self._held.append(piece)
            self._held_bytes += len(piece)
            self._check(self._held_bytes)

    def _check(self, size: int) -> None:
        if size + self._size > MAX_EVENT_BYTES:
            raise ValueError(f"an event of the stream is larger than {MAX_EVENT_BYTES:,} bytes")

    def _take(self, line: bytes, events: list[Event]) -> None:
        if not line:
            if self._data:
                events.append(Event(self._name, self._data[0] if len(self._data) == 1 else b"\n".join(self._data)))
                self._data = []
                self._size = 0
            self._name = ""
        elif line.startswith(b"data:"):
            value = line[6:] if line[5:6] == b" " else line[5:]
            self._check(len(value))
            self._size += len(value) + 1
            self._data.append(value)
        elif line.startswith(b"event:"):
            value = line[7:] if line[6:7] == b" " else line[6:]
            self._name = value.decode("utf-8", "replace")
        elif line == b"data":
            self._data.append(b"")
