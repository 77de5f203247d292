"""async-batch-llm: a worker pool with a JSONL artifact store that resumes successes."""

import asyncio
import sys
from pathlib import Path

from async_batch_llm import (
    ArtifactIdentity,
    CharacterTokenEstimator,
    JsonlArtifactStore,
    ProcessorConfig,
    ResumePolicy,
    llm,
    process_prompts,
)
from bench.bulk.given import KEY, OPENAI_MODEL, Given, rows

BURST_S = 0.25
"""What may go at once; its own default is a minute's worth, which no provider that counts by the second lets in."""


async def play(folder: Path) -> None:
    given = Given.read(folder)
    url, connections = f"{given.url}/v1", given.concurrency
    options = {"generation_config": {"max_tokens": given.max_tokens}, "max_connections": connections}
    strategy = llm(f"openai-compatible:{OPENAI_MODEL}", base_url=url, api_key=KEY, **options)
    config = ProcessorConfig(
        concurrency=given.concurrency,
        attempt_timeout=given.timeout_s,
        max_requests_per_minute=given.rpm,
        max_tokens_per_minute=given.tpm,
        token_estimator=CharacterTokenEstimator(expected_output_tokens=given.max_tokens) if given.tpm else None,
        quota_burst_seconds=BURST_S if given.rpm else None,
    )
    identity = ArtifactIdentity(provider="sim", model=OPENAI_MODEL)
    store = JsonlArtifactStore(folder / "artifacts.jsonl", identity=identity)
    resume = ResumePolicy.REUSE_SUCCESSES
    await process_prompts(strategy, rows(folder), config=config, artifact_store=store, resume=resume)


if __name__ == "__main__":
    asyncio.run(play(Path(sys.argv[1])))
