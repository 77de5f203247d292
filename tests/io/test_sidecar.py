"""Side files: whole or not believed, and nobody else's file is touched."""

from __future__ import annotations

import os
from array import array
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock._io import sidecar


class Head(msgspec.Struct):
    """What a test keeps."""

    name: str


def saved(path: Path) -> bytes:
    """A side file with two arrays."""
    sidecar.save(path, Head("x"), [array("Q", range(50)), array("Q", [7])])
    return path.read_bytes()


def test_what_was_saved_is_loaded(tmp_path: Path) -> None:
    """Head and arrays; nothing else stays in the folder."""
    saved(tmp_path / "side")
    found = sidecar.load(tmp_path / "side", Head)
    assert found is not None
    assert (found[0].name, list(found[1][0]), list(found[1][1])) == ("x", list(range(50)), [7])
    assert [path.name for path in tmp_path.iterdir()] == ["side"]


@given(cut=st.integers(0, 600), flip=st.integers(0, 600), more=st.binary(max_size=3))
def test_a_torn_or_changed_side_file_is_not_believed(
    tmp_path_factory: pytest.TempPathFactory, cut: int, flip: int, more: bytes
) -> None:
    """Whatever byte of it is gone, other or too much."""
    path = tmp_path_factory.mktemp("side") / "side"
    data = saved(path)
    changed = bytearray(data)
    changed[flip % len(data)] ^= 0x41
    for wrong in (data[: cut % len(data)], bytes(changed), data + more + b"x"):
        path.write_bytes(wrong)
        assert sidecar.load(path, Head) is None


def test_somebody_elses_file_is_left_alone(tmp_path: Path) -> None:
    """Also a link, and also under the name that a side file has while it grows."""
    path = tmp_path / "side"
    path.write_text("mine")
    sidecar.save(path, Head("x"), [])
    assert path.read_text() == "mine"
    path.unlink()
    (tmp_path / "side.tmp").write_text("mine")
    sidecar.save(path, Head("x"), [])
    assert (path.exists(), (tmp_path / "side.tmp").read_text()) == (False, "mine")
    (tmp_path / "side.tmp").unlink()
    os.symlink(tmp_path / "elsewhere", path)
    sidecar.save(path, Head("x"), [])
    assert not (tmp_path / "elsewhere").exists()
    assert sidecar.load(path, Head) is None


def test_a_full_disk_gets_no_side_file(tmp_path: Path) -> None:
    """What is written of it goes away again, so that answers find the room."""
    from tests.io.test_journal import size_limit

    with size_limit(1000):
        sidecar.save(tmp_path / "side", Head("x"), [array("Q", range(5000))])
    assert list(tmp_path.iterdir()) == []
