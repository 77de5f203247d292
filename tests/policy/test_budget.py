"""Budgets: nothing passes that could break a cap, and every nano-dollar is accounted for once."""

import math
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock._policy.alerts import BudgetAlert
from penstock._policy.budget import Budget, BudgetBook, BudgetState, Caps, Elastic, ScopeState
from penstock.errors import BudgetExceeded, ConfigError

DAY = 86_400.0
NOON = datetime(2026, 11, 20, 12, tzinfo=UTC).timestamp()
NANO = 10**9


def scopes(state: BudgetState) -> dict[str, ScopeState]:
    return {scope.name: scope for scope in state.scopes}


def refused(book: BudgetBook, worst: int | None, wall_s: float = NOON, **tags: str) -> BudgetExceeded:
    with pytest.raises(BudgetExceeded) as caught:
        book.reserve(wall_s, worst, tags)
    return caught.value


@pytest.mark.parametrize("amount", [-1, "-0.01", math.nan, math.inf, "-inf", "five", "$5", "", True, [5], b"5", {}])
@pytest.mark.parametrize("name", ["total", "daily", "monthly", "per_call", "per_client", "tag"])
def test_a_wrong_amount_is_named(name: str, amount: Any) -> None:
    """A negative, infinite or non-numeric cap is refused in one sentence that names the field and the value."""
    wrong: dict[str, Any] = {"tags": {"team=search": amount}} if name == "tag" else {name: amount}
    with pytest.raises(ConfigError, match="is not an amount of dollars") as caught:
        Budget(**wrong)
    assert name in str(caught.value)
    assert repr(amount) in str(caught.value)


@pytest.mark.parametrize("tag", ["team", "=search", "team=", "", 7])
def test_a_wrong_tag_is_named(tag: Any) -> None:
    """A tag without a key or a value is refused."""
    with pytest.raises(ConfigError, match="must be written 'key=value'"):
        Budget(tags={tag: 1})


def test_settings_of_a_wrong_kind_are_named() -> None:
    """Tags that are no mapping, a tag without an amount and a switch that is neither on nor off are refused."""
    wrong: Any = ["team=search"]
    with pytest.raises(ConfigError, match="must map"):
        Budget(tags=wrong)
    nothing: Any = {"team=search": None}
    with pytest.raises(ConfigError, match="has no amount"):
        Budget(tags=nothing)
    maybe: Any = "yes"
    with pytest.raises(ConfigError, match="must be true or false"):
        Budget(allow_unpriced=maybe)


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"file": ""}, "file = '' is no path"),
        ({"file": "a\0b"}, "is no path"),
        ({"file": 7}, "file = 7 is no path of a file, like 'spend.db'"),
        ({"on_alert": "print"}, "on_alert = 'print' must be a function, which only Python can give"),
        ({"alerts": {"hourly": (0.5,)}}, "alerts has no scope 'hourly'; expected total, daily, monthly, per_client or"),
        ({"alerts": {"team=search": (0.5,)}}, "no scope 'team=search'.* or one of the tags"),
        ({"alerts": {"daily": (5,)}}, r"alerts.'daily'. = .5,. must be shares above 0"),
        ({"webhook": 7}, "webhook is no string; expected an https address"),
        ({"webhook": "hooks.example.com/x"}, "webhook is no http.s. address"),
        ({"webhook": "http://hooks.example.com/x"}, "webhook is plain http, which anybody on the way can read"),
        ({"webhook": "https://me:word@hooks.example.com"}, "webhook holds a user name or password"),
        ({"webhook": "https://hooks.example.com:99999"}, "webhook has no valid host or port"),
        ({"webhook": "https://hooks.example.com/\n"}, "webhook has characters that no URL has"),
        ({"alerts": (0,), "on_alert": print}, "must be shares above 0 and at most 1"),
        ({"alerts": (80,), "on_alert": print}, "alerts = .80,. must be shares above 0 and at most 1"),
        ({"alerts": (math.nan,), "on_alert": print}, "must be shares"),
        ({"alerts": (True,), "on_alert": print}, "must be shares"),
        ({"alerts": "0.5", "on_alert": print}, "must be shares"),
        ({"alerts": 0.5, "on_alert": print}, "must be shares"),
    ],
)
def test_a_wrong_file_or_alert_is_named(wrong: dict[str, Any], words: str) -> None:
    """What it is and what was expected, in one sentence."""
    with pytest.raises(ConfigError, match=words):
        Budget(total=1, **wrong)


