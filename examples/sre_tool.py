"""A small command for on-call: triage lines, analyze a log, in your own words. Run `penstock sim` first.

python examples/sre_tool.py triage "FATAL [payments-db] no space left on device"
python examples/sre_tool.py explain /var/log/app.log
"""

import argparse
import sys
from pathlib import Path

from penstock import Client, PenstockError
from penstock.sre import SRE


def triage(kit: SRE, line: str) -> int:
    report = kit.classify(line)
    found = report.value
    print(f"{found.severity} {found.service}: {found.summary}\n  next: {found.action}")
    if report.redacted:
        print(f"  not sent: {report.redacted}")
    return 2 if found.page else 0


def explain(kit: SRE, path: str) -> int:
    report = kit.analyze(Path(path), question="What failed first, and why?")
    found, material = report.value, report.materials[0]
    print(f"{found.severity} {found.service}: {found.summary}  ({material.lines:,} lines, ${report.cost})")
    for cause in found.causes:
        print(f"  {cause.confidence:.0%} {cause.cause}")
        for line in cause.evidence:
            print(f"      {'?' if line in report.unverified else '>'} {line}")
    for number, step in enumerate(found.actions, 1):
        print(f"  {number}. {step.action}: {step.command}")
    return 2 if found.severity == "P1" else 0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("task", choices=["triage", "explain"])
    parser.add_argument("what", help="a line, or the path of a log")
    asked = parser.parse_args()
    with Client() as client:
        kit = SRE(client, model="openai:gpt-4o-mini")
        return triage(kit, asked.what) if asked.task == "triage" else explain(kit, asked.what)


if __name__ == "__main__":
    try:
        sys.exit(main())
    except PenstockError as error:
        sys.exit(f"{error}")
