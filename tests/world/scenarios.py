"""The kinds of world that are played, by name."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from penstock import BreakerSettings, Budget, Hedge

from .mishaps import ALL, HONEST, MIDWAY, SICK, TOO_MANY
from .schedule import WORDS, Scenario

_STORM: Final = Scenario(
    name="storm",
    calls=1500,
    minutes=15,
    faults=0.3,
    cancels=0.05,
    abandons=0.05,
    deadlines=0.4,
    unbounded=0.1,
    anthropic=0.4,
    fallbacks=True,
    words=WORDS,
    rpm=600,
    tpm=600_000,
    outages=2,
)
_PRESSED: Final = Scenario(
    name="pressed",  # more calls than the limit lets through, and all that can end a call while it waits or works
    calls=1200,
    minutes=2,
    faults=0.15,
    kinds=("500", "reset", "cut", "stall", "usage", "unreachable"),
    cancels=0.1,
    abandons=0.1,
    deadlines=0.3,
    rpm=300,
    breaker=BreakerSettings(failure_ratio=1.0),
)
_MONEY: Final = Scenario(
    name="budget",
    calls=1000,
    minutes=1,
    faults=0.3,
    kinds=HONEST,
    cancels=0.1,
    abandons=0.1,
    deadlines=0.2,
    unbounded=0.1,
    unpriced=0.05,
    anthropic=0.2,
    words=(3, 30),
    budget=Budget(total="0.03", daily="0.01", per_call="0.01"),
)
_TORN: Final = replace(
    _STORM,
    name="torn",
    colour="threads",
    torn=True,
    calls=60,
    minutes=0.2,
    cancels=0.1,
    anthropic=0.1,
    words=(3,),
    rpm=60,
    concurrency=8,
    outages=0,
    bunches=3,
    budget=Budget(total="0.005"),
    kinds=HONEST,
)
_FILE: Final = replace(
    _MONEY,
    name="file",  # two programs, one budget in a file on a disk that fails
    calls=600,
    processes=2,
    crashes=4,
    file_faults=0.02,
    unbounded=0.02,
    budget=Budget(total="0.05", daily="0.04", per_call="0.01"),
)
_ASKED: Final = Scenario(
    name="cache",  # few different questions, many at once
    calls=1000,
    minutes=3,
    questions=60,
    faults=0.3,
    cancels=0.15,
    abandons=0.2,
    deadlines=0.2,
    words=(3, 30),
)
_KNEE: Final = Scenario(
    name="knee",  # a server of one's own: it tells no limits, refuses nothing, and takes longer the more it has to do
    calls=2000,
    minutes=0.5,
    knee=8,
    spread=0.4,
    silent=True,
    streams=0.0,
    told=None,
)

SCENARIOS: Final[dict[str, Scenario]] = {
    scenario.name: scenario
    for scenario in (
        Scenario(name="calm", calls=7000, minutes=1, rpm=600),
        Scenario(name="calm-threads", colour="threads", calls=1500, minutes=0.5, rpm=300),
        Scenario(name="crowd", calls=5000, minutes=0.01, concurrency=200, streams=0.2),
        Scenario(name="sparse", calls=60, minutes=10, rpm=8, bunches=20),
        Scenario(name="sparse-threads", colour="threads", calls=60, minutes=10, rpm=8, bunches=20, cancels=0.2),
        Scenario(name="slow", calls=40, minutes=1, streams=1.0, tokens_per_s=0.3, chunk_tokens=1),
        Scenario(name="bunches", calls=1200, minutes=8, rpm=600, bunches=5),
        Scenario(name="shared", calls=4000, minutes=1, rpm=600, processes=2, cancels=0.05),
        Scenario(name="tokens", calls=1500, minutes=2, tpm=60_000, words=WORDS, unbounded=0.1),
        Scenario(name="twice", calls=3500, minutes=0.5, rpm=600, told=2.0),
        Scenario(name="silent", calls=10_000, minutes=1, rpm=600, told=2.0, silent=True),
        Scenario(name="unknown", calls=3500, minutes=0.5, rpm=600, told=None),
        Scenario(name="turns", calls=2500, minutes=4, rpm=600, turns=3),
        Scenario(name="throttled", calls=1000, minutes=4, faults=0.3, kinds=TOO_MANY, rpm=1200),
        Scenario(
            name="sick",
            calls=2000,
            minutes=20,
            faults=0.2,
            kinds=SICK,
            outages=6,
            outage_s=60,
            cancels=0.2,
            concurrency=5,
        ),
        Scenario(name="cuts", streams=1.0, calls=2000, minutes=10, faults=0.3, kinds=MIDWAY, abandons=0.4),
        Scenario(name="outage", calls=400, minutes=2, faults=1.0, kinds=("500",), most_per_call=0.5),
        Scenario(
            name="outage-unseen",  # by a breaker that never opens, so that the retry budget stands alone
            calls=400,
            minutes=2,
            faults=1.0,
            kinds=("500", "503", "unreachable"),
            breaker=BreakerSettings(min_calls=1_000_000),
            most_per_call=1.2,
        ),
        _PRESSED,
        replace(_PRESSED, name="pressed-threads", colour="threads", calls=500, minutes=0.8),
        _STORM,
        replace(_STORM, name="storm-threads", colour="threads", calls=800, minutes=8),
        replace(
            _STORM, name="jumps", calls=800, kinds=(*ALL, "429", "429", "429"), jumps=6, budget=Budget(daily="0.30")
        ),
        replace(_STORM, name="impatience", calls=300, kinds=("patience", "429"), deadlines=0.7, outages=0),
        _TORN,
        replace(_TORN, name="torn-budget", calls=40, bunches=1, budget=Budget(total="0.001"), concurrency=None),
        Scenario(
            name="torn-limit", colour="threads", torn=True, calls=30, bunches=1, concurrency=3, rpm=600, cancels=0.1
        ),
        _MONEY,
        replace(_MONEY, name="budget-threads", colour="threads", calls=400),
        replace(_MONEY, name="unknown-money", faults=0.6, kinds=("reset", "cut", "stall"), unpriced=0.0),
        replace(_MONEY, name="crash", calls=800, processes=2, crashes=6, budget=Budget(total="0.015")),
        _FILE,
        replace(_FILE, name="file-threads", colour="threads", calls=250),
        replace(
            _FILE,
            name="file-crash",  # so much money that it lasts, and nothing that has to be estimated
            streams=0.0,
            faults=0.0,
            unbounded=0.0,
            crashes=20,
            budget=Budget(total="1.00"),
        ),
        _ASKED,
        replace(_ASKED, name="cache-threads", colour="threads", calls=500),
        replace(_ASKED, name="cache-crash", processes=2, crashes=6),
        replace(_ASKED, name="cache-rare", calls=600, questions=300, bunches=20, streams=0.0, cancels=0.5),
        replace(_STORM, name="hedge", calls=1000, hedge=Hedge(after_s=1.0), budget=Budget(total="2.00")),
        Scenario(
            name="hedge-outage",
            calls=400,
            minutes=2,
            faults=1.0,
            kinds=("stall",),
            hedge=Hedge(after_s=1.0),
            breaker=BreakerSettings(min_calls=1_000_000),
            most_per_call=1.2,
        ),
        Scenario(
            name="seams",
            calls=800,
            minutes=10,
            streams=1.0,
            faults=0.4,
            kinds=MIDWAY,
            abandons=0.1,
            cancels=0.1,
            deadlines=0.3,
            anthropic=0.4,
            continuations=2,
            budget=Budget(total="0.50"),
        ),
        replace(_PRESSED, name="close", calls=600, processes=3, closes=3, fallbacks=True, outages=1),
        replace(_PRESSED, name="close-threads", colour="threads", calls=300, minutes=1, processes=6, closes=6),
        replace(_STORM, name="shut", calls=1000, minutes=10, faults=0.05, kinds=SICK, outages=8, deadlines=0.9),
        _KNEE,
        replace(_KNEE, name="knee-turns", knee=12, turns=1),
        Scenario(
            name="key",
            calls=2000,
            minutes=10,
            outages=3,
            outage_kinds=("key",),
            outage_s=60,
            sibling=0.5,
            breaker=BreakerSettings(open_max_s=20),
        ),
    )
}
