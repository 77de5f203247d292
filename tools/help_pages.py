"""Write the help of every command into docs/reference/cli.md, between `<!-- help: penstock ask -->` and `<!-- end -->`.

With `--check` nothing is written: exits with 1 when the page differs from what the commands say, or leaves one out.
"""

import argparse
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import click

from penstock.cli import root

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs" / "reference" / "cli.md"
WIDTH = 100

PLACE = re.compile(r"(?P<start><!-- help: (?P<command>[a-z ]+) -->\n)(?P<help>.*?)(?P<end><!-- end -->)", re.DOTALL)


def commands() -> Iterator[tuple[str, click.Context]]:
    """Every command as it is typed, groups before their members."""
    top = click.Context(root, info_name="penstock", terminal_width=WIDTH, help_option_names=["-h", "--help"])
    waiting = [top]
    while waiting:
        here = waiting.pop(0)
        yield here.command_path, here
        if isinstance(here.command, click.Group):
            for name in here.command.list_commands(here):
                member = here.command.get_command(here, name)
                assert member is not None
                waiting.append(click.Context(member, parent=here, info_name=name))


def helps() -> dict[str, str]:
    """What each command says when asked for help."""
    return {path: "\n".join(line.rstrip() for line in here.get_help().splitlines()) for path, here in commands()}


def filled(page: str, said: dict[str, str]) -> str:
    """The page with each help text in its place."""

    def fill(place: re.Match[str]) -> str:
        return f"{place['start']}```text\n{said[place['command']]}\n```\n{place['end']}"

    return PLACE.sub(fill, page)


def problems(page: str, said: dict[str, str]) -> list[str]:
    """What is wrong with the page, a sentence each."""
    placed = [place["command"] for place in PLACE.finditer(page)]
    wrong = [f"{name!r} is no command" for name in placed if name not in said]
    wrong += [f"{name!r} has no place; add <!-- help: {name} --> and <!-- end -->" for name in said.keys() - placed]
    if not wrong and filled(page, said) != page:
        wrong.append("a help text differs from the command; run: .venv/bin/python tools/help_pages.py")
    return wrong


def main(args: list[str] | None = None) -> int:
    """Write the page, or check it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--check", action="store_true", help="write nothing, exit with 1 when the page is out of date")
    chosen = parser.parse_args(args)
    page, said = PAGE.read_text(encoding="utf-8"), helps()
    unknown = {place["command"] for place in PLACE.finditer(page)} - said.keys()
    if not chosen.check and not unknown:
        page = filled(page, said)
        PAGE.write_text(page, encoding="utf-8")
    wrong = problems(page, said)
    for sentence in wrong:
        print(f"{PAGE.relative_to(ROOT)}: {sentence}")
    return int(bool(wrong))


if __name__ == "__main__":
    sys.exit(main())
