"""Bulk runs against the simulator: nothing lost, nothing paid twice, never over budget."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from penstock import AsyncClient, Budget, Message
from penstock.batch import Batch, BatchReport, Row, RowFile, Rows, run_batch
from penstock.errors import EXIT_IO, BudgetExceeded, ConfigError, InputError
from penstock.sim import Latency, Limits, SimConfig, SimServer

OPENAI, ANTHROPIC = "openai:gpt-4o-mini", "anthropic:claude-haiku-4-5"


def client(sim: SimServer, **options: Any) -> AsyncClient:
    """A client of a simulator that reads no settings."""
    return AsyncClient(
        base_urls={"openai": f"{sim.url}/v1", "anthropic": sim.url},
        keys={"openai": "k", "anthropic": "k"} | options.pop("keys", {}),
        config=False,
        env={},
        **options,
    )


def some(count: int, **options: Any) -> list[Row]:
    """Rows with a question each."""
    return [Row(id=f"r{number}", prompt=f"Error or not? case {number}", **options) for number in range(count)]


def go(sim: SimServer, rows: Rows, output: Path, *, models: Any = (OPENAI,), **options: Any) -> BatchReport:
    """Run a job to its end."""
    named = ("concurrency", "params", "count_earlier", "template", "keep_columns", "order", "retry_failed", "dedupe")
    chosen = {name: options.pop(name) for name in named if name in options}

    async def main() -> BatchReport:
        async with client(sim, **options) as made:
            return await run_batch(rows, str(output), client=made, models=models, **chosen)

    return asyncio.run(main())


async def some_answers(batch: Batch, count: int) -> None:
    """Let a run go until it has so many answers."""
    while batch.report.answered < count:  # noqa: ASYNC110 - a run tells nobody
        await asyncio.sleep(0)


def lines(path: Path) -> list[dict[str, Any]]:
    """The results in a file."""
    return [json.loads(row) for row in path.read_bytes().splitlines()]


def test_every_row_is_answered_in_the_order_of_the_input(tmp_path: Path) -> None:
    """Each line has what it took; the sum of the costs is the bill."""
    with SimServer() as sim:
        report = go(sim, some(100), tmp_path / "out", models=[OPENAI, ANTHROPIC])
        bill = sim.bill()
    found = lines(tmp_path / "out")
    assert [row["id"] for row in found] == [f"r{number}" for number in range(100)]
    assert {row["model"] for row in found} == {OPENAI, ANTHROPIC}
    assert all(row["error"] is None and row["text"] and row["usage"]["input"] and row["cost"] for row in found)
    assert (report.answered, report.failed, report.left, report.stopped) == (100, 0, 0, None)
    assert report.cost_nano == bill["total_nano"]


@pytest.mark.prove(21)
def test_a_second_run_pays_nothing(tmp_path: Path) -> None:
    """Every row has its answer already."""
    with SimServer() as sim:
        go(sim, some(20), tmp_path / "out")
        before = (tmp_path / "out").read_bytes()
        report = go(sim, some(20), tmp_path / "out")
        assert sim.bill()["attempts"] == 20
    assert (report.before, report.answered, report.attempts) == (20, 0, 0)
    assert (tmp_path / "out").read_bytes() == before


@pytest.mark.prove(21)
@pytest.mark.parametrize(
    ("changed", "again"),
    [
        ({"params": {"max_tokens": 7}}, 20),
        ({"models": [ANTHROPIC]}, 20),
        ({"rows": [*some(19), Row(id="r19", prompt="another question")]}, 1),
        ({"rows": [*some(25)]}, 5),
        ({"rows": list(reversed(some(20)))}, 0),
    ],
    ids=["parameter", "model", "one prompt", "more rows", "order"],
)
def test_only_rows_whose_question_changed_are_asked_again(tmp_path: Path, changed: dict[str, Any], again: int) -> None:
    """The prompt, the models and the parameters are the question; the place in the input is not."""
    with SimServer() as sim:
        go(sim, some(20), tmp_path / "out")
        rows = changed.pop("rows", some(20))
        go(sim, rows, tmp_path / "out", **changed)
        assert sim.bill()["attempts"] == 20 + again
    assert [row["id"] for row in lines(tmp_path / "out")] == [row.id for row in rows]


@pytest.mark.prove(21)
def test_failed_rows_carry_their_error_and_are_tried_by_the_next_run(tmp_path: Path) -> None:
    """One line per row, whatever happened to it."""
    with SimServer() as sim:
        sim.play('[[rule]]\nmatch = { contains = "case 3" }\nfault = { kind = "status", status = 400 }\ntimes = 1')
        report = go(sim, some(10), tmp_path / "out")
        assert (report.answered, report.failed, report.failures) == (9, 1, {"invalid_request": 1})
        failed = lines(tmp_path / "out")[3]
        assert failed["error"]["code"] == "invalid_request"
        assert (failed["error"]["status"], failed["error"]["retriable"], failed["text"]) == (400, False, None)
        report = go(sim, some(10), tmp_path / "out")
        assert (report.before, report.answered) == (9, 1)
    assert all(row["error"] is None for row in lines(tmp_path / "out"))


def test_rows_that_failed_in_passing_are_asked_once_more_at_the_end(tmp_path: Path) -> None:
    """Trouble that outlasts the retries of a call need not outlast the run."""
    from penstock import RetryPolicy

    with SimServer() as sim:
        sim.play('[[rule]]\nmatch = { contains = "case 3" }\nfault = { kind = "status", status = 503 }\ntimes = 2')
        report = go(sim, some(10), tmp_path / "out", retry=RetryPolicy(attempts=2, base_s=0.001))
    assert (report.answered, report.failed, report.failures) == (10, 0, {})
    assert [row["id"] for row in lines(tmp_path / "out")] == [row.id for row in some(10)]


def test_a_row_may_name_its_own_model_and_a_wrong_one_fails_alone(tmp_path: Path) -> None:
    """The rest of the run goes on."""
    rows = [*some(5), Row(id="x", prompt="a", model=ANTHROPIC), Row(id="y", prompt="a", model="nosuch:model")]
    with SimServer() as sim:
        report = go(sim, rows, tmp_path / "out", params={"max_tokens": 20})
    found = lines(tmp_path / "out")
    assert found[5]["model"] == ANTHROPIC
    assert found[6]["error"]["code"] == "unknown_provider"
    assert (report.answered, report.failed, report.stopped) == (6, 1, None)


BAD_OPTIONS: list[dict[str, Any]] = [
    {"params": {"deadline_s": -1}},
    {"params": {"tags": "a"}},
    {"params": {"priority": "P1"}},
    {"params": {"tier": "simple"}},
    {"params": {"tier": 3}},
    {"params": {"fallbacks": [3]}},
    {"params": {"fallbacks": ["nosuch:model"]}},
    {"params": {"max_tokens": "many"}},
    {"params": {"frobnicate": 1}},
    {"params": {"model": OPENAI}},
    {"params": {3: 4}},
    {"params": ["x"]},
    {"model": 7},
    {"model": "groq:llama"},
    {"prompt": ""},
    {"prompt": [{"role": ["user"], "content": "a"}]},
]


@pytest.mark.parametrize("bad", BAD_OPTIONS, ids=str)
def test_a_row_that_is_wrong_by_itself_fails_alone(tmp_path: Path, bad: dict[str, Any]) -> None:
    """Whatever is wrong with it, it is a failed row, and nothing is sent for it."""
    rows = [Row(**{"id": "bad", "prompt": "a", **bad}), *some(30)]
    with SimServer() as sim:
        report = go(sim, rows, tmp_path / "out")
        assert sim.bill()["attempts"] == 30
    assert (report.answered, report.failed, report.stopped) == (30, 1, None)
    failed = lines(tmp_path / "out")[0]
    assert (failed["id"], failed["error"]["retriable"], failed["attempts"]) == ("bad", False, 0)
    assert failed["error"]["code"] in ("config", "input", "unknown_provider", "missing_key")


@pytest.mark.parametrize("field", ["model", "fallbacks", "tier"])
def test_a_row_of_a_file_that_the_client_cannot_ask_is_found_before_anything_is_paid(
    tmp_path: Path, field: str
) -> None:
    """It needs the settings to be seen, and is named with its line all the same."""
    value: object = {"model": "opnai:gpt-4o", "fallbacks": ["opnai:gpt-4o"], "tier": "simple"}[field]
    path = tmp_path / "in"
    path.write_text('{"prompt": "x"}\n' + json.dumps({"prompt": "y", field: value}) + "\n")
    with SimServer() as sim:
        with pytest.raises(InputError, match="line 2: ") as raised:
            go(sim, RowFile(path), tmp_path / "out")
        assert sim.bill()["attempts"] == 0
        assert ("simple" if field == "tier" else "did you mean 'openai'") in str(raised.value)
        report = go(sim, RowFile(path, on_bad_row="skip"), tmp_path / "out")
    assert (report.answered, report.failed, report.stopped) == (1, 1, None)
    assert lines(tmp_path / "out")[1]["error"]["message"].startswith("line 2: ")


def test_a_row_with_a_tier_goes_where_the_tier_does(tmp_path: Path) -> None:
    """Not to the models of the job; and where it goes is part of its question."""
    rows = [*some(3), Row(id="t", prompt="a", params={"tier": "simple"})]
    with SimServer() as sim:
        go(sim, rows, tmp_path / "out", tiers={"simple": ANTHROPIC})
        assert [row["model"] for row in lines(tmp_path / "out")] == [OPENAI] * 3 + [ANTHROPIC]
        report = go(sim, rows, tmp_path / "out", tiers={"simple": "openai:gpt-4o"})
    assert (report.before, report.answered) == (3, 1)
    assert lines(tmp_path / "out")[3]["model"] == "openai:gpt-4o"


def test_a_job_that_says_two_places_or_none_is_refused(tmp_path: Path) -> None:
    """Before anything is sent, since all its rows would share the mistake."""
    with SimServer() as sim:
        for params in ({"tier": "simple"}, {"model": OPENAI}, {"deadline_s": 0}):
            with pytest.raises(ConfigError, match=next(iter(params))):
                go(sim, some(3), tmp_path / "out", params=params)
        with pytest.raises(ConfigError, match="No model"):
            go(sim, some(3), tmp_path / "out", models=[])
        assert sim.bill()["attempts"] == 0


def test_answers_of_another_base_url_are_no_answers(tmp_path: Path) -> None:
    """A real run on the output of a simulated one asks every row, and counts none of its cost."""
    with SimServer() as first, SimServer() as other:
        go(first, some(10), tmp_path / "out")
        assert go(first, some(10), tmp_path / "out").before == 10
        report = go(other, some(10), tmp_path / "out")
        assert other.bill()["attempts"] == 10
    assert (report.before, report.answered, report.cost_before_nano) == (0, 10, 0)
    assert len(lines(tmp_path / "out")) == 10


def test_every_attempt_beyond_the_first_of_a_row_is_a_retry(tmp_path: Path) -> None:
    """Those of the second pass and of another model too."""
    from penstock import RetryPolicy

    with SimServer() as sim:
        sim.play('[[rule]]\nmatch = { contains = "case 3" }\nfault = { kind = "status", status = 503 }\ntimes = 3')
        report = go(sim, some(10), tmp_path / "out", retry=RetryPolicy(attempts=2, base_s=0.001))
    assert (report.answered, report.attempts, report.retries) == (10, 13, 3)
    with SimServer() as sim:
        report = go(sim, some(20), tmp_path / "two", models=[OPENAI, ANTHROPIC], keys={"openai": "bad"})
    assert report.answered == 20
    assert report.attempts == 20 + report.retries > 20


@pytest.mark.prove(15)
def test_a_rerun_counts_what_the_output_records_as_spent(tmp_path: Path) -> None:
    """The cap is one for all runs of the job where the client begins with the run; figures and sentence say so."""
    options: dict[str, Any] = {"params": {"max_tokens": 40}, "count_earlier": True}
    with SimServer(SimConfig(latency=Latency(first_token_s=0.005))) as sim:
        sim.play('[[rule]]\nmatch = { nth = [3, 9] }\nfault = { kind = "status", status = 500 }')
        cap = go(sim, some(100), tmp_path / "all", **options).cost_nano // 2
        sim.reset()
        sim.play('[[rule]]\nmatch = { nth = [3, 9] }\nfault = { kind = "status", status = 500 }')
        budget = Budget(total=f"{cap / 1e9:.9f}")
        first = go(sim, some(100), tmp_path / "out", budget=budget, **options)
        assert first.stopped == "budget"
        spent = sim.bill()["total_nano"]
        again = go(sim, some(100), tmp_path / "out", budget=budget, **options)
        assert again.cost_before_nano == spent, "also of rows one of whose attempts has an unknown cost"
        assert sim.bill()["total_nano"] <= cap
        assert isinstance(again.cause, BudgetExceeded)
        assert (again.cause.cap_nano, again.cause.spent_nano) == (cap, spent + again.cost_nano)
        more = go(sim, some(100), tmp_path / "out", budget=Budget(total=f"{3 * cap / 1e9:.9f}"), **options)
        assert (more.left, more.cost_before_nano + more.cost_nano) == (0, sim.bill()["total_nano"])


def test_without_being_told_a_budget_is_the_clients_own(tmp_path: Path) -> None:
    """A client that lives on has the money in its account already."""
    with SimServer() as sim:
        first = go(sim, some(5), tmp_path / "out")
        report = go(sim, some(6), tmp_path / "out", budget=Budget(total="0.01"))
    assert (report.answered, report.stopped, report.cost_before_nano) == (1, None, first.cost_nano)


def test_a_row_carries_what_its_earlier_calls_cost(tmp_path: Path) -> None:
    """So that nothing of it is forgotten when its line is replaced."""
    with SimServer() as sim:
        sim.play('[[rule]]\nmatch = { contains = "case 3" }\nfault = { kind = "status", status = 400 }\ntimes = 1')
        go(sim, some(5), tmp_path / "out")
        out = lines(tmp_path / "out")
        out[3]["cost"] = 0.000123  # a failure that was paid, such as an answer that could not be read
        (tmp_path / "out").write_text("".join(json.dumps(row) + "\n" for row in out))
        report = go(sim, some(5), tmp_path / "out")
        line = lines(tmp_path / "out")[3]
        assert (line["error"], line["cost_before"]) == (None, 0.000123)
        again = go(sim, some(5), tmp_path / "out")
    assert again.cost_before_nano == report.cost_before_nano + report.cost_nano


def test_a_refused_key_wastes_few_calls(tmp_path: Path) -> None:
    """The run stops; its rows are left for a run with a better key."""
    with SimServer() as sim:
        report = go(sim, some(500), tmp_path / "out", keys={"openai": "bad"})
        assert len(sim.log()) <= 20
    assert report.stopped == "failed"
    assert report.cause is not None
    assert report.cause.code == "authentication"
    assert report.left == 500 - report.failed


def test_quota_that_runs_out_in_the_middle_stops_the_run_and_keeps_the_answers(tmp_path: Path) -> None:
    """Answers that were paid stay, the rest is asked by the next run."""
    with SimServer() as sim:
        go(sim, some(30), tmp_path / "out")
        sim.play('[[rule]]\nfault = { kind = "quota" }')
        report = go(sim, some(500), tmp_path / "out")
        assert (report.stopped, report.before, report.answered) == ("failed", 30, 0)
        assert report.cause is not None
        assert report.cause.code == "quota_exhausted"
        sim.play("")
        report = go(sim, some(500), tmp_path / "out")
    assert (report.answered, report.left) == (470, 0)


def test_rows_of_a_provider_that_refuses_go_to_the_other(tmp_path: Path) -> None:
    """No row is lost to it."""
    with SimServer() as sim:
        report = go(sim, some(200), tmp_path / "out", models=[OPENAI, ANTHROPIC], keys={"openai": "bad"})
    assert report.stopped is None
    assert report.answered == 200
    assert {lane.model: lane.closed for lane in report.lanes} == {OPENAI: True, ANTHROPIC: False}


@pytest.mark.prove(15)
def test_a_budget_is_used_up_and_never_overspent(tmp_path: Path) -> None:
    """Rows wait while money is only held, and stop once it is spent; what was left is asked under a higher cap."""
    with SimServer(SimConfig(latency=Latency(first_token_s=0.005))) as sim:
        full = go(sim, some(200), tmp_path / "all", params={"max_tokens": 40})
        cap = full.cost_nano // 2
        sim.reset()
        options: dict[str, Any] = {"params": {"max_tokens": 40}}
        report = go(sim, some(200), tmp_path / "out", budget=Budget(total=f"{cap / 1e9:.9f}"), **options)
        billed = sim.bill()["total_nano"]
        assert billed <= cap
        assert report.cost_nano == billed
        assert isinstance(report.cause, BudgetExceeded)
        assert report.cause.needed_nano is not None
        assert cap - billed < report.cause.needed_nano, "room that was only held must be used"
        assert (report.stopped, report.failed) == ("budget", 0)
        assert report.answered + report.left == 200
        assert len(lines(tmp_path / "out")) == report.answered
        report = go(sim, some(200), tmp_path / "out", **options)
        assert sim.bill()["total_nano"] == full.cost_nano
    assert report.left == 0


def test_a_stop_finishes_what_is_under_way_and_the_next_run_completes(tmp_path: Path) -> None:
    """Nothing that was paid is lost."""

    async def main(sim: SimServer) -> tuple[int, BatchReport]:
        async with client(sim) as made:
            batch = Batch(some(200), str(tmp_path / "out"), client=made, models=[OPENAI], concurrency=8)
            running = asyncio.create_task(batch.run())
            await some_answers(batch, 40)
            batch.stop()
            return batch.report.answered, await running

    with SimServer(SimConfig(latency=Latency(first_token_s=0.01))) as sim:
        when_stopped, report = asyncio.run(main(sim))
        assert report.stopped == "interrupted"
        assert 40 <= when_stopped <= report.answered <= when_stopped + 8
        assert sim.bill()["attempts"] == report.answered == len(lines(tmp_path / "out"))
        report = go(sim, some(200), tmp_path / "out")
        assert sim.bill()["attempts"] == 200
    assert (report.before + report.answered, report.left) == (200, 0)


@pytest.mark.prove(21)
def test_a_cancelled_run_leaves_whole_lines(tmp_path: Path) -> None:
    """Only calls under way are paid again."""

    async def main(sim: SimServer) -> None:
        async with client(sim) as made:
            batch = Batch(some(200), str(tmp_path / "out"), client=made, models=[OPENAI], concurrency=8)
            running = asyncio.create_task(batch.run())
            await some_answers(batch, 40)
            running.cancel()
            with pytest.raises(asyncio.CancelledError):
                await running

    with SimServer(SimConfig(latency=Latency(first_token_s=0.01))) as sim:
        asyncio.run(main(sim))
        done = len(lines(tmp_path / "out"))
        assert done >= 40
        report = go(sim, some(200), tmp_path / "out")
        assert sim.bill()["attempts"] <= 200 + 8
    assert (report.before, report.answered) == (done, 200 - done)


@pytest.mark.prove(1)
def test_limits_are_kept_without_a_429(tmp_path: Path) -> None:
    """The job waits in the gate, not at the server."""
    from penstock import Limits as Told

    limits = {"openai": Limits(rpm=6000)}
    with SimServer(SimConfig(limits=limits)) as sim:
        report = go(sim, some(150), tmp_path / "out", limits=Told(rpm=6000))
    assert (report.answered, report.rate_limited) == (150, 0)


def test_rows_that_can_be_read_only_once_are_copied_first(tmp_path: Path) -> None:
    """A generator, sync or async, of rows, dicts or prompts: all are asked, and a second run knows them again."""

    def rows() -> Iterator[Any]:
        yield Row(id="a", prompt=[Message("user", "x")], params={"max_tokens": 5})
        yield {"id": "b", "prompt": "y", "label": 3}
        yield "z"

    async def slowly() -> AsyncIterator[Any]:
        for row in rows():
            await asyncio.sleep(0)
            yield row

    with SimServer() as sim:
        first = go(sim, rows(), tmp_path / "out")
        again = go(sim, slowly(), tmp_path / "out")
        listed = go(sim, list(rows()), tmp_path / "out")
        assert sim.bill()["attempts"] == 3
    assert [row["id"] for row in lines(tmp_path / "out")] == ["a", "b", 3]
    assert (first.answered, again.before, listed.before) == (3, 3, 3)


def test_an_item_that_is_no_row_is_refused_with_its_number(tmp_path: Path) -> None:
    """Before anything is sent, wherever it comes from."""
    given: list[Any] = ["a", 7]
    for rows in (given, iter(given)):
        with SimServer() as sim, pytest.raises(InputError, match="row 2 is 7; expected a Row"):
            go(sim, rows, tmp_path / "out")


def test_dicts_are_columns_of_a_template(tmp_path: Path) -> None:
    """Python's own values too."""
    with SimServer() as sim:
        report = go(sim, [{"day": date(2026, 11, 20)}, {"day": None}], tmp_path / "out", template="Which day? {day}")
    assert (report.answered, report.failed) == (1, 1)
    assert "column 'day' of the prompt is null" in lines(tmp_path / "out")[1]["error"]["message"]


