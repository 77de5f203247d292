"""Embedding in both colours: each request is a call like any other, and what came of it stays with its text."""

from __future__ import annotations

import asyncio
import inspect
import json
from collections import Counter
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from penstock import AsyncClient, Budget, Client, Limits
from penstock._text.tokens import estimate
from penstock.errors import (
    AuthenticationFailed,
    BudgetExceeded,
    ClientClosed,
    ConfigError,
    DeadlineExceeded,
    InputError,
    InputRejected,
    InvalidRequest,
    PenstockError,
    ServerFault,
    UnsupportedParameter,
)
from penstock.testing import Scripted
from tests.flow.embeddings import COLOURS, MODEL, answer, embed, refusal, vector

pytestmark = pytest.mark.parametrize("colour", COLOURS)
TEXTS = [f"text number {number}" for number in range(2048)]


def priced(texts: list[str]) -> Scripted:
    """Answer with ten tokens a text."""
    return answer(texts, tokens=10 * len(texts))


def dear(texts: list[str]) -> Scripted:
    """Answer with four hundred tokens a text."""
    return answer(texts, tokens=400 * len(texts))


def test_vectors_stand_in_the_order_of_the_texts(colour: str) -> None:
    """Of many requests, with what they took together."""
    texts = [f"text {number}" for number in range(5000)]
    found = embed(colour, priced, texts).result
    assert found is not None
    assert [each.tolist() for each in found] == [vector(text) for text in texts]
    assert found.requests == 3
    assert found.usage.input == 50_000
    assert found.cost_nano == 50_000 * 20
    assert (found.provider, found.model) == ("openai", "text-embedding-3-small")
    assert len(found.attempts) == 3
    assert found.errors == ()


def test_a_thousand_short_texts_take_one_request(colour: str) -> None:
    """Ten would be allowed."""
    assert len(embed(colour, answer, TEXTS[:1000]).inputs) == 1


def test_floats_and_base64_give_the_same_vectors(colour: str) -> None:
    """Whatever the server sends."""
    one = embed(colour, lambda texts: answer(texts, base64=False), ["a", "bb"]).result
    other = embed(colour, answer, ["a", "bb"]).result
    assert one is not None
    assert other is not None
    assert one.vectors == other.vectors


def test_equal_texts_are_asked_once(colour: str) -> None:
    """And each of them has the vector."""
    outcome = embed(colour, answer, ["a", "bb", "a", "a"])
    assert outcome.inputs == [["a", "bb"]]
    assert outcome.result is not None
    assert [each.tolist() for each in outcome.result] == [vector(text) for text in ("a", "bb", "a", "a")]


@pytest.mark.parametrize("where", [0, 77, 2047])
def test_a_bad_text_among_thousands_is_named_after_at_most_twelve_rejections(colour: str, where: int) -> None:
    """And nothing that was answered is lost."""

    def rule(texts: list[str]) -> Scripted:
        return refusal() if TEXTS[where] in texts else answer(texts)

    outcome = embed(colour, rule, TEXTS)
    error = outcome.error
    assert isinstance(error, InputRejected)
    assert error.index == where
    assert f"index {where}" in str(error)
    assert isinstance(error.__cause__, InvalidRequest)
    found = error.embedded
    assert found is not None
    assert sum(attempt.outcome != "ok" for attempt in found.attempts) <= 12
    for index, text in enumerate(TEXTS):
        assert not found.vectors.has(index) or found.vectors[index].tolist() == vector(text)
    assert not found.vectors.has(where)
    asked = Counter(text for texts in outcome.inputs for text in texts if TEXTS[where] not in texts)
    assert sum(asked.values()) == sum(found.vectors.has(index) for index in range(len(TEXTS)))


def test_bad_texts_can_be_skipped(colour: str) -> None:
    """All others are answered, each by one accepted request; the bad ones are listed, also where they repeat."""
    texts = [*TEXTS, TEXTS[5]]

    def rule(sent: list[str]) -> Scripted:
        return refusal("flagged by the safety system", code="content_filter") if TEXTS[5] in sent else answer(sent)

    outcome = embed(colour, rule, texts, on_bad_input="skip")
    found = outcome.result
    assert found is not None
    assert [(each.index, each.code) for each in found.errors] == [(5, "content_filtered"), (2048, "content_filtered")]
    assert found[5].tolist() == found[2048].tolist() == []
    assert all(found[index].tolist() == vector(text) for index, text in enumerate(TEXTS) if index != 5)
    assert sum(attempt.outcome != "ok" for attempt in found.attempts) <= 12


