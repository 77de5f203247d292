"""A provider that is down is left alone, probed, and used again once it answers. Needs no key."""

import time

from penstock import BreakerSettings, Client, PenstockError, RetryPolicy
from penstock.errors import BreakerOpen
from penstock.sim import SimServer

OUTAGE = """
[[rule]]
name = "down for half a second"
match = { until_s = 0.5 }
fault = { kind = "status", status = 503 }
"""


def main() -> None:
    breaker = BreakerSettings(min_calls=5, failure_ratio=0.5, open_s=0.2)
    with SimServer() as sim:
        sim.play(OUTAGE)
        settings = {"base_urls": {"openai": f"{sim.url}/v1"}, "keys": {"openai": "any"}}
        with Client(breaker=breaker, retry=RetryPolicy(attempts=1), **settings) as client:
            seen: list[str] = []
            until = time.monotonic() + 10
            while time.monotonic() < until and seen[-1:] != ["answered"]:
                try:
                    client.complete("hi", model="openai:gpt-4o-mini", deadline_s=0.05)
                    seen.append("answered")
                except BreakerOpen:
                    seen.append("refused here")
                except PenstockError as error:
                    seen.append(error.code)
                time.sleep(0.02)
            state = client.lanes()[0].breaker
        sent = len(sim.log())
    print(f"{len(seen)} calls, {sent} of them reached the provider; the breaker is {state.state} now")
    print("first: " + ", ".join(dict.fromkeys(seen)))


if __name__ == "__main__":
    main()