def test_rows_with_one_id_are_refused(tmp_path: Path) -> None:
    """Their answers could not be told apart."""
    with SimServer() as sim, pytest.raises(InputError, match="'r1'"):
        go(sim, [*some(3), *some(2)[1:]], tmp_path / "out")


def test_a_wrong_parameter_of_the_job_is_refused_before_anything_is_sent(tmp_path: Path) -> None:
    """And no output is made."""
    with SimServer() as sim:
        with pytest.raises(ConfigError, match="max_tokens"):
            go(sim, some(3), tmp_path / "out", params={"max_tokens": 0})
        assert sim.bill()["attempts"] == 0
    assert not (tmp_path / "out").exists()


def test_bad_rows_that_are_skipped_carry_their_error(tmp_path: Path) -> None:
    """They cost nothing and the others are answered."""
    path = tmp_path / "in"
    path.write_text('{"id": "a", "prompt": "x"}\nnonsense\n{"id": "b"}\n')
    with SimServer() as sim:
        report = go(sim, RowFile(path, on_bad_row="skip"), tmp_path / "out")
        assert sim.bill()["attempts"] == 1
    assert [(row["id"], row["error"] and row["error"]["code"]) for row in lines(tmp_path / "out")] == [
        ("a", None),
        ("line 2", "input"),
        ("b", "input"),
    ]
    assert (report.answered, report.failed) == (1, 2)


