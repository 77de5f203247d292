"""bespokelabs-curator: a dataset in, a dataset out, its own cache folder between.

Where the limit is not told, it asks the provider once for its headers, which here tell the truth.
"""

import os
import sys
from importlib.util import find_spec
from pathlib import Path

from bench.bulk.given import ANTHROPIC_MODEL, KEY, OPENAI_MODEL, Given, rows, write_answers

os.environ |= {"TELEMETRY_ENABLED": "false", "CURATOR_DISABLE_RICH_DISPLAY": "1", "HF_HUB_OFFLINE": "1"}
os.environ |= {"HOME": sys.argv[1] if len(sys.argv) > 1 else os.environ.get("HOME", "")}
os.environ |= {"OPENAI_API_KEY": KEY, "ANTHROPIC_API_KEY": KEY}
litellm = find_spec("litellm")
if litellm is not None and litellm.origin is not None:  # its tokenizer's table, which it would else fetch from a host
    os.environ["TIKTOKEN_CACHE_DIR"] = str(Path(litellm.origin).parent / "litellm_core_utils" / "tokenizers")

from bespokelabs import curator  # noqa: E402
from datasets import Dataset  # noqa: E402


class Ask(curator.LLM):  # type: ignore[misc]
    """Each row is a prompt."""

    def prompt(self, row: dict[str, str]) -> str:
        return row["prompt"]

    def parse(self, row: dict[str, str], response: str) -> dict[str, str]:
        return {"id": row["id"], "text": response}


def play(folder: Path) -> None:
    given = Given.read(folder)
    limits = {
        "max_requests_per_minute": given.rpm,
        "max_tokens_per_minute": given.tpm,
        "max_input_tokens_per_minute": given.itpm,
        "max_output_tokens_per_minute": given.otpm,
    }
    params = {
        "base_url": f"{given.url}/v1",
        "api_key": KEY,
        "max_concurrent_requests": given.concurrency,
        "request_timeout": int(given.timeout_s),
        **{name: value for name, value in limits.items() if value},
    }
    ask = Ask(
        model_name=ANTHROPIC_MODEL if given.anthropic else OPENAI_MODEL,
        backend="anthropic" if given.anthropic else "openai",
        backend_params=params,
        generation_params={"max_tokens": given.max_tokens},
    )
    dataset = Dataset.from_list([{"id": row, "prompt": prompt} for row, prompt in rows(folder)])
    found = ask(dataset, str(folder / "cache"))
    answers = getattr(found, "dataset", found)
    write_answers(folder, ((row["id"], row["text"]) for row in answers))


if __name__ == "__main__":
    play(Path(sys.argv[1]))
