"""The journal of a job, which is its output as well unless that is a table: a line per row, appended as rows finish.

A line counts once it is whole, with its end of line. A killed run leaves at most one torn line, which the next run
cuts off; a line for an id replaces the earlier one. `compact` rewrites the file with one line per id, in the order of
the rows.

What a scan of a long journal finds is kept beside it now and then, in `.NAME.index`, with the digest of the bytes that
it speaks of. The next run believes it if the file still begins with these bytes, and scans only what comes after.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import re
import stat
from array import array
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Annotated, Any, BinaryIO, Final, Self

import msgspec

from ..errors import InputError, OutputError
from ..types import NANO_PER_USD
from . import sidecar
from .index import Index
from .lockfile import Lock, lock_path
from .replaced import refused, replaced
from .rows import id_digest

LINE_MAX_BYTES: Final = 256 * 1024 * 1024
_BEGIN: Final = b'{"id":'
_OURS: Final = re.compile(rb'\{"id":(?:-?\d+|"(?:[^"\\]|\\.)*"),"model":')
_ANSWERED, _AGAIN, _COPIED = 1, 2, 4  # the low bits of a place; the offset is above them
_FLAG_BITS: Final = 3
_SAVED_GROWTH: Final = 1.25
"""An index is saved again when the journal has so many times the lines; the rest is what a resume has to scan."""


_Dollars = Annotated[float, msgspec.Meta(ge=0)]


class _Failure(msgspec.Struct):
    code: str = ""
    retriable: bool = False


class _Line(msgspec.Struct):
    """What of a line decides whether its row is done, and what the row cost so far."""

    id: str | int
    key: str
    error: _Failure | None = None
    cost: _Dollars | None = None
    cost_known: _Dollars | None = None
    cost_before: _Dollars | None = None


class Mended(msgspec.Struct, frozen=True):
    """What opening an existing output found: whole lines, and the bytes of a torn last line that were cut off."""

    lines: int
    torn_bytes: int


class _Seal(msgspec.Struct, kw_only=True):
    """What a saved index is about: the first `size` bytes of a journal, by their digest."""

    size: int
    digest: str
    lines: int
    used: int
    failures: int
    spent_nano: int


_line = msgspec.json.Decoder(_Line).decode
_whole = msgspec.json.Decoder(dict[str, Any]).decode


class Journal:
    """One output file, held by one run. Open it with `Journal.open`, close it, or use it in a `with` block.

    `failures` counts rows whose newest line is an error; `spent_nano` sums what the newest lines cost at its opening.
    """

    def __init__(self, path: Path, fd: int, lock: Lock) -> None:
        self.path = path
        self._fd = fd
        self._lock = lock
        self._reader: BinaryIO | None = None
        self._index = Index()
        self._size = 0
        self._lines = 0
        self._begun_at = 0
        self._hash = hashlib.sha256()
        self._saved = 0
        self._spent_now = 0
        self.failures = 0
        self.spent_nano = 0
        self.mended = Mended(0, 0)

    @classmethod
    def open(cls, path: str | Path) -> Self:
        """Lock the output, mend its end, and learn which rows are done.

        Raises: OutputError when it cannot be written, OutputBusy when another run holds it, InputError when it holds
            something else than results.
        """
        real = Path(os.path.realpath(path))
        if real.is_dir():
            raise refused(real, IsADirectoryError(errno.EISDIR, ""))
        lock = Lock(lock_path(real), real)
        try:
            fd = _open(real)
        except BaseException:
            lock.release()
            raise
        journal = cls(real, fd, lock)
        try:
            journal._scan()
        except BaseException:
            journal.close()
            raise
        return journal

    def __len__(self) -> int:
        return len(self._index)

    def is_answered(self, name: str | int, key: str) -> bool:
        """Whether the row has an answer to exactly this question."""
        found = self._index.find(id_digest(name))
        return found is not None and found[0] == short_key(key) and bool(found[1] & _ANSWERED)

    def matches(self, digests: Iterable[int], keys: Iterable[int]) -> Iterator[bool | None]:
        """Do as `find`, for ids by their digests with the 64 bits of their keys."""
        for found in self._index.match(digests, keys):
            yield None if found is None else bool(found & _ANSWERED)

    def spent_each(self, digests: Iterable[int], keys: Iterable[int]) -> Iterator[int]:
        """Do as `spent`, for ids by their digests with the 64 bits of their keys."""
        return (0 if at is None else _spent(self._read(at)) for at in self._index.match(digests, keys))

    def error_code(self, digest: int) -> str | None:
        """Return the error code of the newest line of an id by its digest, None for an answer or no line."""
        found = self._index.find(digest)
        error = None if found is None or found[1] & _ANSWERED else self._read(found[1]).error
        return error.code if error else None

    def answered(self) -> Iterator[tuple[int, int]]:
        """Yield the digest of each answered id with the 64 bits of its key, in no order."""
        return ((digest, key) for digest, key, at in self._index.items() if at & _ANSWERED)

    def line_of(self, digest: int) -> bytes | None:
        """Return the newest line of an id by its digest."""
        found = self._index.find(digest)
        return None if found is None else self._line(found[1])

    def spent_by(self, digest: int) -> int | None:
        """Return what the newest line of an id by its digest says that its question cost, None without a line."""
        found = self._index.find(digest)
        return None if found is None else _spent(self._read(found[1]))

    def find(self, name: str | int, key: str) -> bool | None:
        """Whether the row's newest line for exactly this question is an answer; None when it has no such line."""
        found = self._index.find(id_digest(name))
        return None if found is None or found[0] != short_key(key) else bool(found[1] & _ANSWERED)

    def passing_failure(self, name: str | int, key: str) -> str | None:
        """Return the error code of the row's newest line if it was written since the opening and may be mended."""
        found = self._index.find(id_digest(name))
        if found is None or found[0] != short_key(key) or not found[1] & _AGAIN:
            return None
        if found[1] >> _FLAG_BITS < self._begun_at:
            return None
        record = self._read(found[1])
        return record.error.code if record.error else None

    def failure(self, name: str | int, key: str) -> str | None:
        """Return the error code of the row's newest line for exactly this question, None for an answer or no line."""
        found = self._index.find(id_digest(name))
        if found is None or found[0] != short_key(key) or found[1] & _ANSWERED:
            return None
        record = self._read(found[1])
        return record.error.code if record.error else None

    def place(self, name: str | int, key: str) -> int | None:
        """Return where the row's newest line for exactly this question stands, for `line_at`; None when it has none."""
        found = self._index.find(id_digest(name))
        return None if found is None or found[0] != short_key(key) else found[1]

    def line_at(self, place: int) -> bytes:
        """Return the line at a place."""
        return self._line(place)

    def error_of(self, name: str | int) -> dict[str, Any] | None:
        """Return the whole error of the row's newest line, None for an answer or no line."""
        found = self._index.find(id_digest(name))
        if found is None or found[1] & _ANSWERED:
            return None
        error: dict[str, Any] | None = _whole(self._line(found[1])).get("error")
        return error

    def newest(self, name: str | int) -> dict[str, Any] | None:
        """Return the row's newest line, whatever question it is of; None where there is none."""
        found = self._index.find(id_digest(name))
        return None if found is None else _whole(self._line(found[1]))

    def spent(self, name: str | int, key: str) -> int:
        """Return what the file says that the row's calls for exactly this question cost, in nano-dollars."""
        found = self._index.find(id_digest(name))
        if found is None or found[0] != short_key(key):
            return 0
        record = self._read(found[1])
        return _spent(record)

    def ids(self) -> Iterator[str | int]:
        """Yield the ids in the order of their lines; an id may come more than once."""
        with self.path.open("rb") as file:
            for line in file:
                yield _line(line).id

    def _read(self, place: int) -> _Line:
        return _line(self._line(place))

    def _line(self, place: int) -> bytes:
        if self._reader is None:
            self._reader = self.path.open("rb")
        self._reader.seek(place >> _FLAG_BITS)
        return self._reader.readline()

    def append(self, name: str | int, key: str, line: bytes, *, answered: bool, retriable: bool = False) -> None:
        """Write one row's line (without its end) at once, whole or not at all.

        Raises: OutputFull, OutputError; the file then ends after the last whole line, and this one may be tried again.
        """
        data = line + b"\n"
        try:
            self._write(data)
        except OSError as error:
            with contextlib.suppress(OSError):
                os.ftruncate(self._fd, self._size)
            raise refused(self.path, error) from error
        flags = _ANSWERED if answered else _AGAIN if retriable else 0
        self._note(id_digest(name), short_key(key), flags, _line(line))
        self._hash.update(data)
        self._size += len(data)

    def _write(self, data: bytes) -> None:
        view = memoryview(data)
        while view:
            view = view[os.write(self._fd, view) :]

    def free_reserve(self) -> None:
        """Give up the room kept aside, once the disk is full."""
        self._lock.free_reserve()

    def sync(self) -> None:
        """Put everything on the disk itself."""
        with contextlib.suppress(OSError):
            os.fsync(self._fd)

    def compact(self, ids: Callable[[], Iterable[str | int]]) -> bool:
        """Leave one line per id: first those of `ids` in their order, then what other rows left. Say whether it did.

        The file is replaced in one step, so that a crash leaves the old one or the new one. Nothing can be written to
        or asked of the journal after it; it stays locked until it is closed.

        Raises: OutputError; the old file is untouched then.
        """
        return self.arrange(lambda: map(id_digest, ids()))

    def arrange(self, digests: Callable[[], Iterable[int]]) -> bool:
        """Do as `compact`, for ids by their digests.

        Raises: OutputError; the old file is untouched then.
        """
        if self._lines == len(self._index) and self._in_order(digests()):
            return False
        lines, self._lines = self._lines, 0  # of a file that cannot be replaced no index is saved
        self._hash = hashlib.sha256()
        with open(self._fd, "rb", closefd=False) as old, replaced(self.path, (_BEGIN,)) as new:
            size = 0
            for digest, line in self._chosen(old, digests()):
                new.write(line)
                self._hash.update(line)
                key, flags = self._index.find(digest) or (0, 0)
                self._index.put(digest, key, size << _FLAG_BITS | flags & (_ANSWERED | _AGAIN) | _COPIED)
                size += len(line)
        os.close(self._fd)
        self._fd = -1
        self._size, self._lines, self._saved = size, len(self._index), 0
        if lines >= sidecar.WORTH_ROWS:
            self._index.clear_bit(_COPIED)
        return True

    def _in_order(self, digests: Iterable[int]) -> bool:
        last = -1
        for place in self._index.seconds(digests):
            if place < last:
                return False
            last = place
        return True

    def _chosen(self, old: BinaryIO, digests: Iterable[int]) -> Iterator[tuple[int, bytes]]:
        """Yield each id once by its digest, with its newest line; the caller marks it as copied."""
        for digest in digests:
            found = self._index.find(digest)
            if found is not None and not found[1] & _COPIED:
                old.seek(found[1] >> _FLAG_BITS)
                yield digest, old.readline()
        others = array("Q", sorted(at >> _FLAG_BITS for _, _, at in self._index.items() if not at & _COPIED))
        for place in others:
            old.seek(place)
            line = old.readline()
            yield id_digest(_line(line).id), line

    def save_index(self, *, always: bool = False) -> None:
        """Keep what is known of a long journal beside it, for the next run; unless `always`, only now and then."""
        lines = self._lines
        if lines < sidecar.WORTH_ROWS or lines == self._saved or (lines < self._saved * _SAVED_GROWTH and not always):
            return
        self._saved = lines
        seal = _Seal(
            size=self._size,
            digest=self._hash.hexdigest(),
            lines=lines,
            used=len(self._index),
            failures=self.failures,
            spent_nano=self._spent_now,
        )
        sidecar.save(index_path(self.path), seal, [self._index.cells])

    def _recall(self, file: BinaryIO) -> None:
        """Take over what an earlier run knew, where the file still begins as it did then."""
        found = sidecar.load(index_path(self.path), _Seal)
        if found is None:
            return
        seal, (cells, *_) = found
        if not 0 <= seal.size <= os.fstat(self._fd).st_size:
            return
        known = sidecar.hashed(file, seal.size)
        if known is None or known.hexdigest() != seal.digest or not self._index.restore(cells, seal.used):
            return
        self._hash, self._size = known, seal.size
        self._lines = self._saved = seal.lines
        self.failures, self._spent_now = seal.failures, seal.spent_nano

    def _scan(self) -> None:
        """Read the lines of earlier runs and cut off what a killed one left half written."""
        torn = 0
        with open(self._fd, "rb", closefd=False) as file:
            file.seek(0)
            self._recall(file)
            file.seek(self._size)
            number = self._lines
            while line := file.readline(LINE_MAX_BYTES):
                number += 1
                try:
                    record = _line(line)
                except (msgspec.DecodeError, UnicodeDecodeError) as error:
                    if line.endswith(b"\n") or not _is_ours(line, alone=number == 1):
                        raise InputError(
                            f"{self.path} line {number} is no result of a run ({error}); remove that line, or choose "
                            "another output"
                        ) from None
                    torn = len(line)
                    break
                if not line.endswith(b"\n"):
                    # The row is whole; only its end of line is missing.
                    self._finish_line()
                    line += b"\n"
                flags = _ANSWERED if record.error is None else _AGAIN if record.error.retriable else 0
                self._note(id_digest(record.id), short_key(record.key), flags, record)
                self._hash.update(line)
                self._size += len(line)
        if torn:
            os.ftruncate(self._fd, self._size)
        self._begun_at = self._size
        self.spent_nano = self._spent_now
        self.mended = Mended(self._lines, torn)

    def _finish_line(self) -> None:
        try:
            os.write(self._fd, b"\n")
        except OSError as error:
            raise refused(self.path, error) from error

    def _note(self, digest: int, key: int, flags: int, record: _Line) -> None:
        """Take in the line at the end of what is known, in the place of an earlier one of its id."""
        before = self._index.put(digest, key, self._size << _FLAG_BITS | flags)
        self._lines += 1
        self.failures += not flags & _ANSWERED
        self._spent_now += _spent(record)
        if before is not None:
            self.failures -= not before & _ANSWERED
            self._spent_now -= _spent(self._read(before))

    def close(self) -> None:
        """Sync, close and unlock; again changes nothing."""
        if self._fd >= 0:
            self.sync()
            os.close(self._fd)
            self._fd = -1
        if self._reader is not None:
            self._reader.close()
            self._reader = None
        self._lock.release()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.close()


