"""A client that repeats what failed: never sooner than the provider asks, never what cannot succeed. Needs no key."""

from penstock import Client, RetryPolicy
from penstock.errors import InvalidRequest
from penstock.sim import SimServer

BAD_LUCK = """
[[rule]]
name = "the first request fails"
match = { nth = 1 }
fault = { kind = "status", status = 500 }

[[rule]]
name = "the second comes too early"
match = { nth = 2 }
fault = { kind = "rate_limit", retry_after = "1" }
"""


def main() -> None:
    with SimServer() as sim:
        sim.play(BAD_LUCK)
        patient = RetryPolicy(attempts=4, base_s=0.1)
        with Client(base_urls={"openai": f"{sim.url}/v1"}, keys={"openai": "any"}, retry=patient) as client:
            answer = client.complete("Answer with exactly: fine", model="openai:gpt-4o-mini", deadline_s=20)
            print(f"{answer.text!r} after {len(answer.attempts)} attempts in {answer.latency_s:.1f} s:")
            for attempt in answer.attempts:
                print(f"  {attempt.started_s:5.2f} s  {attempt.outcome:13} HTTP {attempt.status}")
            try:
                client.complete("hi", model="openai:gpt-nosuch")
            except InvalidRequest as error:
                print(f"not repeated, since it would fail again: {error.code} ({len(error.attempts)} attempt)")


if __name__ == "__main__":
    main()
