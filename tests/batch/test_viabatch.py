"""Jobs through the batch interfaces of their providers: half price, nothing lost, nothing paid twice."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from penstock import Budget, JSONSchema, Truncate
from penstock.batch import Row, ViaBatch, open_shards, read_shards, run_batch, withdraw_batches
from penstock.errors import ConfigError, InputError
from penstock.sim import SimServer
from tests.batch.batching import ANTHROPIC, OPENAI, QUICK, batches, client, go, lines, paid, sim_of, some
from tests.sim.batching import until


@pytest.mark.parametrize("model", [OPENAI, ANTHROPIC])
def test_every_row_is_answered_in_order_at_exactly_half_the_price(model: str, tmp_path: Path) -> None:
    """The lines are those of a run of calls, and their costs add up to the bill, which is half of theirs."""
    with sim_of() as sim:
        report = go(sim, some(25), tmp_path / "batch", model=model)
        half = sim.bill()["total_nano"]
        online = go(sim, some(25), tmp_path / "calls", model=model, via="online")
        whole = sim.bill()["total_nano"] - half
    found, called = lines(tmp_path / "batch"), lines(tmp_path / "calls")
    assert (report.answered, report.failed, report.left, report.stopped) == (25, 0, 0, None)
    assert [row["id"] for row in found] == [f"r{number}" for number in range(25)]
    assert [row["text"] for row in found] == [row["text"] for row in called]
    assert [row["key"] for row in found] == [row["key"] for row in called]
    assert report.cost_nano == half == paid(tmp_path / "batch") > 0
    assert online.cost_nano == whole == 2 * half
    assert sorted(path.name for path in tmp_path.iterdir()) == ["batch", "calls"]


def test_rows_that_ask_the_same_are_in_one_batch_once(tmp_path: Path) -> None:
    """Also when the run ends while it is under way; the others get a copy of its answer, for nothing."""
    rows = [Row(id=f"r{number}", prompt=f"question {number % 3}") for number in range(9)]
    with sim_of() as sim:
        report = go(sim, rows[:5], tmp_path / "out", dedupe=True, wait=False)
        assert (report.in_batches, report.left) == (3, 5)
        report = go(sim, rows, tmp_path / "out", dedupe=True)
        assert batches(sim) == 1
        assert sim.bill()["attempts"] == 3
        assert report.cost_nano == sim.bill()["total_nano"]
    found = lines(tmp_path / "out")
    assert (report.answered, report.copied, report.left) == (9, 6, 0)
    assert [row["id"] for row in found] == [row.id for row in rows]
    assert [row.get("copy_of") for row in found] == [None] * 3 + ["r0", "r1", "r2"] * 2
    assert len({row["text"] for row in found[::3]}) == 1


@pytest.mark.slow
@pytest.mark.parametrize(
    "model",
    [
        "mistral:mistral-small-latest",
        "groq:openai/gpt-oss-20b",
        "groq:llama-3.3-70b-versatile",
        "together:meta-llama/Llama-3.3-70B-Instruct-Turbo",
        "together:Qwen/Qwen3.5-9B",
    ],
)
def test_the_other_dialects_do_the_same(model: str, tmp_path: Path) -> None:
    """Each with its own places, words and uploads; half the price, where the provider gives it for that model."""
    with sim_of() as sim:
        report = go(sim, some(5), tmp_path / "out", model=model)
        bill = sim.bill()
    assert (report.answered, report.failed, report.left, bill["attempts"]) == (5, 0, 0, 5)
    assert (report.cost_nano, report.unpriced) == (bill["total_nano"], 0)
    assert bill["total_nano"] > 0
    assert {row["model"] for row in lines(tmp_path / "out")} == {model}


@pytest.mark.slow
def test_rows_keep_their_columns_shapes_and_models(tmp_path: Path) -> None:
    """A row that names a model goes into a batch of that one; JSON is read, and fields of the input stand beside."""
    schema = JSONSchema(
        name="n",
        schema={
            "type": "object",
            "properties": {"urgent": {"type": "boolean"}},
            "required": ["urgent"],
            "additionalProperties": False,
        },
    )
    rows = [*some(3, fields={"service": "db"}), Row(id="x", prompt="a", model=ANTHROPIC, fields={"service": "web"})]
    with sim_of() as sim:
        params = {"max_tokens": 60, "response_format": schema}
        go(sim, rows, tmp_path / "out", params=params, keep_columns=["service"])
        assert batches(sim) == 2
    found = lines(tmp_path / "out")
    assert [row["columns"] for row in found] == [{"service": "db"}] * 3 + [{"service": "web"}]
    assert [row["model"] for row in found] == [OPENAI] * 3 + [ANTHROPIC]
    assert all(isinstance(row["parsed"]["urgent"], bool) for row in found)


@pytest.mark.slow
def test_a_row_that_is_too_long_is_cut_as_chosen_and_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """As a call would be: the answers and what they cost are the same, and a line of the log says what is left out."""
    rows = [Row(id="short", prompt="case 1"), Row(id="long", prompt="case 2 in one line\n" * 3_000)]
    settings = {"truncate": Truncate("middle", to_tokens=300)}
    with sim_of() as sim:
        report = go(sim, rows, tmp_path / "batch", settings=settings)
        told = [record for record in caplog.records if "were cut to" in record.getMessage()]
        go(sim, rows, tmp_path / "calls", settings=settings, via="online")
    found, called = lines(tmp_path / "batch"), lines(tmp_path / "calls")
    assert (report.answered, len(told)) == (2, 1)
    assert [row["text"] for row in found] == [row["text"] for row in called]
    assert found[1]["usage"]["input"] == called[1]["usage"]["input"] < 400


def test_models_share_the_rows(tmp_path: Path) -> None:
    """Each row belongs to one of them, the same in every run."""
    with sim_of() as sim:
        go(sim, some(40), tmp_path / "out", models=[OPENAI, ANTHROPIC])
        assert batches(sim) == 2
        go(sim, some(40), tmp_path / "out", models=[OPENAI, ANTHROPIC])
        assert batches(sim) == 2
    assert {row["model"] for row in lines(tmp_path / "out")} == {OPENAI, ANTHROPIC}


def test_a_bad_row_fails_alone(tmp_path: Path) -> None:
    """One that cannot be sent is not in the batch, one that its server refuses has its own error."""
    rows = [
        *some(5),
        Row(id="streams", prompt="a", params={"extra": {"stream": True}}),
        Row(id="lasting", prompt="a", params={"top_k": 3}),
        Row(id="hot", prompt="a", params={"temperature": 1.9, "top_logprobs": 3}),
        Row(id="nowhere", prompt="a", model="xai:grok-3"),
    ]
    with sim_of() as sim:
        report = go(sim, rows, tmp_path / "out")
    found = {row["id"]: row for row in lines(tmp_path / "out")}
    assert (report.answered, report.failed) == (5, 4)
    assert [found[name]["error"]["code"] for name in ("streams", "lasting", "hot")] == [
        "config",
        "unsupported_parameter",
        "invalid_request",
    ]
    assert found["hot"]["error"]["status"] == 400
    assert found["nowhere"]["error"]["code"] in ("missing_key", "config")
    assert report.cost_nano == paid(tmp_path / "out")


def test_a_provider_without_batches_is_refused_before_anything_is_sent(tmp_path: Path) -> None:
    """The error says what to do instead."""
    with sim_of() as sim, pytest.raises(ConfigError, match="--via online"):
        go(sim, some(1), tmp_path / "out", model="ollama:llama3")


def test_what_a_batch_left_at_its_expiry_goes_into_another(tmp_path: Path) -> None:
    """The finished rows are harvested and billed once; only the rest is asked again."""
    with sim_of(rows_per_s=60, expire_s=0.35) as sim:
        report = go(sim, some(30), tmp_path / "out")
        bill = sim.bill()
        assert batches(sim) == 2
    assert (report.answered, report.failed) == (30, 0)
    assert bill["attempts"] == 30
    assert report.cost_nano == bill["total_nano"] == paid(tmp_path / "out")


@pytest.mark.slow
def test_what_a_batch_left_may_go_online(tmp_path: Path) -> None:
    """With then='online' the rest is called, at its price."""
    with sim_of(rows_per_s=60, expire_s=0.35) as sim:
        report = go(sim, some(30), tmp_path / "out", then="online")
        bill = sim.bill()
        assert batches(sim) == 1
    assert (report.answered, report.failed, bill["attempts"]) == (30, 0, 30)
    assert report.cost_nano == bill["total_nano"] == paid(tmp_path / "out")


@pytest.mark.slow
def test_rows_that_never_come_out_of_a_batch_end_as_failed(tmp_path: Path) -> None:
    """After so many rounds; they were not executed, cost nothing, and the next run asks them again."""
    with sim_of(rows_per_s=1, expire_s=0.1) as sim:
        report = go(sim, some(3), tmp_path / "out")
        assert batches(sim) == QUICK.rounds
        assert sim.bill()["total_nano"] == 0
    assert (report.answered, report.failed, report.failures) == (0, 3, {"server_fault": 3})
    assert "costs nothing" in lines(tmp_path / "out")[0]["error"]["message"]
    assert report.cost_nano == report.unpriced == 0


@pytest.mark.slow
def test_a_batch_that_completes_without_an_output_file_has_its_errors_read(tmp_path: Path) -> None:
    """Every row is refused; none is asked again."""
    with sim_of() as sim:
        report = go(sim, some(3, params={"top_logprobs": 3}), tmp_path / "out")
        assert batches(sim) == 1
    assert (report.answered, report.failures) == (0, {"invalid_request": 3})


@pytest.mark.slow
@pytest.mark.parametrize("limit", [{"queue_tokens": 900}, {"queue_rows": 12}])
def test_a_full_queue_is_waited_for(limit: dict[str, int], tmp_path: Path) -> None:
    """A batch that fails for want of room, and a create that gets a 429, are made again later without hands."""
    waited: list[str] = []
    with sim_of(rows_per_s=100, **limit) as sim:
        report = go(
            sim,
            some(20),
            tmp_path / "out",
            queue_tokens=150,
            watch=lambda run, shard, what: waited.append(what) if "queue" in what else None,
        )
        bill = sim.bill()
    assert waited
    assert (report.answered, report.failed, bill["attempts"]) == (20, 0, 20)
    assert report.cost_nano == bill["total_nano"]


@pytest.mark.slow
def test_a_file_that_is_not_found_at_once_is_waited_for(tmp_path: Path) -> None:
    """The create that gets a 404 is made again; nothing was made by it."""
    with sim_of(visible_after_s=0.5) as sim:
        report = go(sim, some(3), tmp_path / "out")
        assert (batches(sim), len([f for f in sim.simulator.desk.store.files.values() if f.purpose == "batch"])) == (
            1,
            1,
        )
    assert report.answered == 3


@pytest.mark.parametrize(
    "rule",
    [
        'match = { path = "*/content" }\nfault = { kind = "status", status = 502 }',
        'match = { path = "*/content" }\nfault = { kind = "truncate" }',
        'match = { path = "*/content" }\nfault = { kind = "reset", when = "mid_stream" }',
        'match = { path = "*/files" }\nfault = { kind = "reset", when = "after_body" }',
        'match = { path = "*/batches" }\nfault = { kind = "reset", when = "after_body" }',
        'match = { path = "*/batches" }\nfault = { kind = "status", status = 500 }',
        'match = { path = "*/batches/*" }\nfault = { kind = "html" }',
    ],
    ids=[
        "502 on download",
        "half a download",
        "broken download",
        "lost upload",
        "lost create",
        "500 on create",
        "poll",
    ],
)
@pytest.mark.slow
def test_what_goes_wrong_on_the_way_makes_no_second_batch(rule: str, tmp_path: Path) -> None:
    """What may be repeated is, and a create whose outcome is unknown is looked for."""
    with sim_of() as sim:
        sim.play(f"[[rule]]\n{rule}\ntimes = 1\n")
        report = go(sim, some(10), tmp_path / "out")
        bill = sim.bill()
        assert [rule["delivered"] for rule in sim.simulator.book.snapshot()] == [1]
        assert batches(sim) == 1
    assert (report.answered, report.failed, report.unpriced) == (10, 0, 0)
    assert report.cost_nano == bill["total_nano"]


@pytest.mark.slow
@pytest.mark.parametrize("model", [OPENAI, ANTHROPIC, "mistral:mistral-small-latest", "together:gpt-4o"])
def test_a_batch_that_is_listed_late_is_looked_for_again(model: str, tmp_path: Path) -> None:
    """By its metadata, its input file, or by size, time and its results, among those of others."""
    how: list[str] = []
    with sim_of(listed_after_s=0.15) as sim:
        go(sim, some(4), tmp_path / "other", model=model)
        sim.play(
            '[[rule]]\nmatch = { path = "*" }\ntimes = 1\nfault = { kind = "reset", when = "after_body" }'.replace(
                '"*"', '"*batches"' if "mistral" not in model else '"*jobs"'
            )
        )
        report = go(sim, some(4), tmp_path / "out", model=model, watch=lambda run, shard, what: how.append(what))
        assert batches(sim) == 2
        assert sim.bill()["attempts"] == 8
    assert report.answered == 4
    assert "found again" in how


@pytest.mark.slow
@pytest.mark.parametrize(("spoil", "lost"), [("missing", 1), ("duplicate", 0), ("unknown", 1), ("torn", 1)])
def test_results_that_do_not_fit_the_rows_lose_nothing_else(spoil: str, lost: int, tmp_path: Path) -> None:
    """A row without a result is asked again; one that never has any says that it may have been paid."""
    with sim_of(spoil=spoil) as sim:
        report = go(sim, some(10), tmp_path / "out")
        assert batches(sim) == (QUICK.rounds if lost else 1)
    found = lines(tmp_path / "out")
    assert [row["id"] for row in found] == [f"r{number}" for number in range(10)]
    assert (report.answered, report.failed) == (10 - lost, lost)
    assert report.unpriced == (QUICK.rounds if lost else 0)
    assert all("may have been paid" in row["error"]["message"] for row in found if row["error"])


@pytest.mark.slow
def test_a_state_that_nobody_knows_is_no_end(tmp_path: Path) -> None:
    """It is told of, and polled on."""
    words: list[str] = []
    with sim_of(odd_state="reticulating", rows_per_s=50) as sim:
        report = go(sim, some(10), tmp_path / "out", watch=lambda run, shard, what: words.append(what))
    assert report.answered == 10
    assert "in a state that is not known: reticulating" in words


def test_the_key_goes_to_no_other_host(tmp_path: Path) -> None:
    """Results that are said to be elsewhere are read at the lane's own address."""
    with SimServer() as elsewhere, sim_of(results_host=elsewhere.url) as sim:
        report = go(sim, some(3), tmp_path / "out", model=ANTHROPIC)
        assert report.answered == 3
        assert elsewhere.simulator.started is None


