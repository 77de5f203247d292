"""Tools from servers of the Model Context Protocol: over a pipe to a program, or over HTTP.

The SDK is async and wants to leave where it entered, so each server has a thread with an event loop of its own. Its
tools serve both colours: a sync run waits for the loop of that thread, an async one awaits it from its own.
"""

from __future__ import annotations

import asyncio
import re
import shlex
import threading
from collections.abc import Coroutine, Mapping
from concurrent.futures import Future
from contextlib import AsyncExitStack, suppress
from types import TracebackType
from typing import Any, Final, Self

from .._flow.tools import CHARS_MOST, TIMEOUT_S, AgentTool
from .._io.extras import extra
from .._text.target import Target, target_of
from ..errors import ConfigError, PenstockError
from ..types import Image, Text, Tool
from .workbench import thread_of

CONNECT_S: Final = 30.0
"""How long a server may take to start and to say what it has: some fetch packages first."""

LEAVE_S: Final = 10.0
"""How long the end of a block waits for a server to leave; the SDK kills a program that does not within 6 seconds."""

PAGES_MOST: Final = 20
"""Pages of a list of tools; a server that always has another one would never end."""

_STDIO: Final = "stdio:"
_UNFIT: Final = re.compile(r"[^A-Za-z0-9_-]")


class ToolFailed(Exception):
    """A tool of a server failed; the message is for the model."""


class McpServer:
    """The tools of a server of the Model Context Protocol, for the time of a `with` block, sync or async.

    `address` is 'stdio: COMMAND ARGUMENTS' for a program that is started, or the URL of a server over streamable HTTP.
    `env` is what the program finds in its environment beside the usual, `headers` go out with every HTTP request.
    `prefix` is put before the names of its tools. Tools that do not say that they only read count as having side
    effects. `timeout_s` bounds each use, `connect_s` the start. `errors` is a file for what the program says on stderr.

    Raises: ConfigError; when the block is entered, also for a server that cannot be reached.
    """

    def __init__(
        self,
        address: str,
        *,
        env: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
        prefix: str = "",
        timeout_s: float = TIMEOUT_S,
        max_chars: int = CHARS_MOST,
        connect_s: float = CONNECT_S,
        errors: Any = None,
    ) -> None:
        self.address = address
        self._target = _address(address, env, headers)
        self._headers = dict(headers or {})
        self._prefix = prefix
        self._timeout_s = timeout_s
        self._max_chars = max_chars
        self._connect_s = connect_s
        self._errors = errors
        self._tools: tuple[AgentTool, ...] | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._live_task: asyncio.Task[Any] | None = None
        self._client: Any = None
        self._thread: threading.Thread | None = None
        self._lost: str | None = None

    @property
    def tools(self) -> tuple[AgentTool, ...]:
        """What the server offers.

        Raises: ConfigError outside of the `with` block.
        """
        if self._tools is None:
            raise ConfigError(
                f"the MCP server {self._shown()} is not connected; use it as `with McpServer(…) as server`"
            )
        return self._tools

    def _shown(self) -> str:
        """Name the server without what may be secret: a query, a user, arguments of a command."""
        if isinstance(self._target, tuple):
            return self._target[0][0]
        return re.sub(r"//[^/@]*@", "//", self._target.partition("?")[0])

    # in the caller's thread

    def _start(self) -> None:
        extra("mcp", "mcp")
        if self._thread is not None:
            raise ConfigError(f"the MCP server {self._shown()} is in use; make another McpServer for a second block")
        ready: Future[tuple[AgentTool, ...]] = Future()
        self._lost = None
        self._thread = threading.Thread(target=lambda: asyncio.run(self._live(ready)), name="penstock-mcp", daemon=True)
        self._thread.start()
        try:
            self._tools = ready.result()
        except BaseException:
            self._stop()
            raise

    def _stop(self) -> None:
        self._tools = None
        loop, task, thread = self._loop, self._live_task, self._thread
        if loop is not None and task is not None and not loop.is_closed():
            with suppress(RuntimeError):  # it may have ended in between
                loop.call_soon_threadsafe(task.cancel)
        if thread is not None:
            thread.join(LEAVE_S)
        self._thread = None

    def __enter__(self) -> Self:
        self._start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self._stop()

    async def __aenter__(self) -> Self:
        error = await thread_of(lambda: _caught(self._start), "mcp-start")
        if error is not None:
            raise error
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None
    ) -> None:
        await thread_of(self._stop, "mcp-stop")

    def _submit(self, work: Coroutine[Any, Any, Any]) -> Future[Any]:
        loop = self._loop
        if loop is None or loop.is_closed() or self._lost is not None or self._tools is None:
            work.close()
            raise ToolFailed(self._lost or f"the MCP server {self._shown()} is not connected any more")
        return asyncio.run_coroutine_threadsafe(work, loop)

    # in the thread of the server

    async def _live(self, ready: Future[tuple[AgentTool, ...]]) -> None:
        self._loop, self._live_task = asyncio.get_running_loop(), asyncio.current_task()
        try:
            async with AsyncExitStack() as stack:
                async with asyncio.timeout(self._connect_s):
                    self._client = await self._connected(stack)
                    found = await self._listed(self._client)
                ready.set_result(found)
                await asyncio.Event().wait()  # until it is cancelled
        except TimeoutError:
            late = f"did not say within {self._connect_s:g} s what tools it has (connect_s)"
            if not ready.done():
                ready.set_exception(ConfigError(f"the MCP server {self._shown()} {late}"))
        except BaseException as error:  # noqa: BLE001 - told to who waits for it, or to who uses a tool next
            said = _said(error)
            self._lost = f"the MCP server {self._shown()} is gone: {said}"
            if not ready.done():
                known = isinstance(error, PenstockError)
                ready.set_exception(error if known else ConfigError(self._unusable(error, said)))

    def _unusable(self, error: BaseException, said: str) -> str:
        """Say that the server could not be used, and where to look."""
        what = f"cannot use the MCP server {self._shown()}: "
        if not isinstance(self._target, tuple):
            return f"{what}{said}; is it there, and is this its whole address (many end with /mcp)?"
        if isinstance(_first(error), FileNotFoundError):
            return f"{what}there is no such program; is it installed, and on PATH?"
        return f"{what}{said}; it ended or does not speak MCP, and may say why on stderr (errors=, --mcp-log FILE)"

    async def _connected(self, stack: AsyncExitStack) -> Any:
        import mcp

        source: Any = self._target
        if isinstance(self._target, tuple):
            (command, *arguments), env = self._target
            source = mcp.StdioServerParameters(command=command, args=arguments, env=env)
            if self._errors is not None:
                source = mcp.stdio_client(source, self._errors)
        elif self._headers:
            import httpx2
            from mcp.client.streamable_http import streamable_http_client

            timeout = httpx2.Timeout(self._connect_s, read=self._timeout_s)
            http = httpx2.AsyncClient(headers=self._headers, timeout=timeout, follow_redirects=False)
            source = streamable_http_client(self._target, http_client=await stack.enter_async_context(http))
        return await stack.enter_async_context(mcp.Client(source, read_timeout_seconds=self._timeout_s))

    async def _listed(self, client: Any) -> tuple[AgentTool, ...]:
        found: list[AgentTool] = []
        cursor = None
        for _ in range(PAGES_MOST):
            page = await client.list_tools(cursor=cursor)
            found += [self._tool(each) for each in page.tools]
            cursor = page.next_cursor
            if cursor is None:
                return tuple(found)
        raise ConfigError(f"the MCP server {self._shown()} lists tools without end")

    def _tool(self, told: Any) -> AgentTool:
        name = told.name
        schema = dict(told.input_schema or {})
        schema.setdefault("type", "object")
        schema.setdefault("properties", {})
        hints = told.annotations

        def run(arguments: dict[str, Any]) -> Any:
            future = self._submit(self._call(name, arguments))
            return future.result()

        async def arun(arguments: dict[str, Any]) -> Any:
            return await asyncio.wrap_future(self._submit(self._call(name, arguments)))

        return AgentTool(
            spec=Tool(
                name=_UNFIT.sub("_", f"{self._prefix}{name}")[:64],
                description=told.description or "",
                parameters=schema,
            ),
            target=_lenient(schema),
            run=run,
            arun=arun,
            timeout_s=self._timeout_s,
            side_effects=not (hints is not None and hints.read_only_hint),
            max_chars=self._max_chars,
        )

    async def _call(self, name: str, arguments: dict[str, Any]) -> Any:
        try:
            result = await self._client.call_tool(name, arguments)
        except Exception as error:
            raise ToolFailed(f"the MCP server {self._shown()}: {_said(error)}") from error
        parts = [part for block in result.content for part in _part(block)]
        if result.is_error:
            raise ToolFailed("".join(part.text for part in parts if isinstance(part, Text)) or "the tool failed")
        if not parts:
            return result.structured_content
        texts = [part.text for part in parts if isinstance(part, Text)]
        return "\n".join(texts) if len(texts) == len(parts) else tuple(parts)


