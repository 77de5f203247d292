"""Rows and waits of the tests of the simulator's batch interfaces."""

import json
import time
from collections.abc import Callable
from typing import Any, TypeVar

T = TypeVar("T")

MODEL = "gpt-4o-mini"


def line(name: str, text: str = "Error or not?", **body: Any) -> bytes:
    """A line of a batch file as OpenAI has it."""
    made = {"model": MODEL, "messages": [{"role": "user", "content": text}], "max_tokens": 9, **body}
    return json.dumps({"custom_id": name, "method": "POST", "url": "/v1/chat/completions", "body": made}).encode()


def lines(count: int) -> bytes:
    """So many of them."""
    return b"\n".join(line(f"r{number}", f"Error or not? case {number}") for number in range(count))


def read(data: bytes) -> dict[str, dict[str, Any]]:
    """The lines of a result file by their id."""
    found = [json.loads(row) for row in data.splitlines()]
    assert len({row["custom_id"] for row in found}) == len(found)
    return {row["custom_id"]: row for row in found}


def until(look: Callable[[], T], good: Callable[[T], bool]) -> T:
    """Look again and again, up to thirty seconds, until what is seen is good."""
    end = time.monotonic() + 30.0
    while not good(seen := look()):
        assert time.monotonic() < end, seen
        time.sleep(0.01)
    return seen
