"""The drivers of agents: perform what the flow of a run asks, in either colour. A question is a call of the client."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Mapping
from typing import Any, Generic, TypeVar, cast

import msgspec

from .._flow.accounting import Order, affordable
from .._flow.agent import AgentRun, Plan
from .._flow.agent_effects import Again, AgentEffect, Approve, Ask, Begin, Clock, Next, Show, Value
from .._flow.effects import Abandoned
from .._flow.prompt import ExtractOptions, Options
from .._io.drive_async import AsyncRun
from .._io.drive_sync import SyncRun
from .._policy.retry import GiveUp, Retry
from ..client import AsyncClient, Client
from ..errors import ConfigError, PenstockError
from ..events import ToolCalled
from ..transcript import AgentEvent, AgentResult, ToolUse, Transcript
from ..types import Chunk, Message, Tool
from .workbench import TaskBench, ThreadBench, is_async, thread_of

ClientT = TypeVar("ClientT", Client, AsyncClient)
RunT = TypeVar("RunT", SyncRun, AsyncRun)
Approver = Callable[[Approve], Any]

Heard = tuple[list[AgentEvent] | None, Any, BaseException | None]


def task_of(begun: Transcript) -> list[Message]:
    """Return the message that says what is to be done, by which every step is routed."""
    return [next((each for each in begun.messages if each.role == "user"), begun.messages[0])]


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """What a run needs beside its plan: the options of its calls and what the user wants to hear and to decide."""

    plan: Plan
    wanted: Any
    options: Mapping[str, Any]
    tools: tuple[Tool, ...]
    approve: Callable[..., Any] | None
    on_event: Callable[[AgentEvent], object] | None


class Driving(Generic[ClientT, RunT]):
    """One run of an agent under way: what both colours share."""

    def __init__(self, client: ClientT, settings: Settings, begun: Transcript) -> None:
        self.run = AgentRun(settings.plan, begun)
        self.ended = False
        self._flow = self.run.flow()
        # The rest of the conversation is known to be sound, and not read again at every step.
        self._task = task_of(begun)
        self._client: ClientT = client
        self._settings = settings
        tags = {**(settings.options.get("tags") or {}), "task": begun.task}
        self._options: dict[str, Any] = {**settings.options, "tags": tags}
        self._asked: RunT | None = None
        self._failed: RunT | None = None  # the last one that ended in an error
        self._call_id = ""  # of the call that asked for the tools which run now
        self._show: Callable[[list[Chunk]], list[AgentEvent]] | None = None

    @property
    def result(self) -> AgentResult | None:
        """How the run ended, None while it has not."""
        return self.run.result

    def abandon(self) -> None:
        """Stop here: settle the call that is under way and leave the result of an interrupted run."""
        if self.ended:
            return
        self.ended = True
        if self._asked is not None:
            self._asked.abandon()
            self._left(self._asked)
        with contextlib.suppress(Abandoned, StopIteration):
            self._flow.throw(Abandoned())
        if self.run.result is None:
            self.run.result = self.run.ended("interrupted", "the run was left before it began to work")

    def _order(self, effect: Ask) -> Order:
        """Make the order of a question.

        Raises: BudgetExceeded when one more step may cost more than is left for this run.
        """
        options = self._with_deadline(effect)
        if effect.with_tools and self._settings.tools:
            options["tools"] = self._settings.tools
        streamed = effect.show is not None
        order: Order = self._client._order(self._task, cast(Options, options), stream=streamed)
        asked = msgspec.structs.replace(order.request, messages=effect.messages)
        order = msgspec.structs.replace(order, request=asked)
        if effect.left_nano is None:
            return order
        most = affordable(order, effect.left_nano)
        return order if most is None else msgspec.structs.replace(
            order, request=msgspec.structs.replace(asked, max_tokens=most)
        )  # fmt: skip

    def _extract_options(self, effect: Value) -> ExtractOptions:
        options = self._with_deadline(effect)
        if effect.left_nano is not None:
            order = self._client._order(effect.messages, cast(Options, options), stream=False)
            most = affordable(order, effect.left_nano)
            options = {**options, "reasks": 0} | ({} if most is None else {"max_tokens": most})
        return cast(ExtractOptions, options)

    def _extracting(self, effect: Value) -> Any:
        """Begin the extraction of the answer's value; a driver gives it to its own run."""
        self._show = None
        options = self._extract_options(effect)
        return self._client._extracting(self._settings.wanted, effect.messages, options, stream=False)

    def _with_deadline(self, effect: Ask | Value) -> dict[str, Any]:
        options = dict(self._options)
        options.pop("tool_choice", None)
        options.pop("parallel_tool_calls", None)
        if isinstance(effect, Ask) and effect.with_tools and self._settings.tools:
            for name in ("tool_choice", "parallel_tool_calls"):
                if name in self._options:
                    options[name] = self._options[name]
        if effect.deadline_s is not None:
            own = options.get("deadline_s")
            options["deadline_s"] = effect.deadline_s if own is None else min(own, effect.deadline_s)
        return options

    def _tell(self, events: list[AgentEvent]) -> list[AgentEvent]:
        """Call back for each event; what goes wrong there breaks no run."""
        hub = self._client._gate.hub
        if hub is not None:
            for used in (event.used for event in events):
                if used is not None and used.ran:
                    hub.emit(self._called(used, hub.clock.wall(), content=hub.content))
        if self._settings.on_event is not None:
            for event in events:
                try:
                    self._settings.on_event(event)
                except Exception:
                    logging.getLogger("penstock").exception("on_event of an agent failed")
        return events

    def _called(self, used: ToolUse, at_s: float, *, content: bool) -> ToolCalled:
        return ToolCalled(
            call_id=self._call_id,
            tool=used.name,
            outcome="error" if used.is_error else "ok",
            at_s=at_s,
            latency_s=used.seconds,
            tags=self._options["tags"],
            arguments=msgspec.json.encode(used.arguments).decode() if content else None,
            result=used.content if content else None,
        )

    def _left(self, asked: SyncRun | AsyncRun) -> None:
        """Count what a call used that nobody waits for any more."""
        self._asked = None
        self.run.add(asked.trail.attempts)

    def _again(self, effect: Again) -> Retry | GiveUp:
        assert self._failed is not None
        trail = self._failed.trail
        return self._client._gate.again(trail.order, trail.last_lane(), effect.error, effect.number)

    def _ended_well(self, run: SyncRun | AsyncRun) -> Any:
        self._asked = None
        self._call_id = run.call_id
        if run.extraction is not None:
            return run.extracted
        assert run.response is not None
        return run.response

    @staticmethod
    def _verdict(answer: object) -> str | None:
        """Read what an approver said: True or None for yes, False or words for no.

        Raises: ConfigError for anything else, since a guess could do harm.
        """
        if answer is True or answer is None:
            return None
        if answer is False:
            return ""
        if isinstance(answer, str):
            return answer
        raise ConfigError(f"approve returned {answer!r:.80}; expected True, or False, or words of why not")