@pytest.mark.parametrize("amount", ["0.10", Decimal("0.1"), 0.1])
def test_dollars_come_in_any_exact_form(amount: Any) -> None:
    """A string, a Decimal and a float of ten cents are the same ten cents."""
    assert BudgetBook(Budget(total=amount)).remaining(NOON) == NANO // 10


@pytest.mark.prove(15)
def test_without_a_budget_nothing_is_refused_and_totals_are_counted() -> None:
    """No cap: any price passes, known or not, and the sums are kept."""
    book = BudgetBook()
    for actual in (7, 5, None):
        book.settle(NOON, book.reserve(NOON, 10**15), actual)
    book.settle(NOON, book.reserve(NOON, None), None)
    state = book.snapshot(NOON)
    assert scopes(state)["total"] == ScopeState(
        name="total", cap_nano=None, spent_nano=12 + 10**15, held_nano=0, possible_nano=10**15
    )
    assert scopes(state).keys() == {"total", "day 2026-11-20", "month 2026-11"}
    assert scopes(state)["total"].left_nano is None
    assert (state.calls_under_way, state.unpriced_calls, state.overshoot_nano) == (0, 1, 0)
    assert book.remaining(NOON) is None


def test_a_hold_lasts_until_it_is_settled() -> None:
    """What calls under way may cost is not there for others, and what they did not use is there again."""
    book = BudgetBook(Budget(total="1.00"))
    hold = book.reserve(NOON, NANO)
    assert book.remaining(NOON) == 0
    assert "Wait for calls under way" in str(refused(book, 1))
    book.settle(NOON + 1, hold, NANO // 4)
    assert book.remaining(NOON) == NANO * 3 // 4
    assert (hold.is_open, hold.settled_s) == (False, NOON + 1)
    assert repr(hold) == f"Hold(worst_nano={NANO}, made_s={NOON}, is_open=False)"


def test_a_cap_is_used_to_the_last_nano_dollar() -> None:
    """A call that fits exactly passes, and one nano-dollar more does not."""
    book = BudgetBook(Budget(daily="0.000000010"))
    refused(book, 11)
    book.settle(NOON, book.reserve(NOON, 10), 10)
    assert book.remaining(NOON) == 0
    assert book.reserve(NOON, 0).is_open


def test_a_refusal_holds_nothing_anywhere() -> None:
    """When the last of several scopes has no room, the first ones are untouched."""
    book = BudgetBook(Budget(total=10, daily=5, tags={"team=search": 1}))
    error = refused(book, 2 * NANO, team="search")
    assert error.scope == "tag team=search"
    assert all(scope.held_nano == 0 for scope in book.snapshot(NOON).scopes)
    assert book.snapshot(NOON).calls_under_way == 0
    assert book.reserve(NOON, 2 * NANO, {"team": "ads"}).is_open


def test_a_refusal_says_what_is_left_and_what_to_do() -> None:
    """The error carries the figures and one text with dollars and a remedy."""
    book = BudgetBook(Budget(daily="5.00"))
    book.settle(NOON, book.reserve(NOON, 5 * NANO), 4_900_000_000)
    book.reserve(NOON, 90_000_000)
    error = refused(book, 500_000_000)
    assert str(error) == (
        "This call may cost up to $0.50, and $0.01 of the budget 'day 2026-11-20' is left"
        " ($5.00: $4.90 spent, $0.09 held by calls under way)."
        " Wait for the next UTC day, use a cheaper model, or raise the budget."
    )
    assert (error.scope, error.cap_nano, error.spent_nano) == ("day 2026-11-20", 5 * NANO, 4_900_000_000)
    assert (error.held_nano, error.needed_nano) == (90_000_000, 500_000_000)
    assert "larger than the whole budget" in str(refused(book, 6 * NANO))


def test_the_remedy_fits_the_scope() -> None:
    """Waiting is advised for days and months only."""
    book = BudgetBook(Budget(total=1))
    book.settle(NOON, book.reserve(NOON, NANO), NANO)
    assert str(refused(book, 1)).endswith("Lower max_tokens, use a cheaper model, or raise the budget.")
    monthly = BudgetBook(Budget(monthly=1))
    monthly.settle(NOON, monthly.reserve(NOON, NANO), NANO)
    assert "next UTC month" in str(refused(monthly, 1))


def test_one_call_has_its_own_cap() -> None:
    """`per_call` bounds each call alone, and what remains for the next one."""
    book = BudgetBook(Budget(total=10, per_call="0.5"))
    error = refused(book, NANO)
    assert error.scope == "per_call"
    assert "$0.50 per call" in str(error)
    for _ in range(20):
        book.settle(NOON, book.reserve(NOON, NANO // 2), NANO // 2)
    refused(book, 1)
    assert BudgetBook(Budget(total=10, per_call="0.5")).remaining(NOON) == NANO // 2


@pytest.mark.prove(15)
def test_a_call_without_a_price_is_refused_under_any_cap() -> None:
    """An unknown price under a hard cap is no reason to hope: the text says how to allow it."""
    for budget, scope in (
        (Budget(total=1), "total"),
        (Budget(per_call=1, daily=3), "per_call"),
        (Budget(tags={"team=search": 1}), "tag team=search"),
    ):
        error = refused(BudgetBook(budget), None, team="search")
        assert (error.scope, error.needed_nano, error.cap_nano) == (scope, None, NANO)
        assert "allow_unpriced" in str(error)
    untagged = BudgetBook(Budget(tags={"team=search": 1}))
    assert untagged.reserve(NOON, None, {"team": "ads"}).worst_nano is None


def test_a_call_without_a_price_passes_when_allowed() -> None:
    """`allow_unpriced` lets it through and counts it; a cost that turns out to be known is booked."""
    book = BudgetBook(Budget(total=1, allow_unpriced=True))
    book.settle(NOON, book.reserve(NOON, None), None)
    book.settle(NOON, book.reserve(NOON, None), 30)
    state = book.snapshot(NOON)
    assert state.unpriced_calls == 1
    assert scopes(state)["total"].spent_nano == 30


@pytest.mark.prove(8, 15)
def test_an_unknown_outcome_keeps_its_worst_case() -> None:
    """A call of which no answer came may have been billed: it counts whole, and is shown as possible."""
    book = BudgetBook(Budget(total="0.000000100"))
    book.settle(NOON, book.reserve(NOON, 60), None)
    assert scopes(book.snapshot(NOON))["total"].possible_nano == 60
    assert book.remaining(NOON) == 40


def test_settling_and_releasing_happen_once() -> None:
    """A second settle or release changes nothing, whatever it says."""
    book = BudgetBook(Budget(total=1))
    first, second = book.reserve(NOON, 10), book.reserve(NOON, 10)
    book.settle(NOON, first, 4)
    book.release(second)
    before = book.snapshot(NOON)
    for hold in (first, second):
        book.settle(NOON, hold, 9)
        book.settle(NOON, hold, None)
        book.release(hold)
    assert book.snapshot(NOON) == before
    assert scopes(before)["total"].spent_nano == 4
    assert second.settled_s is None


def test_a_cost_beyond_the_worst_case_is_booked_and_flagged() -> None:
    """What was really spent counts, even when it breaks the cap; the overshoot is visible."""
    book = BudgetBook(Budget(total="0.000000010"))
    book.settle(NOON, book.reserve(NOON, 10), 25)
    state = book.snapshot(NOON)
    assert scopes(state)["total"].spent_nano == 25
    assert scopes(state)["total"].left_nano == 0
    assert state.overshoot_nano == 15
    assert book.remaining(NOON) == 0


def test_negative_money_is_our_bug() -> None:
    """Neither a hold nor a cost may be negative, and the attempt changes nothing."""
    book = BudgetBook()
    with pytest.raises(ValueError, match="bug in Penstock"):
        book.reserve(NOON, -1)
    hold = book.reserve(NOON, 5)
    with pytest.raises(ValueError, match="bug in Penstock"):
        book.settle(NOON, hold, -1)
    assert hold.is_open


def test_days_and_months_begin_anew_in_utc() -> None:
    """At midnight UTC the day is new, and on the first the month; the total goes on."""
    book = BudgetBook(Budget(total=100, daily=1, monthly=2))
    midnight = datetime(2026, 11, 30, tzinfo=UTC).timestamp()
    for wall_s in (midnight - 1, midnight):
        book.settle(wall_s, book.reserve(wall_s, NANO), NANO)
        refused(book, 1, wall_s)
    assert refused(book, 1, midnight + DAY - 1).scope == "day 2026-11-30"
    assert book.remaining(midnight + DAY) == NANO
    assert book.reserve(midnight + DAY, NANO).is_open
    assert book.remaining(midnight + 2 * DAY) == NANO
    assert scopes(book.snapshot(midnight + DAY))["total"].spent_nano == 2 * NANO


def test_a_hold_settles_into_the_day_it_was_made() -> None:
    """A call that ends after midnight is paid by the day in which it was let through."""
    book = BudgetBook(Budget(daily=1))
    hold = book.reserve(NOON, NANO)
    tomorrow = NOON + DAY
    assert book.remaining(tomorrow) == NANO
    book.settle(tomorrow, hold, NANO)
    assert book.remaining(tomorrow) == NANO
    assert scopes(book.snapshot(NOON))["day 2026-11-20"].spent_nano == NANO


def test_a_clock_set_back_finds_what_was_spent() -> None:
    """Stepping back over midnight does not open a fresh day."""
    book = BudgetBook(Budget(daily=1))
    book.settle(NOON, book.reserve(NOON, NANO), NANO)
    book.reserve(NOON + DAY, 1)
    refused(book, 1, NOON)


def test_a_day_is_not_forgotten_for_one_before_it() -> None:
    """However the clock went, the newest days are known."""
    book = BudgetBook(Budget(daily=1))
    book.settle(NOON, book.reserve(NOON, NANO), NANO)
    for days in (-1, 1, 2, -200):
        book.reserve(NOON + days * DAY, 1)
    refused(book, 1, NOON)
    book.reserve(NOON - 200 * DAY, NANO - 1)


def test_old_days_are_forgotten() -> None:
    """Years of days and months leave a bounded memory, also with a hold still open."""
    book = BudgetBook(Budget(daily=1))
    hold = book.reserve(NOON, 5)
    for day in range(1, 800):
        book.settle(NOON, book.reserve(NOON + day * DAY, 1), 1)
    book.settle(NOON, hold, 5)
    assert len(book._days) <= 4
    assert len(book._months) <= 4
    assert scopes(book.snapshot(NOON + 799 * DAY))["total"].spent_nano == 804


@pytest.mark.prove(15)
def test_a_thousand_concurrent_calls_cannot_overshoot() -> None:
    """Of 1,000 calls at once only so many are let through as the cap can pay in the worst case."""
    book = BudgetBook(Budget(total="1.00"))
    holds = []
    for _ in range(1_000):
        try:
            holds.append(book.reserve(NOON, 11_000_000))
        except BudgetExceeded:
            continue
    assert len(holds) == 90
    for hold in holds:
        book.settle(NOON, hold, 11_000_000)
    assert scopes(book.snapshot(NOON))["total"].spent_nano == 990_000_000


ROOMY = Elastic(base_nano=1_000, tokens=8192, least=256)


def test_a_worst_case_is_lowered_to_what_is_left() -> None:
    """Where what was spent leaves too little: the hold says how many tokens it pays for, and takes the rest whole."""
    book = BudgetBook(Budget(total="0.000010"))
    book.settle(NOON, book.reserve(NOON, 5_000), 5_000)
    hold = book.reserve(NOON, 1_000 + 8192, elastic=ROOMY)
    assert (hold.max_tokens, hold.worst_nano) == (4_000, 5_000)
    assert book.remaining(NOON) == 0


def test_a_worst_case_that_fits_is_left_alone() -> None:
    """As is one that the caller chose."""
    book = BudgetBook(Budget(total="0.000010"))
    hold = book.reserve(NOON, 1_000 + 8192, elastic=ROOMY)
    assert (hold.max_tokens, hold.worst_nano) == (None, 9_192)
    assert refused(BudgetBook(Budget(total="0.000005")), 9_192).needed_nano == 9_192


def test_a_worst_case_is_not_lowered_while_waiting_would_help() -> None:
    """What calls under way only hold comes back: a short answer would be a bad trade for a short wait."""
    book = BudgetBook(Budget(total="0.000010"))
    book.reserve(NOON, 5_000)
    with pytest.raises(BudgetExceeded, match="Wait for calls under way") as caught:
        book.reserve(NOON, 9_192, elastic=ROOMY)
    assert caught.value.needed_nano == 9_192


def test_an_answer_too_short_to_be_of_use_is_refused_with_the_figures() -> None:
    """Less than the least number of tokens is not tried."""
    book = BudgetBook(Budget(total="0.000001255"))
    with pytest.raises(BudgetExceeded) as caught:
        book.reserve(NOON, 9_192, elastic=ROOMY)
    assert str(caught.value).startswith(
        "This call may cost up to $0.000001256 even with max_tokens=256, and $0.000001255"
    )
    assert caught.value.needed_nano == 1_256
    assert BudgetBook(Budget(total="0.000001256")).reserve(NOON, 9_192, elastic=ROOMY).max_tokens == 256


def test_the_cap_on_one_call_lowers_it_too() -> None:
    """It is the smallest of all rooms that counts."""
    book = BudgetBook(Budget(total=1, per_call="0.000002"))
    assert book.reserve(NOON, 9_192, elastic=ROOMY).max_tokens == 1_000
    with pytest.raises(BudgetExceeded, match="even with max_tokens=256, and the budget allows"):
        BudgetBook(Budget(per_call="0.000001")).reserve(NOON, 9_192, elastic=ROOMY)


@given(
    lines=st.lists(st.tuples(st.integers(0, 10**6), st.integers(0, 10**5)), min_size=1, max_size=4),
    tokens=st.integers(1, 9_000),
    data=st.data(),
)
def test_a_lowered_worst_case_covers_the_price_and_leaves_no_token_unused(
    lines: list[tuple[int, int]], tokens: int, data: st.DataObject
) -> None:
    """For every price that is the highest of several straight lines, and every room."""

    def price(count: int) -> int:
        return max(base + rate * count for base, rate in lines)

    elastic, worst = Elastic(price(0), tokens, 1), price(tokens)
    room = data.draw(st.integers(price(0), worst))
    fitting = elastic.within(room, worst)
    assert 0 <= fitting <= tokens
    assert price(fitting) <= elastic.at(fitting, worst) <= room
    assert fitting == tokens or elastic.at(fitting + 1, worst) > room


def test_what_costs_nothing_passes_a_budget_that_was_overspent() -> None:
    """A model of one's own is no danger to a cap that a wrong price has broken."""
    book = BudgetBook(Budget(total="0.000000010"))
    book.settle(NOON, book.reserve(NOON, 10), 25)
    assert book.reserve(NOON, 0).is_open
    refused(book, 1)


def test_a_client_has_a_cap_of_its_own_beside_the_total() -> None:
    """And an earlier run counts against both."""
    book = BudgetBook(Budget(total=10, per_client="0.000000100"))
    book.carry(40)
    error = refused(book, 70)
    assert (error.scope, error.spent_nano, error.cap_nano) == ("client", 40, 100)
    book.settle(NOON, book.reserve(NOON, 60), 60)
    assert (scopes(book.snapshot(NOON))["total"].spent_nano, book.remaining(NOON)) == (100, 0)


def told(book: BudgetBook) -> list[BudgetAlert]:
    due, book.due = book.due, []
    return due


def test_each_share_of_each_scope_is_told_once_a_period() -> None:
    """Also when one call passes several, and anew on the next day."""
    book = BudgetBook(Budget(total="0.000000100", daily="0.000000040", on_alert=print))
    book.settle(NOON, book.reserve(NOON, 30), 30)
    book.settle(NOON, book.reserve(NOON, 4), 4)
    assert told(book) == [
        BudgetAlert(scope="day 2026-11-20", share=0.5, cap_nano=40, spent_nano=30, held_nano=0),
        BudgetAlert(scope="day 2026-11-20", share=0.8, cap_nano=40, spent_nano=34, held_nano=0),
    ]
    book.reserve(NOON + DAY, 2)
    book.settle(NOON + DAY, book.reserve(NOON + DAY, 38), 38)
    assert [(alert.scope, alert.share, alert.spent_nano, alert.held_nano) for alert in told(book)] == [
        ("total", 0.5, 72, 2),
        ("day 2026-11-21", 0.5, 38, 2),
        ("day 2026-11-21", 0.8, 38, 2),
    ]


def test_alerts_come_in_the_shares_that_were_asked_for() -> None:
    """In their own order, and a tag and an earlier run count like all spending."""
    caps = {"tags": {"team=search": "0.000000010"}, "total": "0.000001"}
    book = BudgetBook(Budget(**caps, alerts=(1, 0.25), on_alert=print))  # type: ignore[arg-type]
    book.settle(NOON, book.reserve(NOON, 10, {"team": "search"}), None)
    book.carry(250)
    assert [(alert.scope, alert.share) for alert in told(book)] == [
        ("tag team=search", 0.25),
        ("tag team=search", 1),
        ("total", 0.25),
    ]


def test_thresholds_may_differ_from_scope_to_scope() -> None:
    """A scope that is not named is told of nothing; alerts alone are for the log and for events."""
    alerts = {"daily": (0.5,), "team=search": (1.0, 0.9)}
    caps: dict[str, Any] = {"total": "0.0000001", "daily": "0.0000001", "tags": {"team=search": "0.0000001"}}
    book = BudgetBook(Budget(**caps, alerts=alerts))
    book.settle(NOON, book.reserve(NOON, 100, {"team": "search"}), 95)
    assert [(alert.scope, alert.share) for alert in told(book)] == [("day 2026-11-20", 0.5), ("tag team=search", 0.9)]


def test_where_a_file_has_caps_any_tag_may_have_thresholds() -> None:
    """Its caps are not known before it is opened."""
    assert Budget(file="spend.db", alerts={"team=search": (0.5,)}).alerts == {"team=search": (0.5,)}
    with pytest.raises(ConfigError, match="no scope 'hourly'"):
        Budget(file="spend.db", alerts={"hourly": (0.5,)})


def test_an_alert_says_itself_in_a_sentence() -> None:
    """With exact amounts, and what is held only where something is."""
    alert = BudgetAlert(scope="day 2026-11-20", share=0.8, cap_nano=5 * NANO, spent_nano=4_000_500_000, held_nano=0)
    assert str(alert) == "budget 'day 2026-11-20' reached 80%: $4.0005 of $5.00 spent"
    assert str(msgspec.structs.replace(alert, held_nano=NANO)).endswith("spent, $1.00 held by calls under way")


@pytest.mark.prove(25)
def test_the_address_of_a_webhook_is_a_secret() -> None:
    """It is in no repr of the budget and in no message about it, and the budget can still be changed."""
    budget = Budget(daily=1, webhook="https://hooks.example.com/CANARY?key=CANARY")
    assert "CANARY" not in repr(msgspec.structs.replace(budget, daily=2))
    for wrong in ("http://h.example.com/CANARY", "https://CANARY@h.example.com", "ftp://CANARY", "https://h:0/CANARY"):
        with pytest.raises(ConfigError) as caught:
            Budget(daily=1, webhook=wrong)
        assert "CANARY" not in str(caught.value)
    for right in ("http://127.0.0.1:80/x", "http://localhost/x", "http://[::1]:8080/x"):
        Budget(daily=1, webhook=right)


def test_without_a_listener_nothing_is_due() -> None:
    """And a cap of nothing has no shares."""
    book = BudgetBook(Budget(total="0.000000010"))
    book.settle(NOON, book.reserve(NOON, 10), 10)
    assert told(book) == []
    assert Caps(Budget(total=0, on_alert=print)).alerts(()) == []
    nothing = BudgetBook(Budget(total=0, on_alert=print))
    nothing.settle(NOON, nothing.reserve(NOON, 0), 0)
    assert told(nothing) == []
