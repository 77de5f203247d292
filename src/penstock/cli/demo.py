"""`penstock demo`: the real bulk run over 600 incidents, against the simulator or, with --real, a provider."""

from __future__ import annotations

import os
import shlex
import sys
from collections import Counter
from contextlib import AbstractAsyncContextManager
from decimal import Decimal
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click
import msgspec

from .. import AsyncClient, Budget
from .._io.journal import Journal
from .._io.settings import load
from ..batch import Batch, BatchReport, RowFile
from ..errors import InputError, MissingKey
from ..ledger import open_ledger, period
from .choice import Dollars, has_key
from .job import conduct, exit_code, explain
from .keeping import AsyncKeepingClient
from .loop import run
from .shown import count, exact_usd, note, span, usd
from .streams import is_plain
from .watched import metrics_option, watched

if TYPE_CHECKING:
    from ..sim import SimConfig

PROMPT: Final = "Classify this log as P1, P2, P3 or P4. Answer with the class only.\n\n{log}"
MODELS: Final = {"openai": "openai:gpt-4o-mini", "anthropic": "anthropic:claude-haiku-4-5"}
MAX_TOKENS: Final = 8
SIM_BUDGET: Final = Decimal("0.10")
REAL_BUDGET: Final = Decimal("0.50")
LONG_ENOUGH_S: Final = 20.0
"""A shorter run may use the burst that a limit allows, and says nothing about its use by the minute."""

ROWS: Final = "incidents.jsonl"
LEDGER: Final = "penstock-demo-ledger.db"


@click.command(name="demo")
@click.option("--real", is_flag=True, help="Ask OpenAI or Anthropic, whichever key is set, instead of the simulator.")
@click.option(
    "--budget", type=Dollars(), metavar="DOLLARS", help=f"The cap [default: {SIM_BUDGET}; with --real {REAL_BUDGET}]."
)
@click.option("--limit", type=click.IntRange(min=1), metavar="N", help="Only the first N incidents.")
@click.option("-o", "--output", metavar="OUT.jsonl",
              help="Where the answers go; an older file is replaced, or resumed with --real.")  # fmt: skip
@click.option("-y", "--yes", is_flag=True, help="With --real: do not ask before money is spent.")
@metrics_option
def command(
    real: bool,
    budget: Decimal | None,
    limit: int | None,
    output: str | None,
    yes: bool,
    metrics: tuple[str, int] | None,
) -> None:
    """Classify 600 incidents through limits, faults and a budget, and compare the cost with the bill.

    \b
    penstock demo
    penstock demo --metrics :9464
    penstock demo --real --limit 50 --budget 0.05
    """  # noqa: D301 - click wants the backspace itself
    rows = RowFile(_incidents(), template=PROMPT, limit=limit)
    path = _output(output, real=real)
    if real:
        _real(rows, path, budget or REAL_BUDGET, metrics, yes=yes)
    else:
        _simulated(rows, path, budget or SIM_BUDGET, metrics)


def _simulated(rows: RowFile, path: Path, budget: Decimal, metrics: tuple[str, int] | None) -> None:
    from ..sim import SimServer

    config = _scenario()
    ledger = path.with_name(LEDGER)
    _remove(ledger)
    with SimServer(config) as server:
        client = AsyncClient(
            ledger=ledger,
            base_urls={"openai": f"{server.url}/v1", "anthropic": server.url},
            keys={"openai": "demo", "anthropic": "demo"},
            budget=Budget(total=budget),
            config=False,
            env={},
        )
        note(
            f"{server.url} plays two providers, {config.limits['openai'].rpm} requests a minute each, with faults. "
            f"Nobody told Penstock these limits. Budget ${budget}."
        )
        report = run(_run(rows, path, watched(client, metrics, quiet=False), list(MODELS.values()), budget))
        bill, limits, log = server.bill(), server.limits(), server.log()
    lines = _table(report, path)
    lines += _bill(report, bill)
    lines += _kept(ledger, bill)
    lines += _use(limits)
    faults = Counter(entry["fault"] for entry in log if entry["fault"] and not entry["fault"].startswith("limit:"))
    lines.append(("faults played", ", ".join(f"{number}× {name}" for name, number in faults.items()) or "none"))
    _end(report, path, lines, resumes=False, ledger=ledger)