def test_a_refusal_of_everything_is_given_up_early(colour: str) -> None:
    """It is the request that is wrong; skipping does not help."""
    outcome = embed(colour, lambda texts: refusal("no such tenant"), TEXTS, on_bad_input="skip")
    assert isinstance(outcome.error, InvalidRequest)
    assert not isinstance(outcome.error, InputRejected)
    assert len(outcome.inputs) <= 16


@pytest.mark.parametrize(
    ("status", "code", "message", "kind"),
    [
        (401, "invalid_api_key", "bad key", AuthenticationFailed),
        (400, "unknown_parameter", "Unknown parameter: 'x'.", UnsupportedParameter),
    ],
)
def test_what_is_no_texts_fault_is_raised_at_once(
    colour: str, status: int, code: str, message: str, kind: type[PenstockError]
) -> None:
    """Nothing is halved for it."""
    outcome = embed(colour, lambda texts: refusal(message, status, code), TEXTS)
    assert isinstance(outcome.error, kind)
    assert len(outcome.inputs) == 1


def test_too_much_at_once_is_halved_without_an_error(colour: str) -> None:
    """A server that takes less than is known of it."""

    def rule(texts: list[str]) -> Scripted:
        return refusal("batch too large", 413, "request_too_large") if len(texts) > 500 else answer(texts)

    found = embed(colour, rule, TEXTS).result
    assert found is not None
    assert [each.tolist() for each in found] == [vector(text) for text in TEXTS]


def test_a_request_that_fails_in_passing_is_repeated(colour: str) -> None:
    """As in any call; the attempt counts as a retry."""
    failures = iter([Scripted(status=500, body=b"{}")])
    outcome = embed(colour, lambda texts: next(failures, None) or answer(texts), ["a"])
    assert outcome.result is not None
    assert [attempt.outcome for attempt in outcome.result.attempts] == ["server_fault", "ok"]
    usage = outcome.client.usage()
    assert (usage.calls, usage.attempts, usage.retries, usage.failed) == (1, 2, 1, 0)


def test_too_few_vectors_are_asked_for_again(colour: str) -> None:
    """They cannot be told apart."""
    outcome = embed(colour, lambda texts: answer(texts[:-1]), ["a", "b"])
    assert isinstance(outcome.error, ServerFault)
    assert "2 texts were sent and 1 vectors came back" in str(outcome.error)
    assert len(outcome.inputs) == 2


def test_a_budget_holds_for_each_request_and_what_was_answered_stays(colour: str) -> None:
    """The part that fits is paid; the error has its vectors."""
    texts = [f"{number} {'x' * 1000}" for number in range(3000)]
    outcome = embed(colour, dear, texts, client={"budget": Budget(total="0.02")}, concurrency=1)
    error = outcome.error
    assert isinstance(error, BudgetExceeded)
    assert error.embedded is not None
    answered = sum(error.embedded.vectors.has(index) for index in range(len(texts)))
    assert 0 < answered < len(texts)
    assert error.embedded.cost_nano == answered * 8000
    assert 0.95 * 20_000_000 < answered * 8000 <= 20_000_000


def test_requests_side_by_side_wait_for_what_others_hold(colour: str) -> None:
    """A budget that is enough for what the texts cost is enough, though all requests together may cost more."""
    texts = [f"{number} {'x' * 1000}" for number in range(6000)]
    budget = Budget(total="0.03")  # all requests together hold 0.12, and cost a hundredth of that
    outcome = embed(colour, priced, texts, client={"budget": budget}, concurrency=8)
    assert outcome.error is None
    assert outcome.result is not None
    assert outcome.result.requests == 5


