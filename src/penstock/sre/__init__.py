"""The SRE kit: logs, alerts and incidents become checked values, and nothing secret is sent.

from penstock import Client
from penstock.sre import SRE

with Client() as client:
    report = SRE(client, model="anthropic:claude-haiku-4-5").analyze(Path("web.log"))
    print(report.value.severity, report.value.causes[0].cause, report.cost)
"""

from __future__ import annotations

from .._text.redact import KINDS, OPTIONAL, Redactor
from .kit import SRE, AsyncReportStream, AsyncSRE, ReportStream
from .material import Material, read
from .questions import Question, Report
from .verdicts import (
    Analysis,
    Cause,
    FollowUp,
    Happening,
    IncidentPlan,
    Postmortem,
    Runbook,
    Severity,
    Step,
    Triage,
)

__all__ = [  # noqa: RUF022
    "SRE",
    "AsyncSRE",
    "Report",
    "ReportStream",
    "AsyncReportStream",
    "Triage",
    "Analysis",
    "IncidentPlan",
    "Runbook",
    "Postmortem",
    "Severity",
    "Cause",
    "Happening",
    "Step",
    "FollowUp",
    "Material",
    "Question",
    "read",
    "Redactor",
    "KINDS",
    "OPTIONAL",
]