def _remove(ledger: Path) -> None:
    """Remove the ledger of an earlier demo, and nothing that is none.

    Raises: LedgerUnavailable.
    """
    if ledger.exists():
        open_ledger(ledger).close()
        for suffix in ("", "-wal", "-shm"):
            ledger.with_name(ledger.name + suffix).unlink(missing_ok=True)


def _kept(ledger: Path, bill: dict[str, Any]) -> list[tuple[str, str]]:
    """Say what the ledger has, beside the bill."""
    with open_ledger(ledger) as reader:
        total = reader.stats(period("all")).total
    apart = total.cost_nano - bill["total_nano"]
    verdict = "equal to the bill" if apart == 0 else f"{exact_usd(abs(apart))} apart from the bill"
    return [("ledger", f"{exact_usd(total.cost_nano)} in {count(total.attempts, 'attempt')}: {verdict}")]


def _real(rows: RowFile, path: Path, budget: Decimal, metrics: tuple[str, int] | None, *, yes: bool) -> None:
    settings = load()
    models = [model for name, model in MODELS.items() if has_key(settings, name)]
    if not models:
        raise MissingKey(
            "demo --real needs a key: set OPENAI_API_KEY or ANTHROPIC_API_KEY; `penstock demo` alone needs none"
        )
    total = rows.check().rows
    note(
        f"{count(total, 'row')} to {' and '.join(models)}, at most ${budget} (a hard cap; "
        f"about {usd(_guess(rows, models, settings.prices))} expected)."
    )
    if not yes and sys.stdin.isatty():
        click.confirm("Spend it?", abort=True, err=True)
    client = AsyncKeepingClient(budget=Budget(total=budget))
    report = run(_run(rows, path, watched(client, metrics, quiet=False), models, budget))
    earlier = f" (+ {usd(report.cost_before_nano)} by earlier runs)" if report.cost_before_nano else ""
    lines = [*_table(report, path), ("cost", usd(report.cost_nano) + earlier)]
    _end(report, path, lines, resumes=True, ledger=None)


