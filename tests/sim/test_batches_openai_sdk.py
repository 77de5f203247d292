"""The official OpenAI SDK with files and batches against the simulator: a stranger that must find nothing strange."""

import asyncio
from typing import Any

import openai
import pytest
from openai.types import Batch

from penstock.sim import BatchSettings, SimConfig, SimServer
from tests.sim.batching import MODEL, line, lines, read, until

ENDED = ("completed", "failed", "expired", "cancelled")


def client(sim: SimServer, root: str = "/v1") -> openai.OpenAI:
    return openai.OpenAI(base_url=f"{sim.url}{root}", api_key="sk-test", max_retries=0)


def create(chat: openai.OpenAI, data: bytes, **more: Any) -> Batch:
    file = chat.files.create(file=("rows.jsonl", data), purpose="batch")
    window: Any = more.pop("window", "24h")
    return chat.batches.create(input_file_id=file.id, endpoint="/v1/chat/completions", completion_window=window, **more)


def end(chat: openai.OpenAI, batch: Batch) -> Batch:
    return until(lambda: chat.batches.retrieve(batch.id), lambda seen: seen.status in ENDED)


def text(chat: openai.OpenAI, name: str | None) -> bytes:
    return chat.files.content(name).content if name else b""


def test_a_batch_answers_every_row_at_half_the_price(sim: SimServer) -> None:
    """Results come unordered, each once, and the bill is half of what the same rows cost one by one."""
    with client(sim) as chat:
        batch = create(chat, lines(5), metadata={"job": "j1"})
        assert (batch.status, batch.metadata) == ("validating", {"job": "j1"})
        done = end(chat, batch)
        assert done.status == "completed"
        assert done.request_counts is not None
        assert (done.request_counts.total, done.request_counts.completed, done.error_file_id) == (5, 5, None)
        found = read(text(chat, done.output_file_id))
        assert list(found) == [f"r{number}" for number in reversed(range(5))]
        half = sim.bill()["total_nano"]
        for number in range(5):
            messages: Any = [{"role": "user", "content": f"Error or not? case {number}"}]
            whole = chat.chat.completions.create(model=MODEL, max_tokens=9, messages=messages)
            body = found[f"r{number}"]["response"]["body"]
            assert body["choices"][0]["message"]["content"] == whole.choices[0].message.content
        assert sim.bill()["total_nano"] == 3 * half > 0
        assert [each.id for each in chat.batches.list()] == [batch.id]


def test_the_async_client_sees_the_same(sim: SimServer) -> None:
    """Upload, create, poll and read, awaited."""

    async def main() -> Batch:
        async with openai.AsyncOpenAI(base_url=f"{sim.url}/v1", api_key="sk-test", max_retries=0) as chat:
            file = await chat.files.create(file=("rows.jsonl", lines(3)), purpose="batch")
            batch = await chat.batches.create(
                input_file_id=file.id, endpoint="/v1/chat/completions", completion_window="24h"
            )
            async with asyncio.timeout(10):
                while batch.status not in ENDED:
                    await asyncio.sleep(0.01)
                    batch = await chat.batches.retrieve(batch.id)
            assert batch.output_file_id
            assert len(read((await chat.files.content(batch.output_file_id)).content)) == 3
            assert [each.id async for each in chat.batches.list()] == [batch.id]
            return batch

    assert asyncio.run(main()).status == "completed"


@pytest.mark.parametrize(
    ("bad", "code", "param"),
    [
        (line("x", messages=None), "missing_required_parameter", "body.messages"),
        (line("x", model="gpt-4o"), "mismatched_model", "body.model"),
        (line("r1"), "duplicate_custom_id", "custom_id"),
        (line("x", stream=True), "invalid_value", "body.stream"),
        (b"{", "invalid_json_line", None),
    ],
)
def test_one_bad_line_fails_the_whole_batch(sim: SimServer, bad: bytes, code: str, param: str | None) -> None:
    """Nothing of it is answered or billed, and the error names the line."""
    with client(sim) as chat:
        done = end(chat, create(chat, lines(3) + b"\n" + bad))
        assert done.status == "failed"
        assert done.errors is not None
        assert done.errors.data is not None
        error = done.errors.data[0]
        assert (error.code, error.line, error.param) == (code, 4, param)
        assert done.request_counts is not None
        assert done.request_counts.total == 0
    assert sim.bill()["total_nano"] == 0


@pytest.mark.slow
def test_a_batch_whose_rows_all_fail_completes_without_an_output_file(sim: SimServer) -> None:
    """Completed is not success: the errors are in a file of their own."""
    with client(sim) as chat:
        done = end(chat, create(chat, line("a", temperature=9)))
        assert (done.status, done.output_file_id) == ("completed", None)
        found = read(text(chat, done.error_file_id))
        assert found["a"]["response"]["status_code"] == 400
        assert found["a"]["response"]["body"]["error"]["param"] == "temperature"


