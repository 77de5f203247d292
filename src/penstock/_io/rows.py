"""The rows of a job: one JSON object per line, read lazily, each with its own prompt or one made from a template."""

from __future__ import annotations

import difflib
import itertools
import json
import os
import re
import stat
import sys
from collections.abc import Callable, Iterator, Mapping
from hashlib import blake2b
from pathlib import Path
from typing import Any, BinaryIO, Final, Literal

import msgspec

from .._flow.prompt import OPTIONS, Prompt, request
from ..errors import ConfigError, InputError
from .index import Index

OnBadRow = Literal["stop", "skip"]

PROBLEMS_SHOWN: Final = 10
LINE_MAX_BYTES: Final = 64 * 1024 * 1024
"""A longer line is no row: no provider takes a body of this size."""

HALF_A_CHARACTER: Final = "holds half of a character (a lone \\ud800 to \\udfff), which no UTF-8 can carry"

_OWN: Final = frozenset({"id", "prompt", "messages", "params"})
_LIKE_A_PARAMETER: Final = 0.85
_PIECE = re.compile(r"\{\{|\}\}|\{([^{}]*)\}|[{}]")
_object = msgspec.json.Decoder(dict[str, Any]).decode


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """One question of a job. `id` tells it from the others and finds its answer again, `line` is where it stands.

    `params` are options of `client.complete`, on top of those of the job. A row with a `model`, or with a `tier` in its
    `params`, goes there and nowhere else. `problem` says why it cannot be asked.
    """

    id: str | int
    prompt: Prompt = ""
    line: int = 0
    model: str | None = None
    params: dict[str, Any] = {}
    problem: str | None = None