def _guess(rows: RowFile, models: list[str], prices: Any) -> int:
    """Guess what the rows cost, in nano-dollars: a token for four characters, two tokens out."""
    from ..types import Usage

    characters = sum(len(str(row.prompt)) for row in rows)
    asked = Usage(input=characters // 4, output=2 * sum(1 for _ in rows))
    costs = [prices.cost(*model.split(":", 1), asked) or 0 for model in models]
    return sum(costs) // len(costs)


async def _run(
    rows: RowFile, path: Path, opened: AbstractAsyncContextManager[AsyncClient], models: list[str], budget: Decimal
) -> BatchReport:
    async with opened as client:
        params = {"max_tokens": MAX_TOKENS}
        batch = Batch(rows, str(path), client=client, models=models, params=params, count_earlier=True)
        batch.check()
        return await conduct(batch, client, title="penstock demo", cap=budget)


def _incidents() -> Path:
    """Find the rows: packed into the wheel, in the checkout, or in the current folder."""
    places = (Path(__file__).with_name(ROWS), Path(__file__).parents[3] / "examples" / ROWS, Path("examples") / ROWS)
    found = next((place for place in places if place.is_file()), None)
    if found is None:
        raise InputError(
            f"examples/{ROWS} is not here; run the demo in a checkout of Penstock (`make demo`), or put the file into "
            "./examples"
        )
    return found


def _output(name: str | None, *, real: bool) -> Path:
    """Choose the output and make place for it.

    A demo starts afresh and removes nothing but results of a run. With --real it removes nothing: answers that were
    paid are not paid again.
    """
    if name is not None:
        path = Path(name)
    else:
        checkout = Path(__file__).parents[3]
        short = "real" if real else "answers"
        long = "penstock-demo-real.jsonl" if real else "penstock-demo.jsonl"
        path = checkout / f"build/demo/{short}.jsonl" if (checkout / "Makefile").is_file() else Path(long)
        path.parent.mkdir(parents=True, exist_ok=True)
    if path.exists() and not real:
        Journal.open(path).close()
        path.unlink()
    return path


def _scenario() -> SimConfig:
    from ..sim.reading import parse_config

    return parse_config(resources.files("penstock.cli").joinpath("demo.toml").read_text("utf-8"), "demo.toml")


def _table(report: BatchReport, path: Path) -> list[tuple[str, str]]:
    classes: Counter[str] = Counter()
    if path.is_file():
        with path.open("rb") as file:
            for line in file:
                classes[str(msgspec.json.decode(line)["text"] or "no answer").strip()] += 1
    codes = ", ".join(f"{number} {code}" for code, number in report.failures.items() if number)
    failed = f"{report.failed:,} failed" + (f" ({codes})" if codes else "")
    failed += f", {report.before:,} answered before" if report.before else ""
    return [
        ("rows", f"{report.rows:,}: {report.answered:,} answered, {failed}"),
        ("classes", ", ".join(f"{number:,} {name}" for name, number in sorted(classes.items()))),
        ("by model", ", ".join(f"{lane.answered:,} {lane.model}" for lane in report.lanes)),
        ("retries", f"{report.retries:,} of {report.attempts:,} attempts"),
        ("429s seen", f"{report.rate_limited:,}"),
        ("tokens", f"{report.usage.prompt:,} in, {report.usage.completion:,} out"),
        ("time", span(report.elapsed_s)),
    ]


def _bill(report: BatchReport, bill: dict[str, Any]) -> list[tuple[str, str]]:
    apart = report.cost_nano - bill["total_nano"]
    verdict = "equal to the last digit" if apart == 0 else f"{exact_usd(abs(apart))} {'less' if apart > 0 else 'more'}"
    unknown = f" (+ {count(report.unpriced, 'failed attempt')} of unknown cost)" if report.unpriced else ""
    return [
        ("cost", f"{exact_usd(report.cost_nano)} by our count{unknown}"),
        ("bill", f"{exact_usd(bill['total_nano'])} by the simulator: {verdict}"),
    ]


def _use(limits: dict[str, Any]) -> list[tuple[str, str]]:
    """Say how much of each lane's request limit was used: in its fullest minute, or in all of a shorter run."""
    lines = []
    for name, lane in limits["lanes"].items():
        rpm = lane["limits"].get("requests")
        if not rpm or lane["first_at"] is None:
            continue
        took_s = lane["last_at"] - lane["first_at"]
        sent = lane["most_60s"].get("requests", 0)
        used = f"{sent / (rpm * min(1.0, took_s / 60)):.0%} of {rpm} requests/min"
        if took_s < LONG_ENOUGH_S:
            used = f"{count(sent, 'request')} in {span(took_s)} are too few to say, of {rpm} a minute"
        model = name.rsplit(":", 1)[0]
        lines.append(("limit used", f"{used} at {model}; {lane['rejected_429']} 429s of our own making"))
    return lines


def _shown(path: Path) -> str:
    return os.path.relpath(path) if path.is_absolute() else str(path)


def _end(report: BatchReport, path: Path, lines: list[tuple[str, str]], *, resumes: bool, ledger: Path | None) -> None:
    lines.append(("output", _shown(path)))
    if not is_plain(sys.stdout):
        from rich import box
        from rich.console import Console
        from rich.table import Table

        drawn = Table(show_header=False, box=box.SIMPLE_HEAD, title="penstock demo", title_justify="left")
        for name, value in lines:
            drawn.add_row(name, value)
        Console().print(drawn)
    else:
        for name, value in lines:
            click.echo(f"{name:<14}{value}")
    if why := explain(report, resumes=resumes):
        note(f"penstock: {why}")
    at = "" if ledger is None else f" --ledger {shlex.quote(_shown(ledger))}"
    note(f"\nWhere it went:     penstock stats all{at}\nThe cost page:     penstock dashboard{at}")
    raise click.exceptions.Exit(exit_code(report))
