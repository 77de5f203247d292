"""How a record becomes a row: its own prompt and options, a template over its columns, or a line of a batch file."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import Any, Final

import msgspec

from .._flow.prompt import OPTIONS, Prompt
from ..errors import ConfigError, InputError
from .openai_lines import from_openai_line, is_openai_line
from .records import Bad
from .rows import FORMS_MAX, Form, Row, check_row, form_of
from .template import Template

_OWN: Final = frozenset({"id", "prompt", "messages", "params"})
_LIKE_A_PARAMETER: Final = 0.85


class Recipe:
    """Makes rows of records. With a `template` their fields are columns, and options stand in `params` only.

    `system` is a template as well, over the same columns.

    Raises: ConfigError for a template that is wrong by itself.
    """

    def __init__(self, template: str | None = None, system: str | None = None) -> None:
        self.template = None if template is None else Template(template)
        self.system = None if system is None else Template(system, "system")
        self._sound: set[Form] = set()
        self._named: dict[tuple[str, ...], tuple[str, ...]] = {}

    def row(self, number: int, record: dict[str, Any] | Bad, *, sound: bool = False) -> Row:
        """Read a record; what is wrong with it becomes the row's problem, unless it is known to be `sound`."""
        if isinstance(record, Bad):
            return Row(line=number, id=f"line {number}", problem=str(record))
        batch_line = self.template is None and is_openai_line(record)
        name = record["custom_id"] if batch_line else record.get("id", number)
        if isinstance(name, bool) or not isinstance(name, str | int) or name == "":
            problem = f"has the id {_shown(name)}; an id is a text or a whole number"
            return Row(line=number, id=f"line {number}", problem=problem, fields=record)
        try:
            prompt, model, params = self._asked(from_openai_line(record) if batch_line else record)
            row = Row(line=number, id=name, prompt=prompt, model=model, params=params, fields=record)
            if not sound:
                self._check(row)
        except (InputError, ConfigError) as error:
            return Row(line=number, id=name, problem=error.message, fields=record)
        return row

    def _check(self, row: Row) -> None:
        """Look at a row by itself, unless one that differs in its prompt alone, which is no empty text, was sound.

        Raises: InputError, ConfigError.
        """
        form = form_of(row)
        if form is not None and form in self._sound:
            return
        check_row(row)
        if form is not None:
            if len(self._sound) >= FORMS_MAX:
                self._sound.clear()
            self._sound.add(form)

    def _asked(self, data: Mapping[str, Any]) -> tuple[Prompt, Any, dict[str, Any]]:
        """Read the prompt, the model and the options of a record."""
        given = data.get("params")
        if given is not None and not isinstance(given, dict):
            raise InputError("has params that are not an object")
        params = {key: value for key, value in given.items() if value is not None} if given else {}
        prompt: Prompt
        if self.template is not None:
            prompt = filled = self.template.fill(data)
            if not filled.strip():
                raise InputError("has an empty prompt once its columns are filled in")
        else:
            prompt = _question(data)
            for key in self._options(data):
                if params.get(key, data[key]) != data[key] and data[key] is not None:
                    raise InputError(f"has {key!r} twice, beside its prompt and in params; give it once")
                if data[key] is not None:
                    params[key] = data[key]
        if isinstance(params.get("system"), str) and not params["system"]:
            raise InputError("has a system that is no text")
        if self.system is not None:
            params.setdefault("system", self.system.fill(data))
        return prompt, params.pop("model", None), params

    def _options(self, data: Mapping[str, Any]) -> tuple[str, ...]:
        """Return the options among the fields of a record, which has mostly the same fields as the one before.

        Raises: InputError for a field that looks like a misspelt option.
        """
        names = tuple(data)
        found = self._named.get(names)
        if found is None:
            _spelling(data)
            if len(self._named) >= FORMS_MAX:
                self._named.clear()
            found = self._named[names] = tuple(sorted(data.keys() & OPTIONS))
        return found


def _shown(name: object) -> str:
    try:
        return msgspec.json.encode(name).decode()
    except (TypeError, UnicodeEncodeError):
        return repr(name)


def _question(data: Mapping[str, Any]) -> Prompt:
    prompt, messages = data.get("prompt"), data.get("messages")
    if prompt is None and messages is None:
        raise InputError('has no prompt; give it "prompt" or "messages", or use --prompt with its columns')
    if prompt is not None and messages is not None:
        raise InputError("has both prompt and messages; give it one of them")
    if prompt is None:
        if not isinstance(messages, list):
            raise InputError("has messages that are no list")
        return messages
    if not isinstance(prompt, str) or not prompt.strip():
        raise InputError("has a prompt that is no text" if not isinstance(prompt, str) else "has an empty prompt")
    return prompt


def _spelling(data: Mapping[str, Any]) -> None:
    for key in data.keys() - OPTIONS - _OWN:
        if close := difflib.get_close_matches(key, OPTIONS | _OWN, n=1, cutoff=_LIKE_A_PARAMETER):
            raise InputError(f"has the field {key!r}; did you mean {close[0]!r}?")
