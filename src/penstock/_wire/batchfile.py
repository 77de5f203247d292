"""The batch interfaces of providers: rows as lines of a file, batches as one state, results as lines.

    dialect     rows go as           what tells a batch again     limits
    openai      file, then batch     metadata                     50,000 rows, 200 MB
    groq        file, then batch     metadata                     50,000 rows, 100 MB
    together    file, then batch     its input file               50,000 rows, 100 MB
    mistral     file, then job       metadata                     1,000,000 rows; 200 MB here
    anthropic   within the create    size, time, then custom_ids  100,000 rows, 256 MB

Result lines come in any order. A state that nobody knows is 'unknown' and no end. Every line is looked at before it is
sent, because one bad line fails a whole batch at OpenAI.

Source: reference/batch.md section 3; types of openai 3.52, anthropic 2.11, groq 1.7, together 3.1, mistralai 3.7.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final, Literal, NamedTuple

import msgspec

from ..errors import CallError, ConfigError, InvalidRequest, ServerFault
from . import classify
from .protocol import JSON, FileBody, Outbound, Provider

State = Literal["submitted", "running", "ending", "completed", "partial", "failed", "cancelled", "unknown"]
ENDED: Final = frozenset({"completed", "partial", "failed", "cancelled"})
"""States in which nothing more comes; results may be there in each of them."""

TAG: Final = "penstock_shard"
"""The name of the metadata that tells a batch of ours again."""

QUEUE_FULL: Final = "token_limit_exceeded"
"""What a batch fails with that goes beyond the tokens which may wait."""

PAGE: Final = 100
ENDPOINT: Final = "/v1/chat/completions"

_MB: Final = 1_000_000
_BOUNDARY: Final = "penstock-8d2f61c0a94e"
_CUSTOM_ID: Final = re.compile(r"[a-zA-Z0-9_-]{1,64}")
_STATES: Final[dict[str, State]] = {
    "validating": "submitted",
    "queued": "submitted",
    "pending": "submitted",
    "in_progress": "running",
    "running": "running",
    "processing": "running",
    "finalizing": "ending",
    "canceling": "ending",
    "cancelling": "ending",
    "cancellation_requested": "ending",
    "completed": "completed",
    "succeeded": "completed",
    "success": "completed",
    "ended": "completed",
    "complete": "completed",
    "expired": "partial",
    "partially_succeeded": "partial",
    "timeout_exceeded": "partial",
    "failed": "failed",
    "cancelled": "cancelled",
    "canceled": "cancelled",
}


class Dialect(msgspec.Struct, frozen=True, kw_only=True):
    """How one batch interface differs from the others.

    `bare` lines have neither method nor URL, and with `model_outside` no model either. `inline` rows go within the
    create. `tagged`: a batch carries metadata.
    """

    name: str
    rows_max: int
    bytes_max: int
    batches: str = "/batches"
    bare: bool = False
    model_outside: bool = False
    inline: bool = False
    tagged: bool = True


_DIALECTS: Final = {
    "openai": Dialect(name="openai", rows_max=50_000, bytes_max=200 * _MB),
    "groq": Dialect(name="groq", rows_max=50_000, bytes_max=100 * _MB),
    "together": Dialect(name="together", rows_max=50_000, bytes_max=100 * _MB, bare=True, tagged=False),
    "mistral": Dialect(
        name="mistral", rows_max=1_000_000, bytes_max=200 * _MB, batches="/batch/jobs", bare=True, model_outside=True
    ),
    "anthropic": Dialect(
        name="anthropic",
        rows_max=100_000,
        bytes_max=256 * _MB,
        batches="/v1/messages/batches",
        inline=True,
        tagged=False,
    ),
}


class Problem(NamedTuple):
    """Why a batch failed; `line` counts from 1."""

    code: str
    message: str
    line: int | None = None


class Seen(msgspec.Struct, frozen=True, kw_only=True):
    """A batch as its provider shows it.

    `word` is the provider's own for its state. `done` of `rows` have a result, None where that is not told. `files` are
    those with results, of answers and of errors. `created_s` and `ended_s` are epoch seconds.
    """

    id: str
    state: State
    word: str
    rows: int | None = None
    done: int | None = None
    files: tuple[str, ...] = ()
    problems: tuple[Problem, ...] = ()
    tag: str | None = None
    input_file: str | None = None
    created_s: float | None = None
    ended_s: float | None = None


class Result(NamedTuple):
    """A line of results: the body of an answer, or why there is none.

    `error` None and `body` None: the row was not executed, and `why` says so; it can be asked again.
    """

    custom_id: str
    body: bytes | None = None
    error: CallError | None = None
    why: str = ""
    request_id: str | None = None


def dialect(provider: Provider) -> Dialect | None:
    """Return the dialect of a provider, None where it has no batch interface that Penstock knows.

    Rows of a batch are requests of Chat Completions or Messages, whatever the provider's row says of single calls.
    """
    return None if provider.wire == "openai_responses" else _DIALECTS.get(provider.batch)


# --- rows out ------------------------------------------------------------------------------------------------------


class _Body(msgspec.Struct):
    model: str | None = None
    messages: list[msgspec.Raw] = []
    stream: bool | None = None


_body = msgspec.json.Decoder(_Body).decode
_fields = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_encode = msgspec.json.encode


def line(kind: Dialect, custom_id: str, body: bytes, model: str) -> bytes:
    """Write a row with the body of its request as a line, without its end.

    Raises: InvalidRequest for a row that would fail the whole batch.
    """
    if not _CUSTOM_ID.fullmatch(custom_id):
        raise ConfigError(f"custom_id {custom_id!r} does not follow the rule of batches (a bug in Penstock)")
    try:
        found = _body(body)
    except msgspec.ValidationError as error:
        raise InvalidRequest(f"the body cannot go into a batch: {error}; change the row's extra", model=model) from None
    if found.model != model:
        raise InvalidRequest(
            f"the body names the model {found.model!r}; a batch is for one model, {model!r}", model=model
        )
    if not found.messages:
        raise InvalidRequest("the body has no messages, which would fail its whole batch", model=model)
    if found.stream:
        raise InvalidRequest("the body asks for a stream; an answer of a batch is whole", model=model)
    if kind.model_outside:
        rest = _fields(body)
        del rest["model"]
        body = _encode(rest)
    name = custom_id.encode()
    if kind.inline:
        written = b'{"custom_id":"' + name + b'","params":' + body + b"}"
    elif kind.bare:
        written = b'{"custom_id":"' + name + b'","body":' + body + b"}"
    else:
        url = ENDPOINT.encode()
        written = b'{"custom_id":"' + name + b'","method":"POST","url":"' + url + b'","body":' + body + b"}"
    if len(written) > kind.bytes_max:
        raise InvalidRequest(f"the row has {len(written):,} bytes, more than a whole batch may have", model=model)
    return written


def between(kind: Dialect) -> bytes:
    """What stands between two lines."""
    return b",\n" if kind.inline else b"\n"


# --- requests ------------------------------------------------------------------------------------------------------


def _root(provider: Provider) -> str:
    return provider.path.removesuffix("/chat/completions") if provider.wire == "openai_chat" else ""


def upload(kind: Dialect, provider: Provider, path: str, size: int, name: str) -> Outbound:
    """Send the file of a batch, where that comes before its create; at Together only its name, see `put`."""
    fields = {"purpose": "batch"}
    if kind.name == "together":
        fields = {"purpose": "batch-api", "file_name": name, "file_type": "jsonl"}
    head = b"".join(
        f'--{_BOUNDARY}\r\nContent-Disposition: form-data; name="{key}"\r\n\r\n{value}\r\n'.encode()
        for key, value in fields.items()
    )
    tail = f"--{_BOUNDARY}--\r\n".encode()
    headers = {"content-type": f"multipart/form-data; boundary={_BOUNDARY}"}
    if kind.name == "together":
        return Outbound(path=f"{_root(provider)}/files", body=head + tail, headers=headers)
    head += (
        f'--{_BOUNDARY}\r\nContent-Disposition: form-data; name="file"; filename="{name}"\r\n'
        "Content-Type: application/jsonl\r\n\r\n"
    ).encode()
    return Outbound(
        path=f"{_root(provider)}/files",
        body=b"",
        file=_file_body(path, size, head, b"\r\n" + tail),
        headers=headers,
    )


def _file_body(path: str, size: int, head: bytes, tail: bytes) -> FileBody:
    return FileBody(path=path, size=len(head) + size + len(tail), head=head, tail=tail)


def put(path: str, size: int) -> Outbound:
    """Put a file where the provider said, which is no place for a key."""
    headers = {"content-type": "application/octet-stream"}
    return Outbound(path="", method="PUT", body=b"", file=_file_body(path, size, b"", b""), headers=headers)


def create(
    kind: Dialect, provider: Provider, model: str, tag: str, *, file_id: str | None, path: str, size: int
) -> Outbound:
    """Create a batch of an uploaded file, or of the rows in a file of ours; its metadata carry the tag."""
    if kind.inline:
        rows = _file_body(path, size, b'{"requests":[', b"]}")
        return Outbound(path=kind.batches, body=b"", file=rows)
    asked: JSON = {"endpoint": ENDPOINT}
    if kind.name == "mistral":
        asked |= {"input_files": [file_id], "model": model, "timeout_hours": 24}
    else:
        asked |= {"input_file_id": file_id, "completion_window": "24h"}
    if kind.tagged:
        asked["metadata"] = {TAG: tag}
    return Outbound(path=f"{_root(provider)}{kind.batches}", body=_encode(asked))


def retrieve(kind: Dialect, provider: Provider, batch_id: str) -> Outbound:
    """Ask how a batch stands."""
    return Outbound(path=f"{_root(provider)}{kind.batches}/{batch_id}", body=b"", method="GET")


def cancel(kind: Dialect, provider: Provider, batch_id: str) -> Outbound:
    """Ask for the end of a batch."""
    return Outbound(path=f"{_root(provider)}{kind.batches}/{batch_id}/cancel", body=b"")


def listing(kind: Dialect, provider: Provider, after: str | None) -> Outbound:
    """Ask for a page of all batches, the newest first; `after` is what the page before gave."""
    path = f"{_root(provider)}{kind.batches}"
    match kind.name:
        case "together":
            query = ""
        case "mistral":
            query = f"?page_size={PAGE}&page={after or 0}"
        case "anthropic":
            query = f"?limit={PAGE}" + (f"&after_id={after}" if after else "")
        case _:
            query = f"?limit={PAGE}" + (f"&after={after}" if after else "")
    return Outbound(path=path + query, body=b"", method="GET")


def downloads(kind: Dialect, provider: Provider, seen: Seen) -> tuple[Outbound, ...]:
    """Ask for the results of a batch that ended, always at the lane's own address: its key goes nowhere else."""
    if kind.inline:
        places = [f"{kind.batches}/{seen.id}/results"]
    else:
        places = [f"{_root(provider)}/files/{name}/content" for name in seen.files]
    return tuple(Outbound(path=place, body=b"", method="GET") for place in places)


