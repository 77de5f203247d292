"""What an embedding of texts gives: their vectors, packed as 32-bit floats, and what they took."""

from __future__ import annotations

import importlib
from array import array
from collections.abc import Iterable, Iterator, Sequence
from decimal import Decimal
from typing import Any, Literal, overload

import msgspec

from .types import Attempt, Request, Usage, to_usd

NOWHERE = -1
"""The place of an input that has no vector."""

_ROW_BITS = 32


class Vectors(Sequence["array[float]"]):
    """One vector of 32-bit floats per input, in the order of the inputs; 4 bytes a number, made a list when asked for.

    `vectors[i]` is an `array('f')` of `size` numbers: a copy, which may be changed. It is empty for an input that was
    skipped. Equal inputs share what is kept.
    """

    __slots__ = ("_blocks", "_places", "size")

    def __init__(self, size: int = 0, blocks: Sequence[array[float]] = (), places: Iterable[int] = ()) -> None:
        self.size = size
        self._blocks = tuple(blocks)
        self._places = array("q", places)

    def __len__(self) -> int:
        return len(self._places)

    @overload
    def __getitem__(self, index: int) -> array[float]: ...
    @overload
    def __getitem__(self, index: slice) -> list[array[float]]: ...
    def __getitem__(self, index: int | slice) -> array[float] | list[array[float]]:
        if isinstance(index, slice):
            return [self._at(place) for place in self._places[index]]
        return self._at(self._places[index])

    def __iter__(self) -> Iterator[array[float]]:
        return map(self._at, self._places)

    def _at(self, place: int) -> array[float]:
        if place == NOWHERE:
            return array("f")
        block, row = place >> _ROW_BITS, place & (1 << _ROW_BITS) - 1
        return self._blocks[block][row * self.size : (row + 1) * self.size]

    def has(self, index: int) -> bool:
        """Whether the input has a vector."""
        return self._places[index] != NOWHERE

    @property
    def nbytes(self) -> int:
        """The bytes that the numbers take."""
        return sum(len(block) * block.itemsize for block in self._blocks)

    def numpy(self) -> Any:
        """Return the vectors as a numpy array of float32, one row per input; rows of skipped inputs are NaN.

        Raises: ImportError without numpy (pip install 'penstock[numpy]').
        """
        try:
            numpy = importlib.import_module("numpy")
        except ImportError as error:
            raise ImportError("this needs numpy: pip install 'penstock[numpy]'") from error
        rows = numpy.full((len(self), self.size), numpy.nan, dtype=numpy.float32)
        places = numpy.frombuffer(self._places, dtype=numpy.int64) if self._places else numpy.empty(0, numpy.int64)
        for number, block in enumerate(self._blocks):
            here = numpy.nonzero(places >> _ROW_BITS == number)[0]
            whole = numpy.frombuffer(block, dtype=numpy.float32).reshape(-1, self.size)
            rows[here] = whole[places[here] & (1 << _ROW_BITS) - 1]
        return rows

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Vectors) and len(self) == len(other) and all(map(array.__eq__, self, other))

    __hash__ = None  # type: ignore[assignment] # it is compared by its numbers, like a list

    def __repr__(self) -> str:
        return f"<Vectors {len(self)} × {self.size}>"


def place_of(block: int, row: int) -> int:
    """Return the place of a row of a block, as `Vectors` takes it."""
    return block << _ROW_BITS | row


class BadInput(msgspec.Struct, frozen=True, kw_only=True):
    """An input that the provider refused: its place among the inputs, the code of the error, and what was said."""

    index: int
    code: str
    message: str
    status: int | None = None


class Embeddings(msgspec.Struct, frozen=True, kw_only=True):
    """The vectors of texts, in their order, with what they took.

    `usage` and `cost_nano` count every attempt, `cost` is the same in dollars; None when a price is unknown. `requests`
    is how many went out, each of many texts; `attempts` tells of each. `errors` are inputs that were refused, where
    they were to be skipped: their vectors are empty. `latency_s` is the time from the call's start to its end.
    """

    provider: str
    model: str
    vectors: Vectors
    usage: Usage = Usage()
    cost_nano: int | None = None
    served_model: str | None = None
    requests: int = 0
    attempts: tuple[Attempt, ...] = ()
    errors: tuple[BadInput, ...] = ()
    latency_s: float = 0.0
    tags: dict[str, str] = {}

    def __len__(self) -> int:
        return len(self.vectors)

    def __iter__(self) -> Iterator[array[float]]:
        return iter(self.vectors)

    def __getitem__(self, index: int) -> array[float]:
        return self.vectors[index]

    @property
    def dimensions(self) -> int:
        """How many numbers a vector has; 0 when there is none."""
        return self.vectors.size

    @property
    def cost(self) -> Decimal | None:
        """Dollars, exact; None when the price of the model is unknown."""
        return None if self.cost_nano is None else to_usd(self.cost_nano)

    def numpy(self) -> Any:
        """Return the vectors as a numpy array of float32; see `Vectors.numpy`.

        Raises: ImportError without numpy (pip install 'penstock[numpy]').
        """
        return self.vectors.numpy()


InputType = Literal["search_document", "search_query", "classification", "clustering"]
"""What vectors are for; those of documents and of queries are found by each other."""


class TextsRequest(Request, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """A request about texts in place of messages, that no model answers in words.

    `input_tokens` is about how many tokens they are, `most_tokens` a number that they cannot exceed.
    """

    texts: tuple[str, ...] = ()
    input_tokens: int = 0
    most_tokens: int = 0


class EmbedRequest(TextsRequest, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """What goes into one request for vectors."""

    dimensions: int | None = None
    input_type: InputType | None = None
