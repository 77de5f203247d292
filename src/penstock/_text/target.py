"""Targets: what a caller wants a text to become, as a shape to fit to and a check that makes the value.

Types of pydantic are validated by pydantic, which is imported only then; all other types by msgspec; a JSON Schema by
its shape.
"""

from __future__ import annotations

import sys
import types
import typing
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any, Final

import msgspec

from ..errors import ConfigError
from .coerce import MAX_PROBLEMS, Fitter, Misfit, Misfits, got
from .result import MISSING
from .shape import Shape, compile_schema

ANY: Final = (None, object, Any)
MAX_BLAME_DEPTH: Final = 16
"""Fields within fields that are searched for the one at fault."""


class Target:
    """A JSON Schema, or anything: values stay plain."""

    def __init__(self, schema: Mapping[str, Any] | bool, *, closed: bool = False) -> None:
        self.schema = schema
        self.shape = compile_schema(schema, closed=closed)

    def strict(self, value: Any) -> Any:
        """Return the value of strict JSON that fits as it is.

        Raises: Misfit where it does not.
        """
        fitter = Fitter(self.shape)
        fitted = fitter.fit(value)
        if fitter.repairs:
            raise Misfit("$", "a value that fits as it is", value)
        return fitted

    def finish(self, value: Any) -> Any:
        """Make the wanted type of a value that fits the shape.

        Raises: Misfit where the type's own checks refuse it.
        """
        return value


class _Typed(Target):
    """Dataclasses, TypedDicts, Structs, enums, Literals, unions, lists and scalars."""

    def __init__(self, wanted: Any) -> None:
        self._wanted = wanted
        try:
            made = msgspec.json.schema(wanted)
        except (TypeError, RecursionError, NameError) as error:
            path, culprit = _blame(wanted, _name(wanted), msgspec.json.schema)
            raise ConfigError(
                f"the type {_name(culprit)} at {path} cannot be expressed as a JSON Schema: "
                f"{str(error).splitlines()[-1]}; use a pydantic model, a dataclass, a TypedDict or a JSON Schema"
            ) from error
        super().__init__(made, closed=True)

    def strict(self, value: Any) -> Any:
        return self.finish(super().strict(value))

    def finish(self, value: Any) -> Any:
        try:
            return msgspec.convert(value, self._wanted, str_keys=True)
        except msgspec.ValidationError as error:
            raise Misfit("$", f"a {_name(self._wanted)} ({error})", value) from error


class _Choice(Target):
    """A union whose members msgspec cannot hold together, such as two dataclasses."""

    def __init__(self, members: tuple[Target, ...]) -> None:
        self._members = members
        self.schema = _any_of([member.schema for member in members])
        self.shape = Shape("union")
        self.shape.options = tuple(member.shape for member in members)

    def strict(self, value: Any) -> Any:
        return self._first(value, "strict")

    def finish(self, value: Any) -> Any:
        return self._first(value, "strict")

    def _first(self, value: Any, how: str) -> Any:
        reasons = []
        for member in self._members:
            try:
                return getattr(member, how)(value)
            except Misfit as misfit:
                reasons.append(str(misfit))
        raise Misfit("$", "one of: " + "; ".join(reasons)[:600], value)


def _any_of(schemas: list[Any]) -> dict[str, Any]:
    """Join schemas that each have their definitions inside.

    Raises: ConfigError where two of them mean different things by one name.
    """
    defs: dict[str, Any] = {}
    options = []
    for schema in schemas:
        for name, part in schema.get("$defs", {}).items():
            if defs.setdefault(name, part) != part:
                raise ConfigError(f"the union has two types called {name}; rename one of them")
        options.append({key: value for key, value in schema.items() if key != "$defs"})
    return {"anyOf": options, "$defs": defs} if defs else {"anyOf": options}


class _Pydantic(Target):
    """Whatever contains a pydantic model."""

    def __init__(self, wanted: Any) -> None:
        import pydantic

        self._wanted = wanted
        self._shape: Shape | None = None
        self._schema: Mapping[str, Any] | None = None
        try:
            self._adapter: Any = pydantic.TypeAdapter(wanted)
        except (pydantic.errors.PydanticUserError, TypeError, NameError) as error:
            raise ConfigError(f"the type {_name(wanted)} cannot be validated: {error}") from error
        self._error = pydantic.ValidationError

    @property
    def schema(self) -> Mapping[str, Any]:  # type: ignore[override]
        """The schema that pydantic writes for the type, written once."""
        import pydantic

        if self._schema is not None:
            return self._schema
        try:
            self._schema = self._adapter.json_schema()
        except (pydantic.errors.PydanticUserError, RecursionError) as error:
            path, culprit = _blame(
                self._wanted, _name(self._wanted), lambda part: pydantic.TypeAdapter(part).json_schema()
            )
            reason = str(error).splitlines()[0]
            raise ConfigError(
                f"the type {_name(culprit)} at {path} cannot be expressed as a JSON Schema: {reason}"
            ) from error
        assert self._schema is not None
        return self._schema

    @property
    def shape(self) -> Shape:  # type: ignore[override]
        """The shape, made when a value does not fit as it stands."""
        if self._shape is None:
            self._shape = compile_schema(self.schema, closed=True)
        return self._shape

    def strict(self, value: Any) -> Any:
        try:
            return self._adapter.validate_python(value, extra="forbid")
        except self._error as error:
            raise _misfit(error) from error

    def finish(self, value: Any) -> Any:
        try:
            return self._adapter.validate_python(value)
        except self._error:
            pass
        try:
            return self._adapter.validate_json(msgspec.json.encode(value))
        except self._error as error:
            raise _misfit(error) from error