# --- answers -------------------------------------------------------------------------------------------------------


def file_id_of(body: bytes, provider: Provider) -> str:
    """Read the id of an uploaded file.

    Raises: ServerFault.
    """
    found = _object(body, provider).get("id")
    if not isinstance(found, str) or not found:
        raise ServerFault("the answer to the upload has no id of a file", provider=provider.name)
    return found


def seen_of(kind: Dialect, body: bytes, provider: Provider) -> Seen:
    """Read a batch.

    Raises: ServerFault for what is none.
    """
    found = _object(body, provider)
    job = found.get("job")
    return _seen(kind, job if kind.name == "together" and isinstance(job, dict) else found, provider)


def page_of(kind: Dialect, body: bytes, provider: Provider, after: str | None) -> tuple[list[Seen], str | None]:
    """Read a page of batches, and what asks for the next one, None for the last.

    Raises: ServerFault for what is none.
    """
    found = _json(body, provider)
    rows = found if isinstance(found, list) else found.get("data") if isinstance(found, dict) else None
    if not isinstance(rows, list):
        raise ServerFault("the list of batches has none", provider=provider.name)
    seen = [_seen(kind, row, provider) for row in rows if isinstance(row, dict)]
    if not isinstance(found, dict) or not seen:
        return seen, None
    if kind.name == "mistral":
        page = int(after or 0) + 1
        return seen, str(page) if page * PAGE < _count(found.get("total")) else None
    return seen, seen[-1].id if found.get("has_more") else None


