"""Faults on order: a scenario is a list of rules, each a match and a fault; the first rule that matches wins.

A scenario file is TOML. All match keys are optional and must all hold; unknown keys are errors with their place:

    [[rule]]
    name = "the first two calls are limited"      # shown in the log, default the kind
    match = { protocol = "openai", model = "gpt-4o*", nth = [1, 2] }
    fault = { kind = "rate_limit", retry_after = "1", retry_after_ms = "150", hint = "1.5s" }

    [[rule]]
    match = { share = 0.02, stream = true, after_s = 5, until_s = 60 }
    times = 10                                    # at most ten times
    fault = { kind = "reset", when = "mid_stream", after_chunks = 3 }

Match keys: `protocol` (openai, anthropic, cohere, gemini), `model` and `path` (shell patterns), `nth` (number or list,
counted among the requests that fit the rest of this match, from 1), `every` (each n-th of them), `share` (probability
0..1), `contains` (text in the request body), `stream` (true, false), `after_s` and `until_s` (seconds since the
simulator started or the scenario was loaded).
Fault kinds are the classes below; `retry_after` is sent as it is written, except `date:+5` and `date:-5`, an HTTP date
that many seconds from now.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from email.utils import formatdate
from fnmatch import fnmatchcase
from random import Random
from typing import Annotated, Any, Literal, TypeVar

import msgspec

_T = TypeVar("_T")
_Count = Annotated[int, msgspec.Meta(ge=1)]
_Whole = Annotated[int, msgspec.Meta(ge=0)]
_Seconds = Annotated[float, msgspec.Meta(ge=0, le=1e7)]
_Share = Annotated[float, msgspec.Meta(ge=0, le=1)]
_ErrorStatus = Annotated[int, msgspec.Meta(ge=400, le=599)]


class ScenarioError(ValueError):
    """A scenario or configuration that cannot be used; the message names the file and the place in it."""


class _Fault(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="kind"):
    """Something that goes wrong on order."""


class Answering(_Fault, frozen=True, kw_only=True):
    """Common keys of faults that answer with an error: the Retry-After forms and a wording."""

    retry_after: str | None = None
    retry_after_ms: str | None = None
    hint: str | None = None
    should_retry: bool | None = None
    message: str | None = None

    def headers(self, now: float) -> tuple[tuple[str, str], ...]:
        """The retry headers this fault sends; `now` in epoch seconds is for HTTP dates."""
        found: list[tuple[str, str]] = []
        if self.retry_after is not None:
            value = self.retry_after
            if value.startswith("date:"):
                value = formatdate(now + float(value.removeprefix("date:")), usegmt=True)
            found.append(("retry-after", value))
        if self.retry_after_ms is not None:
            found.append(("retry-after-ms", self.retry_after_ms))
        if self.should_retry is not None:
            found.append(("x-should-retry", "true" if self.should_retry else "false"))
        return tuple(found)

    def __post_init__(self) -> None:
        value = self.retry_after or ""
        if value.startswith("date:") and not re.fullmatch(r"date:[+-]?\d+(\.\d+)?", value):
            raise ValueError(f"retry_after {value!r} is not date:+SECONDS or date:-SECONDS")


class RateLimit(Answering, frozen=True, kw_only=True, tag="rate_limit"):
    """429 that goes away by itself; `hint` puts "Please try again in …" into the body."""


class SlowDown(Answering, frozen=True, kw_only=True, tag="slow_down"):
    """Ramp-up limit: OpenAI 429 `slow_down`, Anthropic 429 with `ramp_limit_exceeded`."""


class Quota(Answering, frozen=True, kw_only=True, tag="quota"):
    """Money ran out: OpenAI 429 `code`; Anthropic 429 `enforced_spend_limit_reached`, or 402 with `status = 402`."""

    status: Literal[402, 429] = 429
    code: str | None = None


class KeyRejected(Answering, frozen=True, kw_only=True, tag="key_rejected"):
    """401: the key is not, or no longer, accepted."""


class Permission(Answering, frozen=True, kw_only=True, tag="permission"):
    """403: the key may not do this."""


class Overloaded(Answering, frozen=True, kw_only=True, tag="overloaded"):
    """OpenAI 503 `server_is_overloaded`, Anthropic 529 `overloaded_error`."""


class Status(Answering, frozen=True, kw_only=True, tag="status"):
    """Any error status with the protocol's own body; `billed` means the work was done and is charged."""

    status: _ErrorStatus
    code: str | None = None
    billed: bool = False


class Html(_Fault, frozen=True, kw_only=True, tag="html"):
    """An HTML page of some proxy, with any status, 200 included."""

    status: Annotated[int, msgspec.Meta(ge=200, le=599)] = 502


class EmptyBody(_Fault, frozen=True, kw_only=True, tag="empty_body"):
    """200 with nothing in it; the work was done and is charged."""


class Error200(_Fault, frozen=True, kw_only=True, tag="error_200"):
    """200 with an error object as its JSON body; nothing is charged."""

    message: str = "The upstream provider returned an error"
    code: int | str = 502


