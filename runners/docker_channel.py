"""The streams of a process in a container, over the engine's multiplexed connection.

Each frame is 8 bytes of header (stream, three zeros, length as big-endian 32 bits) and then the data: Engine API,
"Attach to a container", stream format.
"""

import asyncio
import os
import socket
import struct
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from runners.docker_engine import engine_errors, in_thread

if TYPE_CHECKING:
    from docker import APIClient

_HEADER = struct.Struct(">BxxxL")
_READ_LIMIT = 1 << 20


class ExecChannel:
    """A process that was started in a container with an exec, with its stdin, stdout and stderr."""

    def __init__(self, exec_id: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.exec_id = exec_id
        self._reader = reader
        self._writer = writer
        self._left = 0
        self._stream = 0

    async def send(self, data: bytes) -> None:
        """Write to stdin."""
        self._writer.write(data)
        await self._writer.drain()

    async def receive(self) -> tuple[int, bytes]:
        """The next piece of a frame; an empty piece at the end."""
        try:
            while not self._left:
                self._stream, self._left = _HEADER.unpack(await self._reader.readexactly(_HEADER.size))
            data = await self._reader.read(min(self._left, _READ_LIMIT))
        except (asyncio.IncompleteReadError, ConnectionError):
            return 0, b""
        self._left -= len(data)
        return self._stream, data

    def end_of_input(self) -> None:
        """Tell the process that there is no more stdin."""
        if self._writer.can_write_eof():
            self._writer.write_eof()

    async def close(self) -> None:
        """Close the connection; the process sees the end of its stdin."""
        self._writer.close()


async def open_exec(
    api: "APIClient",
    container: str,
    command: Sequence[str],
    *,
    environment: Mapping[str, str] | None = None,
    directory: str | None = None,
    user: str = "",
) -> ExecChannel:
    """Start `command` in a container. Raises SandboxError."""

    def start() -> tuple[str, Any]:
        created: dict[str, str] = api.exec_create(  # pyright: ignore[reportUnknownMemberType]
            container, list(command), stdin=True, environment=dict(environment or {}), workdir=directory, user=user
        )
        return created["Id"], api.exec_start(created["Id"], socket=True)

    exec_id, response = await in_thread(start)
    connection = _raw_socket(response)
    connection.setblocking(False)
    with engine_errors():
        reader, writer = await asyncio.open_connection(sock=connection, limit=_READ_LIMIT)
    return ExecChannel(exec_id, reader, writer)


def _raw_socket(response: Any) -> socket.socket:
    """Take the connection out of the SDK's file-like wrapper, as one that nobody else closes."""
    connection = socket.socket(fileno=os.dup(response.fileno()))
    response.close()
    return connection
