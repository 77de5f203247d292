"""Limits and waits from headers: every grammar seen, and garbage that never raises."""

from email.utils import formatdate
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock._wire import headers
from penstock._wire.protocol import Provider
from penstock.types import LimitSeen

NOW = 1_790_000_000.0


def provider(limits: Any = "openai") -> Provider:
    """A row that reads headers this way."""
    return Provider(name="p", wire="openai_chat", limits=limits)


def retry(given: dict[str, str], body: bytes = b"", status: int = 429, limits: Any = "openai") -> float | None:
    """The wait that a failed answer asks for."""
    return headers.retry_after_s(status, given, body, provider(limits), wall_s=NOW)


def seen(limits: str, given: dict[str, str]) -> tuple[LimitSeen, ...]:
    """The limits of an answer."""
    return headers.limits_seen(given, provider(limits), wall_s=NOW)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("2ms", 0.002),
        ("0s", 0),
        ("6s", 6),
        ("8.64s", 8.64),
        ("1m0.198s", 60.198),
        ("14m24s", 864),
        ("1h8m25.745s", 4105.745),
        ("17.399999999s", 17.399999999),
        ("1d", 86400),
        ("2d3h", 183600),
        ("6m0s", 360),
        ("", None),
        ("s", None),
        ("1", None),
        ("1s2", None),
        ("-1s", None),
        ("req_abc", None),
        ("1m2m", None),
        ("1e3s", None),
    ],
)
def test_durations_are_read(text: str, seconds: float | None) -> None:
    """One grammar for all that was seen; the empty string is none."""
    assert headers.duration_s(text) == (None if seconds is None else pytest.approx(seconds))


@given(st.integers(0, 300), st.integers(0, 23), st.integers(0, 59), st.integers(0, 59_999))
def test_written_durations_are_read_back(days: int, hours: int, minutes: int, millis: int) -> None:
    """As Go writes them."""
    expected = days * 86400 + hours * 3600 + minutes * 60 + millis / 1000
    assert headers.duration_s(f"{days}d{hours}h{minutes}m{millis / 1000:.3f}s") == pytest.approx(expected)
    assert headers.duration_s(f"{millis}ms") == pytest.approx(millis / 1000)


@pytest.mark.prove(3, 6)
@pytest.mark.parametrize(
    ("given", "seconds"),
    [
        ({"retry-after": "7"}, 7),
        ({"retry-after": "0.2"}, 0.2),
        ({"retry-after": " 3 "}, 3),
        ({"retry-after-ms": "250"}, 0.25),
        ({"retry-after": "1", "retry-after-ms": "0"}, 1),
        ({"retry-after": "1", "retry-after-ms": "1500"}, 1.5),
        ({"retry-after": "junk", "retry-after-ms": "500"}, 0.5),
        ({"x-ms-retry-after-ms": "500"}, 0.5),
        ({"retry-after": formatdate(NOW + 90, usegmt=True)}, 90),
        ({"retry-after": formatdate(NOW - 90, usegmt=True)}, 0),
        ({"retry-after": "2026-09-21T14:14:20Z"}, 60),
        ({"retry-after": f"{NOW + 5:.0f}"}, 5),
        ({"retry-after": f"{(NOW + 5) * 1000:.0f}"}, 5),
        ({"retry-after": "2m"}, 120),
        ({"retry-after": "-5"}, None),
        ({"retry-after": "nan"}, None),
        ({"retry-after": "inf"}, None),
        ({"retry-after": "9" * 400}, None),
        ({"retry-after": "99999999"}, None),
        ({"retry-after": "Thu, 99 Foo 2026 99:99:99 GMT"}, None),
        ({"retry-after": "None"}, None),
        ({"retry-after": "2026-99-99T99:99:99Z"}, None),
        ({}, None),
    ],
)
def test_retry_after_is_read_in_every_form(given: dict[str, str], seconds: float | None) -> None:
    """Seconds, milliseconds, dates, epochs; the longer of two that disagree; past is 0 and garbage nothing."""
    assert retry(given) == (None if seconds is None else pytest.approx(seconds))


@pytest.mark.parametrize(
    "date",
    [
        "Mon, 21 Sep 2026 14:14:20 GMT",
        "Monday, 21-Sep-26 14:14:20 GMT",
        "Mon Sep 21 14:14:20 2026",
        "Mon, 21 Sep 2026 16:14:20 +0200",
        "21 Sep 2026 14:14:20",
    ],
)
def test_every_form_of_http_date_is_read(date: str) -> None:
    """RFC 9110 has three; zones appear in the wild."""
    assert retry({"retry-after": date}) == 60
    assert headers.wait_s("Mon, 21-Sep-99 14:14:20 GMT", NOW) == 0


