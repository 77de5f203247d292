"""A real Prometheus that scrapes a port of this machine, and is asked through its own interface."""

from __future__ import annotations

import contextlib
import json
import shutil
import socket
import subprocess
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

CONTRIB = Path(__file__).parent.parent.parent / "contrib"
WAIT_S = 30.0
SCRAPE_S = 0.25

needs_prometheus = pytest.mark.skipif(
    shutil.which("prometheus") is None or shutil.which("promtool") is None,
    reason="needs a real Prometheus: apt-get install prometheus",
)


class Prometheus:
    """One that is running."""

    def __init__(self, url: str) -> None:
        self.url = url

    def ask(self, path: str, **parameters: str) -> Any:
        """Ask its HTTP interface; the `data` of the answer."""
        query = urllib.parse.urlencode(parameters)
        with urllib.request.urlopen(f"{self.url}/api/v1/{path}?{query}") as answer:
            found = json.load(answer)
        assert found["status"] == "success", found
        return found["data"]

    def wait_until_ready(self) -> None:
        """It listens before its storage is open, and answers every question with 503 till then."""
        end = time.monotonic() + WAIT_S
        while time.monotonic() < end:
            with contextlib.suppress(OSError), urllib.request.urlopen(f"{self.url}/-/ready"):
                return
            time.sleep(SCRAPE_S / 5)
        raise AssertionError(f"{self.url} was not ready in {WAIT_S:.0f} s")

    def query(self, expression: str) -> list[Any]:
        """What an expression gives now."""
        try:
            found: list[Any] = self.ask("query", query=expression)["result"]
        except urllib.error.HTTPError as error:
            raise AssertionError(f"{expression}\n{error.read().decode()}") from None
        return found

    def until(self, expression: str) -> list[Any]:
        """Ask again until an expression gives something."""
        end = time.monotonic() + WAIT_S
        while time.monotonic() < end:
            if found := self.query(expression):
                return found
            time.sleep(SCRAPE_S / 2)
        raise AssertionError(f"nothing came of {expression} in {WAIT_S:.0f} s")


@contextlib.contextmanager
def scraping(port: int, folder: Path) -> Iterator[Prometheus]:
    """Start one with the rules of contrib/, scraping that port four times a second."""
    shutil.copy(CONTRIB / "prometheus" / "alerts.yml", folder)
    text = (CONTRIB / "prometheus" / "prometheus.yml").read_text(encoding="utf-8")
    assert "localhost:9464" in text
    text = text.replace("localhost:9464", f"127.0.0.1:{port}").replace("15s", f"{SCRAPE_S * 1000:.0f}ms")
    (folder / "prometheus.yml").write_text(text, encoding="utf-8")
    with socket.create_server(("127.0.0.1", 0)) as free:
        own = free.getsockname()[1]
    with (folder / "log").open("wb") as log:
        child = subprocess.Popen(
            [
                "prometheus",
                f"--config.file={folder / 'prometheus.yml'}",
                f"--storage.tsdb.path={folder / 'data'}",
                f"--web.listen-address=127.0.0.1:{own}",
                "--log.level=warn",
            ],
            stdout=log,
            stderr=subprocess.STDOUT,
        )
    try:
        prometheus = Prometheus(f"http://127.0.0.1:{own}")
        prometheus.wait_until_ready()
        yield prometheus
    finally:
        child.terminate()
        child.wait(WAIT_S)