def test_a_budget_is_held_at_submit_and_never_overspent(tmp_path: Path) -> None:
    """Rows whose worst case does not fit are not submitted; what earlier batches left of it pays for more."""
    with sim_of() as sim:
        report = go(sim, some(200), tmp_path / "out", settings={"budget": Budget(total="0.0002")}, count_earlier=True)
        spent = sim.bill()["total_nano"]
        assert report.stopped == "budget"
        assert 0 < report.answered < 200
        assert spent <= 200_000
        assert batches(sim) > 1
        again = go(sim, some(200), tmp_path / "out", settings={"budget": Budget(total="0.005")}, count_earlier=True)
        bill = sim.bill()
    assert (again.answered + report.answered, again.stopped, bill["attempts"]) == (200, None, 200)
    assert report.cost_nano + again.cost_nano == bill["total_nano"] == paid(tmp_path / "out")


@pytest.mark.slow
def test_a_cap_on_one_call_holds_row_by_row(tmp_path: Path) -> None:
    """A shard is no call, so that it may cost more."""
    with sim_of() as sim:
        report = go(sim, some(20), tmp_path / "out", settings={"budget": Budget(total="1", per_call="0.0001")})
    assert (report.answered, report.stopped) == (20, None)


def test_a_run_that_does_not_wait_is_collected_later(tmp_path: Path) -> None:
    """Meanwhile calls for the same output are refused, and the rows are in no second batch."""
    out = tmp_path / "out"
    with sim_of(rows_per_s=40) as sim:
        report = go(sim, some(20), out, wait=False)
        assert (report.stopped, report.in_batches, report.left) == ("submitted", 20, 20)
        assert [shard.phase for shard in open_shards(out)] == ["created"]

        async def calls() -> None:
            async with client(sim) as made:
                await run_batch(some(20), out, client=made, models=[OPENAI])

        with pytest.raises(InputError, match="pay them twice"):
            asyncio.run(calls())
        report = go(sim, some(20), out)
        assert (batches(sim), sim.bill()["attempts"]) == (1, 20)
    assert (report.answered, report.left, report.stopped) == (20, 0, None)
    assert not read_shards(out)


