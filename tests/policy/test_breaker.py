"""The breaker: a ratio over a long enough window, exactly N probes, and nothing from the past counts."""

import random
from math import inf, nan
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from penstock import errors
from penstock._policy.breaker import Breaker, BreakerSettings, Open, Outcome, Pass, health
from penstock.errors import ConfigError
from penstock.types import Response


def go(breaker: Breaker, now: float) -> Pass:
    """Ask for a pass that must be given."""
    answer = breaker.ask(now, 1.0)
    assert isinstance(answer, Pass)
    return answer


def fail(breaker: Breaker, times: int, now: float = 0.0, outcome: Outcome = "failure") -> None:
    """End calls one after the other."""
    for _ in range(times):
        breaker.settle(now, go(breaker, now), outcome, 1.0, 1.0)


def opened(**settings: Any) -> Breaker:
    """A breaker that opened at 0 for 5 s."""
    breaker = Breaker(BreakerSettings(**settings))
    fail(breaker, 10)
    assert breaker.snapshot().state == "open"
    return breaker


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"failure_ratio": 0}, "failure_ratio must be a number above 0 and at most 1; got 0"),
        ({"failure_ratio": 1.1}, "failure_ratio"),
        ({"slow_ratio": nan}, "slow_ratio"),
        ({"window_s": -1.0}, "window_s must be a number above 0"),
        ({"open_s": inf}, "open_s"),
        ({"lease_s": True}, "lease_s"),
        ({"slow_s": 0}, "slow_s"),
        ({"min_calls": 0}, "min_calls must be a whole number from 1"),
        ({"min_calls": 2.5}, "min_calls"),
        ({"probes": 6}, "probes must be a whole number from 1 to 5; got 6"),
        ({"open_s": 10, "open_max_s": 9}, "open_max_s must be at least open_s"),
    ],
)
def test_settings_out_of_range_are_refused(settings: dict[str, Any], message: str) -> None:
    """One sentence: what, expected, got."""
    with pytest.raises(ConfigError, match=message):
        BreakerSettings(**settings)


@pytest.mark.prove(16)
def test_it_opens_at_the_ratio_and_not_before_enough_calls() -> None:
    """Nine failures say nothing, ten do; four of ten are tolerated."""
    breaker = Breaker()
    fail(breaker, 9)
    assert breaker.snapshot().state == "closed"
    fail(breaker, 1)
    assert breaker.snapshot().state == "open"
    assert breaker.snapshot().reason == "10 of 10 calls failed"
    breaker = Breaker()
    fail(breaker, 6, outcome="ok")
    fail(breaker, 4)
    assert breaker.snapshot().state == "closed"


def test_ignored_outcomes_count_neither_way() -> None:
    """429s, cancellations and the caller's own faults say nothing of health."""
    breaker = Breaker()
    fail(breaker, 1000, outcome="ignored")
    assert breaker.snapshot().calls == 0


def test_failures_older_than_the_window_are_forgotten() -> None:
    """Nine now and nine a minute ago never add up."""
    breaker = Breaker()
    for minute in range(5):
        fail(breaker, 9, now=60.0 * minute)
    assert breaker.snapshot(240.0).state == "closed"
    assert breaker.snapshot(280.0).calls == 0


@pytest.mark.prove(16)
def test_the_window_is_longer_than_a_call() -> None:
    """Calls of two minutes make it four minutes long."""
    breaker = Breaker()
    for _ in range(64):
        breaker.settle(0.0, go(breaker, 0.0), "ok", 120.0, 0.0)
    assert breaker.window_s == 240.0
    assert breaker.snapshot().p95_s == 120.0


def test_failures_of_the_past_do_not_count_in_the_ratio_of_now() -> None:
    """Nine old ones and one new one among ten good ones."""
    breaker = Breaker()
    fail(breaker, 9)
    fail(breaker, 10, now=60.0, outcome="ok")
    fail(breaker, 1, now=60.0)
    assert (breaker.snapshot().failures, breaker.snapshot().state) == (1, "closed")


def test_a_lease_is_longer_than_a_call() -> None:
    """Where calls take two minutes, a probe has four."""
    breaker = Breaker()
    for _ in range(20):
        breaker.settle(0.0, go(breaker, 0.0), "ok", 120.0, 0.0)
    fail(breaker, 20)
    probe = go(breaker, 5.0)
    assert isinstance(breaker.ask(200.0, 0.0), Open)
    breaker.settle(240.0, probe, "ok", 235.0, 0.0)
    assert breaker.snapshot().state == "closed"


