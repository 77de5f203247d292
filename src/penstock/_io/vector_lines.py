"""The lines in which a journal keeps vectors: base64 of little-endian 32-bit floats, a quarter of their digits."""

from __future__ import annotations

import sys
from array import array
from base64 import b64decode, b64encode

import msgspec

from ..types import to_usd


class Failure(msgspec.Struct, frozen=True, kw_only=True):
    """Why a row has no vector."""

    code: str
    message: str
    status: int | None = None
    retriable: bool = False


class VectorLine(msgspec.Struct):
    """What an output needs of a line; `vector` is None where the row failed."""

    id: str | int
    vector: str | None = None
    error: Failure | None = None

    @property
    def raw(self) -> bytes:
        """The numbers of the vector as little-endian 32-bit floats."""
        return b64decode(self.vector or "")

    @property
    def floats(self) -> array[float]:
        """The numbers of the vector."""
        return _ordered(array("f", self.raw))


read_vector_line = msgspec.json.Decoder(VectorLine).decode
_encode = msgspec.json.Encoder(decimal_format="number").encode


def _ordered(floats: array[float]) -> array[float]:
    if sys.byteorder == "big":
        floats.byteswap()
    return floats


def vector_line(
    name: str | int, key: str, model: str, vector: array[float], cost_nano: int | None, spent_nano: int
) -> bytes:
    """Write the line of an embedded row; `spent_nano` is what earlier calls for it cost."""
    packed = b64encode(_ordered(array("f", vector)).tobytes()).decode()
    return _line(name, key, model, cost_nano, spent_nano, {"vector": packed, "error": None})


def failed_line(
    name: str | int, key: str, model: str, failure: Failure, cost_nano: int | None, spent_nano: int
) -> bytes:
    """Write the line of a row without a vector."""
    error = {**msgspec.to_builtins(failure), "request_id": None, "attempts": 1}
    return _line(name, key, model, cost_nano, spent_nano, {"vector": None, "error": error})


def repeated_line(line: bytes, name: str | int) -> bytes:
    """Write the line of a row with the text of another: what came of that, at no cost."""
    fields = msgspec.json.decode(line)
    return _line(name, fields["key"], fields["model"], 0, 0, {"vector": fields["vector"], "error": fields["error"]})


def _line(
    name: str | int, key: str, model: str, cost_nano: int | None, spent_nano: int, more: dict[str, object]
) -> bytes:
    cost = None if cost_nano is None else to_usd(cost_nano)
    before = {"cost_before": to_usd(spent_nano)} if spent_nano else {}
    return _encode({"id": name, "model": model, **more, "cost": cost, "key": key, **before})
