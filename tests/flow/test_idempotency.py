"""The idempotency key: one per call, the same over its attempts, only where the provider's row takes one."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from penstock._io.clock import SystemClock, unique
from penstock.errors import OutcomeUnknown
from penstock.testing import Scripted

from .colours import KEYS, openai_reply, run

ROW = """
[providers.mine]
wire = "openai_chat"
base_url = "https://llm.example.com/v1"
idempotency = "X-Idempotency-Key"
"""


@pytest.mark.prove(8)
@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("colour", ["sync", "async"])
def test_all_attempts_of_a_call_carry_one_key_and_the_record_tells_it(
    colour: str, stream: bool, tmp_path: Path
) -> None:
    """A server that knows the key can see that the second request is the first one again."""
    settings = tmp_path / "penstock.toml"
    settings.write_text(ROW)
    client = {"config": settings, "keys": {**KEYS, "mine": "sk-canary-mine"}}
    keys = set()
    for _ in range(2):
        answers = [Scripted(error=OutcomeUnknown("reset")), openai_reply()]
        outcome = run(colour, answers, client=client, model="mine:m", stream=stream)
        assert outcome.response is not None, outcome.error
        sent = {request.headers["X-Idempotency-Key"] for request in outcome.transport.sent}
        assert {attempt.idempotency_key for attempt in outcome.response.attempts} == sent
        assert len(sent) == 1 < len(outcome.transport.sent)
        keys |= sent
    assert len(keys) == 2, "another call is another key"


@pytest.mark.parametrize("colour", ["sync", "async"])
def test_a_provider_that_documents_no_key_gets_none(colour: str) -> None:
    """No header that nobody asked for."""
    outcome = run(colour, [openai_reply()])
    assert outcome.response is not None
    assert not any("idempotency" in name.lower() for name in outcome.transport.sent[0].headers)
    assert outcome.response.attempts[0].idempotency_key is None


def test_a_forked_process_with_the_same_chance_has_other_keys() -> None:
    """Fork copies the dice; the process id is not copied."""
    clock = SystemClock(seed=1)
    assert unique(clock) != unique(clock)
    reading, writing = os.pipe()
    seeded = SystemClock(seed=2)
    child = os.fork()
    if not child:
        os.write(writing, unique(seeded).encode())
        os._exit(0)
    os.waitpid(child, 0)
    theirs = os.read(reading, 100).decode().split("-")
    ours = unique(seeded).split("-")
    assert theirs[2] == ours[2]
    assert theirs[0] != ours[0]
