"""Write the table of errors into docs/reference/errors.md, between `<!-- errors -->` and `<!-- end -->`.

With `--check` nothing is written: exits with 1 when the page differs from the classes and their remedies.
"""

import argparse
import re
import sys
from pathlib import Path

from penstock import errors
from penstock._policy.onerror import REDUCIBLE
from penstock._policy.routing import FALLBACK_REASONS
from penstock.remedies import REMEDIES

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs" / "reference" / "errors.md"

PLACE = re.compile(r"(?<=<!-- errors -->\n).*?(?=<!-- end -->)", re.DOTALL)
HEAD = "| class | code | retriable | exit | severity | steps | what to do |\n|---|---|---|---|---|---|---|\n"


def steps(cls: type[errors.PenstockError]) -> str:
    """What a call does about it when no error policy says otherwise."""
    found = ["retry"] if cls.retriable else []
    found += ["reduce context"] if issubclass(cls, REDUCIBLE) else []
    found += ["fall back"] if issubclass(cls, tuple(kind for kind, _ in FALLBACK_REASONS)) else []
    return ", ".join([*found, "fail"])


def row(cls: type[errors.PenstockError]) -> str:
    """One class as a line of the page."""
    remedy = REMEDIES[cls.code]
    columns = [
        f"`{cls.__name__}`",
        f"`{cls.code}`",
        "yes" if cls.retriable else "no",
        str(cls.exit_code),
        remedy.severity,
        steps(cls),
        remedy.action,
    ]
    return "| " + " | ".join(columns) + " |\n"


def filled(page: str) -> str:
    """The page with the table as the classes are now."""
    table = HEAD + "".join(row(cls) for cls in errors.all_errors() if cls.__module__.startswith("penstock"))
    return PLACE.sub(lambda _: table, page)


def main(args: list[str] | None = None) -> int:
    """Write the page, or check it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--check", action="store_true", help="write nothing, exit with 1 when the page is out of date")
    chosen = parser.parse_args(args)
    page = PAGE.read_text(encoding="utf-8")
    if not PLACE.search(page):
        print(f"{PAGE.relative_to(ROOT)}: no place for the table; add <!-- errors --> and <!-- end -->")
        return 1
    if not chosen.check:
        PAGE.write_text(filled(page), encoding="utf-8")
    elif filled(page) != page:
        print(f"{PAGE.relative_to(ROOT)}: differs from the classes; run: .venv/bin/python tools/error_page.py")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
