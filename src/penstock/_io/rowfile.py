"""A file of rows: JSON lines, CSV or Parquet, read lazily and as often as it is iterated."""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import os
import stat
from collections.abc import Callable, Iterator, Sequence
from io import BufferedReader
from pathlib import Path
from typing import Any, BinaryIO, Final, Literal, NamedTuple, get_args

import msgspec

from ..errors import ConfigError, InputError
from .index import Index
from .recipe import Recipe
from .records import Bad, Format, Record, Unreadable, format_of, read_records, typed
from .rows import Row, id_digest
from .sidecar import BLOCK_BYTES

OnBadRow = Literal["stop", "skip"]

PROBLEMS_SHOWN: Final = 10
_ONE_EACH: Final = "a header and at least one row below it"
_NEEDS: Final = {"jsonl": "one JSON object per line", "csv": _ONE_EACH, "tsv": _ONE_EACH, "parquet": "at least one"}


class Checked(msgspec.Struct, frozen=True, kw_only=True):
    """What a pass over the rows found: how many there are, and which lines are bad and why (the first few)."""

    rows: int
    bad: int
    problems: tuple[str, ...]

    @property
    def summary(self) -> str:
        """The problems in words, the first few with their lines."""
        more = f"\n  … and {self.bad - len(self.problems)} more" if self.bad > len(self.problems) else ""
        return f"{self.bad} bad row{'s' if self.bad != 1 else ''}:\n  " + "\n  ".join(self.problems) + more


class Content(NamedTuple):
    """The beginning of a file: its bytes, the line ends in them, their SHA-256, and whether the last is a line end."""

    size: int
    lines: int
    digest: str
    ends: bool


BEGINNING: Final = Content(0, 0, "", True)
Note = Callable[[int, object], None]


