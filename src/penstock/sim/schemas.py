"""A valid instance for a JSON schema, filled from what the prompt says."""

from __future__ import annotations

import importlib
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from random import Random
from typing import Any
from uuid import UUID

from penstock.sim import prompts

_DEEP = 5
_MOVED = re.compile(
    r"\b(minimum|maximum|exclusiveMinimum|exclusiveMaximum|multipleOf|minLength|maxLength|minItems|maxItems)"
    r"\W{1,3}(-?\d+(?:\.\d+)?)"
)
_PATTERN = re.compile(r"\bpattern\W{1,3}(.+?)[,}]?$", re.M)
_FORMATS = {
    "date-time": "2026-11-20T14:03:00Z",
    "date": "2026-11-20",
    "time": "14:03:00Z",
    "duration": "PT15M",
    "email": "oncall@example.com",
    "hostname": "db-1.example.com",
    "uri": "https://runbooks.example.com/incident",
    "url": "https://runbooks.example.com/incident",
    "ipv4": "10.0.3.17",
    "ipv6": "2001:db8::17",
}
_CITY = re.compile(r"\b(?:[Ii]n|[Ff]or|at|of)\s+([A-Z][\w-]+(?: [A-Z][\w-]+)?)")
_PHRASES = (
    (re.compile(r"city|location|place|region", re.I), ("Lisbon",)),
    (re.compile(r"^id$|_id$|ticket", re.I), ("INC-4711",)),
    (re.compile(r"action|step|recommend|mitigat|remed|fix", re.I),
     ("Roll back the last deployment", "Free the exhausted resource, and keep its logs", "Drain the failing instance")),
    (re.compile(r"owner|team|assignee", re.I), ("sre-oncall",)),
    (re.compile(r"unit", re.I), ("celsius",)),
    (re.compile(r"sql|query", re.I), ("select count(*) from events",)),
    (re.compile(r"command|cmd", re.I), ("kubectl get pods", "kubectl describe pod <pod>", "kubectl logs <pod>")),
    (re.compile(r"^check$|confirm|verify", re.I),
     ("Compare the error rate with the time of the last deployment", "Look at the saturation graphs of the last hour")),
    (re.compile(r"expect", re.I), ("The error rate falls within five minutes; else go on with the next step",)),
    (re.compile(r"escalat", re.I), ("Call the owning team if it lasts for more than ten minutes",)),
    (re.compile(r"unknown|missing", re.I), ("What was deployed in the last hour", "How many users notice it")),
    (re.compile(r"prevent|follow", re.I), ("Alert on the resource before it is used up",)),
    (re.compile(r"^time$|_at$", re.I), ("14:03:00", "14:05:00")),
)  # fmt: skip

Schema = Mapping[str, Any]


