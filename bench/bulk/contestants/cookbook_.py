"""The algorithm of the OpenAI cookbook's script for parallel requests, written anew from its published behaviour.

Buckets for requests and tokens that start full, with a minute's worth; one request at most each millisecond; as many
tasks as the buckets let through; five attempts, failed requests first; answers appended as [request, answer], failures
as [request, [errors]]. Its pause of 15 s after a 429 is there and is dead, as in the script: it looks for an error code
"429", and OpenAI sends the name of the error. Tokens are estimated by length, where the script has the tokenizer.
"""

import asyncio
import json
import sys
import time
from collections import deque
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
from bench.bulk.given import FAR_TOO_HIGH_RPM, FAR_TOO_HIGH_TPM, KEY, OPENAI_MODEL, Given, rows

PACKAGE = "aiohttp"
PAUSE_S = 15.0
POLL_S = 0.001
ATTEMPTS = 5
CHARS_PER_TOKEN = 4


@dataclass
class Job:
    """One request with the attempts it has left and what went wrong so far."""

    row: str
    body: dict[str, Any]
    tokens: int
    left: int = ATTEMPTS
    errors: list[Any] = field(default_factory=list)


class Script:
    """The loop of the script and what its tasks share."""

    def __init__(self, given: Given, output: Path) -> None:
        self._url = f"{given.url}/v1/chat/completions"
        self._rpm, self._tpm = given.rpm or FAR_TOO_HIGH_RPM, given.tpm or FAR_TOO_HIGH_TPM
        self._timeout = aiohttp.ClientTimeout(total=given.timeout_s)
        self._output = output
        self._again: deque[Job] = deque()
        self._paused_at = 0.0
        self._open = 0

    async def run(self, jobs: list[Job]) -> None:
        """Send everything."""
        source = iter(jobs)
        requests, tokens, at = float(self._rpm), float(self._tpm), time.time()
        waiting: Job | None = None
        tasks: set[asyncio.Task[None]] = set()
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0), timeout=self._timeout) as session:
            while True:
                if waiting is None:
                    waiting = self._again.popleft() if self._again else next(source, None)
                    self._open += waiting is not None and waiting.left == ATTEMPTS
                now = time.time()
                requests = min(self._rpm, requests + self._rpm * (now - at) / 60)
                tokens = min(self._tpm, tokens + self._tpm * (now - at) / 60)
                at = now
                if waiting is not None and requests >= 1 and tokens >= waiting.tokens:
                    requests, tokens = requests - 1, tokens - waiting.tokens
                    waiting.left -= 1
                    task = asyncio.create_task(self._send(session, waiting))
                    tasks.add(task)
                    task.add_done_callback(tasks.discard)
                    waiting = None
                elif waiting is None and not self._open:
                    return
                await asyncio.sleep(POLL_S)
                if now - self._paused_at < PAUSE_S:
                    await asyncio.sleep(PAUSE_S - (now - self._paused_at))

    async def _send(self, session: aiohttp.ClientSession, job: Job) -> None:
        error: Any = None
        answer: Any = None
        try:
            async with session.post(self._url, json=job.body, headers={"authorization": f"Bearer {KEY}"}) as reply:
                answer = await reply.json()
            if "error" in answer:
                error = answer
                if answer["error"].get("code") == "429":
                    self._paused_at = time.time()
        except Exception as wrong:  # noqa: BLE001  # the script takes every failure for one more attempt
            error = str(wrong)
        if error is None:
            self._save([job.body, answer, {"row": job.row}])
        elif job.left:
            job.errors.append(error)
            self._again.append(job)
            return
        else:
            self._save([job.body, [*map(str, [*job.errors, error])], {"row": job.row}])
        self._open -= 1

    def _save(self, line: list[Any]) -> None:
        with self._output.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")


def play(folder: Path) -> None:
    given = Given.read(folder)
    jobs = []
    for row, prompt in rows(folder):
        body = {
            "model": OPENAI_MODEL,
            "messages": [{"role": "user", "content": prompt}],
            "max_tokens": given.max_tokens,
        }
        jobs.append(Job(row, body, len(prompt) // CHARS_PER_TOKEN + given.max_tokens))
    asyncio.run(Script(given, folder / "cookbook.jsonl").run(jobs))


if __name__ == "__main__":
    play(Path(sys.argv[1]))