class Wrapped(Target):
    """A value that stands under the one key of an object, as providers want an object at the root."""

    def __init__(self, inner: Target, key: str) -> None:
        self._inner = inner
        self._key = key
        self.shape = Shape("object")
        self.shape.fields = {key: inner.shape}
        self.shape.required = (key,)
        self.shape.rest = False

    def strict(self, value: Any) -> Any:
        if not isinstance(value, dict) or value.keys() != {self._key}:
            raise Misfit("$", f"an object with {self._key!r}", value)
        return self._inner.strict(value[self._key])

    def finish(self, value: Any) -> Any:
        return self._inner.finish(value[self._key])


def _misfit(error: Any) -> Misfit:
    found = []
    for each in error.errors(include_url=False, include_context=False)[:MAX_PROBLEMS]:
        steps = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in each["loc"])
        value = MISSING if each["type"] == "missing" else each.get("input")
        found.append(f"${steps}: {each['msg'][:1].lower()}{each['msg'][1:]}, got {got(value)}")
    return Misfits(found)


def _blame(wanted: Any, path: str, works: Callable[[Any], object]) -> tuple[str, Any]:
    """Find the innermost part of a type that has no JSON Schema, and where it is."""
    parts = [(f"{path}[{at}]", part) for at, part in enumerate(typing.get_args(wanted))]
    if isinstance(wanted, type) and path.count(".") < MAX_BLAME_DEPTH:
        try:
            parts += [(f"{path}.{name}", hint) for name, hint in typing.get_type_hints(wanted).items()]
        except (NameError, TypeError, AttributeError):
            return path, wanted
    for inner, part in parts:
        try:
            works(part)
        except Exception:  # noqa: BLE001 - whatever a library says of it
            return _blame(part, inner, works)
    return path, wanted


def _name(wanted: Any) -> str:
    return getattr(wanted, "__name__", None) or str(wanted)


def target_of(wanted: Any) -> Target:
    """Make the target of a type, a JSON Schema (a mapping), or None for any value; a target is one already.

    Raises: ConfigError for a type or schema that cannot be expressed.
    """
    if isinstance(wanted, Mapping):
        return Target(wanted)
    if isinstance(wanted, Target):
        return wanted
    try:
        return _of_type(wanted)
    except TypeError as error:  # not hashable, so no type
        raise ConfigError(f"{wanted!r:.80} is neither a type nor a JSON Schema") from error


@lru_cache(maxsize=256)
def _of_type(wanted: Any) -> Target:
    if any(wanted is known for known in ANY):
        return Target(True)
    if _has_pydantic(wanted, set()):
        return _Pydantic(wanted)
    if not isinstance(wanted, type) and typing.get_origin(wanted) is None and not hasattr(wanted, "__supertype__"):
        raise ConfigError(f"{wanted!r:.80} is neither a type nor a JSON Schema")
    members = typing.get_args(wanted)
    try:
        return _Typed(wanted)
    except ConfigError:
        if typing.get_origin(wanted) is not typing.Literal and len(members) > 1 and _is_union(wanted):
            return _Choice(tuple(_of_type(one) for one in members))
        raise


def _is_union(wanted: Any) -> bool:
    return typing.get_origin(wanted) in (typing.Union, types.UnionType)  # noqa: TID251 - what old annotations are


def _has_pydantic(wanted: Any, seen: set[int]) -> bool:
    if "pydantic" not in sys.modules or id(wanted) in seen:
        return False
    seen.add(id(wanted))
    if hasattr(wanted, "__pydantic_core_schema__") or hasattr(wanted, "__get_pydantic_core_schema__"):
        return True
    if type(wanted).__module__ == "pydantic.fields":  # Annotated[int, Field(gt=3)]
        return True
    parts = list(typing.get_args(wanted))
    if isinstance(wanted, type):
        try:
            parts += typing.get_type_hints(wanted, include_extras=True).values()
        except (NameError, TypeError, AttributeError):
            return False
    return any(_has_pydantic(part, seen) for part in parts)