@pytest.mark.slow
def test_a_stopped_run_leaves_its_batches_and_the_next_collects_them(tmp_path: Path) -> None:
    """A row whose question changed meanwhile has its new answer in the end, and both are accounted for."""
    out = tmp_path / "out"

    def stop(run: ViaBatch, shard: Any, what: str) -> None:
        if what == "created":
            run.stop()

    with sim_of(rows_per_s=40) as sim:
        report = go(sim, some(20), out, watch=stop, settings={"budget": Budget(total="1")})
        assert (report.stopped, report.in_batches) == ("interrupted", 20)
        rows = [*some(19), Row(id="r19", prompt="another question")]
        report = go(sim, rows, out, settings={"budget": Budget(total="1")})
        bill = sim.bill()
        assert batches(sim) == 2
    assert (report.left, bill["attempts"]) == (0, 21)
    assert report.cost_nano == bill["total_nano"]
    assert [row["id"] for row in lines(out)] == [f"r{number}" for number in range(20)]


def test_past_the_deadline_the_rest_goes_online_and_no_finished_row_is_paid_twice(tmp_path: Path) -> None:
    """The batch is cancelled and harvested first."""
    with sim_of(rows_per_s=25) as sim:
        report = go(sim, some(60), tmp_path / "out", deadline_s=0.8)
        bill = sim.bill()
        assert batches(sim) == 1
        states = [batch.state for batch in sim.simulator.desk.store.batches.values()]
    assert states == ["cancelled"]
    assert (report.answered, report.failed, bill["attempts"]) == (60, 0, 60)
    assert report.cost_nano == bill["total_nano"] == paid(tmp_path / "out")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("options", "via", "why"),
    [
        ({"deadline_s": 60.0}, "online", "deadline is in 1 min"),
        ({}, "online", "would save"),
        ({"model": "openai:gpt-4o", "params": {"max_tokens": 4000}}, "batch-api", "instead of"),
        ({"model": "together:Qwen/Qwen3.5-9B", "params": {"max_tokens": 4000}}, "online", "would save $0 at"),
        ({"model": "together:gpt-4o"}, "online", "not known"),
    ],
    ids=["soon", "little", "much", "no discount", "unpriced"],
)
def test_auto_chooses_by_deadline_and_price(options: dict[str, Any], via: str, why: str, tmp_path: Path) -> None:
    """And says why."""
    chosen: list[Any] = []
    with sim_of() as sim:
        report = go(sim, some(3), tmp_path / "out", via="auto", chosen=chosen.append, **options)
        assert batches(sim) == (via == "batch-api")
    assert report.answered == 3
    assert (chosen[0].via, why in chosen[0].reason) == (via, True), chosen


