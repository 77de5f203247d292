"""Planted faults, and whether a world notices each of them: a checker that cannot fail proves nothing.

`python -m tests.world.mutants` plants all of mutants.toml, each in a copy of the package of its own.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Final, NamedTuple

ROOT: Final = Path(__file__).parent.parent.parent
PACKAGE: Final = ROOT / "src" / "penstock"
TABLE: Final = Path(__file__).with_name("mutants.toml")
PROCESSES: Final = 2
PATIENCE_S: Final = 120


class Mutant(NamedTuple):
    """One replacement in one file, and the scenarios that ought to notice."""

    name: str
    file: str
    old: str
    new: str
    scenarios: tuple[str, ...]

    def planted(self) -> str:
        """The file with the fault in it.

        Raises: ValueError when the place for it is not there, or not the only one.
        """
        source = (PACKAGE / self.file).read_text(encoding="utf-8")
        if source.count(self.old) != 1:
            times = source.count(self.old)
            raise ValueError(f"mutant {self.name!r}: {self.old!r} stands {times} times in {self.file}, not once")
        return source.replace(self.old, self.new)


def table() -> list[Mutant]:
    """All that are known."""
    rows = tomllib.loads(TABLE.read_text(encoding="utf-8"))["mutant"]
    return [Mutant(row["name"], row["file"], row["old"], row["new"], tuple(row["scenarios"])) for row in rows]


def killer(mutant: Mutant, clean: Path) -> str | None:
    """Plant a mutant in a copy of the clean package and play worlds; return the first complaint, None for none."""
    with tempfile.TemporaryDirectory() as folder:
        shutil.copytree(clean, folder, dirs_exist_ok=True)
        (Path(folder) / "penstock" / mutant.file).write_text(mutant.planted(), encoding="utf-8")
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join((folder, str(ROOT)))}
        command = [sys.executable, "-m", "tests.world.attack", *mutant.scenarios]
        try:
            done = subprocess.run(
                command, env=environment, cwd=ROOT, capture_output=True, text=True, timeout=PATIENCE_S, check=False
            )
        except subprocess.TimeoutExpired:
            return "it hangs"
    if done.returncode == 0:
        return None
    return (done.stdout or done.stderr).strip().splitlines()[-1]


def run(mutants: Iterable[Mutant]) -> dict[str, str | None]:
    """Plant mutants, a few at a time; return what each was killed by.

    Raises: ValueError when one of them fits nowhere.
    """
    chosen = list(mutants)
    for mutant in chosen:
        mutant.planted()
    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(PROCESSES) as pool:
        shutil.copytree(PACKAGE, Path(folder) / "penstock", ignore=shutil.ignore_patterns("__pycache__"))
        killers = pool.map(partial(killer, clean=Path(folder)), chosen)
        return {mutant.name: found for mutant, found in zip(chosen, killers, strict=True)}


def figures(killers: dict[str, str | None]) -> dict[str, object]:
    """The counts by the names under which they are published."""
    survivors = list(killers.values()).count(None)
    return {"mutants.planted": len(killers), "mutants.killed": len(killers) - survivors}


def main() -> int:
    """Exit with 1 when a mutant survives."""
    parser = argparse.ArgumentParser(prog="python -m tests.world.mutants", description=__doc__)
    parser.add_argument("names", nargs="*", help="plant only these")
    parser.add_argument("--json", type=Path, help="write the figures into this file")
    options = parser.parse_args()
    killers = run(mutant for mutant in table() if not options.names or mutant.name in options.names)
    for name, found in killers.items():
        print(f"{'killed  ' if found else 'SURVIVES'}  {name}: {found or 'no world notices'}"[:160])
    for name, value in figures(killers).items():
        print(f"{name} = {value}")
    if options.json is not None:
        options.json.write_text(json.dumps(figures(killers)), encoding="utf-8")
    return int(None in killers.values())


if __name__ == "__main__":
    sys.exit(main())
