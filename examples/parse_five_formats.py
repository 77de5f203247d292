"""The same value out of five ways in which models write it, and what had to be mended. Needs no key, no server."""

from dataclasses import dataclass
from typing import Literal

from penstock import ParseError, parse


@dataclass
class Incident:
    severity: Literal["P1", "P2", "P3", "P4"]
    service: str
    minutes: int


ANSWERS = {
    "JSON in a fence": 'Sure:\n```json\n{"severity": "P1", "service": "payments", "minutes": 12}\n```\nAnything else?',
    "broken JSON": "{severity: 'P1', 'service': \"payments\", minutes: 12,}",
    "Python": "The result is {'severity': 'P1', 'service': 'payments', 'minutes': 12}.",
    "XML": "<incident><severity>P1</severity><service>payments</service><minutes>12</minutes></incident>",
    "key and value": "Severity: P1\nService: payments\nMinutes: 12",
}  # fmt: skip


def main() -> None:
    for form, answer in ANSWERS.items():
        found = parse(answer, Incident)
        mended = ", ".join(dict.fromkeys(repair.kind for repair in found.repairs)) or "nothing"
        print(f"{form:16} {found.value}  mended: {mended}")
    try:
        parse("I could not find any incident.", Incident)
    except ParseError as error:
        print(f"{'prose':16} {error.message}")


if __name__ == "__main__":
    main()
