"""The simulator itself: a request and the time in, a plan of timed steps out; it keeps limits, bill and log.

It waits for nothing and reads no clock: `now` is epoch seconds that never go back, chance comes from the seed.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from hashlib import blake2b
from random import Random
from typing import Any

import msgspec

from penstock.sim import (
    anthropic,
    anthropic_reply,
    caches,
    disturb,
    faults,
    keys,
    openai_chat,
    openai_chat_reply,
    openai_embeddings,
    openai_responses,
    openai_responses_reply,
    others,
)
from penstock.sim.answers import Ask, Reply, answer, filtered
from penstock.sim.batchdesk import BatchDesk
from penstock.sim.bill import Attempt, Bill
from penstock.sim.config import MODELS, Model, Protocol, SimConfig
from penstock.sim.exchange import Plan
from penstock.sim.limited import limited
from penstock.sim.limits import HEADERS, Dimension, Lane, Refuse, azure_headers, open_lane
from penstock.sim.pause import told_s
from penstock.sim.plan import End, Head, Reject, Reset, Send, SimRequest, Step, Usage, Wait
from penstock.sim.response_store import ResponseStore
from penstock.sim.spoil import scripted, spoiled

_decode = msgspec.json.Decoder(dict[str, Any]).decode
_JSON = ("content-type", "application/json")
_EVENTS = ("content-type", "text/event-stream; charset=utf-8")


class Simulator:
    """A provider without a network: `begin` plans an answer, `passed` and `finish` say what came of it.

    The performer does each step of the plan in order, calls `passed` after it, and `finish` exactly once at the end,
    with `aborted=True` when the client left or a Reset was performed.
    """

    def __init__(self, config: SimConfig | None = None) -> None:
        self.config = SimConfig() if config is None else config
        self._keyring = keys.Keyring(self.config.accept_keys)
        self._scenario = self.config.scenario
        self.reset()

    def reset(self) -> None:
        """Forget everything that happened; configuration and scenario stay as they are."""
        self.started: float | None = None
        self.bill = Bill(self.config.log_entries)
        self.lanes: dict[tuple[Protocol, str, str], Lane] = {}
        self.book = faults.FaultBook(self._scenario)
        self._scenario_at: float | None = None
        self.cache = caches.PrefixCache()
        self._responses = ResponseStore()
        self.desk = BatchDesk(self.config, self.bill, self._row_fault)
        self._count = 0
        self.open = 0

    def play(self, scenario: faults.Scenario, now: float) -> None:
        """Replace the scenario; its counters and its clock start anew."""
        self._scenario = scenario
        self.book = faults.FaultBook(scenario)
        self._scenario_at = now

    # --- one exchange ----------------------------------------------------------------------------------------------

    def begin(self, request: SimRequest, now: float) -> Plan:
        """Decide what happens to a request."""
        if self.started is None:
            self.started = now
        self._count += 1
        self.open += 1
        plan = Plan(self._count, request, now, Random(f"{self.config.seed}/{self._count}"))
        plan.bill = self.bill
        plan.request_id = f"req_{plan.rng.getrandbits(96):024x}"
        try:
            self._answer(plan, now)
        except Reject as reject:
            self._take_fault_back(plan, reject)
            self._refuse(plan, reject, now)
        except (AttributeError, TypeError, KeyError, ValueError, RecursionError) as error:
            # Checks look at what the real server names; deeper nonsense in a body ends here.
            plan.fault_label = "unreadable"
            self._refuse(plan, Reject(400, f"The request body could not be understood: {error}"), now)
        head = next((step for step in plan.steps if isinstance(step, Head)), None)
        plan.status = head.status if head is not None else 0
        return plan

    def passed(self, plan: Plan, step: Step, now: float) -> None:
        """A step was performed completely."""
        if isinstance(step, (Wait, Send)) and step.tokens:
            self._produce(plan, step.tokens, now)

    def finish(
        self, plan: Plan, now: float, *, aborted: bool = False, within: Step | None = None, share: float = 0.0
    ) -> Attempt:
        """Settle an exchange: bill and log it, free its place.

        `within` is the step that was under way when the client left and `share` how much of it was done, 0 to 1.
        """
        if not plan.open:
            raise RuntimeError(f"request {plan.no} was finished twice")
        plan.open = False
        if plan.bill is self.bill:
            self.open -= 1
        if isinstance(within, Wait) and within.tokens:
            self._produce(plan, int(within.tokens * min(1.0, max(0.0, share))), now)
        if plan.lane is not None and plan.admitted:
            plan.lane.leave()
        usage = Usage()
        if plan.billing != "none":
            output = plan.usage.output if plan.billing == "all" else min(plan.produced, plan.usage.output)
            usage = replace(plan.usage, output=output, reasoning=min(plan.usage.reasoning, output))
        attempt = Attempt(
            no=plan.no,
            request_id=plan.request_id,
            arrived=plan.arrived,
            ended=now,
            protocol=plan.protocol,
            path=plan.request.path,
            model=plan.model,
            credential=plan.credential,
            status=plan.status,
            fault=plan.fault_label,
            stream=plan.stream,
            aborted=aborted,
            input_tokens=usage.input,
            cache_read_tokens=usage.cache_read,
            cache_write_tokens=usage.write_5m + usage.write_1h,
            output_tokens=usage.output,
            billed_nano=self.bill.cost_nano(self.config.price(plan.model), usage)
            + plan.fee_nano * (plan.billing != "none"),
            prompt=plan.prompt,
            retry_after_s=plan.retry_after_s,
        )
        # A reset in between started a new bill; what began before it stays on the old one.
        if plan.logged and plan.bill is not None:
            plan.bill.add(attempt)
        return attempt

    def _take_fault_back(self, plan: Plan, reject: Reject) -> None:
        if plan.rule is not None and not reject.ordered:
            self.book.take_back(plan.rule)
            plan.fault = None
            plan.fault_label = "" if plan.fault_label == plan.rule.label else plan.fault_label

    def _produce(self, plan: Plan, count: int, now: float) -> None:
        plan.produced += count
        if plan.lane is not None and plan.admitted and count:
            plan.lane.produced(count, now)

    # --- the way in ------------------------------------------------------------------------------------------------

    def _answer(self, plan: Plan, now: float) -> None:
        request = plan.request
        path = request.path.rstrip("/")
        tail = path.rsplit("/", 2)[1:]
        last = tail[-1] if tail else ""
        if path.endswith(("/messages", "/messages/count_tokens")) or "anthropic-version" in request.headers:
            plan.protocol = "anthropic"
        plan.protocol = others.protocol_of(request) or plan.protocol
        if plan.protocol in ("cohere", "gemini"):
            self._other(plan, now)
            return
        deployment = "/openai/deployments/" in path
        plan.azure = deployment or ("/openai/v1/" in path and "api-key" in request.headers)
        if last == "models" or (len(tail) == 2 and tail[0] == "models"):
            self._models(plan, "" if last == "models" else last)
            return
        if BatchDesk.takes(path):
            self._batches(plan, path, now)
            return
        if not path.endswith(("/chat/completions", "/embeddings", "/responses", "/messages", "/messages/count_tokens")):
            words = f"Invalid URL ({request.method} {request.path})" if plan.protocol == "openai" else "Not Found"
            raise Reject(404, words)
        if request.method != "POST":
            raise Reject(
                405,
                f"Not allowed to {request.method} on {request.path} (HINT: Perhaps you meant to use a "
                "different HTTP method?)",
                code="method_not_supported",
            )
        self._keyring.enter(plan)
        if len(request.body) > self.config.max_body_bytes:
            raise Reject(413, "Request exceeds the maximum size", code="request_too_large")
        body = self._parse(plan)
        plan.stream = body.get("stream") is True
        asked = body.get("input") if last == "responses" else body.get("messages")
        plan.prompt = blake2b(msgspec.json.encode(asked), digest_size=8).hexdigest()
        plan.model = str(body.get("model") or "")
        if deployment:
            plan.model = path.split("/openai/deployments/")[1].split("/")[0]
            body = {**body, "model": plan.model}
        self._maybe_fault(plan, now)
        if last == "embeddings":
            self._embeddings(plan, body, now)
        elif last == "responses":
            self._respond(plan, body, now)
        elif plan.protocol == "openai":
            self._chat(plan, body, now)
        elif last == "count_tokens":
            self._count_tokens(plan, body, now)
        else:
            self._messages(plan, body, now)

    def _other(self, plan: Plan, now: float) -> None:
        self._keyring.enter(plan)
        if plan.request.method != "POST":
            plan.logged = False
            self._body(plan, 200, others.page(self.config, plan), None, now)
            return
        if len(plan.request.body) > self.config.max_body_bytes:
            raise Reject(413, "Request payload size exceeds the limit")
        body = self._parse(plan)
        others.read(plan, body)
        self._maybe_fault(plan, now)
        others.answer(self, plan, body, now)

    def _parse(self, plan: Plan) -> dict[str, Any]:
        try:
            return _decode(plan.request.body)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            if plan.protocol != "openai":
                raise Reject(400, f"The request body is not valid JSON: {error}") from error
            raise Reject(
                400,
                "We could not parse the JSON body of your request. (HINT: This likely means you aren't "
                "using your HTTP library correctly. The OpenAI API expects a JSON payload, but what was sent "
                "was not valid JSON.)",
            ) from error

    def _maybe_fault(self, plan: Plan, now: float) -> None:
        since = self._scenario_at if self._scenario_at is not None else self.started
        facts = faults.Facts(
            protocol=plan.protocol,
            model=plan.model,
            path=plan.request.path,
            stream=plan.stream,
            body=plan.request.body,
            since_s=now - (now if since is None else since),
        )
        rule = self.book.pick(facts, plan.rng) if self.book.scenario.rule else None
        if rule is None:
            return
        plan.rule, plan.fault, plan.fault_label = rule, rule.fault, rule.label
        if isinstance(rule.fault, faults.Status) and rule.fault.billed:
            return
        reject = disturb.refusal(rule.fault, plan.protocol, now, stream=plan.stream, azure=plan.azure)
        if reject is not None:
            raise reject

    # --- the four endpoints ----------------------------------------------------------------------------------------

    def _openai_model(self, plan: Plan, body: dict[str, Any]) -> tuple[str, Model]:
        if "/openai/deployments/" in plan.request.path and "api-version" not in plan.request.query:
            raise Reject(404, "Resource not found", code="404")
        name = openai_chat.model_name(body)
        model = self.config.model(name, "openai")
        if model is None:
            responses = plan.request.path.rstrip("/").endswith("/responses") and not plan.azure
            raise (openai_responses if responses else openai_chat).no_such_model(name)
        return name, model

    def _embeddings(self, plan: Plan, body: dict[str, Any], now: float) -> None:
        name, model = self._openai_model(plan, body)
        if self.config.any_model and name not in MODELS and name not in self.config.models:
            model = msgspec.structs.replace(model, dimensions=openai_embeddings.USUAL_DIMENSIONS)
        asked = openai_embeddings.check(body, name, model, self.config.embeddings)
        if self.front_fault(plan):
            return
        lane = self.admit(plan, {"requests": 1, "tokens": asked.charge}, now)
        plan.usage = Usage(asked.prompt_tokens)
        self.whole(plan, openai_embeddings.write(asked, name, self.reported(plan.usage, plan.fault)), lane, now)
        self.disturb(plan, now)

    def _chat(self, plan: Plan, body: dict[str, Any], now: float) -> None:
        name, model = self._openai_model(plan, body)
        chat = openai_chat.check(body, name, model)
        if self.front_fault(plan):
            return
        lane = self.admit(plan, {"requests": 1, "tokens": chat.charge}, now)
        replies = [self.reply(plan, chat.ask, index) for index in range(chat.ask.n)]
        scope = f"{plan.credential}/{name}"
        cached = caches.automatic(self.cache, scope, chat.prompt_text, now, self.config.cache_ttl_s)
        cached = min(cached, chat.prompt_tokens)
        output, reasoning = sum(r.tokens for r in replies), sum(r.reasoning_tokens for r in replies)
        plan.usage = Usage(chat.prompt_tokens - cached, cached, 0, 0, output, reasoning)
        writing = openai_chat_reply.Writing(
            chat,
            name,
            f"chatcmpl-{plan.request_id[4:]}",
            int(now),
            self.reported(plan.usage, plan.fault),
            self.config.latency.chunk_tokens,
            self.config.obfuscation,
            plan.azure,
        )
        if chat.ask.stream:
            self.streamed(plan, openai_chat_reply.stream(replies, writing), reasoning, lane, now)
        else:
            self.whole(plan, openai_chat_reply.write(replies, writing), lane, now)
        self.disturb(plan, now)

    def _respond(self, plan: Plan, body: dict[str, Any], now: float) -> None:
        name, model = self._openai_model(plan, body)
        asked = openai_responses.check(body, name, model, self._responses, plan.credential)
        if self.front_fault(plan):
            return
        lane = self.admit(plan, {"requests": 1, "tokens": asked.charge}, now)
        reply = self.reply(plan, asked.ask, 0)
        cached = caches.automatic(
            self.cache, f"{plan.credential}/{name}", asked.prompt_text, now, self.config.cache_ttl_s
        )
        cached = min(cached, asked.prompt_tokens)
        plan.usage = Usage(asked.prompt_tokens - cached, cached, 0, 0, reply.tokens, reply.reasoning_tokens)
        writing = openai_responses_reply.Writing(
            asked,
            name,
            f"resp_{plan.request_id[4:]}",
            int(now),
            self.reported(plan.usage, plan.fault),
            self.config.latency.chunk_tokens,
            self.config.obfuscation,
        )
        if asked.store:
            self._responses.keep(plan.credential, writing.ident, openai_responses_reply.kept(reply, writing))
        if asked.ask.stream:
            self.streamed(plan, openai_responses_reply.stream(reply, writing), reply.reasoning_tokens, lane, now)
        else:
            self.whole(plan, openai_responses_reply.write(reply, writing), lane, now)
        self.disturb(plan, now)

    def _read_messages(
        self, plan: Plan, body: dict[str, Any], *, counting: bool = False
    ) -> tuple[str, anthropic.MessagesAsk]:
        version = anthropic.check_version(plan.request.headers)
        name = anthropic.model_name(body)
        model = self.config.model(name, "anthropic")
        if model is None:
            raise anthropic.no_such_model(name)
        return name, anthropic.check(body, name, model, version, counting=counting)

    def _messages(self, plan: Plan, body: dict[str, Any], now: float) -> None:
        name, message = self._read_messages(plan, body)
        if self.front_fault(plan):
            return
        read, short, long = self._peek_cache(message.marks, now)
        fresh = message.prompt_tokens - read - short - long
        lane = self.admit(plan, {"requests": 1, "input-tokens": fresh + short + long, "output-tokens": 1}, now)
        caches.marked(self.cache, message.marks, self.config.cache_min_tokens, now)
        reply = self.reply(plan, message.ask, 0)
        plan.usage = Usage(fresh, read, short, long, reply.tokens, reply.reasoning_tokens)
        writing = anthropic_reply.Writing(
            name,
            f"msg_01{plan.request_id[8:]}",
            self.reported(plan.usage, plan.fault),
            message.show_thinking,
            self.config.latency.chunk_tokens,
        )
        if message.ask.stream:
            self.streamed(plan, anthropic_reply.stream(reply, writing), 0, lane, now)
        else:
            self.whole(plan, anthropic_reply.write(reply, writing), lane, now)
        self.disturb(plan, now)

    def _peek_cache(self, marks: tuple[caches.Mark, ...], now: float) -> tuple[int, int, int]:
        if not marks:
            return 0, 0, 0
        return caches.marked(self.cache, marks, self.config.cache_min_tokens, now, commit=False)

    def _count_tokens(self, plan: Plan, body: dict[str, Any], now: float) -> None:
        _, found = self._read_messages(plan, body, counting=True)
        if not self.front_fault(plan):
            self._body(plan, 200, msgspec.json.encode({"input_tokens": found.prompt_tokens}), None, now)
            self.disturb(plan, now)

    def _batches(self, plan: Plan, path: str, now: float) -> None:
        plan.logged = False  # rows are on the bill, not how they came
        if not BatchDesk.is_open(path):
            self._keyring.enter(plan)
        self._maybe_fault(plan, now)
        if not self.front_fault(plan):
            page = self.desk.answer(plan.request, plan.credential, now)
            self._body(plan, page.status, page.body, None, now, more=page.headers)
            self.disturb(plan, now)

    def _row_fault(self, protocol: Protocol, model: str, body: bytes) -> Reject | None:
        """What a row of a batch is refused for on order; such a rule sees the path `batch`."""
        if not self.book.scenario.rule:
            return None
        facts = faults.Facts(protocol=protocol, model=model, path="batch", stream=False, body=body, since_s=0.0)
        rule = self.book.pick(facts, Random(0))
        return None if rule is None else disturb.refusal(rule.fault, protocol, 0.0, stream=False, azure=False)

    def _models(self, plan: Plan, name: str) -> None:
        plan.logged = False
        if plan.request.method != "GET":
            raise Reject(405, f"Not allowed to {plan.request.method} on {plan.request.path}")
        self._keyring.enter(plan)
        table: Mapping[str, Model] = {
            n: m for n, m in {**MODELS, **self.config.models}.items() if m.protocol == plan.protocol
        }
        if name and name not in table:
            raise (openai_chat if plan.protocol == "openai" else anthropic).no_such_model(name)
        if plan.protocol == "openai":
            rows = openai_chat_reply.model_list([name] if name else list(table))
        else:
            rows = anthropic_reply.model_list({name: table[name]} if name else table)
        self._body(plan, 200, msgspec.json.encode(rows["data"][0] if name else rows), None, plan.arrived)

    # --- limits ----------------------------------------------------------------------------------------------------

    def lane(self, protocol: Protocol, credential: str, model: str, now: float) -> Lane:
        """The lane of a credential (its hash) and model, opened when it is new."""
        key = (protocol, credential, model)
        found = self.lanes.get(key)
        if found is None:
            found = self.lanes[key] = open_lane(protocol, self.config.limit(protocol, model), now)
        return found

    def admit(self, plan: Plan, costs: dict[Dimension, int], now: float) -> Lane:
        """Ask the lane for room.

        Raises: Reject 429 where it has none.
        """
        lane = plan.lane = self.lane(plan.protocol, plan.credential, plan.model, now)
        found = lane.ask(costs, now)
        if isinstance(found, Refuse):
            plan.fault_label = f"limit:{found.dimension}"
            if self.config.latency.rejection_s:
                plan.steps.append(Wait(self.config.latency.rejection_s))
            raise limited(plan, found, lane.limits.retry_after, now)
        plan.admitted = True
        plan.billing = "produced"
        return lane

    # --- the way out -----------------------------------------------------------------------------------------------

    def reply(self, plan: Plan, ask: Ask, index: int) -> Reply:
        """What the model says, spoiled or filtered where a fault orders it."""
        reply = answer(ask, self.config.seed, index, self.config.answer_tokens)
        if isinstance(plan.fault, faults.Spoil):
            return spoiled(reply, plan.fault, ask, loose_calls=plan.protocol in ("openai", "cohere"))
        if isinstance(plan.fault, faults.Say):
            return scripted(reply, plan.fault)
        return filtered(reply) if isinstance(plan.fault, faults.ContentFilter) else reply

    def reported(self, usage: Usage, fault: faults.Fault | None) -> Usage | None:
        """The usage that is told, which a fault may falsify."""
        if isinstance(fault, faults.NoUsage):
            return None
        if isinstance(fault, faults.WrongUsage):
            return Usage(
                *(
                    math.ceil(getattr(usage, name) * fault.factor)
                    for name in ("input", "cache_read", "write_5m", "write_1h", "output", "reasoning")
                )
            )
        return usage

    def _first_token_s(self, plan: Plan) -> float:
        latency = self.config.latency
        if latency.first_token_s <= 0:
            return 0.0
        return plan.rng.lognormvariate(math.log(latency.first_token_s), latency.first_token_sigma)

    def _token_s(self, plan: Plan) -> float:
        latency = self.config.latency
        if latency.tokens_per_s <= 0:
            return 0.0
        return 1.0 / plan.rng.lognormvariate(math.log(latency.tokens_per_s), latency.speed_sigma)

    def whole(self, plan: Plan, body: bytes, lane: Lane | None, now: float) -> None:
        """Answer with one body, after the time that it takes."""
        output = plan.usage.output
        wait_s = self._first_token_s(plan) + output * self._token_s(plan)
        if wait_s > 0:
            plan.steps.append(Wait(wait_s, output))
        self._body(plan, 200, body, lane, now, wait_s=wait_s, produced=0 if wait_s > 0 else output)

    def _body(
        self,
        plan: Plan,
        status: int,
        body: bytes,
        lane: Lane | None,
        now: float,
        *,
        wait_s: float = 0.0,
        produced: int = 0,
        more: tuple[tuple[str, str], ...] = (),
    ) -> None:
        headers = (_JSON, *self._headers(plan, lane, now, wait_s), *more)
        plan.steps += [Head(status, headers, len(body)), Send(body, produced, "body"), End()]

    def streamed(self, plan: Plan, events: list[Send], hidden: int, lane: Lane, now: float) -> None:
        """Answer with events, each when its tokens are there."""
        token_s = self._token_s(plan)
        first_s = self._first_token_s(plan) + hidden * token_s
        if first_s > 0 or hidden:
            plan.steps.append(Wait(first_s, hidden))
        plan.steps.append(Head(200, (_EVENTS, ("cache-control", "no-cache"), *self._headers(plan, lane, now, first_s))))
        for event in events:
            if token_s > 0 and event.tokens:
                plan.steps.append(Wait(event.tokens * token_s))
            plan.steps.append(event)
        plan.steps.append(End())

    def _headers(self, plan: Plan, lane: Lane | None, now: float, wait_s: float) -> list[tuple[str, str]]:
        write = azure_headers if plan.azure else HEADERS[plan.protocol]
        headers = write(lane, now) if lane is not None and lane.limits.headers else []
        if plan.protocol in ("cohere", "gemini"):
            told = "x-debug-trace-id" if plan.protocol == "cohere" else "x-gemini-request-id"
            return [(told, plan.request_id), *headers]
        if plan.protocol == "anthropic":
            return [("request-id", plan.request_id), ("anthropic-organization-id", "org-sim"), *headers]
        if plan.azure:
            headers = [("apim-request-id", plan.request_id), ("x-ms-region", "Penstock Sim"), *headers]
        spent_ms = str(int(wait_s * 1000) + 1)
        return [
            ("x-request-id", plan.request_id),
            ("openai-processing-ms", spent_ms),
            ("openai-version", "2020-10-01"),
            ("openai-organization", "org-sim"),
            *headers,
        ]

    def front_fault(self, plan: Plan) -> bool:
        """Faults that answer in the provider's place before any work is done."""
        match plan.fault:
            case faults.Html(status=status):
                plan.steps = disturb.page(status)
            case faults.Error200():
                plan.steps = disturb.error_200(plan.fault)
            case faults.Reset(when="before_read"):
                plan.steps = [Reset(plan.fault.how == "rst")]
            case _:
                return False
        return True

    def disturb(self, plan: Plan, now: float) -> None:
        """Change the steps of a good answer as the fault of its plan says."""
        fault = plan.fault
        if fault is None:
            return
        if isinstance(fault, faults.Status):
            plan.steps = [step for step in plan.steps if isinstance(step, Wait)]
            plan.billing = "all"
            reject = disturb.refusal(fault, plan.protocol, now, stream=plan.stream, azure=plan.azure)
            if reject is not None:
                self._refuse(plan, reject, now)
            return
        if isinstance(fault, faults.EmptyBody) or (isinstance(fault, faults.Reset) and fault.when == "after_body"):
            plan.billing = "all" if not isinstance(fault, faults.Reset) or fault.billed else "none"

        def event() -> bytes:
            reject = disturb.midway(fault, plan.protocol) if isinstance(fault, faults.ErrorEvent) else Reject(500, "")
            if plan.protocol in ("cohere", "gemini"):
                return others.error_event(plan.protocol, reject)
            if plan.request.path.rstrip("/").endswith("/responses"):
                return openai_responses_reply.failed_event(reject)
            if plan.protocol == "openai":
                return openai_chat_reply.error_event(reject)
            return anthropic_reply.error_event(reject, plan.request_id)

        plan.steps = disturb.disturb(fault, plan.steps, event)

    def _refuse(self, plan: Plan, reject: Reject, now: float) -> None:
        if plan.lane is None and plan.credential and plan.model and self.config.model(plan.model, plan.protocol):
            plan.lane = self.lane(plan.protocol, plan.credential, plan.model, now)
            plan.lane.rejected(now)
        if plan.protocol in ("cohere", "gemini"):
            body = others.error_body(plan.protocol, reject, plan.request_id)
        elif plan.protocol == "anthropic":
            body = anthropic_reply.error_body(reject, plan.request_id)
        else:
            body = openai_chat_reply.error_body(reject, plan.request_id, azure=plan.azure)
        plan.retry_after_s = told_s(reject.headers, now)
        self._body(plan, reject.status, body, plan.lane, now, more=reject.headers)
