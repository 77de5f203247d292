"""What both clients share: settings, lanes and policies. Nothing here waits."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from hashlib import blake2s
from typing import TYPE_CHECKING, Any, Generic, Literal, TypeVar, Unpack

import msgspec

from .._flow.accounting import Ladder, Order
from .._flow.effects import Flow, Lane
from .._flow.fitting import fitted
from .._flow.gauge import Gauges
from .._flow.prompt import Options, Prompt, check_tags, request, truncation
from .._flow.routed import CACHE_HOUR_S
from .._flow.texts import CONCURRENCY, EmbedOptions, check_options, read_texts
from .._flow.trail import Trail
from .._policy.breaker import BreakerSettings
from .._policy.budget import Budget, BudgetState
from .._policy.cache import Cache, CacheState, Use, use
from .._policy.cascade import Cascade
from .._policy.choosing import Routing
from .._policy.hedge import Hedge
from .._policy.limiter import Limiter, Limits
from .._policy.onerror import ErrorPolicy
from .._policy.packing import PackLimits
from .._policy.retry import RetryPolicy
from .._policy.routing import Route, Router, is_tier
from .._policy.tally import Totals
from .._policy.timeouts import Timeouts
from .._text.truncate import Strategy, Truncate
from .._wire import registry
from ..embeddings import EmbedRequest
from ..errors import BudgetUnavailable, ConfigError
from ..types import Request, Response, Tier
from . import settings as _settings
from .clock import Clock, SystemClock, unique
from .gate import Gate
from .http import Target
from .routes import Routes
from .status import LaneStatus, Preview, TokenGauge
from .stores import book_of

if TYPE_CHECKING:
    from .._flow.cascade import ExtractCascade
    from .._flow.embed import Work
    from .._flow.extract import Extraction  # loaded with the first extraction
    from .._flow.mode import Refusals
    from .._flow.rerank import RerankOptions
    from .counting import Counting
    from .ledger.keep import LedgerDoor
    from .ledger.settings import Ledger
    from .subscription import Subscription

GateT = TypeVar("GateT", bound=Gate)
TransportT = TypeVar("TransportT")
EventT = TypeVar("EventT")


class BaseClient(Generic[GateT, TransportT]):
    """A client without its colour: options in, an order out."""

    _gate_class: type[GateT]
    ledger: LedgerDoor | None
    _keeps_ledger = False
    """Whether there is a ledger where nobody said so."""

    def __init__(
        self,
        *,
        model: str | None = None,
        tiers: Mapping[Tier, str | Sequence[str]] | None = None,
        fallbacks: Sequence[str] | Mapping[str, Sequence[str]] | None = None,
        routing: Routing | None = None,
        limits: Limits | Mapping[str, Limits] | None = None,
        budget: Budget | None = None,
        retry: RetryPolicy | None = None,
        breaker: BreakerSettings | None = None,
        hedge: Hedge | None = None,
        timeouts: Timeouts | None = None,
        deadline_s: float | None = None,
        cache: Cache | None = None,
        ledger: Ledger | str | os.PathLike[str] | bool | None = None,
        truncate: Truncate | Strategy | None = None,
        on_error: ErrorPolicy | None = None,
        tags: Mapping[str, str] | None = None,
        keys: Mapping[str, str] | None = None,
        base_urls: Mapping[str, str] | None = None,
        config: str | os.PathLike[str] | bool | None = None,
        env: Mapping[str, str] | None = None,
        transport: TransportT | Literal["aiohttp", "urllib3", "httpx2"] | None = None,
        clock: Clock | None = None,
    ) -> None:
        """Read the settings; nothing is sent and no connection is made.

        `model` answers where a call names none. `tiers` map simple, moderate, complex and expert to models, `fallbacks`
        are tried when a provider fails, `routing` says how tier 'auto' chooses. `limits` hold for every lane, or by
        'provider' and 'provider:model'. `hedge` sends a second attempt beside a late one. `cache` keeps answers.
        `ledger` keeps a record of every call: True for the user's own, or its file, or a `Ledger`. `truncate` cuts
        prompts that are too long, `on_error` says what may be done about an error. `keys` and `base_urls` are by
        provider name. `config` is a settings file, False for none; `env` stands for the environment.

        Raises: ConfigError.
        """
        _expect(
            ("model", model, str),
            ("tiers", tiers, Mapping),
            ("routing", routing, Routing),
            ("budget", budget, Budget),
            ("retry", retry, RetryPolicy),
            ("breaker", breaker, BreakerSettings),
            ("timeouts", timeouts, Timeouts),
            ("hedge", hedge, Hedge),
            ("cache", cache, Cache),
            ("on_error", on_error, ErrorPolicy),
            ("limits", limits, (Limits, Mapping)),
            ("tags", tags, Mapping),
            ("env", env, Mapping),
            ("config", config, (str, bool, os.PathLike)),
        )
        self.settings = _settings.load(config=config, env=env, keys=keys, base_urls=base_urls)
        file = self.settings.file
        self._limits = self._limits_by_name(file.limits if limits is None else limits)
        self._timeouts = timeouts or file.timeouts or Timeouts()
        self._deadline_s = _deadline(deadline_s if deadline_s is not None else file.deadline_s)
        check_tags(tags or {})
        self._tags = {**file.tags, **(tags or {})}
        self._router = Router(
            tiers=file.tiers if tiers is None else tiers,
            fallbacks=file.fallbacks if fallbacks is None else fallbacks,
            default=model or file.model,
            resolve=self._canonical,
        )
        self._clock = clock or SystemClock()
        self._gate = self._gate_of(budget := budget or self.settings.budget, retry or file.retry, breaker)
        self._chooser = Routes(self._router, routing or file.routing, self.settings.providers, self._gate.warm)
        self._hedge = hedge
        self._truncate = truncation(truncate) or file.truncate
        self._on_error = on_error or ErrorPolicy(file.on_error)
        self._gauges: dict[str, Gauges] = {}
        self._refusals: Refusals | None = None
        self._gate.keep_answers(cache or file.cache)
        self._keep_ledger(self.settings.ledger(self._keeps_ledger) if ledger is None else ledger, budget)
        self._lanes: dict[str, Lane] = {}
        self._keyed = False  # whether a lane takes idempotency keys
        self._routes: dict[str | None, tuple[Lane, ...]] = {}
        self._targets: dict[tuple[str, str], Target] = {}
        self._transport: TransportT = self._open(transport) if isinstance(transport, str | None) else transport

    def _keep_ledger(self, wanted: Ledger | str | os.PathLike[str] | bool, budget: Budget | None) -> None:
        self._budget_file = None if budget is None or budget.file is None else os.path.abspath(budget.file)
        self.ledger = None
        if wanted is False:
            return
        from .ledger.keep import keep  # loaded with the first ledger

        self.ledger = keep(wanted, self._gate, self.settings.env, self._shown)

    def _shown(self) -> Iterator[tuple[str, str, str]]:
        """Tell lanes and budgets to those who watch through the ledger."""
        now = self._clock.now()  # the instants of a lane are on this clock, which others cannot read
        for lane in self.lanes():
            yield "lane", lane.name, msgspec.json.encode({"now": now, **msgspec.structs.asdict(lane)}).decode()
        if self._capped:
            with contextlib.suppress(BudgetUnavailable):
                for scope in self.budget().scopes:
                    shown = {"file": self._budget_file, **msgspec.structs.asdict(scope)}
                    yield "budget", scope.name, msgspec.json.encode(shown).decode()

    def _gate_of(self, budget: Budget | None, retry: RetryPolicy | None, breaker: BreakerSettings | None) -> GateT:
        self._capped = budget is not None
        return self._gate_class(
            clock=self._clock,
            limits=self._limits_of,
            budget=book_of(budget),
            retry=retry or RetryPolicy(),
            breaker=breaker or BreakerSettings(),
        )

    def _open(self, name: str | None) -> TransportT:
        raise NotImplementedError

    def _limits_by_name(self, limits: Limits | Mapping[str, Limits]) -> dict[str, Limits]:
        if isinstance(limits, Limits):
            return {"*": limits}
        found: dict[str, Limits] = {}
        for name, value in limits.items():
            if not isinstance(value, Limits):
                raise ConfigError(f"limits[{name!r}] is {value!r}; expected a Limits")
            try:
                owned = name if name == "*" else self._owned(name)
            except ConfigError as error:
                raise type(error)(f"limits[{name!r}]: {error.message}") from None
            if found.setdefault(owned, value) != value:
                raise ConfigError(
                    f"limits[{name!r}]: other limits are given for the same account; give those of {owned!r}"
                )
        return found

    def _owned(self, name: str) -> str:
        """Return the name by which limits of a provider or a model are known: rows that share an account share them."""
        if name in self.settings.providers:
            return self.settings.providers[name].owner
        provider, model = registry.resolve(name, self.settings.providers)
        return f"{provider.owner}:{model}"

    def _limits_of(self, lane: Lane) -> Limits | None:
        owner = lane.provider.owner
        named = self._limits.get(f"{owner}:{lane.model}") or self._limits.get(owner) or self._limits.get("*")
        # A server of one's own tells no limits and queues whatever comes.
        return named or (Limits(concurrency="auto") if lane.provider.local else None)

    def _canonical(self, model: str) -> str:
        provider, name = registry.resolve(model, self.settings.providers)
        return f"{provider.name}:{name}"

    def _route(self, model: str | None) -> tuple[Lane, ...]:
        lanes = self._routes.get(model)
        if lanes is None:
            names = self._router.route(model).candidates
            lanes = self._routes[model] = tuple(self._lane(name) for name in names)
        return lanes

    def _lane(self, model: str) -> Lane:
        lane = self._lanes.get(model)
        if lane is None:
            provider, name = registry.resolve(model, self.settings.providers)
            key, _ = self.settings.key(provider)
            base_url = self.settings.base_url(provider).value
            credential = "none" if key is None else blake2s(key.reveal().encode(), digest_size=4).hexdigest()
            wire = registry.wire(provider.wire)
            lane = Lane(
                id=f"{provider.owner}:{name}@{base_url}#{credential}",
                provider=provider,
                model=name,
                wire=wire,
                base_url=base_url,
                credential=credential,
                context=self._chooser.context(f"{provider.name}:{name}"),
            )
            Limiter(self._limits_of(lane), counting=provider.counting)
            self._targets[lane.door] = Target(base_url, wire.auth_headers(provider, key))
            self._lanes[model] = lane
            self._keyed = self._keyed or bool(provider.idempotency)
        return lane

    def _order(self, prompt: Prompt, options: Options, *, stream: bool) -> Order:
        if "tier" in options or "task" in options or "region" in options:
            return self._routed(prompt, options, stream=stream)
        lanes = self._route(options.get("model"))
        asked = request(prompt, options, lanes[0].model)
        if "fallbacks" in options:
            lanes = (lanes[0], *[self._lane(name) for name in options["fallbacks"]])
        return self._equipped(asked, lanes, options, stream=stream)

    def _routed(self, prompt: Prompt, options: Options, *, stream: bool) -> Order:
        """Have the router choose the lanes of a call, by what it asks."""
        asked = request(prompt, options)
        named = options if _names_one(options) else {**options, "model": self._router.route().candidates[0]}
        route = self._chooser.route(asked, named)
        lanes = tuple([self._lane(name) for name in route.candidates])
        asked = msgspec.structs.replace(asked, model=lanes[0].model)
        order = self._equipped(asked, lanes, options, stream=stream)
        if self._chooser.sticky_s:
            lasts_s = CACHE_HOUR_S if asked.prompt_cache == "1h" else self._chooser.sticky_s
            order = msgspec.structs.replace(order, opening=asked, sticky_s=lasts_s)
        return order if route.tier is None or self._gate.hub is None else self._with_route(order, route)

    def _equipped(self, asked: Request, lanes: tuple[Lane, ...], options: Options, *, stream: bool) -> Order:
        cache = self._use(asked, options) if self._gate.answers or "cache" in options else None
        order = self._ordered(
            asked,
            lanes,
            options,
            stream=stream,
            cache=cache,
            truncate=truncation(options.get("truncate")) or self._truncate,
            on_error=options.get("on_error"),
        )
        if self._hedge is not None or "hedge" in options or "continuations" in options or "cascade" in options:
            return self._with_extras(order, options)
        return order

    def _ordered(
        self,
        asked: Request,
        lanes: tuple[Lane, ...],
        options: Options | EmbedOptions | RerankOptions,
        *,
        stream: bool = False,
        cache: Use | None = None,
        truncate: Truncate | None = None,
        on_error: ErrorPolicy | None = None,
    ) -> Order:
        """Return the order of a request, with what holds for every call of this client and what this one says."""
        now = self._clock.now()
        within = options.get("deadline_s", self._deadline_s)
        if within is not self._deadline_s:
            within = _deadline(within)
        tags = options.get("tags")
        return Order(
            request=asked,
            lanes=lanes,
            stream=stream,
            timeouts=self._timeouts,
            prices=self.settings.prices,
            capped=self._capped,
            priority=options.get("priority", "normal"),
            tags={**self._tags, **tags} if tags else self._tags,
            started=now,
            wall_s=self._clock.wall(),
            deadline=None if within is None else now + within,
            idempotency_key=unique(self._clock) if self._keyed else "",
            gauges=self._gauges,
            cache=cache,
            truncate=truncate,
            on_error=on_error or self._on_error,
        )

    def _embedding(self, texts: object, options: EmbedOptions) -> tuple[Order, Work, Callable[..., Flow[Response]]]:
        """Read a call of `embed`: its order, the work that it is, and the flow that does it.

        Raises: ConfigError, InputError, UnsupportedParameter for what could not be sent.
        """
        from .._flow.embed import Work, embed  # loaded with the first texts

        check_options(options)
        found = read_texts(texts)
        lane, packs = self._embedding_lane(options)
        asked = EmbedRequest(
            model=lane.model,
            messages=(),
            max_tokens=0,
            dimensions=options.get("dimensions"),
            input_type=options.get("input_type"),
            user=options.get("user"),
            extra=dict(options.get("extra") or {}),
        )
        order = self._ordered(asked, (lane,), options)
        workers = self._side_by_side(options.get("concurrency") or CONCURRENCY)
        work = Work(found, asked, packs, on_bad_input=options.get("on_bad_input", "raise"), workers=workers)
        return order, work, partial(embed, work=work)

    def _embedding_lane(self, options: EmbedOptions) -> tuple[Lane, PackLimits]:
        """Return the lane of a model that embeds, and what one request to it may hold.

        Raises: ConfigError, UnsupportedParameter.
        """
        from .._wire.embedded import check

        model = options["model"]
        provider, name = registry.resolve(model, self.settings.providers)
        asked: Any = {name: options.get(name) for name in ("dimensions", "user", "input_type")}
        check(provider, model=name, **asked)
        lane = msgspec.structs.replace(self._lane(model), wire=registry.embeddings_wire(provider.embeddings))
        known = self._limits_of(lane) or Limits()
        rates = [rate // 2 for rate in (known.tpm, known.itpm) if rate is not None]
        most = min([each for each in (provider.embeddings_tokens, *rates) if each], default=0)
        return lane, PackLimits(
            inputs=provider.embeddings_inputs, tokens=most, input_tokens=provider.embeddings_input_tokens
        )

    def _reranking(self, query: object, documents: object, options: RerankOptions) -> Order:
        """Read a call of `rerank`.

        Raises: ConfigError, InputError, UnsupportedParameter for what could not be sent.
        """
        from .._flow.rerank import check_options, request  # loaded with the first ranking
        from .._wire.cohere_rerank import check

        check_options(options)
        provider, name = registry.resolve(options["model"], self.settings.providers)
        check(provider, name)
        asked = request(query, documents, options, name)
        lane = msgspec.structs.replace(self._lane(options["model"]), wire=registry.rerank_wire(provider.rerank))
        return self._ordered(asked, (lane,), options)

    def _side_by_side(self, wanted: int) -> int:
        """How many requests of one call this client can have under way at once."""
        return wanted

    def _with_route(self, order: Order, route: Route) -> Order:
        """Write into an order how its route was chosen, for those who are told of it."""
        strongest = None
        with contextlib.suppress(ConfigError):  # it may have no key here, and nobody asked for it
            strongest = self._lane(self._router.strongest())
        return msgspec.structs.replace(order, tier=route.tier, reason=route.reason, strongest=strongest)

    def _with_extras(self, order: Order, options: Options) -> Order:
        hedge = options.get("hedge", self._hedge)
        return msgspec.structs.replace(
            order,
            hedge_after_s=None if hedge is None else self._patience(hedge, order.lanes[0], order.stream),
            continuations=_continuations(options, order.stream),
            ladder=self._ladder(options.get("cascade"), order),
        )

    def _ladder(self, cascade: Cascade | None, order: Order) -> Ladder | None:
        """Return the lanes of each step of a cascade, the call's own first.

        Raises: ConfigError.
        """
        if cascade is None:
            return None
        if order.stream:
            raise ConfigError(
                "parameter 'cascade' is for complete() and extract(): what a stream has shown cannot be taken back"
            )
        steps = [order.lanes]
        for name in cascade.names:
            models = self._router.of_tier(name) if is_tier(name) else self._router.route(name).candidates
            steps.append(tuple(self._lane(model) for model in models))
        return Ladder(cascade, tuple(steps))

    def _patience(self, hedge: Hedge, lane: Lane, stream: bool) -> float | None:
        self._check_hedge()
        if hedge.after_percentile is None:
            return hedge.after_s
        return self._gate.patience(lane, hedge.after_percentile, stream)

    def _check_hedge(self) -> None:
        """Refuse to hedge where the loser could not be ended."""

    def _routing(self) -> list[Any]:
        """Tell all of the settings that decides where a call goes and whether it can be made; no key is in it."""
        settings, told = self.settings, []
        for provider in settings.providers.values():
            try:
                known = [settings.base_url(provider).value, settings.key(provider)[0] is not None]
            except ConfigError as error:
                known = [error.message]
            told.append([repr(provider), *known])
        return [told, self._router.table(), self._chooser.table(), self._gate.answers is not None]

    def _extraction(
        self,
        wanted: Any,
        prompt: Prompt,
        options: Mapping[str, Any],
        *,
        stream: bool,
        timeouts: Timeouts | None = None,
    ) -> Extraction | ExtractCascade:
        """Make an extraction of options, those of its calls and its own."""
        from .._flow.extract import Extraction
        from .._flow.mode import Refusals
        from .._flow.wish import asked, parted

        self._refusals = self._refusals or Refusals()
        own, rest = parted(options)
        helper = () if own.helper is None else self._route(own.helper)
        order = self._order(prompt, rest, stream=stream)
        if timeouts is not None:
            order = msgspec.structs.replace(order, timeouts=timeouts)
        ask = asked(wanted, own, helper, self._refusals)
        if order.ladder is not None:
            from .._flow.cascade import ExtractCascade

            return ExtractCascade(ask, order)
        return Extraction(ask, order)

    def _use(self, asked: Request, options: Options) -> Use | None:
        return use(asked, options.get("cache"), configured=self._gate.answers is not None)

    def preview(self, prompt: Prompt, **options: Unpack[Options]) -> Preview:
        """Read a call as `complete` would, and send nothing.

        Raises: ConfigError, InputError for what could not be sent.
        """
        order = self._order(prompt, options, stream=False)
        trail, first = Trail(order), order.lanes[0]
        request = fitted(order, first, trail).asked(first)
        lanes = tuple([(lane.name, lane.base_url) for lane in order.lanes])
        return Preview(request, lanes, tuple(trail.notices), first.context)

    def route(self, prompt: Prompt, **options: Unpack[Options]) -> Route:
        """Say which models a call would ask in turn, and why; without model, tier and task as with tier 'auto'.

        Nothing is sent, and no key is needed.

        Raises: ConfigError, InputError as `complete`.
        """
        asked = request(prompt, options)
        named = options if _names_one(options) else {**options, "tier": "auto"}
        return self._chooser.route(asked, named)

    def on(
        self,
        kinds: type[EventT] | tuple[type[Any], ...],
        handler: Callable[[EventT], object],
        *,
        content: bool = False,
        inline: bool = False,
        queue: int = 10_000,
        name: str | None = None,
    ) -> Subscription:
        """Call `handler` with every event of these kinds (see `penstock.events`; `Event` means all) until it is closed.

        It is called by a thread of its own, or, where it is a coroutine function, in the event loop that runs now; one
        event after the other, soon after it happened. It may be slow or fail: no call waits for it. At most `queue`
        events wait for it, further ones are lost, which is counted, logged once and told by `RecordsLost`. `inline`
        calls it at once, where it happens, and so it must be quick: for tracing. With `content`, events have prompts
        and answers. `close()` of the client hands over what is left, and waits for at most 5 s.

        Raises: ConfigError.
        """
        from .subscription import subscribe  # loaded with the first subscriber

        return subscribe(self._gate.listen(), kinds, handler, content=content, inline=inline, queue=queue, name=name)

    def carry_spent(self, nano: int) -> None:
        """Count nano-dollars that an earlier run spent against the total budget of this client.

        A budget with a file remembers by itself: there they count against its `per_client` cap only.
        """
        self._gate.carry_spent(nano)

    def usage(self) -> Totals:
        """Return what this client used so far, in all, by model and by tag."""
        return self._gate.usage()

    def lanes(self) -> tuple[LaneStatus, ...]:
        """Return the state of the lanes used so far."""
        used = {lane.id for lane in self._lanes.values()}
        return tuple(
            [
                LaneStatus(lane.name, limiter, breaker, account, self._token_gauge(lane))
                for lane, limiter, breaker, account in self._gate.look()
                if lane.id in used
            ]
        )

    def _token_gauge(self, lane: Lane) -> TokenGauge:
        gauges = self._gauges.get(lane.id)
        return TokenGauge() if gauges is None else TokenGauge(gauges.prompt.ratio, gauges.prompt.error)

    def _counting(self, prompt: Prompt, source: object, options: Options) -> Counting:
        from .counting import Counting  # loaded with the first count

        order = self._order(prompt, options, stream=False)
        lane = order.lanes[0]
        counting = Counting(order, self._gauges.get(lane.id), source)
        self._targets[counting.order.lanes[0].door] = self._targets[lane.door]
        return counting

    def budget(self) -> BudgetState:
        """Return what is spent, held and left in every budget; in a file, by all who share it.

        Raises: BudgetUnavailable when the file of the budget cannot be read.
        """
        return self._gate.budget_state()

    def cache(self) -> CacheState | None:
        """Return what the cache holds, and why it does not work if it does not; None for a client without one."""
        return None if self._gate.answers is None else self._gate.answers.snapshot()

    def __repr__(self) -> str:
        totals = self.usage()
        lanes = ", ".join(sorted(state.lane.name for state in self._gate.lanes())) or "no lane yet"
        return f"<{type(self).__name__} [{lanes}] {totals.calls} calls, {totals.attempts} attempts, ${totals.cost}>"


def _names_one(options: Mapping[str, Any]) -> bool:
    """Whether options say who is to answer."""
    return options.get("tier") is not None or options.get("model") is not None or options.get("task") is not None


def _expect(*arguments: tuple[str, object, Any]) -> None:
    for name, value, kind in arguments:
        if value is not None and not isinstance(value, kind):
            wanted = " or ".join(each.__name__ for each in (kind if isinstance(kind, tuple) else (kind,)))
            raise ConfigError(f"{name} is {value!r}; expected a {wanted.replace('Mapping', 'dict')}")


def _deadline(seconds: object) -> float | None:
    if seconds is None:
        return None
    if isinstance(seconds, bool) or not isinstance(seconds, int | float) or not 0 < seconds < 1e10:
        raise ConfigError(f"deadline_s is {seconds!r}; expected a finite number of seconds above 0")
    return float(seconds)


def _continuations(options: Mapping[str, Any], stream: bool) -> int:
    if "continuations" not in options:
        return 0
    times = options["continuations"]
    if isinstance(times, bool) or not isinstance(times, int) or times < 0:
        raise ConfigError(f"parameter 'continuations' is {times!r}; expected how often, as a whole number")
    if not stream:
        raise ConfigError("parameter 'continuations' is for stream(); complete() repeats a failed attempt as a whole")
    return times