@pytest.mark.slow
def test_batches_can_be_withdrawn_without_the_rows(tmp_path: Path) -> None:
    """They are cancelled, and what they had answered is in the output; a later run asks the rest."""
    out = tmp_path / "out"
    with sim_of(rows_per_s=25) as sim:
        go(sim, some(40), out, wait=False)

        until(lambda: _answered(sim), lambda done: done > 0)

        async def main() -> None:
            async with client(sim) as made:
                await withdraw_batches(out, client=made, told=lambda shard, what: None, pace=QUICK)

        asyncio.run(main())
        done = sim.bill()["attempts"]
        found = lines(out)
        assert 0 < sum(row["error"] is None for row in found) == done < 40
        assert len(found) == 40
        report = go(sim, some(40), out)
        assert (report.before, report.answered) == (done, 40 - done)
        assert sim.bill()["attempts"] == 40
        assert sim.bill()["total_nano"] == paid(out)


def _answered(sim: SimServer) -> int:
    """Have the simulator look at its clock, and say how many rows it has answered by it."""
    sim._on_loop(sim.simulator.desk.store.advance, sim.now)
    return int(sim.bill()["attempts"])


@pytest.mark.slow
def test_a_refused_key_stops_the_run_and_keeps_the_shard(tmp_path: Path) -> None:
    """Nothing was created; with a good key the same shard goes on."""
    with sim_of() as sim:
        sim.play('[[rule]]\nmatch = { path = "*/batches" }\ntimes = 1\nfault = { kind = "key_rejected" }')
        report = go(sim, some(5), tmp_path / "out")
        assert (report.stopped, report.left, batches(sim)) == ("refused", 5, 0)
        report = go(sim, some(5), tmp_path / "out")
        assert (report.answered, batches(sim)) == (5, 1)


