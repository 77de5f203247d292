"""How a report looks: on a terminal between words, in a pipe as it is, and never with what moves a cursor."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.cli.rendered import Wrapped, rendered

VALUE = {
    "severity": "P1",
    "summary": "The disk of payments-db is full, so that nothing can be written.",
    "causes": [{"cause": "Old WAL was kept", "confidence": 0.9, "evidence": ["FATAL could not write to file pg_wal"]}],
    "actions": [{"action": "Free some room", "command": "kubectl exec payments-db-0 -- df -h /var/lib/postgresql"}],
    "unknown": ["What keeps the write-ahead log from being removed"],
}
NARROW = """\
Severity: P1

Summary
The disk of payments-db is
full, so that nothing can be
written.

Causes
1. Old WAL was kept
   confidence: 90%
   > FATAL could not write to
     file pg_wal

Actions
1. Free some room
   $ kubectl exec payments-db-0 -- df -h /var/lib/postgresql

Not known yet
- What keeps the write-ahead
  log from being removed
"""


def test_long_lines_go_on_under_their_beginning_and_commands_stay_whole(capsys: pytest.CaptureFixture[str]) -> None:
    """At 30 columns."""
    out = Wrapped(30)
    out.write(rendered(VALUE, bold=False))
    out.end()
    assert capsys.readouterr().out == NARROW


@given(st.lists(st.integers(1, 40)), st.booleans())
def test_it_looks_the_same_however_the_text_comes(cuts: list[int], bold: bool) -> None:
    """In pieces of any size; styles have no width."""
    text = rendered(VALUE, bold=bold)
    out, seen, left = Wrapped(30), [""], text
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("click.echo", lambda text="", nl=True: seen.append(text + ("\n" if nl else "")))
        for cut in cuts:
            out.write(left[:cut])
            left = left[cut:]
        out.write(left)
        out.end()
    assert "".join(seen).replace("\x1b[1m", "").replace("\x1b[0m", "") == NARROW


def test_into_a_pipe_it_is_as_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    """No line is broken."""
    out = Wrapped()
    out.write(rendered(VALUE, bold=False))
    out.end()
    assert capsys.readouterr().out == rendered(VALUE, bold=False) + "\n"


def test_what_a_log_wrote_moves_no_cursor() -> None:
    """A model quotes logs, and anybody may write into those."""
    sly = "\x1b[2J\x1b]0;all is well\x07P4\rgone\u202e"
    shown = rendered({"severity": sly, "summary": sly, "causes": [{"cause": sly, "evidence": [sly]}], "unknown": [sly]},
                     bold=False)  # fmt: skip
    assert all(sign.isprintable() or sign == "\n" for sign in shown)
    assert "all is well" in shown
