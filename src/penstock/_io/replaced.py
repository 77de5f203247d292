"""Files that are replaced in one step, and why a file cannot be written."""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import BinaryIO, Final

from ..errors import OutputError, OutputFull

FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
NOT_THROUGH_LINKS: Final = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_CLOEXEC", 0)
COPY_BYTES: Final = 1024 * 1024


@contextlib.contextmanager
def replaced(path: Path, begins: Sequence[bytes]) -> Iterator[BinaryIO]:
    """Write a file that takes the place of another when the block ends well; a crash leaves the old one or the new one.

    It grows as `.NAME.tmp` beside it. What a killed run left there makes place if it starts as ours do (`begins`).

    Raises: OutputError; the old file is untouched then.
    """
    side = path.with_name(f".{path.name}.tmp")
    fd = _make(side, path, begins)
    try:
        with open(fd, "wb", buffering=COPY_BYTES) as file:
            yield file
            file.flush()
            _take_mode(fd, path)
            os.fsync(fd)
        os.replace(side, path)
    except BaseException as error:
        with contextlib.suppress(OSError):
            side.unlink()
        if isinstance(error, OSError):
            raise refused(path, error) from error
        raise
    _sync_folder(path.parent)


def _take_mode(fd: int, path: Path) -> None:
    """Give a new file the rights of the old one, or those that the user's new files have."""
    if not hasattr(os, "fchmod"):
        return
    try:
        mode = stat.S_IMODE(path.stat().st_mode)
    except OSError:
        mask = os.umask(0)
        os.umask(mask)
        mode = 0o666 & ~mask
    os.fchmod(fd, mode)


def _make(path: Path, output: Path, begins: Sequence[bytes]) -> int:
    """Make a new file; what a killed run left there makes place, anything else is left alone."""
    flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | NOT_THROUGH_LINKS
    with contextlib.suppress(OSError):
        if stat.S_ISREG(path.lstat().st_mode) and path.lstat().st_nlink == 1 and _is_ours(path, begins):
            path.unlink()
    try:
        return os.open(path, flags, 0o600)
    except FileExistsError:
        raise in_the_way(path) from None
    except OSError as error:
        raise refused(output, error) from error


def _is_ours(path: Path, begins: Sequence[bytes]) -> bool:
    with open(path, "rb") as file:
        head = file.read(max(map(len, begins)))
    return not head or head.startswith(tuple(begins))


def in_the_way(path: Path) -> OutputError:
    """Say that a file of somebody else has a name that a run needs."""
    return OutputError(f"{path} is in the way and is no file of a run; remove it, or choose another output")


def refused(path: Path, error: OSError) -> OutputError:
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