def _json(body: bytes, provider: Provider) -> Any:
    try:
        return msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise classify.not_an_answer(body, provider) from None


def _object(body: bytes, provider: Provider) -> JSON:
    found = _json(body, provider)
    if not isinstance(found, dict):
        raise classify.not_an_answer(body, provider)
    return found


def _seen(kind: Dialect, found: JSON, provider: Provider) -> Seen:
    name = found.get("id")
    if not isinstance(name, str) or not name:
        raise ServerFault("a batch without an id came from the provider", provider=provider.name)
    word = str(found.get("processing_status" if kind.inline else "status") or "")
    metadata = found.get("metadata")
    tag = metadata.get(TAG) if isinstance(metadata, dict) else None
    rows, done = _progress(kind, found)
    named = ("output_file", "error_file") if kind.name == "mistral" else ("output_file_id", "error_file_id")
    inputs = found.get("input_files")
    file = found.get("input_file_id") or (inputs[0] if isinstance(inputs, list) and inputs else None)
    ended = [found.get(stamp) for stamp in ("completed_at", "expired_at", "cancelled_at", "failed_at", "ended_at")]
    return Seen(
        id=name,
        state=_state(kind, word, found),
        word=word,
        rows=rows,
        done=done,
        files=tuple(str(found[field]) for field in named if found.get(field)),
        problems=_problems(found),
        tag=tag if isinstance(tag, str) else None,
        input_file=file if isinstance(file, str) else None,
        created_s=_time(found.get("created_at")),
        ended_s=next((when for when in map(_time, ended) if when is not None), None),
    )


