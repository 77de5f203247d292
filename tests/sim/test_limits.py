"""The server's own limits: never above the limit, exact about the past, honest in their headers."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.sim.config import Change, Limits
from penstock.sim.limits import (
    WINDOW_S,
    Admit,
    Bucket,
    Dimension,
    Refuse,
    Window,
    anthropic_headers,
    go_duration,
    open_lane,
    openai_headers,
)

steps = st.lists(st.tuples(st.floats(0, 30), st.integers(1, 60)), max_size=120)


@given(limit=st.integers(1, 6000), burst=st.integers(1, 600), arrivals=steps)
def test_a_bucket_never_admits_more_than_burst_plus_rate(
    limit: int, burst: int, arrivals: list[tuple[float, int]]
) -> None:
    """Between any two admissions no more passes than burst plus rate times time, plus what one big cost overdraws."""
    bucket = Bucket(limit, burst, 0.0)
    now = 0.0
    admitted: list[tuple[float, int]] = []
    for pause, cost in arrivals:
        now += pause
        if bucket.wait_s(cost, now) == 0.0:
            bucket.take(cost, now)
            admitted.append((now, cost))
    for first in range(len(admitted)):
        total = 0
        for at, cost in admitted[first:]:
            total += cost
            allowed = burst + limit / WINDOW_S * (at - admitted[first][0]) + max(0, cost - burst)
            assert total <= allowed + 1e-3


@given(limit=st.integers(1, 6000), burst=st.integers(1, 600), arrivals=steps)
def test_a_bucket_admits_after_exactly_the_wait_it_names(
    limit: int, burst: int, arrivals: list[tuple[float, int]]
) -> None:
    """After the wait a cost passes, and a little earlier it does not."""
    bucket = Bucket(limit, burst, 0.0)
    now = 0.0
    for pause, cost in arrivals:
        now += pause
        wait_s = bucket.wait_s(cost, now)
        if wait_s > 0.01:
            assert bucket.wait_s(cost, now + wait_s * 0.9) > 0
        now += wait_s
        assert bucket.wait_s(cost, now) == pytest.approx(0, abs=1e-6)
        bucket.take(cost, now)


@given(arrivals=steps)
def test_the_window_finds_the_worst_minute(arrivals: list[tuple[float, int]]) -> None:
    """The reported maximum is the true maximum over all half-open windows of 60 s."""
    window = Window()
    now = 0.0
    events: list[tuple[float, int]] = []
    for pause, amount in arrivals:
        now += pause
        window.add(amount, now)
        events.append((now, amount))
    worst = max((sum(a for t, a in events if end - WINDOW_S < t <= end) for end, _ in events), default=0)
    assert window.most == worst
    assert window.total == sum(amount for _, amount in events)


def test_a_lane_refuses_by_the_dimension_that_waits_longest() -> None:
    """Requests and tokens are both checked and the longer wait is told."""
    lane = open_lane("openai", Limits(rpm=60, tpm=600, burst_requests=5, burst_tokens=100), 0.0)
    assert isinstance(lane.ask({"requests": 1, "tokens": 100}, 0.0), Admit)
    refused = lane.ask({"requests": 1, "tokens": 50}, 0.0)
    assert isinstance(refused, Refuse)
    assert refused.dimension == "tokens"
    assert refused.wait_s == pytest.approx(5.0)
    assert isinstance(lane.ask({"requests": 1, "tokens": 50}, 5.0), Admit)
    assert (lane.refused, lane.windows["arrivals"].most, lane.windows["requests"].most) == (1, 3, 2)


def test_a_request_above_the_limit_never_passes() -> None:
    """A cost above the minute's limit is refused for ever, one between burst and limit is not."""
    lane = open_lane("openai", Limits(tpm=1000), 0.0)
    never = lane.ask({"requests": 1, "tokens": 1001}, 0.0)
    assert isinstance(never, Refuse)
    assert never.never
    assert isinstance(lane.ask({"requests": 1, "tokens": 900}, 0.0), Admit)
    assert isinstance(lane.ask({"requests": 1, "tokens": 10}, 40.0), Refuse)
    assert isinstance(lane.ask({"requests": 1, "tokens": 10}, 60.0), Admit)


def test_rejections_are_charged_only_when_told() -> None:
    """With charge_rejections a refused request takes what is left; without, it takes nothing."""
    for charged, left in ((False, 1), (True, 0)):
        lane = open_lane("openai", Limits(rpm=60, burst_requests=2, tpm=60, charge_rejections=charged), 0.0)
        lane.ask({"requests": 1, "tokens": 6}, 0.0)
        assert isinstance(lane.ask({"requests": 1, "tokens": 6}, 0.0), Refuse)
        assert lane.buckets["requests"].remaining(0.0) == left


