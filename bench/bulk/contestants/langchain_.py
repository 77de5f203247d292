"""LangChain: ChatOpenAI.abatch, with its in-memory limiter where the limit is told."""

import asyncio
import sys
from pathlib import Path

from bench.bulk.given import KEY, OPENAI_MODEL, Given, rows, write_answers
from langchain_core.rate_limiters import InMemoryRateLimiter
from langchain_openai import ChatOpenAI


async def play(folder: Path) -> None:
    given = Given.read(folder)
    limiter = None
    if given.rpm:
        limiter = InMemoryRateLimiter(
            requests_per_second=given.rpm / 60, check_every_n_seconds=0.01, max_bucket_size=given.rpm / 12
        )
    chat = ChatOpenAI(
        model=OPENAI_MODEL,
        base_url=f"{given.url}/v1",
        api_key=KEY,
        max_tokens=given.max_tokens,
        timeout=given.timeout_s,
        rate_limiter=limiter,
    )
    ids, prompts = zip(*rows(folder), strict=True)
    config = {"max_concurrency": given.concurrency}
    found = await chat.abatch(list(prompts), config=config, return_exceptions=True)
    texts = (None if isinstance(each, BaseException) else str(each.content) for each in found)
    write_answers(folder, zip(ids, texts, strict=True))


if __name__ == "__main__":
    asyncio.run(play(Path(sys.argv[1])))
