"""What starting costs: CPU of fresh processes, each case once per round, an empty interpreter beside them."""

import os
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from bench.processes import PEERS_VENV, ROOT, VENV, Failed, environment

EMPTY: Final = ("-c", "pass")


@dataclass(frozen=True)
class Case:
    """A program to start."""

    name: str
    python: Path
    arguments: tuple[str, ...]


CASES: Final = (
    Case("empty", VENV, EMPTY),
    Case("import_penstock", VENV, ("-c", "import penstock")),
    Case(
        "penstock_client",
        VENV,
        ("-c", "from penstock import Client; Client(keys={'openai': 'x'}, config=False).close()"),
    ),
    Case("import_openai", VENV, ("-c", "import openai")),
    Case("openai_client", VENV, ("-c", "import openai; openai.OpenAI(api_key='x').close()")),
    Case("import_anthropic", VENV, ("-c", "import anthropic")),
    Case("help_penstock", VENV, (str(VENV.parent / "penstock"), "--help")),
    Case("help_click", VENV, (str(ROOT / "bench" / "empty_click.py"), "--help")),
    Case("empty_apart", PEERS_VENV, EMPTY),
    Case("import_any_llm", PEERS_VENV, ("-c", "import any_llm")),
    Case("import_litellm", PEERS_VENV, ("-c", "import litellm")),
)


class Starts:
    """CPU milliseconds of each case by round."""

    def __init__(self) -> None:
        self.taken: dict[str, list[float]] = {}
        self.out: dict[str, str] = {}

    def cost_ms(self, name: str) -> list[float]:
        """What a case costs in all, by round."""
        return self.taken.get(name, [])

    def over_empty_ms(self, name: str) -> list[float]:
        """What a case costs beyond an empty interpreter of the same environment in the same round."""
        python = next(case.python for case in CASES if case.name == name)
        empty = self.cost_ms("empty" if python == VENV else "empty_apart")
        return [max(all_of_it - start, 0.0) for all_of_it, start in zip(self.cost_ms(name), empty, strict=False)]


def play(rounds: int, progress: Callable[[str], None]) -> Starts:
    """Start every case once per round; one round before them warms the disk and the compiled files."""
    starts = Starts()
    for number in range(-1, rounds):
        for case in CASES:
            if case.name in starts.out:
                continue
            progress(f"start {number + 1} of {rounds}: {case.name}")
            try:
                cost = start_ms(case)
            except Failed as failure:
                starts.out[case.name] = str(failure)
                continue
            if number >= 0:
                starts.taken.setdefault(case.name, []).append(cost)
    return starts


def start_ms(case: Case) -> float:
    """User and system time of one process, in milliseconds.

    Raises: Failed.
    """
    if not case.python.exists():
        raise Failed(f"{case.python.relative_to(ROOT)} does not exist")
    child = subprocess.Popen(
        [case.python, *case.arguments],
        cwd=ROOT,
        env=environment(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )
    try:
        assert child.stderr is not None
        words = child.stderr.read().decode(errors="replace").strip().splitlines()
        _, status, usage = os.wait4(child.pid, 0)
        child.returncode = os.waitstatus_to_exitcode(status)
    except BaseException:
        child.kill()
        child.wait()
        raise
    finally:
        if child.stderr is not None:
            child.stderr.close()
    if child.returncode:
        raise Failed(words[-1][:200] if words else f"exit code {child.returncode}")
    return (usage.ru_utime + usage.ru_stime) * 1000
