"""`make bench ARGS=--peers`: sound scenarios, judges that count what the simulator saw, a table that hides nobody."""

import ast
import json
import urllib.error
import urllib.request
from collections.abc import Sequence
from dataclasses import replace

import pytest
from bench import run
from bench.peers import contest, judges, scenarios, table
from bench.peers.contest import Entrant, Metric, Scenario, Turn
from bench.peers.given import Given
from bench.processes import ROOT, VENV

from penstock.sim import Limits, SimConfig, SimServer
from penstock.sim.faults import Scenario as Faults

CONTESTANTS = ROOT / "bench" / "peers" / "contestants"


def abilities(module: str) -> set[str]:
    """The functions of a contestant, read without importing it: most are installed elsewhere."""
    nodes = ast.parse((CONTESTANTS / f"{module}_.py").read_text(encoding="utf-8")).body
    return {node.name for node in nodes if isinstance(node, ast.FunctionDef)}


def ask(sim: SimServer, prompts: Sequence[str]) -> None:
    """Send bare requests, one after the other."""
    for prompt in prompts:
        body = {"model": "gpt-4o", "messages": [{"role": "user", "content": prompt}], "max_tokens": 5}
        headers = {"authorization": "Bearer any", "content-type": "application/json"}
        request = urllib.request.Request(f"{sim.url}/v1/chat/completions", json.dumps(body).encode(), headers)
        try:
            urllib.request.urlopen(request).read()
        except urllib.error.HTTPError as error:
            error.close()
    sim.settle()


@pytest.mark.parametrize(
    ("given", "faults", "others"),
    [
        ([], 12, True),
        (["--quick"], 0, True),
        (["--peers"], 12, False),
        (["--quick", "--only", "peers.order"], 1, False),
    ],
)
def test_the_peers_run_after_the_rest_or_alone(given: list[str], faults: int, others: bool) -> None:
    """A quick run leaves them out unless it is asked for them."""
    plan = run.arguments(given)
    assert len(plan.peers) == faults
    assert bool(plan.scenarios) is plan.memory is plan.startup is others


@pytest.mark.parametrize("scenario", scenarios.every(), ids=lambda scenario: scenario.name)
def test_every_entrant_can_play(scenario: Scenario) -> None:
    """Each entrant has the ability that its scenario asks for, Penstock always takes part, and the faults are valid."""
    assert scenario.entrants[0].name == contest.OURS
    for entrant in scenario.entrants:
        assert entrant.ability in abilities(entrant.module)
        replace(scenario.given, **entrant.given)
    assert len({entrant.name for entrant in scenario.entrants}) == len(scenario.entrants)
    Faults.parse(scenario.faults)


def test_every_contestant_takes_part() -> None:
    """No contestant is left out without a word."""
    there = {path.stem.removesuffix("_") for path in CONTESTANTS.glob("[a-z]*_.py")}
    assert there == {entrant.module for scenario in scenarios.every() for entrant in scenario.entrants}


@pytest.mark.parametrize(
    ("let_in", "share"),
    [
        ([number / 10 for number in range(100)], 1.0),
        ([number / 5 for number in range(100)], 0.5),
        ([0.0] * 10 + [(number - 10) / 5 for number in range(10, 100)], 0.5),
        ([0.0] * 55, 0.5),
        ([0.0] * 10, 0.0),
        ([], 0.0),
    ],
    ids=["all of it", "half of it", "a burst, then half", "a burst, then nothing", "too few", "none"],
)
def test_the_limit_used_counts_nothing_that_a_burst_gave(let_in: list[float], share: float) -> None:
    """Of 100 calls at 10 a second, the first ten are not looked at, and who stops early has used nothing since."""
    assert judges.share_used(let_in, 100, 10.0) == pytest.approx(share, abs=0.01)


def test_the_429s_of_the_limit_are_counted() -> None:
    """Who sends all at once is refused what the bucket did not hold."""
    with SimServer(SimConfig(limits={"openai": Limits(rpm=4, burst_requests=4)})) as sim:
        ask(sim, ["yes"] * 8)
        assert judges.limit_used({}, sim, calls=8, per_s=1.0)["own_429s"] == 4


