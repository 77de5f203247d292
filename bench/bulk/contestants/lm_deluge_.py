"""lm-deluge: everything in memory; its bucket starts full."""

import os
import sys
from pathlib import Path

from bench.bulk.given import ANTHROPIC_MODEL, FAR_TOO_HIGH_RPM, FAR_TOO_HIGH_TPM, KEY, OPENAI_MODEL, Given, rows
from bench.bulk.given import write_answers as write
from lm_deluge import LLMClient, SamplingParams
from lm_deluge.models import register_model


def play(folder: Path) -> None:
    given = Given.read(folder)
    os.environ["SIM_KEY"] = KEY
    spec = {"api_spec": "anthropic", "name": ANTHROPIC_MODEL} if given.anthropic else {"name": OPENAI_MODEL}
    register_model(id="sim", api_base=f"{given.url}/v1", api_key_env_var="SIM_KEY", **spec)
    client = LLMClient(
        "sim",
        max_requests_per_minute=given.rpm or FAR_TOO_HIGH_RPM,
        max_tokens_per_minute=given.tpm or given.itpm or FAR_TOO_HIGH_TPM,
        max_concurrent_requests=given.concurrency,
        request_timeout=int(given.timeout_s),
        sampling_params=[SamplingParams(max_new_tokens=given.max_tokens)],
    )
    ids, prompts = zip(*rows(folder), strict=True)
    found = client.process_prompts_sync(list(prompts), show_progress=False)
    texts = (None if each is None or each.is_error else each.completion for each in found)
    write(folder, zip(ids, texts, strict=True))


if __name__ == "__main__":
    play(Path(sys.argv[1]))
