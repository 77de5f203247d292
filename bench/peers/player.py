"""One contestant in one scenario: `python -m bench.peers.player CONTESTANT ABILITY LOAD`.

Reads what is given from one line of standard input, answers with one line of facts and waits to be ended, so that
neither the threads nor the clients that a library leaves behind can hold the run up.
"""

import asyncio
import json
import os
import sys
from importlib import import_module, metadata
from typing import Any

from bench.peers import admission, loads
from bench.peers.given import Given


async def play(contestant: Any, ability: str, load: str, given: Given) -> loads.Facts:
    """Put one ability of a contestant under one load."""
    make = getattr(contestant, ability)
    if load == "admission":
        return admission.of_penstock(make) if ability == "limiter" else await admission.of_peer(make)
    facts: loads.Facts = await getattr(loads, load)(make(given), given)
    return facts


async def serve(name: str, ability: str, load: str) -> None:
    """Play once, answer, and wait for the end."""
    answers_to = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    contestant = import_module(f"bench.peers.contestants.{name}_")
    print(json.dumps({"version": metadata.version(contestant.PACKAGE)}), file=answers_to)
    given = json.loads(sys.stdin.readline())
    print(json.dumps(await play(contestant, ability, load, Given(**given))), file=answers_to)
    sys.stdin.read()


if __name__ == "__main__":
    asyncio.run(serve(*sys.argv[1:]))
