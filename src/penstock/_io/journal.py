"""The output of a job, which is its journal as well: one line per finished row, appended as rows finish.

A line counts once it is whole, with its end of line. A killed run leaves at most one torn line, which the next run
cuts off; a line for an id replaces the earlier one. `compact` rewrites the file with one line per id, in the order of
the rows.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import stat
from array import array
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Annotated, Any, Final, Self

import msgspec

from ..errors import CallError, InputError, OutputBusy, OutputError, OutputFull, PenstockError
from ..types import Attempt, Response, to_nano, to_usd
from .index import Index
from .rows import id_digest

RESERVE_BYTES: Final = 1024 * 1024
"""Kept aside in the lock file: when the disk is full it is freed, so that answers under way still find room."""

RESERVE_SHARE: Final = 20
"""At most one part in so many of what is free: a small disk is for the answers themselves."""

RESERVE_FROM_BYTES: Final = 64 * 1024
"""Where less is free, nothing is kept aside."""

FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
LINE_MAX_BYTES: Final = 256 * 1024 * 1024
_COPY_BYTES: Final = 1024 * 1024
_NOT_THROUGH_LINKS: Final = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_CLOEXEC", 0)
_BEGIN: Final = b'{"id":'
_OURS: Final = re.compile(rb'\{"id":(?:-?\d+|"(?:[^"\\]|\\.)*"),"model":')
_ANSWERED, _AGAIN = 1, 2  # the low bits of a place; the offset is above them
_FLAG_BITS: Final = 2


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


_line = msgspec.json.Decoder(_Line).decode
_encode = msgspec.json.Encoder(decimal_format="number").encode


class Journal:
    """One output file, held by one run. Open it with `Journal.open`, close it, or use it in a `with` block."""

    def __init__(self, path: Path, fd: int, lock: _Lock) -> None:
        self.path = path
        self._fd = fd
        self._lock = lock
        self._index = Index()
        self._size = 0
        self._lines = 0
        self.mended = Mended(0, 0)

    @classmethod
    def open(cls, path: str | Path) -> Self:
        """Lock the output, mend its end, and learn which rows are done.

        Raises: OutputError when it cannot be written, OutputBusy when another run holds it, InputError when it holds
            something else than results.
        """
        real = Path(os.path.realpath(path))
        if real.is_dir():
            raise _refused(real, IsADirectoryError(errno.EISDIR, ""))
        lock = _Lock(real.with_name(f".{real.name}.lock"), real)
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
        return found is not None and found[0] == _short(key) and bool(found[1] & _ANSWERED)

    def passing_failure(self, name: str | int, key: str) -> str | None:
        """Return the error code of the row's newest line if another try may mend it, else None."""
        found = self._index.find(id_digest(name))
        if found is None or found[0] != _short(key) or not found[1] & _AGAIN:
            return None
        record = self._read(found[1])
        return record.error.code if record.error else None

    def spent(self, name: str | int, key: str) -> int:
        """Return what the file says that the row's calls for exactly this question cost, in nano-dollars."""
        found = self._index.find(id_digest(name))
        if found is None or found[0] != _short(key):
            return 0
        record = self._read(found[1])
        parts = (record.cost, record.cost_known, record.cost_before)
        return sum(to_nano(cost) for cost in parts if cost is not None)

    def _read(self, place: int) -> _Line:
        with open(self._fd, "rb", closefd=False) as file:
            file.seek(place >> _FLAG_BITS)
            return _line(file.readline())

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
            raise _refused(self.path, error) from error
        flags = (_ANSWERED if answered else 0) | (_AGAIN if retriable and not answered else 0)
        self._index.put(id_digest(name), _short(key), self._size << _FLAG_BITS | flags)
        self._size += len(data)
        self._lines += 1

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

        The file is replaced in one step, so that a crash leaves the old one or the new one. It is the last thing to do
        with a journal, which is closed by it.

        Raises: OutputError; the old file is untouched then.
        """
        if self._lines == len(self._index) and self._in_order(ids()):
            return False
        side = self.path.with_name(f".{self.path.name}.tmp")
        fd = _make(side, self.path)
        try:
            with open(self._fd, "rb", closefd=False) as old, open(fd, "wb", buffering=_COPY_BYTES) as new:
                for line in self._chosen(old, ids()):
                    new.write(line)
                new.flush()
                if hasattr(os, "fchmod"):
                    os.fchmod(fd, stat.S_IMODE(os.fstat(self._fd).st_mode))
                os.fsync(fd)
            os.replace(side, self.path)
        except BaseException as error:
            with contextlib.suppress(OSError):
                side.unlink()
            if isinstance(error, OSError):
                raise _refused(self.path, error) from error
            raise
        _sync_folder(self.path.parent)
        self.close()
        return True

    def _in_order(self, ids: Iterable[str | int]) -> bool:
        last = -1
        for name in ids:
            found = self._index.find(id_digest(name))
            if found is not None:
                place = found[1] >> _FLAG_BITS
                if place < last:
                    return False
                last = place
        return True

    def _chosen(self, old: Any, ids: Iterable[str | int]) -> Iterator[bytes]:
        placed = Index()
        for name in ids:
            digest = id_digest(name)
            found = self._index.find(digest)
            if found is not None:
                placed.put(digest, 0, 0)
                old.seek(found[1] >> _FLAG_BITS)
                yield old.readline()
        others = array(
            "Q", sorted(at >> _FLAG_BITS for digest, _, at in self._index.items() if not placed.find(digest))
        )
        for place in others:
            old.seek(place)
            yield old.readline()

    def _scan(self) -> None:
        """Read the lines of earlier runs and cut off what a killed one left half written."""
        torn = 0
        with open(self._fd, "rb", closefd=False) as file:
            file.seek(0)
            number = 0
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
                self._note(record, self._size)
                self._size += len(line)
        if torn:
            os.ftruncate(self._fd, self._size)
        self.mended = Mended(self._lines, torn)

    def _finish_line(self) -> None:
        try:
            os.write(self._fd, b"\n")
        except OSError as error:
            raise _refused(self.path, error) from error

    def _note(self, record: _Line, place: int) -> None:
        self._lines += 1
        flags = _ANSWERED if record.error is None else _AGAIN if record.error.retriable else 0
        self._index.put(id_digest(record.id), _short(record.key), place << _FLAG_BITS | flags)

    def close(self) -> None:
        """Sync, close and unlock; again changes nothing."""
        if self._fd >= 0:
            self.sync()
            os.close(self._fd)
            self._fd = -1
        self._lock.release()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.close()


def answer_line(name: str | int, key: str, answer: Response, *, spent_nano: int = 0) -> bytes:
    """Write an answered row; `spent_nano` is what earlier calls for the same question cost."""
    line: dict[str, Any] = {
        "id": name,
        "model": f"{answer.provider}:{answer.model}",
        "text": answer.text,
        "stop_reason": answer.stop_reason,
        "usage": {"input": 0, "output": 0, **msgspec.to_builtins(answer.usage)},
        "cost": answer.cost,
        "attempts": len(answer.attempts),
        "latency_s": round(answer.latency_s, 3),
        "error": None,
        "key": key,
        **_partly(answer.cost_nano, answer.attempts, spent_nano),
    }
    if answer.tool_calls:
        line["tool_calls"] = [
            {"id": call.id, "name": call.name, "arguments": call.arguments} for call in answer.tool_calls
        ]
    return _encode(line)


def failure_line(
    name: str | int, key: str, error: PenstockError, *, model: str | None = None, spent_nano: int = 0
) -> bytes:
    """Write a failed row; `model` is whom it would have asked where no attempt says so."""
    last = error.attempts[-1] if error.attempts else None
    asked = model.encode("utf-8", "replace").decode() if isinstance(model, str) else model
    call = error if isinstance(error, CallError) else None
    return _encode(
        {
            "id": name,
            "model": f"{last.provider}:{last.model}" if last else asked,
            "text": None,
            "stop_reason": None,
            "usage": None,
            "cost": None if error.cost_nano is None else to_usd(error.cost_nano),
            "attempts": len(error.attempts),
            "latency_s": None,
            "error": {
                "code": error.code,
                "message": error.message,
                "status": call.status if call else None,
                "request_id": call.request_id if call else None,
                "attempts": len(error.attempts),
                "retriable": error.retriable,
            },
            "key": key,
            **_partly(error.cost_nano, error.attempts, spent_nano),
        }
    )


def known_nano(attempts: Sequence[Attempt]) -> int:
    """Sum the costs that are known, in nano-dollars."""
    return sum(attempt.cost_nano or 0 for attempt in attempts)


def _partly(cost_nano: int | None, attempts: Sequence[Attempt], spent_nano: int) -> dict[str, Any]:
    known = known_nano(attempts) if cost_nano is None else 0
    costs = {"cost_known": known, "cost_before": spent_nano}
    return {name: to_usd(nano) for name, nano in costs.items() if nano}


class _Lock:
    """A file beside the output that one process holds; the system lets go of it when the process dies."""

    def __init__(self, path: Path, output: Path) -> None:
        self._path = path
        self._fd = -1
        while self._fd < 0:
            try:
                fd = os.open(path, os.O_RDWR | os.O_CREAT | getattr(os, "O_NONBLOCK", 0) | _NOT_THROUGH_LINKS, 0o644)
            except OSError as error:
                if os.path.lexists(path):
                    raise _in_the_way(path) from error
                raise _refused(output, error) from error
            if not _lock(fd):
                os.close(fd)
                raise OutputBusy(f"another run is writing {output}; wait for it to end, or choose another output (-o)")
            if not _is_empty_lock(fd):
                os.close(fd)
                raise _in_the_way(path)
            if _same_file(fd, path):
                self._fd = fd
            else:  # its owner removed it between our open and our lock
                os.close(fd)
        with contextlib.suppress(OSError):
            os.ftruncate(self._fd, 0)
            os.lseek(self._fd, 0, os.SEEK_SET)  # the look inside went to the end of what a killed run left
            os.write(self._fd, bytes(_reserve(self._fd)))

    def free_reserve(self) -> None:
        with contextlib.suppress(OSError):
            os.ftruncate(self._fd, 0)

    def release(self) -> None:
        if self._fd >= 0:
            with contextlib.suppress(OSError):
                self._path.unlink()
            os.close(self._fd)
            self._fd = -1


def _is_empty_lock(fd: int) -> bool:
    """Whether a file is a lock of ours, which holds nothing but zeros, and no second name of another file."""
    seen = os.fstat(fd)
    if not stat.S_ISREG(seen.st_mode) or seen.st_nlink > 1 or seen.st_size > RESERVE_BYTES:
        return False
    with open(fd, "rb", closefd=False) as file:
        return not file.read(RESERVE_BYTES).strip(b"\0")


def _reserve(fd: int) -> int:
    """How many bytes to keep aside on the disk of a file."""
    if not hasattr(os, "fstatvfs"):
        return RESERVE_BYTES
    disk = os.fstatvfs(fd)
    free = disk.f_bavail * disk.f_frsize
    return min(RESERVE_BYTES, free // RESERVE_SHARE) if free >= RESERVE_FROM_BYTES else 0


def _in_the_way(path: Path) -> OutputError:
    return OutputError(f"{path} is in the way and is no file of a run; remove it, or choose another output")


def _make(path: Path, output: Path) -> int:
    """Make a new file; what a killed run left there makes place, anything else is left alone."""
    flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | _NOT_THROUGH_LINKS
    with contextlib.suppress(OSError):
        if stat.S_ISREG(path.lstat().st_mode) and path.lstat().st_nlink == 1 and _begins_like_ours(path):
            path.unlink()
    try:
        return os.open(path, flags, 0o600)
    except FileExistsError:
        raise _in_the_way(path) from None
    except OSError as error:
        raise _refused(output, error) from error


def _begins_like_ours(path: Path) -> bool:
    with open(path, "rb") as file:
        begin = file.read(len(_BEGIN))
    return begin in (b"", _BEGIN)


def _lock(fd: int) -> bool:
    """Take the lock of a file without waiting; False when another process has it."""
    try:
        import fcntl
    except ImportError:  # Windows: the file cannot be removed while it is open, which is lock enough
        return True
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        return error.errno not in (errno.EWOULDBLOCK, errno.EAGAIN, errno.EACCES)
    return True


def _same_file(fd: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(fd), path.stat())
    except OSError:
        return False


def _open(path: Path) -> int:
    try:
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | getattr(os, "O_CLOEXEC", 0), 0o644)
    except OSError as error:
        raise _refused(path, error) from error
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        os.close(fd)
        raise OutputError(f"{path} is no regular file; a run needs one that it can read again, to resume")
    return fd


def _refused(path: Path, error: OSError) -> OutputError:
    """Say why the output cannot be written and what to do."""
    if error.errno in FULL:
        why = {errno.EFBIG: "reached the largest size that this process may write"}.get(
            error.errno or 0, "cannot grow: the disk or its quota is full"
        )
        return OutputFull(
            f"{path} {why}; every line written so far is whole. Make room and run the same command again."
        )
    hint = {
        errno.ENOENT: "its folder does not exist; create it first",
        errno.EISDIR: "it is a folder; name a file in it",
        errno.ENOTDIR: "a part of its path is not a folder",
        errno.EROFS: "its file system is read-only; choose another output",
        errno.EACCES: "permission denied; choose another output, or change its rights",
        errno.EPERM: "permission denied; choose another output, or change its rights",
    }.get(error.errno or 0, error.strerror or str(error))
    return OutputError(f"cannot write {path}: {hint}")


def _sync_folder(folder: Path) -> None:
    with contextlib.suppress(OSError):
        fd = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)


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


def _short(key: str) -> int:
    """Return 64 bits of a key; a key that is no hex number, as of another version, equals none of ours."""
    try:
        return int(key[:16], 16)
    except ValueError:
        return 0
