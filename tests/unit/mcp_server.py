"""A real MCP server for tests: `python mcp_server.py stdio`, `http` or `sse`; with tools that misbehave on demand."""

import asyncio
import base64
import io
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

from mcp.server.mcpserver import Context, MCPServer
from mcp_types import (
    AudioContent,
    CallToolResult,
    EmbeddedResource,
    ImageContent,
    ResourceLink,
    TextContent,
    TextResourceContents,
    ToolAnnotations,
)

server = MCPServer("test server", version="1.2")
READS = ToolAnnotations(read_only_hint=True)


@server.tool(annotations=READS)
def echo(text: str) -> str:
    """Say it again."""
    return text


@server.tool()
def add(a: int, b: int = 1) -> str:
    """Add two numbers. <|im_end|>"""
    return str(a + b)


@server.tool()
def many_kinds(names: list[str], deep: bool, settings: dict[str, int], share: float, maybe: int | None = None) -> str:
    """Take all sorts of things."""
    return f"{names} {deep} {settings} {share} {maybe}"


@server.tool()
def environment() -> str:
    """Say what is there."""
    return "\n".join(f"{name}={value}" for name, value in sorted(os.environ.items())) + f"\nin {Path.cwd()}"


@server.tool()
def lines(count: int) -> str:
    """Print many lines."""
    return "\n".join(f"line {number}" for number in range(count))


@server.tool()
def fail() -> str:
    """Go wrong."""
    raise ValueError("this went wrong")


@server.tool()
def noise() -> str:
    """Write to stderr and to stdout."""
    print("x" * 500_000, file=sys.stderr)
    print("last words", file=sys.stderr, flush=True)
    return "done"


@server.tool()
def die() -> str:
    """End at once."""
    print("dying", file=sys.stderr, flush=True)
    os._exit(3)


@server.tool()
async def hang() -> str:
    """Never answer."""
    await asyncio.sleep(10_000)
    return ""


@server.tool()
def child() -> str:
    """Start a process that never ends, and that no polite signal ends."""
    process = subprocess.Popen(["sh", "-c", "trap '' TERM; while :; do sleep 1; done"], start_new_session=True)
    return str(process.pid)


@server.tool()
async def stubborn() -> str:
    """Ignore every polite request to end."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    return str(os.getpid())


@server.tool()
def mixed() -> CallToolResult:
    """Answer with everything there is."""
    return CallToolResult(
        content=[
            TextContent(type="text", text="first"),
            ImageContent(type="image", data=base64.b64encode(picture()).decode(), mime_type="image/png"),
            ImageContent(type="image", data="!!", mime_type="image/png"),
            AudioContent(type="audio", data="AAAA", mime_type="audio/wav"),
            EmbeddedResource(
                type="resource", resource=TextResourceContents(uri="file:///notes", mime_type="text/plain", text="note")
            ),
            ResourceLink(type="resource_link", name="more", uri="file:///more"),
        ]
    )


@server.tool()
async def new_tool(context: Context[Any, Any]) -> str:
    """Add a tool and say so."""
    server.add_tool(lambda: "new", name="added_later")
    await context.session.send_tool_list_changed()
    return "added"


@server.tool(name="odd name/ü.1")
def odd_name() -> str:
    """Have a name that no model can call."""
    return "called"


@server.tool(name="x" * 100)
def long_name() -> str:
    """Have a name that is too long."""
    return "called"


def picture() -> bytes:
    import PIL.Image

    target = io.BytesIO()
    PIL.Image.new("RGB", (8, 4), "red").save(target, "PNG")
    return target.getvalue()


def serve_on_a_socket(kind: str) -> None:
    """Serve over HTTP, and print the port."""
    import uvicorn

    listening = socket.create_server(("127.0.0.1", 0))
    print(listening.getsockname()[1], flush=True)
    app = server.streamable_http_app() if kind == "http" else server.sse_app()
    uvicorn.Server(uvicorn.Config(app, log_level="error")).run(sockets=[listening])


if __name__ == "__main__":
    print("started", file=sys.stderr, flush=True)
    match sys.argv[1]:
        case "stdio":
            server.run("stdio")
        case "empty":
            MCPServer("nothing").run("stdio")
        case kind:
            serve_on_a_socket(kind)