def test_a_full_disk_stops_the_run_and_loses_no_line(tmp_path: Path) -> None:
    """What was written stays whole; with room again the same run goes on."""
    from tests.io.test_journal import size_limit

    with SimServer() as sim:
        with size_limit(5000):
            report = go(sim, some(200), tmp_path / "out", concurrency=4)
        assert report.stopped == "output"
        assert report.cause is not None
        assert report.cause.exit_code == EXIT_IO
        assert len(lines(tmp_path / "out")) == report.answered > 5
        assert sim.bill()["attempts"] <= report.answered + 8
        report = go(sim, some(200), tmp_path / "out")
    assert (report.left, report.failed) == (0, 0)


@pytest.mark.prove(21)
def test_answers_under_way_find_room_when_the_disk_fills(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The room kept aside takes them, so that none is paid twice. The disk is a stand-in: a real one needs root."""
    import errno

    from penstock._io.journal import Journal

    free = {"bytes": 5000}
    write, release = Journal._write, Journal.free_reserve

    def limited(self: Journal, data: bytes) -> None:
        if free["bytes"] < len(data):
            raise OSError(errno.ENOSPC, "No space left on device")
        free["bytes"] -= len(data)
        write(self, data)

    def freed(self: Journal) -> None:
        if free["bytes"] < 100_000:
            free["bytes"] += 1_000_000
        release(self)

    monkeypatch.setattr(Journal, "_write", limited)
    monkeypatch.setattr(Journal, "free_reserve", freed)
    with SimServer() as sim:
        report = go(sim, some(200), tmp_path / "out", concurrency=16)
        assert (report.stopped, report.unwritten) == ("output", 0)
        assert sim.bill()["attempts"] == report.answered == len(lines(tmp_path / "out"))


def test_calls_that_are_cut_are_counted_as_attempts_of_unknown_cost(tmp_path: Path) -> None:
    """Whoever cuts them: they went out, and may be on the bill."""

    async def main(sim: SimServer, *, task: bool) -> BatchReport:
        async with client(sim) as made:
            batch = Batch(some(200), str(tmp_path / "out"), client=made, models=[OPENAI], concurrency=6)
            running = asyncio.create_task(batch.run())
            while sim.simulator.open < 6:  # noqa: ASYNC110 - the server tells nobody
                await asyncio.sleep(0)
            if task:
                running.cancel()
            else:
                batch.cancel()
            await asyncio.gather(running, return_exceptions=True)
            return batch.report

    for task in (True, False):
        with SimServer(SimConfig(latency=Latency(first_token_s=30))) as sim:
            report = asyncio.run(main(sim, task=task))
        assert (report.answered, report.attempts, report.retries) == (0, 6, 0)
        assert (report.cut, report.unpriced, report.cost_nano) == (6, 6, 0)


@pytest.mark.parametrize("change", ["overwritten", "removed"])
def test_an_input_that_changes_in_mid_run_stops_it_with_its_name(tmp_path: Path, change: str) -> None:
    """What is answered stays and no row is made of what was put there; one that went away is still open."""
    path, out = tmp_path / "in", tmp_path / "out"
    path.write_text("".join(json.dumps({"prompt": f"case {n}"}) + "\n" for n in range(300)))

    async def main(sim: SimServer) -> BatchReport:
        async with client(sim) as made:
            batch = Batch(RowFile(path), str(out), client=made, models=[OPENAI], concurrency=4)
            running = asyncio.create_task(batch.run())
            await some_answers(batch, 20)
            if change == "removed":
                path.unlink()
            else:
                path.write_text("nonsense\n" * 300)
            return await running

    with SimServer() as sim:
        report = asyncio.run(main(sim))
    assert report.failed == 0
    assert len(lines(out)) == report.answered >= 20
    if change == "removed":
        assert (report.stopped, report.left) == (None, 0)
        assert [row["id"] for row in lines(out)] == list(range(1, 301))
    else:
        assert report.stopped == "failed"
        assert isinstance(report.cause, InputError)
        assert str(path) in str(report.cause)


def test_more_workers_than_rows_are_not_made(tmp_path: Path) -> None:
    """A large number is no reason to run out of memory."""
    with SimServer() as sim:
        report = go(sim, some(3), tmp_path / "out", concurrency=10**9)
    assert report.answered == 3


def test_half_of_a_character_is_found_before_anything_is_paid(tmp_path: Path) -> None:
    """In an id the row could not be written, in a prompt it could not be sent."""
    half = "\ud800"
    with SimServer() as sim:
        with pytest.raises(InputError, match="half of a character"):
            go(sim, [Row(id=half, prompt="a")], tmp_path / "out")
        rows = [Row(id=1, prompt=half), Row(id=2, prompt="a", model=half), Row(id=3, prompt="a")]
        report = go(sim, rows, tmp_path / "out")
        assert sim.bill()["attempts"] == 1
    assert (report.answered, report.failed) == (1, 2)