def test_it_opens_for_as_long_as_told_and_no_rounding_error_longer() -> None:
    """A millisecond early is early, the told time is enough."""
    breaker = opened()
    assert isinstance(breaker.ask(4.999, 0.0), Open)
    assert isinstance(breaker.ask(5.0 - 1e-12, 0.0), Pass)


def test_slow_calls_open_it_when_asked_to() -> None:
    """Eight of ten slower than the bound."""
    breaker = Breaker(BreakerSettings(slow_s=0.5))
    fail(breaker, 10, outcome="ok")
    assert breaker.snapshot().reason == "10 of 10 calls took longer than 0.5 s"


def test_the_open_time_doubles_up_to_its_bound_and_is_jittered_downwards() -> None:
    """5, 10, 20 … 300 s, less up to a fifth."""
    breaker, now, times = opened(), 0.0, []
    for _ in range(9):
        state = breaker.snapshot()
        assert state.open_until is not None
        times.append(state.open_until - now)
        now = state.open_until
        breaker.settle(now, go(breaker, now), "failure", 1.0, 1.0)
    assert times == pytest.approx([5, 10, 20, 40, 80, 160, 300, 300, 300])
    breaker = Breaker()
    for _ in range(10):
        breaker.settle(0.0, go(breaker, 0.0), "failure", 1.0, 0.0)
    assert breaker.ask(0.0, 0.0) == Open(4.0, "10 of 10 calls failed")


@pytest.mark.prove(16)
@pytest.mark.parametrize("probes", [1, 3])
def test_half_open_lets_exactly_n_of_a_hundred_calls_through(probes: int) -> None:
    """Peers let all hundred through."""
    breaker = opened(probes=probes)
    answers = [breaker.ask(5.0, 0.0) for _ in range(100)]
    passes = [answer for answer in answers if isinstance(answer, Pass)]
    assert len(passes) == probes == breaker.snapshot().probes_out
    for pass_ in passes:
        assert breaker.snapshot().state == "half_open"
        breaker.settle(6.0, pass_, "ok", 1.0, 0.0)
    assert breaker.snapshot().state == "closed"


@pytest.mark.prove(16)
def test_a_cancelled_probe_gives_its_permit_back_and_changes_nothing() -> None:
    """Cancellation is no information, and settling twice gives nothing twice."""
    breaker = opened()
    probe = go(breaker, 5.0)
    breaker.settle(5.5, probe, "ignored", 0.5, 0.0)
    breaker.settle(5.5, probe, "ok", 0.5, 0.0)
    assert breaker.snapshot().state == "half_open"
    assert breaker.peek(5.5, 0.0) is None
    assert go(breaker, 5.5).probe != probe.probe


def test_a_lease_that_runs_out_is_a_failure() -> None:
    """A lost probe does not keep the lane shut for ever, and its late answer is ignored."""
    breaker = opened()
    lost = go(breaker, 5.0)
    assert isinstance(breaker.ask(64.9, 0.0), Open)
    assert breaker.ask(65.0, 1.0) == Open(10.0, "a probe was not heard of again")
    breaker.settle(66.0, lost, "ok", 61.0, 0.0)
    assert breaker.snapshot().state == "open"


def test_an_answer_after_the_lease_does_not_close_it() -> None:
    """Also when nobody asked in between."""
    breaker = opened()
    late = go(breaker, 5.0)
    breaker.settle(70.0, late, "ok", 65.0, 1.0)
    assert breaker.snapshot().state == "open"


@pytest.mark.prove(16)
@pytest.mark.parametrize("outcome", ["ok", "failure"])
def test_results_of_an_older_epoch_change_nothing(outcome: Outcome) -> None:
    """Neither a late success closes it nor a late failure opens it again."""
    breaker = Breaker()
    old = [go(breaker, 0.0) for _ in range(50)]
    fail(breaker, 10)
    for pass_ in old[:25]:
        breaker.settle(1.0, pass_, outcome, 1.0, 0.0)
    assert breaker.snapshot().state == "open"
    probe = go(breaker, 5.0)
    for pass_ in old[25:40]:
        breaker.settle(5.1, pass_, outcome, 1.0, 0.0)
    assert breaker.snapshot().state == "half_open"
    breaker.settle(5.2, probe, "ok", 1.0, 0.0)
    for pass_ in old[40:]:
        breaker.settle(5.3, pass_, outcome, 1.0, 0.0)
    assert (breaker.snapshot().state, breaker.snapshot().calls) == ("closed", 0)


