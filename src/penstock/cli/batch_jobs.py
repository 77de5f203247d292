"""`penstock batch status`, `resume` and `cancel`: a job by its output, from any process, of `penstock embed` too."""

from __future__ import annotations

import os
import shlex
import time
from typing import Any, Final

import click

from ..batch import JobFile, JobState, Standing, journal_of, read_shards, standing
from ..batch.vector_table import VECTORS_SUFFIX, vectors_journal
from ..errors import EXIT_TEMPFAIL, InputError
from ..types import to_usd
from .shards import lines_of, told_of
from .shown import count, note, span, usd, write_json
from .streams import printing
from .via import withdraw

LOOK_EVERY_S: Final = 0.1


@click.command(name="status")
@click.argument("output", metavar="OUT")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def status(output: str, as_json: bool) -> None:
    """Say how a job stands, by its output OUT: running, stopped, killed or done; its errors by class.

    OUT may be of `penstock embed` too, here as for resume and cancel.
    """
    job, state = _job(output)
    found = standing(job.journal)
    shards = read_shards(job.journal)
    told = _told(output, job, state, found) | ({"shards": [told_of(shard) for shard in shards]} if shards else {})
    if as_json:
        with printing("the job goes on, but its status is lost"):
            write_json(told)
        return
    for line in [*_lines(told, state, found), *lines_of(shards)]:
        click.echo(line)


@click.command(name="resume", context_settings={"ignore_unknown_options": True})
@click.argument("output", metavar="OUT")
@click.argument("options", nargs=-1, type=click.UNPROCESSED)
@click.pass_context
def resume(context: click.Context, output: str, options: tuple[str, ...]) -> None:
    """Go on with the job of OUT as it was started; OPTIONS of its command are added, such as --budget 4.00."""
    job, state = _job(output)
    if state is None:
        note(f"every row of {output} has its answer; there is nothing to resume")
        return
    if not state.command:
        raise InputError(f"the job of {output} was run from Python; run that program again to resume it")
    if _is_piped(state):
        raise InputError(
            f"the rows of {output} came from stdin; pipe them into the same command:\n  {_again(output, job, state)}"
        )
    try:
        os.chdir(state.cwd)
    except OSError as error:
        raise InputError(f"the job of {output} ran in {state.cwd}, which is gone: {error.strerror}") from error
    name = _command(job)[-1]
    group = context.find_root() if _embeds(job) else context.parent
    assert group is not None
    assert isinstance(group.command, click.Group)
    run = group.command.get_command(group, name)
    assert run is not None
    with run.make_context(name, [*state.command, *options], parent=group) as made:
        run.invoke(made)


@click.command(name="cancel")
@click.argument("output", metavar="OUT")
@click.option("--now", is_flag=True, help="Cut calls under way, which may have been paid.")
@click.option("--wait", "wait_s", type=click.IntRange(min=0), default=30, show_default=True, metavar="SECONDS",
              help="How long to wait for its end.")  # fmt: skip
def cancel(output: str, now: bool, wait_s: int) -> None:
    """Ask the run that writes OUT to stop: it finishes calls under way, and can be resumed.

    Batches of OUT at providers are cancelled, and what they had answered is written down.
    """
    job, _ = _job(output)
    if not job.is_running():
        if withdraw(output):
            return
        raise InputError(f"no run is writing {output}; `penstock batch status {output}` says how it stands")
    job.ask_stop(now=now)
    until = time.monotonic() + wait_s
    while job.is_running():
        if time.monotonic() >= until:
            note(f"{output}: asked to stop; it is still finishing calls under way")
            raise click.exceptions.Exit(EXIT_TEMPFAIL)
        time.sleep(LOOK_EVERY_S)
    if job.read() is None:
        note(f"{output}: it was done before it could stop")
    else:
        withdraw(output)
        note(f"{output}: stopped. To go on:\n  {shlex.join(['penstock', 'batch', 'resume', output])}")


