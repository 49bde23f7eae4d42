"""A port of a container's own network, reached from this machine, whatever network that is.

A listener on this machine's loopback starts a small program in the container for each connection, which passes bytes
on. So nothing has to be published, the container needs no address, and what listens on its loopback is reached too.
"""

import asyncio
import contextlib
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from runners.container_program import ContainerProgram
from runners.docker_sandbox import DockerSandbox
from runners.shell import STDERR
from tools.sandbox import SandboxError

_PIECE = 1 << 16
# A command in the background has no stdin in bash, hence the copy of it.
_CONNECT = 'exec 3<>"/dev/tcp/$0/$1" || exit; exec 4<&0; cat <&4 >&3 & cat <&3; kill $!'


@asynccontextmanager
async def forwarded(sandbox: DockerSandbox, host: str, port: int) -> AsyncGenerator[int]:
    """The port of 127.0.0.1 that leads to a host and port as the container sees them. The image needs bash and cat."""
    connections: set[asyncio.Task[None]] = set()

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task
        connections.add(task)
        try:
            with contextlib.suppress(SandboxError, OSError):
                await _pass_on(sandbox, host, port, reader, writer)
        finally:
            connections.discard(task)
            writer.close()

    server = await asyncio.start_server(connected, "127.0.0.1", 0)
    try:
        yield int(server.sockets[0].getsockname()[1])
    finally:
        server.close()
        for task in [*connections]:
            task.cancel()
        await asyncio.gather(*connections, return_exceptions=True)


async def _pass_on(
    sandbox: DockerSandbox, host: str, port: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
) -> None:
    program = await sandbox.open_program(["bash", "-c", _CONNECT, host, str(port)])
    sending = asyncio.create_task(_send(reader, program))
    try:
        while True:
            stream, piece = await program.receive()
            if not piece:
                return
            if stream != STDERR:
                writer.write(piece)
                await writer.drain()
    finally:
        sending.cancel()
        await asyncio.gather(sending, return_exceptions=True)
        await asyncio.shield(program.close())


async def _send(reader: asyncio.StreamReader, program: ContainerProgram) -> None:
    while piece := await reader.read(_PIECE):
        await program.send(piece)
