"""Fitting a value to a shape: the smallest changes that make it fit, each with a cost and a note, or a reason why not.

Nothing is invented: a field that is missing stays missing, an item that does not fit makes the value not fit. What is
left out (an unknown key, a null for an optional field) is noted.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from typing import Any, Final

import msgspec

from . import words
from .result import MISSING, Repair, where
from .shape import Shape

MAX_STEPS: Final = 200_000
"""Places of a value times the alternatives tried; a value of 1 MB without alternatives has about half as many."""
NULL: Final = "null"
"""The kind of the repair that leaves out a null; where our own schema asked for it, it mends nothing."""
MAX_PROBLEMS: Final = 8
"""Of one value that are told at once: enough to mend an answer by."""


class Misfit(Exception):
    """A value does not fit: each of `problems` says where, what was expected and what was got."""

    def __init__(self, path: str, expected: str, value: Any) -> None:
        self.problems: tuple[str, ...] = (f"{path}: expected {expected}, got {got(value)}",)
        super().__init__(*self.problems)


def got(value: Any) -> str:
    """Say in a few words what a value is."""
    return "nothing" if value is MISSING else f"{type(value).__name__} {value!r:.60}"


class Misfits(Misfit):
    """A value does not fit in several places."""

    def __init__(self, problems: Iterable[str]) -> None:
        self.problems = tuple(problems)[:MAX_PROBLEMS]
        Exception.__init__(self, "; ".join(self.problems))


def _raised(found: list[Misfit]) -> None:
    """Raise what was found, if anything was."""
    if len(found) == 1:
        raise found[0]
    if found:
        raise Misfits(problem for misfit in found for problem in misfit.problems)


class Fitter:
    """Fits values to one shape; `repairs` and `cost` are of the last fit."""

    def __init__(self, shape: Shape, *, partial: bool = False, loose: bool = False) -> None:
        self._shape = shape
        self._partial = partial
        self._loose = loose
        self._path: list[str | int] = []
        self._steps = 0
        self._wrapping = False
        self.cost = 0
        self.repairs: list[Repair] = []

    def fit(self, value: Any) -> Any:
        """Return the value changed as little as needed.

        Raises: Misfit where it cannot be made to fit.
        """
        self.cost, self.repairs, self._path, self._steps, self._wrapping = 0, [], [], 0, False
        return self._fit(value, self._shape)

    def _note(self, kind: str, cost: int, note: str) -> None:
        self.cost += cost
        self.repairs.append(Repair(kind, where(self._path), note))

    def _no(self, expected: str, value: Any) -> Misfit:
        return Misfit(where(self._path), expected, value)

    def _fit(self, value: Any, shape: Shape) -> Any:
        self._steps += 1
        if self._steps > MAX_STEPS:
            raise self._no(f"a value with fewer than {MAX_STEPS:,} alternatives", value)
        kind = shape.kind
        if kind == "any":
            return value
        if kind == "string":
            return self._string(value, shape)
        if kind == "object":
            return self._object(value, shape)
        if kind == "array":
            return self._array(value, shape)
        if kind == "union":
            return self._union(value, shape)
        if kind == "enum":
            return self._enum(value, shape)
        if kind == "boolean":
            return self._boolean(value, shape)
        if kind == "null":
            return self._null(value)
        return self._number(value, shape)

    # scalars

    def _string(self, value: Any, shape: Shape) -> Any:
        if not isinstance(value, str):
            if value is None or isinstance(value, dict):
                raise self._no("a string", value)
            if isinstance(value, list):
                return self._single(value, shape, "a string")
            text = msgspec.json.encode(value).decode()
            self._note("text", 2, f"wrote {text[:40]} as a string")
            value = text
        limits = shape.limits
        if limits:
            if not limits.get("minLength", 0) <= len(value) <= limits.get("maxLength", math.inf):
                raise self._no(f"a string of {_span(limits, 'Length')} characters", value)
            if "pattern" in limits and re.search(limits["pattern"], value) is None:
                raise self._no(f"a string like {limits['pattern']}", value)
        return value

    def _number(self, value: Any, shape: Shape) -> Any:
        whole = shape.kind == "integer"
        expected = "an integer" if whole else "a number"
        if isinstance(value, str):
            read = words.number(value, loose=self._loose)
            if read is None:
                raise self._no(expected, value)
            self._note("number", read[1], read[2])
            value = read[0]
        elif isinstance(value, (dict, list)):
            return self._single(value, shape, expected)
        elif value is None or isinstance(value, bool):
            raise self._no(expected, value)
        if whole and isinstance(value, float):
            if value.is_integer():
                value = int(value)
            elif self._loose and math.isfinite(value):
                self._note("rounded", 5, f"rounded {value}")
                value = round(value)
            else:
                raise self._no(expected, value)
        if shape.limits:
            self._in_range(value, shape.limits)
        return value

    def _in_range(self, value: float, limits: dict[str, Any]) -> None:
        ok = limits.get("minimum", -math.inf) <= value <= limits.get("maximum", math.inf)
        ok = ok and limits.get("exclusiveMinimum", -math.inf) < value < limits.get("exclusiveMaximum", math.inf)
        step = limits.get("multipleOf")
        if not ok or (step and abs(value / step - round(value / step)) > 1e-9):
            raise self._no(f"a number within {limits}", value)

    def _boolean(self, value: Any, shape: Shape) -> Any:
        if isinstance(value, bool):
            return value
        if isinstance(value, (dict, list)):
            return self._single(value, shape, "true or false")
        said = words.truth(value) if isinstance(value, str) else None
        if said is None:
            raise self._no("true or false", value)
        self._note("word", said[1], f"read {value.strip()[:40]!r} as {str(said[0]).lower()}")
        return said[0]

    def _null(self, value: Any) -> None:
        if value is None:
            return
        if isinstance(value, str) and value.strip().lower() in ("null", "none"):
            self._note("word", 2, f"read {value!r} as null")
            return
        raise self._no("null", value)

    def _enum(self, value: Any, shape: Shape) -> Any:
        for known in shape.values:
            if known == value and type(known) is type(value) and known not in shape.aliases.values():
                return known
        if isinstance(value, (dict, list)):
            return self._single(value, shape, "one of " + ", ".join(map(repr, shape.values[:8])))
        renamed = set(shape.aliases.values())
        names = {
            alias: at for at, known in enumerate(shape.values) for alias, of in shape.aliases.items() if of == known
        }
        names |= {
            known if isinstance(known, str) else msgspec.json.encode(known).decode(): at
            for at, known in enumerate(shape.values)
            if not (isinstance(known, str) and known in renamed) and not isinstance(known, (dict, list, bool))
        }
        text = value if isinstance(value, str) else "" if isinstance(value, (bool, type(None))) else repr(value)
        named = words.closest(text, list(names)) if text else None
        if named is None:
            raise self._no("one of " + ", ".join(map(repr, shape.values[:8])), value)
        found = shape.values[list(names.values())[named.at]]
        self._note("name", named.cost, f"took {found!r}: {named.note}")
        return found

    def _single(self, value: Any, shape: Shape, expected: str) -> Any:
        """Take the one item of a list, or of an object with one key, where a scalar is wanted."""
        if len(value) != 1 or self._wrapping:
            raise self._no(expected, value)
        if isinstance(value, list):
            inner, note = value[0], "took the only item of a list"
        else:
            (key, inner), note = next(iter(value.items())), "took the only value of an object"
            self._path.append(key)
        if isinstance(inner, (dict, list)):
            if isinstance(value, dict):
                self._path.pop()
            raise self._no(expected, value)
        fitted = self._fit(inner, shape)
        if isinstance(value, dict):
            self._path.pop()
        self._note("unwrapped", 6, note)
        return fitted

    # containers

    def _array(self, value: Any, shape: Shape) -> list[Any]:
        if isinstance(value, str):
            inner = _decoded(value, "[")
            if inner is not MISSING:
                self._note("decoded", 2, "read a list that was written as a string")
                value = inner
        if isinstance(value, dict):
            value = self._unechoed(value, "items", "array")
        if not isinstance(value, list):
            if value is None or self._wrapping or shape.prefix:
                raise self._no("a list", value)
            self._wrapping = True
            try:
                item = self._part(value, shape.item or Shape(), 0)
            finally:
                self._wrapping = False
            self._note("wrapped", 3, "made a list of one item")
            return self._counted([item], shape)
        fitted: list[Any] = []
        wrong: list[Misfit] = []
        outer, self._wrapping = self._wrapping, False
        for at, item in enumerate(value):
            part = shape.prefix[at] if at < len(shape.prefix) else shape.item
            if part is None:
                raise self._no(f"a list of {len(shape.prefix)} items", value)
            try:
                fitted.append(item if part.kind == "any" else self._part(item, part, at))
            except Misfit as misfit:
                if self._partial and at == len(value) - 1:
                    self._note("cut", 0, "left out the last item, which does not fit yet")
                elif self._gives_up(wrong, misfit):
                    break
        self._wrapping = outer
        _raised(wrong)
        return self._counted(fitted, shape)

    def _gives_up(self, wrong: list[Misfit], misfit: Misfit) -> bool:
        """Take in what does not fit, and say whether that is enough of it."""
        wrong.append(misfit)
        return len(wrong) >= MAX_PROBLEMS or self._steps > MAX_STEPS

    def _counted(self, items: list[Any], shape: Shape) -> list[Any]:
        if self._partial:
            return items
        limits = shape.limits
        least = max(limits.get("minItems", 0), len(shape.prefix))
        if not least <= len(items) <= limits.get("maxItems", math.inf):
            raise self._no(f"a list of {_span({**limits, 'minItems': least}, 'Items')} items", items)
        if limits.get("uniqueItems") and len({msgspec.json.encode(item) for item in items}) < len(items):
            raise self._no("a list without repetition", items)
        return items

    def _part(self, value: Any, shape: Shape, step: str | int) -> Any:
        self._path.append(step)
        before, noted = self.cost, len(self.repairs)
        depth = len(self._path)
        try:
            return self._fit(value, shape)
        except Misfit:
            self.cost = before
            del self.repairs[noted:]
            raise
        finally:
            del self._path[depth - 1 :]

    def _object(self, value: Any, shape: Shape) -> Any:
        if isinstance(value, str):
            inner = _decoded(value, "{")
            if inner is not MISSING:
                self._note("decoded", 2, "read an object that was written as a string")
                value = inner
        if not isinstance(value, dict):
            return self._implied(value, shape)
        value = self._unechoed(value, "properties", "object") if "properties" not in shape.fields else value
        try:
            return self._fields(value, shape)
        except Misfit:
            if len(value) != 1 or self._wrapping:
                raise
            key, inner = next(iter(value.items()))
            if not isinstance(inner, dict) or key in shape.fields or not shape.fields:
                raise
            self._wrapping = True
            try:
                fitted = self._part(inner, shape, key)
            finally:
                self._wrapping = False
            self._note("unwrapped", 4, f"took what is under {key!r}")
            return fitted

    def _fields(self, value: dict[str, Any], shape: Shape) -> dict[str, Any]:
        fields, rest = shape.fields, shape.rest
        names = self._names(value, shape)
        fitted: dict[str, Any] = {}
        wrong: list[Misfit] = []
        seen: set[str] = set()
        outer, self._wrapping = self._wrapping, False
        for key, item in value.items():
            name = names.get(key, key)
            field = fields.get(name)
            seen.add(name)
            if field is not None:
                if item is None and name not in shape.required and not _takes_null(field):
                    self._note(NULL, 1, f"left out the null of the optional {name!r}")
                    continue
                try:
                    fitted[name] = self._part(item, field, name)
                except Misfit as misfit:
                    if self._partial and key == next(reversed(value)):
                        self._note("cut", 0, f"left out {name!r}, which does not fit yet")
                    elif self._gives_up(wrong, misfit):
                        break
                if name != key:
                    self._note("renamed", 1, f"took the key {key[:60]!r} as {name!r}")
            elif rest is False:
                self._note("dropped", 1, f"left out the unknown key {key[:60]!r}")
            else:
                fitted[self._key(key, shape)] = item if rest is True else self._part(item, rest, key)
        self._wrapping = outer
        if not self._partial:
            wrong += [self._no(f"the field {name!r}", MISSING) for name in shape.required if name not in seen]
        _raised(wrong)
        least, most = shape.limits.get("minProperties", 0), shape.limits.get("maxProperties", math.inf)
        if not self._partial and not least <= len(fitted) <= most:
            raise self._no(f"{_span(shape.limits, 'Properties')} properties", value)
        return fitted

    def _key(self, key: str, shape: Shape) -> str:
        if shape.item is None:
            return key
        fitted = self._part(key, shape.item, key)
        return fitted if isinstance(fitted, str) else key

    def _names(self, value: dict[str, Any], shape: Shape) -> dict[str, str]:
        """Say which unknown keys mean which fields: by alias, or by a name that differs in case and marks only."""
        strange = [key for key in value if key not in shape.fields or key in shape.aliases]
        if not strange:
            return {}
        free = [name for name in shape.fields if name not in value]
        if not free and not shape.aliases:
            return {}
        forms = words.lookup(free)
        forms.update({words.fold(alias): name for alias, name in shape.aliases.items() if name in free})
        found: dict[str, str] = {}
        for key in strange:
            name = shape.aliases.get(key) or forms.get(words.fold(key[:200]))
            if name is not None and name not in found.values() and name not in value:
                found[key] = name
        return found

    def _implied(self, value: Any, shape: Shape) -> Any:
        """Put a value that stands alone into the only field of an object, or take the only item of a list."""
        if isinstance(value, list) and len(value) == 1 and isinstance(value[0], dict):
            fitted = self._part(value[0], shape, 0)
            self._note("unwrapped", 4, "took the only item of a list")
            return fitted
        if len(shape.fields) != 1 or isinstance(value, (str, type(None))) or self._wrapping:
            raise self._no("an object", value)
        name, field = next(iter(shape.fields.items()))
        self._wrapping = True
        try:
            fitted = {name: self._part(value, field, name)}
        finally:
            self._wrapping = False
        self._note("wrapped", 6, f"took the value as the only field {name!r}")
        return fitted

    def _unechoed(self, value: dict[str, Any], keyword: str, name: str) -> Any:
        """Take the data out of an answer that repeats the schema around it: {"type": "object", "properties": data}."""
        if (
            value.get("type") != name
            or keyword not in value
            or not value.keys() <= {"type", "title", "description", keyword, "required"}
        ):
            return value
        self._note("unwrapped", 6, "took the data out of an echo of the schema")
        inner = value[keyword]
        return [inner] if name == "array" and isinstance(inner, dict) else inner

    def _union(self, value: Any, shape: Shape) -> Any:
        before, repairs, wrapping = self.cost, self.repairs, self._wrapping
        depth = len(self._path)
        best: tuple[int, Any, list[Repair]] | None = None
        reasons: list[str] = []
        for option in shape.options:
            self.cost, self.repairs, self._wrapping = 0, [], wrapping
            try:
                fitted = self._fit(value, option)
            except Misfit as misfit:
                reasons.append(str(misfit))
                del self._path[depth:]
                continue
            if best is None or self.cost < best[0]:
                best = (self.cost, fitted, self.repairs)
                if not self.cost and not self.repairs:
                    break
        self.cost, self.repairs, self._wrapping = before, repairs, wrapping
        if best is None:
            raise Misfit(where(self._path), "one of: " + "; ".join(reasons[:6])[:600], value)
        self.cost += best[0]
        self.repairs.extend(best[2])
        return best[1]


def _decoded(text: str, opener: str) -> Any:
    """Read JSON that stands in a string; MISSING where it is none."""
    if not text.lstrip().startswith(opener):
        return MISSING
    try:
        return msgspec.json.decode(text)
    except (ValueError, RecursionError):
        return MISSING


def _takes_null(shape: Shape) -> bool:
    if shape.kind in ("any", "null"):
        return True
    return None in shape.values if shape.kind == "enum" else any(_takes_null(option) for option in shape.options)


def _span(limits: dict[str, Any], noun: str) -> str:
    return f"{limits.get(f'min{noun}', 0)} to {limits.get(f'max{noun}', 'any number of')}"