def _state(kind: Dialect, word: str, found: JSON) -> State:
    state = _STATES.get(word.lower(), "unknown")
    counts = found.get("request_counts")
    if kind.inline and state == "completed" and isinstance(counts, dict):
        if _count(counts.get("canceled")):
            return "cancelled"
        return "partial" if _count(counts.get("expired")) else "completed"
    return state


def _progress(kind: Dialect, found: JSON) -> tuple[int | None, int | None]:
    counts = found.get("request_counts")
    if kind.inline:
        if not isinstance(counts, dict):
            return None, None
        rows = sum(map(_count, counts.values()))
        return rows, rows - _count(counts.get("processing"))
    if isinstance(counts, dict):
        return _count(counts.get("total")) or None, _count(counts.get("completed")) + _count(counts.get("failed"))
    if "total_requests" in found:
        return _count(found["total_requests"]), _count(found.get("completed_requests"))
    return None, None


def _problems(found: JSON) -> tuple[Problem, ...]:
    errors = found.get("errors")
    rows = errors.get("data") if isinstance(errors, dict) else errors
    if isinstance(rows, list):
        return tuple(
            Problem(
                str(row.get("code") or ""),
                str(row.get("message") or ""),
                row["line"] if isinstance(row.get("line"), int) else None,
            )
            for row in rows
            if isinstance(row, dict)
        )
    alone = found.get("error")
    return (Problem("", alone),) if isinstance(alone, str) and alone else ()


def _count(value: object) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else 0


def _time(value: object) -> float | None:
    if isinstance(value, int | float) and not isinstance(value, bool):
        return float(value)
    if not isinstance(value, str):
        return None
    try:
        return datetime.fromisoformat(value).timestamp()
    except ValueError:
        return None


# --- rows in -------------------------------------------------------------------------------------------------------

_ABSENT: Final = msgspec.Raw()


class _Answer(msgspec.Struct):
    status_code: int = 0
    request_id: str | None = None
    body: msgspec.Raw = _ABSENT


class _Line(msgspec.Struct):
    custom_id: str
    response: _Answer | None = None
    error: dict[str, Any] | str | None = None


class _Message(msgspec.Struct):
    type: str = ""
    message: msgspec.Raw = _ABSENT
    error: msgspec.Raw = _ABSENT


class _Row(msgspec.Struct):
    custom_id: str
    result: _Message


_line = msgspec.json.Decoder(_Line).decode
_row = msgspec.json.Decoder(_Row).decode
_NOT_EXECUTED: Final = frozenset({"batch_expired", "batch_cancelled", "batch_canceled"})


def result_of(kind: Dialect, data: bytes, provider: Provider, model: str) -> Result | None:
    """Read a line of results; None for one that cannot be read, whose row is then missing."""
    try:
        return _message_result(_row(data), provider) if kind.inline else _file_result(_line(data), provider, model)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None


def _message_result(row: _Row, provider: Provider) -> Result:
    result = row.result
    match result.type:
        case "succeeded":
            return Result(row.custom_id, bytes(result.message))
        case "errored":
            error = classify.inside(bytes(result.error), provider, certain=True)
            return Result(row.custom_id, error=error)
        case word:
            return Result(row.custom_id, why=f"the batch ended before it was executed ({word})")


def _file_result(row: _Line, provider: Provider, model: str) -> Result:
    answer = row.response
    if answer is not None and answer.status_code:
        body = bytes(answer.body)
        if 200 <= answer.status_code < 300:
            return Result(row.custom_id, body, request_id=answer.request_id)
        error = classify.classify(answer.status_code, {}, body, provider=provider, model=model, wall_s=0.0)
        error.request_id = error.request_id or answer.request_id
        return Result(row.custom_id, error=error)
    said = row.error if isinstance(row.error, dict) else {"message": row.error or "no result and no error"}
    code = str(said.get("code") or "")
    if code in _NOT_EXECUTED or row.error is None:
        return Result(row.custom_id, why=str(said.get("message") or code))
    return Result(row.custom_id, error=classify.inside(_encode({"error": said}), provider, certain=True))


def unsound(problems: Mapping[int, Problem], number: int, provider: Provider, model: str) -> CallError | None:
    """Return the error of a line (from 1) that failed its batch, None for a line that did nothing wrong."""
    found = problems.get(number)
    if found is None:
        return None
    return InvalidRequest(
        f"{found.message or found.code}; change the request",
        provider=provider.name,
        model=model,
        provider_code=found.code or None,
    )
