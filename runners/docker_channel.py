"""The streams of a process in a container, over a connection that the engine gives up for them.

Each frame is 8 bytes of header (stream, three zeros, length as big-endian 32 bits) and then the data: Engine API,
"Attach to a container", stream format.
"""

import abc
import asyncio
import os
import socket
import struct
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from runners.docker_engine import engine_errors, in_thread, obtain
from runners.shell import STDERR
from tools.sandbox import SandboxError

if TYPE_CHECKING:
    from docker import APIClient

STDOUT_QUIET = 0.05
STDOUT_PATIENCE = 1.0
"""Seconds for which a process that has ended may still have output under way: of silence, and in all."""
_HEADER = struct.Struct(">BxxxL")
_BUFFER_SIZE = 1 << 17
_UNREAD_LIMIT = 1 << 20
_LONGEST_WORD = 64
_LINE_LIMIT = 4096


class Connection(asyncio.BufferedProtocol, abc.ABC):
    """A connection with flow control in both directions; derived classes say what becomes of what arrives."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._buffer = memoryview(bytearray(_BUFFER_SIZE))
        self._writable = asyncio.Event()
        self._writable.set()
        self._arrived = asyncio.Event()
        self.early = b""
        """What arrived before there was this object."""
        self.ended = False
        """Whether nothing more arrives, and nothing can be sent."""

    @abc.abstractmethod
    def take(self, data: memoryview) -> None:
        """Take what has arrived; it is gone after the call."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take the connection."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        if self.early:
            self.take(memoryview(self.early))
            self.early = b""

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002
        """Wake up who waits."""
        self.ended = True
        self._writable.set()
        self._arrived.set()

    def get_buffer(self, sizehint: int) -> memoryview:  # noqa: ARG002
        """Where to put what arrives."""
        return self._buffer

    def buffer_updated(self, nbytes: int) -> None:
        """Pass on what has arrived."""
        self.take(self._buffer[:nbytes])

    def pause_writing(self) -> None:
        """Let senders wait."""
        self._writable.clear()

    def resume_writing(self) -> None:
        """Let senders go on."""
        self._writable.set()

    async def send(self, data: bytes) -> None:
        """Write to the process's stdin. Raises ConnectionError when it is gone."""
        # In pieces, since a transport that has much to send moves all of it with each part that goes out.
        for start in range(0, max(len(data), 1), _BUFFER_SIZE):
            if self.ended or self._transport is None:
                raise ConnectionResetError("the process has ended")
            self._transport.write(memoryview(data)[start : start + _BUFFER_SIZE])
            await self._writable.wait()
        if self.ended:
            raise ConnectionResetError("the process has ended")

    def end_of_input(self) -> None:
        """Tell the process that there is no more stdin."""
        if self._transport and not self.ended and self._transport.can_write_eof():
            self._transport.write_eof()

    async def close(self) -> None:
        """Close the connection; the process sees the end of its stdin."""
        if self._transport:
            self._transport.abort()
        self.connection_lost(None)


