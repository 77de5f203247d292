"""`penstock rerank`: documents in, the same documents out, the most relevant first."""

from __future__ import annotations

import sys
from decimal import Decimal
from typing import Any

import click

from .. import Reranking
from ..errors import InputError
from .choice import Dollars, Number, budget_of
from .keeping import AsyncKeepingClient
from .loop import run, stoppable
from .shown import usd, write_json
from .streams import check_stdout, printing


@click.command(name="rerank")
@click.argument("query")
@click.argument("documents", nargs=-1)
@click.option("-m", "--model", required=True, metavar="PROVIDER:NAME", help="What ranks, e.g. cohere:rerank-v3.5.")
@click.option("-f", "--file", metavar="FILE", help="Documents, a line each; - for stdin.")
@click.option("-n", "--top-n", type=click.IntRange(min=1), help="How many of the best to print [default: all].")
@click.option("--budget", type=Dollars(), metavar="DOLLARS",
              help="The most this may cost; a model whose price is not known is refused under it.")  # fmt: skip
@click.option("--deadline", "deadline_s", type=Number(positive=True), metavar="SECONDS",
              help="When to give up, retries included.")  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object: places, scores, documents, cost.")
def command(query: str, documents: tuple[str, ...], file: str | None, as_json: bool, **options: Any) -> None:
    """Order documents by how relevant they are to a query; the best comes first, its score before it.

    \b
    penstock rerank "database down" -f runbooks.txt -m cohere:rerank-v3.5 -n 3
    grep ERROR app.log | penstock rerank "out of memory" -m cohere:rerank-v3.5 --json
    """  # noqa: D301 - click wants the backspace itself
    if documents and file is not None:
        raise click.UsageError("there are documents and a file; give one of them")
    check_stdout()
    found = list(documents) or _lines(file)
    asked = {name: value for name, value in options.items() if value is not None and name != "budget"}
    ranking = run(stoppable(_rerank(query, found, asked, options["budget"])))
    with printing(f"the ranking came ({usd(ranking.cost)}) and is lost"):
        if as_json:
            write_json(_figures(ranking, found))
            return
        for ranked in ranking:
            click.echo(f"{ranked.score:.4f}  {found[ranked.index]}")


async def _rerank(query: str, documents: list[str], options: dict[str, Any], budget: Decimal | None) -> Reranking:
    async with AsyncKeepingClient(budget=budget_of(budget)) as client:
        return await client.rerank(query, documents, **options)


def _lines(file: str | None) -> list[str]:
    """Return the lines of a file that say something.

    Raises: InputError.
    """
    if file is None and sys.stdin.isatty():
        raise click.UsageError("there is nothing to rank; name a file with -f, or write the documents after the query")
    name = "stdin" if file in (None, "-") else str(file)
    try:
        with open(0 if name == "stdin" else name, encoding="utf-8", closefd=name != "stdin") as source:
            return [line for each in source if (line := each.strip())]
    except OSError as error:
        raise InputError(f"cannot read {name}: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise InputError(f"{name} is not text in UTF-8: {error.reason} at byte {error.start}") from error


def _figures(ranking: Reranking, documents: list[str]) -> dict[str, Any]:
    return {
        "model": f"{ranking.provider}:{ranking.model}",
        "results": [
            {"index": ranked.index, "score": ranked.score, "document": documents[ranked.index]} for ranked in ranking
        ],
        "search_units": ranking.search_units,
        "cost": ranking.cost,
        "latency_s": round(ranking.latency_s, 3),
    }
