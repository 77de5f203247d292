"""The official Anthropic SDK with message batches against the simulator: a stranger that must find nothing strange."""

import asyncio
from typing import Any

import anthropic
import pytest
from anthropic.types.messages import MessageBatch

from penstock.sim import BatchSettings, SimConfig, SimServer
from tests.sim.batching import until


def requests(count: int, **more: Any) -> Any:
    return [
        {
            "custom_id": f"r{number}",
            "params": {
                "model": "claude-haiku-4-5",
                "max_tokens": 9,
                "messages": [{"role": "user", "content": f"Error or not? case {number}"}],
                **more,
            },
        }
        for number in range(count)
    ]


def end(claude: anthropic.Anthropic, batch: MessageBatch) -> MessageBatch:
    return until(lambda: claude.messages.batches.retrieve(batch.id), lambda seen: seen.processing_status == "ended")


def test_a_message_batch_answers_every_row_at_half_the_price(claude: anthropic.Anthropic, sim: SimServer) -> None:
    """All counts stay in processing until the whole ends; results come unordered from the server's own address."""
    batch = claude.messages.batches.create(requests=requests(4))
    assert (batch.processing_status, batch.request_counts.processing, batch.results_url) == ("in_progress", 4, None)
    done = end(claude, batch)
    assert (done.request_counts.processing, done.request_counts.succeeded) == (0, 4)
    assert done.results_url is not None
    assert done.results_url.startswith(sim.url)
    found = {row.custom_id: row.result for row in claude.messages.batches.results(batch.id)}
    assert list(found) == ["r3", "r2", "r1", "r0"]
    half = sim.bill()["total_nano"]
    for row in requests(4):
        whole = claude.messages.create(**row["params"])
        result = found[row["custom_id"]]
        assert result.type == "succeeded"
        assert result.message.content == whole.content
    assert sim.bill()["total_nano"] == 3 * half > 0
    assert claude.messages.batches.delete(batch.id).type == "message_batch_deleted"
    assert not claude.messages.batches.list().data


def test_the_async_client_sees_the_same(sim: SimServer) -> None:
    """Create, poll and read, awaited."""

    async def main() -> int:
        async with anthropic.AsyncAnthropic(base_url=sim.url, api_key="sk-ant-test", max_retries=0) as claude:
            batch = await claude.messages.batches.create(requests=requests(3))
            async with asyncio.timeout(10):
                while batch.processing_status != "ended":
                    await asyncio.sleep(0.01)
                    batch = await claude.messages.batches.retrieve(batch.id)
            results = [row async for row in await claude.messages.batches.results(batch.id)]
            assert [each.id async for each in claude.messages.batches.list()] == [batch.id]
            return len(results)

    assert asyncio.run(main()) == 3


def test_bad_parameters_show_up_row_by_row(claude: anthropic.Anthropic, sim: SimServer) -> None:
    """The create takes them, and the row errs; it is not billed."""
    rows = [*requests(1), {**requests(1, temperature=9)[0], "custom_id": "bad"}]
    batch = end(claude, claude.messages.batches.create(requests=rows))
    assert (batch.request_counts.succeeded, batch.request_counts.errored) == (1, 1)
    found = {row.custom_id: row.result for row in claude.messages.batches.results(batch.id)}
    bad = found["bad"]
    assert bad.type == "errored"
    assert bad.error.error.type == "invalid_request_error"


@pytest.mark.slow
@pytest.mark.parametrize("name", ["", "has space", "x" * 65, "r0"])
def test_a_custom_id_follows_its_rule_and_is_unique(claude: anthropic.Anthropic, name: str) -> None:
    """The whole create is refused otherwise."""
    rows = [*requests(1), {**requests(1)[0], "custom_id": name}]
    with pytest.raises(anthropic.BadRequestError):
        claude.messages.batches.create(requests=rows)


@pytest.mark.slow
def test_a_batch_that_expires_or_is_cancelled_keeps_what_was_done() -> None:
    """The rows that nobody answered say so themselves."""
    slow = BatchSettings(rows_per_s=40, validate_s=0.0, expire_s=0.2)
    with SimServer(SimConfig(batches=slow)) as sim:
        claude = anthropic.Anthropic(base_url=sim.url, api_key="k", max_retries=0)
        with claude:
            expired = end(claude, claude.messages.batches.create(requests=requests(40)))
            assert expired.request_counts.expired > 0
            batch = claude.messages.batches.create(requests=requests(40))
            assert claude.messages.batches.cancel(batch.id).processing_status == "canceling"
            cancelled = end(claude, batch)
            assert cancelled.request_counts.canceled > 0
            kinds = {row.result.type for row in claude.messages.batches.results(expired.id)}
            assert kinds == {"succeeded", "expired"}


@pytest.mark.slow
def test_lists_come_in_pages(claude: anthropic.Anthropic) -> None:
    """The newest first; the SDK turns the pages."""
    made = [claude.messages.batches.create(requests=requests(1)).id for _ in range(5)]
    assert claude.messages.batches.list(limit=2).has_more
    assert [batch.id for batch in claude.messages.batches.list(limit=2)] == made[::-1]