class SyncDriving(Driving[Client, SyncRun]):
    """A run in this thread; its tools are in threads of their own."""

    def __init__(self, client: Client, settings: Settings, begun: Transcript) -> None:
        super().__init__(client, settings, begun)
        self._bench = ThreadBench(client._clock)

    def step(self) -> list[AgentEvent] | None:
        """Work until there are events to show; None means that the run ended.

        Raises: PenstockError; KeyboardInterrupt and the like after the call was settled.
        """
        answer: Any = None
        raised: BaseException | None = None
        try:
            while True:
                if self._asked is not None:
                    events, answer, raised = self._heard(self._asked)
                    if events is not None:
                        return self._tell(events)
                effect = self._flow.send(answer) if raised is None else self._flow.throw(raised)
                answer = raised = None
                if isinstance(effect, Show):
                    if effect.events:
                        return self._tell(effect.events)
                    continue
                try:
                    answer = self._perform(effect)
                except BaseException as error:  # noqa: BLE001 - the flow decides
                    raised = error
        except StopIteration:
            self.ended = True
            self._bench.stop()
            return None
        except BaseException:
            self.abandon()
            raise

    def abandon(self) -> None:
        """Stop here: settle the call that is under way, leave the tools, and the result of an interrupted run."""
        self._bench.stop()
        super().abandon()

    def _heard(self, asked: SyncRun) -> Heard:
        """Return events of the call under way, or how it ended: its answer, or its error."""
        try:
            while (chunks := asked.step()) is not None:
                events = [] if self._show is None else self._show(chunks)
                if events:
                    return events, None, None
            return None, self._ended_well(asked), None
        except PenstockError as error:
            self._asked, self._failed = None, asked
            return None, None, error
        except BaseException as error:  # noqa: BLE001 - the flow decides
            self._left(asked)
            return None, None, error

    def _perform(self, effect: AgentEffect) -> Any:
        match effect:
            case Ask():
                self._show = effect.show
                client = self._client
                self._asked = SyncRun(self._order(effect), client._gate, client._transport, client._targets)
            case Value():
                self._asked = self._extracting(effect)
            case Again():
                decision = self._again(effect)
                if isinstance(decision, GiveUp):
                    return decision.reason
                self._client._gate.sleep(decision.after_s)
            case Begin():
                self._bench.begin(effect)
            case Next():
                return self._bench.next()
            case Clock():
                return self._client._clock.now()
            case Approve():
                assert self._settings.approve is not None
                return self._verdict(self._settings.approve(effect.tool.name, effect.arguments))
        return None

    def finish(self) -> AgentResult:
        """Run to the end and return the result."""
        while self.step() is not None:
            pass
        assert self.result is not None
        return self.result


