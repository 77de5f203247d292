"""Files and batches of a simulator: what was uploaded, how far each batch is by the clock, and what its rows cost.

A batch is looked at only when somebody asks: its rows are answered then, as many as would have been by that time.

    validating ─▶ in_progress ─▶ finalizing ─▶ completed
        └▶ failed      ├─ cancelling ─▶ cancelled
                       └─ expired
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import msgspec

from penstock.sim.batch_settings import BatchSettings
from penstock.sim.batchrows import Answered, Dialect
from penstock.sim.config import Protocol

State = Literal["validating", "failed", "in_progress", "finalizing", "completed", "expired", "cancelling", "cancelled"]
ENDED = frozenset({"failed", "completed", "expired", "cancelled"})
BYTES_PER_TOKEN = 4


@dataclass(slots=True, eq=False)
class StoredFile:
    """A file as it was uploaded, or as a batch left it."""

    ident: str
    credential: str
    name: str
    purpose: str
    created: float
    data: bytes = b""


@dataclass(frozen=True, slots=True)
class Problem:
    """What is wrong with a line of an input file, which fails its whole batch."""

    code: str
    message: str
    line: int | None = None
    param: str | None = None


@dataclass(frozen=True, slots=True)
class Line:
    """One row of a batch: its id, its body, and its bytes as they came."""

    custom_id: str
    body: Mapping[str, Any]
    data: bytes = b""


@dataclass(slots=True, eq=False)
class Batch:
    """One batch; `rows` are those answered so far, by their place in `lines`."""

    ident: str
    dialect: Dialect
    credential: str
    created: float
    endpoint: str
    lines: Sequence[Line]
    problems: Sequence[Problem] = ()
    input_files: tuple[str, ...] = ()
    window: str = "24h"
    window_s: float = 86_400.0
    metadata: Mapping[str, Any] | None = None
    model: str | None = None
    rows: list[Answered] = field(default_factory=list)
    state: State = "validating"
    ended: float | None = None
    cancelling: float | None = None
    output_file: str | None = None
    error_file: str | None = None

    @property
    def protocol(self) -> Protocol:
        """Whose bodies its rows have."""
        return "anthropic" if self.dialect == "anthropic" else "openai"

    @property
    def tokens(self) -> int:
        """Prompt tokens, roughly, as the queue counts them."""
        return sum(len(line.data) for line in self.lines) // BYTES_PER_TOKEN

    @property
    def succeeded(self) -> int:
        """Rows with an answer."""
        return sum(row.status == 200 for row in self.rows)


class BatchStore:
    """All files and batches; `answer` answers one row and bills it, `close` writes the files of a batch that ended."""

    def __init__(
        self,
        settings: BatchSettings,
        answer: Callable[[Batch, Line, float], Answered],
        close: Callable[[Batch], None],
    ) -> None:
        self.settings = settings
        self.files: dict[str, StoredFile] = {}
        self.batches: dict[str, Batch] = {}
        self._answer = answer
        self._close = close

    def advance(self, now: float) -> None:
        """Bring every batch to where it is by now."""
        for batch in self.batches.values():
            if batch.state not in ENDED:
                self._advance(batch, now)

    def _advance(self, batch: Batch, now: float) -> None:
        settings = self.settings
        started = batch.created + settings.validate_s
        expires = batch.created + min(batch.window_s, settings.expire_s)
        if batch.cancelling is not None and batch.cancelling < started:
            started = batch.cancelling  # it never began
        if now < started and batch.cancelling is None:
            return
        if batch.problems and batch.cancelling is None:
            self._end(batch, "failed", started)
            return
        until = min(now, expires, now if batch.cancelling is None else batch.cancelling)
        done = min(len(batch.lines), max(0, int((until - started) * settings.rows_per_s)))
        for line in batch.lines[len(batch.rows) : done]:
            batch.rows.append(self._answer(batch, line, until))
        batch.state = "in_progress"
        all_done = started + len(batch.lines) / settings.rows_per_s
        if batch.cancelling is not None:
            batch.state = "cancelling"
            if now >= batch.cancelling + settings.cancel_s:
                self._end(batch, "cancelled", batch.cancelling + settings.cancel_s)
        elif len(batch.rows) == len(batch.lines):
            batch.state = "finalizing"
            if now >= all_done + settings.finalize_s:
                self._end(batch, "completed", all_done + settings.finalize_s)
        elif now >= expires:
            self._end(batch, "expired", expires)

    def _end(self, batch: Batch, state: State, when: float) -> None:
        batch.state, batch.ended = state, when
        self._close(batch)

    def queued(self, credential: str, model: str) -> tuple[int, int]:
        """Rows and prompt tokens of unfinished batches of a model."""
        open_ones = [
            batch
            for batch in self.batches.values()
            if batch.credential == credential and batch.model == model and batch.state not in ENDED
        ]
        return sum(len(batch.lines) for batch in open_ones), sum(batch.tokens for batch in open_ones)

    def listed(self, credential: str, dialect: Dialect, now: float) -> list[Batch]:
        """The batches that a list shows, the newest first."""
        return [
            batch
            for batch in reversed(self.batches.values())
            if batch.credential == credential
            and batch.dialect == dialect
            and now >= batch.created + self.settings.listed_after_s
        ]


def read_lines(data: bytes, endpoint: str, *, bare: bool) -> tuple[list[Line], list[Problem]]:
    """Read an input file as validation does; `bare` lines need neither method nor url (Mistral, Together).

    One line that is wrong is one problem, and one problem is enough.
    """
    lines: list[Line] = []
    problems: list[Problem] = []
    seen: set[str] = set()
    models: set[object] = set()
    for number, raw in enumerate(data.splitlines(), 1):
        try:
            found = msgspec.json.decode(raw)
        except (msgspec.DecodeError, UnicodeDecodeError):
            problems.append(Problem("invalid_json_line", "This line is not parseable as valid JSON.", number))
            continue
        problem = _wrong(found, endpoint, seen, models, bare=bare)
        if problem is not None:
            problems.append(Problem(problem.code, problem.message, number, problem.param))
            continue
        lines.append(Line(found["custom_id"], found["body"], raw))
    if not data.strip():
        problems.append(Problem("empty_file", "The input file is empty."))
    return lines, problems


def _wrong(found: Any, endpoint: str, seen: set[str], models: set[object], *, bare: bool) -> Problem | None:
    if not isinstance(found, dict):
        return Problem("invalid_json_line", "This line is not a JSON object.")
    name = found.get("custom_id")
    if not isinstance(name, str) or not name:
        return Problem("missing_required_parameter", "Missing required parameter: 'custom_id'.", param="custom_id")
    if name in seen:
        return Problem("duplicate_custom_id", f"The custom_id {name!r} was used before.", param="custom_id")
    seen.add(name)
    if not bare and found.get("method") != "POST":
        return Problem("invalid_method", "Only POST is supported.", param="method")
    if not bare and found.get("url") != endpoint:
        return Problem("invalid_url", f"The URL does not match the batch's endpoint {endpoint}.", param="url")
    body = found.get("body")
    if not isinstance(body, dict):
        return Problem("missing_required_parameter", "Missing required parameter: 'body'.", param="body")
    for key in ("messages",) if bare else ("model", "messages"):  # Mistral's model stands at the job
        if not body.get(key):
            return Problem("missing_required_parameter", f"Missing required parameter: '{key}'.", param=f"body.{key}")
    if body.get("stream"):
        return Problem("invalid_value", "Streaming is not supported in a batch.", param="body.stream")
    models.add(body.get("model"))
    if len(models) > 1:
        return Problem("mismatched_model", "All requests of a batch must be for one model.", param="body.model")
    return None
