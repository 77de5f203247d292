"""The server of the page: files that come with the package, and the ledger's figures as JSON."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib import resources
from typing import Final

import msgspec
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route
from starlette.types import ASGIApp

from ..errors import InputError, PenstockError
from .asked import Asked, read
from .desk import Desk
from .feed import VIEWERS_MAX, Feed
from .guard import Guard, error
from .reading import Reading

TYPES: Final = {
    "css": "text/css; charset=utf-8",
    "html": "text/html; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
    "svg": "image/svg+xml",
    "LICENSE": "text/plain; charset=utf-8",
}
ID_LENGTH_MAX: Final = 200


class Files:
    """The files of the page, read once: {path: (bytes, media type, entity tag)}."""

    def __init__(self) -> None:
        self._files: dict[str, tuple[bytes, str, str]] = {}
        self._add(resources.files(__package__) / "static", "")

    def _add(self, folder: resources.abc.Traversable, prefix: str) -> None:
        for each in folder.iterdir():
            if each.is_dir():
                self._add(each, f"{prefix}{each.name}/")
                continue
            media_type = TYPES.get(each.name.rpartition(".")[2])
            if media_type is not None:
                data = each.read_bytes()
                self._files[prefix + each.name] = (data, media_type, f'"{hashlib.sha256(data).hexdigest()[:24]}"')

    def text(self, path: str) -> str:
        """Return a file as text."""
        return self._files[path][0].decode()

    def answer(self, request: Request) -> Response:
        """Return a file, or only that it has not changed."""
        found = self._files.get(request.path_params.get("path") or "index.html")
        if found is None:
            return error(404, "there is no such page")
        data, media_type, tag = found
        headers = {"etag": tag, "cache-control": "no-cache"}
        if request.headers.get("if-none-match") == tag:
            return Response(status_code=304, headers=headers)
        return Response(data, media_type=media_type, headers=headers)


class Server:
    """The application and what it keeps: two desks, so that a call can be opened while a large view is read."""

    def __init__(self, path: str, *, host: str, port: int, token: str | None = None) -> None:
        self._live = Desk(path, lambda: Reading(path))
        self._calls = Desk(path, lambda: Reading(path))
        self._files = Files()
        self.feed = Feed(self._live)
        app = Starlette(
            routes=[
                Route("/api/view", self._view),
                Route("/api/live", self._follow),
                Route("/api/calls/{id}", self._call),
                Route("/", self._files.answer),
                Route("/{path:path}", self._files.answer),
            ],
            exception_handlers={PenstockError: _said, HTTPException: _refused, Exception: _bug},
            lifespan=self._lifespan,
        )
        login = self._files.text("login.html")
        self.app: ASGIApp = Guard(app, host=host, token=token, cookie=f"penstock-{port}", login=login)

    @asynccontextmanager
    async def _lifespan(self, _app: Starlette) -> AsyncIterator[None]:
        warm = asyncio.create_task(self._warm())
        try:
            yield
        finally:
            warm.cancel()
            self.feed.close()
            self._live.close()
            self._calls.close()

    async def _warm(self) -> None:
        """Read the view that the page opens with, while the browser begins."""
        with contextlib.suppress(PenstockError):  # a viewer is told, when there is one
            await self._live.ask(lambda reading: reading.view(Asked(), time.time()))

    async def _view(self, request: Request) -> Response:
        asked = read(request.query_params)
        view = await self._live.ask(lambda reading: reading.view(asked, time.time()))
        body = msgspec.json.encode(view)
        tag = f'"{view.version}-{hashlib.sha256(body).hexdigest()[:16]}"'
        if request.headers.get("if-none-match") == tag:
            return Response(status_code=304, headers={"etag": tag})
        return Response(body, media_type="application/json", headers={"etag": tag})

    async def _follow(self, request: Request) -> Response:
        asked = read(request.query_params)
        if self.feed.viewers >= VIEWERS_MAX:
            return error(503, f"{VIEWERS_MAX} pages are open already; close some of them")
        headers = {"cache-control": "no-store", "x-accel-buffering": "no"}
        return StreamingResponse(self.feed.follow(asked), media_type="text/event-stream", headers=headers)

    async def _call(self, request: Request) -> Response:
        name = request.path_params["id"]
        if len(name) > ID_LENGTH_MAX:
            raise InputError(f"the id of a call has at most {ID_LENGTH_MAX} characters")
        found = await self._calls.ask(lambda reading: reading.call(name))
        if found is None:
            return error(404, f"the ledger has no call {name!r}; it may be older than what is kept")
        return Response(msgspec.json.encode(found), media_type="application/json")


async def _said(_request: Request, found: Exception) -> Response:
    return error(400 if isinstance(found, InputError) else 503, str(found))


async def _refused(_request: Request, found: Exception) -> Response:
    status = found.status_code if isinstance(found, HTTPException) else 500
    return error(status, "this server only shows; nothing can be changed here" if status == 405 else str(found))


async def _bug(_request: Request, _found: Exception) -> Response:
    return error(500, "penstock dashboard failed at this; its terminal says why")
