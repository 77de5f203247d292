"""Bare aiohttp with msgspec: the least an async program can do."""

import aiohttp
from bench import answers
from bench.contestants.plain import BODY_PATH, HEADERS, STREAM_BODY, STREAM_HEADERS, Texts, decode, encode
from yarl import URL

PACKAGE = "aiohttp"


class Async:
    def __init__(self, root: str) -> None:
        self.url = URL(root + BODY_PATH)
        connector = aiohttp.TCPConnector(limit=0)
        self.session = aiohttp.ClientSession(connector=connector, cookie_jar=aiohttp.DummyCookieJar())

    async def call(self) -> str | None:
        async with self.session.post(self.url, data=encode(answers.BODY), headers=HEADERS) as response:
            response.raise_for_status()
            return decode(await response.read()).choices[0].message.content

    async def stream(self) -> str:
        texts = Texts()
        async with self.session.post(self.url, data=encode(STREAM_BODY), headers=STREAM_HEADERS) as response:
            response.raise_for_status()
            async for data in response.content.iter_any():
                texts.feed(data)
        return "".join(texts.texts)

    async def close(self) -> None:
        await self.session.close()
