"""A bulk run on a disk that fails: one fault at each write of its output in turn, then the same run again."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import json
from collections import Counter
from collections.abc import Callable
from itertools import repeat
from pathlib import Path
from typing import Any

import pytest

from penstock import AsyncClient
from penstock.batch import Row, run_batch
from penstock.testing import AsyncScriptedTransport

from ..flow.colours import KEYS, openai_reply
from ..io.test_journal_faults import MODULES, FaultyDisk, Killed

NAMES = tuple(f"row-{number}" for number in range(6))
MOST_WRITES = 200


class FullDisk(FaultyDisk):
    """A disk whose failure is that it is full."""

    def _faulty(self, name: str, real: Callable[..., Any]) -> Callable[..., Any]:
        attempt = super()._faulty(name, real)

        def full(*args: Any) -> Any:
            try:
                return attempt(*args)
            except OSError as error:
                if error.errno == errno.EIO:
                    raise OSError(errno.ENOSPC, "no space left on device") from None
                raise

        return full


def run(output: Path) -> Counter[str]:
    """Do the job as far as it goes; return how often each row was asked, and so paid."""
    transport = AsyncScriptedTransport(repeat(openai_reply()))

    async def job() -> None:
        async with AsyncClient(transport=transport, keys=KEYS, config=False, env={}) as client:
            rows = [Row(id=name, prompt=name) for name in NAMES]
            await run_batch(rows, str(output), client=client, models=["openai:gpt-4o-mini"], concurrency=2)

    try:
        asyncio.run(job())
    finally:
        asked = [json.loads(sent.body)["messages"][-1]["content"] for sent in transport.sent]
        paid = Counter(asked)
    return paid


def finished(output: Path) -> set[str]:
    """The rows whose answer stands whole in the file."""
    found = set()
    for line in output.read_bytes().splitlines(keepends=True) if output.exists() else ():
        with contextlib.suppress(ValueError):
            row = json.loads(line)
            found |= {row["id"]} if line.endswith(b"\n") and row["error"] is None else set()
    return found


@pytest.mark.slow
@pytest.mark.prove(21)
@pytest.mark.parametrize(
    ("disk", "kills", "part"),
    [(FullDisk, False, 0.0), (FullDisk, False, 0.5), (FaultyDisk, True, 0.0), (FaultyDisk, True, 0.5)],
    ids=["full", "torn", "killed-before", "killed-within"],
)
def test_a_fault_at_any_write_of_a_run_loses_no_row_and_pays_none_twice(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    record_property: Any,
    disk: type[FaultyDisk],
    kills: bool,
    part: float,
) -> None:
    """After the run that was hit, the same run asks what has no answer yet; then every id is there exactly once."""
    at, hit = 1, True
    while hit:
        output, faulty = tmp_path / f"out{at}.jsonl", disk(at, kills=kills, part=part)
        with monkeypatch.context() as patch:
            for module in MODULES:
                patch.setattr(module, "os", faulty)
            with contextlib.suppress(Killed, Exception):  # how it tells of the disk is told by other tests
                run(output)
            faulty.end()
        hit = faulty.writes >= at
        safe = finished(output)
        again = run(output)
        assert safe.isdisjoint(again)
        assert set(again.values()) <= {1}
        assert sorted(json.loads(line)["id"] for line in output.read_bytes().splitlines()) == sorted(NAMES)
        assert finished(output) == set(NAMES)
        at += 1
        assert at < MOST_WRITES
    assert at > len(NAMES)
    record_property("bulk_write_faults", at - 2)
