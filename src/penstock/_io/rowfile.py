"""A file of rows: JSON lines, CSV or Parquet, read lazily and as often as it is iterated."""

from __future__ import annotations

import itertools
import os
import stat
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO, Final, Literal, get_args

import msgspec

from ..errors import ConfigError, InputError
from .index import Index
from .recipe import Recipe
from .records import Bad, Format, Record, Unreadable, format_of, read_records, typed
from .rows import Row, id_digest

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

    def check(self, verify: Callable[[Row], object] | None = None) -> Checked:
        """Read all rows once. `verify` is asked about each good one and raises for what makes it bad all the same.

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
            if seen.find(digest) is not None:
                problem = f"repeats the id {row.id!r}"
                self._repeated.add(row.line)
            else:
                seen.put(digest, 0, 0)
                rows += 1
                if problem is None and verify is not None:
                    problem = _said(verify, row)
            if problem is not None:
                bad += 1
                if len(problems) < PROBLEMS_SHOWN:
                    problems.append(f"line {row.line}: {problem}")
        found = Checked(rows=rows, bad=bad, problems=tuple(problems))
        if bad and self.on_bad_row == "stop":
            raise InputError(
                f"{self.name} has {found.summary}\nNothing was sent. Mend these lines, or use --on-bad-row skip."
            )
        if not rows:
            raise InputError(f"{self.name} has no rows; it needs {_NEEDS[self.form]}")
        self._sound = not bad
        return found

    def __iter__(self) -> Iterator[Row]:
        return self.without(b"")

    def without(self, done: Sequence[int]) -> Iterator[Row]:
        """Iterate without the rows at whose places `done` is not 0; they are not even put together."""
        return self._rows(done=done)

    def _rows(self, *, first: bool = False, done: Sequence[int] = b"") -> Iterator[Row]:
        make, text = self._recipe.row, self.form in ("csv", "tsv")
        at = -1
        for number, fields in itertools.islice(self._records(first=first), self.limit):
            if number in self._repeated:
                continue
            at += 1
            if at < len(done) and done[at]:
                continue
            record = self._typed(fields) if text and not isinstance(fields, Bad) else fields
            yield make(number, record, sound=self._sound)

    def _typed(self, fields: dict[str, Any]) -> dict[str, Any]:
        return typed(fields, columns=self._recipe.template is not None)

    def _records(self, *, first: bool) -> Iterator[Record]:
        """Yield what the file holds.

        Raises: InputError when the file cannot be read, or is not any more what `check` has seen.
        """
        try:
            with self.path.open("rb") as file:
                if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                    raise InputError(f"{self.name} is no regular file, and rows are read more than once")
                if first:
                    self._seen = _mark(file)
                yield from read_records(file, self.form, lambda: self._check_mark(file))
        except Unreadable as error:
            raise InputError(f"{self.name} {error}") from error
        except OSError as error:
            again = " any more" if self._seen is not None and not first else ""
            raise InputError(f"cannot read {self.name}{again}: {error.strerror or error}") from error

    def _check_mark(self, file: BinaryIO) -> None:
        if self._seen is not None and _mark(file) != self._seen:
            raise InputError(f"{self.name} was changed while it was in use; its rows are not those that were checked")


def _mark(file: BinaryIO) -> tuple[int, ...]:
    """What changes when somebody writes a file or puts another one in its place."""
    seen = os.fstat(file.fileno())
    return (seen.st_dev, seen.st_ino, seen.st_size, seen.st_mtime_ns)


def _said(verify: Callable[[Row], object], row: Row) -> str | None:
    try:
        verify(row)
    except (InputError, ConfigError) as error:
        return error.message
    return None
