"""From a function's signature and docstring to what a model may call it with: a schema, and a check of what came."""

from __future__ import annotations

import inspect
import typing
from collections.abc import Callable, Mapping
from typing import Annotated, Any, Final

import msgspec

from .._text.coerce import Misfit, Misfits
from .._text.parse import parse
from .._text.result import MISSING, Repair
from .._text.target import Target, target_of
from ..errors import ConfigError, ParseError

_REFUSED: Final[dict[Any, str]] = {
    inspect.Parameter.VAR_POSITIONAL: "*",
    inspect.Parameter.VAR_KEYWORD: "**",
}
REASONS_CHARS: Final = 1_000
"""Of what does not fit in one call's arguments that are told to the model."""


class BadArguments(Exception):
    """The arguments of a call do not fit; the message is for the model."""


class Arguments(Target):
    """The parameters of a function as one object, each with the check of its own type."""

    def __init__(self, members: Mapping[str, Target], required: tuple[str, ...], schema: dict[str, Any]) -> None:
        super().__init__(schema, closed=True)
        self.parameters = schema
        self._members = members
        self._required = required

    def strict(self, value: Any) -> Any:
        """Return the arguments of strict JSON that fit as they are.

        Raises: Misfit where they do not.
        """
        if not isinstance(value, dict) or value.keys() - self._members.keys():
            raise Misfit("$", f"an object with the keys {', '.join(self._members) or 'of none'}", value)
        return self._each(value, "strict")

    def finish(self, value: Any) -> Any:
        """Make the values of the parameters' types.

        Raises: Misfit.
        """
        return self._each(value, "finish")

    def _each(self, value: dict[str, Any], how: str) -> dict[str, Any]:
        made: dict[str, Any] = {}
        wrong = [f"$.{name}: expected a value, got nothing" for name in self._required if name not in value]
        for name, item in value.items():
            try:
                made[name] = getattr(self._members[name], how)(item)
            except Misfit as misfit:
                wrong += [problem.replace("$", f"$.{name}", 1) for problem in misfit.problems]
        if wrong:
            raise Misfits(wrong)
        return made


def read_arguments(text: str, target: Target) -> tuple[dict[str, Any], tuple[Repair, ...]]:
    """Read the arguments of a call as the model wrote them, and say what was mended.

    An argument that the function does not have is refused, since leaving it out may change what the call does.

    Raises: BadArguments with what does not fit.
    """
    try:
        parsed = parse(text.strip() or "{}", target)
    except ParseError as error:
        largest = max(error.candidates, key=lambda one: one.end - one.start, default=None)
        raise BadArguments((largest.outcome if largest else error.message)[:REASONS_CHARS]) from None
    unknown = [_unknown(repair) for repair in parsed.repairs if repair.kind == "dropped"]
    if unknown:
        raise BadArguments("; ".join(unknown)[:REASONS_CHARS])
    if not parsed.complete:
        raise BadArguments("the arguments end before they are whole")
    if not isinstance(parsed.value, dict):
        raise BadArguments(f"expected an object of arguments, got a {type(parsed.value).__name__}")
    return parsed.value, parsed.repairs


def _unknown(repair: Repair) -> str:
    key = repair.note.removeprefix("left out the unknown key ")
    return f"there is no parameter {key}" if repair.path == "$" else f"{repair.path}: there is no field {key}"


def arguments_of(function: Callable[..., Any], name: str) -> tuple[Arguments, str]:
    """Return the arguments that a function takes, and what its docstring says that it does.

    Raises: ConfigError naming the parameter that a model cannot be asked for.
    """
    try:
        signature = inspect.signature(function)
        hints = typing.get_type_hints(
            function if inspect.isroutine(function) else type(function).__call__, include_extras=True
        )
    except (TypeError, ValueError, NameError) as error:
        raise ConfigError(f"the signature of the tool {name!r} cannot be read: {error}") from error
    described, notes = _documented(inspect.getdoc(function) or "")
    members: dict[str, Target] = {}
    required: list[str] = []
    properties: dict[str, Any] = {}
    defs: dict[str, Any] = {}
    for parameter in signature.parameters.values():
        _check_kind(parameter, name)
        hint = hints.get(parameter.name, Any)
        try:
            target = members[parameter.name] = target_of(hint)
            schema = target.schema
        except ConfigError as error:
            raise type(error)(f"the parameter {parameter.name!r} of the tool {name!r}: {error.message}") from error
        written = _hoisted(schema, defs, f"{name}.{parameter.name}")
        note = notes.get(parameter.name) or _note(hint)
        if note:
            written = _with_note(written, note)
        if parameter.default is inspect.Parameter.empty:
            required.append(parameter.name)
        elif "$ref" not in written:
            written = _with_default(written, parameter.default)
        properties[parameter.name] = written
    whole: dict[str, Any] = {"type": "object", "properties": properties, "additionalProperties": False}
    if required:
        whole["required"] = required
    if defs:
        whole["$defs"] = defs
    return Arguments(members, tuple(required), whole), described


def _check_kind(parameter: inspect.Parameter, name: str) -> None:
    bare = parameter.annotation is inspect.Parameter.empty and parameter.kind is not inspect.Parameter.KEYWORD_ONLY
    if parameter.name in ("self", "cls") and bare:
        raise ConfigError(f"the tool {name!r} is a method without its object; write tool(thing.{name}) instead")
    mark = _REFUSED.get(parameter.kind)
    if mark is not None:
        raise ConfigError(
            f"the tool {name!r} takes {mark}{parameter.name}, which no schema can describe; name its parameters"
        )
    if parameter.kind is inspect.Parameter.POSITIONAL_ONLY:
        raise ConfigError(
            f"the tool {name!r} takes {parameter.name!r} by position only; a model gives arguments by name"
        )


def _documented(text: str) -> tuple[str, dict[str, str]]:
    """Split a docstring, in the style of Google, NumPy or Sphinx, into what it says and what it says of parameters."""
    if not text:
        return "", {}
    from docstring_parser import ParseError as Unreadable
    from docstring_parser import parse as parse_docstring

    try:
        read = parse_docstring(text)
    except Unreadable:
        return text, {}
    said = "\n".join(part for part in (read.short_description, read.long_description) if part)
    if read.returns is not None and read.returns.description:
        said = f"{said}\nReturns: {read.returns.description}".strip()
    return said, {each.arg_name: " ".join((each.description or "").split()) for each in read.params}


def _note(hint: Any) -> str:
    """Return what stands beside a type: Annotated[str, "the host"]."""
    if typing.get_origin(hint) is not Annotated:
        return ""
    return next((each for each in typing.get_args(hint)[1:] if isinstance(each, str)), "")


def _hoisted(schema: Any, defs: dict[str, Any], place: str) -> dict[str, Any]:
    """Take the definitions out of a parameter's schema, as references start at the root.

    Raises: ConfigError where two parameters mean different things by one name.
    """
    if not isinstance(schema, Mapping):
        return {}
    for name, part in schema.get("$defs", {}).items():
        if defs.setdefault(name, part) != part:
            raise ConfigError(f"{place}: two different types are called {name}; rename one of them")
    return {key: value for key, value in schema.items() if key != "$defs"}


def _with_note(written: dict[str, Any], note: str) -> dict[str, Any]:
    return {"allOf": [written], "description": note} if "$ref" in written else {**written, "description": note}


def _with_default(written: dict[str, Any], default: Any) -> dict[str, Any]:
    """Show a default that JSON has a word for."""
    try:
        value = msgspec.to_builtins(default)
    except (TypeError, RecursionError):
        return written
    return written if value is MISSING or value is None else {**written, "default": value}
