"""A structured answer as models spoil them: the right value badly written, a wrong value, or none."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import msgspec

from penstock.sim import tokens
from penstock.sim.answers import Ask, Call, Reply
from penstock.sim.faults import Say, Spoil

_REFUSAL = "I'm sorry, but I can't help with that."
_NO_JSON = "I looked at it, and I would rather talk about the weather."


def spoiled(reply: Reply, fault: Spoil, ask: Ask, *, loose_calls: bool) -> Reply:
    """The reply as the fault orders it; where arguments of a tool must be JSON, bad ones are said as text instead."""
    source = reply.calls[0].arguments if reply.calls else reply.text
    if fault.form == "refusal" and fault.text is None:
        return _saying(reply, _REFUSAL, stop="refusal")
    if fault.form == "length" and fault.text is None:
        half = tokens.split(source)
        return _placed(reply, "".join(half[: len(half) // 2]), loose=True, stop="length")
    text = fault.text if fault.text is not None else _spoil(source, fault.form, ask)
    return _placed(reply, text, loose=loose_calls)


def scripted(reply: Reply, fault: Say) -> Reply:
    """The turn that the fault orders in place of the reply; the model thinks as long as it would have."""
    pieces = tuple(tokens.split(fault.text)) if fault.text else ()
    calls = tuple(_said_call(call.name, call.arguments) for call in fault.calls)
    spent = sum(len(tokens.split(call.arguments)) + tokens.count(call.name) + 4 for call in calls)
    return replace(
        reply,
        text=fault.text,
        pieces=pieces,
        calls=calls,
        stop="tool_calls" if calls else "stop",
        stop_sequence=None,
        tokens=reply.reasoning_tokens + max(1, len(pieces) + spent),
    )


def _said_call(name: str, arguments: dict[str, Any] | str) -> Call:
    text = arguments if isinstance(arguments, str) else msgspec.json.encode(arguments).decode()
    value = _read(text)
    return Call(name, text, value if isinstance(value, dict) else {})


def _placed(reply: Reply, text: str, *, loose: bool, stop: Any = None) -> Reply:
    if not reply.calls:
        return _saying(reply, text, stop=stop or "stop")
    value = _read(text)
    if value is None and not loose:
        return _saying(reply, text, stop="stop")
    call = Call(reply.calls[0].name, text, value if isinstance(value, dict) else {})
    count = len(tokens.split(text)) + tokens.count(call.name) + 4
    return replace(reply, calls=(call,), tokens=reply.reasoning_tokens + count, stop=stop or "tool_calls")


def _saying(reply: Reply, text: str, *, stop: Any) -> Reply:
    pieces = tuple(tokens.split(text))
    return replace(
        reply, text=text, pieces=pieces, calls=(), stop=stop, tokens=reply.reasoning_tokens + max(1, len(pieces))
    )


def _read(text: str) -> Any:
    try:
        return msgspec.json.decode(text)
    except msgspec.DecodeError:
        return None


def _spoil(text: str, form: str, ask: Ask) -> str:
    value = _read(text)
    if form in _WRITTEN:
        return _WRITTEN[form](text)
    if form in _CHANGED and isinstance(value, dict):
        return msgspec.json.encode(_CHANGED[form](value)).decode()
    return "" if form == "empty" else _NO_JSON


def _single_quotes(text: str) -> str:
    return repr(_read(text))


def _bare_keys(text: str) -> str:
    return re.sub(r'([{,])"([A-Za-z_]\w*)":', r"\1\2:", text)


def _trailing_comma(text: str) -> str:
    return f"{text[:-1]},{text[-1:]}"


_WRITTEN: dict[str, Callable[[str], str]] = {
    "fenced": lambda text: f"```json\n{text}\n```",
    "prose": lambda text: f"Sure! Here is what you asked for:\n\n{text}\n\nLet me know if you need more.",
    "single_quotes": _single_quotes,
    "trailing_comma": _trailing_comma,
    "bare_keys": _bare_keys,
    "cut": lambda text: text[: max(1, len(text) * 2 // 3)],
}


def _enum_case(value: Any) -> Any:
    """Swap the case of short words: those of an enum are read all the same."""
    if isinstance(value, dict):
        return {key: _enum_case(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_enum_case(item) for item in value]
    return value.swapcase() if isinstance(value, str) and re.fullmatch(r"\w{1,12}", value) else value


def _numbers_as_text(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _numbers_as_text(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_numbers_as_text(item) for item in value]
    return str(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else value


def _missing_field(value: dict[str, Any]) -> dict[str, Any]:
    return dict(list(value.items())[1:])


def _wrong_type(value: dict[str, Any]) -> dict[str, Any]:
    first = next(iter(value), None)
    return {key: [["no", "such", "thing"]] if key == first else item for key, item in value.items()}


_CHANGED: dict[str, Callable[[dict[str, Any]], dict[str, Any]]] = {
    "enum_case": _enum_case,
    "numbers_as_text": _numbers_as_text,
    "missing_field": _missing_field,
    "wrong_type": _wrong_type,
    "extra_field": lambda value: {**value, "confidence_note": "quite sure"},
}
