"""Tell a stream of events from a document (JSON, HTML) by its first byte that is not blank."""

from __future__ import annotations

from typing import Final

from ..errors import CallError, ServerFault

MAX_DOCUMENT_BYTES: Final = 64 * 1024 * 1024
"""A document in place of a stream is kept whole; no honest answer is larger."""

_BLANK: Final = b"\xef\xbb\xbf \t\r\n"
_DOCUMENT_STARTS: Final = b"{[<"


class Sniffer:
    """Holds bytes back until it is known what they are; a document is kept until its end.

    `is_stream` becomes true with the first byte of a stream; from then on the caller needs `feed` no more.
    """

    __slots__ = ("_held", "_seen", "_size", "is_document", "is_stream")

    def __init__(self) -> None:
        self.is_stream = False
        self.is_document = False
        self._held: list[bytes] = []
        self._size = 0
        self._seen = b""

    def feed(self, data: bytes) -> bytes:
        """Return the bytes that are known to be of a stream.

        Raises: CallError when a document grows too large.
        """
        self._held.append(data)
        self._size += len(data)
        if self._size > MAX_DOCUMENT_BYTES:
            self._held = []
            raise _too_large()
        if self.is_document:
            return b""
        start = data.lstrip(_BLANK)[:1]
        if not start:
            return b""
        if start in _DOCUMENT_STARTS:
            self.is_document = True
            return b""
        self.is_stream = True
        body = b"".join(self._held)
        self._seen = body[:200]
        self._held = []
        return body

    def document(self) -> bytes:
        """Return everything that was held back."""
        body = b"".join(self._held)
        self._held = []
        return body

    def head(self) -> str:
        """Return the first characters that came, for an error message."""
        return self._seen.decode("utf-8", "replace").strip()


def looks_like_stream(body: bytes) -> bool:
    """Whether a whole body is a stream of events."""
    if body[:1] == b"{":
        return False
    start = body[:256].lstrip(_BLANK)
    return start.startswith((b"data:", b"event:", b":", b"id:", b"retry:"))


def _too_large() -> CallError:
    return ServerFault(f"the answer is larger than {MAX_DOCUMENT_BYTES:,} bytes")
