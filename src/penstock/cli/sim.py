"""`penstock sim`: a provider on your own machine, with limits, a bill and faults on order."""

from __future__ import annotations

import asyncio
import errno
import socket
from typing import TYPE_CHECKING, Any

import click
import msgspec

from ..errors import ConfigError
from .choice import Number
from .shown import count, exact_usd, note
from .signals import on_stop
from .streams import is_of_stdout

if TYPE_CHECKING:
    from ..sim import SimConfig, SimServer  # with its HTTP server, loaded once the options are understood

SHOWN_EVERY_S = 0.1
LATENCY_MAX_S, SPEED_MAX = 86_400, 1_000_000  # what a configuration file may say


@click.command(name="sim")
@click.option("--port", type=click.IntRange(0, 65535), default=8099, show_default=True, help="0 takes a free one.")
@click.option("--host", default="127.0.0.1", show_default=True)
@click.option("--seed", type=int, help="Chance is the same for the same seed.")
@click.option("--scenario", type=click.Path(dir_okay=False), metavar="FILE.toml", help="Settings and faults to play.")
@click.option("--rpm", type=click.IntRange(min=1), help="Requests per minute of each model.")
@click.option("--tpm", type=click.IntRange(min=1), help="Tokens per minute of each model (Anthropic: input tokens).")
@click.option("--latency", type=Number(least=0, most=LATENCY_MAX_S), metavar="SECONDS",
              help="Median time to the first token.")  # fmt: skip
@click.option("--speed", type=Number(least=0, most=SPEED_MAX), metavar="TOKENS/S",
              help="Median speed of output; 0 for no delay.")  # fmt: skip
@click.option("--log", "log", is_flag=True, help="Print a line for each request.")
def command(host: str, port: int, log: bool, **options: Any) -> None:
    """Run the provider simulator until Ctrl-C.

    It speaks the protocols of OpenAI, Anthropic, Cohere and Gemini; any key will do. Its report is at /__sim__/.

    \b
    penstock sim --rpm 600 --latency 0.5
    penstock sim --scenario faults.toml --seed 7 --log
    """  # noqa: D301 - click wants the backspace itself
    config = _config(options)
    try:
        asyncio.run(_serve(config, host, port, log=log))
    except (OSError, UnicodeError) as error:
        if isinstance(error, OSError) and is_of_stdout(error):
            raise
        raise ConfigError(_deaf(host, port, error)) from error


def _deaf(host: str, port: int, error: OSError | UnicodeError) -> str:
    """Say why nobody can be heard there, and which of the two options is to blame."""
    why = (error.strerror if isinstance(error, OSError) else None) or str(error)
    if isinstance(error, socket.gaierror | UnicodeError) or error.errno == errno.EADDRNOTAVAIL:
        return f"--host {host!r} is no address of this machine ({why}); 127.0.0.1 is, and 0.0.0.0 stands for all"
    return f"cannot listen on {host}:{port}: {why}; choose another --port"


def _config(options: dict[str, Any]) -> SimConfig:
    from ..sim import Latency, Limits, ScenarioError, SimConfig, read_config

    try:
        config = read_config(options["scenario"]) if options["scenario"] else SimConfig()
    except ScenarioError as error:
        raise ConfigError(str(error)) from error
    changes: dict[str, Any] = {}
    if options["seed"] is not None:
        changes["seed"] = options["seed"]
    rpm, tpm = options["rpm"], options["tpm"]
    if rpm or tpm:
        changes["limits"] = {"openai": Limits(rpm=rpm, tpm=tpm), "anthropic": Limits(rpm=rpm, itpm=tpm)}
    if options["latency"] is not None or options["speed"] is not None:
        latency = options["latency"] if options["latency"] is not None else config.latency.first_token_s
        speed = options["speed"] if options["speed"] is not None else config.latency.tokens_per_s
        changes["latency"] = Latency(first_token_s=latency, first_token_sigma=0.3, tokens_per_s=speed, speed_sigma=0.2)
    return msgspec.structs.replace(config, **changes)


async def _serve(config: SimConfig, host: str, port: int, *, log: bool) -> None:
    stop = asyncio.Event()
    with on_stop(stop.set):
        await _until(stop, config, host, port, log=log)


async def _until(stop: asyncio.Event, config: SimConfig, host: str, port: int, *, log: bool) -> None:
    from ..sim import SimServer

    async with SimServer(config, host=host, port=port) as server:
        note(f"simulator on {server.url} (report: {server.url}/__sim__/, Ctrl-C ends it). To use it, paste:", dim=True)
        click.echo(f"export OPENAI_BASE_URL={server.url}/v1 OPENAI_API_KEY=sim")
        click.echo(f"export ANTHROPIC_BASE_URL={server.url} ANTHROPIC_API_KEY=sim")
        shown = asyncio.create_task(_log(server)) if log else None
        await stop.wait()
        if shown is not None:
            shown.cancel()
        bill = server.bill()
    note(f"{count(bill['attempts'], 'request')}, billed {exact_usd(bill['total_nano'])}", dim=True)


async def _log(server: SimServer) -> None:
    """Print finished requests as they come."""
    last = 0
    while True:
        for attempt in list(server.simulator.bill.attempts):
            if attempt.no > last:
                last = max(last, attempt.no)
                took_s = attempt.ended - attempt.arrived
                tokens = f"{attempt.input_tokens:>6} + {attempt.output_tokens:<5}"
                ended = f"{attempt.no:>5} {attempt.status or '---'} {attempt.model:<24} {took_s:7.3f} s"
                note(f"{ended} {tokens} {attempt.fault}")
        await asyncio.sleep(SHOWN_EVERY_S)