def test_an_expired_batch_keeps_and_bills_what_was_done() -> None:
    """The finished rows are in the output file, the others in the error file."""
    settings = BatchSettings(rows_per_s=50, expire_s=0.2, validate_s=0.05)
    with SimServer(SimConfig(batches=settings)) as sim, client(sim) as chat:
        done = end(chat, create(chat, lines(50)))
        assert done.status == "expired"
        good, bad = read(text(chat, done.output_file_id)), read(text(chat, done.error_file_id))
        assert good
        assert bad
        assert good.keys() | bad.keys() == {f"r{number}" for number in range(50)}
        assert {row["error"]["code"] for row in bad.values()} == {"batch_expired"}
        assert sim.bill()["attempts"] == len(good)


@pytest.mark.slow
def test_a_cancelled_batch_keeps_what_was_done() -> None:
    """It is cancelling for a while, and then cancelled; once more is refused."""
    settings = BatchSettings(rows_per_s=20, validate_s=0.0, cancel_s=0.05)
    with SimServer(SimConfig(batches=settings)) as sim, client(sim) as chat:
        batch = create(chat, lines(100))
        until(lambda: chat.batches.retrieve(batch.id).request_counts, lambda seen: bool(seen and seen.completed >= 2))
        assert chat.batches.cancel(batch.id).status == "cancelling"
        done = end(chat, batch)
        assert done.status == "cancelled"
        assert 2 <= len(read(text(chat, done.output_file_id))) < 100
        with pytest.raises(openai.ConflictError):
            chat.batches.cancel(batch.id)


@pytest.mark.slow
def test_the_queue_limit_fails_the_batch_that_goes_beyond_it() -> None:
    """As at OpenAI the create succeeds, and the batch fails once it is validated."""
    settings = BatchSettings(queue_tokens=400, rows_per_s=1.0)
    with SimServer(SimConfig(batches=settings)) as sim, client(sim) as chat:
        create(chat, lines(5))
        done = end(chat, create(chat, lines(5)))
        assert done.errors is not None
        assert done.errors.data is not None
        assert (done.status, done.errors.data[0].code) == ("failed", "token_limit_exceeded")


@pytest.mark.slow
def test_a_queue_may_refuse_the_create_itself() -> None:
    """Some get a 429 there."""
    settings = BatchSettings(queue_rows=8, rows_per_s=1.0)
    with SimServer(SimConfig(batches=settings)) as sim, client(sim) as chat:
        create(chat, lines(5))
        with pytest.raises(openai.RateLimitError):
            create(chat, lines(5))


@pytest.mark.slow
def test_a_file_may_not_be_found_right_after_its_upload() -> None:
    """The create is refused with a 404 until it is."""
    with SimServer(SimConfig(batches=BatchSettings(visible_after_s=0.2))) as sim, client(sim) as chat:
        with pytest.raises(openai.NotFoundError):
            create(chat, lines(1))
        file = chat.files.create(file=("rows.jsonl", lines(1)), purpose="batch")
        until(lambda: _found(chat, file.id), bool)
        assert chat.files.delete(file.id).deleted


def _found(chat: openai.OpenAI, name: str) -> bool:
    try:
        return bool(chat.files.retrieve(name))
    except openai.NotFoundError:
        return False


@pytest.mark.slow
def test_lists_come_in_pages(sim: SimServer) -> None:
    """The newest first; the SDK turns the pages."""
    with client(sim) as chat:
        made = [create(chat, lines(1)).id for _ in range(5)]
        page = chat.batches.list(limit=2)
        assert (page.has_more, [batch.id for batch in page.data]) == (True, made[:2:-1])
        assert [batch.id for batch in chat.batches.list(limit=2)] == made[::-1]


@pytest.mark.slow
def test_a_download_may_fail_once(sim: SimServer) -> None:
    """Faults on order hit these endpoints too, and a rule for rows sees the path `batch`."""
    sim.play(
        '[[rule]]\nmatch = { path = "*/content" }\ntimes = 1\nfault = { kind = "status", status = 502 }\n'
        '[[rule]]\nmatch = { path = "batch", contains = "case 1" }\nfault = { kind = "status", status = 500 }'
    )
    with client(sim) as chat:
        done = end(chat, create(chat, lines(2)))
        with pytest.raises(openai.InternalServerError):
            text(chat, done.output_file_id)
        assert list(read(text(chat, done.output_file_id))) == ["r0"]
        assert read(text(chat, done.error_file_id))["r1"]["response"]["status_code"] == 500


@pytest.mark.slow
def test_groq_has_the_same_shape_at_another_place(sim: SimServer) -> None:
    """Its windows go up to seven days."""
    with client(sim, "/openai/v1") as chat:
        done = end(chat, create(chat, lines(2), window="7d"))
        assert (done.status, done.completion_window) == ("completed", "7d")
    with client(sim) as chat:
        assert not chat.batches.list().data
