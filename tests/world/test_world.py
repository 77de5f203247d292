"""The whole client in simulated time, against a provider that keeps its own limits and its own bill.

Every rule of the referee is checked in every world; the tests differ in what the worlds put in the way.
"""

from __future__ import annotations

from typing import Any

import pytest

from .campaign import Case, kept_seeds, play
from .scenarios import SCENARIOS
from .schedule import Cut
from .world import Outcome

SMALL = 200  # calls: a tenth of a second


def small(name: str, seed: int) -> Outcome:
    """A world cut down to what a quick run has time for."""
    return play(Case(name, seed, Cut(tuple(range(min(SMALL, SCENARIOS[name].calls))))))


def whole(name: str, seed: int = 0) -> Outcome:
    """A world in full, in which no rule was broken."""
    outcome = play(Case(name, seed))
    assert outcome.violations == []
    return outcome


@pytest.mark.parametrize("seed", range(1000, 1002))
@pytest.mark.parametrize("name", SCENARIOS)
def test_no_rule_is_broken(name: str, seed: int) -> None:
    """A small world of every kind."""
    assert small(name, seed).violations == []


@pytest.mark.parametrize("case", kept_seeds(), ids=Case.line)
def test_what_was_broken_once_stays_mended(case: Case) -> None:
    """The worlds that broke a rule once, minimised."""
    assert play(case).violations == []


@pytest.mark.parametrize("name", ["storm", "storm-threads", "torn", "crash"])
def test_a_seed_is_a_world(name: str) -> None:
    """The same seed twice: the same calls, attempts and faults, the same end to the microsecond."""
    cut = Cut(tuple(range(40)))
    first, second, other = (play(Case(name, seed, cut))._replace(cpu_s=0.0) for seed in (7, 7, 8))
    assert first == second != other


@pytest.mark.slow
@pytest.mark.prove(1)
@pytest.mark.parametrize("name", ["calm", "calm-threads", "crowd", "shared", "bunches"])
def test_ten_times_the_load_meets_no_429_and_uses_the_limit(name: str, record_property: Any) -> None:
    """Tasks, threads, two processes that share a limit, crowds that come all at once after a lull."""
    outcome = whole(name)
    assert outcome.own_429s == 0
    if name.startswith("calm"):
        assert outcome.used >= 0.97
        record_property(f"world_{name}_used", round(outcome.used, 4))


@pytest.mark.slow
@pytest.mark.prove(2)
def test_tokens_of_all_sizes_are_held_by_the_rule_of_the_server() -> None:
    """Prompts that differ a thousandfold, some without max_tokens: no 429, and no 60 s above the limit."""
    assert whole("tokens").own_429s == 0


@pytest.mark.slow
@pytest.mark.prove(3)
def test_limits_that_were_set_wrong_or_change_are_learned(record_property: Any) -> None:
    """Twice the truth with and without headers, none at all, and limits that are halved and doubled in mid-run."""
    shares = {}
    for name in ("twice", "silent", "unknown", "turns"):
        outcome = whole(name)
        shares[name] = outcome.own_429s / outcome.attempts
        record_property(f"world_{name}_429_share", round(shares[name], 5))
    assert max(shares.values()) < 0.01


@pytest.mark.slow
@pytest.mark.prove(5, 6, 8, 10, 11)
@pytest.mark.parametrize("name", ["storm", "storm-threads", "jumps", "throttled", "impatience", "pressed"])
def test_everything_goes_wrong_and_every_call_ends_in_time_and_once(name: str, record_property: Any) -> None:
    """Faults in a third of all attempts: nothing comes too early, too late, too often or twice."""
    outcome = whole(name)
    assert 0 < outcome.answered < outcome.calls or name == "throttled"
    record_property(f"world_{name}_faults", outcome.faults)


@pytest.mark.slow
@pytest.mark.prove(7)
@pytest.mark.parametrize("name", ["outage", "outage-unseen"])
def test_a_total_outage_costs_at_most_1_2_attempts_per_call(name: str, record_property: Any) -> None:
    """With the breaker, and by the retry budget alone."""
    outcome = whole(name)
    assert outcome.answered == 0
    assert outcome.attempts <= 1.2 * outcome.calls
    record_property(f"world_{name}_attempts_per_call", round(outcome.attempts / outcome.calls, 3))