class Template:
    """A prompt with `{column}` places; `{{` and `}}` stand for braces.

    Raises: ConfigError for an empty one, a brace without its partner or an empty place.
    """

    def __init__(self, text: str) -> None:
        if not text.strip():
            raise ConfigError("the prompt template is empty; write what to ask, with {column} for a field of the row")
        self.text = text
        self._parts: list[tuple[str, str | None]] = []
        at, plain = 0, ""
        for found in _PIECE.finditer(text):
            plain += text[at : found.start()]
            at = found.end()
            if found[0] in ("{{", "}}"):
                plain += found[0][0]
                continue
            name = (found[1] or "").strip()
            if not name:
                raise ConfigError(
                    f"the prompt template has {found[0]!r} at character {found.start() + 1}, which names no column; "
                    "write {column}, or {{ and }} for braces"
                )
            self._parts.append((plain, name))
            plain = ""
        self._parts.append((plain + text[at:], None))

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns it needs, in the order of their first use."""
        return tuple(dict.fromkeys(name for _, name in self._parts if name is not None))

    def fill(self, row: Mapping[str, Any]) -> str:
        """Put a row's values in; what is not a string is written as JSON.

        Raises: InputError naming the column that is missing or null.
        """
        out: list[str] = []
        for plain, name in self._parts:
            out.append(plain)
            if name is None:
                continue
            value = row.get(name)
            if value is None:
                have = ", ".join(sorted(row)) or "no columns"
                raise InputError(
                    f"column {name!r} of the prompt is {'null' if name in row else 'missing'} (has {have})"
                )
            out.append(value if isinstance(value, str) else msgspec.json.encode(value).decode())
        return "".join(out)


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
    """The rows of a JSONL file, as often as you iterate it; `check` first, it finds every bad row before any is paid.

    A row is `{"prompt": …}` or `{"messages": […]}` with optional `id` and options of a call, such as `max_tokens` or
    `tier`, beside them or in an object `params`; with a `template` its fields are columns, and options stand in
    `params` only. Other fields are the user's own, unless they look like a misspelt option. A row without an id has its
    line number as id. Blank lines are skipped.

    Args:
        path: the file; it is read once per iteration and never held in memory.
        template: the prompt, with columns in braces.
        limit: use only the first so many rows.
        on_bad_row: 'stop' refuses the file in `check`; 'skip' makes bad rows fail alone and drops repeated ids.
        name: what to call it in sentences; None: its path.
    """

    def __init__(
        self,
        path: str | Path,
        *,
        template: str | None = None,
        limit: int | None = None,
        on_bad_row: OnBadRow = "stop",
        name: str | None = None,
    ) -> None:
        self.path = Path(path)
        self.name = name or str(self.path)
        self.template = None if template is None else Template(template)
        self.limit = limit
        self.on_bad_row = on_bad_row
        self._repeated: set[int] = set()
        self._seen: tuple[int, ...] | None = None

    def check(self, verify: Callable[[Row], object] | None = None) -> Checked:
        """Read all rows once. `verify` is asked about each good one and raises for what makes it bad all the same.

        Raises: InputError listing the bad lines unless they are to be skipped, or when there is no row at all.
        """
        seen = Index()
        rows = bad = 0
        problems: list[str] = []
        self._repeated.clear()
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
            raise InputError(f"{self.name} has no rows; it needs one JSON object per line")
        return found

    def __iter__(self) -> Iterator[Row]:
        return (row for row in self._rows() if row.line not in self._repeated)

    def _rows(self, *, first: bool = False) -> Iterator[Row]:
        return (self._row(number, line) for number, line in itertools.islice(self._lines(first=first), self.limit))

    def _lines(self, *, first: bool) -> Iterator[tuple[int, bytes | None]]:
        """Yield each line that is not blank, with its number; None for one that is too long.

        Raises: InputError when the file cannot be read, or is not any more what `check` has seen.
        """
        try:
            with self.path.open("rb") as file:
                if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                    raise InputError(f"{self.name} is no regular file, and rows are read more than once")
                if first:
                    self._seen = _mark(file)
                number = 0
                while line := file.readline(LINE_MAX_BYTES + 1):
                    self._check_mark(file)
                    number += 1
                    if number == 1:
                        line = line.removeprefix(b"\xef\xbb\xbf")
                    if len(line) > LINE_MAX_BYTES and not line.endswith(b"\n"):
                        _skip_line(file)
                        yield number, None
                    elif line.strip():
                        yield number, line
                self._check_mark(file)
        except OSError as error:
            again = " any more" if self._seen is not None and not first else ""
            raise InputError(f"cannot read {self.name}{again}: {error.strerror or error}") from error

    def _check_mark(self, file: BinaryIO) -> None:
        if self._seen is not None and _mark(file) != self._seen:
            raise InputError(f"{self.name} was changed while it was in use; its rows are not those that were checked")

    def _row(self, number: int, line: bytes | None) -> Row:
        if line is None:
            longer = f"is longer than {LINE_MAX_BYTES // 2**20} MiB; no provider takes as much"
            return Row(line=number, id=f"line {number}", problem=longer)
        try:
            data = _object(line)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            return Row(line=number, id=f"line {number}", problem=_no_row(line, error))
        name = data.get("id", number)
        if isinstance(name, bool) or not isinstance(name, str | int) or name == "":
            problem = f"has the id {msgspec.json.encode(name).decode()}; an id is a text or a whole number"
            return Row(line=number, id=f"line {number}", problem=problem)
        try:
            return self._ask(number, name, data)
        except (InputError, ConfigError) as error:
            return Row(line=number, id=name, problem=error.message)

    def _ask(self, number: int, name: str | int, data: dict[str, Any]) -> Row:
        given = data.get("params")
        if given is not None and not isinstance(given, dict):
            raise InputError("has params that are not an object")
        params = {key: value for key, value in (given or {}).items() if value is not None}
        prompt: Prompt
        if self.template is not None:
            prompt = filled = self.template.fill(data)
            if not filled.strip():
                raise InputError("has an empty prompt once its columns are filled in")
        else:
            prompt = _question(data)
            _spelling(data)
            for key in sorted(data.keys() & OPTIONS):
                if params.get(key, data[key]) != data[key] and data[key] is not None:
                    raise InputError(f"has {key!r} twice, beside its prompt and in params; give it once")
                if data[key] is not None:
                    params[key] = data[key]
        model = params.pop("model", None)
        if isinstance(params.get("system"), str) and not params["system"]:
            raise InputError("has a system that is no text")
        row = Row(line=number, id=name, prompt=prompt, model=model, params=params)
        check_row(row)
        return row


def check_row(row: Row) -> None:
    """Look at a row by itself, before anything is paid.

    Raises: InputError, ConfigError naming the field that is wrong.
    """
    if row.problem is not None:
        raise InputError(row.problem)
    model: object = row.model
    if model is not None and (not isinstance(model, str) or not model.strip()):
        raise InputError(f"has a model that is no text but {model!r}; write it as 'provider:model'")
    if isinstance(model, str) and not is_text(model):
        raise InputError(f"has the model {model!r}, which {HALF_A_CHARACTER}")
    params: object = row.params
    if not isinstance(params, Mapping) or not all(isinstance(name, str) for name in params):
        raise InputError(f"has params that are {params!r}; expected options of a call by their names")
    if isinstance(row.prompt, str) and not row.prompt.strip():
        raise InputError("has an empty prompt")
    if row.params.get("model") is not None:
        raise InputError("has a model among its params; it has a place of its own in the row")
    if row.model is not None and row.params.get("tier") is not None:
        raise InputError("has both a model and a tier; give it one of them")
    try:
        request(row.prompt, row.params)
    except TypeError as error:  # a value of a type that no message has at this place
        raise InputError(f"has a prompt that cannot be read: {error}") from error
    _check_call(row.params)


def _check_call(params: Mapping[str, Any]) -> None:
    """Look at the options that are no part of the request; `request` has seen their names and their outer types."""
    within = params.get("deadline_s")
    if within is not None and not (type(within) in (int, float) and 0 < within <= sys.float_info.max):
        raise ConfigError(f"parameter 'deadline_s' is {within!r}; expected a finite number of seconds above 0")
    for model in params.get("fallbacks") or ():
        if not isinstance(model, str) or not model.strip():
            raise ConfigError(f"parameter 'fallbacks' has {model!r}; expected models, e.g. ['provider:model']")


def _mark(file: BinaryIO) -> tuple[int, ...]:
    """What changes when somebody writes a file or puts another one in its place."""
    seen = os.fstat(file.fileno())
    return (seen.st_dev, seen.st_ino, seen.st_size, seen.st_mtime_ns)


def _skip_line(file: BinaryIO) -> None:
    while (more := file.readline(2**20)) and not more.endswith(b"\n"):
        pass


def _no_row(line: bytes, error: Exception) -> str:
    """Say why a line is not an object of JSON."""
    if isinstance(error, UnicodeDecodeError):
        return f"is not UTF-8: {error}"
    if isinstance(error, msgspec.ValidationError):
        large = "out of range" in str(error)
        return "has a number that is too large to be read" if large else "is JSON but not an object; write {...}"
    try:
        whole = is_text(json.dumps(json.loads(line), ensure_ascii=False))
    except (ValueError, RecursionError):
        whole = True
    return f"is not JSON: {error}" if whole else HALF_A_CHARACTER


def is_text(text: str) -> bool:
    """Whether a string can be written as UTF-8."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _said(verify: Callable[[Row], object], row: Row) -> str | None:
    try:
        verify(row)
    except (InputError, ConfigError) as error:
        return error.message
    return None


def id_digest(name: str | int) -> int:
    """Return 64 bits that stand for an id; `1` and `"1"` are the same id."""
    return int.from_bytes(blake2b(str(name).encode("utf-8", "surrogatepass"), digest_size=8).digest(), "big") or 1


def _question(data: Mapping[str, Any]) -> Prompt:
    prompt, messages = data.get("prompt"), data.get("messages")
    if prompt is None and messages is None:
        raise InputError('has no prompt; give it "prompt" or "messages", or use --prompt with its columns')
    if prompt is not None and messages is not None:
        raise InputError("has both prompt and messages; give it one of them")
    if prompt is None:
        if not isinstance(messages, list):
            raise InputError("has messages that are no list")
        return messages
    if not isinstance(prompt, str) or not prompt.strip():
        raise InputError("has a prompt that is no text" if not isinstance(prompt, str) else "has an empty prompt")
    return prompt


def _spelling(data: Mapping[str, Any]) -> None:
    for key in data.keys() - OPTIONS - _OWN:
        if close := difflib.get_close_matches(key, OPTIONS | _OWN, n=1, cutoff=_LIKE_A_PARAMETER):
            raise InputError(f"has the field {key!r}; did you mean {close[0]!r}?")
