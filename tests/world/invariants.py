"""What must hold at every step of a world, whoever wins: the referee watches every effect, every arrival, every bill.

It sits between the flow and its driver, and beside the server, and asks the policies nothing but their snapshots.
"""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Callable
from math import inf
from typing import Any, Final, NamedTuple

from penstock import AsyncClient, Client, PenstockError, Timeouts
from penstock._flow.accounting import Order
from penstock._flow.effects import Admission, Emit, Flow, Parallel, Permit, Record, Reserve, Settle
from penstock._flow.trail import Trail
from penstock._policy.limiter import Ticket
from penstock._policy.retry import TOLD_JITTER, Retry
from penstock.errors import (
    AuthenticationFailed,
    BreakerOpen,
    ClientClosed,
    DeadlineExceeded,
    PermissionDenied,
    QuotaExhausted,
    RateLimited,
    TotalTimeout,
)
from penstock.sim.bill import Attempt
from penstock.sim.exchange import Plan
from penstock.types import Chunk, Response

from .ledger import Ledger
from .mishaps import Mishap
from .provider import Net
from .questions import Questions
from .schedule import CALL, UNPRICED, Call, Schedule
from .scheduler import Timeline

FIRST_TOKEN_S: Final = 20.0
TIMEOUTS: Final = Timeouts(first_token_s=FIRST_TOKEN_S, idle_s=10.0, total_s=60.0)
PUNCTUAL: Final = 0.05  # of a clock
ESTIMATED: Final = 1.01  # of a limit in tokens: client and server estimate a prompt each by its own rule
LATE_S: Final = 0.05
LEAST_OPEN: Final = 0.8  # of the time that a breaker stays open
MENDED_S: Final = 30.0  # after which a refused account that is mended must be known as such
WINDOW_S: Final = 60.0
REPEATED: Final = 20  # characters that say the same on both sides of a seam
EXACT_S: Final = 1e-6
CROWDED: Final = (0.8, 2.0)  # calls in flight, of those that a server without limits does at its best
ENOUGH: Final = 500  # arrivals that say so
MOST_VIOLATIONS: Final = 20  # one of them is enough
UNKNOWN: Final = {"outcome_unknown", "first_token_timeout", "idle_timeout", "total_timeout", "server_fault"}
REFUSED_STATUS: Final = (503, 529)


class Violation(NamedTuple):
    """A rule that was broken, when, and how."""

    rule: str
    at: float
    what: str


class Side:
    """One client as the referee sees it. A dead one crashed: what it still does counts for nobody."""

    def __init__(self, client: Client | AsyncClient, net: Net, say: Callable[[str, str], None]) -> None:
        self.client = client
        self.net = net
        self.dead = False
        self.closed_at: float | None = None
        self.questions = Questions(say)
        self.rejected: dict[str, float] = {}  # when an account was refused, by provider
        self.heir: Side | None = None  # the client that was started in its place, and has its bills to answer for
        self.calls = 0
        self.failed = 0
        self.sent = 0
        self.billed_nano = 0
        self.waiting: dict[tuple[str, str, bool], deque[Ticket]] = defaultdict(deque)
        self.probes: dict[str, dict[int, float]] = defaultdict(dict)
        self.pauses: dict[str, tuple[float, float]] = {}


class Story:
    """One call as the server and the flow see it."""

    def __init__(self, side: Side, began: float) -> None:
        self.side = side
        self.began = began
        self.opened = 0
        self.open: list[float] = []  # since when each exchange under way is
        self.hedges = 0
        self.trail: Trail | None = None
        self.deadline = inf
        self.emitted = False
        self.ended = False
        self.visits: dict[str, list[int]] = defaultdict(list)  # statuses by model
        self.not_before: dict[str, float] = {}
        self.hopeless: dict[str, str] = {}
        self.told_at: dict[str, float] = {}
        self.wrong: str | None = None  # the model that said so


