"""The dialects of batch interfaces: lines out, states and results in."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock._wire import batchfile
from penstock._wire.batchfile import Dialect
from penstock._wire.protocol import Provider
from penstock._wire.registry import parse
from penstock.errors import CallError, ConfigError, InvalidRequest, RateLimited, ServerFault

NAMES = ("openai", "groq", "together", "mistral", "anthropic")
BODY = json.dumps({"model": "m", "messages": [{"role": "user", "content": "hé"}], "max_tokens": 5}).encode()


def provider(name: str) -> Provider:
    wire = "anthropic" if name == "anthropic" else "openai_chat"
    path = "/openai/v1/chat/completions" if name == "groq" else ""
    return Provider(name=name, wire=wire, base_url="http://x", path=path, batch=name)  # type: ignore[arg-type]


def kind(name: str) -> Dialect:
    found = batchfile.dialect(provider(name))
    assert found is not None
    return found


def test_a_provider_without_a_dialect_has_none() -> None:
    """Which provider has which is data."""
    row = '[providers.x]\nwire = "openai_chat"\nbase_url = "http://x"\n'
    assert batchfile.dialect(parse(row, "x")["x"]) is None
    assert batchfile.dialect(parse(row + 'batch = "groq"\n', "x")["x"]) == kind("groq")
    responses = row.replace("openai_chat", "openai_responses") + 'batch = "openai"\n'
    assert batchfile.dialect(parse(responses, "x")["x"]) is None  # rows of batches are chat completions
    with pytest.raises(ConfigError, match=r"providers\.x\.batch"):
        parse(row + 'batch = "fax"\n', "x")


@pytest.mark.parametrize("name", NAMES)
def test_a_row_is_one_line_of_its_dialect(name: str) -> None:
    """The body is that of the request itself; only Mistral has the model elsewhere."""
    line = batchfile.line(kind(name), "p-1-2-3", BODY, "m")
    assert b"\n" not in line
    found = json.loads(line)
    body = found.pop("params" if name == "anthropic" else "body")
    assert found.pop("custom_id") == "p-1-2-3"
    asked = json.loads(BODY)
    assert body == (asked if name != "mistral" else {key: asked[key] for key in asked if key != "model"})
    assert found == ({"method": "POST", "url": "/v1/chat/completions"} if name in ("openai", "groq") else {})


@pytest.mark.parametrize(
    "change", [{"messages": []}, {"messages": None}, {"model": "other"}, {"stream": True}, {"messages": "text"}]
)
def test_a_row_that_would_fail_its_batch_is_refused_alone(change: dict[str, Any]) -> None:
    """The error says what is wrong; nothing was sent."""
    body = json.dumps({**json.loads(BODY), **change}).encode()
    with pytest.raises(InvalidRequest):
        batchfile.line(kind("openai"), "r", body, "m")


def test_a_row_larger_than_a_batch_is_refused() -> None:
    """It could never be sent."""
    small = msgspec.structs.replace(kind("openai"), bytes_max=100)
    with pytest.raises(InvalidRequest, match="more than a whole batch"):
        batchfile.line(small, "r", BODY, "m")


@given(st.text(min_size=1, max_size=80))
def test_no_custom_id_leaves_that_breaks_the_rule(name: str) -> None:
    """Letters, digits, - and _, at most 64 of them."""
    sound = len(name) <= 64 and all(letter.isascii() and (letter.isalnum() or letter in "-_") for letter in name)
    if sound:
        assert json.loads(batchfile.line(kind("anthropic"), name, BODY, "m"))["custom_id"] == name
    else:
        with pytest.raises(ConfigError):
            batchfile.line(kind("anthropic"), name, BODY, "m")


STATES = [
    ("validating", "submitted"),
    ("QUEUED", "submitted"),
    ("in_progress", "running"),
    ("RUNNING", "running"),
    ("finalizing", "ending"),
    ("cancelling", "ending"),
    ("CANCELLATION_REQUESTED", "ending"),
    ("completed", "completed"),
    ("SUCCESS", "completed"),
    ("COMPLETED", "completed"),
    ("expired", "partial"),
    ("TIMEOUT_EXCEEDED", "partial"),
    ("failed", "failed"),
    ("cancelled", "cancelled"),
    ("PAUSED", "unknown"),
    ("BATCH_STATUS_UNSPECIFIED", "unknown"),
    ("", "unknown"),
]


@pytest.mark.parametrize(("word", "state"), STATES)
def test_every_word_for_a_state_is_one_of_ours(word: str, state: str) -> None:
    """What nobody knows is no end."""
    seen = batchfile.seen_of(kind("openai"), json.dumps({"id": "b", "status": word}).encode(), provider("openai"))
    assert (seen.state, seen.word) == (state, word)
    assert (seen.state in batchfile.ENDED) == (state in ("completed", "partial", "failed", "cancelled"))


@pytest.mark.parametrize(
    ("counts", "state"),
    [
        ({"succeeded": 3}, "completed"),
        ({"succeeded": 2, "expired": 1}, "partial"),
        ({"succeeded": 1, "canceled": 1, "expired": 1}, "cancelled"),
    ],
)
def test_an_ended_message_batch_is_told_by_its_counts(counts: dict[str, int], state: str) -> None:
    """Anthropic has one word for every end."""
    body = {"id": "b", "processing_status": "ended", "request_counts": {"processing": 0, **counts}}
    seen = batchfile.seen_of(kind("anthropic"), json.dumps(body).encode(), provider("anthropic"))
    assert (seen.state, seen.rows, seen.done) == (state, sum(counts.values()), sum(counts.values()))


def test_a_batch_is_read_whole() -> None:
    """Counts, files, errors, tag and times, whichever the dialect."""
    body = {
        "id": "b",
        "status": "failed",
        "request_counts": {"total": 5, "completed": 2, "failed": 1},
        "output_file_id": "o",
        "error_file_id": "e",
        "errors": {"data": [{"code": "c", "message": "m", "line": 3, "param": "p"}]},
        "metadata": {"penstock_shard": "j/0001"},
        "input_file_id": "i",
        "created_at": 10,
        "failed_at": 20,
    }
    seen = batchfile.seen_of(kind("openai"), json.dumps(body).encode(), provider("openai"))
    assert (seen.rows, seen.done, seen.files, seen.tag, seen.input_file) == (5, 3, ("o", "e"), "j/0001", "i")
    assert (seen.problems, seen.created_s, seen.ended_s) == ((("c", "m", 3),), 10.0, 20.0)
    job = {"job": {"id": "t", "status": "COMPLETED", "created_at": "2026-11-20T00:00:00Z", "error": ""}}
    seen = batchfile.seen_of(kind("together"), json.dumps(job).encode(), provider("together"))
    assert (seen.id, seen.created_s, seen.problems) == ("t", 1795132800.0, ())


@pytest.mark.parametrize("body", [b"", b"<html>", b"[]", b"{}", b'{"id": 3}'])
def test_what_is_no_batch_is_a_fault_of_the_server(body: bytes) -> None:
    """And can be asked for again."""
    with pytest.raises(ServerFault):
        batchfile.seen_of(kind("openai"), body, provider("openai"))


def test_pages_lead_to_the_next() -> None:
    """By the last id, by number, or not at all."""
    rows = [{"id": f"b{number}", "status": "completed"} for number in range(2)]

    def page(name: str, body: Any, after: str | None = None) -> str | None:
        seen, following = batchfile.page_of(kind(name), json.dumps(body).encode(), provider(name), after)
        assert [each.id for each in seen] == ["b0", "b1"]
        return following

    assert page("openai", {"data": rows, "has_more": True}) == "b1"
    assert page("openai", {"data": rows, "has_more": False}) is None
    assert page("mistral", {"data": rows, "total": 150}) == "1"
    assert page("mistral", {"data": rows, "total": 150}, "1") is None
    assert page("together", rows) is None


def result(name: str, line: Any) -> batchfile.Result:
    found = batchfile.result_of(kind(name), json.dumps(line).encode(), provider(name), "m")
    assert found is not None
    return found


def test_results_are_answers_errors_or_not_executed() -> None:
    """A row of each kind, in both shapes."""
    answer = result("openai", {"custom_id": "r", "response": {"status_code": 200, "request_id": "q", "body": {"a": 1}}})
    assert (answer.body, answer.error, answer.request_id) == (b'{"a": 1}', None, "q")
    limited = {"status_code": 429, "body": {"error": {"message": "slow down", "code": "rate_limit_exceeded"}}}
    assert isinstance(result("openai", {"custom_id": "r", "response": limited}).error, RateLimited)
    expired = result("openai", {"custom_id": "r", "response": None, "error": {"code": "batch_expired", "message": "w"}})
    assert (expired.body, expired.error, expired.why) == (None, None, "w")
    broken = result("openai", {"custom_id": "r", "response": None, "error": {"code": "server_error", "message": "w"}})
    assert isinstance(broken.error, ServerFault)
    said = result("anthropic", {"custom_id": "r", "result": {"type": "succeeded", "message": {"a": 1}}})
    assert said.body == b'{"a": 1}'
    error = {"type": "error", "error": {"type": "invalid_request_error", "message": "max_tokens"}}
    assert isinstance(
        result("anthropic", {"custom_id": "r", "result": {"type": "errored", "error": error}}).error, InvalidRequest
    )
    assert "expired" in result("anthropic", {"custom_id": "r", "result": {"type": "expired"}}).why


@given(st.binary(max_size=200) | st.text(max_size=200).map(str.encode))
def test_no_line_of_results_breaks_the_reading(data: bytes) -> None:
    """What cannot be read is None, so that its row is missing and no other."""
    for name in ("openai", "anthropic"):
        batchfile.result_of(kind(name), data, provider(name), "m")


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=5),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(
                st.sampled_from(
                    [
                        "id",
                        "status",
                        "processing_status",
                        "request_counts",
                        "errors",
                        "data",
                        "line",
                        "job",
                        "metadata",
                        "total",
                        "completed",
                        "custom_id",
                        "response",
                        "status_code",
                        "body",
                        "error",
                        "result",
                        "type",
                    ]
                ),
                inner,
                max_size=6,
            )
        ),
        max_leaves=20,
    )
)
def test_any_json_is_read_or_is_a_fault(value: Any) -> None:
    """Never another exception."""
    data = json.dumps(value).encode()
    for name in NAMES:
        try:
            batchfile.seen_of(kind(name), data, provider(name))
            batchfile.page_of(kind(name), data, provider(name), None)
        except CallError:
            pass
        batchfile.result_of(kind(name), data, provider(name), "m")


def test_places_are_those_of_each_provider() -> None:
    """All on the lane's own address."""
    assert batchfile.retrieve(kind("groq"), provider("groq"), "b").path == "/openai/v1/batches/b"
    assert batchfile.cancel(kind("mistral"), provider("mistral"), "b").path == "/batch/jobs/b/cancel"
    assert batchfile.listing(kind("openai"), provider("openai"), "b9").path == "/batches?limit=100&after=b9"
    assert batchfile.listing(kind("anthropic"), provider("anthropic"), None).path == "/v1/messages/batches?limit=100"
    seen = batchfile.Seen(id="b", state="completed", word="ended", files=("o", "e"))
    assert [each.path for each in batchfile.downloads(kind("openai"), provider("openai"), seen)] == [
        "/files/o/content",
        "/files/e/content",
    ]
    assert [each.path for each in batchfile.downloads(kind("anthropic"), provider("anthropic"), seen)] == [
        "/v1/messages/batches/b/results"
    ]


@pytest.mark.parametrize("name", NAMES)
def test_a_create_carries_the_tag_where_it_can(name: str) -> None:
    """And a file of rows where they go within it."""
    made = batchfile.create(kind(name), provider(name), "m", "j/0001", file_id="f", path="/p", size=7)
    if name == "anthropic":
        assert made.file is not None
        assert (made.file.head, made.file.tail, made.file.size) == (b'{"requests":[', b"]}", 7 + 15)
        return
    body = json.loads(made.body)
    assert body["endpoint"] == "/v1/chat/completions"
    assert body.get("metadata") == (None if name == "together" else {"penstock_shard": "j/0001"})
    assert body.get("input_file_id", body.get("input_files")) in ("f", ["f"])
