"""The lock of a journal: a file beside it that one process holds; the system lets go of it when the process dies."""

from __future__ import annotations

import contextlib
import errno
import os
import stat
import time
from pathlib import Path
from typing import Final

from ..errors import OutputBusy
from .replaced import NOT_THROUGH_LINKS, in_the_way, refused

RESERVE_BYTES: Final = 1024 * 1024
"""Kept aside in the lock file: when the disk is full it is freed, so that answers under way still find room."""

RESERVE_SHARE: Final = 20
"""At most one part in so many of what is free: a small disk is for the answers themselves."""

RESERVE_FROM_BYTES: Final = 64 * 1024
"""Where less is free, nothing is kept aside."""


def lock_path(journal: Path) -> Path:
    """Return where the lock of a journal stands."""
    return journal.with_name(f".{journal.name}.lock")


def is_held(path: Path) -> bool:
    """Whether a process holds the lock now; nothing is changed by asking."""
    try:
        fd = os.open(path, os.O_RDWR | getattr(os, "O_NONBLOCK", 0) | NOT_THROUGH_LINKS)
    except OSError:
        return False
    try:
        return not _lock(fd)
    finally:
        os.close(fd)


class Lock:
    """A file beside the output that one process holds; the system lets go of it when the process dies."""

    def __init__(self, path: Path, output: Path) -> None:
        self._path = path
        self._fd = -1
        while self._fd < 0:
            try:
                fd = os.open(path, os.O_RDWR | os.O_CREAT | getattr(os, "O_NONBLOCK", 0) | NOT_THROUGH_LINKS, 0o644)
            except OSError as error:
                if os.path.lexists(path):
                    raise in_the_way(path) from error
                raise refused(output, error) from error
            if not _lock(fd) and not _lock_later(fd):
                os.close(fd)
                raise OutputBusy(f"another run is writing {output}; wait for it to end, or choose another output (-o)")
            if not _is_empty_lock(fd):
                os.close(fd)
                raise in_the_way(path)
            if _same_file(fd, path):
                self._fd = fd
            else:  # its owner removed it between our open and our lock
                os.close(fd)
        with contextlib.suppress(OSError):
            os.ftruncate(self._fd, 0)
            os.lseek(self._fd, 0, os.SEEK_SET)  # reading it moved the place where it is written
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


def _lock_later(fd: int) -> bool:
    """Try once more: somebody may only have asked whether it is held."""
    time.sleep(0.01)
    return _lock(fd)


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
