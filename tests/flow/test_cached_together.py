"""Identical calls at the same time are one, in both colours."""

from __future__ import annotations

import asyncio
import itertools
import math
import random
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import pytest

from penstock import AsyncClient, Cache, Client, PenstockError, RetryPolicy
from penstock._flow.effects import Expired
from penstock.errors import DeadlineExceeded, InvalidRequest, Overloaded, StreamInterrupted, TotalTimeout
from penstock.testing import AsyncScriptedTransport, Scripted, ScriptedTransport
from penstock.types import Chunk

from .colours import KEYS, QUICK, openai_error, openai_events, openai_reply
from .crowd import crowd, until

both = pytest.mark.parametrize("colour", ["sync", "async"])
MANY = 99


@pytest.mark.prove(19)
@both
def test_a_call_that_may_fall_back_and_one_that_may_not_fly_apart(colour: str) -> None:
    """The second must not be given what another model said."""
    answers = [openai_reply("own"), openai_reply("own")]
    with crowd(colour, answers) as some:
        calls = [some.ask(fallbacks=["anthropic:claude-haiku-4-5"]), some.ask()]
        some.asked(2)
        some.let(2)
        assert [call.result(10).cached for call in calls] == [False, False]


@pytest.mark.prove(19)
@both
def test_a_hundred_identical_calls_are_one(colour: str, record_property: Any) -> None:
    """All but one follow, and each gets an answer of its own."""
    with crowd(colour, [openai_reply("fine")]) as some:
        calls = [some.ask(tags={"n": str(number)}) for number in range(MANY + 1)]
        some.follow(MANY)
        some.asked(1)
        some.let()
        answers = [call.result(10) for call in calls]
        record_property("upstream", some.transport.asked)
    assert some.transport.asked == 1
    assert {answer.text for answer in answers} == {"fine"}
    assert sorted(answer.cached for answer in answers) == [False] + [True] * MANY
    assert sum(answer.cost_nano for answer in answers) == some.client.usage().cost_nano > 0
    assert [answer.tags for answer in answers] == [{"n": str(number)} for number in range(MANY + 1)]
    totals = some.client.usage()
    assert (totals.calls, totals.attempts, totals.cached, totals.failed) == (MANY + 1, 1, MANY, 0)


@pytest.mark.prove(19)
@both
def test_when_the_leader_is_killed_one_follower_takes_over(colour: str) -> None:
    """The leader ends with what killed it, and the others wait on for one new call."""
    death = KeyboardInterrupt() if colour == "sync" else asyncio.CancelledError()
    with crowd(colour, [Scripted(error=death), openai_reply("second")]) as some:
        first = some.ask()
        some.asked(1)
        others = [some.ask() for _ in range(MANY)]
        some.follow(MANY)
        some.let()
        some.asked(2)
        some.follow(MANY - 1)
        assert not any(call.done() for call in others)
        some.let()
        answers = [call.result(10) for call in others]
        with pytest.raises(BaseException):  # noqa: B017, PT011 - CancelledError of futures or KeyboardInterrupt
            first.result(10)
    assert {answer.text for answer in answers} == {"second"}
    assert sum(answer.cached for answer in answers) == MANY - 1


@pytest.mark.prove(19)
def test_when_its_task_is_cancelled_one_follower_takes_over() -> None:
    """Leaders and followers are cancelled in turn; who is left gets the answer of the one call that was let through."""
    with crowd("async", [openai_reply("last")]) as some:
        calls: list[Future[Any]] = []
        for number in range(6):
            calls.append(some.ask())
            some.follow(number)
        some.asked(1)
        calls[3].cancel()
        some.follow(4)
        calls[0].cancel()
        some.asked(2)
        calls[1].cancel()
        some.asked(3)
        some.follow(2)
        some.let()
        assert [calls[number].result(10).text for number in (2, 4, 5)] == ["last"] * 3
    assert some.client.usage().cached == 2


@pytest.mark.prove(19)
@both
def test_an_error_is_shared_once_and_not_stored(colour: str) -> None:
    """Each caller has an error of its own that leads to the one that happened; the next call asks again."""
    with crowd(colour, [openai_error(503), openai_reply("later")], retry=RetryPolicy(attempts=1)) as some:
        calls = [some.ask() for _ in range(10)]
        some.follow(9)
        some.let()
        errors = [call.exception(10) for call in calls]
        assert all(isinstance(error, Overloaded) for error in errors)
        assert len({id(error) for error in errors}) == 10
        assert sum(bool(getattr(error, "attempts", ())) for error in errors) == 1
        original = next(error for error in errors if isinstance(error, PenstockError) and error.attempts)
        for error in errors:
            assert isinstance(error, Overloaded)
            assert error is original or (error.__cause__ is original and error.cost_nano == 0)
            assert error is original or (error.status, error.message) == (503, original.message)
        some.let()
        assert some.ask().result(10).text == "later"
    assert some.transport.asked == 2
    assert some.client.usage().failed == 10


