"""Six hundred incidents into vectors in a few requests, and the ones most like a new one. Run `penstock sim` first."""

import json
import math
import sys
from collections.abc import Sequence
from pathlib import Path

from penstock import Client, PenstockError

ROWS = [json.loads(line) for line in Path(__file__).with_name("incidents.jsonl").read_text("utf-8").splitlines()]
NEW = "PANIC: could not write to file: No space left on device"


def main() -> None:
    with Client() as client:
        found = client.embed([NEW, *(row["log"] for row in ROWS)], model="openai:text-embedding-3-small", dimensions=64)
    new, *known = found.vectors
    print(f"{len(known)} texts in {found.requests} requests, {found.usage.total:,} tokens, ${found.cost}")
    alike = sorted(zip(ROWS, known, strict=True), key=lambda pair: -cosine(new, pair[1]))
    for row, vector in alike[:3]:
        print(f"  {cosine(new, vector):.3f}  {row['id']}  {row['service']}: {row['log'][:60]!r}")


def cosine(left: Sequence[float], right: Sequence[float]) -> float:
    return sum(a * b for a, b in zip(left, right, strict=True)) / math.hypot(*left) / math.hypot(*right)


if __name__ == "__main__":
    try:
        main()
    except PenstockError as error:
        sys.exit(f"{error}")