class ContainerChannel(Connection):
    """A process in a container, with its stdin, stdout and stderr.

    With an `end_mark`, the process has ended once that stands on a line of stderr: its streams may be held open by
    what it left behind.
    """

    def __init__(self, end_mark: bytes = b"") -> None:
        super().__init__()
        self.exec_id = ""
        self.spoken = asyncio.Event()
        """Whether anything has arrived, or never will."""
        self._end_mark = end_mark
        self._header = b""
        self._left = 0
        self._stream = 0
        self._pieces: deque[tuple[int, bytes]] = deque()
        self._unread = 0
        self._line = b""
        self._awaited: _Awaited | None = None
        self._deadline: float | None = None
        self._ending: asyncio.TimerHandle | None = None

    async def receive(self) -> tuple[int, bytes]:
        """The next piece of stdout or stderr; an empty piece at the end."""
        while not self._pieces:
            if self.ended and self._ending is None:
                return 0, b""
            self._arrived.clear()
            await self._arrived.wait()
        stream, piece = self._pieces.popleft()
        if self._pieces and self._pieces[0][0] == stream:
            pieces = [piece]
            while self._pieces and self._pieces[0][0] == stream:
                pieces.append(self._pieces.popleft()[1])
            piece = b"".join(pieces)
        self._unread -= len(piece)
        if self._unread < _UNREAD_LIMIT // 2 and self._transport:
            self._transport.resume_reading()
        return stream, piece

    async def receive_answer(self, mark: bytes, silence: float, most: int | None) -> tuple[bytes, bytes] | None:
        """What comes on stdout between a line of `mark` alone and a line that begins with it, and the rest of that one.

        None when the process ends before. Anything may stand in front of the first line. Raises TimeoutError after
        `silence` seconds without anything, and FloodError after more than `most` bytes: a process in the container can
        write to this stream as well. Nobody is woken up before the end, since that takes longer than the data.
        """
        self._awaited = awaited = _Awaited(mark, self._loop.time(), most)
        for stream, piece in self._pieces:
            awaited.add(stream, piece)
        self._pieces.clear()
        self._unread = 0
        if self._transport:
            self._transport.resume_reading()
        try:
            while not awaited.is_over and not (self.ended and self._ending is None):
                self._arrived.clear()
                try:
                    async with asyncio.timeout_at(awaited.last + silence):
                        await self._arrived.wait()
                except TimeoutError:
                    if self._loop.time() >= awaited.last + silence:
                        raise
        finally:
            self._awaited = None
        return awaited.answer()

    def take(self, data: memoryview) -> None:
        """Take the frames apart."""
        self.spoken.set()
        position = 0
        while position < len(data):
            if not self._left:
                missing = _HEADER.size - len(self._header)
                self._header += data[position : position + missing]
                position += missing
                if len(self._header) < _HEADER.size:
                    break
                self._stream, self._left = _HEADER.unpack(self._header)
                self._header = b""
                continue
            piece = bytes(data[position : position + self._left])
            position += len(piece)
            self._left -= len(piece)
            self._add(self._stream, piece)
        if self._unread > _UNREAD_LIMIT and self._transport:
            self._transport.pause_reading()

    def connection_lost(self, exc: Exception | None) -> None:
        """Nothing more arrives."""
        if self._ending:
            self._ending.cancel()
            self._ending = None
        self.spoken.set()
        super().connection_lost(exc)

    def _add(self, stream: int, piece: bytes) -> None:
        if stream == STDERR and self._end_mark:
            piece = self._without_mark(piece)
        elif self._deadline is not None:
            self._expect_end()
        if not piece:
            return
        if self._awaited:
            self._awaited.last = self._loop.time()
            if self._awaited.add(stream, piece):
                self._arrived.set()
            return
        self._pieces.append((stream, piece))
        self._unread += len(piece)
        self._arrived.set()

    def _without_mark(self, piece: bytes) -> bytes:
        """The whole lines of stderr, and nothing from the mark on."""
        lines = (self._line + piece).split(b"\n")
        self._line = lines.pop()[-_LINE_LIMIT:]
        if self._end_mark in lines:
            lines = lines[: lines.index(self._end_mark)]
            self.ended = True
            self._writable.set()
            self._deadline = self._loop.time() + STDOUT_PATIENCE
            self._expect_end()
        return b"".join(line + b"\n" for line in lines)

    def _expect_end(self) -> None:
        """Wait for output that is still under way, as long as it comes."""
        if self._ending:
            self._ending.cancel()
        assert self._deadline is not None
        self._ending = self._loop.call_at(min(self._deadline, self._loop.time() + STDOUT_QUIET), self._end)

    def _end(self) -> None:
        if self._transport and not self._transport.is_reading() and not self._transport.is_closing():
            self._ending = self._loop.call_later(STDOUT_QUIET, self._end)
            return
        if self._transport:
            self._transport.abort()
        self.connection_lost(None)


class FloodError(Exception):
    """More came than was asked for."""


