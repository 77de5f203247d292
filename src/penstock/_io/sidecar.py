"""Files beside a journal that save work and are never needed: what they hold can be found again by reading everything.

A side file is a line with the digest of all that follows, a line of JSON, and arrays of 64-bit numbers as the machine
has them. It is believed only if it is whole; whether it speaks of what is there now is for its reader to find out.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import stat
import sys
from array import array
from collections.abc import Sequence
from pathlib import Path
from typing import Any, BinaryIO, Final, TypeVar

import msgspec

from .replaced import NOT_THROUGH_LINKS

WORTH_ROWS: Final = 20_000
"""Fewer rows are read faster than anybody notices, and get no side file."""

BLOCK_BYTES: Final = 1024 * 1024
_MARK: Final = b"penstock side file 1 "
_HEAD_MAX_BYTES: Final = 1024 * 1024
_ROOM: Final = 4
"""A side file is written where so many of it would find room: a disk that fills is for answers."""

HeadT = TypeVar("HeadT", bound=msgspec.Struct)


class _Head(msgspec.Struct):
    lengths: list[int]
    order: str
    head: msgspec.Raw


def save(path: Path, head: msgspec.Struct, arrays: Sequence[array[int]]) -> None:
    """Replace a side file in one step. What stands in the way is left alone, and what cannot be written is left out."""
    side = path.with_name(f"{path.name}.tmp")
    first = msgspec.json.encode(_Head([len(each) for each in arrays], sys.byteorder, _raw(head))) + b"\n"
    summed = hashlib.sha256(first)
    for each in arrays:
        summed.update(each)
    with contextlib.suppress(OSError):
        if not (_gives_way(path) and _gives_way(side) and _has_room(path, arrays)):
            return
        with contextlib.suppress(FileNotFoundError):
            side.unlink()
        fd = os.open(side, os.O_WRONLY | os.O_CREAT | os.O_EXCL | NOT_THROUGH_LINKS, 0o600)
        try:
            with open(fd, "wb", buffering=0) as file:
                _write(file, memoryview(_MARK + summed.hexdigest().encode() + b"\n" + first))
                for each in arrays:
                    _write(file, memoryview(each).cast("B"))
            os.replace(side, path)
        except OSError:
            side.unlink()


def load(path: Path, kind: type[HeadT]) -> tuple[HeadT, list[array[int]]] | None:
    """Read a side file; None unless it is whole and of this machine's kind."""
    try:
        fd = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | NOT_THROUGH_LINKS)
        with open(fd, "rb") as file:
            return _load(file, kind)
    except (OSError, EOFError, ValueError, msgspec.DecodeError):
        return None


def _load(file: BinaryIO, kind: type[HeadT]) -> tuple[HeadT, list[array[int]]] | None:
    marked, first = file.readline(_HEAD_MAX_BYTES), file.readline(_HEAD_MAX_BYTES)
    if not marked.startswith(_MARK):
        return None
    found = msgspec.json.decode(first, type=_Head)
    left = os.fstat(file.fileno()).st_size - len(marked) - len(first)
    if found.order != sys.byteorder or min(found.lengths, default=0) < 0 or left != 8 * sum(found.lengths):
        return None
    summed, arrays = hashlib.sha256(first), []
    for length in found.lengths:
        numbers = array("Q")
        numbers.fromfile(file, length)
        summed.update(numbers)
        arrays.append(numbers)
    if marked[len(_MARK) :] != summed.hexdigest().encode() + b"\n":
        return None
    return msgspec.json.decode(found.head, type=kind), arrays


def hashed(file: BinaryIO, size: int) -> Any | None:
    """Return the state of a SHA-256 over the next `size` bytes of a file, None when it has fewer."""
    summed = hashlib.sha256()
    while size > 0:
        block = file.read(min(size, BLOCK_BYTES))
        if not block:
            return None
        summed.update(block)
        size -= len(block)
    return summed


def _raw(head: msgspec.Struct) -> msgspec.Raw:
    return msgspec.Raw(msgspec.json.encode(head))


def _gives_way(path: Path) -> bool:
    """Whether nothing stands there, or a file of ours."""
    try:
        seen = path.lstat()
        if not stat.S_ISREG(seen.st_mode) or seen.st_nlink > 1:
            return False
        with path.open("rb") as file:
            head = file.read(len(_MARK))
    except FileNotFoundError:
        return True
    return _MARK.startswith(head) or head == _MARK


def _has_room(path: Path, arrays: Sequence[array[int]]) -> bool:
    if not hasattr(os, "statvfs"):
        return True
    disk = os.statvfs(path.parent)
    return disk.f_bavail * disk.f_frsize > _ROOM * 8 * sum(map(len, arrays))


def _write(file: Any, view: memoryview) -> None:
    while view:
        view = view[file.write(view) :]