def test_rejections_may_drive_a_bucket_into_debt() -> None:
    """A storm costs at most `rejection_debt` beyond what was there, so that a patient client gets in after it."""
    limits = Limits(rpm=60, burst_requests=2, charge_rejections=True, rejection_debt=3)
    lane = open_lane("openai", limits, 0.0)
    answers = [lane.ask({"requests": 1}, 0.0) for _ in range(50)]
    assert sum(isinstance(answer, Admit) for answer in answers) == 2
    assert isinstance(lane.ask({"requests": 1}, 0.0), Refuse)
    assert lane.buckets["requests"].level(0.0) == pytest.approx(-3)
    assert isinstance(lane.ask({"requests": 1}, 4.1), Admit)


def test_a_change_holds_from_its_time_on_and_need_not_be_announced() -> None:
    """The rate follows at once, also between two requests; the headers follow when they are told to."""
    changes = (Change(after_s=10, factor=0.5), Change(after_s=20, factor=2, announced=True))
    lane = open_lane("openai", Limits(rpm=60, burst_requests=1000, changes=changes), 5.0)
    lane.ask({"requests": 0}, 5.0)
    bucket = lane.buckets["requests"]
    bucket.take(1000, 5.0)
    levels, told = [], []
    for now in (14.0, 16.0, 35.0):
        lane.ask({"requests": 0}, now)
        levels.append(bucket.level(now))
        told.append(dict(openai_headers(lane, now))["x-ratelimit-limit-requests"])
    assert levels == pytest.approx([9.0, 10.5, 35.0])
    assert told == ["60", "60", "120"]


def test_changes_must_be_in_order() -> None:
    """What is out of order is refused before anything runs."""
    with pytest.raises(ValueError, match="later after_s"):
        Limits(changes=(Change(after_s=5, factor=1), Change(after_s=5, factor=2)))


def test_output_tokens_are_charged_as_they_come_and_may_overdraw() -> None:
    """Anthropic's output limit ignores max_tokens, and production beyond it delays the next request."""
    lane = open_lane("anthropic", Limits(otpm=600, burst_tokens=60), 0.0)
    costs: dict[Dimension, int] = {"requests": 1, "input-tokens": 10, "output-tokens": 1}
    assert isinstance(lane.ask(costs, 0.0), Admit)
    lane.produced(160, 0.0)
    refused = lane.ask(costs, 0.0)
    assert isinstance(refused, Refuse)
    assert refused.dimension == "output-tokens"
    assert refused.wait_s == pytest.approx(10.1)
    assert isinstance(lane.ask(costs, 10.2), Admit)


def test_concurrency_is_freed_by_leaving() -> None:
    """No more than the cap is in flight, and the largest number is remembered."""
    lane = open_lane("anthropic", Limits(concurrency=2), 0.0)
    answers = [lane.ask({"requests": 1}, 0.0) for _ in range(3)]
    assert [isinstance(answer, Admit) for answer in answers] == [True, True, False]
    lane.leave()
    assert isinstance(lane.ask({"requests": 1}, 0.0), Admit)
    assert lane.most_in_flight == 2


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.0, "0s"),
        (0.002, "2ms"),
        (8.64, "8.64s"),
        (6.0, "6s"),
        (60.198, "1m0.198s"),
        (864.0, "14m24s"),
        (4105.745, "1h8m25.745s"),
        (3600.0, "1h0m0s"),
    ],
)
def test_durations_are_written_as_go_writes_them(seconds: float, text: str) -> None:
    """The forms are those that were recorded from OpenAI."""
    assert go_duration(seconds) == text


def test_headers_carry_limit_remaining_and_reset() -> None:
    """OpenAI's reset is a duration, Anthropic's an instant, and Anthropic rounds tokens to 1000."""
    lane = open_lane("openai", Limits(rpm=600, tpm=10_000), 0.0)
    lane.ask({"requests": 1, "tokens": 400}, 0.0)
    assert dict(openai_headers(lane, 0.0)) == {
        "x-ratelimit-limit-requests": "600",
        "x-ratelimit-remaining-requests": "59",
        "x-ratelimit-reset-requests": "100ms",
        "x-ratelimit-limit-tokens": "10000",
        "x-ratelimit-remaining-tokens": "600",
        "x-ratelimit-reset-tokens": "2.4s",
    }
    claude = open_lane("anthropic", Limits(rpm=60, itpm=40_000, otpm=8_000, burst_tokens=8_000), 0.0)
    claude.ask({"requests": 1, "input-tokens": 3_400, "output-tokens": 1}, 0.0)
    headers = dict(anthropic_headers(claude, 1_795_000_000.0))
    assert len(headers) == 12
    assert headers["anthropic-ratelimit-tokens-limit"] == "48000"
    assert all(int(value) % 1000 == 0 for name, value in headers.items() if name.endswith("tokens-remaining"))
    assert all(re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", v) for n, v in headers.items() if n.endswith("-reset"))
