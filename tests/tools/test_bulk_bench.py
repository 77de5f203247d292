"""`make bench-bulk`: an optimum that is one, judges that can fail, no contestant left out, a table that tells."""

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest
from bench.bulk import costs, field, judges, kills, run, scenarios, table, turns
from bench.bulk.field import EVERYBODY, OURS, Answers, Contestant
from bench.bulk.given import OPENAI_MODEL, Given
from bench.bulk.judges import Truth
from bench.bulk.optimum import Rate, Work, World, optimum_s
from bench.processes import ROOT
from hypothesis import given
from hypothesis import strategies as st

from penstock.sim import Limits
from penstock.sim.reading import parse_config

CONTESTANTS = ROOT / "bench" / "bulk" / "contestants"
PENSTOCK = EVERYBODY[0]
PER_S = 20.0
PACED = World({"requests": Rate(PER_S, PER_S)})
LIMITS = Limits(rpm=1200, burst_requests=20)


def one(latency_s: float = 1.0) -> Work:
    return Work(latency_s, {"requests": 1.0})


def attempt(arrived: float, took_s: float = 1.0, **more: Any) -> dict[str, Any]:
    """A line of the provider's log."""
    usual = {"status": 200, "fault": "", "aborted": False, "retry_after_s": None, "billed_nano": 5}
    tokens = {"input_tokens": 50, "output_tokens": 8}
    named = {"model": OPENAI_MODEL, "prompt": f"p{arrived}"}
    return {"arrived": arrived, "ended": arrived + took_s, **usual, **tokens, **named, **more}


def refused(arrived: float, retry_after_s: float | None = 1.0, fault: str = "limit:requests") -> dict[str, Any]:
    told = {"retry_after_s": retry_after_s, "billed_nano": 0, "prompt": "again"}
    return attempt(arrived, 0.1, status=429, fault=fault, **told)


def perfect(rows: int = 100) -> list[dict[str, Any]]:
    """The log of a client that does as the oracle."""
    return [attempt(max(0.0, (number - 19) / PER_S), prompt=f"p{number}") for number in range(rows)]


def ids(rows: int) -> list[str]:
    return [field.row_id(number) for number in range(rows)]


@pytest.mark.parametrize(
    ("work", "world", "best_s"),
    [
        ([one()] * 1200, PACED, 60.0),
        ([one(0.0)] * 20, PACED, 0.0),
        ([one(1.0)] * 20 + [one(7.0)], PACED, 7.05),
        ([Work(1.0)] * 64, World(concurrency=32), 2.0),
        ([one()] * 950, World(PACED.rates, changes=((15.0, 0.5), (40.0, 1.0))), 60.0),
        ([one(0.0)] * 121, World({"requests": Rate(PER_S, 1.0)}, shut=((2.0, 4.0),)), 8.0),
        ([Work(1.0, {"tokens": 10.0})] * 11, World({"tokens": Rate(10.0, 10.0)}), 11.0),
        ([Work(1.0, {"tokens": 100.0}), Work(1.0, {"tokens": 1.0})], World({"tokens": Rate(10.0, 10.0)}), 10.1),
        ([Work(1.0, output_tokens=30)] * 3, World({"output-tokens": Rate(10.0, 10.0, late=True)}, 1), 7.2),
        ([one(), Work(0.0, {"requests": 1.0}, answers=False)], World({"requests": Rate(1.0, 1.0)}), 1.0),
    ],
)
def test_the_optimum_of_worlds_that_can_be_worked_out_by_hand(work: list[Work], world: World, best_s: float) -> None:
    """Rate, burst, latency of the last row, calls at once, a changed rate, a pause, tokens, debt, late charges."""
    assert optimum_s(work, world) == pytest.approx(best_s)


rates = st.floats(0.5, 100)
latencies = st.lists(st.floats(0, 10), min_size=1, max_size=60)


