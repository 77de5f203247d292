"""`Agent` and `AsyncAgent`: a client, tools and limits in; runs out."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping
from decimal import Decimal
from types import TracebackType
from typing import Any, Final, Generic, Literal, Self, TypeVar, cast, get_args

import msgspec

from .._flow.agent import Plan, Protocol, Reduce
from .._flow.prompt import Options, Prompt, check_tags, request
from .._flow.tools import Toolbox
from .._io.clock import unique
from .._text.target import Target, target_of
from .._wire.capabilities import family, no_tool
from ..client import AsyncClient, Client
from ..errors import ConfigError, InputError
from ..transcript import AgentEvent, AgentResult, Transcript
from ..types import Message, to_nano
from .driving import AsyncDriving, Settings, SyncDriving, task_of
from .workbench import is_async

ClientT = TypeVar("ClientT", Client, AsyncClient)
DrivingT = TypeVar("DrivingT", SyncDriving, AsyncDriving)

PROTOCOLS: Final = ("auto", *get_args(Protocol))
_TAKEN: Final = {
    "tools": "give them to the agent: Agent(client, tools=[…])",
    "response_format": "say what the answer is to be with answer=…",
    "n": "an agent follows one answer",
    "continuations": "give the transcript of a run that broke to resume=…",
}


class _BaseAgent(Generic[ClientT]):
    """What both colours share: everything but performing it."""

    def __init__(
        self,
        client: ClientT,
        *,
        tools: Iterable[Any] = (),
        answer: Any = None,
        protocol: Literal["auto", "native", "json", "xml", "lines"] = "auto",
        max_steps: int = 10,
        max_total_tokens: int | None = None,
        budget: str | Decimal | float | None = None,
        max_seconds: float | None = None,
        approve: Callable[[str, dict[str, Any]], Any] | None = None,
        on_event: Callable[[AgentEvent], object] | None = None,
        reduce: Literal["drop", "summarise"] | None = "drop",
        corrections: int = 1,
        **options: Any,
    ) -> None:
        """Check what is given; nothing is sent.

        `tools` are functions, those made with @tool, and servers of MCP. `answer` is the type that the answer is to be,
        None for text. `protocol` is how the model uses tools: its own way ('native'), or by writing 'json', 'xml' or
        'lines'; 'auto' takes the best that the model can. Limits hold for one run: `max_steps` questions to the model,
        `max_total_tokens` in all, `budget` in dollars, `max_seconds`. `approve(name, arguments)` is asked before a tool
        with side effects is used; it returns True, or False, or words of why not. `on_event` is called with every
        event. `reduce` is how room is made once in a conversation that is too long, None for never. `corrections` is
        how often in a row the model is told of a mistake. All other options are those of `complete`, for every step.

        Raises: ConfigError.
        """
        for name, why in _TAKEN.items():
            if options.get(name) not in (None, ()):
                raise ConfigError(f"parameter {name!r} cannot be given to an agent: {why}")
        for name, value in (("max_steps", max_steps), ("max_total_tokens", max_total_tokens)):
            _check_count(name, value, 1)
        _check_count("corrections", corrections, 0)
        if protocol not in PROTOCOLS:
            raise ConfigError(f"protocol is {protocol!r}; expected one of {', '.join(PROTOCOLS)}")
        if reduce not in (None, *get_args(Reduce)):
            raise ConfigError(f"reduce is {reduce!r}; expected 'drop', 'summarise' or None")
        for name, hook in (("approve", approve), ("on_event", on_event)):
            if hook is not None and not callable(hook):
                raise ConfigError(f"{name} is {hook!r}; expected a function")
        if on_event is not None and is_async(on_event):
            raise ConfigError("on_event is async; it is called while events pass and must be a plain function")
        self._client: ClientT = client
        self._toolbox = Toolbox(tools)
        self._wanted = answer
        self._target: Target | None = None if answer is None else target_of(answer)
        self._protocol = protocol
        self._limits: dict[str, Any] = {
            "max_steps": max_steps,
            "max_total_tokens": max_total_tokens,
            "budget_nano": _nano(budget),
            "max_seconds": _seconds(max_seconds),
            "reduce": reduce,
            "corrections": corrections,
        }
        self._approve = approve
        self._on_event = on_event
        check_tags(options.get("tags") or {})
        self._system = options.pop("system", None)
        self._options: dict[str, Any] = dict(options)
        request("-", self._options)

    def _begin(
        self, task: Prompt | None, resume: Transcript | None, tags: Mapping[str, str] | None, *, stream: bool
    ) -> tuple[Settings, Transcript]:
        """Make a run ready.

        Raises: ConfigError, InputError for what could not be sent.
        """
        begun = self._transcript(task, resume, tags)
        options = self._options if tags is None else {
            **self._options, "tags": {**(self._options.get("tags") or {}), **tags}
        }  # fmt: skip
        lanes = self._client._order(task_of(begun), cast(Options, options), stream=False).lanes
        why = next(filter(None, (_toolless(lane) for lane in lanes)), None) if len(self._toolbox) else None
        protocol: Any = self._protocol
        if protocol == "auto":
            protocol = "native" if why is None else "json"
        elif protocol == "native" and why is not None:
            raise ConfigError(f"protocol='native' cannot be had: {why}; let protocol be 'auto'")
        known = [family(lane.model.rpartition("/")[2]) for lane in lanes]
        plan = Plan(
            toolbox=self._toolbox,
            protocol=protocol,
            wanted=self._target,
            approves=self._approve is not None,
            stream=stream,
            pictures=all(lane.provider.wire == "anthropic" or "tool_images" in lane.provider.takes for lane in lanes),
            instructs_as_user=any(each is not None and "system" in each.rejects for each in known),
            **self._limits,
        )
        settings = Settings(
            plan=plan,
            wanted=self._wanted,
            options=options,
            tools=tuple(each.spec for each in self._toolbox),
            approve=self._approve,
            on_event=self._on_event,
        )
        return settings, begun

    def _transcript(self, task: Prompt | None, resume: Transcript | None, tags: Mapping[str, str] | None) -> Transcript:
        if resume is not None and not isinstance(resume, Transcript):
            raise ConfigError(
                f"resume is a {type(resume).__name__}; expected a Transcript, as result.transcript is one"
            )
        if resume is None and task is None:
            raise InputError("there is no task; give one, or a transcript to resume")
        messages: tuple[Message, ...] = () if task is None else request(task, {}).messages
        if resume is not None:
            return _with(resume, messages)
        if self._system:
            messages = request(messages, {"system": self._system}).messages
        named = (tags or {}).get("task") or (self._options.get("tags") or {}).get("task")
        return Transcript(task=named or unique(self._client._clock), messages=messages)


def _with(kept: Transcript, messages: tuple[Message, ...]) -> Transcript:
    """Add a new task to a conversation.

    Raises: InputError where that would leave tool calls without results.
    """
    if messages and kept.unanswered():
        raise InputError("the transcript ends with tool calls without results; resume it without a new task")
    return msgspec.structs.replace(kept, messages=(*kept.messages, *messages))


def _toolless(lane: Any) -> str | None:
    """Say why a model has no tool calls of its own; None where it has, or nobody knows."""
    asked = request("-", {}, lane.model)
    return no_tool(asked, lane.provider)


def _check_count(name: str, value: object, least: int) -> None:
    if value is not None and (isinstance(value, bool) or not isinstance(value, int) or value < least):
        raise ConfigError(f"{name} is {value!r}; expected a whole number of at least {least}")


def _nano(budget: object) -> int | None:
    if budget is None:
        return None
    try:
        nano = to_nano(budget)  # type: ignore[arg-type]
    except ValueError as error:
        raise ConfigError(f"budget: {error}") from None
    if nano <= 0:
        raise ConfigError(f"budget is {budget!r}; expected dollars above 0, like '0.50'")
    return nano


def _seconds(seconds: object) -> float | None:
    if seconds is None:
        return None
    if isinstance(seconds, bool) or not isinstance(seconds, int | float) or not 0 < seconds < 1e10:
        raise ConfigError(f"max_seconds is {seconds!r}; expected a finite number of seconds above 0")
    return float(seconds)


class Agent(_BaseAgent[Client]):
    """A model that uses tools until it has an answer; it may be run from many threads at once."""

    def run(
        self, task: Prompt | None = None, *, resume: Transcript | None = None, tags: Mapping[str, str] | None = None
    ) -> AgentResult:
        """Work on a task, or go on with a transcript, and return how it ended; a limit is an end, not an error.

        Raises: AgentFailed for a mistake that the model repeats; the PenstockError that ended it. Both have `agent`.
        """
        return self._driving(task, resume, tags, stream=False).finish()

    def stream(
        self, task: Prompt | None = None, *, resume: Transcript | None = None, tags: Mapping[str, str] | None = None
    ) -> AgentStream:
        """Work as `run` does, and give events as they happen; nothing is sent before they are read.

        Raises: as `run`, also while it is read.
        """
        return AgentStream(self._driving(task, resume, tags, stream=True))

    def _driving(
        self, task: Prompt | None, resume: Transcript | None, tags: Mapping[str, str] | None, *, stream: bool
    ) -> SyncDriving:
        awaited = self._toolbox.blocking("sync")
        if awaited:
            raise ConfigError(
                f"the tools {', '.join(awaited)} are async; use an AsyncAgent, or make them plain functions"
            )
        if self._approve is not None and is_async(self._approve):
            raise ConfigError("approve is async; use an AsyncAgent, or make it a plain function")
        return SyncDriving(self._client, *self._begin(task, resume, tags, stream=stream))


class AsyncAgent(_BaseAgent[AsyncClient]):
    """A model that uses tools until it has an answer, with the same parameters and results as `Agent`, awaited.

    Sync tools run in threads of their own, so that they do not stop the loop.
    """

    async def run(
        self, task: Prompt | None = None, *, resume: Transcript | None = None, tags: Mapping[str, str] | None = None
    ) -> AgentResult:
        """Work on a task, or go on with a transcript, and return how it ended; a limit is an end, not an error.

        Raises: AgentFailed for a mistake that the model repeats; the PenstockError that ended it. Both have `agent`.
        """
        return await AsyncDriving(self._client, *self._begin(task, resume, tags, stream=False)).finish()

    def stream(
        self, task: Prompt | None = None, *, resume: Transcript | None = None, tags: Mapping[str, str] | None = None
    ) -> AsyncAgentStream:
        """Work as `run` does, and give events as they happen; nothing is sent before they are read.

        Raises: as `run`, also while it is read.
        """
        return AsyncAgentStream(AsyncDriving(self._client, *self._begin(task, resume, tags, stream=True)))


class _Events(Generic[DrivingT]):
    def __init__(self, driving: DrivingT) -> None:
        self._driving: DrivingT = driving
        self._events: list[AgentEvent] = []
        self._next = 0

    @property
    def transcript(self) -> Transcript:
        """The conversation so far, at any time; a run that was interrupted can be resumed from it."""
        return self._driving.run.transcript()

    @property
    def result(self) -> AgentResult:
        """How the run ended; of one that was left early, as far as it came.

        Raises: RuntimeError while it has not ended.
        """
        if self._driving.result is None:
            raise RuntimeError("the run has not ended; read its events or finish() it")
        return self._driving.result

    def _take(self) -> AgentEvent:
        event = self._events[self._next]
        self._next += 1
        return event

    def __del__(self) -> None:
        # A run dropped unread still owes the settlement of its call.
        self._driving.abandon()

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {'ended' if self._driving.ended else 'open'}>"


class AgentStream(_Events[SyncDriving]):
    """A run as it happens. Iterate it for `AgentEvent`s; leave it any time."""

    def __iter__(self) -> Iterator[AgentEvent]:
        return self

    def __next__(self) -> AgentEvent:
        while self._next >= len(self._events):
            if self._driving.ended:
                raise StopIteration
            self._events, self._next = self._driving.step() or [], 0
        return self._take()

    def finish(self) -> AgentResult:
        """Read what is left and return how it ended."""
        for _ in self:
            pass
        return self.result

    def close(self) -> None:
        """Leave the run: settle the call that is under way."""
        self._driving.abandon()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.close()


class AsyncAgentStream(_Events[AsyncDriving]):
    """A run as it happens. Iterate it for `AgentEvent`s; leave it any time."""

    def __aiter__(self) -> AsyncIterator[AgentEvent]:
        return self

    async def __anext__(self) -> AgentEvent:
        while self._next >= len(self._events):
            if self._driving.ended:
                raise StopAsyncIteration
            self._events, self._next = await self._driving.step() or [], 0
        return self._take()

    async def finish(self) -> AgentResult:
        """Read what is left and return how it ended."""
        async for _ in self:
            pass
        return self.result

    async def close(self) -> None:
        """Leave the run: settle the call that is under way and cancel its tools."""
        self._driving.abandon()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None
    ) -> None:
        await self.close()