def test_places_lost_are_counted_in_the_order_of_arrival() -> None:
    """The large call came last of four although it was asked second: it lost two places, and nobody else lost one."""
    given = Given(counted=True)
    with SimServer() as sim:
        ask(sim, [given.prompt(number) for number in (0, 2, 3, 1)])
        got = judges.order_kept({"answered": 4}, sim, large=1)
    assert got == {"places_lost": 0, "large_lost": 2, "answered": 4}


def test_only_probes_that_nobody_had_answered_are_counted() -> None:
    """Calls one after the other are one probe; failures that opened the breaker are told apart."""
    with SimServer() as sim:
        sim.play(scenarios.rule("trip", '{ kind = "status", status = 500 }'))
        ask(sim, ["trip", "trip", "yes", "yes", "yes"])
        got = judges.probes({}, sim)
    assert got == {"failures": 2, "probes": 1}


def test_the_bill_is_compared_with_the_cap() -> None:
    """Under the cap is no overshoot, and over it the share beyond is."""
    with SimServer() as sim:
        ask(sim, ["yes"])
        paid_usd = sim.bill()["total_nano"] / 1e9
        assert judges.overshoot({}, sim, cap_usd=2 * paid_usd) == {"overshoot": 0.0, "bill_over_cap": 0.5}
        assert judges.overshoot({}, sim, cap_usd=paid_usd / 3)["overshoot"] == pytest.approx(2.0)


def shown(numbers: dict[str, float], *, name: str = contest.OURS, failure: str = "") -> tuple[str, str]:
    """The row of one turn, and the verdict on it."""
    metric = Metric("known", "known after", " s", at_most=2.0, ceiling=5.0)
    scenario = Scenario("stalled", "Silence", "one_by_one", Given(), (), (metric,), judges.rejections)
    turn = Turn(scenario, Entrant(name, name, "streamed", "Somebody"), numbers, "1.0", failure)
    return table.lines([turn])[-1], table.figures([turn])[0].verdict


def test_a_promise_is_penstocks_alone() -> None:
    """The same number misses for Penstock and is only a number for a peer."""
    assert shown({"known": 3.0}) == ("  Somebody".ljust(46) + "3 s MISSED", "MISSED")
    assert shown({"known": 3.0}, name="peer") == ("  Somebody".ljust(46) + "3 s", "")
    assert shown({"known": 1.5})[1] == "held"


def test_a_failure_is_said() -> None:
    """A peer that cannot be installed stands in the table with its reason; Penstock without a number holds nothing."""
    assert shown({}, name="peer", failure="No module named 'hyx'")[0].endswith("–  No module named 'hyx'")
    assert shown({}, failure="ended")[1] == "NOT MEASURED"


def test_a_measurement_that_was_given_up_is_more_than_its_ceiling() -> None:
    """Nobody waits for a library that sleeps for hours, and the table does not pretend to know how long it would."""
    assert "> 5 s" in shown({"known": 5.01}, name="peer")[0]


@pytest.mark.slow
def test_penstock_plays_in_a_process_of_its_own() -> None:
    """A turn comes back with the version and with what the simulator counted."""
    if not VENV.exists():
        pytest.skip("needs the .venv that make makes")
    scenario = next(each for each in scenarios.every() if each.name == "hopeless")
    turn = contest.turn(scenario, scenario.entrants[0], playing=set())
    assert turn.failure == ""
    assert turn.numbers == {"quota": 1, "bad_request": 1, "bad_key": 1}


@pytest.mark.slow
def test_a_contestant_that_is_not_there_is_a_row_with_its_reason() -> None:
    """The run goes on, and the reason is the process's own last words."""
    if not VENV.exists():
        pytest.skip("needs the .venv that make makes")
    scenario = next(each for each in scenarios.every() if each.name == "hopeless")
    missing = Entrant("openai", "openai", "no_such_ability", "openai SDK")
    turn = contest.turn(scenario, missing, playing=set())
    assert "no_such_ability" in turn.failure
    assert turn.numbers == {}
