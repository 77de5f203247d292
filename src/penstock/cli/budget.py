"""`penstock budget`: the caps of a shared budget, what was spent of them, and a new beginning."""

from __future__ import annotations

import os
import re
import sys
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any, Final

import click

from .._io.home import state_dir
from .._io.settings import Settings, load
from .._io.stores import default_file
from .._io.stores.budget_file import BudgetFile
from .._policy.budget import Budget, BudgetState, ScopeState, period_names
from ..errors import InputError
from ..types import to_nano, to_usd
from .choice import DOLLARS_MAX, PLAIN
from .shown import count, note, table, usd, write_json

PATIENCE_S: Final = 5.0
"""How long a change waits for programs that use the file: each is inside for a tenth of a millisecond."""

PERIODS: Final = ("total", "daily", "monthly")


class Cap(click.ParamType["int | str"]):
    """An amount of dollars in nano-dollars, or 'none' for no cap."""

    name = "cap"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int | str:
        """Read it, or say what is wrong with it."""
        if isinstance(value, int):
            return value
        if value == "none":
            return "none"
        text = str(value).strip().removeprefix("$")
        if not PLAIN.fullmatch(text) or text.startswith("-") or float(text) > DOLLARS_MAX:
            self.fail(f"{value!r} is neither an amount of dollars, like 5.00, nor 'none'", param, ctx)
        return to_nano(text)


class TagCap(click.ParamType[tuple[str, "int | str"]]):
    """A tag with its cap: KEY=VALUE=DOLLARS."""

    name = "tag"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, int | str]:
        """Read it, or say what is wrong with it."""
        if isinstance(value, tuple):
            return value
        tag, _, cap = str(value).rpartition("=")
        if not re.fullmatch("[^=]+=.+", tag):
            self.fail(f"{value!r} is no tag with its cap; write it like team=search=1.00", param, ctx)
        return f"tag {tag}", Cap().convert(cap, param, ctx)


@click.group(name="budget")
def command() -> None:
    """Set, show or reset the budget that programs of this machine share.

    It is kept in a file: that of --file, or of [budget] in the settings, else one in the state directory, which every
    client and command obeys from then on. A client's own caps hold beside it.

    \b
    penstock budget set --daily 5.00 --monthly 100 --tag team=search=20
    penstock budget show
    """  # noqa: D301 - click wants the backspace itself


