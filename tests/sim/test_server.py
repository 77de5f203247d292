"""The simulator on a socket: limits, control pages, leaving clients, both ways to start it."""

import asyncio
import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import aiohttp
import httpx2
import openai
import pytest

from penstock.sim import Latency, Limits, ScenarioError, SimConfig, SimServer

BODY = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "What now? ERROR [db] timeout"}]}
KEY = {"authorization": "Bearer sk-very-secret"}


def post(sim: SimServer, **more: Any) -> httpx2.Response:
    return httpx2.post(f"{sim.url}/v1/chat/completions", json=BODY | more, headers=KEY)


def test_limits_are_enforced_and_reported() -> None:
    """Beyond the burst a 429 with headers comes, and the control page counts it."""
    with SimServer(SimConfig(limits={"openai": Limits(rpm=6, burst_requests=2)})) as sim:
        answers = [post(sim) for _ in range(3)]
        assert [answer.status_code for answer in answers] == [200, 200, 429]
        assert [a.headers["x-ratelimit-remaining-requests"] for a in answers] == ["1", "0", "0"]
        assert 1 <= int(answers[2].headers["retry-after"]) <= 10
        assert answers[2].json()["error"]["code"] == "rate_limit_exceeded"
        page = httpx2.get(f"{sim.url}/__sim__/limits").json()
        assert page["rejected_429"] == 1
        (lane,) = page["lanes"].values()
        assert (lane["most_60s"]["requests"], lane["most_60s"]["arrivals"]) == (2, 3)


def test_lanes_of_keys_and_models_do_not_share_limits() -> None:
    """Another credential or another model has its own bucket."""
    with SimServer(SimConfig(limits={"openai": Limits(rpm=6, burst_requests=1)})) as sim:
        statuses = [post(sim).status_code, post(sim).status_code, post(sim, model="gpt-4o").status_code]
        other = httpx2.post(f"{sim.url}/v1/chat/completions", json=BODY, headers={"authorization": "Bearer other"})
        assert [*statuses, other.status_code] == [200, 429, 200, 200]


def test_the_control_pages_tell_everything_but_the_key() -> None:
    """Summary, bill, log, limits and health are readable; the key is nowhere in them."""
    with SimServer() as sim:
        post(sim)
        post(sim, model="nonsense")
        pages = {name: httpx2.get(f"{sim.url}/__sim__/{name}").text for name in ("", "bill", "log", "limits", "health")}
        assert "secret" not in "".join(pages.values())
        assert json.loads(pages[""])["statuses"] == {"200": 1, "404": 1}
        entries = [json.loads(line) for line in pages["log"].splitlines()]
        assert [(e["status"], e["model"]) for e in entries] == [(200, "gpt-4o-mini"), (404, "nonsense")]
        bill = json.loads(pages["bill"])
        assert bill["total_nano"] == entries[0]["billed_nano"] == sim.bill()["total_nano"] > 0
        listed = httpx2.get(f"{sim.url}/__sim__/bill?attempts=1").json()["list"]
        assert listed == entries == sim.log()
        assert httpx2.get(f"{sim.url}/__sim__/nothing").status_code == 404
        assert httpx2.get(f"{sim.url}/__sim__/reset").status_code == 405
        assert httpx2.post(f"{sim.url}/__sim__/reset").json() == {"ok": True}
        assert httpx2.get(f"{sim.url}/__sim__/bill").json()["total_nano"] == 0


def test_scenarios_can_be_replaced_while_running() -> None:
    """A posted scenario takes effect at once; a bad one is refused with its place and changes nothing."""
    with SimServer() as sim:
        page = f"{sim.url}/__sim__/scenario"
        assert httpx2.post(page, content='[[rule]]\nfault = { kind = "overloaded" }\n').json() == {
            "ok": True,
            "rules": 1,
        }
        assert post(sim).status_code == 503
        bad = httpx2.post(page, content='[[rule]]\nfault = { kind = "x" }\n')
        assert (bad.status_code, "rule[0].fault.kind" in bad.json()["error"]) == (400, True)
        assert post(sim).status_code == 503
        assert httpx2.post(page, content='{"rule": []}').status_code == 200
        assert post(sim).status_code == 200
        with pytest.raises(ScenarioError):
            sim.play("rule = 3")


@pytest.mark.parametrize("stream", [True, False])
def test_a_client_that_leaves_is_billed_for_what_was_produced(stream: bool) -> None:
    """Closing the connection half way stops the answer, and the log says aborted."""
    latency = Latency(tokens_per_s=20)

    async def leave(sim: SimServer) -> None:
        async with aiohttp.ClientSession() as session:
            request = session.post(f"{sim.url}/v1/chat/completions", json=BODY | {"stream": stream}, headers=KEY)
            if stream:
                async with request as answer:
                    for _ in range(5):
                        assert await answer.content.readline()
                    answer.close()
            else:
                asking = asyncio.ensure_future(request)
                while not sim.simulator.open:  # noqa: ASYNC110 - no event of this loop tells it
                    await asyncio.sleep(0.005)
                await asyncio.sleep(0.25)
                asking.cancel()

    with SimServer(SimConfig(latency=latency, answer_tokens=400)) as sim:
        asyncio.run(leave(sim))
        assert sim.settle(10)  # the whole answer takes 20 s
        (entry,) = sim.log()
        assert entry["aborted"]
        assert entry["input_tokens"] > 0
        assert 0 < entry["output_tokens"] < 200


