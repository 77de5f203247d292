"""What a contestant is given: a folder with rows.jsonl and given.json. Standard library only: every venv reads it."""

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

OPENAI_MODEL = "gpt-4o-mini"
ANTHROPIC_MODEL = "claude-haiku-4-5"
KEY = "sk-bench"
FAR_TOO_HIGH_RPM = 1_000_000
"""For tools that must have a limit, where a scenario does not tell it."""
FAR_TOO_HIGH_TPM = 1_000_000_000


@dataclass(frozen=True)
class Given:
    """`url` is the provider. `rpm`, `tpm`, `itpm`, `otpm` are its limits per minute, None where they are not told.

    At most `concurrency` calls at once, each with `max_tokens` and a patience of `timeout_s` for one attempt. With
    `anthropic` the provider is asked in Anthropic's protocol.
    """

    url: str
    concurrency: int
    max_tokens: int
    timeout_s: float
    rpm: int | None = None
    tpm: int | None = None
    itpm: int | None = None
    otpm: int | None = None
    anthropic: bool = False

    def write(self, folder: Path) -> None:
        """Put it where the contestant looks."""
        (folder / "given.json").write_text(json.dumps(asdict(self)), encoding="utf-8")

    @classmethod
    def read(cls, folder: Path) -> "Given":
        """The same in the contestant's process."""
        return cls(**json.loads((folder / "given.json").read_text(encoding="utf-8")))


def rows(folder: Path) -> Iterator[tuple[str, str]]:
    """The rows: id and prompt."""
    with (folder / "rows.jsonl").open(encoding="utf-8") as file:
        for line in file:
            row = json.loads(line)
            yield row["id"], row["prompt"]


def write_answers(folder: Path, answers: Iterator[tuple[str, str | None]]) -> None:
    """For tools that hand their results over in memory: what their user would write, None for a row that failed."""
    with (folder / "answers.jsonl").open("w", encoding="utf-8") as file:
        file.writelines(json.dumps({"id": row, "text": text}) + "\n" for row, text in answers)