class AsyncDriving(Driving[AsyncClient, AsyncRun]):
    """A run in the running event loop."""

    def __init__(self, client: AsyncClient, settings: Settings, begun: Transcript) -> None:
        super().__init__(client, settings, begun)
        self._bench = TaskBench(client._clock)

    async def step(self) -> list[AgentEvent] | None:
        """Work until there are events to show; None means that the run ended.

        Raises: PenstockError; CancelledError after the call was settled.
        """
        answer: Any = None
        raised: BaseException | None = None
        try:
            while True:
                if self._asked is not None:
                    events, answer, raised = await self._heard(self._asked)
                    if events is not None:
                        return self._tell(events)
                effect = self._flow.send(answer) if raised is None else self._flow.throw(raised)
                answer = raised = None
                if isinstance(effect, Show):
                    if effect.events:
                        return self._tell(effect.events)
                    continue
                try:
                    answer = await self._perform(effect)
                except BaseException as error:  # noqa: BLE001 - the flow decides
                    raised = error
        except StopIteration:
            self.ended = True
            return None
        except BaseException:
            self.abandon()
            raise

    def abandon(self) -> None:
        """Stop here: settle the call that is under way, cancel the tools, leave the result of an interrupted run."""
        self._bench.stop()
        super().abandon()

    async def _heard(self, asked: AsyncRun) -> Heard:
        """Return events of the call under way, or how it ended: its answer, or its error."""
        try:
            while (chunks := await asked.step()) is not None:
                events = [] if self._show is None else self._show(chunks)
                if events:
                    return events, None, None
            return None, self._ended_well(asked), None
        except PenstockError as error:
            self._asked, self._failed = None, asked
            return None, None, error
        except BaseException as error:  # noqa: BLE001 - the flow decides
            self._left(asked)
            return None, None, error

    async def _perform(self, effect: AgentEffect) -> Any:
        match effect:
            case Ask():
                self._show = effect.show
                client = self._client
                self._asked = AsyncRun(self._order(effect), client._gate, client._transport, client._targets)
            case Value():
                self._asked = self._extracting(effect)
            case Again():
                decision = self._again(effect)
                if isinstance(decision, GiveUp):
                    return decision.reason
                await self._client._gate.sleep(decision.after_s)
            case Begin():
                self._bench.begin(effect)
            case Next():
                return await self._bench.next()
            case Clock():
                return self._client._clock.now()
            case Approve():
                return self._verdict(await self._approved(effect))
        return None

    async def _approved(self, effect: Approve) -> Any:
        approve = self._settings.approve
        assert approve is not None
        if is_async(approve):
            return await approve(effect.tool.name, effect.arguments)

        def ask() -> tuple[Any, BaseException | None]:
            try:
                return approve(effect.tool.name, effect.arguments), None
            except BaseException as error:  # noqa: BLE001 - raised where the run is
                return None, error

        answer, error = await thread_of(ask, "approve")
        if error is not None:
            raise error
        return answer

    async def finish(self) -> AgentResult:
        """Run to the end and return the result."""
        while await self.step() is not None:
            pass
        assert self.result is not None
        return self.result