@pytest.mark.slow
def test_a_run_that_comes_after_the_deadline_goes_online(tmp_path: Path) -> None:
    """The deadline is that of the first run; what its batch had done by then is not paid again."""
    out = tmp_path / "out"
    with sim_of(rows_per_s=25) as sim:
        go(sim, some(60), out, wait=False, deadline_s=0.4)
        until(lambda: _answered(sim), lambda done: done > 10)
        report = go(sim, some(60), out, deadline_s=3600.0)
        bill = sim.bill()
        assert batches(sim) == 1
    assert (report.answered, report.left, bill["attempts"]) == (60, 0, 60)
    assert report.cost_nano == bill["total_nano"]


@pytest.mark.slow
def test_a_budget_in_a_file_counts_what_goes_on_without_the_process(tmp_path: Path) -> None:
    """At its worst when the run leaves, and not a second time when it is collected: never less than the bill."""
    budget = Budget(total="1", file=tmp_path / "spend.db")

    async def spent(sim: SimServer) -> int:
        async with client(sim, budget=budget) as made:
            return made.budget().scopes[0].spent_nano

    with sim_of(rows_per_s=40) as sim:
        go(sim, some(20), tmp_path / "out", wait=False, settings={"budget": budget})
        held = asyncio.run(spent(sim))
        report = go(sim, some(20), tmp_path / "out", settings={"budget": budget})
        assert report.answered == 20
        assert asyncio.run(spent(sim)) == held >= sim.bill()["total_nano"] > 0
        go(sim, some(20), tmp_path / "other", settings={"budget": budget})
        assert asyncio.run(spent(sim)) == held + sim.bill()["total_nano"] // 2