def _job(output: str) -> tuple[JobFile, JobState | None]:
    """Find a job by its output.

    Raises: InputError when there is none.
    """
    vectors = vectors_journal(output)
    job = JobFile(vectors if vectors.exists() else journal_of(output))
    if not job.journal.exists():
        raise InputError(f"there is no job of {output}: {job.journal} does not exist")
    return job, job.read()


def _embeds(job: JobFile) -> bool:
    """Whether the job is one of `penstock embed`."""
    return job.journal.suffix == VECTORS_SUFFIX


def _command(job: JobFile) -> tuple[str, ...]:
    """Return the words of the command that began a job."""
    return ("embed",) if _embeds(job) else ("batch", "run")


def _told(output: str, job: JobFile, state: JobState | None, found: Standing) -> dict[str, Any]:
    done = found.answered + found.failed
    left = 0 if state is None else max(0, state.rows - done)
    return {
        "output": output,
        "state": _state(job, state),
        "rows": done if state is None else state.rows,
        "answered": found.answered,
        "failed": found.failed,
        "left": left,
        "cost": to_usd(found.cost_nano),
        "models": dict(found.models),
        "errors": {
            code: {"count": each.count, "id": each.id, "message": each.message} for code, each in found.errors.items()
        },
        "run": None if state is None else {**state.figures, "pid": state.pid, "updated": state.updated},
        "resume": _again(output, job, state),
    }


def _again(output: str, job: JobFile, state: JobState | None) -> str | None:
    """Return the command that goes on with a job; None where there is nothing left, or a program has to."""
    if state is None or not state.command:
        return None
    if _is_piped(state):
        return shlex.join(["penstock", *_command(job), *state.command])
    return shlex.join(["penstock", "batch", "resume", output])


def _is_piped(state: JobState) -> bool:
    """Whether the rows came from stdin."""
    return "-" in state.command


def _state(job: JobFile, state: JobState | None) -> str:
    if job.is_running():
        return "running"
    if state is None:
        return "done"
    if not state.ended:
        return "killed"
    return state.stopped or "ended"


def _lines(told: dict[str, Any], state: JobState | None, found: Standing) -> list[str]:
    """Write a status for people."""
    words = {
        "running": "running",
        "done": "done",
        "killed": "not running: its process ended without a word",
        "ended": "ended, with failed rows",
        "interrupted": "stopped on request",
        "submitted": "submitted; its batches go on at the provider",
    }
    name = told["state"]
    lines = [f"{told['output']}: {words.get(name, f'stopped ({name})')}"]
    if state is not None and name == "running":
        figures = state.figures
        took_s = figures.get("elapsed_s", 0.0)
        finished = figures.get("answered", 0) + figures.get("failed", 0)
        rate = figures.get("rows_per_s") or (finished / took_s if took_s else 0.0)
        eta = span(told["left"] / rate) if rate else "?"
        used = [f"{share:.0%} of {name}" for lane in figures.get("limits", {}).values() for name, share in lane.items()]
        lines[0] += f" for {span(took_s)} (process {state.pid})"
        lines.append(
            f"pace      {rate:.1f} rows/s, {figures.get('tokens_per_s', 0):,.0f} tokens/s, "
            f"{figures.get('in_flight', 0):,} calls under way, {eta} left"
        )
        lines.append(f"held by   {figures.get('binding', '?')}" + (f" ({', '.join(used)})" if used else ""))
    lines.append(
        f"rows      {told['rows']:,}: {found.answered:,} answered, {found.failed:,} failed, {told['left']:,} left"
    )
    lines.append(f"cost      {usd(found.cost_nano)}")
    lines.append("models    " + (", ".join(f"{number:,} {model}" for model, number in found.models.items()) or "none"))
    lines += [
        f"errors    {count(each.count, 'row')} {code}, as {each.id!r}: {each.message}"
        for code, each in found.errors.items()
    ]
    if state is not None and name != "running":
        if state.cause:
            lines.append(f"cause     {state.cause}")
        if told["resume"]:
            lines.append(f"resume    {told['resume']}" + (" (with the same rows piped in)" if _is_piped(state) else ""))
    return lines
