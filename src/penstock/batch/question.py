"""What the rows of a job ask, and of whom: the identity of a question, and the options of its call."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from hashlib import blake2b
from typing import TYPE_CHECKING, Any, Final, NamedTuple, cast

import msgspec

from .._flow.prompt import Options
from .._io.drive_async import AsyncRun
from .._io.rows import FORMS_MAX, Form, Row, check_row, form_of
from .._policy.concurrency import PROMPT_SHARE
from .._policy.timeouts import Timeouts
from .._text import tokens
from ..client import AsyncClient, Preview
from ..errors import ConfigError, InputError, PenstockError
from ..types import Request
from .key import KeyMould, key_of
from .projection import Sample, likely_output

if TYPE_CHECKING:
    from .shape import Shape


class Task(NamedTuple):
    """A row to be asked, the key of its question, and the lane that it names itself.

    `counted` are the tokens of its prompt and of the answer that it may have, `work` how long that takes in tokens
    written; both only where sizes were asked for.

    `shaped`: its answer is to be JSON. `sent`: a call for it went out in this run. `failed_with` is the code of its
    failure earlier in this run, `spent_nano` what earlier calls for it cost, `wrong` why it cannot be asked.
    """

    row: Row
    key: str
    lane: str | None
    shaped: bool = False
    sent: bool = False
    failed_with: str | None = None
    spent_nano: int = 0
    wrong: PenstockError | None = None
    counted: int = 0
    work: float = 0.0


_BY_PROMPT: Final = frozenset({"tier", "task", "region", "truncate"})
"""Options by which a prompt decides more than what is asked: of whom, or how much of it."""


class Mould(NamedTuple):
    """What the rows of one form have in common, with the keys of their questions.

    `first` is the lane that they go to first, `lane` the same where they name it themselves, `asked` what they ask with
    another prompt. `overhead` are the tokens of a question beside those of its prompt, `output` those that its answers
    may have.
    """

    keys: KeyMould
    first: str
    lane: str | None
    asked: Request
    shaped: bool
    overhead: int
    output: int


class Questions:
    """Reads rows as the client would for a call, with nothing sent.

    `params` are options of every row, `models` the pool where rows go that name none. With `checked` rows were looked
    at as they were read. With a `schema`, a type or a JSON Schema, each row is an extraction. `sample` is shown what is
    asked; with `sizes` rows are measured.
    """

    def __init__(
        self,
        client: AsyncClient,
        models: Sequence[str],
        params: Mapping[str, Any],
        *,
        checked: bool = False,
        schema: Any = None,
    ) -> None:
        self._client = client
        self._is_checked = checked
        self._models = models
        self.shape = None if schema is None else _shape(schema, params)
        self._params = params if self.shape is None else self.shape.params
        self._pool: tuple[tuple[str, str], ...] = ()
        self._homeless: ConfigError | None = None
        self._moulds: dict[Form | None, Mould | None] = {}
        self.sample: Sample | None = None
        self.sizes = False

    def check_job(self) -> None:
        """Look at what all rows share, so that an error after this is a row's own.

        Raises: ConfigError, InputError.
        """
        if "model" in self._params:
            raise ConfigError("params has a model; name it in models=[…], or in the rows that it is for")
        if self._models and "tier" in self._params:
            raise ConfigError("the job names models and params has a tier, which would not count; give one of them")
        job = Row(id="?", prompt="?", params=dict(self._params))
        check_row(job)
        if self.shape is not None:
            for model in self._models or (None,):
                self.begin(job, model, None, {})
        self._homeless = None
        self._moulds.clear()
        if self._models:
            self._pool = tuple(sorted(self._preview(job, model).lanes[0] for model in self._models))
            return
        try:
            lane = self._preview(job, None).lanes[0]
        except ConfigError as error:
            self._homeless = error  # which is none if every row says where it goes
        else:
            self._pool = (lane,)

    def identity(self, of_rows: tuple[Any, ...]) -> str:
        """Hash all that decides, beside the text of a row, whether it can be asked and what it asks of whom."""
        from importlib.metadata import version  # 13 ms, which no help needs

        job = Row(id="?", prompt="?", params=dict(self._params))
        asked = [self._preview(job, model).request for model in self._models]
        if not asked and self._homeless is None:
            asked = [self._preview(job, None).request]
        lanes = self._homeless.message if self._homeless is not None else self._pool
        shape = None if self.shape is None else self.shape.key("")
        told = (version("penstock"), lanes, asked, of_rows, shape, self._client._routing())
        return blake2b(msgspec.json.encode(told, order="deterministic"), digest_size=16).hexdigest()

    def task(self, row: Row) -> Task:
        """Read a row: what it asks, of whom, or what is wrong with it."""
        try:
            return self.ask(row)
        except (ConfigError, InputError) as error:
            wrong = InputError(f"line {row.line}: {error.message}") if row.line else error
            return Task(row, key_of((), error.message), None, wrong=wrong)

    def ask(self, row: Row) -> Task:
        """Find what decides the answer: where the row may go, the prompt and the parameters.

        Raises: InputError, ConfigError for a row that cannot be asked.
        """
        if row.problem is not None or not self._is_checked:
            check_row(row)
        sampled = self.sample is not None and self.sample.is_due()
        form = form_of(row) if self._is_checked else None
        mould = self._moulds.get(form)
        if mould is not None:
            return self._moulded(mould, row, sampled=sampled)
        own = row.model is not None or row.params.get("tier") is not None
        if not own and self._homeless is not None:
            raise self._homeless
        seen = self._asked(row, own=own)
        if form is not None:
            self._learn(form, row, own=own)
        asked, first = seen.request, seen.lanes[0][0]
        prompt = tokens.estimate_request(asked) if sampled or self.sizes else 0
        counted, work = self._measured(first, asked, prompt, likely_output(asked), sampled=sampled)
        key = self._shaped(key_of(self._lanes(seen, own=own), asked))
        return Task(row, key, first if own else None, _is_shaped(asked), counted=counted, work=work)

    def _learn(self, form: Form, row: Row, *, own: bool) -> None:
        """Keep what the rows of a form have in common when its second one comes, unless the prompt decides more."""
        if self._client._truncate is not None or _BY_PROMPT & (row.params.keys() | self._params.keys()):
            return
        if form not in self._moulds:
            if len(self._moulds) >= FORMS_MAX:
                self._moulds.clear()
            self._moulds[form] = None
            return
        seen = self._asked(msgspec.structs.replace(row, prompt=KeyMould.MARK), own=own)
        asked, first = seen.request, seen.lanes[0][0]
        self._moulds[form] = Mould(
            KeyMould(self._lanes(seen, own=own), asked),
            first,
            first if own else None,
            asked,
            _is_shaped(asked),
            tokens.estimate_request(asked) - tokens.estimate(KeyMould.MARK),
            likely_output(asked),
        )

    def _moulded(self, mould: Mould, row: Row, *, sampled: bool) -> Task:
        text = str(row.prompt)
        prompt = mould.overhead + tokens.estimate(text) if sampled or self.sizes else 0
        counted, work = self._measured(mould.first, mould.asked, prompt, mould.output, sampled=sampled)
        return Task(row, self._shaped(mould.keys.key(text)), mould.lane, mould.shaped, counted=counted, work=work)

    def _measured(self, first: str, asked: Request, prompt: int, output: int, *, sampled: bool) -> tuple[int, float]:
        """Show a row to the sample; return what it counts and how long it is at work, for `Task`."""
        if self.sample is not None:
            self.sample.expect(output)
            if sampled:
                self.sample.see(first, prompt, asked)
        return (prompt + output, output + prompt * PROMPT_SHARE) if self.sizes else (0, 0.0)

    def _asked(self, row: Row, *, own: bool) -> Preview:
        return self._preview(row, None if own else next(iter(self._models), None))

    def _lanes(self, seen: Preview, *, own: bool) -> tuple[tuple[str, str], ...]:
        return seen.lanes[:1] if own else self._pool

    def _shaped(self, key: str) -> str:
        return key if self.shape is None else self.shape.key(key)

    def begin(self, row: Row, model: str | None, timeouts: Timeouts | None, options: Options) -> AsyncRun:
        """Make the call of a row ready to be finished, with what `options` add to its own."""
        options = cast(Options, {**options, **self.options(row, model)})
        if self.shape is None:
            return self._client._begin(row.prompt, timeouts, **options)
        return self.shape.begin(self._client, row.prompt, options, timeouts)

    def is_homeless(self, task: Task) -> bool:
        """Whether a row cannot be asked because neither it nor the job says whom."""
        return self._homeless is not None and task.wrong is self._homeless

    def _preview(self, row: Row, model: str | None) -> Preview:
        return self._client.preview(row.prompt, **self.options(row, model))

    def options(self, row: Row, model: str | None) -> Options:
        """Put together what a row's call is asked with; a row's own model or tier wins over `model`."""
        own = {name: value for name, value in row.params.items() if value is not None}
        to = row.model if row.model is not None else None if "tier" in own else model or None
        return cast(Options, {"priority": "batch", **self._params, **own, "model": to})


def _is_shaped(asked: Request) -> bool:
    return asked.response_format not in (None, "text")


def _shape(schema: Any, params: Mapping[str, Any]) -> Shape:
    from .shape import Shape  # loaded with the first schema

    return Shape(schema, params)
