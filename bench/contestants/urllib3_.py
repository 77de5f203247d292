"""Bare urllib3 with msgspec: the least a sync program can do."""

import urllib3
from bench import answers
from bench.contestants.plain import BODY_PATH, HEADERS, STREAM_BODY, STREAM_HEADERS, Texts, decode, encode

PACKAGE = "urllib3"
POOL_CONNECTIONS = 256
READ_BYTES = 65_536


class Sync:
    def __init__(self, root: str) -> None:
        self.path = urllib3.util.parse_url(root + BODY_PATH).path or "/"
        timeout = urllib3.Timeout(connect=10.0, read=600.0)
        self.pool = urllib3.connection_from_url(root, maxsize=POOL_CONNECTIONS, timeout=timeout)

    def call(self) -> str | None:
        response = self.pool.request("POST", self.path, body=encode(answers.BODY), headers=HEADERS, retries=False)
        if response.status != 200:
            raise RuntimeError(f"status {response.status}")
        return decode(response.data).choices[0].message.content

    def stream(self) -> str:
        texts = Texts()
        body = encode(STREAM_BODY)
        response = self.pool.request(
            "POST", self.path, body=body, headers=STREAM_HEADERS, retries=False, preload_content=False
        )
        if response.status != 200:
            raise RuntimeError(f"status {response.status}")
        for data in response.stream(READ_BYTES):
            texts.feed(data)
        response.release_conn()
        return "".join(texts.texts)

    def close(self) -> None:
        self.pool.close()