def _caught(function: Any) -> BaseException | None:
    try:
        function()
    except BaseException as error:  # noqa: BLE001 - raised where it is awaited
        return error
    return None


def _address(
    address: object, env: Mapping[str, str] | None, headers: Mapping[str, str] | None
) -> tuple[list[str], dict[str, str] | None] | str:
    """Read an address.

    Raises: ConfigError.
    """
    usage = "expected 'stdio: COMMAND ARGUMENTS', or the http(s) URL of a server"
    if not isinstance(address, str):
        raise ConfigError(f"an MCP server is {address!r:.80}; {usage}")
    if address.startswith(_STDIO):
        try:
            command = shlex.split(address.removeprefix(_STDIO))
        except ValueError as error:
            raise ConfigError(f"the command of the MCP server cannot be read: {error}; {usage}") from None
        if not command:
            raise ConfigError(f"the MCP server names no command; {usage}")
        if headers:
            raise ConfigError("headers are for an MCP server over HTTP; give a program env={…}")
        return command, dict(env) if env is not None else None
    if not address.startswith(("http://", "https://")):
        raise ConfigError(f"an MCP server is {address!r:.80}; {usage}")
    if env:
        raise ConfigError("env is for an MCP server that is started; give one over HTTP headers={…}")
    return address


def _lenient(schema: dict[str, Any]) -> Target:
    """Make the check of a server's arguments; a schema that cannot be checked here is checked by the server alone."""
    try:
        return target_of(schema)
    except ConfigError:
        return target_of({"type": "object"})


def _part(block: Any) -> list[Text | Image]:
    """Read a block of a result as what a model can see."""
    if block.type == "text":
        return [Text(block.text)]
    if block.type == "image":
        return [Image(data=block.data, media_type=block.mime_type)]
    if block.type == "resource" and getattr(block.resource, "text", None) is not None:
        return [Text(block.resource.text)]
    if block.type == "resource_link":
        return [Text(f"[a link to {block.uri}]")]
    return [Text(f"[{block.type} that cannot be shown]")]


def _said(error: BaseException) -> str:
    """Say what went wrong."""
    first = _first(error)
    return f"{type(first).__name__}: {first}"[:400]


def _first(error: BaseException) -> BaseException:
    """Return the error itself, of a group the first."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error
