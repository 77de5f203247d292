"""A queue with one reader behind it, at its own pace."""

from typing import Any

from penstock._io.mailbox import Mailbox

FOR_EVER_S = 600.0


def test_letters_of_one_interval_are_read_together() -> None:
    """The first one wakes the reader, which waits for others, or for the end."""
    read: list[list[Any]] = []
    box = Mailbox("test", read.append, most=10, interval_s=FOR_EVER_S)
    for letter in range(3):
        box.post(letter)
    assert box.close()
    assert read == [[0, 1, 2]]


def test_what_comes_while_it_reads_waits_for_the_next_time() -> None:
    """A busy client would else have its letters read one by one."""
    read: list[list[Any]] = []

    def answer(letters: list[Any]) -> None:
        read.append(letters)
        if len(read) < 3:
            box.post(f"while {letters} was read")

    box = Mailbox("test", answer, most=10, interval_s=FOR_EVER_S)
    box.post("first")
    assert box.flush()
    assert read == [["first"]]
    assert len(box) == 1
    assert box.close()
    assert len(read) == 3