@pytest.mark.slow
def test_a_budget_that_is_too_small_for_what_is_under_way_submits_nothing_more(tmp_path: Path) -> None:
    """What is under way is collected, since it is paid, and counts; nothing else goes out, by batch or online."""

    async def main(sim: SimServer) -> tuple[Any, int]:
        async with client(sim, budget=Budget(total="0.00001")) as made:
            report = await run_batch(
                some(40), tmp_path / "out", client=made, via="batch-api", then="online", pace=QUICK, models=[OPENAI],
                params={"max_tokens": 9},
            )  # fmt: skip
            return report, made.budget().scopes[0].spent_nano

    with sim_of(rows_per_s=40) as sim:
        go(sim, some(20), tmp_path / "out", wait=False)
        report, spent = asyncio.run(main(sim))
        assert (report.answered, report.left, report.stopped) == (20, 20, "budget")
        assert sim.bill()["attempts"] == 20
        assert spent == sim.bill()["total_nano"] == report.cost_nano


def test_a_batch_that_may_be_there_is_looked_for_before_its_rows_go_elsewhere(tmp_path: Path) -> None:
    """Also when the deadline comes just then: it is found, cancelled and harvested, and not given up."""

    def withdraw(run: ViaBatch, shard: Any, what: str) -> None:
        if what.startswith("nobody knows"):
            assert run._carrier is not None
            run._carrier.withdraw()

    with sim_of(rows_per_s=25) as sim:
        sim.play('[[rule]]\nmatch = { path = "*/batches" }\ntimes = 1\nfault = { kind = "reset", when = "after_body" }')
        report = go(sim, some(20), tmp_path / "out", watch=withdraw)
        assert [batch.state for batch in sim.simulator.desk.store.batches.values()] == ["cancelled"]
        assert (report.answered, report.answered + report.failed) == (sim.bill()["attempts"], 20)
    assert [shard.phase for shard in read_shards(tmp_path / "out")] == ["harvested"]