@dataclass(slots=True)
class Filler:
    """Fills one schema; `text` is the prompt, `target` what this instance is about if the prompt lists several.

    `nth` is the place in the list that is being filled, so that its items differ.
    """

    root: Schema
    text: str
    rng: Random
    target: str = ""
    nth: int = 0

    def fill(self, schema: Any = None, name: str = "", depth: int = 0) -> Any:
        """An instance of `schema` (the root by default).

        Raises: RecursionError for a schema that only has infinite instances.
        """
        if schema is None:
            schema = self.root
        if schema is True or schema == {}:
            return self._phrase(name)
        if not isinstance(schema, Mapping):
            return None
        if depth > 60:
            raise RecursionError("the schema has no finite instance")
        schema = self._resolve(schema)
        if "const" in schema:
            return schema["const"]
        if schema.get("enum"):
            return self._enum(schema["enum"])
        for key in ("anyOf", "oneOf"):
            if schema.get(key):
                rest = {k: v for k, v in schema.items() if k not in (key, "description", "title", "default")}
                return self.fill(_merge(rest, self._option(schema[key], depth)), name, depth + 1)
        match self._kind(schema, depth):
            case "object":
                return self._object(schema, depth)
            case "array":
                return self._array(schema, name, depth)
            case "string":
                return self._string(schema, name)
            case "integer":
                return self._number(schema, name, whole=True)
            case "number":
                return self._number(schema, name, whole=False)
            case "boolean":
                return prompts.severity(self.text) <= 1
            case _:
                return None

    def _resolve(self, schema: Schema) -> Schema:
        seen = 0
        while "$ref" in schema or "allOf" in schema:
            seen += 1
            if seen > 40:
                raise RecursionError("the schema's references go round in a circle")
            if "$ref" in schema:
                target: Any = self.root
                for part in str(schema["$ref"]).removeprefix("#").strip("/").split("/"):
                    part = part.replace("~1", "/").replace("~0", "~")
                    if part:
                        target = target.get(part, {}) if isinstance(target, Mapping) else {}
                schema = _merge({k: v for k, v in schema.items() if k != "$ref"}, target)
            else:
                merged: Schema = {k: v for k, v in schema.items() if k != "allOf"}
                for part in schema["allOf"]:
                    merged = _merge(merged, self._resolve(part))
                schema = merged
        return schema

    def _option(self, options: Sequence[Any], depth: int) -> Schema:
        resolved = [self._resolve(option) for option in options if isinstance(option, Mapping)]
        if depth >= _DEEP:
            simple = [o for o in resolved if o.get("type") not in ("object", "array") and "properties" not in o]
            resolved = [o for o in simple if o.get("type") == "null"] or simple or resolved
        else:
            resolved = [o for o in resolved if o.get("type") != "null"] or resolved
        return resolved[0] if resolved else {}

    def _kind(self, schema: Schema, depth: int) -> str:
        kind = schema.get("type")
        if isinstance(kind, list):
            if depth >= _DEEP and "null" in kind:
                return "null"
            kind = next((k for k in kind if k != "null"), "null")
        if isinstance(kind, str):
            return kind
        if "properties" in schema:
            return "object"
        if "items" in schema or "prefixItems" in schema:
            return "array"
        return "number" if "minimum" in schema or "maximum" in schema else "string"

    def _enum(self, options: Sequence[Any]) -> Any:
        words = [option for option in options if isinstance(option, str)]
        if words and self.target in words:
            return self.target
        return prompts.choose(words, self.text, self.rng) if words else options[0]

    def _object(self, schema: Schema, depth: int) -> dict[str, Any]:
        properties: Mapping[str, Any] = schema.get("properties") or {}
        required = list(schema.get("required") or ())
        names = [n for n in properties if depth < _DEEP or n in required]
        filled = {n: self.fill(properties[n], n, depth + 1) for n in names}
        more = schema.get("additionalProperties")
        for name in required:
            if name not in filled:
                filled[name] = self.fill(more if isinstance(more, Mapping) else {}, name, depth + 1)
        lack = int(schema.get("minProperties") or 0) - len(filled)
        if isinstance(more, Mapping) and not properties and not filled and depth < _DEEP:
            lack = max(lack, 1)
        for at in range(max(0, lack)):
            filled[f"key_{at + 1}"] = self.fill(more if isinstance(more, Mapping) else {}, "", depth + 1)
        return filled

    def _array(self, schema: Schema, name: str, depth: int) -> list[Any]:
        bounds = _bounds(schema)
        fewest = int(bounds.get("minItems", 0))
        most = int(bounds.get("maxItems", max(2, fewest)))
        prefix = list(schema.get("prefixItems") or ())
        size = min(max(fewest, len(prefix), 0 if depth >= _DEEP else 2), most)
        items = schema.get("items", {})
        filled: list[Any] = []
        outer = self.nth
        for at in range(size):
            self.nth = at
            item = self.fill(prefix[at] if at < len(prefix) else items, name, depth + 1)
            if schema.get("uniqueItems") and item in filled:
                item = self._another(items, filled)
                if item is None:
                    break
            if item in filled and len(filled) >= max(fewest, len(prefix)):
                break
            filled.append(item)
        self.nth = outer
        return filled

    def _another(self, items: Any, filled: list[Any]) -> Any:
        schema = self._resolve(items) if isinstance(items, Mapping) else {}
        for option in schema.get("enum") or ():
            if option not in filled:
                return option
        base = filled[-1]
        if isinstance(base, bool):
            return None if (not base) in filled else not base
        if isinstance(base, (int, float)):
            step = _bounds(schema).get("multipleOf", 1)
            up = max(filled) + step
            return up if up <= _bounds(schema).get("maximum", math.inf) else min(filled) - step
        return f"{base} {len(filled) + 1}" if isinstance(base, str) else None

    def _number(self, schema: Schema, name: str, *, whole: bool) -> int | float:
        bounds = _bounds(schema)
        step = bounds.get("multipleOf") or (1 if whole else 0)
        low, high = bounds.get("minimum", -math.inf), bounds.get("maximum", math.inf)
        tiny = step or 1e-6
        if "exclusiveMinimum" in bounds:
            low = max(low, bounds["exclusiveMinimum"] + tiny)
        if "exclusiveMaximum" in bounds:
            high = min(high, bounds["exclusiveMaximum"] - tiny)
        if math.isinf(low):
            low = min(0.0, high)
        wish = 0.9 if re.search(r"confiden|probab|score|ratio", name, re.I) and not whole else 3.0
        value = min(max(wish, low), high)
        if step:
            value = math.ceil(low / step - 1e-9) * step if value - value % step < low else value - value % step
        return round(value) if whole else float(value)

    def _string(self, schema: Schema, name: str) -> str:
        bounds = _bounds(schema)
        shortest, longest = int(bounds.get("minLength", 0)), int(bounds.get("maxLength", 10_000))
        moved = _PATTERN.search(str(schema.get("description") or ""))
        pattern = schema.get("pattern") or (moved.group(1).strip().strip("'\"`") if moved else None)
        if pattern:
            try:
                return from_pattern(str(pattern), self.rng)
            except (re.error, ValueError):
                pass
        form = schema.get("format")
        if form == "uuid":
            return str(UUID(int=self.rng.getrandbits(128), version=4))
        text = _FORMATS.get(str(form)) or self._phrase(name)
        if len(text) < shortest:
            text = (text + " ") * (shortest // (len(text) + 1) + 1)
        return text[: max(shortest, min(len(text), longest))]

    def _phrase(self, name: str) -> str:
        if self.target:
            return self.target
        key = name.lower()
        if re.search(r"service|component|system|host|node|pod|app", key):
            return prompts.subject(self.text)
        if re.search(r"city|location|place|region", key):
            found = _CITY.search(self.text)
            if found:
                return found.group(1)
        for pattern, phrase in _PHRASES:
            if pattern.search(key):
                return phrase[self.nth % len(phrase)]
        if re.search(r"evidence|quote|line|message|log", key):
            return prompts.evidence(self.text, self.nth)
        if re.search(r"sever|prio|level|class|urgen", key):
            return ("critical", "high", "medium", "low")[prompts.severity(self.text)]
        if re.search(r"cause|reason|why", key):
            return f"{prompts.subject(self.text)} reports: {prompts.evidence(self.text, self.nth)}"
        return f"{prompts.subject(self.text)}: {prompts.evidence(self.text, self.nth)}"


def _merge(left: Mapping[str, Any], right: Any) -> Schema:
    if not isinstance(right, Mapping):
        return left
    merged = {**right, **left}
    if "properties" in left and "properties" in right:
        merged["properties"] = {**right["properties"], **left["properties"]}
    if "required" in left and "required" in right:
        merged["required"] = list(dict.fromkeys([*left["required"], *right["required"]]))
    return merged


def _bounds(schema: Schema) -> dict[str, float]:
    # SDKs that may not send bounds move them into the description as text.
    found = {key: float(value) for key, value in _MOVED.findall(str(schema.get("description") or ""))}
    for key in (
        "minimum",
        "maximum",
        "exclusiveMinimum",
        "exclusiveMaximum",
        "multipleOf",
        "minLength",
        "maxLength",
        "minItems",
        "maxItems",
    ):
        value = schema.get(key)
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            found[key] = value
    return found


def from_pattern(pattern: str, rng: Random) -> str:
    """A string that the regular expression matches, best effort.

    Raises: ValueError when no such string was found, re.error for a pattern that is not one.
    """
    parser: Any = importlib.import_module("re._parser")
    text = _write(parser.parse(pattern), rng, {})
    if not re.search(pattern, text):
        raise ValueError(f"no instance found for pattern {pattern!r}")
    return text


def _write(parsed: Any, rng: Random, groups: dict[int, str]) -> str:
    out: list[str] = []
    for op, arg in parsed:
        match str(op):
            case "LITERAL":
                out.append(chr(arg))
            case "NOT_LITERAL":
                out.append("b" if chr(arg) == "a" else "a")
            case "ANY":
                out.append("a")
            case "IN":
                out.append(_one_of(arg, rng))
            case "MAX_REPEAT" | "MIN_REPEAT" | "POSSESSIVE_REPEAT":
                low, high, body = arg
                times = max(low, min(int(high), 1 if low == 0 else low))
                out.extend(_write(body, rng, groups) for _ in range(times))
            case "SUBPATTERN":
                text = _write(arg[3], rng, groups)
                if arg[0] is not None:
                    groups[arg[0]] = text
                out.append(text)
            case "BRANCH":
                out.append(_write(rng.choice(arg[1]), rng, groups))
            case "GROUPREF":
                out.append(groups.get(arg, ""))
            case "CATEGORY":
                out.append(_category(str(arg)))
            case "ATOMIC_GROUP":
                out.append(_write(arg, rng, groups))
            case _:
                pass
    return "".join(out)


def _category(name: str) -> str:
    return {"CATEGORY_DIGIT": "7", "CATEGORY_SPACE": " ", "CATEGORY_NOT_WORD": "-"}.get(name, "a")


def _one_of(items: Any, rng: Random) -> str:
    if str(items[0][0]) == "NEGATE":

        def banned(char: str) -> bool:
            return any(
                (str(op) == "LITERAL" and chr(arg) == char)
                or (str(op) == "RANGE" and arg[0] <= ord(char) <= arg[1])
                or (str(op) == "CATEGORY" and _category(str(arg)) == char)
                for op, arg in items[1:]
            )

        return next((char for char in "ax7-_ .Z" if not banned(char)), "~")
    op, arg = rng.choice(items)
    match str(op):
        case "LITERAL":
            return chr(arg)
        case "RANGE":
            return chr(rng.randint(arg[0], arg[1]))
        case _:
            return _category(str(arg))
