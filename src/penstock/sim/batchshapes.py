"""How each provider writes its batches, files and result lines.

Source: types of openai 3.52, groq 1.7, together 3.1, mistralai 3.7 and anthropic 2.11.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import msgspec

from penstock.sim.batch_settings import Spoil
from penstock.sim.batchrows import Answered
from penstock.sim.batchstore import ENDED, Batch, Line, StoredFile

_TOGETHER = {
    "validating": "VALIDATING",
    "failed": "FAILED",
    "in_progress": "IN_PROGRESS",
    "finalizing": "IN_PROGRESS",
    "cancelling": "IN_PROGRESS",
    "completed": "COMPLETED",
    "expired": "EXPIRED",
    "cancelled": "CANCELLED",
}
_MISTRAL = {
    "validating": "QUEUED",
    "failed": "FAILED",
    "in_progress": "RUNNING",
    "finalizing": "RUNNING",
    "cancelling": "CANCELLATION_REQUESTED",
    "completed": "SUCCESS",
    "expired": "TIMEOUT_EXCEEDED",
    "cancelled": "CANCELLED",
}
_STAMPS = {
    "failed": "failed_at",
    "completed": "completed_at",
    "expired": "expired_at",
    "cancelled": "cancelled_at",
}
_EXPIRED = "This request could not be executed before the completion window expired."


def _time(when: float | None) -> str | None:
    return None if when is None else datetime.fromtimestamp(when, UTC).isoformat().replace("+00:00", "Z")


def file_object(file: StoredFile) -> dict[str, Any]:
    """A file as OpenAI, Groq and Mistral write it."""
    return {
        "id": file.ident,
        "object": "file",
        "bytes": len(file.data),
        "size_bytes": len(file.data),
        "created_at": int(file.created),
        "filename": file.name,
        "purpose": file.purpose,
        "status": "processed",
        "sample_type": "batch_request",
        "source": "upload",
    }


def openai(batch: Batch, odd_state: str = "") -> dict[str, Any]:
    """A batch as OpenAI and Groq write it."""
    found: dict[str, Any] = {
        "id": batch.ident,
        "object": "batch",
        "endpoint": batch.endpoint,
        "errors": None,
        "input_file_id": batch.input_files[0],
        "completion_window": batch.window,
        "status": odd_state if odd_state and batch.state == "in_progress" else batch.state,
        "output_file_id": batch.output_file,
        "error_file_id": batch.error_file,
        "created_at": int(batch.created),
        "expires_at": int(batch.created + batch.window_s),
        "cancelling_at": None if batch.cancelling is None else int(batch.cancelling),
        "request_counts": {"total": 0, "completed": 0, "failed": 0},
        "metadata": batch.metadata,
    }
    if batch.ended is not None:
        found[_STAMPS[batch.state]] = int(batch.ended)
    if batch.state == "failed":
        data = [{"code": p.code, "message": p.message, "line": p.line, "param": p.param} for p in batch.problems]
        found["errors"] = {"object": "list", "data": data}
    elif batch.state != "validating":
        found["request_counts"] = {
            "total": len(batch.lines),
            "completed": batch.succeeded,
            "failed": len(batch.rows) - batch.succeeded,
        }
    return found


def together(batch: Batch) -> dict[str, Any]:
    """A job as Together writes it."""
    return {
        "id": batch.ident,
        "user_id": "user-sim",
        "input_file_id": batch.input_files[0],
        "file_size_bytes": sum(len(line.data) for line in batch.lines),
        "status": _TOGETHER[batch.state],
        "job_deadline": _time(batch.created + batch.window_s),
        "created_at": _time(batch.created),
        "endpoint": batch.endpoint,
        "progress": 100.0 * len(batch.rows) / max(1, len(batch.lines)),
        "model_id": batch.model,
        "output_file_id": batch.output_file,
        "error_file_id": batch.error_file,
        "error": batch.problems[0].message if batch.state == "failed" else "",
        "completed_at": _time(batch.ended),
    }


def mistral(batch: Batch) -> dict[str, Any]:
    """A job as Mistral writes it."""
    return {
        "id": batch.ident,
        "object": "batch",
        "input_files": list(batch.input_files),
        "metadata": batch.metadata,
        "endpoint": batch.endpoint,
        "model": batch.model,
        "agent_id": None,
        "output_file": batch.output_file,
        "error_file": batch.error_file,
        "errors": [{"message": p.message, "count": 1} for p in batch.problems],
        "status": _MISTRAL[batch.state],
        "created_at": int(batch.created),
        "total_requests": len(batch.lines),
        "completed_requests": len(batch.rows),
        "succeeded_requests": batch.succeeded,
        "failed_requests": len(batch.rows) - batch.succeeded,
        "started_at": int(batch.created),
        "completed_at": None if batch.ended is None else int(batch.ended),
    }


def anthropic(batch: Batch, origin: str) -> dict[str, Any]:
    """A message batch as Anthropic writes it: nothing is counted before all of it ended."""
    ended = batch.state in ENDED
    left = len(batch.lines) - len(batch.rows)
    counts = {"processing": len(batch.lines), "succeeded": 0, "errored": 0, "canceled": 0, "expired": 0}
    if ended:
        errored = len(batch.rows) - batch.succeeded
        counts = {"processing": 0, "succeeded": batch.succeeded, "errored": errored, "canceled": 0, "expired": 0}
        counts["canceled" if batch.state == "cancelled" else "expired"] = left
    return {
        "id": batch.ident,
        "type": "message_batch",
        "processing_status": "ended" if ended else "canceling" if batch.cancelling else "in_progress",
        "request_counts": counts,
        "created_at": _time(batch.created),
        "expires_at": _time(batch.created + batch.window_s),
        "ended_at": _time(batch.ended),
        "cancel_initiated_at": _time(batch.cancelling),
        "archived_at": None,
        "results_url": f"{origin}/v1/messages/batches/{batch.ident}/results" if ended else None,
    }


def result_files(batch: Batch, spoil: Spoil) -> tuple[bytes, bytes]:
    """The output file and the error file of an OpenAI-shaped batch that ended, newest rows first."""
    good: list[bytes] = []
    bad: list[bytes] = []
    for at in reversed(range(len(batch.rows))):
        line = _result(batch, at, batch.lines[at], batch.rows[at])
        (good if batch.rows[at].status == 200 else bad).append(line)
    if batch.state == "expired":
        error = {"code": "batch_expired", "message": _EXPIRED}
        rest = batch.lines[len(batch.rows) :]
        bad += [_line(batch, at, line, None, error) for at, line in enumerate(rest, len(batch.rows))]
    return _spoilt(good, spoil), b"".join(bad)


def _result(batch: Batch, at: int, line: Line, row: Answered) -> bytes:
    response = {"status_code": row.status, "request_id": f"req_{batch.ident}_{at}", "body": msgspec.Raw(row.body)}
    return _line(batch, at, line, response, None)


def _line(batch: Batch, at: int, line: Line, response: object, error: object) -> bytes:
    ident = f"batch_req_{batch.ident}_{at}"
    found = {"id": ident, "custom_id": line.custom_id, "response": response, "error": error}
    return msgspec.json.encode(found) + b"\n"


def message_results(batch: Batch, spoil: Spoil) -> bytes:
    """The results of a message batch that ended, newest rows first; those that nobody answered come last."""
    found: list[bytes] = []
    for at in reversed(range(len(batch.rows))):
        row = batch.rows[at]
        if row.status == 200:
            result: dict[str, Any] = {"type": "succeeded", "message": msgspec.Raw(row.body)}
        else:
            result = {"type": "errored", "error": msgspec.Raw(row.body)}
        found.append(msgspec.json.encode({"custom_id": batch.lines[at].custom_id, "result": result}) + b"\n")
    rest = {"type": "canceled" if batch.state == "cancelled" else "expired"}
    found += [
        msgspec.json.encode({"custom_id": line.custom_id, "result": rest}) + b"\n"
        for line in batch.lines[len(batch.rows) :]
    ]
    return _spoilt(found, spoil)


def _spoilt(lines: list[bytes], spoil: Spoil) -> bytes:
    if not lines:
        return b""
    first, rest = lines[0], b"".join(lines[1:])
    match spoil:
        case "missing":
            return rest
        case "duplicate":
            return first + first + rest
        case "unknown":
            found = msgspec.json.decode(first)
            return msgspec.json.encode({**found, "custom_id": "nobody-asked-this"}) + b"\n" + rest
        case "torn":
            return first[: len(first) // 2] + b"\n" + rest
        case "":
            return first + rest
