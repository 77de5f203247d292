"""A ledger of some days, written once for all tests of the page."""

from __future__ import annotations

import shutil
import time
from pathlib import Path

import pytest
from tools.seeded_ledger import seed


@pytest.fixture(scope="session")
def seeded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A ledger of two days, until now; nobody may write it."""
    path = tmp_path_factory.mktemp("seeded") / "ledger.db"
    seed(path, now_s=time.time(), days=2, per_day=60)
    return path


@pytest.fixture
def ledger(seeded: Path, tmp_path: Path) -> Path:
    """A copy of it, to write into."""
    path = tmp_path / "ledger.db"
    shutil.copy(seeded, path)
    return path