@given(latencies=latencies, per_s=rates, burst=st.integers(1, 30), cap=st.none() | st.integers(1, 20))
def test_the_optimum_lies_between_the_bound_and_the_bound_with_the_longest_row(
    latencies: list[float], per_s: float, burst: int, cap: int | None
) -> None:
    """No schedule beats rate, concurrency or the longest row, and one limit alone is met but for the last row."""
    best_s = optimum_s([one(each) for each in latencies], World({"requests": Rate(per_s, burst)}, cap))
    admitted_s = max(0.0, (len(latencies) - burst) / per_s)
    slots_s = 0.0 if cap is None else sum(latencies) / cap
    assert best_s >= max(admitted_s, slots_s, *latencies) - 1e-6
    if cap is None:
        assert best_s <= admitted_s + max(latencies) + 1e-6


def test_a_client_that_does_as_the_oracle_needs_the_least_time() -> None:
    """With a perfect log every figure is the promised one."""
    numbers = judges.judged(Truth(perfect(), {}), ids(100), Answers(set(ids(100))), LIMITS)
    assert numbers["over_best"] == pytest.approx(1.0, abs=0.01)
    assert [numbers[name] for name in ("own_429s", "violations", "lost", "paid_again")] == [0, 0, 0, 0]


def test_a_slow_client_is_told_so() -> None:
    """Twice the time is twice the optimum."""
    slow = [attempt(number / 10, prompt=f"p{number}") for number in range(400)]
    numbers = judges.judged(Truth(slow, {}), ids(400), Answers(set(ids(400))), LIMITS)
    assert numbers["over_best"] == pytest.approx(2.0, abs=0.1)


def test_lost_rows_do_not_make_the_optimum_smaller() -> None:
    """Whoever drops half of the rows is measured against the time for all of them."""
    numbers = judges.judged(Truth(perfect(50), {}), ids(100), Answers(set(ids(50))), LIMITS)
    assert numbers["lost"] == 50
    assert numbers["best_s"] == pytest.approx(5.0, abs=0.1)


@pytest.mark.parametrize(
    ("log", "broken"),
    [
        ([refused(0.0), attempt(0.5)], 1),
        ([refused(0.0), attempt(1.2)], 0),
        ([refused(0.0), attempt(0.05), attempt(0.15)], 0),
        ([refused(0.0, None), attempt(0.5)], 0),
        ([refused(0.0, 5.0), refused(0.9, 1.0), attempt(3.0)], 2),
        ([refused(0.0, 2.0, fault="a rule"), attempt(1.0)], 1),
    ],
)
def test_what_arrives_before_its_time_broke_retry_after(log: list[dict[str, Any]], broken: int) -> None:
    """The longest wait of the lane counts; what was on its way when the 429 left is forgiven, no more."""
    assert len(judges.violations(log)) == broken


def test_the_limits_own_429s_are_the_clients_and_ordered_ones_are_not() -> None:
    """A rule's 429 is the scenario's doing; its pause makes the optimum longer."""
    log = [*perfect(), refused(0.3, 8.0, fault="rate_limit"), refused(0.4)]
    numbers = judges.judged(Truth(sorted(log, key=lambda row: row["arrived"]), {}), ids(100), Answers(), LIMITS)
    assert numbers["own_429s"] == 1
    assert numbers["best_s"] > 8.0


def test_a_prompt_that_is_billed_three_times_is_paid_again_twice() -> None:
    """Cut calls that cost something count, unbilled refusals do not."""
    log = [attempt(0.0, prompt="a"), attempt(1.0, prompt="a", aborted=True), attempt(2.0, prompt="a"), refused(3.0)]
    assert judges.paid_again(log) == 2


def test_a_probe_for_headers_is_no_row() -> None:
    """Neither a refused one nor one of another model starts the clock."""
    probes = [attempt(0.0, status=400, billed_nano=0), attempt(5.0, model="claude-3-5-sonnet-latest")]
    log = judges.asked([*probes, attempt(10.0), attempt(11.0)])
    assert judges.makespan_s(log) == pytest.approx(2.0)


