"""The event parser: any split of the same bytes, any line end, the same events."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock._text import sse
from penstock._text.sse import Event, Parser

STREAM = (
    '\ufeff: a comment\n\nevent: größe\ndata: {"a": "ü€😀"}\n\ndata:no space\ndata: two\ndata\n\n'
    ": ping\n\nid: 7\nretry: 10\n\ndata:\n\nevent: lonely\n\nunknown: x\ndata: last"
).encode()
EVENTS = [
    Event("größe", '{"a": "ü€😀"}'.encode()),
    Event("", b"no space\ntwo\n"),
    Event("", b""),
    Event("", b"last"),
]


def parsed(pieces: list[bytes]) -> list[Event]:
    parser = Parser()
    events = [event for piece in pieces for event in parser.feed(piece)]
    return events + parser.finish()


def split(data: bytes, cuts: list[int]) -> list[bytes]:
    places = sorted({cut % (len(data) + 1) for cut in cuts})
    return [data[start:end] for start, end in zip([0, *places], [*places, len(data)], strict=True)]


@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\r"])
@given(cuts=st.lists(st.integers(min_value=0), max_size=30))
def test_any_split_and_any_line_end_give_the_same_events(end: bytes, cuts: list[int]) -> None:
    """Pieces may end anywhere, inside a character, a line end or the BOM."""
    assert parsed(split(STREAM.replace(b"\n", end), cuts)) == EVENTS


@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\r"])
def test_bytes_one_by_one_give_the_same_events(end: bytes) -> None:
    """The finest split is no exception."""
    data = STREAM.replace(b"\n", end)
    assert parsed([data[place : place + 1] for place in range(len(data))]) == EVENTS


@given(data=st.binary(max_size=200), cuts=st.lists(st.integers(min_value=0), max_size=10))
def test_arbitrary_bytes_never_raise_and_split_alike(data: bytes, cuts: list[int]) -> None:
    """Garbage gives some events, the same for every split."""
    assert parsed(split(data, cuts)) == parsed([data])


def test_events_come_out_as_soon_as_their_blank_line_is_in() -> None:
    """The first byte that ends an event releases it."""
    parser = Parser()
    assert parser.feed(b"data: 1\n") == []
    assert parser.feed(b"\n") == [Event("", b"1")]
    assert not parser.open


def test_open_says_that_something_would_be_cut_off() -> None:
    """A begun line and begun data both count."""
    parser = Parser()
    parser.feed(b"da")
    assert parser.open
    parser.feed(b"ta: 1\n")
    assert parser.open


def test_an_event_name_does_not_outlive_its_event() -> None:
    """A blank line forgets the name, also when there was no data."""
    assert parsed([b"event: a\n\ndata: 1\n\n"]) == [Event("", b"1")]


def test_an_event_without_end_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither one long line nor many lines of data can fill the memory."""
    monkeypatch.setattr(sse, "MAX_EVENT_BYTES", 100)
    with pytest.raises(ValueError, match="larger than 100 bytes"):
        parsed([b"data: "] + [b"x" * 30] * 10)
    with pytest.raises(ValueError, match="larger than 100 bytes"):
        parsed([b"data: " + b"x" * 30 + b"\n"] * 10)
    assert len(parsed([b"data: " + b"x" * 90 + b"\n\n"] * 10)) == 10


def test_a_held_carriage_return_at_the_end_is_no_data() -> None:
    """A stream that ends in CR has no line feed to wait for."""
    assert parsed([b"data: 1\r"]) == [Event("", b"1")]
    assert parsed([b"\xef\xbb\xbfdata: 1"]) == [Event("", b"1")]
