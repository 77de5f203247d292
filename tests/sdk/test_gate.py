"""What the gate does with another client's requests: their lane, what is refused, what passes beside, what breaks."""

from __future__ import annotations

import asyncio
from typing import Any

import anthropic
import httpx
import httpx2
import openai
import pytest

from penstock import AsyncClient, Budget, Cache, Client, Limits, RetryPolicy, sdk
from penstock.errors import BreakerOpen, ConfigError, ConnectionFailed, PenstockError, RateLimited, UnknownProvider
from penstock.sim import SimServer

ASK: list[Any] = [{"role": "user", "content": "What happened? ERROR [db] connection refused"}]
MODEL = "gpt-4o-mini"
ONCE = RetryPolicy(attempts=1, unknown_outcomes=0, rate_limits=0)
KEY = "sk-canary-7f3a"


def gate(sim: SimServer, **more: Any) -> Client:
    return Client(base_urls={"openai": sim.url + "/v1"}, config=False, env={}, **more)


def behind(sim: SimServer, client: Client, **options: Any) -> openai.OpenAI:
    return openai.OpenAI(api_key=KEY, base_url=sim.url + "/v1", http_client=sdk.http_client(client, **options))


def ask(ai: openai.OpenAI, **more: Any) -> Any:
    return ai.chat.completions.create(**{"model": MODEL, "messages": ASK, **more})


def test_a_key_has_one_lane_whoever_asks(sim: SimServer) -> None:
    """The SDK's calls and Penstock's own share limits and breaker, by provider, address, key and model."""
    with gate(sim, keys={"openai": KEY}) as client:
        ask(behind(sim, client))
        client.complete("Hello", model=f"openai:{MODEL}")
        (lane,) = client.lanes()
        assert KEY not in repr(lane)
    assert lane.name == f"openai:{MODEL}"


def test_the_body_goes_out_byte_for_byte(sim: SimServer) -> None:
    """Also a stream's, unless it was allowed to ask for its usage; then that is told, and no estimate."""
    sent: list[bytes] = []

    def kept(request: httpx2.Request) -> None:
        sent.append(request.read())

    for allowed in (False, True):
        sim.reset()
        with gate(sim) as client:
            http = sdk.http_client(client, include_usage=allowed)
            http.event_hooks = {"request": [kept]}
            ai = openai.OpenAI(api_key=KEY, base_url=sim.url + "/v1", http_client=http)
            usages = [event.usage for event in ask(ai, stream=True)]
            assert client.usage().usage.estimated is not allowed
        assert any(usages) is allowed
    assert sent[0] == sent[1]


def test_a_budget_of_two_holds_for_both(sim: SimServer) -> None:
    """A call is held at what it may cost: of a model whose output limit is known also where no max_tokens is given."""
    with gate(sim, budget=Budget(total="0.01006")) as client:
        ask(behind(sim, client))
        with pytest.raises(openai.APIStatusError) as caught:
            ask(behind(sim, client))
        assert caught.value.status_code == 402
        found = sdk.error_of(caught.value)
        assert found is not None
        assert found.code == "budget_exceeded"
        state = client.budget()
    assert state.overshoot_nano == 0
    assert len(sim.log()) == 1


def test_what_a_budget_cannot_bound_is_refused(sim: SimServer) -> None:
    """A model of unknown output limit without max_tokens, and requests that are no known call; both say what to do."""
    with gate(sim, budget=Budget(daily="5")) as client:
        ai = behind(sim, client)
        with pytest.raises(openai.BadRequestError, match="give it a max_tokens"):
            ask(ai, model="ft:mystery")
        with pytest.raises(openai.BadRequestError, match="others='pass'"):
            ai.images.generate(prompt="a cat")
        assert sim.log() == []
        with behind(sim, client, others="pass") as free, pytest.raises(openai.NotFoundError):
            free.images.generate(prompt="a cat")  # the simulator's own word: it was let through
        with ai, pytest.raises(openai.NotFoundError):
            ai.files.retrieve("file-1")
        assert client.usage().calls == 0


