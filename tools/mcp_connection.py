"""A connection to one MCP server: opened once, with its tools listed once, and never opened again.

A server that dies in mid-task is not started anew: what it knew is lost, and its tools may be others. Every later call
says so. The SDK's cancel scopes must be left by the task that entered them, hence each connection has a task of its
own, and everything that goes wrong comes out of it as an `McpError` with what the server wrote last.
"""

import asyncio
import contextlib
import logging
import os
import secrets
from collections.abc import AsyncGenerator, Generator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO, cast
from urllib.parse import urlsplit

from tools.mcp_program import StartProgram, program_streams
from tools.mcp_servers import McpError, McpServer
from tools.output import BoundedOutput, clean, decode

if TYPE_CHECKING:
    from mcp.client import Client, Transport
    from mcp.client.client import ConnectMode
    from mcp_types import CallToolResult, Tool

LOG_LIMIT = 64 * 1024
"""Bytes of a server's stderr that are kept: the first, and the last."""
MOST_PAGES = 100
"""Pages of a list of tools; a server that has more never ends."""
GRACE = 5.0
"""Seconds for which the SDK may be late with its own deadline."""

MARK = "UNBROKEN_MCP"
"""The variable by which the processes that a server started are known, wherever they went."""
_LAST_WORDS = 500
_CONNECTION_CLOSED, _TIMED_OUT = -32000, -32001


@dataclass(frozen=True)
class Offer:
    """What a server said when it was asked."""

    tools: "list[Tool]"
    server: str
    """Its own name and version."""


class McpConnection:
    """One server. `environment` is what a `stdio` server sees, beside its own settings; `directory` where it starts.

    `start` starts its program somewhere else, where neither holds.
    """

    def __init__(
        self,
        server: McpServer,
        environment: Mapping[str, str],
        directory: Path | None = None,
        start: StartProgram | None = None,
    ) -> None:
        self.server = server
        self._environment = environment
        self._directory = directory
        self._start = start
        self._errors = _ErrorStream()
        self._closing = asyncio.Event()
        self._client: Client | None = None
        self._task: asyncio.Task[None] | None = None

    @property
    def errors(self) -> str:
        """What the server wrote to stderr, or the ends of it."""
        return clean(decode(self._errors.content()))

    async def open(self) -> Offer:
        """Connect, and ask for the tools. Raises McpError."""
        _silence_the_sdk()
        ready: asyncio.Future[Offer] = asyncio.get_running_loop().create_future()
        self._task = asyncio.create_task(self._serve(ready))
        try:
            async with asyncio.timeout(self.server.start_timeout):
                return await asyncio.shield(ready)
        except TimeoutError:
            await self.close()
            message = f"it did not say which tools it has within {self.server.start_timeout:g} seconds"
            raise self._failed_start(message) from None

    async def call(self, tool: str, arguments: dict[str, Any]) -> "CallToolResult":
        """Call a tool. Raises McpError with a sentence for the model, whatever the server does or does not do."""
        if self._client is None or self._task is None or self._task.done():
            raise self._gone()
        timeout = self.server.timeout
        call = asyncio.ensure_future(self._client.call_tool(tool, arguments, read_timeout_seconds=timeout))
        try:
            await asyncio.wait({call, self._task}, timeout=timeout + GRACE, return_when=asyncio.FIRST_COMPLETED)
            if call.done() and not call.cancelled():
                return self._result(call)
            raise self._gone() if self._task.done() or call.cancelled() else self._too_slow()
        finally:
            call.cancel()
            await asyncio.wait({call}, timeout=GRACE)

    async def close(self) -> None:
        """End the connection, and the server's process where it is ours. Safe to call twice."""
        self._closing.set()
        if self._task is None:
            return
        if self._client is None:  # it is still starting
            self._task.cancel()
        cancelled: asyncio.CancelledError | None = None
        deadline = asyncio.get_running_loop().time() + GRACE
        while not self._task.done():  # a process would be left behind otherwise
            left = deadline - asyncio.get_running_loop().time()
            if left <= 0:  # a server that does not let us say goodbye
                self._task.cancel()
            try:
                await asyncio.wait({self._task}, timeout=max(left, 0.1))
            except asyncio.CancelledError as error:
                cancelled = error
        self._errors.close()
        if cancelled:
            raise cancelled

    # In the task of its own

    async def _serve(self, ready: "asyncio.Future[Offer]") -> None:
        try:
            try:
                await self._serve_as("auto", ready)
            except Exception:  # the boundary to the SDK and the server: whatever it is, the other way may work
                if ready.done() or self.server.transport != "stdio":
                    raise
                # Old servers are known to die of a request that they do not know, and `auto` begins with one.
                await self._serve_as("legacy", ready)
        except (Exception, asyncio.CancelledError) as error:  # the boundary again: said to who waits, here or in `call`
            if not ready.done():
                ready.set_exception(self._failed_start(_reason(error)))
                ready.exception()  # nobody need be there to hear it

    async def _serve_as(self, mode: "ConnectMode", ready: "asyncio.Future[Offer]") -> None:
        from mcp.client import Client

        async with Client(self._transport(), mode=mode, cache=None) as client:
            tools: list[Tool] = []
            cursor: str | None = None
            for _ in range(MOST_PAGES):
                page = await client.list_tools(cursor=cursor)
                tools += page.tools
                cursor = page.next_cursor
                if not cursor:
                    break
            self._client = client
            about = client.server_info
            ready.set_result(Offer(tools, f"{about.name} {about.version}".strip() if about else ""))
            await self._closing.wait()

    def _transport(self) -> "Transport":
        server = self.server
        if server.transport == "stdio":
            return self._program(self._start) if self._start else self._process()
        if server.transport == "sse":
            from mcp.client.sse import sse_client

            return sse_client(server.url, server.headers, sse_read_timeout=_longest_silence(server))
        return _http(server)

    @asynccontextmanager
    async def _program(self, start: StartProgram) -> AsyncGenerator[Any]:
        program = await start(self.server)
        try:
            async with program_streams(program, self._errors.add) as streams:
                yield streams
        finally:
            await asyncio.shield(program.close())

    @asynccontextmanager
    async def _process(self) -> AsyncGenerator[Any]:
        from mcp.client.stdio import StdioServerParameters, stdio_client

        mark = secrets.token_hex(8)
        program, *arguments = self.server.command
        parameters = StdioServerParameters(
            command=program,
            args=arguments,
            env={**self._environment, **self.server.environment, MARK: mark},
            cwd=self._directory,
            encoding_error_handler="replace",
        )
        try:
            async with contextlib.AsyncExitStack() as stack:
                with self._errors.for_process() as file:
                    streams = await stack.enter_async_context(stdio_client(parameters, errlog=file))
                yield streams
        finally:
            _end_marked(mark)  # what a server that ended well has left behind

    # What went wrong

    def _result(self, call: "asyncio.Future[CallToolResult]") -> "CallToolResult":
        from mcp.shared.exceptions import MCPError
        from pydantic import ValidationError

        try:
            return call.result()
        except MCPError as error:
            if error.code == _CONNECTION_CLOSED:
                raise self._gone() from error
            if error.code == _TIMED_OUT:
                raise self._too_slow() from error
            message = f"The server {self.server.name} refused the call: {error.message}"
            raise McpError(message) from error
        except ValidationError as error:
            message = f"The server {self.server.name} answered with what is no result of a call."
            raise McpError(message) from error
        except Exception as error:  # the boundary to the SDK: an answer that it cannot use is the server's mistake
            message = f"The call came to nothing: {_reason(error)}"
            raise McpError(message) from error

    def _gone(self) -> McpError:
        sentence = (
            f"The server {self.server.name} is gone: it ended, or closed the connection. It is not started again, so "
            "none of its tools will work any more."
        )
        return McpError(sentence + self._last_words())

    def _too_slow(self) -> McpError:
        return McpError(f"The server {self.server.name} did not answer within {self.server.timeout:g} seconds.")

    def _failed_start(self, reason: str) -> McpError:
        return McpError(f"the MCP server {self.server.name} cannot be used: {reason}.{self._last_words()}")

    def _last_words(self) -> str:
        words = self.errors.strip()
        for secret in sorted(self.server.secrets(), key=len, reverse=True):  # programs print what they were called with
            words = words.replace(secret, "[redacted]")
        return f" The last that it wrote: {words[-_LAST_WORDS:]}" if words else ""