@pytest.mark.slow
def test_a_file_that_vanished_is_uploaded_again(tmp_path: Path) -> None:
    """As one that expired while the queue was full."""
    from penstock._flow import providerbatch

    uploads: list[str] = []

    def vanish(run: ViaBatch, shard: Any, what: str) -> None:
        if what == "uploaded":
            uploads.append(what)
            if len(uploads) == 1:
                sim.simulator.desk.store.files.clear()

    with pytest.MonkeyPatch.context() as patch, sim_of() as sim:
        patch.setattr(providerbatch, "FRESH_S", 0.001)
        report = go(sim, some(3), tmp_path / "out", watch=vanish)
        assert (report.answered, batches(sim), len(uploads)) == (3, 1, 2)


@pytest.mark.slow
def test_the_client_counts_rows_of_batches_as_calls(tmp_path: Path) -> None:
    """By model and by tag."""

    async def main(sim: SimServer) -> Any:
        async with client(sim, tags={"team": "a"}) as made:
            await run_batch(some(3), tmp_path / "out", client=made, via="batch-api", pace=QUICK, models=[OPENAI])
            return made.usage()

    with sim_of() as sim:
        totals = asyncio.run(main(sim))
        assert (totals.calls, totals.cost_nano) == (3, sim.bill()["total_nano"])


@pytest.mark.slow
def test_a_run_that_does_not_wait_leaves_a_full_queue_to_a_later_one(tmp_path: Path) -> None:
    """What is submitted is; the rest is written down and goes on with the next run."""
    with sim_of(rows_per_s=200, queue_rows=12) as sim:
        report = go(sim, some(20), tmp_path / "out", queue_tokens=150, wait=False)
        assert (report.stopped, report.in_batches) == ("submitted", 20)
        assert {shard.phase for shard in open_shards(tmp_path / "out")} == {"created", "uploaded"}
        report = go(sim, some(20), tmp_path / "out", queue_tokens=150)
        assert (report.answered, sim.bill()["attempts"]) == (20, 20)
