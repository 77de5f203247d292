"""What every test gets: an environment with no keys and no settings of the developer; and a simulator, if it asks."""

from __future__ import annotations

import gc
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import settings

if TYPE_CHECKING:
    from penstock.sim import SimServer

settings.register_profile("penstock", deadline=None)  # how long an example takes is the machine's affair
settings.load_profile("penstock")

gc.set_threshold(50_000)  # as a command does: looking for cycles after every 700 objects is a twentieth of a run

AUTHORITY = Path(__file__).parent / "authority.pem"
"""The only authority that is trusted, and its key is gone. Reading the real ones costs each client of an SDK 30 ms."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Let a report say which guarantees its test proves: of other processes tools/prove.py sees nothing else."""
    for item in items:
        numbers = [number for mark in item.iter_markers("prove") for number in mark.args]
        if numbers:
            item.user_properties.append(("guarantees", numbers))


def pytest_collection_finish() -> None:
    """What was imported until now stays: nobody need look through it for garbage again."""
    gc.freeze()


@pytest.fixture(scope="session")
def own_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where Penstock keeps what it keeps for a user, in place of the developer's own."""
    return tmp_path_factory.mktemp("home")


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch, own_home: Path) -> None:
    """Remove keys, base URLs, proxies and trust, so that no test can reach a provider, and keep off the home."""
    for name in os.environ:
        if name.endswith(("_API_KEY", "_BASE_URL", "_AUTH_TOKEN", "_PROXY", "_proxy")) or name.startswith("PENSTOCK_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("PENSTOCK_HOME", str(own_home))
    monkeypatch.setenv("SSL_CERT_FILE", str(AUTHORITY))


@pytest.fixture(scope="module")
def server() -> Iterator[SimServer]:
    """A simulator for the tests of one file; a folder or file with other settings has its own."""
    from penstock.sim import SimServer

    with SimServer() as running:
        yield running


@pytest.fixture
def sim(server: SimServer) -> SimServer:
    """The simulator without faults, and with nothing on its bill yet."""
    server.play("")
    server.reset()
    return server
