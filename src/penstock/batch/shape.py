"""What the answers of a job are to be: a type or a schema, and how it is asked for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

import msgspec

from .._flow.mode import Refusals
from .._flow.prompt import ExtractOptions, Options, Prompt
from .._flow.reading import Reader
from .._flow.wish import OWN, asked, parted
from .._io.drive_async import AsyncRun
from .._policy.timeouts import Timeouts
from ..client import AsyncClient
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
