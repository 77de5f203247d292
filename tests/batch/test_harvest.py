"""Results joined to rows: each row has one end, whatever lines came."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from penstock import AsyncClient
from penstock._flow.providerbatch import Desk
from penstock._io.shardlog import Download, ShardRow
from penstock._wire import batchfile
from penstock._wire.batchfile import Problem, Seen
from penstock.batch.harvest import Ended, Tally, join, read
from penstock.errors import CallError, InvalidRequest
from penstock.types import Response

TAG = "j0b/0001"
ROWS = [ShardRow(f"r{number}", "ab") for number in range(4)]
SENT_S = 1_795_132_800.0
CLIENT = AsyncClient(config=False, env={}, keys={"openai": "k"})


def desk() -> Desk:
    lane = CLIENT._lane("openai:gpt-4o-mini")
    kind = batchfile.dialect(lane.provider)
    assert kind is not None
    return Desk(lane, kind)


def answer(number: int | str, **response: Any) -> bytes:
    body = {
        "choices": [{"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": f"a{number}"}}],
        "usage": {"prompt_tokens": 1000, "completion_tokens": 100, "total_tokens": 1100},
    }
    name = f"p-j0b-0001-{number}" if isinstance(number, int) else number
    line = {"custom_id": name, "response": {"status_code": 200, "body": body, **response}}
    return json.dumps(line).encode()


def ends(
    folder: Path, lines: list[bytes], *, state: Any = "completed", problems: tuple[Problem, ...] = ()
) -> list[Ended]:
    keep = Download(folder / "out")
    keep.take(b"\n".join(lines), first=True, last=True)
    keep.finish()
    seen = Seen(id="b", state=state, word=state, problems=problems, created_s=SENT_S, ended_s=SENT_S + 60)
    found = read(keep, desk(), TAG, len(ROWS))
    return list(join(keep, ROWS, found, seen, desk(), CLIENT.settings.prices))


def test_answers_come_in_any_order_at_the_price_of_a_batch(tmp_path: Path) -> None:
    """Each at its row, with what it used and how long the batch took."""
    found = ends(tmp_path, [answer(number) for number in (2, 0, 3, 1)])
    assert [each.row.id for each in found] == ["r0", "r1", "r2", "r3"]
    for number, each in enumerate(found):
        assert isinstance(each.end, Response)
        assert (each.end.text, each.end.cost_nano, each.end.latency_s) == (f"a{number}", 75_000 + 30_000, 60.0)
        assert [attempt.outcome for attempt in each.end.attempts] == ["ok"]


def test_a_line_that_failed_its_batch_has_its_error_and_the_others_are_asked_again(tmp_path: Path) -> None:
    """Nothing of it was executed or paid."""
    problem = Problem("missing_required_parameter", "Missing required parameter: 'x'.", 2)
    found = ends(tmp_path, [], state="failed", problems=(problem,))
    assert [each.executed for each in found] == [False, True, False, False]
    bad = found[1].end
    assert isinstance(bad, InvalidRequest)
    assert not bad.retriable
    assert "Missing required parameter: 'x'" in bad.message
    others = [each.end for each in found if each.executed is False]
    assert all(isinstance(end, CallError) and end.retriable and end.cost_nano == 0 for end in others)


def test_an_answer_that_is_none_costs_nobody_knows_what(tmp_path: Path) -> None:
    """A 200 with an error inside fails its row alone."""
    found = ends(tmp_path, [answer(0, body={"error": {"message": "oops"}}), *[answer(n) for n in (1, 2, 3)]])
    assert isinstance(found[0].end, CallError)
    assert found[0].end.cost_nano is None
    tally = Tally()
    for each in found:
        tally = tally.plus(each)
    assert tally == (3, 1, 0, None)


JUNK = st.sampled_from(
    [
        b"",
        b"{",
        b"\xff",
        b"null",
        answer("somebody-else"),
        answer("p-j0b-0001-9"),
        answer("p-j0b-0001-x"),
        answer(0)[:40],
    ]
)


@given(st.permutations(range(4)), st.lists(JUNK, max_size=6), st.lists(st.integers(0, 3), max_size=4), st.randoms())
def test_no_line_moves_an_answer_to_another_row(
    order: list[int], junk: list[bytes], twice: list[int], chance: Any
) -> None:
    """Whatever stands between them, and however often one comes."""
    lines = [answer(number) for number in [*order, *twice]] + junk
    chance.shuffle(lines)
    with tempfile.TemporaryDirectory() as folder:
        found = ends(Path(folder), lines)
    assert [each.end.text for each in found if isinstance(each.end, Response)] == ["a0", "a1", "a2", "a3"]
