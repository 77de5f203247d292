"""Streams told from documents by their first byte."""

import pytest

from penstock._wire import sniff
from penstock._wire.sniff import Sniffer, looks_like_stream
from penstock.errors import ServerFault


@pytest.mark.parametrize("blank", [b"", b"\xef\xbb\xbf", b"\n  \n"])
def test_a_stream_is_passed_on_with_what_came_before(blank: bytes) -> None:
    """Nothing is lost while the first byte is awaited."""
    sniffer = Sniffer()
    passed = b"".join(sniffer.feed(bytes([byte])) for byte in blank)
    passed += sniffer.feed(b"data: 1")
    assert passed == blank + b"data: 1"
    assert sniffer.is_stream
    assert "data: 1" in sniffer.head()


@pytest.mark.parametrize("start", [b"{", b"[", b"<"])
def test_a_document_is_kept_to_its_end(start: bytes) -> None:
    """JSON and HTML begin with these, no event does."""
    sniffer = Sniffer()
    assert sniffer.feed(b" \n" + start) == b""
    assert sniffer.feed(b"rest") == b""
    assert sniffer.is_document
    assert sniffer.document() == b" \n" + start + b"rest"


def test_a_document_without_end_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """It cannot fill the memory."""
    monkeypatch.setattr(sniff, "MAX_DOCUMENT_BYTES", 10)
    sniffer = Sniffer()
    sniffer.feed(b"{" * 10)
    with pytest.raises(ServerFault, match="larger than 10 bytes"):
        sniffer.feed(b"{")


@pytest.mark.parametrize(
    ("body", "is_stream"),
    [(b"data: x", True), (b"\xef\xbb\xbfevent: x", True), (b": ping", True), (b"\n\nid: 1", True),
     (b'{"data": 1}', False), (b"<html>", False), (b"", False)],
)  # fmt: skip
def test_a_whole_body_is_told_too(body: bytes, is_stream: bool) -> None:
    """For answers that were asked for as JSON."""
    assert looks_like_stream(body) is is_stream
