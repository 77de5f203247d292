"""What a job has at a provider: the log of its shards, in a folder beside its journal, so that any process can go on.

    .NAME.shards/log.jsonl    one line per event, each on the disk before what it announces is done
                 0001.rows    the id and the key of each row, in the order of their numbers
                 0001.body    the rows as they are sent, until the batch is created
                 0001.out     its results as they came

An event is written before its deed (`creating`) or after it (`uploaded`, `created`, `harvested`), such that whatever a
killed process left undone is seen and can be made good. Whoever writes holds the lock of the journal. A torn last line
is cut off; its deed is then found out anew.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
from collections.abc import Iterable, Iterator
from hashlib import blake2b
from pathlib import Path
from typing import Any, BinaryIO, Final, Self

import msgspec

from .._flow.extracted import Mode
from .._policy.shards import OVER, Phase
from ..errors import InputError, OutputError
from .replaced import NOT_THROUGH_LINKS, refused

_LOG: Final = "log.jsonl"
COPY_BYTES: Final = 256 * 1024

_encode = msgspec.json.encode


class ShardRow(msgspec.Struct, array_like=True):
    """A row of a shard: its id, the key of its question, whether its answer is to be JSON, and columns to keep.

    `mode` is how it was asked for a value, where the shard has a schema.
    """

    id: str | int
    key: str
    shaped: bool = False
    columns: dict[str, Any] | None = None
    mode: Mode | None = None


class Shard(msgspec.Struct, kw_only=True):
    """A shard as the log has it. Times are epoch seconds, `digest` is that of the rows as they are sent.

    `held_nano` is the worst case of its rows, None where a price is unknown. `word` is the provider's own for the
    state of its batch, `rows_done` those of its rows that it says are done. `dead` are batches that came to nothing.
    `schema` is the JSON Schema that its answers are to fit, if any.
    """

    id: str
    lane: str
    base_url: str
    rows: int
    size: int
    tokens: int
    digest: str
    since_s: float
    held_nano: int | None = None
    tags: dict[str, str] = {}
    schema: Any = None
    phase: Phase = "written"
    file_id: str | None = None
    batch_id: str | None = None
    state: str = ""
    word: str = ""
    rows_done: int | None = None
    note: str = ""
    answered: int = 0
    failed: int = 0
    missing: int = 0
    dead: tuple[str, ...] = ()

    @property
    def is_open(self) -> bool:
        """Whether there is something left to do for it."""
        return self.phase not in OVER


class _Job(msgspec.Struct, kw_only=True):
    job: str
    deadline_at: float | None = None


_rows = msgspec.json.Decoder(ShardRow).decode
_event = msgspec.json.Decoder(dict[str, Any]).decode


def folder_of(journal: Path) -> Path:
    """Return where the shards of a job are kept."""
    return journal.with_name(f".{journal.name}.shards")


def read_shards(journal: Path) -> tuple[Shard, ...]:
    """Return the shards of a job as they stand, for any process to look at; empty when it has none.

    Raises: InputError when the log is no log.
    """
    path = folder_of(journal) / _LOG
    try:
        data = path.read_bytes()
    except OSError:
        return ()
    _, shards, _ = _replay(path, data)
    return tuple(shards.values())


def _replay(path: Path, data: bytes) -> tuple[_Job | None, dict[str, Shard], int]:
    """Read a log: the job, its shards, and how many bytes of it are whole lines."""
    job: _Job | None = None
    shards: dict[str, Shard] = {}
    whole = 0
    for number, line in enumerate(data.splitlines(keepends=True), 1):
        if not line.endswith(b"\n"):
            break
        try:
            event = _event(line)
            if "job" in event:
                job = msgspec.convert(event, _Job)
            elif event["id"] in shards:
                shards[event["id"]] = msgspec.convert(msgspec.to_builtins(shards[event["id"]]) | event, Shard)
            else:
                shards[event["id"]] = msgspec.convert(event, Shard)
        except (msgspec.DecodeError, UnicodeDecodeError, KeyError) as error:
            raise InputError(
                f"{path} line {number} is no event of a job's batches ({error}); what they are is in it, so mend it "
                "or look at the provider's own list before you remove it"
            ) from None
        whole += len(line)
    return job, shards, whole


class ShardLog:
    """The log of one job, held by the run that holds its journal. Use it in a `with` block."""

    def __init__(self, folder: Path, fd: int, job: _Job, shards: dict[str, Shard]) -> None:
        self.folder = folder
        self._fd = fd
        self._job = job
        self.shards = shards
        self._next = 1 + max((int(name) for name in shards), default=0)

    @classmethod
    def open(cls, journal: Path) -> Self:
        """Read the log, mend its end, and take away what a killed run left half written.

        Raises: OutputError when the folder cannot be written, InputError when its log is no log.
        """
        folder = folder_of(journal)
        path = folder / _LOG
        try:
            folder.mkdir(mode=0o700, exist_ok=True)
            fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | NOT_THROUGH_LINKS, 0o600)
        except OSError as error:
            raise refused(path, error) from error
        try:
            job, shards, whole = _replay(path, path.read_bytes())
            os.ftruncate(fd, whole)
        except BaseException:
            os.close(fd)
            raise
        log = cls(folder, fd, job or _Job(job=secrets.token_hex(5)), shards)
        if job is None:
            log._append(msgspec.to_builtins(log._job))
        for left in folder.iterdir():
            shard = shards.get(left.stem)
            if left.name != _LOG and (shard is None or not shard.is_open):
                left.unlink()
        return log

    @property
    def job(self) -> str:
        """The id of the job, drawn at its first batch."""
        return self._job.job

    @property
    def deadline_at(self) -> float | None:
        """When the job is to be done, epoch seconds; None for no deadline."""
        return self._job.deadline_at

    def set_deadline(self, at: float) -> None:
        """Note when the job is to be done, so that a later run means the same instant."""
        self._job.deadline_at = at
        self._append(msgspec.to_builtins(self._job))

    def tag(self, shard: Shard) -> str:
        """What tells the batch of a shard from all others."""
        return f"{self.job}/{shard.id}"

    def open_shards(self) -> list[Shard]:
        """The shards for which something is left to do."""
        return [shard for shard in self.shards.values() if shard.is_open]

    def begin(self, lane: str, base_url: str, tags: dict[str, str], schema: Any = None) -> ShardWriter:
        """Begin a new shard; it is in the log once it is finished."""
        name = f"{self._next:04}"
        self._next += 1
        return ShardWriter(self, name, lane, base_url, tags, schema)

    def add(self, shard: Shard) -> None:
        """Write a new shard down.

        Raises: OutputError.
        """
        self._append(msgspec.to_builtins(shard))
        self.shards[shard.id] = shard

    def note(self, shard: Shard, **changes: Any) -> None:
        """Write down what changed of a shard, on the disk itself.

        Raises: OutputError.
        """
        self._append({"id": shard.id, **changes})
        for name, value in changes.items():
            setattr(shard, name, value)

    def _append(self, event: dict[str, Any]) -> None:
        data = _encode(event) + b"\n"
        try:
            view = memoryview(data)
            while view:
                view = view[os.write(self._fd, view) :]
            os.fsync(self._fd)
        except OSError as error:
            raise refused(self.folder / _LOG, error) from error

    def body(self, shard: Shard) -> Path:
        """Where the rows of a shard are, as they are sent."""
        return self.folder / f"{shard.id}.body"

    def rows(self, shard: Shard) -> list[ShardRow]:
        """Read the rows of a shard, in the order of their numbers.

        Raises: InputError when they are gone.
        """
        path = self.folder / f"{shard.id}.rows"
        try:
            return [_rows(line) for line in path.read_bytes().splitlines()]
        except (OSError, msgspec.DecodeError, UnicodeDecodeError) as error:
            raise InputError(
                f"{path}, which says which rows are in batch {shard.batch_id}, cannot be read: {error}"
            ) from error

    def is_sound(self, shard: Shard) -> bool:
        """Whether the rows of a shard are still what was to be sent."""
        try:
            return _digest(self.body(shard)) == shard.digest
        except OSError:
            return False

    def download(self, shard: Shard) -> Download:
        """Return where the results of a shard go."""
        return Download(self.folder / f"{shard.id}.out")

    def forget(self, shard: Shard, *, body: bool = False) -> None:
        """Remove the files of a shard that is over, or only its `body`."""
        for kind in ("body",) if body else ("body", "rows", "out", "part"):
            (self.folder / f"{shard.id}.{kind}").unlink(missing_ok=True)

    def close(self, *, done: bool = False) -> None:
        """Let go of the log; once all is `done` it goes away."""
        os.close(self._fd)
        if done:
            with contextlib.suppress(OSError):
                shutil.rmtree(self.folder)


class ShardWriter:
    """A shard as it grows, row by row."""

    def __init__(
        self, log: ShardLog, name: str, lane: str, base_url: str, tags: dict[str, str], schema: Any = None
    ) -> None:
        self._log = log
        self.name = name
        self._lane = lane
        self._base_url = base_url
        self._tags = tags
        self._schema = schema
        self._hash = blake2b(digest_size=16)
        self._body = _new(log.folder / f"{name}.body")
        self._rows = _new(log.folder / f"{name}.rows")
        self.rows = self.size = self.tokens = 0
        self.held_nano: int | None = 0

    def add(self, row: ShardRow, line: bytes, *, between: bytes, tokens: int, worst_nano: int | None) -> None:
        """Add a row with its line.

        Raises: OutputError.
        """
        data = between + line if self.rows else line
        try:
            self._body.write(data)
            self._rows.write(_encode(row) + b"\n")
        except OSError as error:
            raise refused(self._log.folder, error) from error
        self._hash.update(data)
        self.rows += 1
        self.size += len(data)
        self.tokens += tokens
        self.held_nano = None if self.held_nano is None or worst_nano is None else self.held_nano + worst_nano

    def finish(self, now_s: float) -> Shard:
        """Put the shard on the disk itself and into the log.

        Raises: OutputError.
        """
        try:
            for file in (self._body, self._rows):
                file.flush()
                os.fsync(file.fileno())
                file.close()
        except OSError as error:
            raise refused(self._log.folder, error) from error
        shard = Shard(
            id=self.name,
            lane=self._lane,
            base_url=self._base_url,
            rows=self.rows,
            size=self.size,
            tokens=self.tokens,
            digest=self._hash.hexdigest(),
            since_s=now_s,
            held_nano=self.held_nano,
            tags=self._tags,
            schema=self._schema,
        )
        self._log.add(shard)
        return shard

    def discard(self) -> None:
        """Take it back."""
        for file, kind in ((self._body, "body"), (self._rows, "rows")):
            file.close()
            (self._log.folder / f"{self.name}.{kind}").unlink(missing_ok=True)


class Download:
    """A file that is received: it grows as NAME.part, and has its name once it is whole."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._side = path.with_suffix(".part")
        self._file: BinaryIO | None = None
        self._kept = 0

    def take(self, data: bytes, *, first: bool, last: bool) -> None:
        """Add a piece; the `first` of a file takes the place of what came of it before, the `last` makes it whole.

        Raises: OutputError.
        """
        try:
            if self._file is None:
                self._file = _new(self._side)
            if first:
                self._file.seek(self._kept)
                self._file.truncate()
            self._file.write(data)
            if last and self._file.tell() > self._kept:
                self._file.write(b"\n")
                self._kept = self._file.tell()
        except OSError as error:
            raise refused(self._side, error) from error

    def close(self) -> None:
        """Leave it as it is; the next one begins anew."""
        if self._file is not None:
            self._file.close()

    def finish(self) -> None:
        """Give it its name, on the disk itself.

        Raises: OutputError.
        """
        try:
            if self._file is None:
                self._file = _new(self._side)
            self._file.flush()
            os.fsync(self._file.fileno())
            self._file.close()
            os.replace(self._side, self.path)
        except OSError as error:
            raise refused(self.path, error) from error

    def lines(self) -> Iterator[tuple[int, bytes]]:
        """Yield the places and the lines of the finished file that hold something.

        Raises: OutputError.
        """
        place = 0
        try:
            with self.path.open("rb") as file:
                for line in file:
                    if line.strip():
                        yield place, line
                    place += len(line)
        except OSError as error:
            raise self._unreadable(error) from error

    def at(self, places: Iterable[int | None]) -> Iterator[bytes | None]:
        """Yield the lines that begin at places of the finished file, None for None.

        Raises: OutputError.
        """
        try:
            with self.path.open("rb") as file:
                for place in places:
                    if place is None:
                        yield None
                        continue
                    file.seek(place)
                    yield file.readline()
        except OSError as error:
            raise self._unreadable(error) from error

    def _unreadable(self, error: OSError) -> OutputError:
        return OutputError(f"{self.path}, the results of a batch, cannot be read: {error.strerror or error}")


def _new(path: Path) -> BinaryIO:
    try:
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | NOT_THROUGH_LINKS, 0o600)
    except OSError as error:
        raise refused(path, error) from error
    return open(fd, "wb", buffering=COPY_BYTES)


def _digest(path: Path) -> str:
    found = blake2b(digest_size=16)
    with path.open("rb") as file:
        while data := file.read(COPY_BYTES):
            found.update(data)
    return found.hexdigest()
