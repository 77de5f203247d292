"""`SRE` and `AsyncSRE`: the questions of an incident, asked through a client."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Generic, Self, TypeVar

from ..client import AsyncClient, Client
from . import questions
from .material import Source
from .questions import CLASSIFY_TOKENS, TOKENS, Clean, Question, Report, reported
from .verdicts import Analysis, IncidentPlan, Postmortem, Runbook, Triage

if TYPE_CHECKING:
    from .._io.extract_stream import AsyncExtractStream, ExtractStream

T = TypeVar("T")
MARGIN = 0.8
"""Of a model's window that is used: token counts of logs are estimates."""


class _Kit:
    """What both have: how to clean, how much to show, and the options of the calls."""

    def __init__(
        self,
        client: Client | AsyncClient,
        *,
        redact: bool | Sequence[str] = True,
        tokens: int = TOKENS,
        **options: Any,
    ) -> None:
        self._settings = client
        self._options: Mapping[str, Any] = options
        self.clean = Clean(redact).new
        self._tokens = tokens

    def _with(self, question: Question[Any], options: Mapping[str, Any]) -> dict[str, Any]:
        return {"max_tokens": question.max_tokens, **self._options, **options}

    def room(self, options: Mapping[str, Any] | None = None, most: int | None = None) -> int:
        """Return how many tokens of material are shown: `tokens`, or less where the model's window is smaller."""
        asked = {**self._options, **(options or {})}
        named = {name: asked[name] for name in ("model", "tier") if name in asked}
        window = self._settings.preview("?", **named).window
        room = self._tokens if most is None else most
        if window is None:
            return room
        answer = int(asked.get("max_tokens") or max(questions.ANSWER_TOKENS.values()))
        return max(500, min(room, int((window - answer - 1_500) * MARGIN)))

    def _triage(self, text: Source) -> Question[Triage]:
        return questions.classify(text, self.clean(), tokens=CLASSIFY_TOKENS)

    def _analysis(self, logs: Source, question: str, options: Mapping[str, Any]) -> Question[Analysis]:
        return questions.analyze(logs, self.clean(), tokens=self.room(options), question=question)

    def _incident(
        self,
        service: str,
        symptoms: str,
        duration: str,
        impact: str,
        context: Source | None,
        options: Mapping[str, Any],
    ) -> Question[IncidentPlan]:
        return questions.incident(
            service=service,
            symptoms=symptoms,
            duration=duration,
            impact=impact,
            context=context,
            clean=self.clean(),
            tokens=self.room(options),
        )

    def _runbook(
        self, topic: str, service: str, context: Source | None, options: Mapping[str, Any]
    ) -> Question[Runbook]:
        return questions.runbook(topic, service=service, context=context, clean=self.clean(), tokens=self.room(options))

    def _postmortem(self, notes: Source, title: str, options: Mapping[str, Any]) -> Question[Postmortem]:
        return questions.postmortem(notes, title=title, clean=self.clean(), tokens=self.room(options))


class SRE(_Kit):
    """The SRE kit for threads.

    `redact` says what is replaced before anything is sent: True for secrets and personal data, kinds by name (as
    `[*KINDS, "ip"]`), or False. `tokens` is about how much of a log is shown. All else are options of every call, as
    `model` or `tier`; each method takes them too.

    Raises: ConfigError for a kind that there is not.
    """

    def __init__(self, client: Client, **options: Any) -> None:
        super().__init__(client, **options)
        self._client = client

    def ask(self, question: Question[T], **options: Any) -> Report[T]:
        """Ask a question that was put together before."""
        return reported(
            question, self._client.extract(question.wanted, question.messages, **self._with(question, options))
        )

    def stream(self, question: Question[T], **options: Any) -> ReportStream[T]:
        """Ask and get the value as it grows."""
        stream = self._client.stream_extract(question.wanted, question.messages, **self._with(question, options))
        return ReportStream(question, stream)

    def classify(self, text: Source, **options: Any) -> Report[Triage]:
        """Say how bad one line, alert or message is, whose it is, and what to do next.

        Raises: InputError for what is empty or binary; PenstockError as `extract`.
        """
        return self.ask(self._triage(text), **options)

    def analyze(self, logs: Source, *, question: str = "", **options: Any) -> Report[Analysis]:
        """Say what logs of any size tell: severity, causes with their lines, timeline, what to do.

        `logs` are text, bytes, a path, an open file or pieces of bytes.

        Raises: InputError for what is empty or binary; PenstockError as `extract`.
        """
        return self.ask(self._analysis(logs, question, options), **options)

    def stream_analyze(self, logs: Source, *, question: str = "", **options: Any) -> ReportStream[Analysis]:
        """Analyze and get the value as it grows."""
        return self.stream(self._analysis(logs, question, options), **options)

    def incident(
        self,
        *,
        service: str,
        symptoms: str,
        duration: str = "",
        impact: str = "",
        context: Source | None = None,
        **options: Any,
    ) -> Report[IncidentPlan]:
        """Say how to go about an incident: severity, hypotheses, the first fifteen minutes, a status message.

        Raises: InputError; PenstockError as `extract`.
        """
        asked = self._incident(service, symptoms, duration, impact, context, options)
        return self.ask(asked, **options)

    def runbook(
        self, topic: str, *, service: str = "", context: Source | None = None, **options: Any
    ) -> Report[Runbook]:
        """Write the runbook of one kind of trouble.

        Raises: InputError; PenstockError as `extract`.
        """
        asked = self._runbook(topic, service, context, options)
        return self.ask(asked, **options)

    def postmortem(self, notes: Source, *, title: str = "", **options: Any) -> Report[Postmortem]:
        """Write the post-mortem of what notes, chats and logs tell.

        Raises: InputError; PenstockError as `extract`.
        """
        return self.ask(self._postmortem(notes, title, options), **options)