@pytest.mark.prove(10)
def test_a_healthy_stream_of_many_minutes_is_never_cut() -> None:
    """A token every three seconds, for as long as answers are."""
    outcome = whole("slow")
    assert outcome.answered == outcome.calls
    assert outcome.hours > 1 / 7


@pytest.mark.slow
@pytest.mark.prove(12)
def test_cut_and_abandoned_streams_are_booked(record_property: Any) -> None:
    """By their own estimate of tokens, against the simulator's count: the prompt, and what was shown until the end."""
    worlds = [whole("cuts", seed) for seed in range(4)]
    booked = sum(world.cut_nano for world in worlds) / sum(world.cut_billed_nano for world in worlds)
    record_property("world_cut_streams_booked_of_billed", round(booked, 4))
    assert 0.9 <= booked <= 1.1


@pytest.mark.slow
@pytest.mark.prove(15)
@pytest.mark.parametrize("name", ["budget", "budget-threads", "unknown-money", "crash", "torn-budget"])
def test_no_bill_exceeds_its_cap(name: str) -> None:
    """Under faults, cancels and crashes, and with threads that change places between any two lines."""
    for seed in range(40 if SCENARIOS[name].torn else 3):
        whole(name, seed)


@pytest.mark.slow
@pytest.mark.prove(16)
def test_a_sick_lane_is_probed_one_by_one_and_late_results_change_nothing() -> None:
    """Six outages of different kinds within twenty minutes, with cancels in between."""
    for seed in range(3):
        whole("sick", seed)


@pytest.mark.slow
@pytest.mark.prove(15)
@pytest.mark.parametrize("name", ["file", "file-threads", "file-crash"])
def test_programs_that_share_a_budget_stay_inside_it_on_a_disk_that_fails(name: str, record_property: Any) -> None:
    """Locked, full, read-only or broken at any write, and killed in it: the bill stays within the cap at every step."""
    faults = sum(whole(name, seed).faults for seed in range(5))
    record_property(f"world_{name}_faults", faults)


@pytest.mark.slow
@pytest.mark.prove(19)
@pytest.mark.parametrize("name", ["cache", "cache-threads", "cache-crash", "cache-rare"])
def test_identical_calls_share_one_answer_and_nobody_waits_for_ever(name: str, record_property: Any) -> None:
    """Leaders fail, are cancelled, leave their stream or crash; one asks at a time, and what is kept is whole."""
    worlds = [whole(name, seed) for seed in range(3)]
    record_property(f"world_{name}_attempts_per_call", round(max(w.attempts / w.calls for w in worlds), 3))


@pytest.mark.slow
@pytest.mark.prove(7, 12)
def test_a_hedge_is_one_more_attempt_and_no_more() -> None:
    """It waits its time, both are booked inside the budget, and an outage is multiplied by at most 1.2 all the same."""
    for seed in range(3):
        whole("hedge", seed)
    whole("hedge-outage")


@pytest.mark.slow
@pytest.mark.prove(11)
def test_a_continued_stream_marks_its_seams_and_says_nothing_twice() -> None:
    """Streams that break up to twice: all parts are booked, within the budget and the deadline."""
    for seed in range(3):
        whole("seams", seed)


@pytest.mark.slow
@pytest.mark.prove(23)
@pytest.mark.parametrize("name", ["close", "close-threads"])
def test_a_close_ends_every_call_at_once_and_leaves_nothing(name: str) -> None:
    """Each has its answer or is told that the client was closed, wherever it was."""
    for seed in range(4):
        whole(name, seed)


@pytest.mark.slow
@pytest.mark.prove(16)
@pytest.mark.parametrize("name", ["shut", "key"])
def test_shut_lanes_are_waited_for_and_refused_keys_are_left_alone(name: str) -> None:
    """A call waits for the first lane that opens within its deadline; a mended key is noticed by a probe."""
    for seed in range(3):
        whole(name, seed)


@pytest.mark.slow
@pytest.mark.prove(3)
@pytest.mark.parametrize("name", ["knee", "knee-turns"])
def test_a_server_without_limits_is_kept_busy_and_not_crowded(name: str) -> None:
    """From its latency alone, also when half of what it could do is lost."""
    for seed in range(3):
        whole(name, seed)


@pytest.mark.slow
@pytest.mark.prove(23)
def test_threads_may_change_places_between_any_two_lines() -> None:
    """Of the gate and the policies: nobody is forgotten, nothing is left behind and no limit is passed."""
    for seed in range(60):
        whole("torn", seed)
        whole("torn-limit", seed)
