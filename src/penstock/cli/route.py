"""`penstock route`: which model would answer a prompt and why, and a router that learns from outcomes."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, Final

import click
import msgspec

from ..errors import InputError, OutputError
from .choice import TIERS, Number
from .shown import count, note, table, write_json
from .streams import check_stdout, printing

LEVELS: Final = TIERS[:-1]


@click.group(name="route")
def command() -> None:
    """Say which model would answer a prompt, or fit the router to outcomes of your own.

    \b
    penstock route explain "Design a failover for Postgres"
    penstock route calibrate outcomes.jsonl -o router.json
    """  # noqa: D301 - click wants the backspace itself


@command.command(name="explain")
@click.argument("prompt", nargs=-1)
@click.option("-m", "--model", metavar="PROVIDER:NAME", help="As if this model had been asked for.")
@click.option("--tier", type=click.Choice(TIERS), help="As if this tier had been asked for.")
@click.option("--task", metavar="NAME", help="As if this task of [routing.tasks] had been named.")
@click.option("--region", metavar="WORD", help="Only models that run there, by [routing.models].")
@click.option("--system", metavar="TEXT", help="A system message.")
@click.option("-f", "--file", "files", multiple=True, metavar="FILE",
              help="Add a text file, picture or PDF; repeat it for more.")  # fmt: skip
@click.option("--max-tokens", type=click.IntRange(min=1), help="The longest answer; it must fit into the window too.")
@click.option("--stdin/--no-stdin", default=True, help="Add what is piped in (default), or leave stdin alone.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def explain(prompt: tuple[str, ...], files: tuple[str, ...], stdin: bool, as_json: bool, **options: Any) -> None:
    """Say which models would be asked, in which order and why; nothing is sent, and no key is needed.

    \b
    penstock route explain "Is this an error? yes or no: OOMKilled"
    penstock route explain --task summary -f report.txt --json
    """  # noqa: D301 - click wants the backspace itself
    from .. import Client
    from .._flow.judging import judged_text
    from .._policy.choosing import Routing
    from .ask import message_of

    check_stdout()
    message = message_of(prompt, files, stdin=stdin)
    asked = {name: value for name, value in options.items() if value is not None}
    with Client() as client:
        settings = client.settings.file
        named = asked.keys() & {"model", "tier", "task"}
        if settings.tiers or named - {"tier"} or asked.get("tier", "auto") != "auto":
            route = client.route([message], **asked)
            told: dict[str, Any] = msgspec.to_builtins(route)
        else:
            judged = judged_text(message, settings.routing or Routing())
            told = {
                "candidates": [],
                "reason": f"{judged.reason}; no tier has a model: give them under [tiers] in penstock.toml",
                "tier": judged.tier,
                "score": judged.score,
            }
    if as_json:
        with printing("the route is known and lost"):
            write_json({"tokens": None, "left_out": [], "warm": False, "score": None, "tier": None} | told)
        return
    for line in _lines(told):
        click.echo(line)


def _lines(told: dict[str, Any]) -> list[str]:
    shown = [("model", told["candidates"][0] if told["candidates"] else "none is set")]
    shown += [("then", model) for model in told["candidates"][1:]]
    if told.get("tier"):
        shown.append(("tier", told["tier"]))
    if told.get("score") is not None:
        shown.append(("score", f"{told['score']:.3f} of 1"))
    if told.get("tokens") is not None:
        shown.append(("tokens", f"about {told['tokens']:,}"))
    shown += [("left out", f"{model} {why}") for model, why in told.get("left_out", ())]
    shown.append(("why", told["reason"]))
    return [f"{name + ':':<10}{text}" for name, text in shown]


@command.command(name="calibrate")
@click.argument("file", metavar="FILE")
@click.option("-o", "--output", metavar="OUT", help="Where the model goes, for [routing] calibration; else nowhere.")
@click.option("--quality", type=Number(least=0, most=1), help="The part of the stronger's quality to reach (0.95).")
@click.option("--share", type=Number(least=0, most=1), help="Instead: the share of calls that go to the stronger one.")
@click.option("--weak", "weak_tier", type=click.Choice(LEVELS), default="simple", show_default=True,
              help="The tier of the weaker model.")  # fmt: skip
@click.option("--strong", "strong_tier", type=click.Choice(LEVELS), default="complex", show_default=True,
              help="The tier of the stronger model.")  # fmt: skip
@click.option("--holdout", type=Number(least=0, most=0.5), default=0.0, show_default=True,
              help="The part of the rows that is only used to check the result.")  # fmt: skip
@click.option("--folds", type=click.IntRange(2, 20), default=5, show_default=True, help="Of the cross-validation.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def calibrate(
    file: str,
    output: str | None,
    quality: float | None,
    share: float | None,
    weak_tier: str,
    strong_tier: str,
    as_json: bool,
    **options: Any,
) -> None:
    """Fit the router to FILE: rows (JSONL, CSV, Parquet) with a prompt, and how good both models' answers were.

    A row is {"prompt": "…", "weak": 0, "strong": 1}, with weak_cost and strong_cost where you know them, or
    {"prompt": "…", "label": "strong"}. All figures are of prompts that the model had not learned from.

    \b
    penstock route calibrate outcomes.jsonl
    penstock route calibrate outcomes.csv --quality 0.98 --holdout 0.2 -o router.json
    """  # noqa: D301 - click wants the backspace itself
    from .._flow.calibration import Aim
    from .._flow.calibration import calibrate as fitted
    from .._io.outcomes import read_outcomes

    check_stdout()
    if quality is not None and share is not None:
        raise click.UsageError("give --quality or --share, not both")
    if LEVELS.index(weak_tier) >= LEVELS.index(strong_tier):
        raise click.UsageError(f"--weak {weak_tier} is not below --strong {strong_tier}")
    aim = Aim(quality=None if share is not None else 0.95 if quality is None else quality, share=share)
    found = read_outcomes(file)
    try:
        learned, report = fitted(
            found,
            aim=aim,
            weak_tier=weak_tier,  # type: ignore[arg-type]
            strong_tier=strong_tier,  # type: ignore[arg-type]
            told=lambda step: note(f"{count(len(found.each), 'row')}: {step}", dim=True),
            **options,
        )
    except InputError as error:
        raise InputError(f"{file}: {error.message}") from None
    if output is not None:
        _write(output, msgspec.json.format(msgspec.json.encode(learned), indent=1))
    with printing("the model is fitted, and its figures are lost"):
        if as_json:
            write_json({**msgspec.to_builtins(report), "output": output})
        else:
            click.echo("\n".join(_report(report, output)))


def _write(output: str, data: bytes) -> None:
    """Put the whole file in its place at once.

    Raises: OutputError.
    """
    beside = Path(f"{output}.part")
    try:
        beside.write_bytes(data + b"\n")
        os.replace(beside, output)
    except (OSError, ValueError) as error:
        raise OutputError(f"{output} cannot be written: {getattr(error, 'strerror', None) or error}") from error


def _report(report: Any, output: str | None) -> list[str]:
    rows = f"{report.rows:,} rows, cross-validated in {report.folds} folds"
    ends = f"{report.weak_quality:.4g} of the weaker model, {report.strong_quality:.4g} of the stronger"
    lines = [
        f"{rows}; quality {ends}, {report.aim:.4g} to be reached",
        "",
        _field(report.contestants, report.priced),
        "",
        f"threshold {report.threshold:g}: a prompt whose score is not below it goes to the stronger model",
        *_verdict(report.contestants, report.priced),
    ]
    if report.kept is not None:
        kept = report.kept
        coin = "a coin never is as good" if kept.coin_saves is None else f"a coin as good saves {kept.coin_saves:.1%}"
        did = f"{kept.share:.1%} of calls to the stronger model, quality {kept.quality:.4g} ({kept.aim:.4g} wanted)"
        saved = f"saves {kept.saves:.1%} against always the stronger"
        lines += ["", f"{report.held_out:,} rows held out: {did}, {saved}; {coin}"]
    if output is not None:
        lines += ["", f'written to {output}; use it with calibration = "{output}" under [routing] in penstock.toml']
    return lines


def _field(contestants: tuple[Any, ...], priced: bool) -> str:
    shares = range(0, 11, 2)
    saved = "cost saved" if priced else "saved"
    head = ("router", "APGR", *[f"{share * 10}%" for share in shares], "strong calls", saved)
    rows = [
        (
            each.name,
            "-" if each.apgr is None else f"{each.apgr:.3f}",
            *[f"{each.quality[share]:.4g}" for share in shares],
            "never" if each.share is None else f"{each.share:.1%}",
            "-" if each.saves is None else f"{each.saves:.1%}",
        )
        for each in contestants
    ]
    return table(rows, head)


def _verdict(contestants: tuple[Any, ...], priced: bool) -> list[str]:
    mine, coin = contestants[0], next(each for each in contestants if each.name == "random")
    what = "of the cost" if priced else "of the strong calls"
    if mine.saves is None or coin.saves is None:
        return []
    against = f"saves {mine.saves:.1%} {what} against always asking the stronger model"
    beside = f"a coin that reaches the same quality saves {coin.saves:.1%}"
    lines = [f"{against}; {beside}, so the router is worth {mine.saves - coin.saves:.1%}"]
    if (mine.apgr or 0) <= 0.5:
        lines.append("it orders these prompts no better than a coin: do not use it, or bring more rows")
    return lines