class AsyncSRE(_Kit):
    """The SRE kit for an event loop: the same parameters and results as `SRE`, awaited.

    Logs are read in the running loop; read large files with `material.read` in a thread first, as `analyze` of the
    command line does.
    """

    def __init__(self, client: AsyncClient, **options: Any) -> None:
        super().__init__(client, **options)
        self._client = client

    async def ask(self, question: Question[T], **options: Any) -> Report[T]:
        """Ask a question that was put together before."""
        found = await self._client.extract(question.wanted, question.messages, **self._with(question, options))
        return reported(question, found)

    def stream(self, question: Question[T], **options: Any) -> AsyncReportStream[T]:
        """Ask and get the value as it grows."""
        stream = self._client.stream_extract(question.wanted, question.messages, **self._with(question, options))
        return AsyncReportStream(question, stream)

    async def classify(self, text: Source, **options: Any) -> Report[Triage]:
        """Say how bad one line, alert or message is, whose it is, and what to do next.

        Raises: InputError for what is empty or binary; PenstockError as `extract`.
        """
        return await self.ask(self._triage(text), **options)

    async def analyze(self, logs: Source, *, question: str = "", **options: Any) -> Report[Analysis]:
        """Say what logs of any size tell: severity, causes with their lines, timeline, what to do.

        `logs` are text, bytes, a path, an open file or pieces of bytes.

        Raises: InputError for what is empty or binary; PenstockError as `extract`.
        """
        return await self.ask(self._analysis(logs, question, options), **options)

    def stream_analyze(self, logs: Source, *, question: str = "", **options: Any) -> AsyncReportStream[Analysis]:
        """Analyze and get the value as it grows."""
        return self.stream(self._analysis(logs, question, options), **options)

    async def incident(
        self,
        *,
        service: str,
        symptoms: str,
        duration: str = "",
        impact: str = "",
        context: Source | None = None,
        **options: Any,
    ) -> Report[IncidentPlan]:
        """Say how to go about an incident: severity, hypotheses, the first fifteen minutes, a status message.

        Raises: InputError; PenstockError as `extract`.
        """
        asked = self._incident(service, symptoms, duration, impact, context, options)
        return await self.ask(asked, **options)

    async def runbook(
        self, topic: str, *, service: str = "", context: Source | None = None, **options: Any
    ) -> Report[Runbook]:
        """Write the runbook of one kind of trouble.

        Raises: InputError; PenstockError as `extract`.
        """
        asked = self._runbook(topic, service, context, options)
        return await self.ask(asked, **options)

    async def postmortem(self, notes: Source, *, title: str = "", **options: Any) -> Report[Postmortem]:
        """Write the post-mortem of what notes, chats and logs tell.

        Raises: InputError; PenstockError as `extract`.
        """
        return await self.ask(self._postmortem(notes, title, options), **options)


class ReportStream(Generic[T]):
    """A report as it is produced: partial values while it grows; `finish` gives the whole. Leave it any time."""

    def __init__(self, question: Question[T], stream: ExtractStream[T]) -> None:
        self.question = question
        self._stream = stream

    def __iter__(self) -> Iterator[Any]:
        return iter(self._stream)

    def finish(self) -> Report[T]:
        """Read what is left and return the report."""
        return reported(self.question, self._stream.finish())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._stream.close()


class AsyncReportStream(Generic[T]):
    """A report as it is produced: partial values while it grows; `finish` gives the whole. Leave it any time."""

    def __init__(self, question: Question[T], stream: AsyncExtractStream[T]) -> None:
        self.question = question
        self._stream = stream

    def __aiter__(self) -> AsyncIterator[Any]:
        return aiter(self._stream)

    async def finish(self) -> Report[T]:
        """Read what is left and return the report."""
        return reported(self.question, await self._stream.finish())

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *error: object) -> None:
        await self._stream.close()
