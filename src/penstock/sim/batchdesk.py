"""The batch interfaces of the providers: files, batches and message batches, by method and path.

    OpenAI     /v1/files  /v1/batches                 Groq      /openai/v1/files  /openai/v1/batches
    Together   /together/v1/files  …/v1/batches       Mistral   /v1/files  /v1/batch/jobs
    Anthropic  /v1/messages/batches

Together takes its files as it does: the URL comes as a redirect, the file follows as PUT without a key.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple

import msgspec

from penstock.sim import batchshapes
from penstock.sim.batchrows import Answered, Dialect, answer_row, batch_cost, refused
from penstock.sim.batchstore import ENDED, Batch, BatchStore, Line, Problem, StoredFile, read_lines
from penstock.sim.bill import Attempt, Bill
from penstock.sim.config import Protocol, SimConfig
from penstock.sim.plan import Reject, SimRequest

_PATH: Final = re.compile(
    r"(?P<root>/openai/v1|/together/v1|/v1|)/(?:"
    r"(?P<files>files)(?:/(?P<file>[^/]+))?(?P<content>/content|/preprocess)?|"
    r"(?P<put>uploads)/(?P<upload>[^/]+)|"
    r"(?P<batches>batches|batch/jobs|messages/batches)(?:/(?P<batch>[^/]+))?(?P<more>/cancel|/results)?)"
)
_CHAT: Final = "/v1/chat/completions"
_ID: Final = re.compile(r"[a-zA-Z0-9_-]{1,64}")

Fault = Callable[[Protocol, str, bytes], Reject | None]


class Page(NamedTuple):
    """An answer: its status, its body, and headers beside the usual ones."""

    status: int
    body: bytes
    headers: tuple[tuple[str, str], ...] = ()


class BatchDesk:
    """Answers what is asked of the batch interfaces; `fault` says what a row is refused for on order, if anything."""

    def __init__(self, config: SimConfig, bill: Bill, fault: Fault) -> None:
        self._config = config
        self._bill = bill
        self._fault = fault
        self._count = 0
        self.store = BatchStore(config.batches, self._row, self._ended)

    @staticmethod
    def takes(path: str) -> bool:
        """Whether a path is one of these interfaces."""
        return _PATH.fullmatch(path) is not None

    @staticmethod
    def is_open(path: str) -> bool:
        """Whether a path needs no key: the place where a file is put."""
        found = _PATH.fullmatch(path)
        return found is not None and found["put"] is not None

    def answer(self, request: SimRequest, credential: str, now: float) -> Page:
        """Answer one request.

        Raises: Reject.
        """
        self.store.advance(now)
        found = _PATH.fullmatch(request.path.rstrip("/"))
        assert found is not None
        if found["put"] is not None:
            return self._put(request, found["upload"])
        dialect = _dialect(found["root"], found["batches"] or "", request)
        if found["files"] is not None:
            return self._files(request, dialect, credential, found, now)
        if found["batch"] is None:
            if request.method == "POST":
                return self._create(request, dialect, credential, now)
            return self._list(request, dialect, credential, now)
        return self._one(request, dialect, credential, found, now)

    # --- files -----------------------------------------------------------------------------------------------------

    def _files(self, request: SimRequest, dialect: Dialect, credential: str, found: re.Match[str], now: float) -> Page:
        name = found["file"]
        if name is None and request.method == "POST":
            return self._upload(request, dialect, credential, now)
        if name is None:
            mine = [file for file in self.store.files.values() if file.credential == credential]
            return _json({"object": "list", "data": [batchshapes.file_object(file) for file in mine]})
        file = self._file(name, credential, now)
        if found["content"] == "/content":
            return Page(200, file.data)
        if request.method == "DELETE":
            del self.store.files[name]
            return _json({"id": name, "object": "file", "deleted": True})
        return _json(batchshapes.file_object(file))

    def _file(self, name: str, credential: str, now: float) -> StoredFile:
        file = self.store.files.get(name)
        fresh = file is not None and now < file.created + self._config.batches.visible_after_s
        if file is None or fresh or file.credential != credential:
            raise Reject(404, f"No such File object: {name}", param="id")
        return file

    def _upload(self, request: SimRequest, dialect: Dialect, credential: str, now: float) -> Page:
        fields = _form(request)
        purpose = fields.get("purpose", ("", b""))[1].decode("utf-8", "replace")
        if purpose != ("batch-api" if dialect == "together" else "batch"):
            raise Reject(400, f"'{purpose}' is not one of the purposes", param="purpose")
        file = StoredFile(self._ident("file-"), credential, "rows.jsonl", purpose, now)
        if dialect == "together":
            self.store.files[file.ident] = file
            origin = _origin(request)
            place = (("location", f"{origin}/uploads/{file.ident}"), ("x-together-file-id", file.ident))
            return Page(302, b"", place)
        if "file" not in fields:
            raise Reject(400, "Missing required parameter: 'file'.", param="file")
        file.name, file.data = fields["file"]
        self.store.files[file.ident] = file
        return _json(batchshapes.file_object(file))

    def _put(self, request: SimRequest, name: str) -> Page:
        file = self.store.files.get(name)
        if request.method != "PUT" or file is None:
            raise Reject(404, "There is no such place")
        if "authorization" in request.headers:
            raise Reject(400, "Only one auth mechanism allowed: a signed URL takes no Authorization header")
        file.data = request.body
        return Page(200, b"")

    # --- batches ---------------------------------------------------------------------------------------------------

    def _create(self, request: SimRequest, dialect: Dialect, credential: str, now: float) -> Page:
        body = _object(request.body)
        if dialect == "anthropic":
            batch = self._message_batch(request, body, credential, now)
        else:
            batch = self._file_batch(body, dialect, credential, now)
        self._enqueue(batch, now)
        if dialect == "together":
            return _json({"job": batchshapes.together(batch), "warning": None}, status=201)
        return _json(self._shape(batch, request))

    def _file_batch(self, body: Mapping[str, Any], dialect: Dialect, credential: str, now: float) -> Batch:
        names = body.get("input_files") if dialect == "mistral" else [body.get("input_file_id")]
        if not isinstance(names, list) or not names or not all(isinstance(name, str) for name in names):
            raise Reject(400, "Missing required parameter: 'input_file_id'.", param="input_file_id")
        endpoint = body.get("endpoint")
        if endpoint != _CHAT:
            raise Reject(400, f"Invalid value: '{endpoint}'. Supported values are: '{_CHAT}'.", param="endpoint")
        window_s = _window_s(body, dialect)
        metadata = body.get("metadata")
        if metadata is not None and (not isinstance(metadata, dict) or len(metadata) > 16):
            raise Reject(400, "Invalid 'metadata': at most 16 pairs.", param="metadata")
        data = b"".join(self._file(name, credential, now).data for name in names)
        lines, problems = read_lines(data, endpoint, bare=dialect in ("mistral", "together"))
        settings = self._config.batches
        if len(lines) > settings.rows_max:
            problems.append(Problem("too_many_tasks", f"A batch has at most {settings.rows_max} requests."))
        if len(data) > settings.bytes_max:
            problems.append(Problem("file_too_large", f"A file has at most {settings.bytes_max} bytes."))
        return Batch(
            ident=self._ident("batch_"),
            dialect=dialect,
            credential=credential,
            created=now,
            endpoint=endpoint,
            lines=lines,
            problems=problems,
            input_files=tuple(names),
            window=str(body.get("completion_window") or "24h"),
            window_s=window_s,
            metadata=metadata,
            model=str(body.get("model") or (lines[0].body.get("model") if lines else "")),
        )

    def _message_batch(self, request: SimRequest, body: Mapping[str, Any], credential: str, now: float) -> Batch:
        rows = body.get("requests")
        if not isinstance(rows, list) or not rows:
            raise Reject(
                400, "requests: Field required" if rows is None else "requests: List should have at least 1 item"
            )
        settings = self._config.batches
        if len(rows) > settings.rows_max or len(request.body) > settings.bytes_max:
            raise Reject(413, "Request exceeds the maximum size")
        lines: list[Line] = []
        seen: set[str] = set()
        for at, row in enumerate(rows):
            name = row.get("custom_id") if isinstance(row, dict) else None
            if not isinstance(name, str) or not _ID.fullmatch(name):
                raise Reject(400, f"requests.{at}.custom_id: String should match pattern '^[a-zA-Z0-9_-]{{1,64}}$'")
            if name in seen:
                raise Reject(400, f"requests.{at}.custom_id: custom_id {name!r} is not unique")
            seen.add(name)
            if not isinstance(row.get("params"), dict):
                raise Reject(400, f"requests.{at}.params: Field required")
            lines.append(Line(name, row["params"], msgspec.json.encode(row["params"])))
        model = str(lines[0].body.get("model") or "")
        return Batch(self._ident("msgbatch_"), "anthropic", credential, now, "/v1/messages", lines, model=model)

    def _enqueue(self, batch: Batch, now: float) -> None:
        """Put a batch into the queue, where it may be refused, or fail once it is validated."""
        settings = self._config.batches
        rows, tokens = self.store.queued(batch.credential, batch.model or "")
        if settings.queue_rows is not None and rows + len(batch.lines) > settings.queue_rows:
            raise Reject(
                429,
                f"Your organization has {rows} requests in its batch queue, of at most {settings.queue_rows}.",
                kind="requests",
                code="rate_limit_exceeded",
                headers=(("retry-after", "1"),),
            )
        if settings.queue_tokens is not None and tokens + batch.tokens > settings.queue_tokens:
            words = (
                f"Enqueued token limit reached for {batch.model} in organization org-sim. Limit: "
                f"{settings.queue_tokens:,} enqueued tokens. Please try again once some in_progress batches have been "
                "completed."
            )
            batch.problems = [*batch.problems, Problem("token_limit_exceeded", words)]
        self.store.batches[batch.ident] = batch
        self.store.advance(now)

    def _list(self, request: SimRequest, dialect: Dialect, credential: str, now: float) -> Page:
        found = self.store.listed(credential, dialect, now)
        query = request.query
        if dialect == "together":
            return _json([batchshapes.together(batch) for batch in found])
        if dialect == "mistral":
            size, page = int(query.get("page_size", "100")), int(query.get("page", "0"))
            shown = found[page * size : (page + 1) * size]
            data = [batchshapes.mistral(batch) for batch in shown]
            return _json({"object": "list", "data": data, "total": len(found)})
        limit = int(query.get("limit", "20"))
        after = query.get("after_id" if dialect == "anthropic" else "after")
        start = next((at + 1 for at, batch in enumerate(found) if batch.ident == after), 0)
        shown = found[start : start + limit]
        ids = [batch.ident for batch in shown]
        return _json(
            {
                **({} if dialect == "anthropic" else {"object": "list"}),
                "data": [self._shape(batch, request) for batch in shown],
                "first_id": ids[0] if ids else None,
                "last_id": ids[-1] if ids else None,
                "has_more": start + limit < len(found),
            }
        )

    def _one(self, request: SimRequest, dialect: Dialect, credential: str, found: re.Match[str], now: float) -> Page:
        name = found["batch"]
        batch = self.store.batches.get(name)
        if batch is None or batch.credential != credential or batch.dialect != dialect:
            raise Reject(404, f"No batch found with id '{name}'.")
        if found["more"] == "/cancel":
            if batch.state in ENDED and dialect != "anthropic":
                raise Reject(409, f"Cannot cancel a batch with status '{batch.state}'.", code="invalid_status")
            if batch.state not in ENDED and batch.cancelling is None:
                batch.cancelling = now
                self.store.advance(now)
        elif found["more"] == "/results":
            if batch.state not in ENDED:
                raise Reject(404, "The results of this batch are not there yet.")
            return Page(200, batchshapes.message_results(batch, self._config.batches.spoil))
        elif request.method == "DELETE":
            if batch.state not in ENDED:
                raise Reject(409, "A batch that has not ended cannot be deleted; cancel it first.")
            del self.store.batches[name]
            return _json({"id": name, "type": "message_batch_deleted"})
        return _json(self._shape(batch, request))

    def _shape(self, batch: Batch, request: SimRequest) -> dict[str, Any]:
        settings = self._config.batches
        match batch.dialect:
            case "anthropic":
                return batchshapes.anthropic(batch, settings.results_host or _origin(request))
            case "mistral":
                return batchshapes.mistral(batch)
            case "together":
                return batchshapes.together(batch)
            case _:
                return batchshapes.openai(batch, settings.odd_state)

    # --- rows ------------------------------------------------------------------------------------------------------

    def _row(self, batch: Batch, line: Line, now: float) -> Answered:
        ident = f"{batch.ident}_{len(batch.rows)}"
        body = line.body if "model" in line.body else {**line.body, "model": batch.model}
        ordered = self._fault(batch.protocol, str(body.get("model") or ""), line.data)
        if ordered is not None:
            row = refused(batch.protocol, ordered, ident)
        else:
            row = answer_row(self._config, batch.protocol, body, ident, now)
        self._bill.add(
            Attempt(
                no=0,
                request_id=ident,
                arrived=batch.created,
                ended=now,
                protocol=batch.protocol,
                path=batch.endpoint,
                model=row.model or str(body.get("model") or ""),
                credential=batch.credential,
                status=row.status,
                fault="batch",
                stream=False,
                aborted=False,
                input_tokens=row.usage.input,
                cache_read_tokens=row.usage.cache_read,
                cache_write_tokens=row.usage.write_5m + row.usage.write_1h,
                output_tokens=row.usage.output,
                billed_nano=batch_cost(batch.dialect, row.model, self._config.price(row.model), row.usage),
            )
        )
        return row

    def _ended(self, batch: Batch) -> None:
        if batch.dialect == "anthropic" or batch.state == "failed":
            return
        good, bad = batchshapes.result_files(batch, self._config.batches.spoil)
        batch.output_file = self._keep(batch, good)
        batch.error_file = self._keep(batch, bad)

    def _keep(self, batch: Batch, data: bytes) -> str | None:
        if not data:
            return None
        name = self._ident("file-")
        made = StoredFile(name, batch.credential, f"{batch.ident}.jsonl", "batch_output", batch.ended or 0.0, data)
        made.created -= self._config.batches.visible_after_s  # what the server wrote itself is there at once
        self.store.files[name] = made
        return name

    def _ident(self, kind: str) -> str:
        self._count += 1
        return f"{kind}{self._config.seed:x}{self._count:06x}"


def _dialect(root: str, batches: str, request: SimRequest) -> Dialect:
    if batches == "messages/batches" or "anthropic-version" in request.headers:
        return "anthropic"
    if batches == "batch/jobs":
        return "mistral"
    return "groq" if root == "/openai/v1" else "together" if root == "/together/v1" else "openai"


def _origin(request: SimRequest) -> str:
    return f"http://{request.headers.get('host', '127.0.0.1')}"


def _window_s(body: Mapping[str, Any], dialect: Dialect) -> float:
    if dialect == "mistral":
        return float(body.get("timeout_hours") or 24) * 3600
    window = body.get("completion_window") or ("24h" if dialect == "together" else None)
    hours = re.fullmatch(r"(\d+)([hd])", str(window))
    if hours is None or (dialect == "openai" and window != "24h"):
        raise Reject(400, f"Invalid value: '{window}'. Supported values are: '24h'.", param="completion_window")
    return float(hours[1]) * (3600 if hours[2] == "h" else 86_400)


def _object(body: bytes) -> dict[str, Any]:
    try:
        return msgspec.json.decode(body, type=dict[str, Any])
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise Reject(400, f"The request body is not valid JSON: {error}") from error


def _form(request: SimRequest) -> dict[str, tuple[str, bytes]]:
    """The fields of a form, each with the name of its file."""
    found = re.search(r'boundary="?([^";]+)"?', request.headers.get("content-type", ""))
    if found is None:
        raise Reject(400, "Could not parse multipart form: no boundary")
    fields: dict[str, tuple[str, bytes]] = {}
    body = b"\r\n" + request.body
    for part in body.split(b"\r\n--" + found[1].encode())[1:]:
        head, _, data = part.partition(b"\r\n\r\n")
        words = head.decode("utf-8", "replace")
        name = re.search(r'\bname="([^"]*)"', words)
        file = re.search(r'\bfilename="([^"]*)"', words)
        if name is not None:
            fields[name[1]] = (file[1] if file else "", data)
    return fields


def _json(value: object, status: int = 200) -> Page:
    return Page(status, msgspec.json.encode(value))