@pytest.mark.prove(6)
@pytest.mark.parametrize("skew_s", [-86_400, -5, 0, 5, 86_400])
def test_a_date_is_read_by_the_clock_of_the_server_that_sent_it(skew_s: int) -> None:
    """Whatever the clock of this machine says; an unreadable clock is no clock."""
    now, later = (formatdate(NOW + skew_s + more_s, usegmt=True) for more_s in (0, 30))
    assert retry({"date": now, "retry-after": later}) == 30
    assert retry({"date": "once upon a time", "retry-after": later}) == max(0, 30 + skew_s)


def test_a_success_asks_for_no_wait() -> None:
    """Anthropic sends retry-after on 200."""
    assert retry({"retry-after": "63"}, status=200) is None


@pytest.mark.prove(3)
@pytest.mark.parametrize(
    ("message", "seconds"),
    [
        ("Rate limit reached. Please try again in 1.5s. Visit …", 1.5),
        ("Please try again in 6m0s.", 360),
        ("Please try again in 120ms.", 0.12),
        ("Please retry in 48.939935699s.", 48.939935699),
        ("Please retry after 20 seconds.", 20),
        ("Try again in 2 minutes", 120),
        ("retry after 500 milliseconds", 0.5),
        ("Please try again later.", None),
        ("wait", None),
        ("try again in -3s", None),
    ],
)
def test_hints_in_the_message_are_read(message: str, seconds: float | None) -> None:
    """Where no header says it."""
    body = b'{"error":{"message":"%s"}}' % message.encode()
    assert retry({}, body) == (None if seconds is None else pytest.approx(seconds))
    assert retry({"retry-after": "7"}, body) == 7


def test_retry_info_is_read() -> None:
    """Gemini says it in the body's details."""
    details = b'[{"@type":"x/QuotaFailure"},{"@type":"x/RetryInfo","retryDelay":"48s"}]'
    assert retry({}, b'{"error":{"code":429,"message":"m","details":%s}}' % details) == 48
    odd = b'{"error":{"message":"try again in 2s","details":[{"retryDelay":"soon"}]}}'
    assert retry({}, odd) == 2


def test_an_exhausted_limit_says_when_it_is_whole() -> None:
    """Only on a 429, only for limits with nothing left, never from Azure's resets."""
    given = {
        "x-ratelimit-limit-tokens": "100",
        "x-ratelimit-remaining-tokens": "0",
        "x-ratelimit-reset-tokens": "6s",
        "x-ratelimit-limit-requests": "10",
        "x-ratelimit-remaining-requests": "9",
        "x-ratelimit-reset-requests": "1h",
    }
    assert retry(given) == 6
    assert retry(given, status=500) is None
    assert retry(given, limits="azure") is None


def test_openai_and_groq_headers_are_read() -> None:
    """The same names; Groq's requests are per day, and a reset counts where nothing is left."""
    given = {
        "x-ratelimit-limit-requests": "14400",
        "x-ratelimit-remaining-requests": "14399",
        "x-ratelimit-reset-requests": "8.64s",
        "x-ratelimit-limit-tokens": "30000",
        "x-ratelimit-remaining-tokens": "0",
        "x-ratelimit-reset-tokens": "2ms",
    }
    requests, tokens = seen("openai", given)
    assert requests == LimitSeen(dimension="requests", limit=14400, remaining=14399)
    assert tokens == LimitSeen(dimension="tokens", limit=30000, remaining=0, reset_s=0.002)
    assert [limit.period_s for limit in seen("groq", given)] == [86400, 60]
    assert [limit.reset_s for limit in seen("azure", given)] == [None, None]
    assert [limit.dimension for limit in seen("xai", given)] == ["requests", "tokens"]
    assert seen("none", given) == ()


def test_anthropic_resets_in_the_past_are_now() -> None:
    """A full bucket resets at once, by a stamp that is already over."""
    given = {
        "anthropic-ratelimit-requests-limit": "50",
        "anthropic-ratelimit-requests-remaining": "0",
        "anthropic-ratelimit-requests-reset": "2026-09-21T14:13:00Z",
        "anthropic-ratelimit-input-tokens-limit": "50000",
        "anthropic-ratelimit-input-tokens-remaining": "0",
        "anthropic-ratelimit-input-tokens-reset": "2026-09-21T14:13:50Z",
        "anthropic-ratelimit-output-tokens-limit": "8000",
        "anthropic-ratelimit-output-tokens-remaining": "8000",
        "anthropic-ratelimit-tokens-limit": "58000",
    }
    found = {limit.dimension: limit for limit in seen("anthropic", given)}
    assert found["requests"].reset_s == 0
    assert found["input_tokens"].reset_s == 30
    assert found["output_tokens"] == LimitSeen(dimension="output_tokens", limit=8000, remaining=8000)
    assert found["tokens"].limit == 58000


