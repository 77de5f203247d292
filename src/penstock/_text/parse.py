"""From text to value: guard, strict JSON, candidates, fitting, choice, validation; an error says what was tried.

text ─▶ guard ─▶ strict JSON that validates ──────────────────────────────▶ Parsed without repairs
└─▶ candidates ─▶ fit to the shape ─▶ cheapest ─▶ validate ──▶ Parsed with repairs
└─▶ tags, lines, words (no JSON fits) ─▶ fit ─▶ validate ───▶ Parsed with repairs
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any, Final, TypeVar, overload

import msgspec

from ..errors import Candidate, ConfigError, MissingExtra, ParseError
from . import candidates, lines, tags
from .candidates import Found
from .coerce import Fitter, Misfit
from .reader import Reader
from .result import MAX_CHARS, MISSING, POLICIES, Parsed, Policy, Repair, Unreadable
from .target import Target, target_of

T = TypeVar("T")

_CONTROL: Final = re.compile(r"[\x00-\x08\x0e-\x1a\x1c-\x1f]")
_TEXT_COST: Final = 8
_WORD: Final = re.compile(
    r"(?!``)(?:[\"'“‘`\\/].+|[A-Za-z_]\w{0,40}\(.+\)|[+-]?[\d.]\S{0,400}|true|false|null|None|True|False|undefined)[\s,;]*\Z",
    re.DOTALL,
)


class Choice:
    """A candidate that fits."""

    __slots__ = ("complete", "cost", "found", "repairs", "value")

    def __init__(self, found: Found, value: Any, repairs: list[Repair], cost: int) -> None:
        self.found = found
        self.value = value
        self.repairs = repairs
        self.cost = cost
        self.complete = not found.cut


@overload
def parse(
    text: str | bytes,
    wanted: type[T],
    *,
    partial: bool = ...,
    policy: Policy = ...,
    yaml: bool = ...,
    max_chars: int = ...,
) -> Parsed[T]: ...
@overload
def parse(
    text: str | bytes,
    wanted: Any = ...,
    *,
    partial: bool = ...,
    policy: Policy = ...,
    yaml: bool = ...,
    max_chars: int = ...,
) -> Parsed[Any]: ...
def parse(
    text: str | bytes,
    wanted: Any = None,
    *,
    partial: bool = False,
    policy: Policy = "safe",
    yaml: bool = False,
    max_chars: int = MAX_CHARS,
) -> Parsed[Any]:
    """Read a value of a type out of what a model wrote, and say what was mended.

    `wanted` is a pydantic model, dataclass, TypedDict, Struct, enum, Literal, union, list or scalar type, a JSON Schema
    (a mapping), or None for any JSON. `policy`: "strict" takes only JSON that fits as it stands, wherever in the text;
    "safe" mends and converts without guessing; "loose" also rounds and takes the only number of a sentence. `partial`
    reads the beginning of a text that still grows: plain values, nothing required, no cut number or word. `yaml` also
    reads YAML (needs the extra penstock[yaml]).

    Raises: ParseError when the text has no such value, with all candidates; ConfigError for a type or schema that
    cannot be used.
    """
    if policy not in POLICIES:
        raise ConfigError(f"policy is {policy!r}; expected one of {', '.join(POLICIES)}")
    target = target_of(wanted)
    text = guarded(text, max_chars)
    try:
        return _Parse(text, target, partial=partial, policy=policy, yaml=yaml).run()
    except RecursionError:
        raise ParseError("the text is nested too deeply to be read") from None


def guarded(text: str | bytes, max_chars: int = MAX_CHARS) -> str:
    """Return the text, without byte order mark.

    Raises: ParseError when it is empty, too long, or no text.
    """
    if isinstance(text, bytes):
        if len(text) > 4 * max_chars:
            raise ParseError(f"the text has {len(text):,} bytes, more than {4 * max_chars:,}")
        try:
            text = text.decode("utf-8-sig")
        except UnicodeDecodeError as error:
            raise ParseError(f"the text is not UTF-8: byte {error.start} is {text[error.start]:#04x}") from None
    if len(text) > max_chars:
        raise ParseError(f"the text has {len(text):,} characters, more than {max_chars:,}; raise max_chars or cut it")
    if text.startswith("\ufeff"):
        text = text[1:]
    if not text or text.isspace():
        raise ParseError("the text is empty")
    return text


class _Parse:
    def __init__(self, text: str, target: Target, *, partial: bool, policy: Policy, yaml: bool) -> None:
        self.text = text
        self.target = target
        self.partial = partial
        self.policy = policy
        self.yaml = yaml
        self.tried: list[Candidate] = []
        self.structured = False
        self.thinking = False

    def run(self) -> Parsed[Any]:
        done = self._whole()
        if done is not None:
            return done
        if len(_CONTROL.findall(self.text, 0, 4096)) > max(4, min(len(self.text), 4096) // 20):
            raise ParseError("the text is binary: it has control characters all over")
        self.thinking = candidates.still_thinking(self.text)
        if self.thinking and self.partial:
            raise ParseError("the text has only begun to think")
        start = candidates.after_thinking(self.text)
        fences = candidates.fences_of(self.text)
        found = self._scanned(start, fences)
        best = self._best(found)
        if best is None and self.policy != "strict":
            best = self._best(list(self._texts(start, fences)))
        if best is None:
            raise self._failure()
        return self._parsed(best)

    def _whole(self) -> Parsed[Any] | None:
        """Take the text as strict JSON that fits as it stands: the quick way."""
        if self.text[0] not in '{["-0123456789tfn \t\r\n':
            return None
        try:
            value = msgspec.json.decode(self.text)
        except (ValueError, RecursionError):
            return None
        if _may_repeat_keys(self.text, value) or (isinstance(value, float) and value in (float("inf"), float("-inf"))):
            return None
        if self.partial and isinstance(value, (int, float)):
            return None  # the next piece of the text may go on with the number
        try:
            if not self.partial:
                return Parsed(self.target.strict(value), (), True, ())
        except Misfit:
            pass
        return None

    def _scanned(self, start: int, fences: candidates.Fences) -> list[Found]:
        if self.target.shape.kind == "string":
            return []  # brackets in it are part of the string
        found, broken = candidates.scan(self.text, start, fences, partial=self.partial)
        if broken is not None:
            self.tried.append(broken)
        if self.policy == "strict":
            return [one for one in found if not one.repairs]
        at = found[0].start if found else broken.start if broken is not None else -1
        if (at >= 0 and candidates.is_escaped(self.text, at)) or self.text.lstrip().startswith('\\"'):
            found = list(self._escaped())
        self.structured = broken is not None or any(_is_structure(one.value) for one in found)
        shape = self.target.shape
        if shape.kind == "any":
            found = [one for one in found if not self._is_prose(one)]
        if not found and not self.structured:
            found = list(_scalar_of(self.text, start, self.partial))
        if shape.kind in ("any", "array", "union"):
            together = candidates.sequence(self.text, found)
            if together is not None and shape.kind == "any":
                return [together]
            if together is None and shape.kind == "array" and broken is None:
                together = candidates.everything(found)
            if together is not None:
                found.append(together)
        return found

    def _is_prose(self, found: Found) -> bool:
        """Say whether brackets with bare words stand in prose, as in 'the set {a}'."""
        if not found.repairs or _is_structure(found.value):
            return False
        return not candidates.alone(self.text, 0, found.start) and "fence" not in found.source

    def _escaped(self) -> Iterator[Found]:
        plain = candidates.unescaped(self.text.strip())
        note = Repair("escape", "$", "undid one level of escapes")
        got = candidates.scan(plain, 0, candidates.Fences(()), partial=self.partial).found
        if not got and plain[0] == '"':
            got = list(_scalar_of(plain, 0, self.partial))
        for one in got[:1]:
            yield one._replace(repairs=(note, *one.repairs), start=0, end=len(self.text), cost=one.cost + 1)

    def _texts(self, start: int, fences: candidates.Fences) -> Iterator[Found]:
        """Read the text in other ways: as YAML if asked, tags, lines, or a word."""
        text, shape = self.text, self.target.shape
        if self.yaml:
            yield from self._yaml(start, fences)
        objects = [one for one in (shape, *shape.options) if one.kind == "object"]
        elements = tags.elements(text, start) if "</" in text or "/>" in text else []
        if elements and not self.partial:
            value = _ordered(text, start, elements) if shape.kind == "any" else tags.fields(elements)
            known = shape.kind == "any" or any(_knows(one, value) for one in objects) or shape.kind == "array"
            inner = elements[0].fields() if len(elements) == 1 and shape.kind != "any" else None
            if objects and isinstance(inner, dict):
                yield Found("tags", elements[0].start, elements[0].end, inner, (_format("tags"),), False, 4)
            if value is not MISSING and known:
                yield Found("tags", elements[0].start, elements[-1].end, value, (_format("tags"),), False, 3)
        for one in objects if not (self.partial or self.structured) else ():
            got = lines.pairs(text[start:], one)
            if got is not None:
                yield Found("key: value lines", start, len(text), got, (_format("key: value lines"),), False, 4)
        if not self._may_be_words():
            return
        listed = lines.items(text[start:]) if shape.kind in ("array", "union") else None
        if listed is not None:
            yield Found("list lines", start, len(text), listed, (_format("list lines"),), False, 4)
        if shape.kind != "array" or (shape.item is not None and shape.item.kind not in ("string", "any")):
            yield from self._words(start, fences)

    def _may_be_words(self) -> bool:
        """Say whether words of the text can be the value: not where JSON was meant, or an object is wanted."""
        shape = self.target.shape
        if shape.kind == "union" and not self.partial and any(one.kind == "string" for one in shape.options):
            return True
        return shape.kind == "string" or not (shape.kind in ("any", "object") or self.partial or self.structured)

    def _words(self, start: int, fences: candidates.Fences) -> Iterator[Found]:
        text = self.text
        for begin, end, language in fences.spans:
            if self.target.shape.kind != "string" and begin >= start:
                yield Found(
                    f"{language or 'plain'} fence", begin, end, text[begin:end].strip(), (_format("text"),), False, 4
                )
        body = text[start:] if self.target.shape.kind == "string" else text[start:].strip()
        yield Found("text", start, len(text), body, (_format("text"),), self.partial, _TEXT_COST - 3)

    def _yaml(self, start: int, fences: candidates.Fences) -> Iterator[Found]:
        try:
            import yaml
        except ImportError as error:
            raise MissingExtra("reading YAML needs PyYAML: pip install 'penstock[yaml]'") from error
        spans = [(begin, end) for begin, end, language in fences.spans if language in ("yaml", "yml", "")]
        for begin, end in spans or [(start, len(self.text))]:
            try:
                value = json.loads(json.dumps(yaml.safe_load(self.text[begin:end]), default=str))
            except (yaml.YAMLError, ValueError, TypeError, RecursionError):
                continue
            if isinstance(value, (dict, list)):
                yield Found("YAML", begin, end, value, (_format("YAML"),), False, 3)

    def _best(self, found: list[Found]) -> Choice | None:
        """Fit each candidate and take the cheapest; of equals the last, as the first may be quoted from a question."""
        best: Choice | None = None
        rival: Choice | None = None
        fitter = Fitter(self.target.shape, partial=self.partial, loose=self.policy == "loose")
        for one in found:
            try:
                value = fitter.fit(one.value)
                if self.policy == "strict" and fitter.repairs:
                    raise Misfit(
                        fitter.repairs[0].path, f"JSON that fits as it stands ({fitter.repairs[0].note})", one.value
                    )
                value = value if self.partial else self.target.finish(value)
            except Misfit as misfit:
                self.tried.append(Candidate(one.source, one.start, one.end, str(misfit)))
                continue
            choice = Choice(one, value, [*one.repairs, *fitter.repairs], one.cost + fitter.cost)
            self.tried.append(Candidate(one.source, one.start, one.end, f"fits at a cost of {choice.cost}"))
            if best is None or choice.cost <= best.cost:
                rival = best if best is not None and best.cost == choice.cost and best.value != value else None
                best = choice
        if rival is not None and best is not None:
            if self.policy == "strict":
                self.tried.append(Candidate("text", 0, len(self.text), "two values fit equally well"))
                return None
            best.repairs.append(Repair("ambiguous", "$", "another value fits as well; took the last"))
        return best

    def _parsed(self, best: Choice) -> Parsed[Any]:
        found = best.found
        note = f"took the {found.source} at characters {found.start} to {found.end}"
        alone = not self.text[: found.start].strip() and not self.text[found.end :].strip()
        repairs = best.repairs if alone or self.partial else [Repair("extracted", "$", note), *best.repairs]
        chosen = Candidate(found.source, found.start, found.end, f"chosen at a cost of {best.cost}")
        others = [one for one in self.tried if one[1:3] != chosen[1:3] or one[0] != chosen[0]]
        return Parsed(best.value, tuple(repairs), best.complete and not self.thinking, (chosen, *others))

    def _failure(self) -> ParseError:
        if not self.tried:
            return ParseError("the text has no value that could be read: no JSON, and nothing else of the wanted type")
        reasons = "; ".join(f"{one.source} at {one.start}: {one.outcome}" for one in self.tried[:3])
        more = f"; and {len(self.tried) - 3} more" if len(self.tried) > 3 else ""
        return ParseError(f"no value fits: {reasons}{more}", candidates=tuple(self.tried))


def _may_repeat_keys(text: str, value: Any) -> bool:
    """Say whether a key may be there twice, in which case the slow way looks.

    In JSON each key has one colon and all others stand in strings; written anew, the value has as many unless a key was
    lost. Only an escaped colon would be counted wrongly.
    """
    if "\\" in text and "\\u" in text:
        return True
    return text.count(":") != msgspec.json.encode(value).count(b":")


def _scalar_of(text: str, start: int, partial: bool) -> Iterator[Found]:
    body = text[start:].lstrip()
    body = body if partial else body.rstrip()
    if _WORD.match(body) is None:
        return
    reader = Reader(body, 0, partial=partial)
    try:
        value = reader.read()
    except Unreadable:
        return
    if value is MISSING or body[reader.at :].strip(" \t\r\n,;`") or (partial and not isinstance(value, str)):
        return
    yield Found("bare JSON", start, len(text), value, tuple(reader.repairs), reader.cut, 1 + len(reader.repairs))


def _ordered(text: str, start: int, elements: list[tags.Element]) -> Any:
    """Write the elements of a text that is a document and nothing else."""
    if len(elements) != 1:
        return MISSING
    return {elements[0].name: elements[0].ordered()}


def _knows(shape: Any, value: Any) -> bool:
    from . import words

    if not isinstance(value, dict):
        return False
    inner = next(iter(value.values()), None) if len(value) == 1 else None
    names = {words.fold(name) for name in (*shape.fields, *shape.aliases)}
    keys = [*value, *(inner if isinstance(inner, dict) else ())]
    return not names or any(words.fold(key) in names for key in keys)


def _is_structure(value: Any) -> bool:
    """Say whether a value is more than a word in brackets, as prose has them."""
    return isinstance(value, dict) or (
        isinstance(value, list) and any(isinstance(item, (dict, list)) for item in value)
    )


def _format(name: str) -> Repair:
    return Repair("format", "$", f"read {name} instead of JSON")
