"""An MCP server whose process somebody else started, such as one inside a container, over its stdin and stdout.

The framing is MCP's for stdio: one JSON-RPC message a line, stderr for the log.
"""

from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Protocol

from tools.mcp_servers import McpServer

if TYPE_CHECKING:
    from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream
    from mcp.shared.message import SessionMessage

STDERR = 2
LONGEST_MESSAGE = 64 * 1024 * 1024
"""Bytes; a server that says more without a line break has ended the conversation."""


class ServerProgram(Protocol):
    """A program that runs, and its streams."""

    async def send(self, data: bytes) -> None:
        """Write to its stdin. Raises ConnectionError when it has ended."""
        ...

    async def receive(self) -> tuple[int, bytes]:
        """The next piece of stdout (1) or stderr (2); an empty piece at the end."""
        ...

    async def close(self) -> None:
        """End it with all that it has started."""
        ...


StartProgram = Callable[[McpServer], Awaitable[ServerProgram]]
"""Starts the program of a server."""


@asynccontextmanager
async def program_streams(program: ServerProgram, on_error: Callable[[bytes], None]) -> AsyncGenerator[Any]:
    """The two streams of messages that the SDK's client takes; `on_error` hears the log."""
    import anyio

    arriving, received = anyio.create_memory_object_stream[Any](0)
    outgoing, to_send = anyio.create_memory_object_stream[Any](0)
    async with anyio.create_task_group() as group:
        group.start_soon(_read, program, arriving, on_error)
        group.start_soon(_write, program, to_send, arriving)
        try:
            yield received, outgoing
        finally:
            for stream in (received, outgoing):
                stream.close()
            group.cancel_scope.cancel()


async def _read(
    program: ServerProgram,
    arriving: "MemoryObjectSendStream[SessionMessage | Exception]",
    on_error: Callable[[bytes], None],
) -> None:
    import anyio

    line = bytearray()
    async with arriving:
        while True:
            stream, piece = await program.receive()
            if not piece or len(line) > LONGEST_MESSAGE:
                return
            if stream == STDERR:
                on_error(piece)
                continue
            *whole, rest = piece.split(b"\n")
            for part in whole:
                try:
                    await arriving.send(_message(bytes(line + part)))
                except (anyio.ClosedResourceError, anyio.BrokenResourceError):
                    return
                line.clear()
            line += rest


async def _write(
    program: ServerProgram,
    to_send: "MemoryObjectReceiveStream[SessionMessage]",
    arriving: "MemoryObjectSendStream[SessionMessage | Exception]",
) -> None:
    async with to_send:
        async for message in to_send:
            try:
                await program.send(message.message.model_dump_json(by_alias=True, exclude_unset=True).encode() + b"\n")
            except ConnectionError:
                await arriving.aclose()  # so that who waits for an answer learns that none comes
                return


def _message(line: bytes) -> "SessionMessage | Exception":
    import mcp_types
    from mcp.shared.message import SessionMessage

    try:
        text = line.decode("utf-8", "replace")
        return SessionMessage(mcp_types.jsonrpc_message_adapter.validate_json(text, by_name=False))
    except ValueError as error:
        return error
