"""The line of a row in a journal, by how the row ended: an answer, a value, a failure, a copy."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from .._flow.extracted import Extracted
from .._text.result import Parsed, Repair, plain
from ..errors import CallError, ExtractionFailed, ModelRefused, PenstockError, TruncatedOutput
from ..types import Attempt, Response, to_usd

_encode = msgspec.json.Encoder(decimal_format="number").encode


def answer_line(
    name: str | int,
    key: str,
    answer: Response | Extracted[Any],
    *,
    spent_nano: int = 0,
    shaped: bool = False,
    columns: dict[str, Any] | None = None,
) -> bytes:
    """Write an answered row.

    `spent_nano` is what earlier calls for the same question cost. A `shaped` answer is to be JSON and is read as such;
    an extraction has its value and its repairs. `columns` are fields of the input.
    """
    said = answer if isinstance(answer, Response) else answer.response
    line: dict[str, Any] = {
        "id": name,
        "model": f"{said.provider}:{said.model}",
        "text": answer.text,
        "stop_reason": said.stop_reason,
        "usage": {"input": 0, "output": 0, **msgspec.to_builtins(answer.usage)},
        "cost": answer.cost,
        "attempts": _sent(answer.attempts),
        "latency_s": round(said.latency_s, 3),
        "error": None,
        "key": key,
        **_partly(answer.cost_nano, answer.attempts, spent_nano),
    }
    if not isinstance(answer, Response):
        line |= value_of(answer.value, answer.repairs) | {"mode": answer.mode}
    elif shaped:
        line["parsed"] = _parsed(answer.text)
    if columns is not None:
        line["columns"] = columns
    if isinstance(answer, Response) and answer.tool_calls:
        line["tool_calls"] = [
            {"id": call.id, "name": call.name, "arguments": call.arguments} for call in answer.tool_calls
        ]
    return _encode(line)


def value_of(value: Any, repairs: Sequence[Repair]) -> dict[str, Any]:
    """Write what was read from an answer: the value as JSON has it, and what was mended where anything was."""
    found: dict[str, Any] = {"parsed": plain(value)}
    if repairs:
        found["repairs"] = msgspec.to_builtins(list(repairs))
    return found


def reread_line(line: Mapping[str, Any], key: str, found: Parsed[Any] | str) -> bytes:
    """Write a row's line anew after its text was read again, with the value in it or why there is none."""
    kept = {name: value for name, value in line.items() if name not in ("parsed", "repairs", "error", "key")}
    if isinstance(found, str):
        error = {"code": ExtractionFailed.code, "message": found, "status": None, "request_id": None}
        return _encode(
            {**kept, "error": {**error, "attempts": line.get("attempts", 0), "retriable": False}, "key": key}
        )
    return _encode({**kept, "error": None, "key": key, **value_of(found.value, found.repairs)})


def failure_line(
    name: str | int,
    key: str,
    error: PenstockError,
    *,
    model: str | None = None,
    spent_nano: int = 0,
    columns: dict[str, Any] | None = None,
) -> bytes:
    """Write a failed row; `model` is whom it would have asked where no attempt says so."""
    last = error.attempts[-1] if error.attempts else None
    asked = model.encode("utf-8", "replace").decode() if isinstance(model, str) else model
    call = error if isinstance(error, CallError) else None
    return _encode(
        {
            "id": name,
            "model": f"{last.provider}:{last.model}" if last else asked,
            **_said(error),
            "cost": None if error.cost_nano is None else to_usd(error.cost_nano),
            "attempts": _sent(error.attempts),
            "latency_s": None,
            "error": {
                "code": error.code,
                "message": error.message,
                "status": call.status if call else None,
                "request_id": call.request_id if call else None,
                "attempts": _sent(error.attempts),
                "retriable": error.retriable,
            },
            "key": key,
            **_partly(error.cost_nano, error.attempts, spent_nano),
            **({} if columns is None else {"columns": columns}),
        }
    )


def copied_line(
    name: str | int, record: dict[str, Any], *, columns: dict[str, Any] | None, spent_nano: int = 0
) -> bytes:
    """Write a row whose question another one asked, after its line: it cost nothing and says whose answer it is."""
    line = {
        **record,
        "id": name,
        "usage": None if record["usage"] is None else {"input": 0, "output": 0},
        "cost": 0,
        "attempts": 0,
        "latency_s": None,
        "copy_of": record.get("copy_of", record["id"]),
        **_partly(0, (), spent_nano),
    }
    for field in ("columns", "cost_known", *(() if spent_nano else ("cost_before",))):
        line.pop(field, None)
    return _encode(line if columns is None else {**line, "columns": columns})


def _said(error: PenstockError) -> dict[str, Any]:
    """What came of an answer that is none, so that it can be read again without asking."""
    text, stop_reason, usage = None, None, None
    if isinstance(error, ExtractionFailed):
        text, stop_reason = error.text, error.responses[-1].stop_reason
        usage = sum((each.usage for each in error.responses[1:]), error.responses[0].usage)
    elif isinstance(error, TruncatedOutput | ModelRefused):
        said = error.partial
        text = said.text or next((call.arguments for call in said.tool_calls), "")
        stop_reason, usage = said.stop_reason, said.usage
    told = None if usage is None else {"input": 0, "output": 0, **msgspec.to_builtins(usage)}
    return {"text": text, "stop_reason": stop_reason, "usage": told}


def _parsed(text: str) -> Any:
    """Read an answer as JSON; None when it is none. The text stays beside it."""
    try:
        return msgspec.json.decode(text)
    except (msgspec.DecodeError, RecursionError):
        return None


def _sent(attempts: Sequence[Attempt]) -> int:
    """Count those that went out."""
    return sum(attempt.sent for attempt in attempts)


def known_nano(attempts: Sequence[Attempt]) -> int:
    """Sum the costs that are known, in nano-dollars."""
    return sum(attempt.cost_nano or 0 for attempt in attempts)


def _partly(cost_nano: int | None, attempts: Sequence[Attempt], spent_nano: int) -> dict[str, Any]:
    if cost_nano is not None and not spent_nano:
        return {}
    known = known_nano(attempts) if cost_nano is None else 0
    costs = {"cost_known": known, "cost_before": spent_nano}
    return {name: to_usd(nano) for name, nano in costs.items() if nano}