class RowFile:
    """The rows of a file, as often as you iterate it; `check` first, it finds every bad row before any is paid.

    A row is `{"prompt": …}` or `{"messages": […]}` with optional `id` and options of a call, such as `max_tokens` or
    `tier`, beside them or in an object `params`, or it is a line of an OpenAI batch file. With a `template` its fields
    are columns, and options stand in `params` only. Other fields are the user's own, unless they look like a misspelt
    option. A row without an id has its line number as id. Blank lines are skipped.

    Args:
        path: the file; it is read once per iteration and never held in memory.
        template: the prompt, with columns in braces.
        system: the system message, with columns in braces.
        limit: use only the first so many rows.
        on_bad_row: 'stop' refuses the file in `check`; 'skip' makes bad rows fail alone and drops repeated ids.
        form: 'jsonl', 'csv', 'tsv' or 'parquet'; None: what the end of its name says.
        name: what to call it in sentences; None: its path.
    """

    def __init__(
        self,
        path: str | Path,
        *,
        template: str | None = None,
        system: str | None = None,
        limit: int | None = None,
        on_bad_row: OnBadRow = "stop",
        form: Format | None = None,
        name: str | None = None,
    ) -> None:
        if form is not None and form not in get_args(Format):
            raise ConfigError(f"form is {form!r}; expected one of {', '.join(get_args(Format))}")
        self.path = Path(path)
        self.name = name or str(self.path)
        self.form = form or format_of(self.name)
        self.limit = limit
        self.on_bad_row = on_bad_row
        self._recipe = Recipe(template, system)
        self._repeated: set[int] = set()
        self._seen: tuple[int, ...] | None = None
        self._sound = False
        self.size = 0

    def check(self, verify: Callable[[Row], object] | None = None, note: Note | None = None) -> Checked:
        """Read all rows once. `verify` is asked about each good one and raises for what makes it bad all the same.

        `note` is told the digest of the id of each row, and what `verify` returned, None for a bad one.

        Raises: InputError listing the bad lines unless they are to be skipped, or when there is no row at all.
        """
        seen = Index()
        rows = bad = 0
        problems: list[str] = []
        self._repeated.clear()
        self._sound = False
        for row in self._rows(first=True):
            problem = row.problem
            digest = id_digest(row.id)
            if before := seen.note(digest, row.line):
                problem = f"repeats the id {row.id!r} of line {before}"
                self._repeated.add(row.line)
            else:
                rows += 1
                found = None
                if problem is None and verify is not None:
                    problem, found = _said(verify, row)
                if note is not None:
                    note(digest, found)
            if problem is not None:
                bad += 1
                if len(problems) < PROBLEMS_SHOWN:
                    problems.append(f"line {row.line}: {problem}")
        checked = Checked(rows=rows, bad=bad, problems=tuple(problems))
        if bad and self.on_bad_row == "stop":
            raise InputError(
                f"{self.name} has {checked.summary}\nNothing was sent. Mend these lines, or use --on-bad-row skip."
            )
        if not rows:
            raise InputError(f"{self.name} has no rows; it needs {_NEEDS[self.form]}")
        self._sound = not bad
        return checked

    def check_on(self, known: Content, verify: Callable[[Row], object], note: Note) -> bool:
        """Trust what `content` has just read, and look at what comes after it, which only lines of JSON may have.

        False when something is wrong there, and `check` has to look at it all.
        """
        self._repeated.clear()
        self._sound = False
        if known.size < self.size:
            for row in self._rows(start=known):
                problem, found = (row.problem, None) if row.problem is not None else _said(verify, row)
                if problem is not None:
                    return False
                note(id_digest(row.id), found)
        self._sound = True
        return True

    def content(self, size: int | None = None) -> Content | None:
        """Read the first `size` bytes, or all for None; None when there are fewer. Call `check` or `check_on` after it.

        Raises: InputError when the file cannot be read, or changed since it was checked.
        """
        with self._opened() as file:
            if size is not None:
                self._seen = _mark(file)
            self.size = os.fstat(file.fileno()).st_size
            size = self.size if size is None else size
            if size > self.size:
                return None
            state, lines, last = hashlib.sha256(), 0, b""
            while block := file.read(min(size, BLOCK_BYTES)):
                state.update(block)
                lines += block.count(b"\n")
                size, last = size - len(block), block
            self._check_mark(file)
            return Content(file.tell(), lines, state.hexdigest(), last.endswith(b"\n"))

    @property
    def may_grow(self) -> bool:
        """Whether lines that are added later leave the rows before them what they are."""
        return self.form == "jsonl" and self.limit is None

    @property
    def identity(self) -> tuple[Any, ...]:
        """What beside the content of the file decides its rows."""
        recipe = self._recipe
        texts = [None if each is None else each.text for each in (recipe.template, recipe.system)]
        return (self.form, self.limit, self.on_bad_row, *texts)

    def __iter__(self) -> Iterator[Row]:
        return self.without(b"")

    def without(self, done: Sequence[int]) -> Iterator[Row]:
        """Iterate without the rows at whose places `done` is not 0; they are not even put together."""
        return self._rows(done=done)

    def _rows(self, *, first: bool = False, done: Sequence[int] = b"", start: Content = BEGINNING) -> Iterator[Row]:
        make, text = self._recipe.row, self.form in ("csv", "tsv")
        at = -1
        passed = b"" if self._repeated else done  # whose places are those of the lines only where none repeats another
        for number, fields in itertools.islice(self._records(first=first, done=passed, start=start), self.limit):
            if number in self._repeated:
                continue
            at += 1
            if fields is None or (at < len(done) and done[at]):
                continue
            record = self._typed(fields) if text and not isinstance(fields, Bad) else fields
            yield make(number, record, sound=self._sound)

    def _typed(self, fields: dict[str, Any]) -> dict[str, Any]:
        return typed(fields, columns=self._recipe.template is not None)

    def _records(self, *, first: bool, done: Sequence[int], start: Content) -> Iterator[Record]:
        """Yield what the file holds.

        Raises: InputError when the file cannot be read, or is not any more what `check` has seen.
        """
        try:
            with self._opened(again=not first) as file:
                if first:
                    self._seen = _mark(file)
                file.seek(start.size)
                yield from read_records(file, self.form, lambda: self._check_mark(file), done, start.lines)
        except Unreadable as error:
            raise InputError(f"{self.name} {error}") from error

    @contextlib.contextmanager
    def _opened(self, *, again: bool = False) -> Iterator[BufferedReader]:
        try:
            with self.path.open("rb") as file:
                if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                    raise InputError(f"{self.name} is no regular file, and rows are read more than once")
                yield file
        except OSError as error:
            more = " any more" if self._seen is not None and again else ""
            raise InputError(f"cannot read {self.name}{more}: {error.strerror or error}") from error

    def _check_mark(self, file: BinaryIO) -> None:
        if self._seen is not None and _mark(file) != self._seen:
            raise InputError(f"{self.name} was changed while it was in use; its rows are not those that were checked")


def _mark(file: BinaryIO) -> tuple[int, ...]:
    """What changes when somebody writes a file or puts another one in its place."""
    seen = os.fstat(file.fileno())
    return (seen.st_dev, seen.st_ino, seen.st_size, seen.st_mtime_ns)


def _said(verify: Callable[[Row], object], row: Row) -> tuple[str | None, object]:
    try:
        return None, verify(row)
    except (InputError, ConfigError) as error:
        return error.message, None