@pytest.mark.prove(6, 19)
@both
def test_the_deadline_of_a_follower_holds_while_it_waits(colour: str) -> None:
    """The leader and the other followers go on."""
    with crowd(colour, [openai_reply("slow")]) as some:
        first = some.ask()
        some.asked(1)
        patient, hasty = some.ask(), some.ask(deadline_s=0.05)
        error = hasty.exception(10)
        assert isinstance(error, DeadlineExceeded)
        assert "identical call" in str(error)
        some.follow(1)
        some.let()
        assert first.result(10).text == patient.result(10).text == "slow"


@pytest.mark.prove(19)
@both
def test_the_deadline_of_the_leader_does_not_fail_those_who_have_time(colour: str) -> None:
    """One of them takes over."""
    answers = [Scripted(error=Expired(math.inf)), openai_reply("ok")]
    with crowd(colour, answers, retry=RetryPolicy(attempts=1)) as some:
        hasty = some.ask(deadline_s=5)
        some.asked(1)
        patient = some.ask()
        some.follow(1)
        some.let()
        assert isinstance(hasty.exception(10), TotalTimeout)
        some.asked(2)
        some.let()
        assert patient.result(10).text == "ok"


def texts(chunks: list[Chunk]) -> list[str]:
    """Return the pieces of text."""
    return [chunk.text for chunk in chunks if chunk.kind == "text" and chunk.text]


@pytest.mark.prove(19)
@both
def test_streams_follow_live_and_late_ones_catch_up(colour: str) -> None:
    """Each chunk is there for all before the next one came; whoever comes late reads from the start."""
    with crowd(colour, [Scripted(body=openai_events("a", "b", "c"))]) as some:
        seen: list[list[Chunk]] = [[], [], []]
        calls = [some.stream(seen[0])]
        some.asked(1)
        calls.append(some.stream(seen[1]))
        whole = some.ask()
        some.follow(2)
        some.let(3)
        until(lambda: texts(seen[0]) == texts(seen[1]) == ["a"])
        calls.append(some.stream(seen[2]))
        until(lambda: texts(seen[2]) == ["a"])
        some.let(1)
        until(lambda: all(texts(chunks) == ["a", "b"] for chunks in seen))
        assert not whole.done()
        some.let(100)
        answers = [call.result(10) for call in [*calls, whole]]
    assert seen[0] == seen[1] == seen[2]
    assert {answer.text for answer in answers} == {"abc"}
    assert [answer.cached for answer in answers] == [False, True, True, True]
    assert some.transport.asked == 1


@pytest.mark.prove(11, 19)
@both
def test_a_stream_whose_leader_is_gone_goes_on_where_its_reader_is(colour: str) -> None:
    """The second answer is the same as far as it was shown; nothing is shown twice."""
    death = KeyboardInterrupt() if colour == "sync" else asyncio.CancelledError()
    cut = Scripted(body=[*openai_events("Hel", done=False), death])
    with crowd(colour, [cut, Scripted(body=openai_events("H", "ello", " you"))]) as some:
        seen: list[list[Chunk]] = [[], [], []]
        leader = some.stream(seen[0])
        some.asked(1)
        others = [some.stream(chunks) for chunks in seen[1:]]
        some.follow(2)
        some.let(3)
        until(lambda: all(texts(chunks) == ["Hel"] for chunks in seen))
        some.follow(2)
        some.let(1)
        with pytest.raises(BaseException):  # noqa: B017, PT011 - CancelledError of futures or KeyboardInterrupt
            leader.result(10)
        some.asked(2)
        some.let(100)
        answers = [call.result(10) for call in others]
    assert [texts(chunks) for chunks in seen] == [["Hel"], ["Hel", "lo", " you"], ["Hel", "lo", " you"]]
    assert {answer.text for answer in answers} == {"Hello you"}


@pytest.mark.prove(11, 19)
@both
def test_a_stream_whose_second_answer_is_another_one_is_interrupted(colour: str) -> None:
    """With what was shown, and what the second answer cost; those who have seen nothing yet get the second one."""
    death = KeyboardInterrupt() if colour == "sync" else asyncio.CancelledError()
    cut = Scripted(body=[*openai_events("Hel", done=False), death])
    with crowd(colour, [cut, Scripted(body=openai_events("Good day")), openai_reply("third")]) as some:
        seen: list[list[Chunk]] = [[], []]
        leader = some.stream(seen[0])
        some.asked(1)
        follower = some.stream(seen[1])
        some.follow(1)
        some.let(3)
        until(lambda: texts(seen[1]) == ["Hel"])
        whole = some.ask()
        some.follow(2)
        some.let(1)
        with pytest.raises(BaseException):  # noqa: B017, PT011 - CancelledError of futures or KeyboardInterrupt
            leader.result(10)
        some.asked(2)
        some.let(100)
        error = follower.exception(10)
        assert isinstance(error, StreamInterrupted)
        assert error.partial.text == "Hel"
        assert error.cost_nano is not None
        assert error.cost_nano > 0
        assert whole.result(10).text == "third"
    assert texts(seen[1]) == ["Hel"]


