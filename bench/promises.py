"""The figures of a run, the numbers promised for some of them, and whether they hold."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from bench.rounds import BARE, BEHIND, COLOURS, OURS, OURS_ANTHROPIC, PEERS, Samples, Scenario, Spread, spread
from bench.startup import Starts

CALL_OVER_BARE_MAX: Final = 1.5
CHUNK_OVER_BARE_MAX: Final = 2.0
GATE_OVER_SDK_MAX: Final = 1.10
BELOW_MIN: Final = {("openai", "async"): 5.0, ("litellm", "async"): 15.0, ("openai", "sync"): 3.5}
SYNC_BELOW_AT: Final = 1
"""The promise against a sync SDK was made for one call at a time. With 32 threads and an answer that comes at once,
all contestants mostly pay for handing the interpreter lock around, the bare transport too."""
IMPORT_OF_OPENAI_MAX: Final = 0.10
HELP_OVER_CLICK_MAX: Final = 1.5
IN_FLIGHT_MB_MAX: Final = 150.0


@dataclass(frozen=True)
class Figure:
    """One measured number. `at_most` and `at_least` are what was promised; None in both: nothing was.

    A figure without a section is written to build/bench.json and not shown.
    """

    name: str
    section: str
    label: str
    column: str
    unit: str
    value: Spread | None
    at_most: float | None = None
    at_least: float | None = None

    @property
    def promised(self) -> str:
        """The promise as people read it."""
        if self.at_most is not None:
            return f"≤ {self.at_most:g}{self.unit}"
        return f"≥ {self.at_least:g}{self.unit}" if self.at_least is not None else ""

    @property
    def verdict(self) -> str:
        """Held, missed, not measured, or nothing where nothing was promised."""
        if not self.promised:
            return ""
        if self.value is None:
            return "NOT MEASURED"
        low_enough = self.at_most is None or self.value.middle <= self.at_most
        return "held" if low_enough and self.value.middle >= (self.at_least or 0.0) else "MISSED"


def of_scenarios(samples: Samples, todo: Iterable[Scenario], chosen: frozenset[str]) -> list[Figure]:
    """What calls and chunks cost, and the ratios between contestants."""
    figures = []
    for scenario in todo:
        bare = BARE[scenario.colour]
        pairs = [(OURS, bare)]
        if scenario.count_peers:
            pairs += [(gate, own) for gate, own in BEHIND.items() if {gate, own} <= chosen]
            for peer in (peer for peer in PEERS if peer in chosen and peer not in BEHIND):
                pairs += [(peer, OURS_ANTHROPIC if peer == "anthropic" else OURS)]
                pairs += [(peer, bare)] if peer in ("openai", "litellm") else []
        figures += [ratio(samples, scenario, over, under) for over, under in pairs]
        figures += [cost(samples, scenario, family) for family in scenario.contestants]
    return figures


def section_of(scenario: Scenario) -> str:
    """The heading under which a scenario stands."""
    unit = "call" if scenario.kind == "call" else "streamed chunk"
    return f"CPU per {unit}, {scenario.colour}"


def ratio(samples: Samples, scenario: Scenario, over: str, under: str) -> Figure:
    """One contestant's cost over another's."""
    at_most = at_least = None
    if (over, under) == (OURS, BARE[scenario.colour]):
        at_most = CALL_OVER_BARE_MAX if scenario.kind == "call" else CHUNK_OVER_BARE_MAX
    elif BEHIND.get(over) == under:
        at_most = GATE_OVER_SDK_MAX
    elif (
        under == OURS
        and scenario.kind == "call"
        and (scenario.colour == "async" or scenario.concurrency == SYNC_BELOW_AT)
    ):
        at_least = BELOW_MIN.get((over, scenario.colour))
    return Figure(
        name=f"{scenario.name}_{over}_over_{under}",
        section=section_of(scenario),
        label=f"{over} / {under}",
        column=str(scenario.concurrency),
        unit="x",
        value=spread(samples.ratios(scenario, over, under)),
        at_most=at_most,
        at_least=at_least,
    )


def cost(samples: Samples, scenario: Scenario, family: str) -> Figure:
    """What a contestant costs in microseconds. Only ratios compare between machines, so few of these are shown."""
    return Figure(
        name=f"{scenario.name}_{family}_us",
        section=section_of(scenario) if family in (OURS, BARE[scenario.colour]) else "",
        label=family,
        column=str(scenario.concurrency),
        unit=" µs",
        value=spread(samples.of(scenario, family)),
    )


def of_starts(starts: Starts) -> list[Figure]:
    """What importing and starting costs."""
    section = "CPU of a fresh process"
    ours, theirs = (starts.over_empty_ms(name) for name in ("import_penstock", "import_openai"))
    clients = (starts.over_empty_ms(name) for name in ("penstock_client", "openai_client"))
    helps = (starts.cost_ms(name) for name in ("help_penstock", "help_click"))
    figures = [
        Figure(
            "import_penstock_over_openai",
            section,
            "import penstock / import openai",
            "",
            "x",
            spread(divided(ours, theirs)),
            at_most=IMPORT_OF_OPENAI_MAX,
        ),
        Figure("client_penstock_over_openai", section, "… and a client made", "", "x", spread(divided(*clients))),
        Figure(
            "help_penstock_over_click",
            section,
            "penstock --help / an empty click program",
            "",
            "x",
            spread(divided(*helps)),
            at_most=HELP_OVER_CLICK_MAX,
        ),
    ]
    absolute = ("import_penstock", "penstock_client", "import_openai", "openai_client", "import_anthropic")
    for name in (*absolute, "import_any_llm", "import_litellm"):
        label = name.replace("_", " ", 1)
        figures.append(Figure(f"{name}_ms", section, label, "", " ms", spread(starts.over_empty_ms(name))))
    figures += [
        Figure(f"{name}_ms", section, name.replace("_", " "), "", " ms", spread(starts.cost_ms(name)))
        for name in ("help_penstock", "help_click", "empty")
    ]
    return figures


def divided(over: list[float], under: list[float]) -> list[float]:
    """Ratios round by round."""
    return [above / below for above, below in zip(over, under, strict=False) if below]


def of_memory(peaks: dict[str, list[float]]) -> list[Figure]:
    """What 1,000 calls in flight take over a bare start."""
    names = [*(f"{OURS}_{colour}" for colour in COLOURS), *(name for name in peaks if not name.startswith(OURS))]
    return [
        Figure(
            f"in_flight_1000_{name}_mb",
            "Memory of 1,000 calls in flight, over a bare start",
            name.replace("_", ", "),
            "",
            " MB",
            spread(peaks.get(name, [])),
            at_most=IN_FLIGHT_MB_MAX if name.startswith(OURS) else None,
        )
        for name in names
    ]
