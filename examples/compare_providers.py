"""Ask several providers the same and see who is fast, who is cheap and who is right. Run `penstock sim` first."""

import sys

from penstock import Client, PenstockError
from penstock.compare import compare

QUESTION = "In one sentence: what does exit code 137 of a container mean?"
MODELS = ["openai:gpt-4o-mini", "openai:gpt-4.1-nano", "anthropic:claude-haiku-4-5"]


def main() -> None:
    with Client() as client:
        found = compare(client, QUESTION, MODELS, max_tokens=100)
    for row in found.rows:
        if row.usage is None:
            print(f"{row.model:28} failed: {row.error}")
            continue
        print(f"{row.model:28} first token {row.first_token_s:.3f} s, in all {row.latency_s:.3f} s, "
              f"{row.usage.total} tokens, ${row.cost}\n    {row.text}")  # fmt: skip
    if found.fastest and found.cheapest:
        print(f"fastest: {found.fastest.model}; cheapest: {found.cheapest.model}")


if __name__ == "__main__":
    try:
        main()
    except PenstockError as error:
        sys.exit(f"{error}")