class Referee:
    """Collects violations; `opened`, `arrived` and `charged` are the server's side, `watch` is the flow's."""

    def __init__(
        self,
        timeline: Timeline,
        schedule: Schedule,
        flow: Callable[[Order, Trail], Flow[Response]],
        ledger: Ledger | None = None,
    ) -> None:
        self.ledger = ledger
        self.timeline = timeline
        self.schedule = schedule
        self.scenario = schedule.scenario
        self.violations: list[Violation] = []
        self.sides: list[Side] = []
        self.stories: dict[int, Story] = {}
        self.own_429s = 0
        self.arrivals = 0
        self.reached = 0
        self.cut_nano = self.cut_billed_nano = 0
        self._flow = flow
        self._billed: dict[str, tuple[int, bool]] = {}
        self._told: list[tuple[str, int, bool]] = []
        self._turns = [happening.at for happening in schedule.happenings if happening.kind == "turn"]
        self._tasks = self.scenario.colour == "tasks"
        self._calls = {call.number: call for call in schedule.calls}

    def say(self, rule: str, what: str) -> None:
        """Note a violation."""
        if len(self.violations) < MOST_VIOLATIONS:
            self.violations.append(Violation(rule, round(self.timeline.now, 6), what))

    def begin(self, call: Call, side: Side) -> None:
        """A call starts at a client."""
        story = self.stories[call.number] = Story(side, self.timeline.now)
        if call.deadline_s is not None:
            story.deadline = self.timeline.now + call.deadline_s

    # --- the server's side ---------------------------------------------------------------------------------------

    def opened(self, number: int) -> None:
        story, now = self.stories[number], self.timeline.now
        side, hedge = story.side, self.scenario.hedge
        story.opened += 1
        self.reached += 1
        if story.open:
            story.hedges += 1
            if hedge is None or hedge.after_s is None:
                self.say("one attempt at a time", f"call {number} was sent while it was under way")
            elif story.hedges > 1 or len(story.open) > 1:
                self.say("at most one hedge", f"call {number} was sent {len(story.open) + 1} times at once")
            elif now < story.open[0] + hedge.after_s - EXACT_S:
                self.say("a hedge waits", f"call {number} was hedged after {now - story.open[0]:.3f} s")
        story.open.append(now)
        if side.closed_at is not None and now > side.closed_at and not side.dead:
            self.say("a closed client sends nothing", f"call {number} was sent {now - side.closed_at:.3f} s later")
        if self.scenario.questions and not side.dead:
            side.questions.asks(self._calls[number])

    def closed(self, number: int) -> None:
        story = self.stories[number]
        story.open.pop(0)
        if self.scenario.questions and not story.side.dead:
            story.side.questions.asked(self._calls[number])

    def arrived(self, number: int, plan: Plan, mishap: Mishap | None, *, since: float, left: bool) -> None:
        now, story, model = self.timeline.now, self.stories[number], plan.model
        told_at = story.told_at.get(model, 0.0)
        self.arrivals += 1
        visits = story.visits[model]
        if story.emitted and not left:
            self.say("nothing is repeated after output", f"call {number} was sent again")
        if model in story.hopeless and not story.hedges:  # a hedge may find a fallback hopeless before its turn
            self.say("what cannot be helped is sent once", f"call {number} came again after {story.hopeless[model]}")
        if story.wrong is not None and story.wrong != model and not story.hedges:
            self.say("the caller's faults never fall back", f"call {number} went on to {model}")
        if now < story.not_before.get(model, 0.0) - EXACT_S and since >= told_at:
            early_s = story.not_before[model] - now
            self.say("never earlier than Retry-After", f"call {number} came {early_s:.3f} s early")
        visits.append(plan.status)
        limited = visits.count(429)
        if len(visits) - limited > 3 + story.hedges or limited > 11:
            self.say("retries are bounded", f"call {number} was sent {len(visits)} times: {visits}")
        if self.scenario.budget is not None and f"openai:{model}" == UNPRICED:
            self.say("an unpriced call under a cap is refused", f"call {number} was sent")
        if not left:  # a cancelled request may be overtaken by the one that took its place
            self._check_limit(number, plan, now)
        if mishap is not None and plan.fault_label.startswith("mishap:"):
            story.told_at[model] = now
            if mishap.told_s:
                story.not_before[model] = now + mishap.told_s
            if mishap.final:
                story.hopeless[model] = mishap.kind
                story.wrong = model if mishap.kind == "wrong" else story.wrong

    def _check_limit(self, number: int, plan: Plan, now: float) -> None:
        own = plan.fault_label.startswith("limit:")
        self.own_429s += own
        if own and self._turns and not any(turn <= now <= turn + WINDOW_S for turn in self._turns):
            self.say("a new limit is obeyed within a window", f"call {number} met {plan.fault_label}")
        if not self.scenario.true_limits:
            return
        if own:
            self.say("no 429 of our own making", f"call {number} met {plan.fault_label}")
        lane = plan.lane
        if lane is not None and plan.admitted:
            limits = {"requests": (self.scenario.rpm, 1.0), "tokens": (self.scenario.tpm, ESTIMATED)}
            for dimension, (limit, share) in limits.items():
                window = lane.windows.get(dimension)
                if limit is not None and window is not None and window.used(plan.arrived) > share * limit:
                    self.say("the limit holds in any 60 s", f"{window.used(plan.arrived)} {dimension} of {limit}")

    def charged(self, number: int, attempt: Attempt, mishap: Mishap | None) -> None:
        side = self.stories[number].side
        while side.heir is not None:
            side = side.heir
        side.billed_nano += attempt.billed_nano
        honest = mishap is None or mishap.honest
        self._billed[attempt.request_id] = (attempt.billed_nano, honest)
        self._check_money(side)

    # --- the flow's side -----------------------------------------------------------------------------------------

    def trail(self, order: Order) -> Trail:
        """Be the trail of a call."""
        story = self.stories[CALL.get()]
        story.trail = Trail(order)
        return story.trail

    def watch(self, order: Order, trail: Trail) -> Flow[Response]:
        """Be the flow of a call, and look at every effect before and after."""
        story = self.stories[CALL.get()]
        if order.received:
            story.emitted = False  # the rest of an answer that broke
        response: Response = yield from self._looked_at(story, self._flow(order, trail))
        return response

    def _looked_at(self, story: Story, flow: Flow[Any]) -> Flow[Any]:
        answer, raised = None, None
        while True:
            try:
                effect = flow.send(answer) if raised is None else flow.throw(raised)
            except StopIteration as stop:
                return stop.value
            before = None if story.side.dead else self._before(story, effect)
            answer, raised = None, None
            try:
                if isinstance(effect, Parallel):
                    answer = yield from self._race(story, effect)
                else:
                    answer = yield effect
            except GeneratorExit:
                raise  # somebody else goes on with the flow, after a race
            except BaseException as error:  # noqa: BLE001 - it belongs to the flow
                raised = error
            if not story.side.dead:
                self._after(story, effect, answer, before)

    def _race(self, story: Story, effect: Parallel) -> Flow[Any]:
        flows = tuple([self._looked_at(story, flow) for flow in effect.flows])
        ends = yield Parallel(flows, effect.stagger_s, effect.enough)
        for end, flow in zip(ends, effect.flows, strict=False):
            end.flow = flow
        return ends

    def _before(self, story: Story, effect: object) -> object:
        if isinstance(effect, Permit):
            record = effect.record
            ticket = record.ticket
            story.side.waiting[record.lane.id, ticket.priority, ticket.returned].append(ticket)
        elif isinstance(effect, Emit):
            story.emitted = True
        elif isinstance(effect, Settle):
            state = story.side.client._gate.state(effect.record.lane)
            due = state.limiter.next_at
            if due is not None and due < self.timeline.now - LATE_S:
                self.say("somebody watches the clock", f"the head of a queue is {self.timeline.now - due:.3f} s late")
            if self._tasks and effect.record.admission is not None:
                return state.breaker.snapshot(), state.account.snapshot()
        return None

    def _after(self, story: Story, effect: object, answer: object, before: object) -> None:
        if isinstance(effect, Permit) and isinstance(answer, Admission):
            self._check_turn(story, effect.record, answer)
        elif isinstance(effect, Settle):
            self._check_settled(story.side, effect.record, answer, before)
            told_s = None  # by the provider: an open breaker's time is our own
            if not isinstance(effect.record.error, BreakerOpen):
                told_s = getattr(effect.record.error, "retry_after_s", None)
            decision = getattr(answer, "decision", None)
            if told_s and isinstance(decision, Retry) and decision.after_s < told_s:
                self.say("never earlier than Retry-After", f"{decision.after_s:.3f} s for {told_s:.3f} s")
            self._check_money(story.side)
        elif isinstance(effect, Reserve):
            self._check_money(story.side)

    def _breaker(self, side: Side, record: Record) -> Any:
        return side.client._gate.state(record.lane).breaker

    def _check_money(self, side: Side) -> None:
        if self.ledger is not None:
            self._check_file(self.ledger)
        elif self.scenario.budget is not None:
            self._check_book(side)

    def _check_file(self, ledger: Ledger) -> None:
        billed_nano = sum(side.billed_nano for side in self.sides)
        for name, spent, held, cap in ledger.accounts():
            if cap is not None and spent + held > cap:
                self.say("settled + held <= cap", f"{name} in the file: {spent} + {held} of {cap}")
            if cap is not None and billed_nano > cap:
                self.say("the bill never exceeds the cap", f"{billed_nano} of {name} {cap}")
            exact = not self.scenario.streams and not self.scenario.faults
            if exact and billed_nano > spent + held:
                self.say("what is billed is spent or held", f"{billed_nano} of {name} {spent} + {held}")

    def _check_book(self, side: Side) -> None:
        for scope in side.client.budget().scopes:
            if scope.cap_nano is None:
                continue
            if scope.spent_nano + scope.held_nano > scope.cap_nano:
                self.say("settled + held <= cap", f"{scope.name}: {scope.spent_nano} + {scope.held_nano}")
            whole = scope.name == "total" or not self.scenario.jumps  # no world lasts longer than its day
            if whole and side.billed_nano > scope.cap_nano:
                self.say("the bill never exceeds the cap", f"{side.billed_nano} of {scope.name} {scope.cap_nano}")

    def _check_turn(self, story: Story, record: Record, admission: Admission) -> None:
        side, ticket, lane = story.side, record.ticket, record.lane.id
        line = side.waiting[lane, ticket.priority, ticket.returned]
        while line and line[0].state not in ("new", "queued"):
            line.popleft()
        if line and line[0].state == "queued" and line[0].asked_at < ticket.asked_at - EXACT_S:
            self.say("first in, first out", f"{ticket!r} of {ticket.asked_at} before {line[0].asked_at}")
        since, until = side.pauses.get(lane, (0.0, 0.0))
        if since < ticket.granted_at < until - EXACT_S:
            self.say("a 429 pauses the lane", f"a turn {until - ticket.granted_at:.3f} s early")
        if admission.now > story.deadline + LATE_S:
            self.say("no wait past the deadline", f"a turn {admission.now - story.deadline:.3f} s late")
        self._check_pass(side, record, admission)
        refused_at = side.rejected.get(record.lane.provider.name, -inf)
        open_s = LEAST_OPEN * self._breaker(side, record).settings.open_s
        if refused_at < admission.now < refused_at + open_s - EXACT_S:
            self.say("a refused account is left alone", f"a turn {admission.now - refused_at:.3f} s after its refusal")

    def _check_pass(self, side: Side, record: Record, admission: Admission) -> None:
        breaker, permit = self._breaker(side, record), admission.permit
        state = breaker.snapshot()
        if not permit.probe:
            if permit.epoch == state.epoch and state.state != "closed":
                self.say("an open breaker lets nobody pass", f"{record.lane.name} is {state.state}")
            return
        now, settings = self.timeline.now, breaker.settings
        out = side.probes[record.lane.id]
        out[id(record)] = now
        fresh = [since for since in out.values() if now - since < settings.lease_s]
        if len(fresh) > settings.probes:
            self.say("at most N probes", f"{len(fresh)} in flight to {record.lane.name}")

    def _check_settled(self, side: Side, record: Record, settled: Any, before: Any) -> None:
        error, admission = record.error, record.admission
        if admission is None:
            return
        if self.scenario.questions and record.response is not None and error is None:
            side.questions.came(self._calls[CALL.get()], record.response, settled.now)
        out = side.probes[record.lane.id]
        out.pop(id(record), None)
        told_s = getattr(error, "retry_after_s", None)
        if told_s:
            since, until = side.pauses.get(record.lane.id, (0.0, 0.0))
            now = settled.now
            side.pauses[record.lane.id] = (since if until > now else now, max(until, now + told_s))
        if before is None:
            return
        before, account = before
        if isinstance(error, AuthenticationFailed | QuotaExhausted) and admission.account.epoch == account.epoch:
            side.rejected[record.lane.provider.name] = self.timeline.now
        if not isinstance(error, AuthenticationFailed | PermissionDenied | QuotaExhausted):
            after = self._breaker(side, record).snapshot()
            late = admission.permit.epoch != before.epoch
            said_nothing = isinstance(error, RateLimited) or (error and not isinstance(error, PenstockError))
            if late and after != before:
                self.say("late results change nothing", f"{before} became {after}")
            elif said_nothing and (after.state, after.failures) != (before.state, before.failures):
                self.say("429s and cancels say nothing of health", f"{before} became {after}")
            elif said_nothing and admission.permit.probe and after.probes_out != before.probes_out - 1:
                self.say("a permit comes back", f"{before} became {after}")

    # --- the end -------------------------------------------------------------------------------------------------

    def answered(self, call: Call, response: Response, chunks: list[Chunk] | None) -> None:
        """A call has its answer, and the reader of a stream saw it: whole, once, and with its seams."""
        side = self.stories[call.number].side
        if self.scenario.questions and not side.dead:
            side.questions.answered(call, response)
        if chunks is None:
            return
        text, seams = "", []
        for chunk in chunks:
            text += chunk.text or "" if chunk.kind == "text" else ""
            if chunk.kind == "seam":
                seams.append(len(text))
        if text != response.text:
            self.say("what is shown is the answer", f"call {call.number}: {text!r} for {response.text!r}")
        if seams != [seam.offset for seam in response.seams] or len(seams) > self.scenario.continuations:
            self.say("every seam is marked, and in its place", f"call {call.number}: {seams} for {response.seams}")
        for at in seams:
            if any(text[:at].endswith(text[at : at + length]) for length in range(REPEATED, len(text) - at + 1)):
                self.say("nothing is said twice", f"call {call.number}: {text[at - 80 : at]!r} | {text[at:][:80]!r}")
        parts = sum(attempt.usage.completion for attempt in response.attempts if attempt.usage is not None)
        if response.seams and response.usage.completion != parts:
            self.say("all parts are booked", f"call {call.number}: {response.usage.completion} of {parts} tokens")

    def ended(self, call: Call, error: BaseException | None, *, cancelled: bool = False) -> None:
        """A call is over, with an answer, an error, or because its caller left."""
        story = self.stories[call.number]
        side, trail = story.side, story.trail
        if side.dead:
            return
        if story.ended:
            self.say("each call ends once", f"call {call.number} ended twice")
        story.ended = True
        if self.timeline.now > story.deadline + LATE_S:
            self.say(
                "no wait past the deadline", f"call {call.number}: {self.timeline.now - story.deadline:.3f} s late"
            )
        if error is not None and not cancelled and not isinstance(error, PenstockError):
            self.say("only our errors surface", f"call {call.number}: {error!r}")
        if error is not None and not cancelled:
            self._check_reason(call, story, error)
        if side.closed_at is not None and self.timeline.now > max(side.closed_at, story.began) + LATE_S:
            self.say("a close ends every call", f"call {call.number}: {self.timeline.now - side.closed_at:.3f} s later")
        if error is not None and self.scenario.peaceful:
            self.say("nothing fails without a reason", f"call {call.number}: {error!r}")
        if trail is None:
            return
        side.calls += 1
        side.failed += error is not None or cancelled
        sent = [attempt for attempt in trail.attempts if attempt.sent]
        side.sent += len(sent)
        if len(sent) != story.opened:
            self.say("every attempt is in the record", f"call {call.number}: {len(sent)} of {story.opened}")
        unknown = [a.model for a in sent if a.outcome in UNKNOWN and a.status not in REFUSED_STATUS]
        if any(unknown.count(model) > 2 + story.hedges for model in unknown):
            self.say("an unknown outcome is repeated once", f"call {call.number}: {unknown}")
        for attempt in sent:
            if attempt.outcome == "first_token_timeout" and abs(attempt.latency_s / FIRST_TOKEN_S - 1) > PUNCTUAL:
                self.say("silence is noticed on time", f"call {call.number}: after {attempt.latency_s:.3f} s")
            if attempt.request_id and attempt.cost_nano is not None:
                estimated = attempt.usage is not None and attempt.usage.estimated
                self._told.append((attempt.request_id, attempt.cost_nano, estimated))

    def _check_reason(self, call: Call, story: Story, error: BaseException) -> None:
        """Whether a call may have failed for that."""
        now, closed_at = self.timeline.now, story.side.closed_at
        if closed_at is not None and not isinstance(error, ClientClosed):
            self.say("who is cut off is told why", f"call {call.number}: {error!r}")
        if closed_at is None and isinstance(error, ClientClosed):
            self.say("only a closed client says so", f"call {call.number}: {error!r}")
        timed_out = isinstance(error, DeadlineExceeded | TotalTimeout) and "deadline" in error.message
        if timed_out and story.deadline == inf:
            self.say("nobody fails by another's deadline", f"call {call.number}: {error!r}")
        shut = story.trail is not None and all(a.outcome == BreakerOpen.code for a in story.trail.attempts)
        if isinstance(error, BreakerOpen) and error.retriable and shut and story.deadline < inf:
            wait_s = (error.retry_after_s or 0.0) * (1 + TOLD_JITTER)
            if now + wait_s < story.deadline - LATE_S:
                self.say("an open lane is waited for", f"call {call.number}: {story.deadline - now:.3f} s were left")
        if isinstance(error, AuthenticationFailed | BreakerOpen) and self.scenario.outage_kinds == ("key",):
            sick = any(o.since - LATE_S < now < o.until + MENDED_S for o in self.schedule.outages)
            if not sick:
                self.say("a mended key is noticed", f"call {call.number}: {error!r}")

    def close(self, stray: list[dict[str, Any]], crowding: list[float]) -> None:
        """Nothing is left, and the books agree."""
        late = crowding[len(crowding) // 2 :]
        if len(late) >= ENOUGH and not CROWDED[0] < sum(late) / len(late) < CROWDED[1]:
            self.say("a server is kept busy, and no busier", f"{sum(late) / len(late):.2f} times what it can do")
        for call in self.schedule.calls:
            story = self.stories.get(call.number)
            if story is None or not (story.ended or story.side.dead):
                self.say("no call is lost", f"call {call.number} neither answered nor failed")
        for side in self.sides:
            side.client.budget()  # what a file did not take when it was settled is written with the next visit
        for side in self.sides:
            self._check_left(side)
        for request_id, cost_nano, estimated in self._told:
            billed_nano, honest = self._billed.get(request_id, (0, True))
            if estimated:
                self.cut_nano += cost_nano
                self.cut_billed_nano += billed_nano
            elif honest and cost_nano != billed_nano:
                self.say("what was reported is what is billed", f"{request_id}: {cost_nano} for {billed_nano}")
        most = self.scenario.most_per_call
        if most is not None and self.reached > most * len(self.schedule.calls) >= 200:
            self.say("an outage is not made worse", f"{self.reached} attempts for {len(self.schedule.calls)} calls")
        for context in stray:
            self.say("nothing goes astray", str(context.get("exception") or context.get("message")))

    def _check_left(self, side: Side) -> None:
        client, totals = side.client, side.client.usage()
        told = (totals.calls, totals.failed, totals.attempts)
        if told != (side.calls, side.failed, side.sent):
            self.say("usage() counts every call", f"{told} for {(side.calls, side.failed, side.sent)}")
        for lane in client.lanes():
            left = (lane.limiter.in_flight, lane.limiter.queued, lane.breaker.probes_out)
            if left != (0, 0, 0) or lane.limiter.next_at is not None:
                self.say("nothing is left behind", f"{lane.name}: in flight, queued, probes {left}")
        for state in client._gate.lanes():
            if state.parked or state.timer is not None:
                self.say("nothing is left behind", f"parked {len(state.parked)}, timer {state.timer}")
        books = client.budget()
        if books.calls_under_way or any(scope.held_nano for scope in books.scopes):
            self.say("nothing is left behind", f"{books.calls_under_way} holds")
        if side.net.exchanges:
            self.say("nothing is left behind", f"{len(side.net.exchanges)} exchanges are open")
