"""Write the table of providers into docs/reference/providers.md, between `<!-- providers -->` and `<!-- end -->`.

With `--check` nothing is written: exits with 1 when the page differs from src/penstock/_wire/providers.toml.
"""

import argparse
import re
import sys
import tomllib
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
TABLE = ROOT / "src" / "penstock" / "_wire" / "providers.toml"
PAGE = ROOT / "docs" / "reference" / "providers.md"

PLACE = re.compile(r"(?<=<!-- providers -->\n).*?(?=<!-- end -->)", re.DOTALL)
HEAD = "| provider | wire | address | key | address from | bare names |\n|---|---|---|---|---|---|\n"


def cell(values: list[str], otherwise: str = "–") -> str:
    """Names in code type."""
    return " ".join(f"`{value}`" for value in values) or otherwise


def row(name: str, provider: dict[str, Any]) -> str:
    """One provider as a line of the page."""
    title = f"[`{name}`]({provider['docs']})" if "docs" in provider else f"`{name}`"
    aliases = "".join(f", `{alias}`" for alias in provider.get("aliases", []))
    keys = cell(provider.get("key_env", [])) + (" (not needed)" if provider.get("local") else "")
    address = f"`{provider['base_url']}`" if "base_url" in provider else "your own"
    columns = [
        title + aliases,
        f"`{provider['wire']}`",
        address,
        keys,
        cell(provider.get("base_url_env", [])),
        cell(provider.get("models", [])),
    ]
    return "| " + " | ".join(columns) + " |\n"


def filled(page: str) -> str:
    """The page with the table as the providers are now."""
    providers = tomllib.loads(TABLE.read_text(encoding="utf-8"))["providers"]
    table = HEAD + "".join(row(name, provider) for name, provider in providers.items())
    return PLACE.sub(lambda _: table, page)


def main(args: list[str] | None = None) -> int:
    """Write the page, or check it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--check", action="store_true", help="write nothing, exit with 1 when the page is out of date")
    chosen = parser.parse_args(args)
    page = PAGE.read_text(encoding="utf-8")
    if not PLACE.search(page):
        print(f"{PAGE.relative_to(ROOT)}: no place for the table; add <!-- providers --> and <!-- end -->")
        return 1
    if not chosen.check:
        PAGE.write_text(filled(page), encoding="utf-8")
    elif filled(page) != page:
        print(f"{PAGE.relative_to(ROOT)}: differs from providers.toml; run: .venv/bin/python tools/provider_page.py")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
