"""MCP servers whose programs somebody else starts, and whose streams come through a channel."""

import asyncio
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from runners.local_sandbox import LocalSandbox
from tools.mcp_servers import McpError, McpServer
from tools.mcp_toolset import OpenToolset, open_toolset
from tools.tool import Tool

SERVERS = Path(__file__).parent


class Program:
    """Of this machine, its streams one after the other in small pieces."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process
        self._pieces: asyncio.Queue[tuple[int, bytes]] = asyncio.Queue()
        self._open = 2
        self._reading = [asyncio.create_task(self._read(1)), asyncio.create_task(self._read(2))]

    async def _read(self, number: int) -> None:
        stream = self.process.stdout if number == 1 else self.process.stderr
        assert stream
        while piece := await stream.read(7):
            await self._pieces.put((number, piece))
        self._open -= 1
        if not self._open:
            await self._pieces.put((0, b""))

    async def send(self, data: bytes) -> None:
        assert self.process.stdin
        self.process.stdin.write(data)
        await self.process.stdin.drain()

    async def receive(self) -> tuple[int, bytes]:
        return await self._pieces.get()

    async def close(self) -> None:
        for task in self._reading:
            task.cancel()
        if self.process.returncode is None:
            self.process.kill()
        await self.process.wait()


@asynccontextmanager
async def opened(kind: str) -> AsyncGenerator[tuple[OpenToolset, list[Program]]]:
    started: list[Program] = []

    async def start(server: McpServer) -> Program:
        pipe = asyncio.subprocess.PIPE
        command = [sys.executable, str(SERVERS / "raw_mcp_server.py"), *server.command]
        process = await asyncio.create_subprocess_exec(*command, stdin=pipe, stdout=pipe, stderr=pipe)
        started.append(Program(process))
        return started[-1]

    server = McpServer(name="far", transport="stdio", command=(kind,), timeout=20, start_timeout=20)
    async with open_toolset("bash", [server], started={"far": start}) as toolset:
        yield toolset, started


async def call(toolset: OpenToolset, sandbox: LocalSandbox, **arguments: Any) -> tuple[str, bool]:
    tool: Tool[Any] = toolset.tools[-1]
    result = await tool(tool.parameters.model_validate(arguments), sandbox)
    return result.text, result.is_error


RESULT = '{"jsonrpc": "2.0", "id": ID, "result": {"content": [{"type": "text", "text": "done \xfc"}]}}\n'


async def test_calls_are_answered_and_a_dead_server_says_so(tmp_path: Path) -> None:
    sandbox = LocalSandbox(tmp_path)
    try:
        async with opened("raw") as (toolset, (program,)):
            assert await call(toolset, sandbox, write="no json\n" + RESULT) == ("far__do: ok\ndone \ufffd", False)
            program.process.kill()
            said, is_error = await call(toolset, sandbox, write=RESULT)
            assert is_error
            assert "The server far is gone" in said
            assert "The last that it wrote: started" in said
        assert program.process.returncode is not None
    finally:
        await sandbox.close()


async def test_one_that_does_not_start_is_an_error_with_its_last_words() -> None:
    with pytest.raises(McpError, match=r"(?s)far cannot be used.*cannot go on"):
        async with opened("broken"):
            pass


async def test_the_end_of_the_work_ends_its_program() -> None:
    async with opened("raw") as (_, (program,)):
        assert program.process.returncode is None
    assert program.process.returncode is not None
