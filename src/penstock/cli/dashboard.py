"""`penstock dashboard`: what it costs and whether it is healthy, live in a browser."""

from __future__ import annotations

import asyncio
import os
import sys
import webbrowser

import click

from .._io.extras import extra
from .shown import note
from .signals import on_stop

PORT = 8765


@click.command(name="dashboard")
@click.option("--ledger", type=click.Path(dir_okay=False), metavar="FILE",
              help="The ledger to show [default: that of PENSTOCK_HOME or of your state directory].")  # fmt: skip
@click.option("--port", type=click.IntRange(0, 65535), default=PORT, show_default=True, help="0 takes a free one.")
@click.option("--host", default="127.0.0.1", show_default=True,
              help="Who can reach it: another address asks for a token, which is printed.")  # fmt: skip
@click.option("--open/--no-open", "opens", default=None, help="Open it in the browser [default: on a desktop].")
def command(ledger: str | None, port: int, host: str, opens: bool | None) -> None:
    """Show spend, tokens, latency, errors, budgets and lanes as a live page, until Ctrl-C.

    The page reads the ledger and changes nothing. It needs no internet.

    \b
    penstock dashboard
    penstock dashboard --ledger demo.db --port 0 --no-open
    penstock dashboard --host 0.0.0.0     for colleagues, with the token that is printed
    """  # noqa: D301 - click wants the backspace itself
    for module in ("starlette", "uvicorn"):
        extra(module, "dashboard")
    asyncio.run(_serve(ledger, host, port, opens=_is_desktop() if opens is None else opens))


async def _serve(ledger: str | None, host: str, port: int, *, opens: bool) -> None:
    from ..dashboard.serve import Page

    page = Page(ledger, host=host, port=port)
    try:
        with on_stop(page.stop):
            click.echo(page.door)
            sys.stdout.flush()
            note(f"the page shows {page.ledger}; Ctrl-C ends it", dim=True)
            if page.token is not None:
                note("whoever has this address can look; without the token it opens for nobody")
            if opens:
                webbrowser.open(page.door)
            await page.serve()
    finally:
        page.close()


def _is_desktop() -> bool:
    """Whether there is a screen to open a browser on, and a person who started this."""
    if not sys.stdout.isatty():
        return False
    return sys.platform in {"darwin", "win32"} or bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))