def test_a_request_holds_no_more_than_half_of_a_minutes_tokens(colour: str) -> None:
    """Where the limit is known; otherwise it could never pass, or stop everybody else."""
    texts = [f"{number} some words of a text" for number in range(900)]
    outcome = embed(colour, answer, texts, client={"limits": Limits(tpm=2_000_000)})
    assert len(outcome.inputs) == 1
    outcome = embed(colour, answer, texts, client={"limits": Limits(tpm=4000)}, deadline_s=0.05)
    assert isinstance(outcome.error, DeadlineExceeded)
    assert 0 < len(outcome.inputs) <= 2
    assert all(sum(map(estimate, each)) <= 2000 for each in outcome.inputs)


def test_tags_and_parameters_arrive(colour: str) -> None:
    """In usage and in the body."""
    outcome = embed(colour, answer, "a", tags={"team": "sre"}, dimensions=3, user="me", extra={"input_type": "query"})
    sent = json.loads(outcome.transport.sent[0].body)
    assert (sent["dimensions"], sent["user"], sent["input_type"]) == (3, "me", "query")
    assert outcome.client.usage().by_tag["team=sre"].calls == 1
    assert outcome.result is not None
    assert outcome.result.tags == {"team": "sre"}


@pytest.mark.parametrize(
    ("texts", "options", "kind"),
    [
        ([], {}, InputError),
        (["a", ""], {}, InputError),
        (["a"], {"model": "anthropic:claude-haiku-4-5"}, UnsupportedParameter),
        (["a"], {"model": "mistral:mistral-embed", "user": "me"}, UnsupportedParameter),
        (["a"], {"deadline_s": -1}, ConfigError),
        (["a"], {"nonsense": 1}, ConfigError),
    ],
)
def test_what_cannot_be_sent_is_refused_before(
    colour: str, texts: list[str], options: dict[str, Any], kind: type[PenstockError]
) -> None:
    """With nothing sent."""
    outcome = embed(colour, answer, texts, **options)
    assert isinstance(outcome.error, kind)
    assert outcome.transport.sent == []


def test_a_closed_client_embeds_nothing(colour: str) -> None:
    """As it answers nothing."""
    outcome = embed(colour, answer, ["a"])
    close = outcome.client.close()
    if colour == "async":
        asyncio.run(close)
        with pytest.raises(ClientClosed):
            asyncio.run(outcome.client.embed(["a"], model=MODEL))
    else:
        with pytest.raises(ClientClosed):
            outcome.client.embed(["a"], model=MODEL)


def test_every_provider_is_sent_no_more_than_it_takes(colour: str) -> None:
    """By the limits of its row: Mistral takes 512 texts of together 16,384 tokens."""
    texts = [f"{number} " + "some words here " * 4 for number in range(1500)]
    outcome = embed(colour, answer, texts, model="mistral:mistral-embed")
    assert outcome.error is None
    assert all(len(each) <= 512 for each in outcome.inputs)
    assert sorted(text for each in outcome.inputs for text in each) == sorted(texts)


def test_a_text_that_seems_too_long_goes_alone(colour: str) -> None:
    """Only the provider knows, and nobody else should be refused with it."""
    long = "word " * 20_000
    outcome = embed(colour, answer, ["a", long, "b"])
    assert sorted(map(len, outcome.inputs)) == [1, 2]
    assert outcome.result is not None


@given(st.lists(st.text("abc", min_size=1, max_size=3), min_size=1, max_size=40), st.sets(st.text("abc", max_size=3)))
@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_whatever_is_refused_the_rest_is_aligned(colour: str, texts: list[str], poisons: set[str]) -> None:
    """Each input has its own vector, or its own error."""

    def rule(sent: list[str]) -> Scripted:
        return answer(sent) if poisons.isdisjoint(sent) else refusal()

    outcome = embed(colour, rule, texts, on_bad_input="skip")
    found = outcome.result or (outcome.error.embedded if isinstance(outcome.error, PenstockError) else None)
    assert found is not None
    bad = {each.index for each in found.errors}
    for index, text in enumerate(texts):
        if found.vectors.has(index):
            assert found[index].tolist() == vector(text)
            assert index not in bad
        elif outcome.error is None:
            assert index in bad
        assert index not in bad or text in poisons


def test_both_clients_take_the_same(colour: str) -> None:
    """Parameters by name and by kind."""
    assert inspect.signature(Client.embed) == inspect.signature(AsyncClient.embed)
    assert colour in COLOURS
