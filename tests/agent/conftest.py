"""One simulator for the tests of agents."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from penstock.sim import SimServer


@pytest.fixture(scope="session")
def sim() -> Iterator[SimServer]:
    """A simulator; each test plays its own script on it."""
    with SimServer() as running:
        yield running
