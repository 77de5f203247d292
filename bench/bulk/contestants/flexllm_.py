"""flexllm: messages in, JSONL out, resumed by index."""

import asyncio
import sys
from pathlib import Path

from bench.bulk.given import KEY, OPENAI_MODEL, Given, rows
from flexllm import LLMClient


def play(folder: Path) -> None:
    given = Given.read(folder)
    told = {"max_qps": given.rpm / 60} if given.rpm else {}
    client = LLMClient(
        provider="openai",
        base_url=f"{given.url}/v1",
        api_key=KEY,
        model=OPENAI_MODEL,
        concurrency_limit=given.concurrency,
        timeout=int(given.timeout_s),
        **told,
    )
    messages = [[{"role": "user", "content": prompt}] for _, prompt in rows(folder)]
    options = {"output_jsonl": str(folder / "flexllm.jsonl"), "show_progress": False, "max_tokens": given.max_tokens}
    asyncio.run(client.chat_batch(messages, **options))


if __name__ == "__main__":
    play(Path(sys.argv[1]))
