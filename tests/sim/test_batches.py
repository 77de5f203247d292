"""Batches of the simulator with the clock as an argument: Together's and Mistral's shapes, states by the second."""

import json
from typing import Any

import msgspec
import pytest

from penstock.sim import BatchSettings, SimConfig, SimRequest, Simulator
from penstock.sim.plan import Head, Send
from tests.sim.batching import lines

KEY = {"authorization": "Bearer k", "host": "sim"}


class Caller:
    """Asks a simulator at chosen instants."""

    def __init__(self, **settings: Any) -> None:
        self.simulator = Simulator(SimConfig(batches=BatchSettings(**settings)))
        self.headers: dict[str, str] = {}

    def ask(self, now: float, method: str, path: str, body: Any = None, **headers: str) -> Any:
        data = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
        query = dict(pair.split("=") for pair in path.partition("?")[2].split("&") if pair)
        request = SimRequest(method, path.partition("?")[0], headers or KEY, data, query)
        plan = self.simulator.begin(request, now)
        head = next(step for step in plan.steps if isinstance(step, Head))
        sent = b"".join(step.data for step in plan.steps if isinstance(step, Send))
        self.simulator.finish(plan, now)
        self.headers = dict(head.headers)
        assert head.status < 400, sent
        try:
            return msgspec.json.decode(sent) if sent else None
        except msgspec.DecodeError:
            return sent


def form(purpose: str, data: bytes | None) -> tuple[bytes, dict[str, str]]:
    parts = [b'--B\r\nContent-Disposition: form-data; name="purpose"\r\n\r\n' + purpose.encode()]
    if data is not None:
        parts.append(b'--B\r\nContent-Disposition: form-data; name="file"; filename="rows.jsonl"\r\n\r\n' + data)
    body = b"\r\n".join([*parts, b"--B--\r\n"])
    return body, {**KEY, "content-type": "multipart/form-data; boundary=B"}


def bare(data: bytes) -> bytes:
    return b"\n".join(
        json.dumps({"custom_id": row["custom_id"], "body": row["body"]}).encode()
        for row in map(json.loads, data.splitlines())
    )


def test_a_batch_goes_through_its_states_by_the_clock() -> None:
    """Validating, in progress, finalizing and completed, and the rows are counted as they are done."""
    caller = Caller(validate_s=10, rows_per_s=1, finalize_s=5)
    body, headers = form("batch", lines(10))
    file = caller.ask(0, "POST", "/v1/files", body, **headers)
    asked = {"input_file_id": file["id"], "endpoint": "/v1/chat/completions", "completion_window": "24h"}
    batch = caller.ask(0, "POST", "/v1/batches", asked)

    def seen(now: float) -> tuple[str, int]:
        found = caller.ask(now, "GET", f"/v1/batches/{batch['id']}")
        return found["status"], found["request_counts"]["completed"]

    assert [seen(now) for now in (9, 13, 21, 26)] == [
        ("validating", 0),
        ("in_progress", 3),
        ("finalizing", 10),
        ("completed", 10),
    ]


def test_together_takes_the_file_at_another_place_and_wraps_its_job() -> None:
    """The URL comes as a redirect, the file follows without a key, and the create answers with a job."""
    caller = Caller(validate_s=0, finalize_s=0)
    body, headers = form("batch-api", None)
    caller.ask(0, "POST", "/together/v1/files", body, **headers)
    name, place = caller.headers["x-together-file-id"], caller.headers["location"]
    assert place == f"http://sim/uploads/{name}"
    caller.ask(0, "PUT", f"/uploads/{name}", lines(2), host="sim")
    asked = {"input_file_id": name, "endpoint": "/v1/chat/completions", "completion_window": "24h"}
    made = caller.ask(0, "POST", "/together/v1/batches", asked)
    assert (made["job"]["input_file_id"], made["warning"]) == (name, None)
    job = caller.ask(5, "GET", f"/together/v1/batches/{made['job']['id']}")
    assert (job["status"], job["progress"]) == ("COMPLETED", 100.0)
    assert caller.ask(5, "GET", "/together/v1/batches")[0]["id"] == job["id"]
    assert caller.ask(5, "GET", f"/together/v1/files/{job['output_file_id']}/content").count(b"\n") == 2


def test_a_signed_place_takes_no_key() -> None:
    """A client that sends it there has leaked it."""
    caller = Caller()
    body, headers = form("batch-api", None)
    caller.ask(0, "POST", "/together/v1/files", body, **headers)
    with pytest.raises(AssertionError, match="Only one auth mechanism"):
        caller.ask(0, "PUT", f"/uploads/{caller.headers['x-together-file-id']}", lines(2), **KEY)


def test_mistral_has_jobs_with_words_of_its_own() -> None:
    """Bare lines in, counts and files out; the model stands at the job."""
    caller = Caller(validate_s=0, finalize_s=0)
    body, headers = form("batch", bare(lines(2)))
    file = caller.ask(0, "POST", "/v1/files", body, **headers)
    asked = {
        "input_files": [file["id"]],
        "endpoint": "/v1/chat/completions",
        "model": "gpt-4o-mini",
        "metadata": {"a": "b"},
    }
    made = caller.ask(0, "POST", "/v1/batch/jobs", asked)
    assert made["status"] in ("QUEUED", "RUNNING")
    job = caller.ask(5, "GET", f"/v1/batch/jobs/{made['id']}")
    assert (job["status"], job["succeeded_requests"], job["metadata"]) == ("SUCCESS", 2, {"a": "b"})
    assert caller.ask(5, "GET", "/v1/batch/jobs?page=0&page_size=1")["total"] == 1


@pytest.mark.parametrize("spoil", ["missing", "duplicate", "unknown", "torn"])
def test_results_can_be_spoilt(spoil: str) -> None:
    """As they were seen to be in the wild."""
    caller = Caller(validate_s=0, finalize_s=0, spoil=spoil)
    body, headers = form("batch", lines(3))
    file = caller.ask(0, "POST", "/v1/files", body, **headers)
    asked = {"input_file_id": file["id"], "endpoint": "/v1/chat/completions", "completion_window": "24h"}
    made = caller.ask(0, "POST", "/v1/batches", asked)
    done = caller.ask(5, "GET", f"/v1/batches/{made['id']}")
    found = caller.ask(5, "GET", f"/v1/files/{done['output_file_id']}/content")
    assert found.count(b"\n") == {"missing": 2, "duplicate": 4, "unknown": 3, "torn": 3}[spoil]