def test_cohere_tells_trial_keys_their_calls_per_minute() -> None:
    """Other keys are told nothing."""
    given = {"x-trial-endpoint-call-limit": "20", "x-trial-endpoint-call-remaining": "0"}
    assert seen("cohere", given) == (LimitSeen(dimension="requests", limit=20, remaining=0, period_s=60.0),)
    assert seen("cohere", {"x-endpoint-monthly-call-limit": "1000"}) == ()


def test_mistral_has_a_limit_per_period() -> None:
    """Minute, ten seconds and month."""
    given = {
        "x-ratelimit-limit-req-minute": "60",
        "x-ratelimit-remaining-req-minute": "59",
        "x-ratelimit-limit-req-10-second": "20",
        "x-ratelimit-limit-tokens-minute": "500000",
        "x-ratelimit-remaining-tokens-month": "1000000000",
    }
    assert [(limit.dimension, limit.period_s) for limit in seen("mistral", given)] == [
        ("requests", 60),
        ("requests", 10),
        ("tokens", 60),
        ("tokens", 30 * 86400),
    ]


def test_openrouter_and_together_have_one_limit() -> None:
    """By epoch milliseconds or seconds to go; a reset beyond a minute is of the day's limit."""
    given = {"x-ratelimit-limit": "20", "x-ratelimit-remaining": "0", "x-ratelimit-reset": f"{(NOW + 30) * 1000:.0f}"}
    assert seen("openrouter", given) == (LimitSeen(dimension="requests", limit=20, remaining=0, reset_s=30),)
    assert retry(given, limits="openrouter") == 30
    (day,) = seen("openrouter", given | {"x-ratelimit-reset": f"{(NOW + 7200) * 1000:.0f}"})
    assert day.period_s == 86400
    (together,) = seen("together", {"x-ratelimit-limit": "2", "x-ratelimit-remaining": "1", "x-ratelimit-reset": "1"})
    assert (together.limit, together.remaining, together.reset_s) == (None, 1, 1)


@pytest.mark.parametrize("value", ["-1", "0", "None", "req_8f2", "9223372036854767616", "X", "", "1e9", "½"])
def test_sentinels_and_garbage_are_no_limit(value: str) -> None:
    """-1 and 0 at Azure, nearly 2^63 at Hugging Face, ids and words in the wrong field."""
    assert seen("openai", {"x-ratelimit-limit-tokens": value}) == ()


def test_counts_may_be_floats() -> None:
    """Some gateways write 12.0."""
    assert seen("openai", {"x-ratelimit-limit-tokens": "12.0"})[0].limit == 12


NAMES = [
    "x-ratelimit-limit-tokens",
    "x-ratelimit-remaining-tokens",
    "x-ratelimit-reset-tokens",
    "x-ratelimit-reset",
    "x-ratelimit-limit",
    "anthropic-ratelimit-tokens-limit",
    "anthropic-ratelimit-tokens-reset",
    "retry-after",
    "retry-after-ms",
    "x-ratelimit-limit-req-minute",
]
VALUES = (
    st.text(max_size=30)
    | st.from_regex(r"[0-9]{1,25}(\.[0-9]{1,5})?(ms|s|m|h|d)?")
    | st.from_regex(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9:.+-]{0,12}Z?")
    | st.from_regex(r"[A-Z][a-z]{2}, [0-9]{2} [A-Z][a-z]{2} [0-9:+ -]{0,20}")
)


@given(
    st.dictionaries(st.sampled_from(NAMES), VALUES),
    st.sampled_from(
        ["openai", "anthropic", "azure", "groq", "mistral", "openrouter", "xai", "together", "cohere", "none"]
    ),
    st.binary(max_size=60),
)
def test_nothing_ever_raises_and_no_wait_is_negative(given: dict[str, str], limits: str, body: bytes) -> None:
    """Whatever the headers hold."""
    for limit in seen(limits, given):
        assert limit.reset_s is None or limit.reset_s >= 0
    found = retry(given, body, limits=limits)
    assert found is None or 0 <= found <= 366 * 86400