def _open(path: Path) -> int:
    try:
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | getattr(os, "O_CLOEXEC", 0), 0o644)
    except OSError as error:
        raise refused(path, error) from error
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        os.close(fd)
        raise OutputError(f"{path} is no regular file; a run needs one that it can read again, to resume")
    return fd


def _is_ours(torn: bytes, *, alone: bool) -> bool:
    """Whether a torn line is the beginning of one of our lines, or what a power failure left of it.

    Where it is all that the file holds (`alone`), little says that the file is ours, and that little must be there.
    """
    if not torn.strip(b"\0"):
        return not alone
    try:
        msgspec.json.decode(torn)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return bool(_OURS.match(torn)) if alone else torn.startswith(_BEGIN[: len(torn)])
    return False  # whole, so somebody else wrote it


def _spent(record: _Line) -> int:
    """Sum what a line says that its question cost, in nano-dollars."""
    nano = 0
    for cost in (record.cost, record.cost_known, record.cost_before):
        if cost:
            nano += round(cost * NANO_PER_USD)
    return nano


def index_path(journal: Path) -> Path:
    """Return where the index of a journal is kept."""
    return journal.with_name(f".{journal.name}.index")


def short_key(key: str) -> int:
    """Return 64 bits of a key; a key that is no hex number, as of another version, equals none of ours."""
    try:
        return int(key[:16], 16)
    except ValueError:
        return 0
