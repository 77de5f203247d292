"""What the questions of an incident give: values of these types, checked."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

Severity = Literal["P1", "P2", "P3", "P4"]
"""P1: users cannot work, or data is at risk, now. P2: a part is broken or soon will be. P3: worth a look in working
hours. P4: noise, or as it should be."""

Area = Literal[
    "application", "database", "network", "storage", "memory", "cpu", "deployment", "configuration", "dependency",
    "security", "certificate", "queue", "hardware", "none",
]  # fmt: skip

Confidence = Annotated[
    float, Meta(ge=0, le=1, description="0 to 1: how sure, on what was shown alone. 0.9 needs a line that proves it.")
]
Quotes = Annotated[
    list[str],
    Meta(
        description="Lines that show it, copied word for word from the material, at most 3. None where none shows it."
    ),
]


class _Value(msgspec.Struct, frozen=True, kw_only=True):
    """A value that is read by name."""


class Triage(_Value, frozen=True, kw_only=True):
    """What one line or alert is worth: how bad, whose, and what to do now."""

    severity: Severity
    service: Annotated[str, Meta(description="The service as the text names it; 'unknown' where it does not.")]
    component: Annotated[
        str, Meta(description="The part that is affected, e.g. connection pool, disk, TLS certificate.")
    ]
    category: Area
    summary: Annotated[str, Meta(description="One sentence: what happened.")]
    action: Annotated[str, Meta(description="The one next step for whoever is on call, in the imperative.")]
    page: Annotated[bool, Meta(description="Whether a human must be woken for it now.")]
    confidence: Confidence


class Cause(_Value, frozen=True, kw_only=True):
    """A cause that the evidence allows, and how likely it is."""

    cause: Annotated[str, Meta(description="The mechanism in one or two sentences, not the symptom again.")]
    confidence: Confidence
    evidence: Quotes
    check: Annotated[str, Meta(description="What would confirm it or rule it out: a command, a query, a graph.")]


class Happening(_Value, frozen=True, kw_only=True):
    """A point of the timeline."""

    time: Annotated[str, Meta(description="As the material writes it; empty where it says none.")]
    event: str


class Step(_Value, frozen=True, kw_only=True):
    """Something to do."""

    action: Annotated[str, Meta(description="In the imperative, one thing.")]
    command: Annotated[
        str, Meta(description="The exact command or query, with <placeholders>; empty where there is none.")
    ]
    expect: Annotated[str, Meta(description="What is seen when it worked, and what to do when it is not.")]
    risk: Annotated[
        Literal["none", "low", "high"], Meta(description="none: only looks. high: may lose data or users notice.")
    ]


class Analysis(_Value, frozen=True, kw_only=True):
    """What logs say of an incident: how bad, why, since when, and what to do."""

    severity: Severity
    service: Annotated[str, Meta(description="The service where the trouble starts; 'unknown' where nothing says so.")]
    component: str
    summary: Annotated[str, Meta(description="Two or three sentences for whoever joins the incident now.")]
    causes: Annotated[list[Cause], Meta(description="Probable causes, the likeliest first, 1 to 4.")]
    timeline: Annotated[list[Happening], Meta(description="What happened in order, at most 8 points.")]
    impact: Annotated[str, Meta(description="Who notices what. Say what the material does not tell.")]
    actions: Annotated[list[Step], Meta(description="What to do now, in order: stop the harm first, 1 to 5.")]
    unknown: Annotated[list[str], Meta(description="What to look at that is not in the material, at most 4.")]
    confidence: Confidence


class IncidentPlan(_Value, frozen=True, kw_only=True):
    """How to go about an incident that has been reported: who does what, in which order."""

    severity: Severity
    title: Annotated[str, Meta(description="For the incident channel: service, symptom, impact.")]
    why: Annotated[str, Meta(description="Why this severity, by impact and trend.")]
    hypotheses: Annotated[list[Cause], Meta(description="What may be behind it, the likeliest first, 2 to 5.")]
    now: Annotated[list[Step], Meta(description="The first fifteen minutes, in order: look, then stop the harm.")]
    mitigations: Annotated[list[Step], Meta(description="Ways to end the impact before the cause is known.")]
    escalate: Annotated[str, Meta(description="Whom to call, and at which observation or minute.")]
    status_update: Annotated[
        str, Meta(description="A message for the status page: no guess at causes, next update when.")
    ]
    confidence: Confidence


class Runbook(_Value, frozen=True, kw_only=True):
    """How to handle one kind of trouble, for somebody who is woken by it."""

    title: str
    symptoms: Annotated[list[str], Meta(description="How it shows: alerts, messages, graphs.")]
    prerequisites: Annotated[
        list[str], Meta(description="Access, tools and facts that are needed before the first step.")
    ]
    diagnose: Annotated[list[Step], Meta(description="How to tell it from look-alikes, in order.")]
    mitigate: Annotated[list[Step], Meta(description="How to stop the harm, the safest first.")]
    verify: Annotated[list[Step], Meta(description="How to know that it is over.")]
    rollback: Annotated[list[Step], Meta(description="How to undo each risky step.")]
    escalate: Annotated[str, Meta(description="When to stop and whom to call.")]
    prevent: Annotated[list[str], Meta(description="What would keep it from coming back.")]


class FollowUp(_Value, frozen=True, kw_only=True):
    """Work that comes out of an incident."""

    action: Annotated[str, Meta(description="A change that can be finished and checked, not 'be careful'.")]
    kind: Literal["prevent", "detect", "mitigate", "process"]
    owner: Annotated[str, Meta(description="A team or role that the material names; 'to be named' where none.")]
    priority: Severity


class Postmortem(_Value, frozen=True, kw_only=True):
    """What is written after an incident: blameless, and useful to those who were not there."""

    title: str
    severity: Severity
    summary: Annotated[str, Meta(description="What happened, to whom, for how long, and how it ended.")]
    impact: Annotated[str, Meta(description="In figures where the material has them; say which are missing.")]
    timeline: list[Happening]
    root_cause: Annotated[str, Meta(description="The mechanism. Say where it is not proved.")]
    contributing: Annotated[list[str], Meta(description="What made it possible, worse or longer.")]
    detection: Annotated[str, Meta(description="How it was noticed, and how it could have been sooner.")]
    went_well: list[str]
    went_badly: list[str]
    follow_ups: Annotated[list[FollowUp], Meta(description="The few that matter, at most 6.")]
    evidence: Quotes
    confidence: Confidence