_PIPE = 1 << 16


class _ErrorStream:
    """Takes what a process writes to stderr, in bounded memory."""

    def __init__(self) -> None:
        self._output = BoundedOutput(LOG_LIMIT)
        self._descriptor: int | None = None

    def add(self, data: bytes) -> None:
        self._output.add(data)

    def content(self) -> bytes:
        self._take()
        return self._output.finish()[0]

    @contextmanager
    def for_process(self) -> Generator[TextIO]:
        """The file to start a process with; what it writes comes here from then on."""
        self.close()
        self._descriptor, writing = os.pipe()
        os.set_blocking(self._descriptor, False)
        asyncio.get_running_loop().add_reader(self._descriptor, self._take)
        with os.fdopen(writing, "w") as file:
            yield file

    def close(self) -> None:
        self._take()
        self._end()

    def _take(self) -> None:
        # A pipe's worth, and no more at once: whoever writes without end must not keep everything else from its turn.
        if self._descriptor is None:
            return
        try:
            data = os.read(self._descriptor, _PIPE)
        except BlockingIOError:
            return
        if not data:
            self._end()
        self._output.add(data)

    def _end(self) -> None:
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            asyncio.get_running_loop().remove_reader(descriptor)
            os.close(descriptor)


@asynccontextmanager
async def _http(server: McpServer) -> AsyncGenerator[Any]:
    import httpx2
    from mcp.client.streamable_http import streamable_http_client

    # A proxy of the environment is for the way out.
    is_here = (urlsplit(server.url).hostname or "").lower() in ("127.0.0.1", "localhost", "::1")
    waits = httpx2.Timeout(30.0, read=_longest_silence(server))
    async with (
        httpx2.AsyncClient(headers=server.headers, timeout=waits, trust_env=not is_here) as client,
        streamable_http_client(server.url, http_client=client) as streams,
    ):
        yield streams


def _end_marked(mark: str) -> None:
    import psutil

    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):
            if process.environ().get(MARK) == mark:
                process.kill()


def _longest_silence(server: McpServer) -> float:
    return max(server.timeout, server.start_timeout) + GRACE


def _silence_the_sdk() -> None:
    """Keep the SDK's warnings from the terminal, where they go as long as nobody has set up any logging."""
    for name in ("mcp", "client"):
        logger = logging.getLogger(name)
        if not any(isinstance(handler, logging.NullHandler) for handler in logger.handlers):
            logger.addHandler(logging.NullHandler())


def _reason(error: BaseException) -> str:
    if isinstance(error, BaseExceptionGroup):
        group = cast("BaseExceptionGroup[BaseException]", error)
        return _reason(group.exceptions[0])
    if isinstance(error, ModuleNotFoundError) and (error.name or "").split(".")[0] in ("mcp", "mcp_types"):
        return "the package mcp is not installed; get it with: pip install 'unbroken[mcp]'"
    if isinstance(error, FileNotFoundError):
        return f"there is no program {error.filename!r}" if error.filename else "its program does not exist"
    return str(error) or type(error).__name__