def test_an_unknown_address_is_named_with_what_to_do(sim: SimServer) -> None:
    """Nothing is guessed; a row named for it is taken."""
    with Client(config=False, env={}) as client:
        with pytest.raises(openai.BadRequestError, match=r"no provider .* has the address .*provider='NAME'") as caught:
            ask(behind(sim, client))
        assert isinstance(sdk.error_of(caught.value), UnknownProvider)
        assert ask(behind(sim, client, provider="vllm")).choices
        assert client.lanes()[0].name == f"vllm:{MODEL}"
        claude = anthropic.Anthropic(
            api_key=KEY, base_url=sim.url, http_client=sdk.http_client(client, provider="vllm")
        )
        with pytest.raises(anthropic.BadRequestError, match="does not speak anthropic"):
            claude.messages.create(model="claude-haiku-4-5", messages=ASK, max_tokens=9)


def test_bad_options_are_named() -> None:
    """Before anything is sent, with what was expected."""
    with Client(config=False, env={}) as client:
        bad: list[tuple[dict[str, Any], str]] = [
            ({"provider": "nobody"}, "no provider is called 'nobody'"),
            ({"others": "maybe"}, "expected 'pass' or 'refuse'"),
            ({"library": "requests"}, "expected 'httpx2' or 'httpx'"),
            ({"tags": {"a": 1}}, "tag"),
        ]
        for options, words in bad:
            with pytest.raises(ConfigError, match=words):
                sdk.http_client(client, **options)
    with pytest.raises(ConfigError, match=r"expected a penstock\.Client"):
        sdk.http_client("gate")  # type: ignore[arg-type]


def test_a_stored_answer_is_given_again(sim: SimServer) -> None:
    """Where nothing is drawn by chance, as for Penstock's own calls."""
    with gate(sim, cache=Cache()) as client:
        ai = behind(sim, client)
        first = ask(ai, temperature=0)
        assert ask(ai, temperature=0) == first
        ask(ai)
        ask(ai)
        assert client.usage().cached == 1
    assert len(sim.log()) == 3


def test_limits_hold_an_sdk_back(sim: SimServer) -> None:
    """A request that can never pass is told so."""
    with gate(sim, limits=Limits(tpm=10)) as client:
        with pytest.raises(openai.APIStatusError, match="limit"):
            ask(behind(sim, client))
        assert sim.log() == []


def test_a_retry_of_the_gate_is_all_there_is(sim: SimServer) -> None:
    """A lane that is down is asked as the gate's policy says, and the SDK, at its default, adds nothing."""
    sim.play('[[rule]]\nfault = { kind = "overloaded" }\n')
    with gate(sim, retry=RetryPolicy(attempts=2, base_s=0.001, cap_s=0.001)) as client:
        with pytest.raises(openai.InternalServerError) as caught:
            ask(behind(sim, client))
        found = sdk.error_of(caught.value)
        assert found is not None
        assert [each.outcome for each in found.attempts] == ["overloaded"] * 2
    assert len(sim.log()) == 2


def test_the_answer_of_a_failure_is_the_providers_own(sim: SimServer) -> None:
    """Status, headers and body, also for a stream; only that it is not to be sent again is added."""
    sim.play('[[rule]]\nfault = { kind = "rate_limit" }\n')
    for stream in (False, True):
        with gate(sim, retry=ONCE) as client, pytest.raises(openai.RateLimitError) as caught:
            ask(behind(sim, client), stream=stream)
        assert isinstance(sdk.error_of(caught.value), RateLimited)
        assert caught.value.response.headers["x-should-retry"] == "false"
        assert caught.value.body
        assert "Penstock" not in str(caught.value)


def test_nobody_home_is_an_error_of_the_sdk(sim: SimServer) -> None:
    """Without an answer there is one that says so, and has Penstock's error."""
    with Client(base_urls={"openai": "http://127.0.0.1:9/v1"}, config=False, env={}, retry=ONCE) as client:
        ai = openai.OpenAI(api_key=KEY, base_url="http://127.0.0.1:9/v1", http_client=sdk.http_client(client))
        with pytest.raises(openai.InternalServerError, match="nothing was sent") as caught:
            ask(ai)
        assert isinstance(sdk.error_of(caught.value), ConnectionFailed)
        assert KEY not in str(caught.value)