@pytest.mark.prove(19)
@both
def test_a_leader_that_waits_for_its_provider_is_not_overtaken(colour: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its reader asked for more, so the silence is not the reader's."""
    for module in ("_policy.flights", "_io.answers"):
        monkeypatch.setattr(f"penstock.{module}.PATIENCE_S", 0.01)
    with crowd(colour, [Scripted(body=openai_events("a", "b"))]) as some:
        seen: list[Chunk] = []
        leader = some.stream(seen)
        some.asked(1)
        some.let(3)
        until(lambda: texts(seen) == ["a"])
        until(lambda: next(iter(some.client._gate.answers._flights._flights.values())).shown_at is None)
        assert isinstance(some.ask(deadline_s=0.1).exception(10), DeadlineExceeded)
        some.let(100)
        assert leader.result(10).text == "ab"
    assert some.transport.asked == 1


class Random(AsyncScriptedTransport):
    """A provider that takes up to a millisecond and fails one time in ten."""

    def __init__(self, dice: random.Random) -> None:
        super().__init__(self._answers_of(dice))
        self.dice = dice

    @staticmethod
    def _answers_of(dice: random.Random) -> Iterator[Scripted]:
        while True:
            yield openai_error(400) if dice.random() < 0.1 else Scripted(body=openai_events("a", "b", "c"))

    async def send(self, target: Any, outbound: Any, until: float, *, stream: bool) -> Any:
        """Take a moment."""
        await asyncio.sleep(self.dice.random() / 1000)
        exchange = await super().send(target, outbound, until, stream=stream)
        read = exchange.read

        async def slow(until: float, idle_s: float | None) -> bytes:
            await asyncio.sleep(self.dice.random() / 1000)
            return await read(until, idle_s)

        exchange.read = slow  # type: ignore[method-assign]
        return exchange


@pytest.mark.prove(19, 23)
@pytest.mark.parametrize("seed", range(4))
def test_streams_and_calls_that_come_and_go_at_random_leave_nobody_behind(seed: int) -> None:
    """Of 200 calls of five questions half are cancelled at any moment: the others end, and nothing is left."""
    dice = random.Random(seed)

    async def main() -> None:
        settings: dict[str, Any] = {"keys": KEYS, "config": False, "env": {}, "cache": Cache(), "retry": QUICK}
        client = AsyncClient(transport=Random(dice), **settings)
        loop = asyncio.get_running_loop()

        async def call(number: int) -> str:
            await asyncio.sleep(dice.random() / 50)
            prompt, mode = f"question {number % 5}", dice.choice([None, "read", "write", "refresh", "force"])
            options: Any = {"model": "openai:gpt-4o-mini", "temperature": 0, **({"cache": mode} if mode else {})}
            if dice.random() < 0.3:
                return (await client.complete(prompt, **options)).text
            async with client.stream(prompt, **options) as stream:
                return "".join([text async for text in stream.text])

        calls = [asyncio.create_task(call(number)) for number in range(200)]
        for each in dice.sample(calls, 100):
            loop.call_later(dice.random() / 30, each.cancel)
        async with asyncio.timeout(10):
            ended = await asyncio.gather(*calls, return_exceptions=True)
        assert {str(one) for one in ended if isinstance(one, str)} == {"abc"}
        wrong = [one for one in ended if not isinstance(one, str | asyncio.CancelledError | InvalidRequest)]
        assert wrong == []
        assert sum(isinstance(one, str) for one in ended) > 50
        state = client.cache()
        assert state is not None
        assert state.flights == 0
        assert client.lanes()[0].limiter.in_flight == 0
        assert asyncio.all_tasks() == {asyncio.current_task()}

    asyncio.run(main())


@pytest.mark.prove(19, 23)
@pytest.mark.parametrize("seed", range(2))
def test_threads_whose_leaders_die_at_random_leave_nobody_behind(seed: int) -> None:
    """Sixteen threads ask three questions; every fifth request kills the thread's call."""
    dice = random.Random(seed)

    def answer(_: int) -> Scripted:
        return Scripted(error=KeyboardInterrupt()) if dice.random() < 0.2 else openai_reply("fine")

    script = map(answer, itertools.count())
    client = Client(transport=ScriptedTransport(script), keys=KEYS, config=False, env={}, cache=Cache(), retry=QUICK)

    def ask(number: int) -> str:
        try:
            options: Any = {"model": "openai:gpt-4o-mini", "temperature": 0, "cache": "refresh"}
            return client.complete(f"question {number % 3}", **options).text
        except KeyboardInterrupt:
            return "killed"

    with ThreadPoolExecutor(16) as pool:
        ended = list(pool.map(ask, range(600), timeout=60))
    assert set(ended) <= {"fine", "killed"}
    assert ended.count("fine") > 300
    assert client.cache().flights == 0  # type: ignore[union-attr]
    assert client.lanes()[0].limiter.in_flight == 0
