"""A server of the Model Context Protocol, as somebody else would write one: over stdio, or over HTTP with a port."""

from __future__ import annotations

import asyncio
import os
import sys

from mcp.server import MCPServer
from mcp.server.mcpserver import Image
from mcp.server.mcpserver.exceptions import ToolError
from mcp.types import ToolAnnotations

server = MCPServer("operations")


@server.tool(annotations=ToolAnnotations(read_only_hint=True))
def disk_usage(host: str) -> str:
    """How full the disk of a host is."""
    return f"{host}: 95 %"


@server.tool()
def restart(host: str, delay_s: int = 0) -> dict[str, object]:
    """Restart a host."""
    return {"host": host, "delay_s": delay_s}


@server.tool(annotations=ToolAnnotations(read_only_hint=True))
def broken() -> str:
    """Fail."""
    raise ToolError("no route to the database")


@server.tool(annotations=ToolAnnotations(read_only_hint=True))
def die() -> str:
    """End the whole server."""
    os._exit(3)


@server.tool(annotations=ToolAnnotations(read_only_hint=True))
async def hang() -> str:
    """Never answer."""
    await asyncio.Event().wait()
    return ""


@server.tool(annotations=ToolAnnotations(read_only_hint=True))
def picture() -> Image:
    """Draw a dot."""
    return Image(data=b"\x89PNG", format="png")


if __name__ == "__main__":
    if len(sys.argv) > 1:
        server.run("streamable-http", port=int(sys.argv[1]), host="127.0.0.1")
    else:
        server.run("stdio")
