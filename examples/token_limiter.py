"""Many calls at once through a limit in tokens: they wait for their turn, and none is rejected. Needs no key."""

import asyncio
import time

from penstock import AsyncClient, Limits
from penstock.sim import Limits as ProviderLimits
from penstock.sim import SimConfig, SimServer

TOKENS_PER_MINUTE = 60_000
PROVIDER = SimConfig(limits={"openai": ProviderLimits(tpm=TOKENS_PER_MINUTE)})


async def main() -> None:
    with SimServer(PROVIDER) as sim:
        async with AsyncClient(
            base_urls={"openai": f"{sim.url}/v1"},
            keys={"openai": "any"},
            limits=Limits(tpm=TOKENS_PER_MINUTE),
        ) as client:
            begun = time.monotonic()
            questions = [f"Classify this log line as P1 or P2: disk {number} is full" for number in range(260)]
            calls = [client.complete(question, model="openai:gpt-4o-mini", max_tokens=8) for question in questions]
            answers = await asyncio.gather(*calls)
            taken = time.monotonic() - begun
        rejected = sum(entry["status"] == 429 for entry in sim.log())
    tokens = sum(answer.usage.total for answer in answers)
    waited = max(attempt.wait_s for answer in answers for attempt in answer.attempts)
    print(f"{len(answers)} answers, {tokens:,} tokens in {taken:.1f} s, {rejected} rejected with 429")
    print(f"the last of them waited {waited:.1f} s for its turn")


if __name__ == "__main__":
    asyncio.run(main())