def in_file(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options that all of them have."""
    for option in (
        click.option("--json", "as_json", is_flag=True, help="Print one JSON object."),
        click.option("--file", metavar="FILE", help="The file of the budget."),
    ):
        function = option(function)
    return function


@command.command(name="set")
@click.option("--total", type=Cap(), metavar="DOLLARS", help="For the life of the file; 'none' for no cap.")
@click.option("--daily", type=Cap(), metavar="DOLLARS", help="For each UTC day.")
@click.option("--monthly", type=Cap(), metavar="DOLLARS", help="For each UTC month.")
@click.option("--tag", "tags", type=TagCap(), multiple=True, metavar="KEY=VALUE=DOLLARS",
              help="For all calls that carry a tag; repeat it for more.")  # fmt: skip
@in_file
def set_command(
    file: str | None, as_json: bool, tags: tuple[tuple[str, int | str], ...], **caps: int | str | None
) -> None:
    """Set caps; programs that run obey them from their next call on. What is not named stays as it is.

    \b
    penstock budget set --daily 5.00
    penstock budget set --daily none --tag team=search=1.50
    penstock budget set --file spend.db --total 100
    """  # noqa: D301 - click wants the backspace itself
    wanted = {name: cap for name, cap in (*caps.items(), *tags) if cap is not None}
    if not wanted:
        raise click.UsageError("there is no cap to set; write --daily 5.00, say, or --daily none to take one away")
    settings = load()
    path, usual = _path(file, settings)
    if usual:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with closing(BudgetFile(_budget(settings, path))) as book:
        book.allow({name: cap if isinstance(cap, int) else None for name, cap in wanted.items()}, PATIENCE_S)
        _print(path, book, as_json)


@command.command(name="show")
@click.option("--all", "every", is_flag=True, help="Past days and months too.")
@in_file
def show_command(file: str | None, as_json: bool, every: bool) -> None:
    """Show what is spent, held by calls under way and left, in all, today, this month and by tag.

    Caps are the lower of those in the file and those of the settings here.

    \b
    penstock budget show
    penstock budget show --all --json | jq '.scopes[] | {scope, spent}'
    """  # noqa: D301 - click wants the backspace itself
    settings = load()
    path, _ = _path(file, settings)
    with closing(_opened(settings, path)) as book:
        _print(path, book, as_json, every=every)


@command.command(name="reset")
@click.argument("scopes", nargs=-1, metavar="[SCOPE]...")
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
@in_file
def reset_command(file: str | None, as_json: bool, scopes: tuple[str, ...], yes: bool) -> None:
    """Count from 0 again: total, daily, monthly or a tag like team=search; all of them when none is named.

    Caps stay. Calls under way keep what they hold, and count when they end.

    \b
    penstock budget reset daily
    penstock budget reset --yes
    """  # noqa: D301 - click wants the backspace itself
    names = [scope if scope in PERIODS else f"tag {scope}" for scope in scopes]
    for scope in scopes:
        if scope not in PERIODS and not re.fullmatch("[^=]+=.+", scope):
            raise click.UsageError(f"{scope!r} is no scope; expected {', '.join(PERIODS)} or a tag like team=search")
    settings = load()
    path, _ = _path(file, settings)
    with closing(_opened(settings, path)) as book:
        _ask(path, book, scopes, yes=yes)
        before = book.forget(names, time.time(), PATIENCE_S)
        if as_json:
            write_json({"file": str(path), "forgotten": [_scope(account) for account in before]})
            return
        known = ", ".join(account.name for account in before)
        note(
            f"{path}: {known} from 0 again" if known else f"{path}: nothing was counted for {', '.join(scopes) or 'it'}"
        )


def _ask(path: Path, book: BudgetFile, scopes: tuple[str, ...], *, yes: bool) -> None:
    if yes:
        return
    if not _is_asked():
        raise click.UsageError("nobody can be asked here whether to forget what was spent; add --yes")
    spent = {account.name: account.spent_nano for account in book.accounts()}.get("total", 0)
    what = ", ".join(scopes) or "everything"
    if not click.confirm(f"Forget what was spent ({what}) in {path}, where {usd(spent)} are counted?", err=True):
        raise click.Abort


def _is_asked() -> bool:
    return sys.stdin.isatty() and sys.stderr.isatty()


def _path(file: str | None, settings: Settings) -> tuple[Path, bool]:
    """Return the file that is meant, and whether it is the usual one."""
    usual = default_file(state_dir())
    named = file or (settings.budget and settings.budget.file)
    path = Path(os.path.realpath(os.path.expanduser(str(named)))) if named else usual
    return path, path == usual


def _budget(settings: Settings, path: Path) -> Budget:
    """Return the caps that hold here for a file; those of the settings count where they are about this file."""
    import msgspec

    own = settings.budget
    return msgspec.structs.replace(own, file=path, per_client=None) if own is not None else Budget(file=path)


def _opened(settings: Settings, path: Path) -> BudgetFile:
    if not path.exists():
        raise InputError(f"there is no budget at {path}; make one, as in: penstock budget set --daily 5.00")
    return BudgetFile(_budget(settings, path))


def _print(path: Path, book: BudgetFile, as_json: bool, *, every: bool = False) -> None:
    now = time.time()
    state = book.snapshot(now)
    shown = list(state.scopes)
    if every:
        names = {scope.name for scope in shown}
        shown += [scope for scope in book.accounts() if scope.name not in names]
    if as_json:
        write_json(_figures(path, state, shown, book.caps()))
        return
    click.echo(f"budget in {path}\n")
    cells = [
        (
            scope.name + (" (UTC)" if scope.name in period_names(now) else ""),
            "none" if scope.cap_nano is None else usd(scope.cap_nano),
            usd(scope.spent_nano) + (f" ({usd(scope.possible_nano)} of it perhaps)" if scope.possible_nano else ""),
            usd(scope.held_nano),
            "-" if scope.left_nano is None else usd(scope.left_nano),
        )
        for scope in shown
    ]
    click.echo(table(cells, ("scope", "cap", "spent", "held", "left")))
    if state.calls_under_way:
        note(f"{count(state.calls_under_way, 'call')} under way")
    if state.unpriced_calls:
        note(f"{count(state.unpriced_calls, 'call')} of unknown price, counted as nothing")
    if state.overshoot_nano:
        note(f"{usd(state.overshoot_nano)} were billed beyond the worst case: a price is wrong")


def _scope(scope: ScopeState) -> dict[str, Any]:
    return {
        "scope": scope.name,
        "cap": None if scope.cap_nano is None else to_usd(scope.cap_nano),
        "spent": to_usd(scope.spent_nano),
        "possible": to_usd(scope.possible_nano),
        "held": to_usd(scope.held_nano),
        "left": None if scope.left_nano is None else to_usd(scope.left_nano),
    }


def _figures(path: Path, state: BudgetState, shown: list[ScopeState], caps: dict[str, int]) -> dict[str, Any]:
    return {
        "file": str(path),
        "scopes": [_scope(scope) for scope in shown],
        "caps": {name: to_usd(nano) for name, nano in caps.items()},
        "calls_under_way": state.calls_under_way,
        "unpriced_calls": state.unpriced_calls,
        "overshoot": to_usd(state.overshoot_nano),
    }