def test_tokens_are_shared_out_as_they_were_billed() -> None:
    """What the provider charged in all bounds the time, whatever a single row was charged."""
    rows = [attempt(0.0, prompt=f"p{number}", input_tokens=10) for number in range(10)]
    limits = Limits(tpm=6000, burst_tokens=100)
    assert judges.best_s(Truth(rows, {"tokens": 1100}), 10, limits) == pytest.approx(9 * 1.1 + 1.0)


LINES: dict[str, tuple[Any, Any]] = {
    "penstock": ({"id": "r000001", "error": None}, {"id": "r000002", "error": {"code": "rate_limited"}}),
    "curator": ({"id": "r000001", "text": "yes"}, {"id": "r000002", "text": None}),
    "async_batch_llm": (
        {"record_type": "item", "item_id": "r000001", "result": {"error": None}},
        {"record_type": "item", "item_id": "r000002", "result": {"error": "429"}},
    ),
    "flexllm": ({"index": 1, "status": "success"}, {"index": 2, "status": "error"}),
    "lm_deluge": ({"id": "r000001", "text": "yes"}, {"id": "r000002", "text": None}),
    "langchain": ({"id": "r000001", "text": "yes"}, {"id": "r000002", "text": None}),
    "cookbook": ([{}, {"choices": []}, {"row": "r000001"}], [{}, ["429"], {"row": "r000002"}]),
}


@pytest.mark.parametrize("contestant", EVERYBODY, ids=lambda contestant: contestant.name)
def test_answers_errors_and_torn_lines_are_told_apart(contestant: Contestant, tmp_path: Path) -> None:
    """In each contestant's own form of output."""
    good, bad = (json.dumps(line) for line in LINES[contestant.name])
    (tmp_path / contestant.answers).write_text(f"{good}\n{bad}\n{good[:-9]}\n{good}\n", encoding="utf-8")
    found = contestant.answered(tmp_path)
    assert (found.answered, found.failed, found.unreadable, found.twice) == ({"r000001"}, {"r000002"}, 1, 1)
    assert contestant.answered(tmp_path / "nowhere").answered == set()


def test_a_torn_tail_is_cut_off_each_journal(tmp_path: Path) -> None:
    """The end of the last line goes, and a journal that is not there is not silently passed over."""
    (tmp_path / "a.jsonl").write_bytes(b"x" * 100)
    assert kills.tear(tmp_path, "*.jsonl")
    assert (tmp_path / "a.jsonl").stat().st_size == 100 - kills.TORN_BYTES
    assert not kills.tear(tmp_path, "*.db")


PROGRAMS = sorted(CONTESTANTS.glob("[a-z]*_.py"))


@pytest.mark.parametrize("path", PROGRAMS, ids=lambda path: path.stem)
def test_every_program_compiles_and_takes_part(path: Path) -> None:
    """No contestant is left out without a word, and none is broken before its library is even asked."""
    compile(path.read_text(encoding="utf-8"), str(path), "exec")
    assert path.stem.removesuffix("_") in {each.name for each in EVERYBODY}


def test_every_contestant_has_a_program() -> None:
    """Each entry of the field can be started."""
    assert {f"{each.name}_" for each in EVERYBODY} == {path.stem for path in PROGRAMS}


@pytest.mark.parametrize("world", scenarios.every(), ids=lambda world: world.name)
def test_every_world_can_be_played(world: scenarios.World, tmp_path: Path) -> None:
    """Its provider reads its own configuration back, its rows differ, Penstock is first, and only the told are told."""
    assert parse_config(msgspec.json.encode(world.config).decode()) == world.config
    assert len(set(world.prompts())) == world.rows
    assert world.contestants()[0].name == OURS
    told = turns.given(world, "http://127.0.0.1:1")
    assert (told.rpm is None) is (world.told == "not told" or world.limits.rpm is None)
    told.write(tmp_path)
    assert Given.read(tmp_path) == told


def test_the_worlds_are_a_to_k() -> None:
    """L, several processes at one key, is not measured here."""
    assert sorted({world.letter for world in scenarios.every()}) == list("ABCDEFGHIJK")


def row(**numbers: float) -> table.Row:
    return table.of_turn(turns.Turn(scenarios.every()[0], PENSTOCK, numbers))