class Reset(_Fault, frozen=True, kw_only=True, tag="reset"):
    """The connection breaks: before the request was read, after its body was read, or after n streamed chunks.

    `how` is `rst` (hard) or `fin` (closed without ending the body). `before_read` charges nothing, `after_body` charges
    the whole answer unless `billed = false`, `mid_stream` charges what was produced.
    """

    when: Literal["before_read", "after_body", "mid_stream"] = "after_body"
    after_chunks: _Whole = 3
    how: Literal["rst", "fin"] = "rst"
    billed: bool = True


class Stall(_Fault, frozen=True, kw_only=True, tag="stall"):
    """Silence before the first byte or after n streamed chunks, for `seconds` or for ever (not given)."""

    when: Literal["first_byte", "mid_stream"] = "first_byte"
    after_chunks: _Whole = 3
    seconds: _Seconds | None = None


class Truncate(_Fault, frozen=True, kw_only=True, tag="truncate"):
    """The body ends cleanly after n chunks without a finish; a non-streamed body loses its second half."""

    after_chunks: _Whole = 3


class NoDone(_Fault, frozen=True, kw_only=True, tag="no_done"):
    """The last event is missing: `[DONE]` or `message_stop`."""


class Malformed(_Fault, frozen=True, kw_only=True, tag="malformed"):
    """Broken JSON: in one event after n chunks, or as the whole non-streamed body."""

    after_chunks: _Whole = 2


class ErrorEvent(Answering, frozen=True, kw_only=True, tag="error_event"):
    """The stream turns into an error event after n chunks (0: as the first event); a non-stream gets the HTTP error."""

    after_chunks: _Whole = 3


class SlowBytes(_Fault, frozen=True, kw_only=True, tag="slow_bytes"):
    """The body arrives in pieces of `piece` bytes, one each `every_s` seconds."""

    piece: _Count = 7
    every_s: _Seconds = 0.01


class Crlf(_Fault, frozen=True, kw_only=True, tag="crlf"):
    """The stream's lines end in CR LF."""


class Bom(_Fault, frozen=True, kw_only=True, tag="bom"):
    """The body starts with a byte order mark."""


class Comments(_Fault, frozen=True, kw_only=True, tag="comments"):
    """A comment line (`: text`) before every `every`-th event; a non-streamed body starts with white space."""

    text: str = "PROCESSING"
    every: _Count = 1


class Duplicate(_Fault, frozen=True, kw_only=True, tag="duplicate"):
    """Every `every`-th event is sent twice."""

    every: _Count = 1


class WrongUsage(_Fault, frozen=True, kw_only=True, tag="wrong_usage"):
    """The reported usage is the true one times `factor`; the bill stays true."""

    factor: _Seconds = 2.0


class NoUsage(_Fault, frozen=True, kw_only=True, tag="no_usage"):
    """No usage is reported."""


class ContentFilter(_Fault, frozen=True, kw_only=True, tag="content_filter"):
    """OpenAI ends with `content_filter` half way, or Azure's 400 with `form = "error"`; Anthropic refuses."""

    form: Literal["finish", "error"] = "finish"


class Spoil(_Fault, frozen=True, kw_only=True, tag="spoil"):
    """A structured answer as models spoil them, or exactly `text` in its place.

    `fenced`, `prose`, `single_quotes`, `trailing_comma` and `bare_keys` write the right value badly; `enum_case`,
    `numbers_as_text`, `missing_field`, `wrong_type` and `extra_field` change it; `cut` ends it half way as if it were
    whole, `length` at the cap; `empty` says nothing, `no_json` something else, `refusal` that it will not.
    """

    form: Literal[
        "fenced",
        "prose",
        "single_quotes",
        "trailing_comma",
        "bare_keys",
        "enum_case",
        "numbers_as_text",
        "missing_field",
        "wrong_type",
        "extra_field",
        "cut",
        "length",
        "empty",
        "no_json",
        "refusal",
    ] = "no_json"
    text: str | None = None