@pytest.mark.parametrize("fault", ['kind = "reset", when = "mid_stream"', 'kind = "error_event"'])
def test_a_stream_that_breaks_is_settled_and_told(sim: SimServer, fault: str) -> None:
    """A broken connection is one to the SDK as well; an error inside the stream reaches it as the provider wrote it."""
    sim.play(f"[[rule]]\nfault = {{ {fault}, after_chunks = 3 }}\n")
    with gate(sim, retry=ONCE) as client:
        pieces: list[str] = []
        with pytest.raises(openai.APIError) as caught:
            pieces.extend(event.choices[0].delta.content or "" for event in ask(behind(sim, client), stream=True))
        totals = client.usage()
    assert "".join(pieces)
    assert isinstance(caught.value, openai.APIConnectionError) is ("reset" in fault)
    assert (totals.calls, totals.failed) == (1, 1)
    assert totals.usage.output > 0
    assert totals.usage.estimated


def test_a_stream_that_is_left_is_settled(sim: SimServer) -> None:
    """In both colours, by an estimate of what came, and the connection is dropped."""
    with gate(sim, budget=Budget(daily="1")) as client:
        with ask(behind(sim, client), stream=True, max_tokens=200) as events:
            for event in events:
                if event.choices[0].delta.content:
                    break
        assert client.usage().usage.estimated
        assert client.budget().scopes[0].held_nano == 0

    async def main() -> None:
        async with AsyncClient(base_urls={"openai": sim.url + "/v1"}, config=False, env={}) as other:
            ai = openai.AsyncOpenAI(api_key=KEY, base_url=sim.url + "/v1", http_client=sdk.http_client(other))
            stream: Any = await ai.chat.completions.create(model=MODEL, messages=ASK, stream=True)
            async with stream as events:
                async for event in events:
                    if event.choices[0].delta.content:
                        break
            assert other.usage().usage.output > 0

    asyncio.run(main())


def test_a_cancelled_call_is_settled(sim: SimServer) -> None:
    """A task that is cancelled holds nothing any more."""
    sim.play('[[rule]]\nfault = { kind = "stall" }\n')

    async def main() -> None:
        async with AsyncClient(
            base_urls={"openai": sim.url + "/v1"}, config=False, env={}, budget=Budget(daily="1")
        ) as other:
            ai = openai.AsyncOpenAI(api_key=KEY, base_url=sim.url + "/v1", http_client=sdk.http_client(other))
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(ai.chat.completions.create(model=MODEL, messages=ASK, max_tokens=9), 0.1)
            assert other.budget().calls_under_way == 0
            assert other.usage().failed == 1

    asyncio.run(main())


def test_embeddings_are_calls(sim: SimServer) -> None:
    """They are held and counted like an answer."""
    with gate(sim, budget=Budget(daily="1")) as client:
        answer = behind(sim, client).embeddings.create(model="text-embedding-3-small", input=["a log line", "another"])
        totals = client.usage()
    assert totals.usage.total == answer.usage.total_tokens
    assert totals.cost_nano == sim.bill()["total_nano"]


def test_tags_count_apart(sim: SimServer) -> None:
    """Of each client by those that it was given."""
    with gate(sim) as client:
        ask(behind(sim, client, tags={"team": "search"}))
        ask(behind(sim, client, tags={"team": "sre"}))
        assert client.usage().by_tag["team=sre"].calls == 1


def test_a_body_that_is_no_request_is_named(sim: SimServer) -> None:
    """Nothing is sent of it."""
    with gate(sim) as client, sdk.http_client(client, "httpx") as http:
        assert isinstance(http, httpx.Client)
        for body, words in ((b"{", "is not JSON"), (b"[]", "expected a JSON object"), (b"{}", "names no model")):
            answer = http.post(sim.url + "/v1/chat/completions", content=body)
            assert answer.status_code == 400
            assert words in answer.json()["error"]["message"]
            assert isinstance(answer.extensions["penstock_error"], PenstockError)
        assert sim.log() == []


def test_a_closed_gate_says_so(sim: SimServer) -> None:
    """An SDK that is kept longer than its gate sends nothing."""
    client = gate(sim)
    ai = behind(sim, client)
    client.close()
    with pytest.raises(openai.InternalServerError, match="closed"):
        ask(ai)


def test_an_open_breaker_is_told_at_once(sim: SimServer) -> None:
    """A key that is not accepted opens it, and the next call is not sent."""
    sim.play('[[rule]]\nfault = { kind = "status", status = 401 }\n')
    with gate(sim, retry=ONCE) as client:
        ai = behind(sim, client)
        with pytest.raises(openai.AuthenticationError):
            ask(ai)
        with pytest.raises(openai.InternalServerError) as caught:
            ask(ai)
        assert isinstance(sdk.error_of(caught.value), BreakerOpen)
    assert len(sim.log()) == 1
