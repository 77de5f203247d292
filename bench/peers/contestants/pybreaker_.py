"""pybreaker's breaker around a call of the standard library, a thread per call: its async face needs Tornado."""

import asyncio
import json
import urllib.request
from concurrent.futures import ThreadPoolExecutor

import pybreaker
from bench.peers import bare
from bench.peers.given import KEY, Call, Given

PACKAGE = "pybreaker"
HEADERS = {"authorization": f"Bearer {KEY}", "content-type": "application/json"}


def guarded(given: Given) -> Call:
    breaker = pybreaker.CircuitBreaker(fail_max=given.trips, reset_timeout=given.open_s)
    threads = ThreadPoolExecutor(given.calls)

    def send(prompt: str, max_tokens: int) -> None:
        data = json.dumps(bare.body(prompt, max_tokens)).encode()
        request = urllib.request.Request(f"{given.url}/v1/chat/completions", data, HEADERS)
        with urllib.request.urlopen(request) as reply:
            reply.read()

    async def call(prompt: str, max_tokens: int) -> None:
        loop = asyncio.get_running_loop()
        await loop.run_in_executor(threads, lambda: breaker.call(send, prompt, max_tokens))

    return call