def test_latency_and_speed_are_felt() -> None:
    """First token and tokens per second take their time."""
    with SimServer(SimConfig(latency=Latency(first_token_s=0.1, tokens_per_s=1000), answer_tokens=100)) as sim:
        assert post(sim).elapsed.total_seconds() >= 0.2
        assert sim.settle()
        (entry,) = sim.log()
        assert entry["ended"] - entry["arrived"] >= 0.2


def test_it_serves_inside_a_running_loop() -> None:
    """With async with the simulator lives in the caller's loop, and hundreds of calls at once are fine."""

    async def main() -> tuple[int, int]:
        async with (
            SimServer(SimConfig(latency=Latency(first_token_s=0.2))) as sim,
            aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session,
        ):

            async def one() -> int:
                async with session.post(f"{sim.url}/v1/chat/completions", json=BODY, headers=KEY) as answer:
                    await answer.read()
                    return answer.status

            statuses = await asyncio.gather(*(one() for _ in range(300)))
            (lane,) = sim.limits()["lanes"].values()
            return statuses.count(200), lane["most_in_flight"]

    good, together = asyncio.run(main())
    assert good == 300
    assert together > 200


@pytest.mark.parametrize("how", ["rst", "fin"])
@pytest.mark.parametrize("when", ["before_read", "after_body", "mid_stream"])
def test_broken_connections_break_and_the_server_lives_on(how: str, when: str) -> None:
    """After every kind of reset the next call works and nothing stays open."""
    with SimServer() as sim:
        sim.play(f'[[rule]]\ntimes = 1\nfault = {{ kind = "reset", when = "{when}", how = "{how}" }}\n')
        with pytest.raises(httpx2.TransportError):
            post(sim, stream=True)
        assert post(sim).status_code == 200
        assert sim.settle()
        assert [entry["aborted"] for entry in sim.log()] == [True, False]


def test_stopping_cuts_what_is_under_way() -> None:
    """A stalled call does not hold the server up; it ends as a broken connection and is settled."""
    sim = SimServer()
    with sim, openai.OpenAI(base_url=f"{sim.url}/v1", api_key="k", max_retries=0, timeout=0.1) as client:
        sim.play('[[rule]]\nfault = { kind = "stall" }\n')
        with pytest.raises(openai.APITimeoutError):
            client.chat.completions.create(model="gpt-4o-mini", messages=[{"role": "user", "content": "x"}])
    assert sim.simulator.open == 0


def test_a_taken_port_is_an_error() -> None:
    """A port in use raises OSError in the caller, also from the thread."""
    with SimServer() as sim, pytest.raises(OSError, match="in use"), SimServer(port=sim.port):
        pass


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_blocking_server_stops_cleanly_on_a_signal(number: signal.Signals) -> None:
    """serve prints one line, answers, and exits with 0 on Ctrl-C."""
    source = str(Path(__file__).parents[2] / "src")
    code = f"import sys; sys.path.insert(0, {source!r}); from penstock.sim import serve; serve(port=0)"
    with subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as run:
        assert run.stdout is not None
        assert run.stderr is not None
        line = run.stdout.readline()
        url = line.split()[2]
        assert httpx2.get(f"{url}/__sim__/health").json() == {"ok": True}
        run.send_signal(number)
        assert run.wait(30) == 0
        assert run.stderr.read() == ""


def test_a_storm_of_faults_and_leavers_leaves_nothing_open() -> None:
    """After 300 calls through every kind of break, each is settled once and the bill is the sum of its attempts."""
    kinds = (
        'kind = "reset"',
        'kind = "reset", when = "mid_stream"',
        'kind = "stall", when = "mid_stream"',
        'kind = "truncate"',
        'kind = "error_event"',
        'kind = "overloaded"',
    )
    rules = "\n".join(f"[[rule]]\nmatch = {{ share = 0.1 }}\nfault = {{ {kind} }}\n" for kind in kinds)

    async def main(sim: SimServer) -> None:
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:

            async def one(number: int) -> None:
                body = BODY | {"stream": number % 2 == 0}
                try:
                    async with asyncio.timeout(0.5 if number % 3 else 0.05):
                        async with session.post(f"{sim.url}/v1/chat/completions", json=body, headers=KEY) as answer:
                            await answer.read()
                except (aiohttp.ClientError, TimeoutError):
                    return

            await asyncio.gather(*(one(number) for number in range(300)))

    with SimServer(SimConfig(latency=Latency(first_token_s=0.02, tokens_per_s=2000))) as sim:
        sim.play(rules)
        asyncio.run(main(sim))
        assert sim.settle()
        attempts = sim.log()
        assert len({entry["no"] for entry in attempts}) == len(attempts)
        assert sim.bill()["total_nano"] == sum(entry["billed_nano"] for entry in attempts) > 0
        assert all(lane["in_flight"] == 0 for lane in sim.limits()["lanes"].values())