class _Awaited:
    """An answer that is being collected."""

    def __init__(self, mark: bytes, now: float, most: int | None) -> None:
        self.last = now
        """When something came last."""
        self._begin, self._end = b"\n%b\n" % mark, b"\n%b " % mark
        self._left = most
        self._has_begun = self._is_whole = False
        self._pieces: list[bytes] = []
        self._tail = b""

    @property
    def is_over(self) -> bool:
        return self._is_whole or self._is_flooded

    @property
    def _is_flooded(self) -> bool:
        return self._left is not None and self._left < 0

    def add(self, stream: int, piece: bytes) -> bool:
        """Whether this was the end."""
        if stream == STDERR:
            return False
        if self._left is not None:
            self._left -= len(piece)
        if not self._has_begun:
            before, begin, piece = (self._tail + piece).partition(self._begin)
            self._has_begun = bool(begin)
            self._tail = b"" if begin else before[-len(self._begin) :]
        if self._has_begun:
            self._pieces.append(piece)
            keep = len(self._end) + _LONGEST_WORD
            self._tail = (self._tail + piece[-keep:])[-keep:]
            self._is_whole = self._tail.endswith(b"\n") and self._end in self._tail
        return self.is_over

    def answer(self) -> tuple[bytes, bytes] | None:
        """What was said. Raises FloodError."""
        if self._is_whole:
            end = len(self._tail) - self._tail.rfind(self._end)
            return b"".join(self._pieces)[:-end], self._tail[len(self._end) - end : -1]
        if self._is_flooded:
            raise FloodError
        return None


@dataclass(frozen=True)
class Streams:
    """The connection to a process's streams, and what came on it together with the engine's own answer."""

    connection: socket.socket
    early: bytes = b""


ConnectionT = TypeVar("ConnectionT", bound=Connection)


async def connect_to(protocol: ConnectionT, streams: Streams) -> ConnectionT:
    """Let `protocol` have a connection. Raises SandboxError."""
    protocol.early = streams.early
    with engine_errors():
        streams.connection.setblocking(False)
        try:
            await asyncio.get_running_loop().create_connection(lambda: protocol, sock=streams.connection)
        except BaseException:
            streams.connection.close()
            raise
    return protocol


async def open_exec(
    api: "APIClient",
    container: str,
    command: Sequence[str],
    *,
    environment: Mapping[str, str] | None = None,
    user: str = "",
) -> ContainerChannel:
    """Start `command` in a container, in the root folder. Raises SandboxError."""
    channel = ContainerChannel()
    channel.exec_id = await start_exec(api, container, command, channel, environment=environment, user=user)
    return channel


async def start_exec(
    api: "APIClient",
    container: str,
    command: Sequence[str],
    protocol: Connection,
    *,
    environment: Mapping[str, str] | None = None,
    user: str = "",
    tty: bool = False,
) -> str:
    """Start `command` in the root folder of a container, and let `protocol` have its streams; returns the exec's id.

    In the root folder, since any other one may have been removed by an agent, and nothing could be started there.
    Raises SandboxError.
    """

    def start() -> tuple[str, Streams]:
        created: dict[str, str] = api.exec_create(  # pyright: ignore[reportUnknownMemberType]
            container, list(command), stdin=True, tty=tty, environment=dict(environment or {}), workdir="/", user=user
        )
        return created["Id"], take_streams(api.exec_start(created["Id"], tty=tty, socket=True))

    exec_id, streams = await obtain(start, lambda started: started[1].connection.close())
    await connect_to(protocol, streams)
    return exec_id


def take_streams(response: Any) -> Streams:
    """Take the connection out of the SDK's file-like wrapper, as one that nobody else closes.

    With it goes what the SDK has read too much when it read the head of the engine's answer: all the output of a
    command that was quick, on a slow machine. The SDK itself would lose that.
    """
    response._sock.setblocking(False)  # to look, and not to wait
    early = response._response.raw._fp.fp.peek()
    connection = socket.socket(fileno=os.dup(response.fileno()))
    response.close()
    connection.setblocking(True)
    return Streams(connection, early)


async def exit_code(api: "APIClient", exec_id: str) -> int:
    """How an exec ended whose streams have ended. Raises SandboxError."""
    for _ in range(100):
        state: dict[str, int | None] = await in_thread(api.exec_inspect, exec_id)
        if (code := state["ExitCode"]) is not None:
            return code
        await asyncio.sleep(0.01)
    raise SandboxError("the engine does not say how a command ended")
