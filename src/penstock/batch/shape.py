"""What the answers of a job are to be: a type or a schema, and how it is asked for."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, cast

import msgspec

from .._flow.effects import Lane
from .._flow.extracted import Extracted, Mode
from .._flow.mode import Plan, Refusals, plan, shaped
from .._flow.prompt import ExtractOptions, Options, Prompt
from .._flow.reading import Reader, Turn, misfit, reasons
from .._flow.wish import OWN, Own, asked, parted
from .._io.drive_async import AsyncRun
from .._io.shardlog import Shard
from .._policy.timeouts import Timeouts
from ..client import AsyncClient
from ..errors import ContentFiltered, ExtractionFailed, ModelRefused, ParseError, PenstockError, TruncatedOutput
from ..types import Request, Response
from .harvest import Ended
from .key import with_schema


class Shape:
    """A type or JSON Schema with the options of an extraction, taken out of `params`.

    Raises: ConfigError for a type that cannot be expressed or an option that is wrong.
    """

    def __init__(self, wanted: Any, params: Mapping[str, Any]) -> None:
        own, rest = parted(params)
        self.params: dict[str, Any] = dict(rest)
        self._wanted = wanted
        self._options = {name: value for name, value in params.items() if name in OWN}
        ask = asked(wanted, own, (), Refusals())
        self.reader: Reader = ask.reader
        self.schema: Any = ask.reader.plain.schema
        self._wish = ask.wish
        self._schema = msgspec.json.encode((ask.wish.schema, own.mode), order="deterministic")

    def begin(
        self, client: AsyncClient, prompt: Prompt, options: Options, timeouts: Timeouts | None = None
    ) -> AsyncRun:
        """Make an extraction ready to be finished."""
        return client._extracting(
            self._wanted, prompt, cast(ExtractOptions, {**self._options, **options}), stream=False, timeouts=timeouts
        )

    def key(self, key: str) -> str:
        """Return the key of a question with its schema; `key` is that of the question alone."""
        return with_schema(key, self._schema)

    def ask(self, client: AsyncClient, request: Request, lane: Lane) -> tuple[Request, Mode]:
        """Return the request as a lane is asked it for the value in a batch, and how that is.

        Raises: ConfigError for a `mode` that the lane or the schema cannot have.
        """
        chosen = plan(lane, request, self._wish, client._refusals or Refusals())
        return shaped(request, self._wish, chosen, lane), chosen.mode


def read_ends(ended: Iterator[Ended], shard: Shard, shape: Shape | None) -> Iterator[Ended]:
    """Read the answers of a shard as the values that were asked for; what does not fit is a failure.

    The job's own type reads them. Where it has another one now, or is not known, as when its batches are withdrawn, the
    JSON Schema does by which they were asked.
    """
    if shape is not None and _written(shape.schema) == _written(shard.schema):
        reader = shape.reader
    else:
        reader = asked(shard.schema, Own(), (), Refusals()).reader
    for each in ended:
        if each.row.mode is not None and isinstance(each.end, Response):
            yield each._replace(end=_read(reader, each.end, each.row.mode))
        else:
            yield each


def _read(reader: Reader, answer: Response, mode: Mode) -> Extracted[Any] | PenstockError:
    """Read an answer as an extraction does that asks nothing again."""
    asked_by = Plan(mode, "", {})
    error: ExtractionFailed | TruncatedOutput | ContentFiltered | ModelRefused
    try:
        parsed = reader.read(answer, asked_by)
    except ParseError as wrong:
        error = misfit(Turn(answer, asked_by, reasons(wrong)), (answer,), wrong.candidates)
    except (TruncatedOutput, ContentFiltered, ModelRefused) as none:
        error = none
    else:
        return Extracted(
            value=parsed.value,
            repairs=parsed.repairs,
            mode=mode,
            responses=(answer,),
            attempts=answer.attempts,
            cost_nano=answer.cost_nano,
        )
    error.attempts = answer.attempts
    error.cost_nano = answer.cost_nano
    return error


def _written(schema: Any) -> bytes:
    return msgspec.json.encode(schema, order="deterministic")
