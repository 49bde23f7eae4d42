"""The standard streams of a program on this machine, as a `runners.shell.Channel`."""

import asyncio
import os
import socket
import time
from collections import deque
from collections.abc import Mapping, Sequence

from runners.shell import STDERR, STDOUT
from runners.supervisor import Program, Supervisor

_QUEUED_PIECES = 64
_LAST_WORDS = 0.1


class LocalChannel:
    """A running program's streams, as pieces in the order in which they were read."""

    def __init__(self, supervisor: Supervisor, program: Program, mark: str) -> None:
        self.program = program
        self.mark = mark
        """By which processes of this program are known that left its tree."""
        self.last_sent = ticks()
        """When something was last sent, in the ticks in which the system counts when processes begin."""
        self.last_sent_at = time.time()
        """The same, in seconds since the epoch."""
        self._supervisor = supervisor
        self._pieces: deque[tuple[int, bytes]] = deque()
        self._arrived = asyncio.Event()
        self._writable = asyncio.Event()
        self._writable.set()
        self._paused = False
        self._ended = False
        self._watch: asyncio.Task[None] | None = None
        self._stdin: asyncio.WriteTransport | None = None
        self._outputs: dict[int, asyncio.ReadTransport] = {}

    @classmethod
    async def start(
        cls,
        supervisor: Supervisor,
        command: Sequence[str],
        environment: Mapping[str, str],
        directory: str,
        mark: str,
        *,
        one_output: bool = False,
    ) -> "LocalChannel":
        """Start a program; with `one_output`, its stderr goes where its stdout goes. Raises OSError.

        Otherwise what is said to it and what comes on its stderr is between it and us: these are sockets, which, other
        than pipes, no process can open by `/proc/PID/fd`.
        """
        receive, stdout = os.pipe()
        ours, theirs = {STDOUT: receive}, [-1, stdout, stdout]
        if one_output:
            theirs[0], ours[0] = os.pipe()
        else:
            for number in (0, STDERR):
                ours[number], theirs[number] = (end.detach() for end in socket.socketpair())
        try:
            program = await supervisor.start_program(command, environment, directory, theirs)
        except BaseException:
            for descriptor in ours.values():
                os.close(descriptor)
            raise
        finally:
            for descriptor in set(theirs):
                os.close(descriptor)
        channel = cls(supervisor, program, mark)
        await channel._connect(ours)
        return channel

    async def send(self, data: bytes) -> None:
        """Write to its stdin. Raises ConnectionError when it is gone."""
        if self._ended or not self._supervisor.is_running or self._stdin is None or self._stdin.is_closing():
            raise ConnectionError("the program has ended")
        self.last_sent, self.last_sent_at = ticks(), time.time()
        self._stdin.write(data)
        await self._writable.wait()

    def end_of_input(self) -> None:
        """Close its stdin, after what was sent."""
        if self._stdin:
            self._stdin.close()

    async def receive(self) -> tuple[int, bytes]:
        """The next piece of STDOUT or STDERR; an empty piece when the program is gone."""
        while not self._pieces:
            if self._ended:
                return STDOUT, b""
            self._arrived.clear()
            await self._arrived.wait()
        piece = self._pieces.popleft()
        if self._paused and not self._pieces:
            self._paused = False
            self._outputs[STDOUT].resume_reading()
        return piece

    async def close(self) -> None:
        """Kill it with its process tree. Safe to call twice."""
        if self._supervisor.is_running and self.program.exit_code is None:
            await self._supervisor.end(self.program.process_id)
        self.release()

    async def close_with_orphans(self) -> None:
        """Kill it with its tree and with what left that, also when it has ended already. Safe to call twice."""
        if self._supervisor.is_running:
            await self._supervisor.end(self.program.process_id, self.mark)
        self.release()

    def release(self) -> None:
        """Give back what is ours of it."""
        self._ended = True
        self._arrived.set()
        if self._watch:
            self._watch.cancel()
        # Where it is closing with nothing left to send, its end is on the way: asyncio does not bear a second one.
        if self._stdin and (not self._stdin.is_closing() or self._stdin.get_write_buffer_size()):
            self._stdin.abort()
        for transport in self._outputs.values():
            transport.close()

    async def _connect(self, descriptors: Mapping[int, int]) -> None:
        loop = asyncio.get_running_loop()
        for number in (STDOUT, STDERR):
            if number in descriptors:
                pipe = os.fdopen(descriptors[number], "rb", 0)
                transport, _ = await loop.connect_read_pipe(lambda number=number: _Output(self, number), pipe)
                self._outputs[number] = transport
        transport, _ = await loop.connect_write_pipe(lambda: _Input(self), os.fdopen(descriptors[0], "wb", 0))
        self._stdin = transport
        self._watch = asyncio.create_task(self._watch_end())

    async def _watch_end(self) -> None:
        await self.program.wait()
        # Processes that outlive the program may keep its streams open for ever.
        if self._supervisor.is_running:
            await asyncio.sleep(_LAST_WORDS)
        self.note_end()

    # What its streams say.

    def add(self, number: int, data: bytes) -> None:
        """Take what was read from a stream."""
        self._pieces.append((number, data))
        self._arrived.set()
        if len(self._pieces) >= _QUEUED_PIECES and not self._paused:
            self._paused = True
            self._outputs[STDOUT].pause_reading()

    def note_end(self) -> None:
        """Take no more."""
        self._ended = True
        self._arrived.set()

    def note_input_closed(self) -> None:
        """Let nobody wait to send, or send."""
        self._stdin = None
        self._writable.set()

    def note_writable(self, writable: bool) -> None:
        """Let senders go on, or wait."""
        if writable:
            self._writable.set()
        else:
            self._writable.clear()


class _Output(asyncio.Protocol):
    def __init__(self, channel: LocalChannel, number: int) -> None:
        self._channel = channel
        self._number = number

    def data_received(self, data: bytes) -> None:
        self._channel.add(self._number, data)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002
        if self._number == STDOUT:
            self._channel.note_end()


class _Input(asyncio.BaseProtocol):
    def __init__(self, channel: LocalChannel) -> None:
        self._channel = channel

    def pause_writing(self) -> None:
        self._channel.note_writable(False)

    def resume_writing(self) -> None:
        self._channel.note_writable(True)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002
        self._channel.note_input_closed()


def ticks() -> int:
    """Now, in the ticks in which Linux counts when a process began; 0 on other systems."""
    clock = getattr(time, "CLOCK_BOOTTIME", None)
    if clock is None:
        return 0
    return int(time.clock_gettime(clock) * os.sysconf("SC_CLK_TCK"))
