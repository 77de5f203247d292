"""The provider of a turn: a simulator in a process of its own, and what it saw."""

import json
import time
import urllib.request
from pathlib import Path
from typing import Any, Final

import msgspec
from bench.processes import START_S, VENV, Process

from penstock.sim import SimConfig

ASK_S: Final = 30.0
SETTLE_S: Final = 20.0
POLL_S: Final = 0.05


class Provider(Process):
    """`penstock sim` with a configuration; `url` is where it listens."""

    def __init__(self, config: SimConfig, folder: Path) -> None:
        path = folder / "provider.json"
        path.write_bytes(msgspec.json.encode(config))
        super().__init__(VENV, "penstock", "sim", "--port", "0", "--scenario", str(path))
        said = self.line(START_S)
        self.url = next(word for word in said.replace("=", " ").split() if word.startswith("http")).removesuffix("/v1")

    def page(self, name: str) -> bytes:
        """One of its own pages."""
        with urllib.request.urlopen(f"{self.url}/__sim__/{name}", timeout=ASK_S) as reply:
            found: bytes = reply.read()
        return found

    def billed(self) -> int:
        """How many answers it has billed so far."""
        models = json.loads(self.page("bill"))["by_model"]
        return sum(row["billed"] for row in models.values())

    def settle(self) -> None:
        """Wait until no exchange is under way."""
        until = time.monotonic() + SETTLE_S
        while json.loads(self.page("bill"))["open"] and time.monotonic() < until:
            time.sleep(POLL_S)

    def log(self) -> list[dict[str, Any]]:
        """Every attempt, in the order of arrival."""
        rows = [json.loads(line) for line in self.page("log").splitlines()]
        return sorted(rows, key=lambda row: row["arrived"])

    def charged(self) -> dict[str, int]:
        """What its limits have counted, by dimension, over all lanes."""
        totals: dict[str, int] = {}
        for lane in json.loads(self.page("limits"))["lanes"].values():
            for name, amount in lane["total"].items():
                totals[name] = totals.get(name, 0) + amount
        return totals