def test_a_success_resets_the_open_time() -> None:
    """The next outage starts with 5 s again."""
    breaker = opened()
    breaker.settle(5.0, go(breaker, 5.0), "failure", 1.0, 1.0)
    breaker.settle(15.0, go(breaker, 15.0), "ok", 1.0, 1.0)
    fail(breaker, 10, now=15.0)
    assert breaker.ask(15.0, 1.0) == Open(5.0, "10 of 10 calls failed")


@pytest.mark.prove(16)
def test_a_trip_opens_at_once_with_its_reason_and_late_ones_change_nothing() -> None:
    """A rejected key needs no statistics; calls under way that meet the same do not prolong it, its probe does."""
    breaker = Breaker()
    first, late = go(breaker, 0.0), go(breaker, 0.0)
    breaker.trip(1.0, first, "the key was rejected", 1.0)
    breaker.trip(2.0, late, "the key was rejected", 1.0)
    assert breaker.ask(2.0, 0.0) == Open(4.0, "the key was rejected")
    breaker.trip(7.0, go(breaker, 6.0), "the key was rejected", 1.0)
    assert breaker.ask(7.0, 0.0) == Open(10.0, "the key was rejected")
    breaker.settle(18.0, go(breaker, 17.0), "ok", 1.0, 0.0)
    assert breaker.state == "closed"


def test_a_lane_without_alternative_is_probed_every_second() -> None:
    """Rather than refusing everything for minutes."""
    breaker = opened(open_s=60.0)
    assert breaker.peek(0.5, 0.0, alone=True) == Open(0.5, "10 of 10 calls failed")
    assert breaker.peek(1.0, 0.0, alone=True) is None
    assert isinstance(breaker.ask(1.0, 0.0), Open)
    assert isinstance(breaker.ask(1.0, 0.0, alone=True), Pass)
    assert isinstance(breaker.ask(1.0, 0.0, alone=True), Open)


def test_a_peek_takes_no_lease() -> None:
    """It answers as `ask` would."""
    breaker = Breaker()
    assert breaker.peek(0.0, 0.0) is None
    breaker = opened()
    assert breaker.peek(1.0, 0.0) == Open(4.0, "10 of 10 calls failed")
    assert breaker.peek(5.0, 0.0) is None
    assert breaker.snapshot().state == "open"
    go(breaker, 5.0)
    assert breaker.peek(5.0, 0.0) == breaker.ask(5.0, 0.0)


def test_a_clock_that_goes_back_shifts_the_open_time_and_the_leases_with_it() -> None:
    """Nobody waits for an hour that the clock took back."""
    breaker = Breaker()
    fail(breaker, 10, now=3600.0)
    assert breaker.ask(10.0, 0.0) == Open(5.0, "10 of 10 calls failed")
    lost = go(breaker, 15.0)
    assert breaker.ask(0.0, 0.0) == Open(5.0, "10 of 10 calls failed")
    assert breaker.ask(60.0, 1.0) == Open(10.0, "a probe was not heard of again")
    breaker.settle(61.0, lost, "ok", 46.0, 0.0)
    assert breaker.state == "open"
    breaker = Breaker()
    fail(breaker, 9, now=3600.0)
    fail(breaker, 1, now=10.0)
    assert (breaker.state, breaker.snapshot().calls) == ("closed", 1)


def test_late_first_outputs_open_it_when_asked_to() -> None:
    """Eight of ten later than three times the usual; whole answers, which have no first output, never do."""
    breaker = Breaker(BreakerSettings(slow_factor=3.0))
    for first_s in [0.2] * 50 + [0.5] * 50 + [None] * 50:
        breaker.settle(0.0, go(breaker, 0.0), "ok", 9.0, 1.0, first_s=first_s)
    assert breaker.snapshot().state == "closed"
    for _ in range(10):
        breaker.settle(60.0, go(breaker, 60.0), "ok", 9.0, 1.0, first_s=1.6)
    assert breaker.snapshot().reason == "10 of 10 calls had their first output later than 3 times the usual 0.50 s"


def streams(factor: float, sizes: list[float], seed: int) -> int:
    """How often a healthy server's breaker opens over streams of these prompt sizes, one a second for each."""
    rng = random.Random(seed)
    breaker = Breaker(BreakerSettings(slow_factor=factor))
    opened = 0
    for now, size in enumerate(sizes):
        pass_ = breaker.ask(float(now), 1.0)
        if isinstance(pass_, Pass):
            first_s = 0.2 * rng.lognormvariate(0, 0.5) + size / 20_000
            breaker.settle(float(now), pass_, "ok", 9.0, 1.0, first_s=first_s)
            opened += breaker.state == "open"
    return opened