class SaidCall(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A tool call that a model is made to make, with arguments as JSON has them, or as the text that it writes."""

    name: str
    arguments: dict[str, Any] | str = {}


class Say(_Fault, frozen=True, kw_only=True, tag="say"):
    """Exactly this turn, whatever was asked: `text`, `calls` of tools, or both. One rule for each turn is a script."""

    text: str = ""
    calls: tuple[SaidCall, ...] = ()

    def __post_init__(self) -> None:
        if not self.text and not self.calls:
            raise ValueError("say: neither text nor calls")


class Headers(_Fault, frozen=True, kw_only=True, tag="headers"):
    """A good answer with these headers set or replaced, e.g. a retry-after on a 200 or nonsense in a reset."""

    set: dict[str, str]

    def __post_init__(self) -> None:
        """Refuse what cannot be a header."""
        for name, value in self.set.items():
            if not re.fullmatch(r"[A-Za-z0-9-]+", name) or not value.isprintable():
                raise ValueError(f"set: {name!r} = {value!r} cannot be a header")


Fault = (
    RateLimit
    | SlowDown
    | Quota
    | KeyRejected
    | Permission
    | Overloaded
    | Status
    | Html
    | EmptyBody
    | Error200
    | Reset
    | Stall
    | Truncate
    | NoDone
    | Malformed
    | ErrorEvent
    | SlowBytes
    | Crlf
    | Bom
    | Comments
    | Duplicate
    | WrongUsage
    | NoUsage
    | ContentFilter
    | Spoil
    | Say
    | Headers
)


class Match(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which requests a rule is for; what is None does not matter."""

    protocol: Literal["openai", "anthropic", "cohere", "gemini"] | None = None
    model: str | None = None
    path: str | None = None
    nth: _Count | tuple[_Count, ...] | None = None
    every: _Count | None = None
    share: _Share | None = None
    contains: str | None = None
    stream: bool | None = None
    after_s: _Seconds | None = None
    until_s: _Seconds | None = None


class Rule(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A match and a fault, delivered at most `times` times."""

    fault: Fault
    match: Match = Match()
    times: _Count | None = None
    name: str = ""

    @property
    def label(self) -> str:
        """What the log calls it."""
        return self.name or str(type(self.fault).__struct_config__.tag)


class Scenario(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The rules in the order in which they are tried."""

    rule: tuple[Rule, ...] = ()

    @classmethod
    def parse(cls, text: str, place: str = "scenario") -> Scenario:
        """Read a scenario from TOML (or JSON) text.

        Raises: ScenarioError with `place` and the position in the text.
        """
        return build(cls, read_table(text, place), place)


def read_table(text: str, place: str) -> dict[str, object]:
    """Read TOML, or JSON when the text starts with a brace.

    Raises: ScenarioError with `place` and line.
    """
    try:
        if text.lstrip().startswith("{"):
            return msgspec.json.decode(text, type=dict[str, object])
        return tomllib.loads(text)
    except (tomllib.TOMLDecodeError, msgspec.DecodeError) as error:
        raise ScenarioError(f"{place}: not readable as TOML: {error}") from error


def build(kind: type[_T], data: Mapping[str, object], place: str) -> _T:
    """Turn plain data into a configuration struct.

    Raises: ScenarioError with `place` and the key that is wrong.
    """
    try:
        return msgspec.convert(data, kind, str_keys=True)
    except msgspec.ValidationError as error:
        what, _, where = str(error).partition(" - at `$.")
        where = where.rstrip("`").replace("[...]", ".*").removeprefix("scenario.")
        raise ScenarioError(f"{place}: {where}: {what}" if where else f"{place}: {what}") from error


class Facts(msgspec.Struct, frozen=True, kw_only=True):
    """What a rule may look at in one request."""

    protocol: str
    model: str
    path: str
    stream: bool
    body: bytes
    since_s: float


class FaultBook:
    """A scenario being played: counts who fits and how often each fault was delivered."""

    def __init__(self, scenario: Scenario) -> None:
        self.scenario = scenario
        self._seen = [0] * len(scenario.rule)
        self._given = [0] * len(scenario.rule)

    def pick(self, facts: Facts, rng: Random) -> Rule | None:
        """The rule for this request, if any; counts it as delivered."""
        chosen: Rule | None = None
        for at, rule in enumerate(self.scenario.rule):
            if not _fits(rule.match, facts):
                continue
            self._seen[at] += 1
            # Every share draws, whoever wins, so that one rule's luck does not depend on another's.
            lucky = rule.match.share is None or rng.random() < rule.match.share
            if chosen is None and lucky and self._due(at, rule):
                self._given[at] += 1
                chosen = rule
        return chosen

    def take_back(self, rule: Rule) -> None:
        """A picked fault was not delivered after all: the request failed by itself first and does not count."""
        for at, candidate in enumerate(self.scenario.rule):
            if candidate is rule:
                self._given[at] -= 1
                self._seen[at] -= 1

    def _due(self, at: int, rule: Rule) -> bool:
        if rule.times is not None and self._given[at] >= rule.times:
            return False
        nth = rule.match.nth
        if nth is not None and self._seen[at] not in (nth if isinstance(nth, tuple) else (nth,)):
            return False
        return rule.match.every is None or self._seen[at] % rule.match.every == 0

    def snapshot(self) -> list[dict[str, object]]:
        """Per rule: its name, how many requests fitted and how often it struck."""
        return [
            {"rule": rule.label, "fitted": seen, "delivered": given}
            for rule, seen, given in zip(self.scenario.rule, self._seen, self._given, strict=True)
        ]


def _fits(match: Match, facts: Facts) -> bool:
    return (
        (match.protocol is None or match.protocol == facts.protocol)
        and (match.model is None or fnmatchcase(facts.model, match.model))
        and (match.path is None or fnmatchcase(facts.path, match.path))
        and (match.stream is None or match.stream == facts.stream)
        and (match.after_s is None or facts.since_s >= match.after_s)
        and (match.until_s is None or facts.since_s < match.until_s)
        and (match.contains is None or match.contains.encode() in facts.body)
    )