@pytest.mark.parametrize(
    ("numbers", "verdict"),
    [
        ({"over_best": 1.04, "share_429": 0.0, "violations": 0, "lost": 0}, ""),
        ({"over_best": 1.06, "share_429": 0.0, "violations": 0, "lost": 0}, "over_best"),
        ({"over_best": 1.04, "share_429": 0.01, "violations": 0, "lost": 0}, "share_429"),
        ({"over_best": 1.04, "share_429": 0.0, "violations": 1, "lost": 0}, "violations"),
        ({"over_best": 1.04, "share_429": 0.0, "violations": 0, "lost": 1}, "lost"),
        ({"share_429": 0.0, "violations": 0, "lost": 0}, "over_best"),
    ],
)
def test_a_missed_promise_is_named(numbers: dict[str, float], verdict: str) -> None:
    """Each promise can be missed, and a figure that nobody measured is not held."""
    found = run.missed(table.figures([row(**numbers)]))
    assert [line.split(", ")[0].rsplit(".", 1)[1] for line in found] == [verdict] * bool(verdict)


def test_the_table_hides_nobody() -> None:
    """Failures, notes, times without a meaning, bounds and absent contestants all stand in it."""
    world, peer = scenarios.every()[1], EVERYBODY[2]
    numbers = {"over_best": 0.7, "share_429": 1.5, "violations": 3.0, "lost": 4.0}
    rows = [
        table.of_turn(turns.Turn(world, PENSTOCK, {**numbers, "over_best": 1.01, "lost": 0.0})),
        table.of_turn(turns.Turn(world, peer, numbers)),
        table.of_turn(turns.Turn(world, peer, numbers, note="stopped with 5 of 9 rows", stopped=True)),
        table.of_killed(kills.Killed(PENSTOCK, True, {"paid_again": 51, "lost": 0, "unreadable": 0, "in_flight": 49})),
        table.of_costs(costs.Costs(peer, failure="no rows")),
    ]
    shown = "\n".join(table.lines(rows, {"curator": "it is not installed"}))
    for words in ("1.01x held", "150 % MISSED", "(0.70x)", "> 0.70x", "stopped with 5 of 9", "51 held", "–  no rows"):
        assert words in shown
    assert "not measured: curator: it is not installed" in shown
    flat = table.flat(rows)
    assert flat["bulk.torn.penstock.paid_again"] == 51
    assert all(name.startswith("bulk.") for name in flat)


def test_the_slope_of_two_sizes_leaves_starting_up_out() -> None:
    """Two seconds and 50 MB of start are in neither figure."""
    few, many = turns.Cost(2.5, 0.1, 50_000_000, 0, True), turns.Cost(4.5, 0.6, 54_096_000, 0, True)
    numbers = costs.slope(few, many, 4000)
    assert numbers["cpu_ms_per_row"] == pytest.approx(0.625)
    assert numbers["peak_kb_per_row"] == pytest.approx(1.0)


def test_a_quick_run_measures_peers_in_the_first_world_only() -> None:
    """And `--only`, `--against` choose; a name that is none is refused."""
    plan = run.arguments(["--quick"])
    crowds = {world.letter for world in plan.worlds if len(plan.contestants(world)) > 1}
    assert crowds == {"A"}
    few = run.arguments(["--only", "E", "--against", "nobody"])
    assert ([world.letter for world in few.worlds], few.kill, few.cost) == (["E"], False, False)
    assert [each.name for each in few.everybody] == [OURS]
    with pytest.raises(SystemExit):
        run.arguments(["--only", "Z"])


@pytest.mark.slow
def test_a_turn_is_played_with_real_processes() -> None:
    """Penstock, told the limit, answers every row of a two second world without a 429."""
    world = scenarios.every(2)[0]
    found = turns.turn(world, PENSTOCK)
    assert not found.failure
    assert not found.note
    assert [found.numbers[name] for name in ("own_429s", "violations", "lost", "paid_again")] == [0, 0, 0, 0]
