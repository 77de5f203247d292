"""`penstock batch run`, the command itself; the patience of an attempt is a setting."""

import os
import sys
from pathlib import Path

from bench.bulk.given import ANTHROPIC_MODEL, KEY, OPENAI_MODEL, Given

from penstock.cli import main


def play(folder: Path) -> None:
    given = Given.read(folder)
    os.environ |= {"OPENAI_BASE_URL": f"{given.url}/v1", "OPENAI_API_KEY": KEY}
    os.environ |= {"ANTHROPIC_BASE_URL": given.url, "ANTHROPIC_API_KEY": KEY}
    os.chdir(folder)
    Path("penstock.toml").write_text(settings(given), encoding="utf-8")
    model = f"anthropic:{ANTHROPIC_MODEL}" if given.anthropic else f"openai:{OPENAI_MODEL}"
    options = ["--max-tokens", str(given.max_tokens), "--concurrency", str(given.concurrency), "-q"]
    sys.argv = ["penstock", "batch", "run", "rows.jsonl", "-o", "penstock.jsonl", "-m", model, *options]
    main()


def settings(given: Given) -> str:
    """Timeouts, and the limits where they are told: input and output tokens have no option of the command."""
    lines = [f"[timeouts]\ntotal_s = {given.timeout_s}"]
    told = {name: getattr(given, name) for name in ("rpm", "tpm", "itpm", "otpm") if getattr(given, name)}
    if told:
        lines += ["[limits.anthropic]" if given.anthropic else "[limits.openai]"]
        lines += [f"{name} = {value}" for name, value in told.items()]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    play(Path(sys.argv[1]))