def test_the_slow_rule_is_off_unless_asked_for_because_other_prompts_set_it_off() -> None:
    """Steady traffic of mixed sizes never opens it in 100,000 streams; far longer prompts do, once per change."""
    assert BreakerSettings().slow_factor is None
    rng = random.Random(3)
    mixed = [400 * rng.lognormvariate(0, 1.5) for _ in range(100_000)]
    assert streams(3.0, mixed, 1) == 0
    phases = ([500.0] * 300 + [60_000.0] * 300) * 5
    assert streams(3.0, phases, 1) == 5


FAILURES = {
    errors.Overloaded, errors.ServerFault, errors.ConnectionFailed, errors.OutcomeUnknown, errors.FirstTokenTimeout,
    errors.IdleTimeout, errors.TotalTimeout, errors.StreamInterrupted,
}  # fmt: skip


@pytest.mark.prove(16)
@pytest.mark.parametrize("kind", errors.all_errors(), ids=lambda kind: kind.__name__)
def test_every_error_is_either_the_lanes_fault_or_ignored(kind: type[errors.PenstockError]) -> None:
    """Faults of provider and network count; pacing, the caller's faults and our own refusals do not."""
    error = kind.__new__(kind)
    assert health(error) == ("failure" if kind in FAILURES else "ignored")


def test_cancellation_is_ignored() -> None:
    """Whatever a driver throws that is no error of ours."""
    assert health(KeyboardInterrupt()) == "ignored"
    assert health(errors.StreamInterrupted("cut", partial=Response(provider="p", model="m"))) == "failure"


class Model(RuleBasedStateMachine):
    """The breaker against a model that keeps a set of leases and trusts no late result."""

    PROBES = 2

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self.breaker = Breaker(BreakerSettings(min_calls=3, probes=self.PROBES, lease_s=40.0))
        self.out: list[tuple[Pass, float]] = []

    @rule(seconds=st.sampled_from([0.0, 0.5, 4.0, 6.0, 41.0, 400.0]))
    def pass_time(self, seconds: float) -> None:
        self.now += seconds

    @rule(seconds=st.sampled_from([0.5, 30.0, 5000.0]))
    def clock_goes_back(self, seconds: float) -> None:
        self.now -= seconds

    @precondition(lambda self: self.out)
    @rule(data=st.data())
    def trip(self, data: st.DataObject) -> None:
        pass_, _ = self.out.pop(data.draw(st.integers(0, len(self.out) - 1)))
        before = self.breaker.snapshot()
        self.breaker.trip(self.now, pass_, "the key was rejected", 0.5)
        after = self.breaker.snapshot()
        if pass_.epoch != before.epoch:
            assert after == before
        else:
            assert (after.state, after.epoch) == ("open", before.epoch + 1)

    @rule(u=st.sampled_from([0.0, 0.5, 0.99]), alone=st.booleans())
    def ask(self, u: float, alone: bool) -> None:
        foreseen = self.breaker.peek(self.now, u, alone=alone)
        answer = self.breaker.ask(self.now, u, alone=alone)
        assert isinstance(answer, Pass) == (foreseen is None)
        if isinstance(answer, Pass):
            assert bool(answer.probe) == (self.breaker.snapshot().state == "half_open")
            self.out.append((answer, self.now))
        else:
            assert 0 <= answer.retry_after_s <= 300

    @precondition(lambda self: self.out)
    @rule(data=st.data(), outcome=st.sampled_from(["ok", "failure", "ignored"]))
    def settle(self, data: st.DataObject, outcome: Outcome) -> None:
        pass_, at = self.out.pop(data.draw(st.integers(0, len(self.out) - 1)))
        before = self.breaker.snapshot()
        self.breaker.settle(self.now, pass_, outcome, self.now - at, 0.5)
        after = self.breaker.snapshot()
        if pass_.epoch != before.epoch:
            assert after == before
        elif outcome == "ignored":
            assert after.state == before.state
        elif before.state == "half_open" and outcome == "failure":
            assert after.state == "open"

    @invariant()
    def probes_are_counted(self) -> None:
        state = self.breaker.snapshot()
        mine = [pass_ for pass_, _ in self.out if pass_.probe and pass_.epoch == state.epoch]
        assert len(mine) == state.probes_out <= self.PROBES

    def teardown(self) -> None:
        self.now += 10_000
        for _ in range(20):  # nothing keeps it shut: not one of the probes that never came back
            answer = self.breaker.ask(self.now, 0.5)
            if isinstance(answer, Pass):
                return
            self.now += answer.retry_after_s
        raise AssertionError("stuck")


TestModel = Model.TestCase
TestModel.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)
