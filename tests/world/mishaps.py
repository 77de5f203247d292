"""What can go wrong with one attempt, by kind, and what a client owes each: how long to wait, whether to ask again."""

from __future__ import annotations

from typing import Any, Final, NamedTuple

from penstock.sim import faults as f

NONSENSE: Final = {"x-ratelimit-limit-requests": "-5", "x-ratelimit-remaining-requests": "many", "retry-after": "99"}


class Mishap(NamedTuple):
    """One fault; without a rule the server is not reached at all.

    `told_s` is the least wait that the server asks for. `final`: the same is never sent again. `honest`: the usage that
    is reported is the one that is billed.
    """

    kind: str
    rule: f.Rule | None
    told_s: float = 0.0
    final: bool = False
    honest: bool = True


def _one(kind: str, fault: f.Fault, told_s: float = 0.0, *, final: bool = False, honest: bool = True) -> Mishap:
    return Mishap(kind, f.Rule(fault=fault, name=f"mishap:{kind}"), told_s, final, honest)


def _limited(told_s: float = 0.0, **said: Any) -> Mishap:
    return _one("429", f.RateLimit(**said), told_s)


UNREACHABLE: Final = Mishap("unreachable", None)

MISHAPS: Final[dict[str, tuple[Mishap, ...]]] = {
    "unreachable": (UNREACHABLE,),
    "429": (
        _limited(),
        _limited(retry_after="0"),
        _limited(2.0, retry_after="2"),
        _limited(1.5, retry_after="1.5"),
        _limited(0.25, retry_after_ms="250"),
        _limited(2.0, retry_after="1", retry_after_ms="2000"),
        _limited(3.0, retry_after="date:+4"),  # a date has whole seconds
        _limited(retry_after="date:-60"),
        _limited(retry_after="soon"),
        _limited(retry_after="-3"),
        _limited(retry_after="99999999999999999999"),
        _limited(1.5, hint="1.5s"),
        _one("429", f.SlowDown()),
    ),
    "patience": (_limited(900.0, retry_after="900"),),
    "500": (_one("500", f.Status(status=500)), _one("500", f.Status(status=500, billed=True))),
    "502": (_one("502", f.Html()), _one("502", f.Status(status=504)), _one("502", f.Error200())),
    "503": (_one("503", f.Status(status=503)), _one("503", f.Status(status=503, retry_after="3"), 3.0)),
    "overloaded": (_one("overloaded", f.Overloaded()), _one("overloaded", f.Overloaded(retry_after="1"), 1.0)),
    "wrong": tuple(_one("wrong", f.Status(status=status), final=True) for status in (400, 404, 413, 422)),
    "forbidden": (_one("forbidden", f.Status(status=403), final=True),),
    "quota": (_one("quota", f.Quota(), final=True),),
    "key": (_one("key", f.KeyRejected(), final=True),),
    "reset": (
        _one("reset", f.Reset(when="before_read")),
        _one("reset", f.Reset(when="after_body")),
        _one("reset", f.Reset(when="after_body", billed=False)),
        _one("reset", f.Reset(when="mid_stream", after_chunks=1)),
        _one("reset", f.Reset(when="mid_stream", how="fin")),
    ),
    "stall": (
        _one("stall", f.Stall()),
        _one("stall", f.Stall(seconds=5)),
        _one("stall", f.Stall(when="mid_stream", after_chunks=2)),
    ),
    "midway": (
        _one("midway", f.Reset(when="mid_stream", after_chunks=4)),
        _one("midway", f.Truncate(after_chunks=4)),
        _one("midway", f.ErrorEvent(after_chunks=4)),
        _one("midway", f.Stall(when="mid_stream", after_chunks=4)),
    ),
    "trickle": (_one("trickle", f.SlowBytes(piece=150, every_s=0.5)),),
    "cut": (
        _one("cut", f.Truncate()),
        _one("cut", f.NoDone()),
        _one("cut", f.Malformed()),
        _one("cut", f.EmptyBody()),
        _one("cut", f.ErrorEvent(after_chunks=0)),
        _one("cut", f.ErrorEvent(after_chunks=3)),
        _one("cut", f.Html(status=200)),
    ),
    "mischief": (
        _one("mischief", f.Duplicate(), honest=False),
        _one("mischief", f.Comments()),
        _one("mischief", f.Crlf()),
        _one("mischief", f.Bom()),
        _one("mischief", f.Headers(set=NONSENSE)),
        _one("mischief", f.ContentFilter()),
    ),
    "usage": (_one("usage", f.WrongUsage(factor=2), honest=False), _one("usage", f.NoUsage(), honest=False)),
}

ALL: Final = tuple(kind for kind in MISHAPS if kind != "patience")
HONEST: Final = tuple(kind for kind in ALL if kind != "usage")
MIDWAY: Final = ("midway",)
TOO_MANY: Final = ("429",)
SICK: Final = ("500", "502", "503", "overloaded", "stall", "unreachable", "reset")
