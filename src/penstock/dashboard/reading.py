from __future__ import annotations
import math, random, time
from .asked import *
from .view import *


class Reading:
    def __init__(self, path):
        self.path = path

    def version(self):
        return int(time.time() // 2)

    def close(self):
        pass

    def call(self, name):
        at = time.time() - 300
        call = dict(
            id=name,
            at_s=at,
            latency_s=14.2,
            asked="openai:gpt-4o",
            model="anthropic:claude-haiku-4-5",
            operation="stream",
            tags={"team": "search", "task": "t-19"},
            usage=dict(
                input=1203,
                cache_read=8000,
                cache_write_5m=512,
                cache_write_30m=0,
                cache_write_1h=0,
                cache_write_12h=0,
                output=640,
                reasoning=120,
                audio_in=0,
                audio_out=0,
                estimated=False,
            ),
            cost_nano=12_345_678,
            first_token_s=1.21,
            wait_s=0.8,
            outcome="ok",
            cached=False,
            message=None,
            stop_reason="end",
            saved_nano=None,
            batch=False,
            full_nano=None,
            tier="complex",
            reason="long prompt",
            strongest_nano=99_000_000,
            prices="2026-11-20",
        )
        A = lambda n, **k: dict(
            dict(
                number=n,
                provider="openai",
                model="gpt-4o",
                outcome="ok",
                sent=True,
                at_s=at,
                wait_s=0.2,
                latency_s=2.1,
                first_token_s=None,
                status=200,
                request_id="req_8f2e11",
                usage=None,
                cost_nano=None,
            ),
            **k,
        )
        return dict(
            call=call,
            attempts=[
                A(1, outcome="rate_limited", status=429, at_s=at - 10, latency_s=0.3, wait_s=2.8),
                A(2, outcome="overloaded", status=503, at_s=at - 6.5),
                A(
                    3,
                    provider="anthropic",
                    model="claude-haiku-4-5",
                    first_token_s=1.2,
                    latency_s=5.5,
                    usage=call["usage"],
                    cost_nano=12_345_678,
                ),
            ],
        )

    def view(self, asked, now):
        p = PERIODS[asked.period]
        step = p.step_s
        span = p.span_s or 200 * 86400
        until = math.ceil(now / step) * step
        since = until - span
        t = list(range(int(since), int(until), step))
        n = len(t)
        R = random.Random(7)
        day = [max(0.12, math.sin((x / 86400) * 2 * math.pi - 1.2) + 0.75) for x in t]
        names = [
            "openai:gpt-5-mini",
            "anthropic:claude-sonnet-4-5",
            "anthropic:claude-haiku-4-5",
            "openai:gpt-4o-mini",
            "mistral:mistral-large-latest",
            "",
        ]
        w = [9, 7, 3, 1.6, 0.9, 0.5]
        models = [
            ModelSeries(
                name=m,
                cost_nano=[int(d * k * step / 1800 * R.uniform(0.6, 1.3) * 2.1e7) for d in day],
                calls=[int(d * k * step / 1800 * R.uniform(3, 5)) for d in day],
            )
            for m, k in zip(names, w)
        ]
        calls = sum(sum(m.calls) for m in models)
        cost = sum(sum(m.cost_nano) for m in models)
        tk = lambda f: [int(d * step * f * R.uniform(0.7, 1.2)) for d in day]
        ts = TokenSeries(
            input=tk(800), cache_read=tk(1400), cache_write=tk(110), output=tk(300), reasoning=tk(190), audio=[0] * n
        )
        S = msgspec.structs.asdict(ts)
        lat = lambda b: [None if R.random() < 0.0 else b * R.uniform(0.85, 1.2) * (1 + 0.3 * d) for d in day]
        err = [
            ErrorSeries(code=c, values=[int(R.random() ** 4 * k * step / 1800) for _ in t])
            for c, k in (
                ("rate_limited", 14),
                ("overloaded", 9),
                ("idle_timeout", 4),
                ("connection_failed", 3),
                ("content_filtered", 1.5),
            )
        ]
        rows = lambda key: [
            Row(
                id=f"01JF{i:04d}{key}",
                at_s=now - R.uniform(10, 80000),
                model=names[i % 4],
                operation=("complete", "stream", "extract")[i % 3],
                tags={"team": ("search", "support", "ingest")[i % 3], **({"task": f"t-{i}"} if i % 2 else {})},
                tokens=int(R.uniform(900, 90000)),
                attempts=1 + (i % 4 == 2) * 2,
                first_token_s=R.uniform(0.2, 4) if i % 3 == 1 else None,
                latency_s=60 / (i + 1.2),
                cost_nano=int(8.3e8 / (i + 1)) if i != 6 else None,
                estimated=i == 4,
                outcome="ok" if key != "f" and i != 3 else ("overloaded", "rate_limited", "idle_timeout")[i % 3],
                cached=i == 7,
            )
            for i in range(12)
        ]
        now_i = int(now)
        return View(
            version=now_i,
            at=now,
            period=PeriodShown(name=p.name, label=p.label, words=p.words, since=since, until=until, step_s=step),
            ledger=LedgerShown(
                name="ledger.db",
                path="/home/ada/.local/state/penstock/ledger.db",
                calls=1284003,
                first_s=now - 120 * 86400,
            ),
            today=Today(
                spent_nano=int(13.47e9) + now_i % 100 * 1000000,
                daily=Scope(name="day 2026-12-01", cap_nano=int(20e9), spent_nano=int(13.47e9), held_nano=int(0.21e9)),
            ),
            budgets=[
                Scope(name="day 2026-12-01", cap_nano=int(20e9), spent_nano=int(13.47e9), held_nano=int(0.21e9)),
                Scope(name="month 2026-12", cap_nano=int(400e9), spent_nano=int(371e9), held_nano=int(0.21e9)),
                Scope(name="tag team=search", cap_nano=int(5e9), spent_nano=int(5.02e9), held_nano=0),
                Scope(name="tag team=support", cap_nano=int(5e9), spent_nano=int(1.1e9), held_nano=0),
            ],
            totals=TotalsShown(
                calls=calls,
                failed=int(calls * 0.0061),
                cached=int(calls * 0.12),
                attempts=int(calls * 1.04),
                rate_limited=sum(err[0].values),
                cost_nano=cost,
                unpriced=3,
                usage=Tokens(**{k: sum(v) for k, v in S.items()}),
                saved_cache_nano=int(cost * 0.11),
                saved_batch_nano=int(cost * 0.2),
                saved_routing_nano=int(cost * 0.31),
            ),
            previous=Before(cost_nano=int(cost * 1.18), calls=calls),
            latency=Percentiles(count=calls, p50=1.42, p95=6.3, p99=14.9),
            first_token=Percentiles(count=calls // 2, p50=0.41, p95=1.3, p99=2.2),
            series=Series(
                t=t,
                models=models,
                tokens=ts,
                latency=PercentileSeries(p50=lat(1.4), p95=lat(5.2), p99=lat(11)),
                first_token=PercentileSeries(p50=lat(0.4), p95=lat(1.2), p99=lat(2.1)),
                errors=err,
            ),
            lanes=[
                LaneShown(
                    name="openai:gpt-5-mini",
                    where="key a1b2c3d4",
                    state="closed",
                    reason="",
                    until_s=None,
                    in_flight=41,
                    queued=112,
                    limits=[
                        LimitShown(name="requests / min", used=487, limit=500),
                        LimitShown(name="tokens / min", used=141000, limit=200000),
                    ],
                    at_s=now,
                    stale=False,
                ),
                LaneShown(
                    name="anthropic:claude-sonnet-4-5",
                    where="key 99ffab12",
                    state="open",
                    reason="12 of 20 calls failed: overloaded",
                    until_s=now + 17,
                    in_flight=0,
                    queued=9,
                    limits=[LimitShown(name="requests / min", used=11, limit=50)],
                    at_s=now,
                    stale=False,
                ),
                LaneShown(
                    name="anthropic:claude-haiku-4-5",
                    where="key 99ffab12",
                    state="half_open",
                    reason="1 probe is out",
                    until_s=None,
                    in_flight=1,
                    queued=0,
                    limits=[],
                    at_s=now,
                    stale=False,
                ),
                LaneShown(
                    name="mistral:mistral-large-latest",
                    where="",
                    state="closed",
                    reason="",
                    until_s=None,
                    in_flight=0,
                    queued=0,
                    limits=[],
                    at_s=now - 400,
                    stale=True,
                ),
            ],
            calls=Lists(dearest=rows("d"), slowest=rows("s"), failed=rows("f"), latest=rows("l")),
            names=Names(
                models=[Name(name=m, cost_nano=1) for m in names if m],
                tags=[Name(name="team=search", cost_nano=3), Name(name="team=support", cost_nano=2)],
            ),
        )
