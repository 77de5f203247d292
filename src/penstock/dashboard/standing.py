"""How lanes and budgets stand, as the processes that use them last told the ledger."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, Final

from ..ledger import State
from .view import LaneShown, LimitShown, Scope

FRESH_S: Final = 10.0
"""A client at work tells its state once a second; what is older may be over."""
SHOWN_S: Final = 600.0
"""A lane that was not heard of for so long is no longer shown."""
LANES_MOST: Final = 40
_PER: Final = {1.0: "second", 60.0: "min", 3600.0: "hour", 86_400.0: "day"}


def lanes(states: list[State], now_s: float) -> list[LaneShown]:
    """Return the lanes, those of clients at work first; where processes share a name, with the process."""
    told = [state for state in states if state.kind == "lane" and now_s - state.at_s <= SHOWN_S]
    names = [state.name for state in told]
    found = [_lane(state, now_s, where=state.process if names.count(state.name) > 1 else "") for state in told]
    return sorted(found, key=lambda lane: (lane.stale, lane.name, lane.where))[:LANES_MOST]


def _lane(state: State, now_s: float, *, where: str) -> LaneShown:
    data, stale = state.data, now_s - state.at_s > FRESH_S
    limiter, breaker, account = data["limiter"], data["breaker"], data["account"]
    lag = state.at_s - data["now"]  # from the clock of the client to that of the wall
    kind, reason, until = breaker["state"], breaker["reason"], breaker["open_until"]
    if account["state"] != "closed":
        kind, reason, until = account["state"], account["reason"], account["open_until"]
    elif kind == "closed" and (limiter["paused_until"] or 0) > data["now"]:
        kind, reason, until = "paused", "the provider asked to wait", limiter["paused_until"]
    return LaneShown(
        name=state.name,
        where=where,
        state=kind,
        reason="" if kind == "closed" else reason,
        until_s=None if until is None or kind in {"closed", "half_open"} else until + lag,
        in_flight=limiter["in_flight"],
        queued=limiter["queued"],
        limits=[] if stale else _limits(limiter),
        at_s=state.at_s,
        stale=stale,
    )


def _limits(limiter: dict[str, Any]) -> list[LimitShown]:
    found = [
        LimitShown(
            name=f"{each['name'].replace('_', ' ')} / {_per(each['period_s'])}",
            used=each["used_in_window"],
            limit=each["limit"],
        )
        for each in limiter["dimensions"]
    ]
    if limiter["in_flight_cap"] is not None:
        found.append(LimitShown(name="calls at once", used=limiter["in_flight"], limit=limiter["in_flight_cap"]))
    return found


def _per(seconds: float) -> str:
    return _PER.get(seconds, f"{seconds:g} s")


def budgets(states: list[State], now_s: float) -> list[Scope]:
    """Return the capped budgets of now, one for each file or process that keeps it."""
    newest: dict[tuple[str, str], State] = {}
    for state in states:
        data = state.data
        if state.kind == "budget" and data["cap_nano"] is not None and _is_now(state.name, now_s):
            key = (state.name, data["file"] or state.process)
            if key not in newest or newest[key].at_s < state.at_s:
                newest[key] = state
    names = [name for name, _ in newest]
    found = [
        Scope(
            name=name,
            where=keeper if names.count(name) > 1 else "",
            cap_nano=state.data["cap_nano"],
            spent_nano=state.data["spent_nano"],
            held_nano=state.data["held_nano"],
        )
        for (name, keeper), state in newest.items()
    ]
    return sorted(found, key=lambda scope: (_order(scope.name), scope.name, scope.where))


def daily(scopes: list[Scope], now_s: float) -> Scope | None:
    """Return the budget of the day; where several are kept, the largest."""
    of_day = [scope for scope in scopes if scope.name == f"day {_day(now_s)}"]
    return max(of_day, key=lambda scope: scope.cap_nano, default=None)


def _day(now_s: float) -> str:
    return datetime.fromtimestamp(now_s, UTC).strftime("%Y-%m-%d")


def _is_now(name: str, now_s: float) -> bool:
    """Whether a budget is one of now: yesterday's is over."""
    kind, _, when = name.partition(" ")
    return kind not in {"day", "month"} or _day(now_s).startswith(when)


def _order(name: str) -> int:
    kinds = ("day", "month", "total", "client", "tag")
    kind = name.partition(" ")[0]
    return kinds.index(kind) if kind in kinds else len(kinds)
